//! On a terminal: that of `script` (util-linux), which is on most systems; without it these tests check nothing.
#![cfg(target_os = "linux")]

use std::{
    io::{Read, Write},
    process::{Command, Stdio},
};

use crate::world::World;

/// Runs the program on a terminal, as if a person typed this. Returns what is on the screen; `None` without `script`.
fn on_terminal(args: &[&str], typed: &[&str], environment: &[(&str, &str)]) -> Option<String> {
    let quoted = args.iter().map(|arg| format!("'{arg}'")).collect::<Vec<_>>().join(" ");
    let line = format!("stty -echo; exec '{}' {quoted}", env!("CARGO_BIN_EXE_muxado"));
    let mut command = Command::new("script");
    command.args(["-qec", &line, "/dev/null"]).env_remove("NO_COLOR").envs(environment.iter().copied());
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().ok()?;
    let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let mut screen = String::new();
    // Each is typed when the program has said something about the one before.
    for text in typed {
        let mut some = [0; 4096];
        let count = stdout.read(&mut some).unwrap();
        screen.push_str(str::from_utf8(&some[..count]).unwrap());
        stdin.write_all(text.as_bytes()).unwrap();
    }
    stdout.read_to_string(&mut screen).unwrap();
    assert!(child.wait().unwrap().success(), "{screen}");
    Some(screen.replace("\r\n", "\n"))
}

#[test]
fn answers_are_indented_and_in_colours_unless_those_are_not_wanted() {
    let world = World::new();
    let args = ["call", &world.address, "Workshop/old", "-d", r#"{"map":{},"pair":[true,"x"]}"#];
    let Some(screen) = on_terminal(&args, &[], &[]) else { return };
    assert_eq!(screen, "\x1b[32m\"{} (true, \\\"x\\\")\"\x1b[0m\n");
    let screen = on_terminal(&args, &[], &[("NO_COLOR", "1")]).unwrap();
    assert_eq!(screen, "\"{} (true, \\\"x\\\")\"\n");
    let args = ["call", &world.address, "Workshop/numbers", "-d", "[1,2,3,0.5]"];
    let screen = on_terminal(&args, &[], &[("NO_COLOR", "1")]).unwrap();
    assert_eq!(screen, "[\n  1,\n  2,\n  3,\n  0.5\n]\n");
}

#[test]
fn an_item_that_is_typed_wrong_is_not_sent_and_can_be_typed_again() {
    let world = World::new();
    let args = ["call", &world.address, "Workshop/sum"];
    // The last is Ctrl-D.
    let Some(screen) = on_terminal(&args, &["1 \"x\"\n", "2\n\x04"], &[("NO_COLOR", "1")]) else { return };
    assert!(screen.starts_with("type items as JSON; Ctrl-D ends the stream\n"), "{screen}");
    assert!(
        screen.contains("error: the value in line 1 of standard input is not what Workshop/sum takes\n"),
        "{screen}"
    );
    assert!(screen.contains("expected an integer, got \"x\"\n"), "{screen}");
    assert!(screen.ends_with("it was not sent; type it again\n3\n"), "{screen}");
}
