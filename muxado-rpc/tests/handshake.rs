//! A user-supplied step between accepting a socket and starting its session.
#![expect(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use muxado_rpc::{BoxError, Context, Handshake, Limits, Peer, PeerInfo, Server, Socket, reconnect::BoxIo};
use support::{CODECS, WorkClient, WorkServer, Worker, assert_alive};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::mpsc,
    time::timeout,
};

#[muxado_rpc::service]
trait Who {
    async fn am_i(&self, cx: &Context) -> (Option<String>, Option<u64>);
}

struct Known;

impl Who for Known {
    async fn am_i(&self, cx: &Context) -> (Option<String>, Option<u64>) {
        let peer = cx.peer_info();
        let level = peer.extensions().get::<Level>().map(|Level(level)| *level);
        (peer.identity().map(str::to_owned), level)
    }
}

/// Put into the extensions of a peer.
struct Level(u64);

/// Reads a line that says what to do, and counts the handshakes under way.
#[derive(Clone, Default)]
struct TokenLine(Arc<AtomicUsize>);

struct Under(TokenLine);

impl Drop for Under {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl TokenLine {
    async fn until(&self, count: usize) {
        while self.0.load(Ordering::SeqCst) != count {
            tokio::task::yield_now().await;
        }
    }
}

#[async_trait::async_trait]
impl Handshake for TokenLine {
    async fn accept(&self, mut socket: Socket, peer: &mut PeerInfo) -> Result<BoxIo, BoxError> {
        self.0.fetch_add(1, Ordering::SeqCst);
        let _under = Under(self.clone());
        let mut line = Vec::new();
        while line.last() != Some(&b'\n') {
            line.push(socket.read_u8().await?);
        }
        match line.as_slice() {
            b"pump\n" => {
                peer.set_identity("pump-7");
                peer.extensions_mut().insert(Level(3));
                socket.write_all(b"welcome\n").await?;
                Ok(Box::new(socket))
            }
            b"panic\n" => panic!("a secret"),
            b"slow\n" => pending().await,
            _ => Err("unknown token".into()),
        }
    }
}

fn builder(shaking: &TokenLine) -> muxado_rpc::ServerBuilder {
    Server::builder()
        .serve(WorkServer::new(Worker::default()))
        .serve(WhoServer::new(Known))
        .handshake(shaking.clone())
}

async fn listen(builder: muxado_rpc::ServerBuilder) -> Server {
    builder.listen("tcp://127.0.0.1:0").await.unwrap()
}

/// A socket that has said this.
async fn say(server: &Server, token: &str) -> TcpStream {
    let address = server.local_addr().socket_addr().unwrap();
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(token.as_bytes()).await.unwrap();
    socket
}

async fn welcomed(server: &Server) -> Peer {
    let mut socket = say(server, "pump\n").await;
    let mut answer = [0; 8];
    socket.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"welcome\n");
    Peer::builder().client(socket).unwrap()
}

/// That the server ends the connection without a byte.
async fn assert_shut(mut socket: TcpStream) {
    let mut rest = Vec::new();
    let _ = socket.read_to_end(&mut rest).await;
    assert_eq!(rest, b"");
}

#[tokio::test]
async fn a_handshake_sets_who_the_peer_is_for_handlers_and_hooks() {
    let (told, mut connected) = mpsc::unbounded_channel();
    let builder = builder(&TokenLine::default()).on_connect(move |peer| drop(told.send(peer)));
    let server = listen(builder).await;
    let peer = welcomed(&server).await;
    for codec in CODECS {
        let who = WhoClient::new(peer.channel()).with_codec(codec);
        assert_eq!(who.am_i().await, Ok((Some("pump-7".to_owned()), Some(3))));
    }
    let from = connected.recv().await.unwrap();
    assert_eq!(from.peer_info().identity(), Some("pump-7"));
    assert!(from.peer_info().address().unwrap().starts_with("tcp://127.0.0.1:"));
    assert!(server.shutdown(Duration::from_secs(5)).await.is_clean());
    assert!(peer.closed().await.local.is_clean());
    assert_eq!(server.call_stats().served, 2);
}

#[tokio::test]
async fn a_handshake_that_fails_or_panics_ends_its_connection_only() {
    let (told, mut connected) = mpsc::unbounded_channel();
    let builder = builder(&TokenLine::default()).on_connect(move |peer| drop(told.send(peer)));
    let server = listen(builder).await;
    let peer = welcomed(&server).await;
    for token in ["who?\n", "panic\n"] {
        assert_shut(say(&server, token).await).await;
        assert_alive(&WorkClient::new(peer.channel())).await;
    }
    assert_alive(&WorkClient::new(welcomed(&server).await.channel())).await;
    drop(server);
    let mut hooks = 0;
    while connected.recv().await.is_some() {
        hooks += 1;
    }
    assert_eq!(hooks, 2, "a connection whose handshake failed was told of");
}

#[tokio::test]
async fn a_slow_handshake_holds_up_nobody_and_counts_as_a_connection() {
    let shaking = TokenLine::default();
    let server = listen(builder(&shaking).limits(Limits::default().max_connections(2))).await;
    let slow = say(&server, "slo").await;
    shaking.until(1).await;
    let peer = welcomed(&server).await;
    assert_alive(&WorkClient::new(peer.channel())).await;
    // Waits for a place, until the slow one gives up.
    let mut next = say(&server, "pump\n").await;
    let mut answer = [0; 8];
    assert!(timeout(Duration::from_millis(50), next.read(&mut answer)).await.is_err());
    drop(slow);
    next.read_exact(&mut answer).await.unwrap();
    assert_alive(&WorkClient::new(Peer::builder().client(next).unwrap().channel())).await;
}

#[tokio::test]
async fn a_server_that_ends_waits_for_no_handshake() {
    for dropped in [false, true] {
        let shaking = TokenLine::default();
        let server = listen(builder(&shaking)).await;
        let slow = say(&server, "slow\n").await;
        shaking.until(1).await;
        if dropped {
            drop(server);
        } else {
            let drained = timeout(Duration::from_secs(5), server.shutdown(Duration::from_secs(3600)));
            assert!(drained.await.unwrap().is_clean());
        }
        assert_shut(slow).await;
        shaking.until(0).await;
    }
}
