//! Peers that know nothing of this crate: raw streams, hand-written bytes, other protocols.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::{
    fmt,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use muxado::{Config, ErrorCode, Session, Stream, StreamType, TypedSession};
use muxado_rpc::{CallError, Code, Codec, Executed, Limits, Origin, Peer, Server, ServiceId, Status};
use support::{CODECS, WorkClient, WorkServer, Worker, assert_alive};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    net::TcpStream,
    sync::Notify,
    time::Instant,
};

fn work() -> StreamType {
    StreamType::new(ServiceId::from_name("Work").as_u32())
}

/// A bare muxado client of a peer that serves `Work`.
fn bare_client(limits: Limits) -> (TypedSession, Peer, Worker) {
    let (near, far) = duplex(64 * 1024);
    let worker = Worker::default();
    let peer = Peer::builder().limits(limits).serve(WorkServer::new(worker.clone())).server(far).unwrap();
    let (session, driver) = Session::client(near, Config::default());
    tokio::spawn(driver);
    (TypedSession::new(session), peer, worker)
}

/// A bare muxado server that a peer calls.
fn bare_server() -> (TypedSession, Peer) {
    let (near, far): (DuplexStream, DuplexStream) = duplex(64 * 1024);
    let (session, driver) = Session::server(far, Config::default());
    tokio::spawn(driver);
    (TypedSession::new(session), Peer::builder().client(near).unwrap())
}

/// Sends bytes on a stream of its own and reads the whole answer.
async fn exchange(session: &TypedSession, request: &[u8]) -> Vec<u8> {
    let mut stream = session.open_typed(work()).await.unwrap();
    stream.write_all(request).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    answer
}

async fn exchange_json(session: &TypedSession, request: &str) -> String {
    String::from_utf8(exchange(session, request.as_bytes()).await).unwrap()
}

#[tokio::test]
async fn hand_written_json_calls() {
    let (session, _peer, _) = bare_client(Limits::default());
    for (request, answer) in [
        (r#"{"method":"echo","params":{"text":"hi"}}"#, r#"{"ok":"hi"}"#),
        (r#"{"params":["hi"],"x":1,"method":"echo"}"#, r#"{"ok":"hi"}"#),
        (r#"{"method":"hanging"}"#, r#"{"ok":0}"#),
        (
            r#"{"method":"find","params":{"name":"x"}}"#,
            r#"{"err":{"code":"not_found","details":"x","message":"no x"}}"#,
        ),
        (r#"{"method":"sleep","params":{"ms":0,"new":[]}}"#, r#"{"ok":null}"#),
    ] {
        for end in ["\n", ""] {
            assert_eq!(exchange_json(&session, &format!("{request}{end}")).await, format!("{answer}\n"));
        }
    }
}

#[tokio::test]
async fn hand_written_messagepack_calls() {
    let (session, _peer, _) = bare_client(Limits::default());
    assert_eq!(
        exchange(&session, b"\0\0\0\x0f\x92\xa4echo\x81\xa4text\xa2hi").await,
        b"\0\0\0\x07\x81\xa2ok\xa2hi"
    );
    let map = rmp_serde::to_vec(&serde_json::json!({"method": "echo", "params": ["hi"]})).unwrap();
    let mut message = (map.len() as u32).to_be_bytes().to_vec();
    message.extend(map);
    assert_eq!(exchange(&session, &message).await, b"\0\0\0\x07\x81\xa2ok\xa2hi");
}

#[tokio::test]
async fn a_call_is_answered_before_its_fin() {
    let (session, _peer, _) = bare_client(Limits::default());
    for (request, answer) in [
        (&b"{\"method\":\"hanging\"}\n"[..], &b"{\"ok\":0}\n"[..]),
        (b"\0\0\0\x0a\x92\xa7hanging\x80", b"\0\0\0\x05\x81\xa2ok\x00"),
    ] {
        let mut stream = session.open_typed(work()).await.unwrap();
        stream.write_all(request).await.unwrap();
        let mut read = vec![0; answer.len()];
        stream.read_exact(&mut read).await.unwrap();
        assert_eq!(read, answer);
    }
}

#[tokio::test]
async fn a_message_may_come_byte_by_byte() {
    let (session, _peer, _) = bare_client(Limits::default());
    for request in [&b"{\"method\":\"hanging\"}\n"[..], b"\0\0\0\x0a\x92\xa7hanging\x80"] {
        let mut stream = session.open_typed(work()).await.unwrap();
        for byte in request {
            stream.write_all(&[*byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        assert!(answer.starts_with(b"{\"ok\":0}") || answer.ends_with(b"ok\x00"), "{answer:?}");
    }
}

#[tokio::test]
async fn what_is_no_request_is_an_invalid_argument() {
    let (session, _peer, _) = bare_client(Limits::default());
    for text in ["{}\n", "{\"method\":1}\n", "{nonsense\n", "{\"method\":\"echo\""] {
        let answer = exchange_json(&session, text).await;
        assert!(
            answer
                .starts_with(r#"{"err":{"code":"invalid_argument","message":"Work: not a request in json: "#),
            "{answer}"
        );
    }
    for bytes in [&b"\0\0\0\x01\xc0"[..], b"\0\0\0\x05\x92", b"\0", b""] {
        let answer = String::from_utf8_lossy(&exchange(&session, bytes).await).into_owned();
        assert!(answer.contains("invalid_argument"), "{bytes:?}: {answer}");
    }
    assert_eq!(exchange_json(&session, "{\"method\":\"hanging\"}").await, "{\"ok\":0}\n");
}

#[tokio::test]
async fn a_stranger_service_is_answered_in_the_callers_codec() {
    let (session, _peer, _) = bare_client(Limits::default());
    for (request, first) in [(&b"{\"method\":\"m\"}"[..], b'{'), (b"\0\0\0\x03\x92\xa1m", 0)] {
        let mut stream = session.open_typed(StreamType::new(0x2A)).await.unwrap();
        stream.write_all(request).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer[0], first);
        let text = String::from_utf8_lossy(&answer);
        assert!(
            text.contains("unimplemented") && text.contains("no service 0x0000002a here; served: Work"),
            "{text}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_sends_no_request_is_reset_in_time() {
    let limits = Limits::default().first_byte_timeout(Duration::from_secs(3)).max_in_flight(1);
    let (session, peer, _) = bare_client(limits);
    let start = Instant::now();
    let mut silent = session.open_typed(work()).await.unwrap();
    silent.flush().await.unwrap();
    while peer.stats().streams_accepted == 0 {
        tokio::task::yield_now().await;
    }
    // It holds the only place among calls in flight until then.
    assert_eq!(exchange_json(&session, "{\"method\":\"hanging\"}").await, "{\"ok\":0}\n");
    assert_eq!(start.elapsed(), Duration::from_secs(3));
    let error = silent.into_inner().read_chunk().await.unwrap_err();
    assert_eq!(error, muxado::ReadError::Reset(ErrorCode::CANCELLED));
}

#[tokio::test(start_paused = true)]
async fn a_time_limit_on_the_wire_is_enforced_by_the_server() {
    let (session, _peer, worker) = bare_client(Limits::default());
    let start = Instant::now();
    let answer = exchange_json(&session, r#"{"method":"hang","timeout_ms":1500}"#).await;
    assert!(answer.starts_with(r#"{"err":{"code":"deadline_exceeded","message":"Work.hang: "#), "{answer}");
    assert_eq!(start.elapsed(), Duration::from_millis(1500));
    assert_eq!(worker.hanging(), 0);
}

/// Answers the next call of `peer` by hand.
async fn answered_by_hand(codec: Codec, answer: impl AsyncFnOnce(&mut Stream)) -> Result<String, CallError> {
    let (session, peer) = bare_server();
    let client = WorkClient::new(peer.channel()).with_codec(codec);
    let serving = async {
        let mut stream = session.accept_typed().await.unwrap().into_inner();
        stream.read_chunk().await.unwrap();
        answer(&mut stream).await;
    };
    tokio::join!(client.echo("x".to_owned()), serving).0
}

async fn status_by_hand(codec: Codec, answer: impl AsyncFnOnce(&mut Stream)) -> Status {
    answered_by_hand(codec, answer).await.unwrap_err().into()
}

#[tokio::test]
async fn hand_written_answers_are_understood() {
    for (codec, bytes) in [
        (Codec::Json, &b"{ \"x\": 1, \"ok\" : \"hi\" }"[..]),
        (Codec::Json, b"{\"ok\":\"hi\",\"metadata\":{}}\nrest"),
        (Codec::MessagePack, b"\0\0\0\x07\x81\xa2ok\xa2hi"),
    ] {
        let answer = answered_by_hand(codec, async |stream| {
            stream.write_chunk(Bytes::from_static(bytes)).await.unwrap();
            stream.finish().unwrap();
        });
        assert_eq!(answer.await.as_deref(), Ok("hi"));
    }
}

#[tokio::test]
async fn an_end_without_an_answer_is_a_failed_call() {
    for codec in CODECS {
        let silent = status_by_hand(codec, async |stream| stream.finish().unwrap()).await;
        assert_eq!((silent.code(), silent.origin()), (Code::Internal, Origin::Peer));
        assert!(silent.message().contains("without an answer"), "{silent}");
        let cut = status_by_hand(codec, async |stream| {
            stream.write_chunk(Bytes::from_static(b"\0\0\0\x07\x81\xa2ok")).await.unwrap();
            stream.finish().unwrap();
        });
        assert_eq!(cut.await.code(), Code::Internal);
    }
}

#[tokio::test]
async fn a_reset_says_whether_the_call_may_have_run() {
    for (code, status_code, executed) in [
        (ErrorCode::STREAM_REFUSED, Code::Unavailable, Executed::No),
        (ErrorCode::ACCEPT_QUEUE_FULL, Code::Unavailable, Executed::No),
        (ErrorCode::CANCELLED, Code::Cancelled, Executed::Maybe),
        (ErrorCode::INTERNAL_ERROR, Code::Unavailable, Executed::Maybe),
    ] {
        let status = status_by_hand(Codec::Json, async |stream| stream.reset(code)).await;
        assert_eq!(
            (status.code(), status.executed(), status.origin()),
            (status_code, executed, Origin::Peer)
        );
    }
}

#[tokio::test]
async fn a_refusal_in_the_middle_of_an_answer_is_none() {
    for (codec, part) in [(Codec::Json, &b"{\"ok\":"[..]), (Codec::MessagePack, b"\0")] {
        let status = status_by_hand(codec, async |stream| {
            stream.write_chunk(Bytes::copy_from_slice(part)).await.unwrap();
            stream.flush().await.unwrap();
            tokio::task::yield_now().await;
            stream.reset(ErrorCode::STREAM_REFUSED);
        });
        let status = status.await;
        assert_eq!((status.code(), status.executed()), (Code::Unavailable, Executed::Maybe));
    }
}

#[tokio::test]
async fn an_answer_before_the_request_is_read_is_taken() {
    let (session, peer) = bare_server();
    let client = WorkClient::new(peer.channel());
    let serving = async {
        let mut stream = session.accept_typed().await.unwrap();
        stream.write_all(b"\0\0\0\x07\x81\xa2ok\xa2hi").await.unwrap();
        stream.shutdown().await.unwrap();
        stream
    };
    // More than window and buffers take: the request is never sent whole.
    let (answer, _stream) = tokio::join!(client.echo("x".repeat(2_000_000)), serving);
    assert_eq!(answer.as_deref(), Ok("hi"));
}

/// Keeps the text of warnings.
#[derive(Clone, Default)]
struct Warnings(Arc<Mutex<Vec<String>>>, Arc<Notify>);

impl Warnings {
    /// Waits for a warning; it and all others until then.
    async fn next(&self) -> Vec<String> {
        self.1.notified().await;
        self.0.lock().unwrap().drain(..).collect()
    }
}

impl tracing::Subscriber for Warnings {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() <= tracing::Level::WARN
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        struct Text(String);
        impl tracing::field::Visit for Text {
            fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn fmt::Debug) {
                self.0 += &format!("{field}={value:?} ");
            }
        }
        let mut text = Text(String::new());
        event.record(&mut text);
        self.0.lock().unwrap().push(text.0);
        self.1.notify_one();
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

#[tokio::test]
async fn other_protocols_on_the_port_get_one_warning_and_the_server_serves_on() {
    let warnings = Warnings::default();
    let _guard = tracing::subscriber::set_default(warnings.clone());
    let server = Server::builder()
        .serve(WorkServer::new(Worker::default()))
        .listen("tcp://127.0.0.1:0")
        .await
        .unwrap();
    let address = server.local_addr().socket_addr().unwrap();
    let http = b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n";
    // A DATA frame of stream 0, which there is not.
    let malformed = b"\0\0\0\x10\0\0\0\0";
    for (bytes, seen) in [(&http[..], "HTTP"), (malformed, "protocol")] {
        let mut stranger = TcpStream::connect(&address).await.unwrap();
        stranger.write_all(bytes).await.unwrap();
        let mut rest = Vec::new();
        let _ = stranger.read_to_end(&mut rest).await;
        let from = format!("tcp://{}", stranger.local_addr().unwrap());
        // The server reads to the end of what it does not understand, so that its go-away arrives.
        drop(stranger);
        let peer = Peer::builder().connect(server.local_addr()).await.unwrap();
        assert_alive(&WorkClient::new(peer.channel())).await;
        let lines = warnings.next().await;
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].contains(&from) && lines[0].contains(seen), "{lines:?}");
    }
}
