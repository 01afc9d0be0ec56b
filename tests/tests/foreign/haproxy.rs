//! haproxy in front of a server: the PROXY protocol, and TLS that it passes through by the name that is asked for.

use std::{net::SocketAddr, process::Command};

use muxado_rpc::{Bind, ClientTls, Peer, Server, ServerTls, connect};
use tokio::net::{TcpSocket, TcpStream};

use crate::{
    SiteClient, assert_works, builder,
    openssl::Ca,
    place::{Folder, Process, free_port},
    within,
};

async fn start(folder: &Folder, port: u16, rest: &str) -> Process {
    let text = format!(
        "defaults\n mode tcp\n timeout connect 5s\n timeout client 1m\n timeout server 1m\n\
         frontend in\n bind 127.0.0.1:{port}\n{rest}"
    );
    let file = folder.write("haproxy.cfg", &text);
    folder.start(Command::new("haproxy").args(["-db", "-f", &file])).listening(port).await
}

fn port_of(server: &Server) -> u16 {
    server.local_addr().socket_addr().unwrap().port()
}

#[tokio::test]
async fn a_server_behind_haproxy_knows_where_its_clients_are() {
    for send in ["send-proxy", "send-proxy-v2"] {
        let folder = Folder::new(send);
        let bind = Bind::to("tcp://127.0.0.1:0").proxy_protocol(["127.0.0.1"]);
        let server = builder("behind").listen(bind).await.unwrap();
        let port = free_port();
        let rest =
            format!(" default_backend app\nbackend app\n server one 127.0.0.1:{} {send}\n", port_of(&server));
        let _haproxy = start(&folder, port, &rest).await;
        let peer = connect(move || async move {
            let socket = TcpSocket::new_v4()?;
            socket.bind(SocketAddr::from(([127, 0, 0, 5], 0)))?;
            socket.connect(SocketAddr::from(([127, 0, 0, 1], port))).await
        })
        .await
        .unwrap();
        assert_works(&peer).await;
        let address = within(SiteClient::new(peer.channel()).address()).await.unwrap().unwrap();
        assert!(address.starts_with("tcp://127.0.0.5:"), "{address}");
        // Who comes without the balancer has no header.
        let direct = TcpStream::connect(("127.0.0.1", port_of(&server))).await.unwrap();
        let direct = Peer::builder().client(direct).unwrap();
        within(SiteClient::new(direct.channel()).name()).await.unwrap_err();
    }
}

#[tokio::test]
async fn haproxy_passes_tls_on_to_the_server_of_the_name() {
    let folder = Folder::new("passthrough");
    let ca = Ca::new();
    let mut servers = Vec::new();
    for name in ["a.example", "b.example"] {
        let (cert, key) = ca.sign(&[name]);
        let tls = ServerTls::from_pem(cert, key).client_ca(&ca.pem);
        servers.push(builder(name).tls(tls).listen("tls://127.0.0.1:0").await.unwrap());
    }
    let port = free_port();
    let rest = format!(
        " tcp-request inspect-delay 5s\n tcp-request content accept if {{ req_ssl_hello_type 1 }}\n\
         \x20use_backend a if {{ req_ssl_sni -i a.example }}\n default_backend b\n\
         backend a\n server one 127.0.0.1:{}\nbackend b\n server one 127.0.0.1:{}\n",
        port_of(&servers[0]),
        port_of(&servers[1]),
    );
    let _haproxy = start(&folder, port, &rest).await;
    let (cert, key) = ca.sign(&["agent-7.example"]);
    for name in ["a.example", "b.example"] {
        let tls = ClientTls::with_ca(&ca.pem).identity(&cert, &key).server_name(name);
        let peer = within(Peer::builder().tls(tls).connect(format!("tls://127.0.0.1:{port}"))).await.unwrap();
        assert_works(&peer).await;
        let site = SiteClient::new(peer.channel());
        assert_eq!(within(site.name()).await.unwrap(), name);
        assert_eq!(within(site.identity()).await.unwrap().as_deref(), Some("agent-7.example"));
        assert_eq!(peer.identity(), Some(name));
    }
}
