//! A name whose first address leads nowhere, in a network namespace of the test's own.

use std::{
    env, fs,
    process::Command,
    time::{Duration, Instant},
};

use muxado_rpc::{Reconnect, connect, reconnect::State};

use crate::{SiteClient, assert_works, builder, within};

/// Set for the process within the namespace.
const INSIDE: &str = "MUXADO_FOREIGN_INSIDE";

/// A network with one neighbour that does not answer, and a name that it has beside this host. Gone with the test.
struct Namespace {
    name: String,
}

impl Namespace {
    fn new() -> Self {
        let name = format!("muxado-{}", std::process::id());
        ip(&["netns", "add", &name]);
        let namespace = Self { name };
        let etc = namespace.etc();
        fs::create_dir_all(&etc).unwrap();
        fs::write(format!("{etc}/hosts"), "127.0.0.1 localhost\nfd00:9::2 app.test\n10.9.0.1 app.test\n")
            .unwrap();
        for line in [
            "link set lo up",
            "link add near type veth peer name far",
            "link set near up",
            "link set far up",
            "addr add 10.9.0.1/24 dev near",
            "-6 addr add fd00:9::1/64 dev near nodad",
        ] {
            let args = ["-n", &namespace.name].into_iter().chain(line.split(' '));
            ip(&args.collect::<Vec<_>>());
        }
        namespace
    }

    /// Where `ip netns exec` looks for the files that replace those of `/etc`.
    fn etc(&self) -> String {
        format!("/etc/netns/{}", self.name)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(self.etc());
        let _ = Command::new("ip").args(["netns", "del", &self.name]).status();
    }
}

fn ip(args: &[&str]) {
    let output = Command::new("ip").args(args).output().unwrap();
    assert!(output.status.success(), "ip {args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_name_with_a_dead_first_address_connects_within_half_a_second() {
    let namespace = Namespace::new();
    let mut command = Command::new("ip");
    command.args(["netns", "exec", &namespace.name]).arg(env::current_exe().unwrap());
    command.args(["--exact", "unreachable::within_the_namespace", "--nocapture"]).env(INSIDE, "yes");
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("connected over the second address"), "{text}");
}

/// The test within the namespace; elsewhere there is nothing to do.
#[tokio::test]
async fn within_the_namespace() {
    if env::var(INSIDE).is_err() {
        return;
    }
    let server = builder("second").listen("tcp://10.9.0.1:0").await.unwrap();
    let address = format!("tcp://app.test:{}", server.local_addr().socket_addr().unwrap().port());
    let begin = Instant::now();
    let peer = within(connect(&address)).await.unwrap();
    let after = begin.elapsed();
    assert!(after >= Duration::from_millis(200) && after < Duration::from_millis(500), "{after:?}");
    assert_works(&peer).await;
    let begin = Instant::now();
    let channel = Reconnect::builder().address(&address).build().unwrap();
    assert_eq!(within(SiteClient::new(channel.clone()).name()).await.unwrap(), "second");
    let after = begin.elapsed();
    assert!(after < Duration::from_millis(500), "{after:?}");
    assert!(matches!(channel.state(), State::Connected { .. }));
    println!("connected over the second address");
}
