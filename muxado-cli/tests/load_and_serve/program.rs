//! The program, run as a person or a script runs it.

use std::{
    path::PathBuf,
    process::{ExitStatus, Stdio},
};

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    process::{Child, ChildStdout, Command},
};

/// A run that is over.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Run {
    /// Returns standard output as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(crate) fn code(&self) -> i32 {
        self.status.code().unwrap()
    }
}

/// A run under way.
pub(crate) struct Running {
    child: Child,
    stdout: BufReader<ChildStdout>,
}

/// Starts the program.
pub(crate) fn start(args: &[&str]) -> Running {
    let mut command = Command::new(env!("CARGO_BIN_EXE_muxado"));
    command.args(args).env_remove("NO_COLOR").stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().unwrap();
    let stdout = BufReader::new(child.stdout.take().unwrap());
    Running { child, stdout }
}

/// Runs the program to its end.
pub(crate) async fn run(args: &[&str]) -> Run {
    start(args).finish().await
}

impl Running {
    /// Returns the next line of standard output.
    pub(crate) async fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).await.unwrap();
        line.trim_end().to_owned()
    }

    /// Interrupts the program, as Ctrl-C does.
    pub(crate) async fn interrupt(&self) {
        let id = self.child.id().unwrap().to_string();
        assert!(Command::new("kill").args(["-INT", &id]).status().await.unwrap().success());
    }

    pub(crate) async fn finish(mut self) -> Run {
        let (mut stdout, mut stderr) = (String::new(), String::new());
        let mut errors = self.child.stderr.take().unwrap();
        let read = tokio::join!(self.stdout.read_to_string(&mut stdout), errors.read_to_string(&mut stderr));
        read.0.unwrap();
        read.1.unwrap();
        Run { status: self.child.wait().await.unwrap(), stdout, stderr }
    }
}

/// A file that is gone with the test.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("muxado-{}-{name}", std::process::id())))
    }

    pub(crate) fn with(name: &str, text: &str) -> Self {
        let file = Self::new(name);
        std::fs::write(&file.0, text).unwrap();
        file
    }

    pub(crate) fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }

    pub(crate) fn text(&self) -> String {
        std::fs::read_to_string(&self.0).unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A test may not have got as far.
        _ = std::fs::remove_file(&self.0);
    }
}
