//! The session in the README is what the program really does.

use std::{env, path::Path, process::Command, sync::Arc};

use crate::{parcels, services::Handlers, world::World};

/// The address in the README.
const ADDRESS: &str = "localhost:7000";

#[test]
fn the_session_in_the_readme_is_a_real_one() {
    let crate_dir = Path::new(env!("CARGO_MANIFEST_DIR"));
    for readme in ["../README.md", "README.md"] {
        let text = std::fs::read_to_string(crate_dir.join(readme)).unwrap();
        let session = text.split("```console\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
        let world = World::of("tcp://127.0.0.1:0", parcels::server(), Arc::<Handlers>::default());
        let address = world.address.strip_prefix("tcp://").unwrap();
        let mut commands: Vec<(&str, String)> = Vec::new();
        for line in session.lines() {
            match (line.strip_prefix("$ "), commands.last_mut()) {
                (Some(command), _) => commands.push((command, String::new())),
                (None, Some((_, output))) => output.extend([line, "\n"]),
                (None, None) => panic!("output without a command: {line}"),
            }
        }
        assert!(commands.len() >= 8, "{commands:?}");
        for (command, expected) in commands {
            let output = shell(&command.replace(ADDRESS, address)).replace(address, ADDRESS);
            assert_eq!(output, expected, "{readme}: {command}");
        }
    }
}

/// Runs a command line as a person does who has the program in the path.
fn shell(line: &str) -> String {
    let program = Path::new(env!("CARGO_BIN_EXE_muxado"));
    let path = env::join_paths(
        program
            .parent()
            .map(Path::to_owned)
            .into_iter()
            .chain(env::split_paths(&env::var_os("PATH").unwrap())),
    );
    let output = Command::new("sh")
        .args(["-c", &format!("exec 2>&1; {line}")])
        .env("PATH", path.unwrap())
        .env_remove("NO_COLOR")
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}
