//! A server says whether its services take calls, in the words of `grpc.health.v1`.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::{
    collections::BTreeMap,
    io,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use muxado::{Config, Session, StreamType, TypedSession};
use muxado_rpc::{
    Access, Code, Health, HealthClient, HealthStatus, Peer, ReflectionClient, Router, Server, testing,
};
use support::{WorkClient, WorkServer, Worker};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf, duplex},
    net::TcpStream,
};

#[muxado_rpc::service]
trait Door {
    async fn is_open(&self) -> bool;
}

struct House;

impl Door for House {
    async fn is_open(&self) -> bool {
        true
    }
}

fn serving(health: &Health) -> muxado_rpc::PeerBuilder {
    // Services that are added later are known as well.
    Peer::builder().health(health).serve(DoorServer::new(House))
}

#[tokio::test(start_paused = true)]
async fn what_is_served_takes_calls_unless_something_else_is_set() {
    let health = Health::new();
    let (near, _far) = testing::pair(Peer::builder(), serving(&health)).unwrap();
    let client = HealthClient::new(near.channel());
    for name in ["", "Door"] {
        assert_eq!(client.check(name).await.unwrap(), HealthStatus::Serving, "{name:?}");
    }
    let status = client.check("Floor\n").await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::NotFound, "no service `Floor\\n` here"));

    health.set("Door", HealthStatus::NotServing);
    health.set("database", HealthStatus::Unknown);
    let expected = [
        ("", HealthStatus::Serving),
        ("Door", HealthStatus::NotServing),
        ("database", HealthStatus::Unknown),
        (HealthClient::SERVICE, HealthStatus::Serving),
    ];
    let expected: BTreeMap<_, _> =
        expected.into_iter().map(|(name, status)| (name.to_owned(), status)).collect();
    assert_eq!(client.list().await.unwrap(), expected);
    assert_eq!(health.get("Door"), Some(HealthStatus::NotServing));
    health.clear("Door");
    assert_eq!((health.get("Door"), client.check("Door").await.unwrap()), (None, HealthStatus::Serving));
}

#[tokio::test(start_paused = true)]
async fn who_watches_is_told_of_each_change_once() {
    let health = Health::new();
    let (near, _far) = testing::pair(Peer::builder(), serving(&health)).unwrap();
    let client = HealthClient::new(near.channel());
    let mut door = client.watch("Door").await.unwrap();
    let mut absent = client.watch("database").await.unwrap();
    assert_eq!(door.next().await.unwrap(), Some(HealthStatus::Serving));
    assert_eq!(absent.next().await.unwrap(), Some(HealthStatus::ServiceUnknown));
    health.set("Door", HealthStatus::Serving);
    health.set("database", HealthStatus::Serving);
    assert_eq!(absent.next().await.unwrap(), Some(HealthStatus::Serving));
    health.set("Door", HealthStatus::NotServing);
    assert_eq!(door.next().await.unwrap(), Some(HealthStatus::NotServing));
    health.shut_down();
    assert_eq!(door.next().await.unwrap(), None);
    assert_eq!(absent.next().await.unwrap(), Some(HealthStatus::NotServing));
    assert_eq!(absent.next().await.unwrap(), None);
    health.set("Door", HealthStatus::Serving);
    assert_eq!(client.check("Door").await.unwrap(), HealthStatus::NotServing);
}

/// A socket, and all bytes that came by it.
struct Recorded {
    socket: TcpStream,
    bytes: Arc<Mutex<Vec<u8>>>,
}

impl AsyncRead for Recorded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.socket).poll_read(cx, buf);
        self.bytes.lock().unwrap().extend(&buf.filled()[before..]);
        polled
    }
}

impl AsyncWrite for Recorded {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

/// The types and payloads of frames (PROTOCOL §2).
fn frames(mut bytes: &[u8]) -> Vec<(u8, &[u8])> {
    let mut frames = Vec::new();
    while let [high, middle, low, kind, _, _, _, _, rest @ ..] = bytes {
        let length = u32::from_be_bytes([0, *high, *middle, *low]) as usize;
        let (payload, behind) = rest.split_at(length.min(rest.len()));
        frames.push((kind >> 4, payload));
        bytes = behind;
    }
    frames
}

#[tokio::test]
async fn a_server_that_shuts_down_says_so_before_it_goes_away() {
    let health = Health::new();
    let worker = Worker::default();
    let server = Server::builder().serve(WorkServer::new(worker.clone())).health(&health);
    let server = server.listen("tcp://127.0.0.1:0").await.unwrap();
    let socket = TcpStream::connect(server.local_addr().socket_addr().unwrap()).await.unwrap();
    let bytes: Arc<Mutex<Vec<u8>>> = Arc::default();
    let recorded = Recorded { socket, bytes: Arc::clone(&bytes) };
    let peer = Peer::builder().client(recorded).unwrap();
    let mut watch = HealthClient::new(peer.channel()).watch("").await.unwrap();
    assert_eq!(watch.next().await.unwrap(), Some(HealthStatus::Serving));
    // A call under way, which the drain waits for.
    let hanging = tokio::spawn(WorkClient::new(peer.channel()).hang());
    worker.until_hanging(1).await;
    let draining = tokio::spawn(async move { server.shutdown(Duration::from_secs(3600)).await });
    assert_eq!(watch.next().await.unwrap(), Some(HealthStatus::NotServing));
    assert_eq!(watch.next().await.unwrap(), None);
    peer.going_away().await;
    hanging.abort();
    draining.await.unwrap();

    let bytes = bytes.lock().unwrap();
    let frames = frames(&bytes);
    let told = |(_, payload): &(u8, &[u8])| payload.windows(11).any(|part| part == b"NOT_SERVING");
    let (told, gone) = (frames.iter().position(told), frames.iter().position(|(kind, _)| *kind == GOAWAY));
    assert!(told.is_some() && told < gone, "{told:?} {gone:?}");
}

const GOAWAY: u8 = 3;

#[tokio::test(start_paused = true)]
async fn who_does_not_read_holds_no_drain_up() {
    let health = Health::new();
    let server = Server::builder().serve(DoorServer::new(House)).health(&health);
    let server = server.listen("tcp://127.0.0.1:0").await.unwrap();
    let peer = muxado_rpc::connect(server.local_addr()).await.unwrap();
    let _watch = HealthClient::new(peer.channel()).watch("").await.unwrap();
    let began = tokio::time::Instant::now();
    server.shutdown(Duration::from_secs(3600)).await;
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
}

#[tokio::test]
async fn what_access_hides_is_not_known() {
    let health = Health::new();
    let server = Server::builder().serve(DoorServer::new(House)).serve(WorkServer::new(Worker::default()));
    let visible = ["Door", HealthClient::SERVICE];
    let server =
        server.health(&health).access(move |_| Access::only(move |info| visible.contains(&info.name())));
    let server = server.listen("tcp://127.0.0.1:0").await.unwrap();
    health.set("Work", HealthStatus::NotServing);
    let peer = muxado_rpc::connect(server.local_addr()).await.unwrap();
    let client = HealthClient::new(peer.channel());
    assert_eq!(client.check("Work").await.unwrap_err().code(), Code::NotFound);
    let names: Vec<_> = client.list().await.unwrap().into_keys().collect();
    assert_eq!(names, ["", "Door", HealthClient::SERVICE]);
    let mut watch = client.watch("Work").await.unwrap();
    assert_eq!(watch.next().await.unwrap(), Some(HealthStatus::ServiceUnknown));
}

#[tokio::test(start_paused = true)]
async fn it_is_described_and_in_routers() {
    let router = Router::new().health(&Health::new()).unwrap().reflection().unwrap();
    assert_eq!(HealthClient::new(router.clone()).check("").await.unwrap(), HealthStatus::Serving);
    let health = ReflectionClient::new(router).describe(HealthClient::SERVICE).await.unwrap();
    let names: Vec<_> = health.methods.iter().map(|method| &*method.name).collect();
    assert_eq!(names, ["check", "watch", "list"]);
    assert!(Router::new().health(&Health::new()).unwrap().health(&Health::new()).is_err());
}

/// The example of PROTOCOL §10.15.
#[tokio::test(start_paused = true)]
async fn a_peer_that_knows_plain_json_only_calls_it_as_the_protocol_says() {
    let (near, far) = duplex(64 * 1024);
    let health = Health::new();
    let _peer = serving(&health).server(far).unwrap();
    health.shut_down();
    let (session, driver) = Session::client(near, Config::default());
    tokio::spawn(driver);
    let session = TypedSession::new(session);
    let (_, section) = include_str!("../../PROTOCOL.md").split_once("### 10.15 Health\n").unwrap();
    let example = section.split("```").nth(1).unwrap();
    let lines = |text: &str, mark: &str| {
        let lines = text.lines().filter_map(|line| Some(format!("{}\n", line.strip_prefix(mark)?)));
        lines.filter(|line| line.starts_with('{')).collect::<String>()
    };
    let id = muxado_rpc::ServiceId::from_name("muxado.Health").as_u32();
    for exchange in example.split("\n\n") {
        let mut stream = session.open_typed(StreamType::new(id)).await.unwrap();
        stream.write_all(lines(exchange, "> ").as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut found = String::new();
        stream.read_to_string(&mut found).await.unwrap();
        assert_eq!(found, lines(exchange, "< "));
    }
}
