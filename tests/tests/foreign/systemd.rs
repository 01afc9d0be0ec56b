//! `systemd-socket-activate`, which starts a server when somebody connects, and hands it the socket.

use std::{env, process::Command, time::Duration};

use muxado_rpc::connect;

use crate::{
    SiteClient, assert_works, builder,
    place::{Folder, free_port},
    within,
};

/// Set for the process that systemd starts.
const ADDRESS: &str = "MUXADO_FOREIGN_LISTEN";

/// Serves, in the process that systemd starts; elsewhere there is nothing to do.
#[tokio::test]
async fn serve_what_systemd_has_opened() {
    let Ok(address) = env::var(ADDRESS) else { return };
    let server = builder("activated").listen(&*address).await.unwrap();
    // It is killed sooner.
    tokio::time::sleep(Duration::from_secs(60)).await;
    drop(server);
}

#[tokio::test]
async fn a_server_is_started_by_its_first_client() {
    for (address, name) in
        [("sd-listen:rpc", "--fdname=rpc"), ("sd-listen", "--fdname=x"), ("fd:3", "--fdname=y")]
    {
        let (folder, port) = (Folder::new("systemd"), free_port());
        let mut command = Command::new("systemd-socket-activate");
        command.args(["-l", &format!("127.0.0.1:{port}"), "-E", &format!("{ADDRESS}={address}"), name]);
        command.arg(env::current_exe().unwrap());
        command.args(["--exact", "systemd::serve_what_systemd_has_opened", "--nocapture"]);
        // Whoever asks whether it listens is its first client.
        let systemd = folder.start(&mut command).listening(port).await;
        let peer = within(connect(format!("tcp://127.0.0.1:{port}"))).await.unwrap();
        assert_works(&peer).await;
        let site = SiteClient::new(peer.channel());
        assert_eq!(within(site.name()).await.unwrap(), "activated");
        // It becomes the server, without a process between.
        assert_eq!(within(site.pid()).await.unwrap(), systemd.id());
    }
}
