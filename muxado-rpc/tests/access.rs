//! What a connection may know of a server is decided before anything is told.
#![expect(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use muxado_rpc::{
    Access, BoxError, BoxIo, Handshake, NamedService, Peer, PeerInfo, Router, Server, ServerBuilder,
    ServiceId, Socket, Status,
};
use support::{WorkClient, WorkServer, Worker};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

#[muxado_rpc::service]
trait Public {
    async fn version(&self) -> u32;
}

struct One;

impl Public for One {
    async fn version(&self) -> u32 {
        1
    }
}

/// A service that is nowhere.
#[muxado_rpc::service(id = 4711)]
trait Nowhere {
    async fn echo(&self, text: String) -> String;
}

/// The first byte is the identity.
struct Letter;

#[async_trait::async_trait]
impl Handshake for Letter {
    async fn accept(&self, mut socket: Socket, peer: &mut PeerInfo) -> Result<BoxIo, BoxError> {
        peer.set_identity(char::from(socket.read_u8().await?).to_string());
        Ok(Box::new(socket))
    }
}

fn access(peer: &PeerInfo) -> Access {
    match peer.identity() {
        Some("a") => Access::all(),
        Some("p") => Access::only(|service| service.name() == "Public"),
        Some("n") => Access::only(|_| false),
        Some("!") => panic!("a secret"),
        _ => Access::refuse(),
    }
}

fn builder() -> ServerBuilder {
    let work = WorkServer::new(Worker::default());
    Server::builder().serve(work).serve(PublicServer::new(One)).handshake(Letter).access(access)
}

async fn listen(builder: ServerBuilder) -> Server {
    builder.listen("tcp://127.0.0.1:0").await.unwrap()
}

async fn connect(server: &Server, letter: u8) -> Peer {
    let mut socket = TcpStream::connect(server.local_addr().socket_addr().unwrap()).await.unwrap();
    socket.write_u8(letter).await.unwrap();
    Peer::builder().client(socket).unwrap()
}

async fn names(peer: &Peer) -> Vec<String> {
    let told = peer.capabilities().await.unwrap();
    let mut names: Vec<_> = told.services().iter().map(|service| service.name().to_owned()).collect();
    names.sort();
    names
}

/// The failure of a call, with ids of services as one.
fn failure(status: &Status, id: ServiceId) -> String {
    status.to_string().replace(&id.to_string(), "ID")
}

#[tokio::test(start_paused = true)]
async fn a_connection_sees_and_calls_what_the_hook_allows() {
    let server = listen(builder()).await;
    let all = connect(&server, b'a').await;
    assert_eq!(names(&all).await, ["Public", "Work"]);
    assert_eq!(WorkClient::new(all.channel()).echo("x".to_owned()).await.unwrap(), "x");
    let part = connect(&server, b'p').await;
    assert_eq!(names(&part).await, ["Public"]);
    assert_eq!(PublicClient::new(part.channel()).version().await.unwrap(), 1);
    let none = connect(&server, b'n').await;
    assert!(names(&none).await.is_empty());
}

#[tokio::test]
async fn a_hidden_service_fails_as_one_that_does_not_exist() {
    for with_fallback in [false, true] {
        let mut builder = builder();
        if with_fallback {
            builder = builder.fallback(Router::new());
        }
        let server = listen(builder).await;
        for (letter, listed) in [(b'p', "Public"), (b'n', "none")] {
            let peer = connect(&server, letter).await;
            let hidden = WorkClient::new(peer.channel()).echo("x".to_owned()).await.unwrap_err();
            let absent = NowhereClient::new(peer.channel()).echo("x".to_owned()).await.unwrap_err();
            let hidden = failure(hidden.status().unwrap(), WorkServer::<Worker>::INFO.id());
            let absent = failure(absent.status().unwrap(), ServiceId::new(4711));
            assert_eq!(hidden, absent);
            assert!(hidden.contains(listed) && !hidden.contains("Work"), "{hidden}");
        }
    }
}

#[tokio::test]
async fn a_refused_connection_is_closed_without_a_byte_and_counted() {
    let server = listen(builder()).await;
    for letter in [b'x', b'!'] {
        let mut socket = TcpStream::connect(server.local_addr().socket_addr().unwrap()).await.unwrap();
        socket.write_u8(letter).await.unwrap();
        let mut told = Vec::new();
        let _ = socket.read_to_end(&mut told).await;
        assert_eq!(told, b"");
    }
    while server.stats().refused_connections < 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!((server.stats().connections, server.stats().failed_handshakes), (0, 0));
    let server = listen(Server::builder().serve(PublicServer::new(One)).access(access)).await;
    let mut socket = TcpStream::connect(server.local_addr().socket_addr().unwrap()).await.unwrap();
    assert_eq!(socket.read(&mut [0; 1]).await.unwrap(), 0);
    assert_eq!(server.stats().refused_connections, 1);
}
