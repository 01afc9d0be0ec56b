//! What a handler's panic does to a program that is built with `panic = "abort"`, and to one that is not.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    env,
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{Command, Output, Stdio},
};

/// Builds the program beside this file, with these arguments to rustc, and runs it.
///
/// The dependencies are those of the tests, built already. Whether a program can unwind is decided where it is
/// linked.
fn run(rustc: &[&str]) -> Output {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args([
        "rustc",
        "--offline",
        "--message-format=json-render-diagnostics",
        "--example",
        "handler_panics",
    ]);
    cargo.arg("--manifest-path").arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"));
    cargo.arg("--target-dir").arg(target).arg("--").args(rustc);
    let built = cargo.stderr(Stdio::inherit()).output().unwrap();
    assert!(built.status.success());
    let lines = String::from_utf8(built.stdout).unwrap();
    let program = lines.lines().find_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        Some(message["executable"].as_str()?.to_owned())
    });
    Command::new(program.unwrap()).output().unwrap()
}

/// One after the other: both are the same file.
#[test]
fn a_panic_in_a_handler_fails_its_call_and_ends_a_program_that_aborts() {
    let unwinding = run(&["-Cpanic=unwind"]);
    assert!(unwinding.status.success(), "{unwinding:?}");
    assert_eq!(String::from_utf8_lossy(&unwinding.stdout), "2\ninternal\n4\n");

    const SIGABRT: i32 = 6;
    let aborting = run(&["-Cpanic=abort"]);
    assert_eq!(aborting.status.signal(), Some(SIGABRT), "{aborting:?}");
    assert_eq!(String::from_utf8_lossy(&aborting.stdout), "2\n");
}
