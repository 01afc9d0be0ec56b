//! Ctrl-C, and a request to end: the call is cancelled at the peer.
#![cfg(unix)]

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command},
};

use crate::world::{World, command, ended};

/// Sends a signal to the program.
fn signal(child: &Child, name: &str) {
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
}

#[test]
fn ctrl_c_cancels_the_call_at_the_peer() {
    let world = World::new();
    for (count, (name, status)) in [("INT", 130), ("TERM", 143)].into_iter().enumerate() {
        let child = command().args(["call", &world.address, "Workshop/hang"]).spawn().unwrap();
        world.runtime.block_on(world.handlers.begun(count + 1));
        signal(&child, name);
        let run = ended(child);
        assert_eq!((run.status, &*run.stdout, &*run.stderr), (Some(status), "", ""));
        world.runtime.block_on(world.handlers.dropped(count + 1));
    }
}

#[test]
fn ctrl_c_in_a_stream_cancels_it_at_the_peer() {
    let world = World::new();
    let mut child = command().args(["call", &world.address, "Workshop/hang_streaming"]).spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    assert_eq!(line, "7\n");
    signal(&child, "INT");
    assert_eq!(ended(child).status, Some(130));
    world.runtime.block_on(world.handlers.dropped(1));
}

#[test]
fn ctrl_c_while_standard_input_is_read_ends_the_program() {
    let world = World::new();
    let mut child = command()
        .args(["call", &world.address, "Workshop/paint", "-d", r#"{"name":"a","count":1}"#, "-d", "@"])
        .stdin(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    assert_eq!(line, "\"a is red\"\n");
    let stdin = child.stdin.take();
    signal(&child, "INT");
    assert_eq!(ended(child).status, Some(130));
    drop(stdin);
}

#[test]
fn ctrl_c_ends_pings_with_their_summary() {
    let world = World::new();
    let mut child = command().args(["ping", &world.address, "-i", "1h"]).spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut lines = [String::new(), String::new(), String::new()];
    stdout.read_line(&mut lines[0]).unwrap();
    stdout.read_line(&mut lines[1]).unwrap();
    signal(&child, "INT");
    stdout.read_line(&mut lines[2]).unwrap();
    assert!(lines[2].starts_with("1 round trips: "), "{lines:?}");
    assert_eq!(ended(child).status, Some(0));
}
