//! dnsmasq as the name server, whose answers change.

use std::{fs, net::SocketAddr, process::Command, time::Duration};

use muxado_rpc::{Balanced, Server, balanced::DnsResolver};
use tokio::time::sleep;

use crate::{
    SiteClient, builder,
    place::{Folder, Process, free_port},
    within,
};

/// Starts dnsmasq with these hosts; whoever writes the file anew calls `reload`.
async fn start(folder: &Folder, port: u16, hosts: &str) -> Process {
    let hosts = folder.write("hosts", hosts);
    let mut command = Command::new("dnsmasq");
    command.args([
        "--keep-in-foreground",
        "--listen-address=127.0.0.1",
        "--bind-interfaces",
        "--no-resolv",
        "--no-hosts",
    ]);
    command.args([
        "--conf-file=/dev/null",
        "--pid-file=",
        "--log-facility=-",
        "--local-ttl=0",
        "--user=root",
    ]);
    command.args([format!("--port={port}"), format!("--addn-hosts={hosts}")]);
    // Name servers listen on TCP, too.
    folder.start(&mut command).listening(port).await
}

fn reload(process: &Process) {
    let hup = Command::new("kill").args(["-HUP", &process.id().to_string()]).status().unwrap();
    assert!(hup.success());
}

#[tokio::test]
async fn calls_follow_the_answers_of_dnsmasq() {
    let first = builder("first").listen("tcp://127.0.0.2:0").await.unwrap();
    let port = first.local_addr().socket_addr().unwrap().port();
    let second: Server = builder("second").listen(format!("tcp://127.0.0.3:{port}")).await.unwrap();
    let (folder, dns) = (Folder::new("dnsmasq"), free_port());
    let dnsmasq = start(&folder, dns, "127.0.0.2 app.test\n").await;
    let resolver = DnsResolver::new(format!("tcp://app.test:{port}"))
        .unwrap()
        .name_servers([SocketAddr::from(([127, 0, 0, 1], dns))]);
    let balanced = Balanced::builder()
        .resolver(resolver)
        .resolve_every(Duration::from_millis(200))
        .resolve_apart(Duration::from_millis(100))
        .build()
        .unwrap();
    let site = SiteClient::new(balanced);
    assert_eq!(within(site.name()).await.unwrap(), "first");
    for (hosts, name) in [("127.0.0.3 app.test\n", "second"), ("127.0.0.2 app.test\n", "first")] {
        fs::write(folder.path().join("hosts"), hosts).unwrap();
        reload(&dnsmasq);
        within(async {
            // No call fails meanwhile.
            while site.name().await.unwrap() != name {
                sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
    }
    drop((first, second));
}
