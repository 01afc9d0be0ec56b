//! Connections behind a load balancer that says where they come from.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use muxado_rpc::{
    Bind, BoxError, Context, Limits, ListenError, Peer, PeerInfo, Server, ServerBuilder, Socket,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

#[muxado_rpc::service]
trait Who {
    async fn am_i(&self, cx: &Context) -> String;
}

struct Known;

impl Who for Known {
    async fn am_i(&self, cx: &Context) -> String {
        cx.peer_info().to_string()
    }
}

fn builder() -> ServerBuilder {
    Server::builder().serve(WhoServer::new(Known))
}

async fn listen(builder: ServerBuilder, trusted: &str) -> Server {
    builder.listen(Bind::to("tcp://127.0.0.1:0").proxy_protocol([trusted])).await.unwrap()
}

/// A connection that begins with these bytes.
async fn begin(server: &Server, header: &[u8]) -> TcpStream {
    let mut socket = TcpStream::connect(server.local_addr().socket_addr().unwrap()).await.unwrap();
    socket.write_all(header).await.unwrap();
    socket
}

async fn who(server: &Server, header: &[u8]) -> (String, Peer) {
    let peer = Peer::builder().client(begin(server, header).await).unwrap();
    (WhoClient::new(peer.channel()).am_i().await.unwrap(), peer)
}

/// Waits until the server closes the connection. It has sent nothing.
async fn assert_shut(mut socket: TcpStream) {
    let mut rest = Vec::new();
    let _ = socket.read_to_end(&mut rest).await;
    assert_eq!(rest, b"");
}

const V1: &[u8] = b"PROXY TCP4 192.0.2.7 10.0.0.1 443 7000\r\n";
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x08\x0a\x00\x00\x01\x01\xbb\x1b\x58";

#[tokio::test]
async fn the_address_of_a_peer_is_the_one_that_the_header_says() {
    let server = listen(builder(), "127.0.0.0/8").await;
    assert_eq!(who(&server, V1).await.0, "tcp://192.0.2.7:443");
    assert_eq!(who(&server, V2).await.0, "tcp://192.0.2.8:443");
    // A balancer that speaks for itself.
    assert!(who(&server, b"PROXY UNKNOWN\r\n").await.0.starts_with("tcp://127.0.0.1:"));
    assert_eq!(server.stats().refused_connections, 0);
}

#[tokio::test]
async fn a_handshake_comes_after_the_header() {
    let shaking = |mut socket: Socket, peer: PeerInfo| async move {
        let token = socket.read_u8().await?;
        let identity = format!("{}", char::from(token));
        Ok::<_, BoxError>((socket, peer.with_identity(identity)))
    };
    let server = listen(builder().handshake(shaking), "127.0.0.1").await;
    assert_eq!(who(&server, &[V1, b"a"].concat()).await.0, "a at tcp://192.0.2.7:443");
}

#[tokio::test]
async fn who_is_not_trusted_is_refused_with_and_without_a_header() {
    let server = listen(builder(), "192.0.2.0/24").await;
    for header in [V1, V2, b""] {
        assert_shut(begin(&server, header).await).await;
    }
    assert_eq!(server.stats().refused_connections, 3);
}

#[tokio::test]
async fn without_a_valid_header_there_is_no_connection() {
    let server = listen(builder(), "127.0.0.1").await;
    let long = [&V2[..14], b"\xff\xff"].concat();
    for header in [&b"\0\0\0\0\x12\0\0\x03abcdefgh"[..], b"GET / HTTP/1.1\r\n\r\n", &[b'P'; 200], &long] {
        assert_shut(begin(&server, header).await).await;
    }
    assert_eq!(server.stats().refused_connections, 4);
    // One that ends in the middle of its header, with other connections going on.
    let mut half = begin(&server, &V2[..20]).await;
    who(&server, V2).await;
    half.shutdown().await.unwrap();
    assert_shut(half).await;
    assert_eq!(server.stats().refused_connections, 5);
}

#[tokio::test]
async fn half_a_header_is_waited_for_until_the_time_of_a_handshake_is_over() {
    let limits = Limits::default().handshake_timeout(Duration::from_millis(1));
    let server = listen(builder().limits(limits), "127.0.0.1").await;
    assert_shut(begin(&server, &V1[..20]).await).await;
    assert_eq!(server.stats().refused_connections, 1);
}

#[tokio::test]
async fn connections_are_counted_by_the_address_that_the_header_says() {
    let limits = Limits::default().max_connections_per_address(1);
    let server = listen(builder().limits(limits), "127.0.0.1").await;
    let (_, first) = who(&server, V1).await;
    let (_, _second) = who(&server, V2).await;
    assert_shut(begin(&server, V1).await).await;
    assert_eq!(server.stats().refused_connections, 1);
    // There is room again once the connection has ended.
    first.close();
    first.closed().await;
    while server.stats().connections > 1 {
        tokio::task::yield_now().await;
    }
    who(&server, V1).await;
}

#[tokio::test]
async fn other_sockets_of_the_server_take_no_header() {
    let binds = [Bind::to("tcp://127.0.0.1:0").proxy_protocol(["127.0.0.1"]), Bind::to("tcp://127.0.0.1:0")];
    let server = builder().listen(&binds).await.unwrap();
    assert_eq!(who(&server, V1).await.0, "tcp://192.0.2.7:443");
    let direct = muxado_rpc::connect(&server.local_addrs()[1]).await.unwrap();
    assert!(WhoClient::new(direct.channel()).am_i().await.unwrap().starts_with("tcp://127.0.0.1:"));
    let mut direct = TcpStream::connect(server.local_addrs()[1].socket_addr().unwrap()).await.unwrap();
    direct.write_all(V1).await.unwrap();
    let mut answer = Vec::new();
    direct.read_to_end(&mut answer).await.unwrap();
    assert!(String::from_utf8_lossy(&answer).contains("a header of the PROXY protocol"), "{answer:?}");
}

#[tokio::test]
async fn a_source_that_is_no_network_is_an_error() {
    let error =
        builder().listen(Bind::to("tcp://127.0.0.1:0").proxy_protocol(["10.0.0.0/99"])).await.unwrap_err();
    assert!(matches!(error, ListenError::Address(_)));
    assert_eq!(
        error.to_string(),
        "\"10.0.0.0/99\" is not a valid address: it is no IP address or network of a trusted proxy; use 10.0.0.5 or \
         10.0.0.0/8"
    );
}
