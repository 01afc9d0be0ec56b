//! Every address that there is.

use muxado_rpc::{ServerBuilder, ServerTls};

use crate::{
    certs::Ca,
    world::{Dir, World, muxado},
};

fn lists(args: &[&str]) {
    assert_eq!(muxado(&[&["list"], args].concat()).ok(), "Workshop\nmuxado.Reflection\n", "{args:?}");
}

#[test]
fn tcp_unix_and_websocket_are_connected_to() {
    let world = World::new();
    lists(&[&world.address]);
    lists(&[world.address.strip_prefix("tcp://").unwrap()]);
    let world = World::at("ws://127.0.0.1:0/rpc", ServerBuilder::reflection);
    lists(&[&world.address]);
    let dir = Dir::new();
    let world = World::at(&format!("unix://{}", dir.file("socket")), ServerBuilder::reflection);
    lists(&[&world.address]);
    #[cfg(target_os = "linux")]
    {
        let name = format!("unix:@muxado-cli-{}", std::process::id());
        let _world = World::at(&name, ServerBuilder::reflection);
        lists(&[&name]);
    }
}

#[test]
fn tls_verifies_who_the_server_is_and_shows_who_this_side_is() {
    let dir = Dir::new();
    let ca = Ca::new(dir.0.clone());
    ca.sign("localhost");
    ca.sign("agent");
    let (ca, cert, key) = (dir.file("ca.pem"), dir.file("agent.pem"), dir.file("agent.key"));
    for address in ["tls://127.0.0.1:0", "wss://127.0.0.1:0/rpc"] {
        let tls = || ServerTls::from_files(dir.file("localhost.pem"), dir.file("localhost.key"));
        let world = World::at(address, |server| server.reflection().tls(tls()));
        let at = &*world.address;
        lists(&[at, "--cacert", &ca, "--server-name", "localhost"]);
        lists(&[at, "--insecure"]);
        muxado(&["list", at]).failed(3);
        let stderr = muxado(&["list", at, "--cacert", &ca]).failed(3);
        assert!(stderr.contains("127.0.0.1"), "{stderr}");

        let world =
            World::at(address, |server| server.reflection().tls(tls().client_ca_file(dir.file("ca.pem"))));
        let at = &*world.address;
        lists(&[at, "--cacert", &ca, "--server-name", "localhost", "--cert", &cert, "--key", &key]);
        muxado(&["list", at, "--cacert", &ca, "--server-name", "localhost"]).failed(3);
        muxado(&["list", at, "--cert", &cert]).failed(2);
    }
    // Whoever gives certificates does not want to speak in the clear.
    let world = World::new();
    muxado(&["list", &world.address, "--cacert", &ca]).failed(3);
}
