//! Peers whose control stream is absent or bad: calls go on, and nothing is tried twice
//! (`PROTOCOL §10.13`).
#![expect(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::{future::poll_fn, sync::Arc, time::Duration};

use bytes::Bytes;
use muxado::{Config, ErrorCode, ReadError, Session, Stream, StreamType, TypedSession};
use muxado_rpc::{Codec, Limits, Metadata, Peer, PeerCapabilities, ServiceId};
use support::{CODECS, WorkClient, WorkServer, Worker};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, duplex},
    time::sleep,
};

/// Bytes of the longest line.
const LINE: usize = 64 * 1024;

const SECOND: Duration = Duration::from_secs(1);

/// A plain muxado client, and the `Peer` that serves it.
struct Bare {
    session: TypedSession,
    peer: Peer,
}

impl Bare {
    fn new() -> Self {
        Self::with(Config::default())
    }

    fn with(config: Config) -> Self {
        let (near, far) = duplex(64 * 1024);
        let peer = Peer::builder().limits(Limits::default().max_in_flight(3)).no_heartbeat();
        let peer = peer.serve(WorkServer::new(Worker::default())).server(far).unwrap();
        let (session, driver) = Session::client(near, config);
        tokio::spawn(driver);
        Self { session: TypedSession::new(session), peer }
    }

    /// A call, which shows that the connection lives.
    async fn call(&self) {
        let id = ServiceId::from_name("Work").as_u32();
        let mut stream = self.session.open_typed(StreamType::new(id)).await.unwrap();
        stream.write_all(b"{\"method\":\"echo\",\"params\":[\"hi\"]}\n").await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert_eq!(answer, "{\"ok\":\"hi\"}\n");
    }

    /// Opens a control stream and says this.
    async fn say(&self, said: impl AsRef<[u8]>) -> Stream {
        let stream = self.session.open_typed(StreamType::CONTROL).await.unwrap();
        let mut stream = stream.into_inner();
        stream.write_all(said.as_ref()).await.unwrap();
        stream
    }

    /// The control stream of our peer, once it is there.
    async fn accept(&self) -> Stream {
        let stream = self.session.accept_typed().await.unwrap();
        assert_eq!(stream.stream_type(), StreamType::CONTROL);
        stream.into_inner()
    }

    /// Streams that our peer has opened.
    fn opened(&self) -> u64 {
        self.peer.stats().streams_opened
    }

    /// Fails unless the peer of ours knows nothing of this one, and goes on.
    async fn assert_unknown(&self) {
        self.call().await;
        sleep(10 * SECOND).await;
        assert!(self.peer.known_capabilities().is_none());
        self.call().await;
        assert!(!self.peer.is_going_away());
    }

    async fn known(&self) -> Arc<PeerCapabilities> {
        sleep(Duration::from_millis(1)).await;
        self.peer.known_capabilities().unwrap()
    }
}

/// The code with which our peer resets it.
async fn code_of(stream: &mut Stream) -> ErrorCode {
    match poll_fn(|cx| stream.poll_reset(cx)).await {
        ReadError::Reset(code) => code,
        error => panic!("{error}"),
    }
}

/// A line of this length, without its line feed, that says this.
fn padded(said: &str, len: usize) -> Vec<u8> {
    let mut line = said.as_bytes().to_vec();
    line.resize(len, b' ');
    line
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_opens_none_and_reads_none_is_served_all_the_same() {
    let bare = Bare::new();
    bare.assert_unknown().await;
    // It waits there, and is not waited for.
    assert_eq!(bare.opened(), 1);
    let drained = bare.peer.shutdown(60 * SECOND).await;
    assert!(drained.is_clean());
}

#[tokio::test(start_paused = true)]
async fn what_is_no_line_resets_the_stream_and_nothing_else() {
    for said in [
        "nonsense\n",
        "3\n",
        "{\"hello\":{\"limits\":{\"max_message_size\":-1}}}\n",
        "{\"hello\":{\"limits\":{\"max_message_size\":\"much\"}}}\n",
        "{\"hello\":{\"services\":[{\"name\":\"S\"}]}}\n",
        "{\"hello\":{\"services\":[{\"name\":\"S\",\"id\":1,\"methods\":[7]}]}}\n",
        "{\"hello\":{\"codecs\":7}}\n",
        "{\"hello\":{}\n",
    ] {
        let bare = Bare::new();
        let mut stream = bare.say(said).await;
        assert_eq!(code_of(&mut stream).await, ErrorCode::PROTOCOL_ERROR, "{said}");
        assert!(bare.peer.capabilities().await.is_none(), "{said}");
        bare.assert_unknown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_line_of_64_kib_is_taken_and_a_longer_one_is_not() {
    let hello = "{\"hello\":{\"limits\":{\"max_in_flight\":5}}}";
    let bare = Bare::new();
    let mut line = padded(hello, LINE);
    line.push(b'\n');
    let _stream = bare.say(line).await;
    assert_eq!(bare.known().await.max_in_flight(), Some(5));
    for end in ["", "\n"] {
        let bare = Bare::new();
        let mut line = padded(hello, LINE + 1);
        line.extend(end.bytes());
        let mut stream = bare.say(line).await;
        assert_eq!(code_of(&mut stream).await, ErrorCode::ENHANCE_YOUR_CALM);
        bare.assert_unknown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_lines_is_cut_off_and_what_was_said_before_stays() {
    let bare = Bare::new();
    let mut stream = bare.say("{\"hello\":{\"limits\":{\"max_in_flight\":5}}}\n").await;
    let lines = Bytes::from("{\"news\":[1,2,3]}\n\n".repeat(1000));
    let mut sent = 0;
    while stream.write_chunk(lines.clone()).await.is_ok() {
        sent += lines.len();
        assert!(sent < 2 * 1024 * 1024);
    }
    assert_eq!(code_of(&mut stream).await, ErrorCode::ENHANCE_YOUR_CALM);
    assert_eq!(bare.known().await.max_in_flight(), Some(5));
    bare.call().await;
}

#[tokio::test(start_paused = true)]
async fn a_reset_in_the_middle_of_a_line_makes_it_absent() {
    let bare = Bare::new();
    let mut stream = bare.say("{\"hello\":{\"limits\"").await;
    sleep(Duration::from_millis(1)).await;
    stream.reset(ErrorCode::CANCELLED);
    assert!(bare.peer.capabilities().await.is_none());
    bare.assert_unknown().await;
}

#[tokio::test(start_paused = true)]
async fn a_second_control_stream_is_refused_and_the_first_stays() {
    let bare = Bare::new();
    let _first = bare.say("{\"hello\":{\"limits\":{\"max_in_flight\":5}}}\n").await;
    let mut second = bare.say("{\"hello\":{\"limits\":{\"max_in_flight\":6}}}\n").await;
    assert_eq!(code_of(&mut second).await, ErrorCode::STREAM_REFUSED);
    assert_eq!(bare.known().await.max_in_flight(), Some(5));
    // Nor is one taken when the first is gone.
    drop((_first, second));
    let mut third = bare.say("{}\n").await;
    assert_eq!(code_of(&mut third).await, ErrorCode::STREAM_REFUSED);
    bare.call().await;
    assert_eq!(bare.peer.call_stats().started, 1);
}

#[tokio::test(start_paused = true)]
async fn a_stranger_that_says_hello_is_heard_and_told() {
    let bare = Bare::with(Config::default().extensions(false));
    bare.call().await;
    sleep(10 * SECOND).await;
    assert_eq!(bare.opened(), 0);
    let _ours = bare.say("{\"hello\":{\"limits\":{\"max_message_size\":5000}}}\n").await;
    assert_eq!(bare.known().await.max_message_size(), Some(5000));
    let mut theirs = bare.accept().await;
    let line = theirs.read_chunk().await.unwrap().unwrap();
    let line: serde_json::Value = serde_json::from_slice(&line).unwrap();
    assert_eq!(line["hello"]["limits"]["max_in_flight"], 3);
    assert_eq!(line["hello"]["services"][0]["name"], "Work");
    bare.call().await;
}

/// As an older version of ours answers: it knows no service with this id.
#[tokio::test(start_paused = true)]
async fn a_peer_that_takes_it_for_a_call_is_told_once() {
    let answer = b"{\"err\":{\"code\":\"unimplemented\",\"message\":\"no service 0xfffffffe here\"}}\n";
    for waits in [false, true] {
        let bare = Bare::new();
        bare.call().await;
        let mut stream = bare.accept().await;
        stream.read_chunk().await.unwrap().unwrap();
        stream.write_chunk(Bytes::from_static(answer)).await.unwrap();
        stream.finish().unwrap();
        if waits {
            assert_eq!(code_of(&mut stream).await, ErrorCode::CANCELLED);
        }
        drop(stream);
        assert!(bare.peer.capabilities().await.is_none());
        bare.assert_unknown().await;
        assert_eq!(bare.opened(), 1);
        assert!(bare.peer.shutdown(60 * SECOND).await.is_clean());
    }
}

#[tokio::test(start_paused = true)]
async fn a_foreign_peer_that_is_asked_on_a_fresh_connection_is_answered_for_at_once_or_in_time() {
    let answer = b"{\"err\":{\"code\":\"unimplemented\",\"message\":\"no service 0xfffffffe here\"}}\n";
    for what in ["refuses", "answers", "ends it", "nothing"] {
        let bare = Bare::with(Config::default().extensions(false));
        let begin = tokio::time::Instant::now();
        let peer = bare.peer.clone();
        let asked = tokio::spawn(async move { peer.capabilities().await });
        let mut stream = bare.accept().await;
        match what {
            "refuses" => stream.reset(ErrorCode::STREAM_REFUSED),
            "answers" => stream.write_chunk(Bytes::from_static(answer)).await.unwrap(),
            // As one that listens, and never says a thing.
            "ends it" => stream.finish().unwrap(),
            _ => {}
        }
        assert!(asked.await.unwrap().is_none(), "{what}");
        let limit = if matches!(what, "refuses" | "answers") { Duration::ZERO } else { 5 * SECOND };
        assert_eq!(begin.elapsed(), limit, "{what}");
        // It is not waited for again.
        assert!(bare.peer.capabilities().await.is_none());
        assert_eq!(begin.elapsed(), limit, "{what}");
        bare.call().await;
        assert_eq!((bare.opened(), bare.peer.is_going_away()), (1, false));
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_refuses_it_is_told_once() {
    for code in [ErrorCode::STREAM_REFUSED, ErrorCode::ACCEPT_QUEUE_FULL, ErrorCode::CANCELLED] {
        let bare = Bare::new();
        bare.call().await;
        bare.accept().await.reset(code);
        assert!(bare.peer.capabilities().await.is_none());
        bare.assert_unknown().await;
        assert_eq!(bare.opened(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_refuses_ours_may_speak_all_the_same() {
    let bare = Bare::new();
    bare.call().await;
    bare.accept().await.reset(ErrorCode::STREAM_REFUSED);
    let _ours = bare.say("{\"hello\":{}}\n").await;
    assert_eq!(bare.known().await.max_in_flight(), None);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_says_it_takes_nothing_is_called_all_the_same() {
    let bare = Bare::new();
    let keys = [
        "max_message_size",
        "max_metadata_size",
        "max_request_memory",
        "max_in_flight",
        "first_byte_timeout_ms",
    ];
    let limits = keys.map(|key| format!("\"{key}\":0")).join(",");
    let _ours =
        bare.say(format!("{{\"hello\":{{\"limits\":{{{limits}}},\"codecs\":[],\"services\":[]}}}}\n")).await;
    assert_eq!(bare.known().await.max_message_size(), Some(1024));
    let mut metadata = Metadata::new();
    metadata.insert("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    for codec in CODECS {
        let client = WorkClient::new(bare.peer.channel()).with_codec(codec).with_metadata(metadata.clone());
        let call = tokio::spawn(async move { client.echo("x".repeat(500)).await });
        let mut stream = loop {
            let stream = bare.session.accept_typed().await.unwrap();
            if stream.stream_type() != StreamType::CONTROL {
                break stream;
            }
        };
        let mut request = Vec::new();
        stream.read_to_end(&mut request).await.unwrap();
        assert!(request.len() > 500);
        let answer =
            if codec == Codec::Json { &b"{\"ok\":\"hi\"}\n"[..] } else { b"\0\0\0\x07\x81\xa2ok\xa2hi" };
        stream.write_all(answer).await.unwrap();
        stream.shutdown().await.unwrap();
        assert_eq!(call.await.unwrap().unwrap(), "hi");
    }
    // And it is answered, whatever it calls.
    bare.call().await;
}

#[tokio::test(start_paused = true)]
async fn unknown_kinds_fields_and_empty_lines_are_ignored_and_a_hello_counts_once() {
    let bare = Bare::new();
    let mut said =
        String::from("\n{\"drain\":{\"grace_ms\":1}}\n{\"news\":{\"hello\":1}}\n{\"drain\":null}\n");
    said += "{\"more\":[1,{}],\"hello\":{\"agent\":\"x\",\"limits\":{\"max_moons\":-1,\"max_message_size\":99999999999999},";
    said += "\"codecs\":[\"cbor\",\"json\",\"json\"],\"services\":[{\"name\":\"S\",\"id\":4294967295,\"x\":0}],\"truncated\":true}}\n";
    said += "{\"hello\":{\"limits\":{\"max_message_size\":1}}}\n";
    let mut stream = bare.say("").await;
    // Wherever the bytes are split.
    for byte in said.bytes() {
        stream.write_chunk(Bytes::from(vec![byte])).await.unwrap();
        sleep(Duration::from_millis(1)).await;
    }
    let remote = bare.known().await;
    assert_eq!(remote.max_message_size(), Some(1024 * 1024 * 1024));
    assert_eq!(remote.codecs(), Some(&[Codec::Json][..]));
    assert!(remote.is_truncated() && !remote.is_draining());
    assert_eq!((remote.services()[0].id().as_u32(), remote.services()[0].methods()), (u32::MAX, None));
    bare.call().await;
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_stream_ends_the_line() {
    let bare = Bare::new();
    let mut stream = bare.say("{\"hello\":{}}\n{\"drain\":{}}").await;
    stream.finish().unwrap();
    let remote = bare.known().await;
    assert_eq!((remote.is_draining(), remote.drain_grace()), (true, None));
    // What the peer says is of no effect on calls: the go-away is.
    assert!(!bare.peer.is_going_away());
    bare.call().await;
}

#[tokio::test(start_paused = true)]
async fn a_control_stream_that_says_nothing_holds_nothing_up() {
    let bare = Bare::new();
    let mut stream = bare.session.open_typed(StreamType::CONTROL).await.unwrap();
    // The type alone.
    stream.flush().await.unwrap();
    bare.assert_unknown().await;
    let start = tokio::time::Instant::now();
    assert!(bare.peer.shutdown(60 * SECOND).await.is_clean());
    assert_eq!(start.elapsed(), Duration::ZERO);
}
