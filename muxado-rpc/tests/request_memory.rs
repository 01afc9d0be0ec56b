//! What the requests of one connection may take together.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::time::Duration;

use muxado::{Config, Session, StreamType, TypedSession, TypedStream};
use muxado_rpc::{Limits, Peer, Server, ServiceId};
use support::{WorkClient, WorkServer, Worker};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

/// Bytes that the largest message takes, with its length.
const LARGEST: usize = 64 * 1024 + 4;

/// A server, and a bare client of it.
struct Rig {
    session: TypedSession,
    peer: Peer,
    worker: Worker,
}

/// Messages of 64 KiB at most, all requests together of `memory`.
fn rig(memory: usize) -> Rig {
    let (near, far) = duplex(64 * 1024);
    let worker = Worker::default();
    let limits = Limits::default().max_message_size(64 * 1024).max_request_memory(memory);
    let peer = Peer::builder().limits(limits).serve(WorkServer::new(worker.clone())).server(far).unwrap();
    let (session, driver) = Session::client(near, Config::default());
    tokio::spawn(driver);
    Rig { session: TypedSession::new(session), peer, worker }
}

/// A request of `whole` bytes with its length, in MessagePack.
fn packed(method: &str, whole: usize) -> Vec<u8> {
    let mut message = ((whole - 4) as u32).to_be_bytes().to_vec();
    message.extend([0x92, 0xA0 | method.len() as u8]);
    message.extend(method.as_bytes());
    let text = whole - message.len() - 1 - 5 - 3;
    message.extend(b"\x81\xa4text\xc5");
    message.extend((text as u16).to_be_bytes());
    message.resize(whole, b'x');
    // A string rather than bytes.
    let at = whole - text - 3;
    message[at] = 0xDA;
    message
}

/// Lets the tasks of both ends come to rest.
async fn settle() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

impl Rig {
    /// Begins a call, in two pieces; the second is sent when the server has buffered the first.
    async fn begin(&self, first: &[u8], then: &[u8]) -> TypedStream {
        let id = ServiceId::from_name("Work").as_u32();
        let mut stream = self.session.open_typed(StreamType::new(id)).await.unwrap();
        stream.write_all(first).await.unwrap();
        stream.flush().await.ok();
        settle().await;
        // Where there is no room the call has been answered, and reads no more.
        if stream.write_all(then).await.is_ok() {
            stream.flush().await.ok();
        }
        settle().await;
        stream
    }

    /// A call that lacks its last byte and takes `whole` bytes.
    async fn partial(&self, whole: usize) -> TypedStream {
        let message = packed("echo", whole);
        self.begin(&message[..whole / 2], &message[whole / 2..whole - 1]).await
    }

    /// The answer to a call of `whole` bytes in two pieces.
    async fn call(&self, whole: usize) -> String {
        let message = packed("echo", whole);
        let mut stream = self.begin(&message[..whole / 2], &message[whole / 2..]).await;
        answer(&mut stream).await
    }

    /// Whether exactly `bytes` are free: so many can be taken, and no more.
    async fn assert_free(&self, bytes: usize) {
        assert!(bytes < LARGEST);
        let refused = self.call(bytes + 1).await;
        assert!(refused.contains("resource_exhausted"), "more than {bytes} bytes are free");
        assert!(is_echo(&self.call(bytes).await), "{bytes} bytes are not free");
    }
}

async fn answer(stream: &mut TypedStream) -> String {
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

fn is_echo(answer: &str) -> bool {
    answer.ends_with('x')
}

#[tokio::test(start_paused = true)]
async fn a_request_without_room_is_refused_alone_and_names_the_limit() {
    let rig = rig(2 * LARGEST);
    let mut first = rig.partial(LARGEST).await;
    let _second = rig.partial(LARGEST - 100).await;
    let refused = rig.call(101).await;
    assert!(refused.contains("resource_exhausted"), "{refused}");
    let said = "Work: a request has no room beside the requests being received and served, over the serving \
                side's limit of 131080 bytes a connection (Limits::max_request_memory)";
    assert!(refused.contains(said), "{refused}");
    rig.assert_free(100).await;
    // What was refused cost the others nothing.
    first.write_all(b"x").await.unwrap();
    assert!(is_echo(&answer(&mut first).await));
    settle().await;
    assert!(is_echo(&rig.call(LARGEST).await));
}

#[tokio::test(start_paused = true)]
async fn one_message_of_the_largest_size_has_room_whatever_is_set() {
    let rig = rig(0);
    assert!(is_echo(&rig.call(LARGEST).await));
    let _partial = rig.partial(LARGEST).await;
    let refused = rig.call(100).await;
    assert!(refused.contains("limit of 65540 bytes"), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn a_request_in_one_piece_needs_no_room() {
    let rig = rig(0);
    let _partial = rig.partial(LARGEST).await;
    let mut stream = rig.begin(&packed("echo", 1000), b"").await;
    assert!(is_echo(&answer(&mut stream).await));
}

#[tokio::test(start_paused = true)]
async fn a_request_is_counted_until_its_handler_is_gone_however_it_goes() {
    let rig = rig(2 * LARGEST - 1);
    let _first = rig.partial(LARGEST).await;
    rig.assert_free(LARGEST - 1).await;
    // `hang` and `panic` ignore the parameter that they do not have.
    for _ in 0..3 {
        let message = packed("hang", LARGEST / 2);
        let stream = rig.begin(&message[..1000], &message[1000..]).await;
        rig.worker.until_hanging(1).await;
        rig.assert_free(LARGEST - LARGEST / 2 - 1).await;
        drop(stream);
        rig.worker.until_hanging(0).await;
        settle().await;
        rig.assert_free(LARGEST - 1).await;
        let message = packed("panic", LARGEST / 2);
        let mut stream = rig.begin(&message[..1000], &message[1000..]).await;
        assert!(answer(&mut stream).await.contains("panicked"));
        rig.assert_free(LARGEST - 1).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_with_a_context_is_counted_until_its_end() {
    let rig = rig(2 * LARGEST - 1);
    let _first = rig.partial(LARGEST).await;
    for _ in 0..3 {
        // Takes a context, and asks back; this client answers nothing, and then resets.
        let message = packed("ask_back", LARGEST / 2);
        let stream = rig.begin(&message[..1000], &message[1000..]).await;
        rig.assert_free(LARGEST - LARGEST / 2 - 1).await;
        drop(stream);
        settle().await;
        rig.assert_free(LARGEST - 1).await;
    }
    assert_eq!(rig.peer.call_stats().panicked, 0);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_never_becomes_whole_gives_back_what_it_took() {
    let rig = rig(2 * LARGEST - 1);
    let _first = rig.partial(LARGEST).await;
    for _ in 0..3 {
        let reset = rig.partial(LARGEST / 2).await;
        rig.assert_free(LARGEST - LARGEST / 2 - 1).await;
        drop(reset);
        settle().await;
        rig.assert_free(LARGEST - 1).await;
        let mut finished = rig.partial(LARGEST / 2).await;
        finished.shutdown().await.unwrap();
        assert!(answer(&mut finished).await.contains("ended in the middle"));
        rig.assert_free(LARGEST - 1).await;
    }
}

#[tokio::test(start_paused = true)]
async fn text_is_counted_as_packed_requests_are() {
    let rig = rig(2 * LARGEST - 1);
    let _first = rig.partial(LARGEST).await;
    let text = vec![b'{'; 30_000];
    let _text = rig.begin(&text[..20_000], &text[20_000..]).await;
    // 20 000 bytes, doubled.
    rig.assert_free(LARGEST - 40_001).await;
}

#[tokio::test(start_paused = true)]
async fn every_connection_has_its_own_memory() {
    let (one, two) = (rig(0), rig(0));
    let _partial = one.partial(LARGEST).await;
    assert!(is_echo(&two.call(LARGEST).await));
}

#[tokio::test]
async fn our_own_client_may_send_what_fits() {
    let limits = Limits::default().max_message_size(1 << 20).max_request_memory(1 << 20);
    let server = Server::builder()
        .limits(limits)
        .serve(WorkServer::new(Worker::default()))
        .listen("tcp://127.0.0.1:0")
        .await
        .unwrap();
    let peer = Peer::builder().connect(server.local_addr()).await.unwrap();
    let client = WorkClient::new(peer.channel());
    for _ in 0..10 {
        let text = "x".repeat(1_000_000);
        assert_eq!(client.echo(text.clone()).await, Ok(text));
    }
    assert_eq!(server.call_stats().served, 10);
}
