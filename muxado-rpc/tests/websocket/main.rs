//! WebSocket: calls over it, what is cut where, what is refused by name, and what hostile peers get.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[cfg(feature = "axum")]
mod axum;
#[cfg(feature = "tls")]
#[path = "../tls/certs.rs"]
#[expect(dead_code, reason = "a part is used")]
mod certs;
mod frames;
mod hostile;
mod raw;
mod splits;
#[path = "../support/mod.rs"]
mod support;
mod upgrade;

use std::time::Duration;

use muxado_rpc::{
    Access, Bind, BoxError, Context, Peer, PeerInfo, Reconnect, Server, ServerBuilder, Socket,
    WebSocketRequest, connect, reconnect::State,
};
use support::{CODECS, WorkClient, WorkServer, Worker, assert_alive};
use tokio::io::AsyncReadExt;

#[muxado_rpc::service]
trait Asked {
    /// The path and the header `x-tenant` of the request, and the identity of the caller.
    async fn about(&self, cx: &Context) -> (Option<String>, Option<String>, Option<String>);
}

#[derive(Clone)]
struct Known;

impl Asked for Known {
    async fn about(&self, cx: &Context) -> (Option<String>, Option<String>, Option<String>) {
        let peer = cx.peer_info();
        let request = peer.extensions().get::<WebSocketRequest>();
        let tenant = request.and_then(|request| request.header("X-Tenant"));
        let identity = peer.identity().map(str::to_owned);
        (request.map(|request| request.path().to_owned()), tenant.map(str::to_owned), identity)
    }
}

fn builder() -> ServerBuilder {
    Server::builder().serve(WorkServer::new(Worker::default())).serve(AskedServer::new(Known))
}

async fn listen() -> Server {
    builder().listen("ws://127.0.0.1:0").await.unwrap()
}

#[tokio::test]
async fn both_sides_call_each_other_over_a_websocket() {
    let server = builder().listen("ws://127.0.0.1:0/rpc").await.unwrap();
    let address = server.local_addr().to_string();
    assert!(address.starts_with("ws://127.0.0.1:") && address.ends_with("/rpc"), "{address}");
    let peer = Peer::builder().serve(WorkServer::new(Worker::default())).connect(&address).await.unwrap();
    assert_eq!(peer.peer_info().address(), Some(&*address));
    for codec in CODECS {
        let client = WorkClient::new(peer.channel()).with_codec(codec);
        assert_alive(&client).await;
        assert_eq!(client.ask_back("yes".to_owned()).await.unwrap(), "the caller says yes");
    }
    assert_eq!((server.stats().connections, server.stats().failed_handshakes), (1, 0));
}

#[tokio::test]
async fn values_larger_than_a_message_and_many_calls_at_once_go_through() {
    let server = listen().await;
    let peer = connect(server.local_addr()).await.unwrap();
    let client = WorkClient::new(peer.channel());
    let size = 3 * 1024 * 1024;
    assert_eq!(client.grow(size).await.unwrap().len(), size);
    let text = "y".repeat(size);
    assert_eq!(client.echo(text.clone()).await.unwrap(), text);
    let calls = (0..200).map(|at| {
        let client = client.clone();
        tokio::spawn(async move { client.echo("z".repeat(at * 100)).await.unwrap().len() })
    });
    for (at, call) in calls.collect::<Vec<_>>().into_iter().enumerate() {
        assert_eq!(call.await.unwrap(), at * 100);
    }
}

#[tokio::test]
async fn a_client_reconnects_over_a_websocket() {
    let server = listen().await;
    let address = server.local_addr().clone();
    let channel = Reconnect::builder().address(&address).build().unwrap();
    let client = WorkClient::new(channel.clone());
    assert_eq!(client.echo("here".to_owned()).await.unwrap(), "here");
    let mut states = channel.watch();
    assert!(server.shutdown(Duration::from_secs(5)).await.cut == 0);
    while !matches!(states.changed().await, State::Connecting { .. } | State::Backoff { .. }) {}
    let _again = builder().listen(address).await.unwrap();
    assert_eq!(client.echo("here".to_owned()).await.unwrap(), "here");
}

#[tokio::test]
async fn a_server_sees_the_path_and_the_headers_that_a_client_sets() {
    let server = builder()
        .access(|peer| {
            let request = peer.extensions().get::<WebSocketRequest>().unwrap();
            match request.header("authorization") {
                Some("Bearer sesame") => Access::all(),
                _ => Access::refuse(),
            }
        })
        .listen("ws://127.0.0.1:0")
        .await
        .unwrap();
    let address = format!("{}/rpc/v1?a=b", server.local_addr());
    let with = |token: &str| {
        Peer::builder().websocket_header("Authorization", token).websocket_header("x-tenant", "7")
    };
    let peer = with("Bearer sesame").connect(&address).await.unwrap();
    let about = AskedClient::new(peer.channel()).about().await.unwrap();
    assert_eq!(about, (Some("/rpc/v1?a=b".to_owned()), Some("7".to_owned()), None));
    assert!(!format!("{:?}", with("secret")).contains("secret"));
    let refused = with("Bearer x").connect(&address).await.unwrap();
    refused.closed().await;
    assert_eq!(server.stats().refused_connections, 1);
    let error = Peer::builder().websocket_header("a b", "c").connect(&address).await.unwrap_err();
    assert!(error.to_string().ends_with("a b is no valid header (PeerBuilder::websocket_header)"), "{error}");
}

#[tokio::test]
async fn the_handshake_of_the_application_runs_over_the_websocket() {
    let server = builder()
        .handshake(|mut socket: Socket, peer: PeerInfo| async move {
            assert!(matches!(&socket, Socket::WebSocket(_)) && peer.address().unwrap().starts_with("ws://"));
            let mut token = [0; 4];
            socket.read_exact(&mut token).await?;
            let token = String::from_utf8(token.to_vec())?;
            Ok::<_, BoxError>((socket, peer.with_identity(token)))
        })
        .listen("ws://127.0.0.1:0")
        .await
        .unwrap();
    let mut client = raw::Client::connect(&server, "/").await;
    let (near, bridge) = tokio::io::duplex(1024);
    client.send(raw::BINARY, b"pu").await;
    client.send(raw::BINARY, b"mp").await;
    let peer = Peer::builder().client(near).unwrap();
    tokio::spawn(splits::bridge(client, bridge, splits::Cuts::none()));
    let (_, _, identity) = AskedClient::new(peer.channel()).about().await.unwrap();
    assert_eq!(identity.as_deref(), Some("pump"));
}

#[tokio::test]
async fn the_header_of_a_proxy_comes_before_the_upgrade() {
    let (seen, mut peers) = tokio::sync::mpsc::unbounded_channel();
    let server = builder()
        .on_connect(move |peer| {
            let _ = seen.send(peer);
        })
        .listen(Bind::to("ws://127.0.0.1:0").proxy_protocol(["127.0.0.1"]))
        .await
        .unwrap();
    let header = "PROXY TCP4 192.0.2.7 10.0.0.1 443 80\r\n".to_owned();
    let mut socket = raw::say(&server, (header + &raw::request("/", "")).as_bytes()).await;
    assert!(raw::read_head(&mut socket).await.starts_with("HTTP/1.1 101 "));
    assert_eq!(peers.recv().await.unwrap().peer_info().address(), Some("ws://192.0.2.7:443"));
}

#[tokio::test]
async fn a_connection_ends_on_both_sides_when_one_closes_it() {
    let (seen, mut peers) = tokio::sync::mpsc::unbounded_channel();
    let server = builder()
        .on_connect(move |peer| {
            let _ = seen.send(peer);
        })
        .listen("ws://127.0.0.1:0")
        .await
        .unwrap();
    let near = connect(server.local_addr()).await.unwrap();
    let far = peers.recv().await.unwrap();
    near.close();
    let first = far.closed().await.to_string();
    let near = connect(server.local_addr()).await.unwrap();
    let far = peers.recv().await.unwrap();
    server.shutdown(Duration::ZERO).await;
    let (near, far) = (near.closed().await.to_string(), far.closed().await.to_string());
    for end in [first, near, far] {
        assert!(!end.contains("WebSocket") && !end.contains("transport"), "{end}");
    }
}

#[cfg(feature = "tls")]
mod secure {
    use muxado_rpc::{ClientTls, ServerTls, TlsError};

    use super::*;
    use crate::certs::Ca;

    #[tokio::test]
    async fn wss_is_a_websocket_over_tls_and_knows_clients_by_their_certificates() {
        let ca = Ca::new("ca");
        let pair = ca.sign(&["127.0.0.1"]);
        let tls = ServerTls::from_pem(&pair.cert, &pair.key).client_ca(&ca.pem);
        let server = builder().tls(tls).listen("wss://127.0.0.1:0/rpc").await.unwrap();
        assert!(server.local_addr().to_string().starts_with("wss://127.0.0.1:"));
        let own = ca.sign(&["agent-7.example"]);
        let with = |ca: &Ca| Peer::builder().tls(ClientTls::with_ca(&ca.pem).identity(&own.cert, &own.key));
        let peer = with(&ca).connect(server.local_addr()).await.unwrap();
        let (path, _, identity) = AskedClient::new(peer.channel()).about().await.unwrap();
        assert_eq!((path.as_deref(), identity.as_deref()), (Some("/rpc"), Some("agent-7.example")));
        assert_eq!(peer.identity(), None);
        let error = with(&Ca::new("other")).connect(server.local_addr()).await.unwrap_err();
        assert!(matches!(TlsError::of(&error), Some(TlsError::PeerCertificate(_))), "{error}");
        // One protocol of TLS is not another.
        let address = server.local_addr().to_string().replace("wss://", "tls://").replace("/rpc", "");
        let error = with(&ca).connect(&address).await.unwrap_err();
        assert_eq!(TlsError::of(&error), Some(&TlsError::NoCommonProtocol), "{error}");
        let error = builder().listen("wss://127.0.0.1:0").await.unwrap_err();
        assert!(error.to_string().contains("need a certificate"), "{error}");
        let error = with(&ca).connect("ws://127.0.0.1:1").await.unwrap_err();
        assert!(error.to_string().starts_with("cannot connect to ws://127.0.0.1:1: "), "{error}");
    }
}
