//! A server, and the program run against it.

use std::{
    fs,
    io::Write,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use muxado_rpc::{Server, ServerBuilder};
use tokio::runtime::Runtime;

use crate::services::{Handlers, Master, WorkshopServer};

/// A server that listens, until it is dropped.
pub(crate) struct World {
    pub(crate) runtime: Runtime,
    pub(crate) address: String,
    pub(crate) handlers: Arc<Handlers>,
    _server: Server,
}

impl World {
    /// A server of the workshop that describes itself.
    pub(crate) fn new() -> Self {
        Self::with(ServerBuilder::reflection)
    }

    /// A server of the workshop with whatever is added.
    pub(crate) fn with(change: impl FnOnce(ServerBuilder) -> ServerBuilder) -> Self {
        Self::at("tcp://127.0.0.1:0", change)
    }

    pub(crate) fn at(address: &str, change: impl FnOnce(ServerBuilder) -> ServerBuilder) -> Self {
        let master = Master::default();
        let handlers = Arc::clone(&master.0);
        Self::of(address, change(Server::builder().serve(WorkshopServer::new(master))), handlers)
    }

    pub(crate) fn of(address: &str, server: ServerBuilder, handlers: Arc<Handlers>) -> Self {
        let runtime = Runtime::new().unwrap();
        let server = runtime.block_on(server.listen(address)).unwrap();
        let address = server.local_addr().to_string();
        Self { runtime, address, handlers, _server: server }
    }

    /// Calls a method with these arguments behind it.
    pub(crate) fn call(&self, method: &str, args: &[&str]) -> Run {
        muxado(&[&["call", &self.address, method], args].concat())
    }

    /// Calls a method that reads its standard input.
    pub(crate) fn call_with(&self, method: &str, args: &[&str], input: &str) -> Run {
        run(&[&["call", &self.address, method], args].concat(), input)
    }
}

/// How the program ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) status: Option<i32>,
}

impl Run {
    /// Returns what was written, if that was all and the program ended well.
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert_eq!((self.status, &*self.stderr), (Some(0), ""), "{}", self.stdout);
        self.stdout
    }

    /// Returns what was said, if the program ended with this status and wrote nothing else.
    #[track_caller]
    pub(crate) fn failed(self, status: i32) -> String {
        assert_eq!((self.status, &*self.stdout), (Some(status), ""), "{}", self.stderr);
        self.stderr
    }
}

/// The program, with no terminal anywhere.
pub(crate) fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_muxado"));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).env_remove("NO_COLOR");
    command
}

/// Runs the program to its end.
pub(crate) fn muxado(args: &[&str]) -> Run {
    ended(command().args(args).spawn().unwrap())
}

/// Runs the program to its end, with this input.
pub(crate) fn run(args: &[&str], input: &str) -> Run {
    let mut child = command().args(args).stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // It may end before it has read everything.
    _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    ended(child)
}

pub(crate) fn ended(child: Child) -> Run {
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Run { stdout: text(output.stdout), stderr: text(output.stderr), status: output.status.code() }
}

/// A directory that is gone with the value.
pub(crate) struct Dir(pub(crate) PathBuf);

impl Dir {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("muxado-cli-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub(crate) fn file(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        _ = fs::remove_dir_all(&self.0);
    }
}
