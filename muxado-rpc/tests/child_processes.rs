//! Child processes as peers. This program runs itself: as the child, and as a parent that is killed.
#![cfg_attr(unix, expect(clippy::print_stdout, clippy::unwrap_used, reason = "a program that checks itself"))]

use std::{
    env,
    error::Error,
    process::{Command, Stdio},
};

#[cfg(unix)]
use std::{
    fs,
    io::{BufRead, BufReader},
    time::Duration,
};

#[cfg(unix)]
use muxado_rpc::{Address, Code, Context, Peer, Reconnect, Status, connect};

#[cfg(unix)]
#[muxado_rpc::service]
trait Plugin {
    async fn pid(&self) -> u32;
    async fn ask_back(&self, cx: &Context, n: u64) -> Result<u64, Status>;
    async fn hang(&self);
}

#[cfg(unix)]
#[muxado_rpc::service]
trait Host {
    async fn double(&self, n: u64) -> u64;
}

#[cfg(unix)]
struct Child;

#[cfg(unix)]
impl Plugin for Child {
    async fn pid(&self) -> u32 {
        std::process::id()
    }

    async fn ask_back(&self, cx: &Context, n: u64) -> Result<u64, Status> {
        HostClient::new(cx.channel()).double(n).await.map_err(Status::from)
    }

    async fn hang(&self) {
        std::future::pending::<()>().await;
    }
}

#[cfg(unix)]
struct Doubling;

#[cfg(unix)]
impl Host for Doubling {
    async fn double(&self, n: u64) -> u64 {
        2 * n
    }
}

#[cfg(unix)]
type Outcome<T = ()> = Result<T, Box<dyn Error>>;

#[cfg(not(unix))]
fn main() {}

#[cfg(unix)]
#[tokio::main]
async fn main() -> Outcome {
    match env::args().nth(1).as_deref() {
        Some("child") => {
            let peer = Peer::builder().serve(PluginServer::new(Child)).stdio()?;
            assert!(
                Peer::builder().stdio().unwrap_err().to_string().contains("another peer of this process")
            );
            peer.closed().await;
            Ok(())
        }
        Some("parent") => {
            let peer = connect(child()?).await?;
            println!("{}", PluginClient::new(peer.channel()).pid().await?);
            std::future::pending().await
        }
        _ => {
            parent_and_child_call_each_other_and_a_shutdown_ends_the_child().await?;
            a_child_that_is_killed_fails_its_calls_with_the_signal().await?;
            a_reconnecting_client_starts_the_child_again().await?;
            a_child_does_not_outlive_a_parent_that_is_killed()?;
            standard_input_that_is_no_pipe_is_named()?;
            println!("5 checks passed");
            Ok(())
        }
    }
}

#[cfg(unix)]
fn child() -> Outcome<Address> {
    let this = env::current_exe()?;
    Ok(Address::exec(this.to_str().ok_or("the path is no text")?, ["child"]))
}

/// Waits until there is no such process, a zombie included.
#[cfg(unix)]
async fn until_gone(pid: u32) {
    while is_there(pid) {
        tokio::task::yield_now().await;
    }
}

#[cfg(unix)]
fn is_there(pid: u32) -> bool {
    let found = Command::new("kill").args(["-0", &pid.to_string()]).stderr(Stdio::null()).status();
    found.is_ok_and(|status| status.success())
}

#[cfg(unix)]
fn kill(pid: u32) -> Outcome {
    let status = Command::new("kill").args(["-9", &pid.to_string()]).status()?;
    if status.success() { Ok(()) } else { Err("cannot kill".into()) }
}

#[cfg(unix)]
async fn parent_and_child_call_each_other_and_a_shutdown_ends_the_child() -> Outcome {
    let peer = Peer::builder().serve(HostServer::new(Doubling)).connect(child()?).await?;
    let plugin = PluginClient::new(peer.channel());
    let pid = plugin.pid().await?;
    assert_ne!(pid, std::process::id());
    assert_eq!(plugin.ask_back(21).await?, 42);
    let hanging = tokio::spawn(plugin.hang());
    assert_eq!(plugin.ask_back(4).await?, 8);
    peer.shutdown(Duration::ZERO).await;
    assert!(hanging.await?.is_err());
    peer.closed().await;
    until_gone(pid).await;
    Ok(())
}

#[cfg(unix)]
async fn a_child_that_is_killed_fails_its_calls_with_the_signal() -> Outcome {
    let peer = connect(child()?).await?;
    let plugin = PluginClient::new(peer.channel());
    let pid = plugin.pid().await?;
    let hanging = tokio::spawn(plugin.hang());
    kill(pid)?;
    let status = Status::from(hanging.await?.unwrap_err());
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.to_string().contains("has ended: signal: 9"), "{status}");
    until_gone(pid).await;
    Ok(())
}

#[cfg(unix)]
async fn a_reconnecting_client_starts_the_child_again() -> Outcome {
    let channel = Reconnect::builder().address(child()?).build()?;
    let plugin = PluginClient::new(channel.clone());
    let first = plugin.pid().await?;
    let hanging = tokio::spawn(plugin.hang());
    plugin.pid().await?;
    kill(first)?;
    assert!(hanging.await?.is_err());
    let second = loop {
        match plugin.pid().await {
            Ok(pid) => break pid,
            Err(error) => assert_eq!(error.code(), Code::Unavailable, "{error}"),
        }
    };
    assert_ne!(first, second);
    channel.shutdown(Duration::from_secs(5)).await;
    until_gone(first).await;
    until_gone(second).await;
    // One that cannot start is named, with each attempt.
    let missing = Reconnect::builder().address("exec:/none/such").fail_fast().build()?;
    let mut states = missing.watch();
    states.changed().await;
    let error = Status::from(PluginClient::new(missing).pid().await.unwrap_err()).to_string();
    assert!(
        error.contains("cannot connect to exec:/none/such: cannot start /none/such: No such file"),
        "{error}"
    );
    Ok(())
}

#[cfg(unix)]
fn a_child_does_not_outlive_a_parent_that_is_killed() -> Outcome {
    let mut parent = Command::new(env::current_exe()?).arg("parent").stdout(Stdio::piped()).spawn()?;
    let mut line = String::new();
    BufReader::new(parent.stdout.take().ok_or("no output")?).read_line(&mut line)?;
    let pid: u32 = line.trim().parse()?;
    parent.kill()?;
    parent.wait()?;
    // Whose child it is now may not wait for it.
    let is_zombie =
        || fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(") Z "));
    while is_there(pid) && !is_zombie() {
        std::thread::yield_now();
    }
    Ok(())
}

#[cfg(unix)]
fn standard_input_that_is_no_pipe_is_named() -> Outcome {
    let mut command = Command::new(env::current_exe()?);
    let output = command.arg("child").stdin(Stdio::null()).stdout(Stdio::piped()).output()?;
    let error = String::from_utf8(output.stderr)?;
    assert!(
        !output.status.success() && error.contains("standard input is a terminal or another device"),
        "{error}"
    );
    Ok(())
}
