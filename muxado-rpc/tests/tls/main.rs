//! TLS: certificates of both sides, errors by name, rotation, and what hostile peers get.
#![expect(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod certs;
mod closing;
mod errors;
mod hostile;
mod log;
mod rotation;
#[path = "../support/mod.rs"]
mod support;

use std::{sync::Arc, time::Duration};

use certs::{Ca, Pair};
use muxado_rpc::{
    BoxError, BoxIo, ClientTls, Context, Handshake, Peer, PeerCertificates, PeerInfo, Reconnect, Server,
    ServerBuilder, ServerTls, Socket, reconnect::State,
};
use rcgen::DnType;
use support::{WorkClient, WorkServer, Worker, assert_alive};
use tokio::sync::mpsc;

/// The names of a server on this machine.
const HERE: [&str; 2] = ["127.0.0.1", "localhost"];

#[muxado_rpc::service]
trait Who {
    async fn am_i(&self, cx: &Context) -> (Option<String>, usize);
}

#[derive(Clone)]
struct Known;

impl Who for Known {
    async fn am_i(&self, cx: &Context) -> (Option<String>, usize) {
        let peer = cx.peer_info();
        let certificates = peer.extensions().get::<PeerCertificates>();
        (peer.identity().map(str::to_owned), certificates.map_or(0, |chain| chain.iter().len()))
    }
}

fn builder(tls: ServerTls) -> ServerBuilder {
    Server::builder().serve(WorkServer::new(Worker::default())).serve(WhoServer::new(Known)).tls(tls)
}

fn server_tls(pair: &Pair) -> ServerTls {
    ServerTls::from_pem(&pair.cert, &pair.key)
}

async fn listen(tls: ServerTls) -> Server {
    builder(tls).listen("tls://127.0.0.1:0").await.unwrap()
}

async fn who_am_i(server: &Server, tls: ClientTls) -> (Option<String>, usize) {
    let peer = Peer::builder().tls(tls).connect(server.local_addr()).await.unwrap();
    WhoClient::new(peer.channel()).am_i().await.unwrap()
}

#[tokio::test]
async fn a_server_with_a_certificate_is_called_by_who_trusts_its_authority() {
    let ca = Ca::new("ca");
    let server = listen(server_tls(&ca.sign(&HERE))).await;
    assert!(server.local_addr().to_string().starts_with("tls://127.0.0.1:"));
    let peer = Peer::builder().tls(ClientTls::with_ca(&ca.pem)).connect(server.local_addr()).await.unwrap();
    assert_alive(&WorkClient::new(peer.channel())).await;
    assert_eq!(WhoClient::new(peer.channel()).am_i().await.unwrap(), (None, 0));
    // The client knows the server by its certificate as well.
    assert_eq!(peer.identity(), Some("localhost"));
    assert_eq!(peer.peer_info().extensions().get::<PeerCertificates>().unwrap().iter().len(), 1);
    assert_eq!(server.stats().failed_handshakes, 0);
}

#[tokio::test]
async fn a_client_is_known_by_its_certificate() {
    let ca = Ca::new("ca");
    let server = listen(server_tls(&ca.sign(&HERE)).client_ca(&ca.pem)).await;
    let of = |pair: &Pair| ClientTls::with_ca(&ca.pem).identity(&pair.cert, &pair.key);
    let spiffe = ca.sign(&["agent-7.example", "spiffe://example/agent/7"]);
    assert_eq!(who_am_i(&server, of(&spiffe)).await, (Some("spiffe://example/agent/7".to_owned()), 1));
    let dns = ca.sign(&["agent-7.example"]);
    assert_eq!(who_am_i(&server, of(&dns)).await.0.as_deref(), Some("agent-7.example"));
    let subject = ca.sign_with(&[], |params| params.distinguished_name.push(DnType::CommonName, "pump-7"));
    assert_eq!(who_am_i(&server, of(&subject)).await.0.as_deref(), Some("CN=pump-7"));
}

#[tokio::test]
async fn a_certificate_of_the_client_may_be_optional() {
    let ca = Ca::new("ca");
    let tls = server_tls(&ca.sign(&HERE)).client_ca(&ca.pem).client_certificate_optional();
    let server = listen(tls).await;
    assert_eq!(who_am_i(&server, ClientTls::with_ca(&ca.pem)).await, (None, 0));
    let agent = ca.sign(&["agent"]);
    let tls = ClientTls::with_ca(&ca.pem).identity(agent.cert, agent.key);
    assert_eq!(who_am_i(&server, tls).await, (Some("agent".to_owned()), 1));
}

#[tokio::test]
async fn the_name_of_the_server_is_that_of_the_address_or_the_one_that_is_set() {
    let ca = Ca::new("ca");
    let server = listen(server_tls(&ca.sign(&["hub.internal"]))).await;
    let tls = ClientTls::with_ca(&ca.pem).server_name("hub.internal");
    assert_eq!(who_am_i(&server, tls).await, (None, 0));
    let server = listen(server_tls(&ca.sign(&["localhost"]))).await;
    let port = server.local_addr().socket_addr().unwrap().port();
    let tls = ClientTls::with_ca(&ca.pem);
    Peer::builder().tls(tls).connect(format!("tls://localhost:{port}")).await.unwrap();
}

#[tokio::test]
async fn a_reconnecting_client_takes_the_same_addresses_and_tells_who_the_server_is() {
    let ca = Ca::new("ca");
    let server = listen(server_tls(&ca.sign(&HERE)).client_ca(&ca.pem)).await;
    let agent = ca.sign(&["agent"]);
    let tls = ClientTls::with_ca(&ca.pem).identity(&agent.cert, &agent.key);
    let peer = Peer::builder().tls(tls);
    let channel = Reconnect::builder().address(server.local_addr()).peer(peer).build().unwrap();
    assert_eq!(WhoClient::new(channel.clone()).am_i().await.unwrap().0.as_deref(), Some("agent"));
    let State::Connected { peer, .. } = channel.state() else { panic!("{:?}", channel.state()) };
    assert_eq!(peer.identity(), Some("localhost"));
}

/// Passes on what TLS has found.
struct Passing(mpsc::UnboundedSender<Option<String>>);

#[async_trait::async_trait]
impl Handshake for Passing {
    async fn accept(&self, socket: Socket, peer: &mut PeerInfo) -> Result<BoxIo, BoxError> {
        let Socket::Tls(tls) = &socket else { return Err("no TLS".into()) };
        self.0.send(tls.identity().map(str::to_owned))?;
        peer.set_identity("another");
        Ok(Box::new(socket))
    }
}

#[tokio::test]
async fn a_handshake_of_the_application_comes_after_that_of_tls() {
    let ca = Ca::new("ca");
    let (found, mut identities) = mpsc::unbounded_channel();
    let builder = builder(server_tls(&ca.sign(&HERE)).client_ca(&ca.pem)).handshake(Passing(found));
    let server = builder.listen("tls://127.0.0.1:0").await.unwrap();
    let agent = ca.sign(&["agent"]);
    let tls = ClientTls::with_ca(&ca.pem).identity(&agent.cert, &agent.key);
    assert_eq!(who_am_i(&server, tls).await.0.as_deref(), Some("another"));
    assert_eq!(identities.recv().await.unwrap().as_deref(), Some("agent"));
}

#[tokio::test]
async fn large_messages_pass_in_both_directions() {
    let ca = Ca::new("ca");
    let server = listen(server_tls(&ca.sign(&HERE))).await;
    let peer = Peer::builder().tls(ClientTls::with_ca(&ca.pem)).connect(server.local_addr()).await.unwrap();
    let work = Arc::new(WorkClient::new(peer.channel()));
    let text = "x".repeat(3 << 20);
    let calls = (0..4).map(|_| {
        let (work, text) = (Arc::clone(&work), text.clone());
        tokio::spawn(async move { work.echo(text.clone()).await.unwrap() == text })
    });
    for call in calls.collect::<Vec<_>>() {
        assert!(call.await.unwrap());
    }
    assert!(server.shutdown(Duration::from_secs(5)).await.is_clean());
}
