//! The program as it is started: what needs processes of its own.

use std::process::{Command, Output};

fn benches(line: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_benches"))
        .args(line.split_whitespace())
        .output()
        .expect("the program can be started")
}

#[test]
fn a_fleet_is_measured_between_two_processes() {
    let output = benches("fleet-5x2 --json --rounds 1 --seconds 0.1");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    let mut peers = vec!["muxado-rpc", "tarpc-messagepack", "tarpc-bincode", "tonic", "connectrpc"];
    if cfg!(feature = "vox") {
        peers.push("vox");
    }
    for peer in &peers {
        let line = text.lines().find(|line| line.contains(&format!(r#""peer":"{peer}""#)));
        let line = line.unwrap_or_else(|| panic!("no line of {peer} in {text}"));
        for part in [r#""workload":"fleet-5x2","mode":"mt""#, r#""p99_us":"#, r#""connections":5.0"#] {
            assert!(line.contains(part), "{part}: {line}");
        }
    }
    assert_eq!(text.lines().count(), peers.len());
}

#[test]
fn a_fleet_that_needs_more_files_than_there_are_says_how_many() {
    let output = benches("fleet-100000000x1 --rounds 1 --seconds 0.1 --peer muxado-rpc");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(text.contains("fleet-100000000x1 needs 100000256 open files in each process"), "{text}");
}
