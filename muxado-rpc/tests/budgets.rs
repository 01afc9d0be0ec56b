//! What the calls of peers may hold: responses that wait, half-sent requests, handlers without a connection, and
//! connections of one address.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::{Stream, stream};
use muxado::{Config, ErrorCode, ReadError, Session, StreamType, TypedSession, TypedStream};
use muxado_rpc::{
    CallError, CallStats, Code, Limits, Peer, PeerBuilder, Server, ServerBuilder, ServiceId, Status,
};
use support::{WorkClient, WorkServer, Worker};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, duplex},
    net::TcpStream,
    sync::Notify,
    time::sleep,
};

const KIB: usize = 1024;

#[muxado_rpc::service]
trait Keep {
    /// Sends pieces of so many bytes without end.
    async fn pieces(&self, bytes: usize) -> impl Stream<Item = String> + Send;
    /// Returns so many bytes after so many milliseconds.
    async fn later(&self, ms: u64, bytes: usize) -> String;
    /// Runs until it is let go, whatever becomes of its caller.
    #[method(no_cancel)]
    async fn finish(&self);
}

#[derive(Clone, Default)]
struct Keeper {
    running: Arc<AtomicUsize>,
    let_go: Arc<Notify>,
}

struct Running(Arc<AtomicUsize>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Keep for Keeper {
    async fn pieces(&self, bytes: usize) -> impl Stream<Item = String> + Send {
        stream::repeat_with(move || "x".repeat(bytes))
    }

    async fn later(&self, ms: u64, bytes: usize) -> String {
        sleep(Duration::from_millis(ms)).await;
        "x".repeat(bytes)
    }

    async fn finish(&self) {
        let let_go = self.let_go.notified();
        self.running.fetch_add(1, Ordering::SeqCst);
        let _running = Running(Arc::clone(&self.running));
        let_go.await;
    }
}

impl Keeper {
    fn running(&self) -> usize {
        self.running.load(Ordering::SeqCst)
    }
}

/// A peer that serves, and a bare client of it, which reads nothing that it is not told to.
struct Rig {
    session: TypedSession,
    peer: Peer,
}

fn rig(builder: PeerBuilder) -> Rig {
    let (near, far) = duplex(64 * KIB);
    let builder = builder.serve(WorkServer::new(Worker::default())).serve(KeepServer::new(Keeper::default()));
    let peer = builder.server(far).unwrap();
    let (session, driver) = Session::client(near, Config::default());
    tokio::spawn(driver);
    Rig { session: TypedSession::new(session), peer }
}

/// Lets the tasks of both ends come to rest.
async fn settle() {
    sleep(Duration::from_millis(1)).await;
}

/// Waits until something is so that others bring about.
async fn until(is_so: impl Fn() -> bool) {
    while !is_so() {
        sleep(Duration::from_millis(1)).await;
    }
}

/// Begins a call with these bytes of a request in JSON.
async fn begin(session: &TypedSession, service: &str, request: &[u8]) -> TypedStream {
    let id = StreamType::new(ServiceId::from_name(service).as_u32());
    let mut stream = session.open_typed(id).await.unwrap();
    stream.write_all(request).await.unwrap();
    stream.flush().await.ok();
    stream
}

impl Rig {
    async fn call(&self, service: &str, request: &str) -> TypedStream {
        let stream = begin(&self.session, service, request.as_bytes()).await;
        settle().await;
        stream
    }

    /// A call whose response has so many bytes.
    async fn grow(&self, bytes: usize) -> TypedStream {
        self.call("Work", &format!("{{\"method\":\"grow\",\"params\":{{\"bytes\":{bytes}}}}}\n")).await
    }

    fn stats(&self) -> CallStats {
        self.peer.call_stats()
    }
}

/// The whole response, or the code of the reset that ends it.
async fn response(stream: &mut TypedStream) -> Result<String, ErrorCode> {
    let (mut bytes, mut buf) = (Vec::new(), vec![0; 64 * KIB]);
    loop {
        match stream.read(&mut buf).await {
            Ok(0) => return Ok(String::from_utf8(bytes).unwrap()),
            Ok(len) => bytes.extend(&buf[..len]),
            Err(error) => match error.get_ref().and_then(|error| error.downcast_ref()) {
                Some(ReadError::Reset(code)) => return Err(*code),
                _ => return Err(ErrorCode::NO_ERROR),
            },
        }
    }
}

/// Messages of half a MiB, and responses of `memory` together.
fn responses(memory: usize) -> PeerBuilder {
    Peer::builder().limits(Limits::default().max_message_size(512 * KIB).max_response_memory(memory))
}

#[tokio::test(start_paused = true)]
async fn a_call_is_served_once_its_response_is_out_and_what_waits_is_seen() {
    let rig = rig(responses(2048 * KIB));
    let mut stream = rig.grow(500 * KIB).await;
    let stats = rig.stats();
    assert_eq!((stats.started, stats.served, stats.in_flight()), (1, 0, 1));
    assert!((500 * KIB as u64..510 * KIB as u64).contains(&stats.response_bytes), "{}", stats.response_bytes);
    assert!(response(&mut stream).await.unwrap().len() > 500 * KIB);
    settle().await;
    let stats = rig.stats();
    assert_eq!((stats.served, stats.in_flight(), stats.response_bytes), (1, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_given_up_while_its_response_waits_was_not_served() {
    let rig = rig(responses(2048 * KIB));
    drop(rig.grow(500 * KIB).await);
    settle().await;
    let stats = rig.stats();
    assert_eq!((stats.served, stats.cancelled, stats.response_bytes), (0, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn responses_that_nobody_reads_are_bounded_and_what_waited_longest_gives_way() {
    let rig = rig(responses(1200 * KIB));
    let mut first = rig.grow(500 * KIB).await;
    let mut second = rig.grow(500 * KIB).await;
    assert_eq!((rig.stats().failed, rig.stats().in_flight()), (0, 2));
    let mut third = rig.grow(500 * KIB).await;
    let stats = rig.stats();
    assert_eq!((stats.failed, stats.in_flight()), (1, 2));
    assert!(stats.response_bytes <= 1200 * KIB as u64, "{}", stats.response_bytes);
    assert_eq!(response(&mut first).await, Err(ErrorCode::ENHANCE_YOUR_CALM));
    // Others wait to be read: a further call is not begun.
    let mut refused = rig.grow(10).await;
    let refused = response(&mut refused).await.unwrap();
    let said = "Work.grow: no room beside the responses that wait for their callers, over the serving side's limit \
                of 1228800 bytes a connection (Limits::max_response_memory)";
    assert!(refused.contains(said) && refused.contains(r#""executed":false"#), "{refused}");
    for waiting in [&mut second, &mut third] {
        assert!(response(waiting).await.unwrap().ends_with("x\"}\n"));
    }
    settle().await;
    assert_eq!(response(&mut rig.grow(10).await).await.unwrap(), "{\"ok\":\"xxxxxxxxxx\"}\n");
    assert_eq!((rig.stats().served, rig.stats().response_bytes), (3, 0));
}

#[tokio::test(start_paused = true)]
async fn a_response_of_which_nothing_is_sent_gives_way_to_a_status() {
    let (near, far) = duplex(64 * KIB);
    let config = Config::default().session_send_buffer(128 * KIB);
    let far =
        responses(1110 * KIB).config(config).serve(KeepServer::new(Keeper::default())).server(far).unwrap();
    let (session, mut driver) = Session::client(near, Config::default());
    let session = TypedSession::new(session);
    let calls = async {
        let mut streams = Vec::new();
        // The first six fill the session's buffer.
        for (ms, kib) in [(10, 100); 6].into_iter().chain([(11, 500), (100, 450)]) {
            let bytes = kib * KIB;
            let request = format!("{{\"method\":\"later\",\"params\":{{\"ms\":{ms},\"bytes\":{bytes}}}}}\n");
            streams.push(begin(&session, "Keep", request.as_bytes()).await);
        }
        settle().await;
        streams
    };
    let mut streams = tokio::select! {
        streams = calls => streams,
        _ = &mut driver => unreachable!("the session ended"),
    };
    // From here on the client's transport stands still: of the last two responses nothing can be sent.
    sleep(Duration::from_secs(1)).await;
    let stats = far.call_stats();
    assert!(stats.response_bytes <= 1110 * KIB as u64 && stats.in_flight() > 1, "{stats:?}");
    tokio::spawn(driver);
    let mut said = Vec::new();
    for stream in &mut streams {
        said.push(response(stream).await.unwrap());
    }
    let refused = said.remove(6);
    assert!(said.iter().all(|said| said.ends_with("x\"}\n")));
    assert!(refused.contains("resource_exhausted") && refused.contains("max_response_memory"), "{refused}");
    assert!(!refused.contains("executed"), "it was executed: {refused}");
    settle().await;
    assert_eq!((far.call_stats().served, far.call_stats().failed), (7, 1));
}

#[tokio::test(start_paused = true)]
async fn hundreds_of_large_responses_hold_no_more_than_the_limit() {
    let rig = rig(responses(4096 * KIB));
    let mut streams = Vec::new();
    for _ in 0..100 {
        streams.push(rig.grow(500 * KIB).await);
        assert!(rig.stats().response_bytes <= 4096 * KIB as u64);
    }
    assert_eq!(rig.stats().served, 0);
    drop(streams);
    settle().await;
    assert_eq!((rig.stats().response_bytes, rig.stats().in_flight()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn items_that_wait_are_counted_and_give_way_too() {
    let rig = rig(responses(1));
    let request = |bytes: usize| format!("{{\"method\":\"pieces\",\"params\":{{\"bytes\":{bytes}}}}}\n");
    let first = rig.call("Keep", &request(400 * KIB)).await;
    let bytes = rig.stats().response_bytes;
    assert!((1..=420 * KIB as u64).contains(&bytes), "{bytes}");
    let second = rig.call("Keep", &request(400 * KIB)).await;
    let stats = rig.stats();
    assert!(stats.response_bytes <= 513 * KIB as u64 && stats.failed == 1, "{stats:?}");
    drop((first, second));
    settle().await;
    assert_eq!(rig.stats().response_bytes, 0);
}

#[tokio::test(start_paused = true)]
async fn our_own_client_hears_that_there_was_no_room() {
    let (near, far) = duplex(64 * KIB);
    let far = responses(600 * KIB).serve(KeepServer::new(Keeper::default())).server(far).unwrap();
    let near = Peer::builder().client(near).unwrap();
    let client = KeepClient::new(near.channel());
    let mut first = client.pieces(400 * KIB).await.unwrap();
    settle().await;
    let _second = client.pieces(400 * KIB).await.unwrap();
    settle().await;
    let error = loop {
        match first.try_next().await {
            Ok(_) => {}
            Err(error) => break Status::from(error),
        }
    };
    assert_eq!((error.code(), error.may_have_executed()), (Code::ResourceExhausted, true), "{error}");
    assert_eq!(far.call_stats().failed, 1);
}

/// The bare sessions of peers that mean no good to a server.
async fn attack(server: &Server) -> TypedSession {
    let socket = TcpStream::connect(server.local_addr().socket_addr().unwrap()).await.unwrap();
    let (session, driver) = Session::client(socket, Config::default());
    tokio::spawn(driver);
    TypedSession::new(session)
}

async fn listen(builder: ServerBuilder, keeper: Keeper) -> Server {
    let builder = builder.serve(WorkServer::new(Worker::default())).serve(KeepServer::new(keeper));
    builder.listen("tcp://127.0.0.1:0").await.unwrap()
}

#[tokio::test]
async fn half_sent_requests_of_all_connections_have_one_bound_and_others_go_on() {
    const MEMORY: u64 = 2048 * KIB as u64;
    let server = listen(Server::builder().max_memory(MEMORY as usize), Keeper::default()).await;
    let half = [br#"{"method":"echo","params":{"text":""#.to_vec(), vec![b'x'; 200 * KIB]].concat();
    let (mut sessions, mut streams) = (Vec::new(), Vec::new());
    for count in 1..=8 {
        let session = attack(&server).await;
        for _ in 0..8 {
            streams.push(begin(&session, "Work", &half).await);
        }
        sessions.push(session);
        until(|| server.call_stats().answered() + 8 > count * 8 - 8 && server.stats().call_bytes > 0).await;
        assert!(server.stats().call_bytes <= MEMORY, "{}", server.stats().call_bytes);
    }
    until(|| server.call_stats().started == 64 && server.stats().call_bytes > MEMORY / 2).await;
    // One who finishes what it begins is served meanwhile, although its request needs room as well.
    let peer = Peer::builder().connect(server.local_addr()).await.unwrap();
    let client = WorkClient::new(peer.channel());
    let text = "y".repeat(100 * KIB);
    assert_eq!(client.echo(text.clone()).await, Ok(text));
    let mut told = 0;
    for stream in &mut streams {
        stream.shutdown().await.ok();
        let said = response(stream).await.unwrap_or_default();
        if said.contains("resource_exhausted") {
            assert!(
                said.contains("2097152 bytes for all connections together (ServerBuilder::max_memory)"),
                "{said}"
            );
            assert!(said.contains(r#""executed":false"#), "{said}");
            told += 1;
        }
    }
    assert!(told >= 64 - MEMORY / (200 * KIB as u64), "{told}");
    drop((sessions, streams));
    until(|| server.stats().call_bytes == 0).await;
}

#[tokio::test]
async fn a_server_bounds_the_handlers_that_have_lost_their_connections() {
    const MOST: usize = 25;
    let keeper = Keeper::default();
    let limits = Limits::default().max_detached_handlers(MOST);
    let server = listen(Server::builder().limits(limits), keeper.clone()).await;
    for round in 0..10 {
        let peer = Peer::builder().connect(server.local_addr()).await.unwrap();
        let client = KeepClient::new(peer.channel());
        let calls: Vec<_> = (0..10)
            .map(|_| {
                let client = client.clone();
                tokio::spawn(async move { client.finish().await })
            })
            .collect();
        if round < 3 {
            let before = (round * 10).min(MOST);
            until(|| keeper.running() == before + 10).await;
        } else {
            // As many run on as may: further calls are not begun.
            for call in calls {
                let Err(CallError::Status(status)) = call.await.unwrap() else {
                    unreachable!("it was begun")
                };
                assert_eq!((status.code(), status.may_have_executed()), (Code::ResourceExhausted, false));
                assert!(
                    status.message().ends_with("limit of 25 (Limits::max_detached_handlers)"),
                    "{status}"
                );
            }
        }
        peer.close();
        let left = ((round + 1) * 10).min(MOST);
        until(|| keeper.running() == left && server.stats().detached_handlers == left as u64).await;
    }
    keeper.let_go.notify_waiters();
    until(|| keeper.running() == 0 && server.stats().detached_handlers == 0).await;
    let peer = Peer::builder().connect(server.local_addr()).await.unwrap();
    let client = KeepClient::new(peer.channel());
    let call = tokio::spawn(async move { client.finish().await });
    until(|| keeper.running() == 1).await;
    keeper.let_go.notify_waiters();
    assert_eq!(call.await.unwrap(), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_handler_whose_caller_cancelled_before_the_connection_ended_is_bounded_as_well() {
    let (near, far) = duplex(64 * KIB);
    let keeper = Keeper::default();
    let limits = Limits::default().max_detached_handlers(0);
    let _far = Peer::builder().limits(limits).serve(KeepServer::new(keeper.clone())).server(far).unwrap();
    let near = Peer::builder().client(near).unwrap();
    let client = KeepClient::new(near.channel());
    // With no room at all none is begun.
    assert_eq!(Status::from(client.finish().await.unwrap_err()).code(), Code::ResourceExhausted);

    let (near, far) = duplex(64 * KIB);
    let limits = Limits::default().max_detached_handlers(1);
    let _far = Peer::builder().limits(limits).serve(KeepServer::new(keeper.clone())).server(far).unwrap();
    let near = Peer::builder().client(near).unwrap();
    let client = KeepClient::new(near.channel());
    let calls = [(); 3].map(|()| {
        let client = client.clone();
        tokio::spawn(async move { client.finish().await })
    });
    settle().await;
    assert_eq!(keeper.running(), 3);
    calls.iter().for_each(tokio::task::JoinHandle::abort);
    settle().await;
    assert_eq!(keeper.running(), 3, "they have their connection");
    near.close();
    settle().await;
    assert_eq!(keeper.running(), 1);
}

#[tokio::test]
async fn one_address_does_not_get_all_connections_of_a_server() {
    let limits = Limits::default().max_connections_per_address(2);
    let server = listen(Server::builder().limits(limits), Keeper::default()).await;
    let connect = async || {
        let peer = Peer::builder().connect(server.local_addr()).await.unwrap();
        let echoed = WorkClient::new(peer.channel()).echo("x".to_owned()).await.is_ok();
        (peer, echoed)
    };
    let ((one, served), (_two, also)) = (connect().await, connect().await);
    assert!(served && also);
    let (third, served) = connect().await;
    assert!(!served);
    third.closed().await;
    let stats = server.stats();
    assert_eq!((stats.connections, stats.refused_connections), (2, 1));
    // Its place is another's once it is gone.
    one.close();
    until(|| server.stats().connections == 1).await;
    assert!(connect().await.1);
    assert_eq!(server.stats().refused_connections, 1);
}
