//! Inputs that end the process, as an overflow of the stack does: a second process runs them and notes in a
//! file which one it is at, and this one tells it when the other is gone.

use std::{
    env,
    ffi::OsStr,
    fs::{self, File},
    io::{Seek, Write},
    path::PathBuf,
    process::{Command, ExitCode, ExitStatus, Stdio},
};

use fastrand::Rng;

use super::{Target, hex, print_failed, print_smaller, shrink_while};

/// Names the file, in the environment of the process that runs inputs.
const NOTE: &str = "MUXADO_FUZZ_NOTE";

/// Bytes of the longest input that is tried smaller: as an argument it has twice as many.
const MOST_SHRUNK: usize = 50_000;

/// Where the seed of the present input is noted.
pub(super) struct Note(File);

impl Note {
    pub(super) fn write(&mut self, seed: u64) {
        let written = self.0.rewind().and_then(|()| self.0.write_all(&seed.to_le_bytes()));
        written.expect("the file of the process that started this one");
    }
}

/// The file in which this process is to note its inputs, if it is the one that runs them.
pub(super) fn note() -> Option<Note> {
    let path = env::var_os(NOTE)?;
    Some(Note(File::create(path).expect("a file in the directory for temporary ones")))
}

/// Runs the same program with the same arguments, and tells by which input it was ended, if it was.
pub(super) fn supervise(target: &Target) -> ExitCode {
    let path = env::temp_dir().join(format!("muxado-fuzz-{}-{}", target.name, std::process::id()));
    let arguments: Vec<_> = env::args_os().skip(1).collect();
    let status = this_program(&arguments).env(NOTE, &path).status().expect("this program can be started");
    let noted = fs::read(&path);
    fs::remove_file(&path).ok();
    if let Some(code) = code_of(status) {
        return code.into();
    }
    println!("{}: the process was ended: {status}", target.name);
    if let Some(seed) = noted.ok().and_then(|noted| Some(u64::from_le_bytes(*noted.first_chunk()?))) {
        let input = (target.generate)(&mut Rng::with_seed(seed));
        print_failed(target, &input, seed);
        if input.len() <= MOST_SHRUNK {
            print_smaller(target, &shrink_while(&input, ends_process));
        }
    }
    ExitCode::FAILURE
}

fn this_program<A: AsRef<OsStr>>(arguments: &[A]) -> Command {
    let program =
        env::current_exe().unwrap_or_else(|_| PathBuf::from(env::args_os().next().unwrap_or_default()));
    let mut command = Command::new(program);
    command.args(arguments);
    command
}

fn ends_process(input: &[u8]) -> bool {
    let mut command = this_program(&["--input".to_owned(), hex(input)]);
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| code_of(status).is_none())
}

/// The code with which the program ended by itself: that of success, of a failure, of a wrong argument, of a panic.
fn code_of(status: ExitStatus) -> Option<u8> {
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    code.filter(|code| [0, 1, 2, 101].contains(code))
}
