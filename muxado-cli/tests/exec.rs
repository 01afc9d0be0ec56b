//! `exec:` addresses: this program is the server that the command starts, too.
#![expect(clippy::unwrap_used, reason = "a program that checks itself")]

use std::{env, process::Command};

use muxado_rpc::Peer;

/// Says where it runs.
#[muxado_rpc::service(schema)]
trait Child {
    async fn arguments(&self) -> Vec<String>;
}

struct Here;

impl Child for Here {
    async fn arguments(&self) -> Vec<String> {
        env::args().skip(2).collect()
    }
}

#[cfg(unix)]
fn main() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    if env::args().nth(1).is_some_and(|mode| mode == "serve") {
        return runtime.block_on(async {
            let peer = Peer::builder().serve(ChildServer::new(Here)).reflection().stdio().unwrap();
            peer.closed().await;
        });
    }
    let program = env::current_exe().unwrap();
    let address = format!("exec:{} serve one 'two words'", program.to_str().unwrap());
    let output = Command::new(env!("CARGO_BIN_EXE_muxado"))
        .args(["call", &address, "Child/arguments"])
        .output()
        .unwrap();
    let (stdout, stderr) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert_eq!((output.status.code(), &*stdout, &*stderr), (Some(0), "[\"one\",\"two words\"]\n", ""));
}

#[cfg(not(unix))]
fn main() {}
