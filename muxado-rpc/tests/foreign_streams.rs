//! Streams of items with a caller that uses a bare muxado session and messages written by hand.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::{io, time::Duration};

use muxado::{Config, ErrorCode, Session, Stream, StreamType, TypedSession};
use muxado_rpc::{Codec, Limits, Peer, ServiceId};
use serde_json::{Value, json};
use support::{
    CODECS,
    feed::{FeedServer, Feeding, decode, encode},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, duplex},
    time::Instant,
};

const SMALL: usize = 1024;

struct Caller {
    session: TypedSession,
    feeding: Feeding,
    _peer: Peer,
}

impl Caller {
    fn new() -> Self {
        Self::with(Limits::default())
    }

    fn with(limits: Limits) -> Self {
        let (near, far) = duplex(64 * 1024);
        let feeding = Feeding::default();
        let peer = Peer::builder().limits(limits).serve(FeedServer::new(feeding.clone())).server(far);
        let (session, driver) = Session::client(near, Config::default());
        tokio::spawn(driver);
        Self { session: TypedSession::new(session), feeding, _peer: peer.unwrap() }
    }

    /// A stream on which these bytes were sent.
    async fn open(&self, bytes: &[u8]) -> Stream {
        let stream_type = StreamType::new(ServiceId::from_name("Feed").as_u32());
        let mut stream = self.session.open_typed(stream_type).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        stream.into_inner()
    }

    /// Sends bytes and a FIN; the whole answer.
    async fn exchange_bytes(&self, bytes: &[u8]) -> Vec<u8> {
        let mut stream = self.open(bytes).await;
        // It may have been answered already.
        let _ = stream.shutdown().await;
        read_all(&mut stream).await
    }

    async fn exchange(&self, codec: Codec, messages: &[Value]) -> Vec<Value> {
        decode(codec, &self.exchange_bytes(&encode(codec, messages)).await)
    }

    async fn assert_alive(&self, codec: Codec) {
        let request = json!({"method": "one", "params": {"n": 5}});
        assert_eq!(self.exchange(codec, &[request]).await, [json!({"ok": 5})]);
    }
}

async fn read_all(stream: &mut Stream) -> Vec<u8> {
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    answer
}

fn call(method: &str) -> Value {
    json!({"method": method})
}

fn item(value: u64) -> Value {
    json!({"item": value})
}

fn end() -> Value {
    json!({"end": true})
}

fn done() -> Value {
    json!({"ok": null})
}

#[tokio::test]
async fn each_shape_is_called_by_hand() {
    let caller = Caller::new();
    for codec in CODECS {
        let count = json!({"method": "count", "params": {"to": 3}});
        assert_eq!(caller.exchange(codec, &[count]).await, [item(1), item(2), item(3), done()]);
        let none = json!({"method": "count", "params": [0]});
        assert_eq!(caller.exchange(codec, &[none]).await, [done()]);
        let sum = [call("sum"), item(1), item(2), item(3), end()];
        assert_eq!(caller.exchange(codec, &sum).await, [json!({"ok": 6})]);
        assert_eq!(caller.exchange(codec, &[call("sum"), end()]).await, [json!({"ok": 0})]);
        let double = [call("double"), item(1), item(2), end()];
        assert_eq!(caller.exchange(codec, &double).await, [item(2), item(4), done()]);
    }
}

#[tokio::test]
async fn items_come_in_any_pieces_and_lines_may_be_empty() {
    let caller = Caller::new();
    let json =
        b"{\"method\":\"sum\"}\n\n\n{\"item\":1}\n{ \"x\":{}, \"item\" : 2 }\n\n{\"end\":true}\n".to_vec();
    let packed = encode(Codec::MessagePack, &[call("sum"), json!({"item": 1, "x": []}), item(2), end()]);
    for (bytes, answer) in [(json, &b"{\"ok\":3}\n"[..]), (packed, b"\0\0\0\x05\x81\xa2ok\x03")] {
        for step in [1, 3, 1000] {
            let mut stream = caller.open(b"").await;
            for piece in bytes.chunks(step) {
                stream.write_all(piece).await.unwrap();
                stream.flush().await.unwrap();
                tokio::task::yield_now().await;
            }
            // The end is a message: no FIN is needed for it.
            assert_eq!(read_all(&mut stream).await, answer);
        }
    }
}

#[tokio::test]
async fn a_json_end_needs_no_line_feed_before_the_fin() {
    let caller = Caller::new();
    let answer = caller.exchange_bytes(b"{\"method\":\"sum\"}\n{\"item\":4}\n{\"end\":true}").await;
    assert_eq!(answer, b"{\"ok\":4}\n");
}

#[tokio::test]
async fn items_go_back_and_forth_one_by_one() {
    let caller = Caller::new();
    for codec in CODECS {
        let mut stream = caller.open(&encode(codec, &[call("double")])).await;
        for n in 1..5 {
            stream.write_all(&encode(codec, &[item(n)])).await.unwrap();
            let mut answer = vec![0; encode(codec, &[item(2 * n)]).len()];
            stream.read_exact(&mut answer).await.unwrap();
            assert_eq!(decode(codec, &answer), [item(2 * n)]);
        }
        stream.write_all(&encode(codec, &[end()])).await.unwrap();
        assert_eq!(decode(codec, &read_all(&mut stream).await), [done()]);
    }
}

/// What `tolerant` answers to these bytes behind its request.
async fn tolerated(caller: &Caller, codec: Codec, input: &[u8]) -> Value {
    let bytes = [encode(codec, &[call("tolerant")]), input.to_vec()].concat();
    let answer = decode(codec, &caller.exchange_bytes(&bytes).await);
    caller.assert_alive(codec).await;
    answer[0]["ok"].clone()
}

#[tokio::test]
async fn input_without_an_end_is_never_a_whole_input() {
    let caller = Caller::new();
    for codec in CODECS {
        let items = encode(codec, &[item(1), item(2)]);
        let read = |n: usize| json!([(1..=n).collect::<Vec<_>>(), "data_loss"]);
        assert_eq!(tolerated(&caller, codec, b"").await, read(0));
        let one = encode(codec, &[item(1)]).len();
        for cut in 0..=items.len() {
            // The line feed may be missing.
            let whole = (cut + usize::from(codec == Codec::Json)) / one;
            assert_eq!(tolerated(&caller, codec, &items[..cut]).await, read(whole), "{codec} cut at {cut}");
        }
        let sum = caller.exchange(codec, &[call("sum"), item(1)]).await;
        assert_eq!(sum[0]["err"]["code"], "data_loss");
    }
}

#[tokio::test]
async fn what_is_no_item_is_the_callers_fault() {
    let caller = Caller::new();
    for codec in CODECS {
        for garbage in [
            json!({"item": "text"}),
            json!({"item": null}),
            json!({"item": -1}),
            json!({}),
            json!({"item": 1, "end": true}),
            json!({"end": false}),
            json!({"ok": 7}),
            json!(7),
            json!([{"item": 1}]),
        ] {
            let input = encode(codec, &[item(1), garbage.clone(), item(2), end()]);
            let read = tolerated(&caller, codec, &input).await;
            assert_eq!(read, json!([[1], "invalid_argument"]), "{codec}: {garbage}");
        }
    }
    for (codec, garbage) in [
        (Codec::Json, &b"{\"item\":\n"[..]),
        (Codec::Json, b"\xff\n"),
        (Codec::MessagePack, b"\0\0\0\0"),
        (Codec::MessagePack, b"\0\0\0\x01\xc1"),
        (Codec::MessagePack, b"\0\0\0\x08\x81\xa4item\x01\x01"),
    ] {
        let read = tolerated(&caller, codec, garbage).await;
        assert_eq!(read, json!([[], "invalid_argument"]), "{codec}: {garbage:?}");
    }
}

#[tokio::test]
async fn an_item_over_the_limit_ends_the_input() {
    let caller = Caller::with(Limits::default().max_message_size(SMALL));
    for codec in CODECS {
        let large = json!({"item": "x".repeat(SMALL)});
        let read = tolerated(&caller, codec, &encode(codec, &[item(1), large, end()])).await;
        assert_eq!(read, json!([[1], "resource_exhausted"]));
        // Many that are not over it may be far more together.
        let many: Vec<_> = (0..200).map(item).chain([end()]).collect();
        let read = tolerated(&caller, codec, &encode(codec, &many)).await;
        assert_eq!(read, json!([(0..200).collect::<Vec<_>>(), null]));
    }
    // The length alone is enough.
    let read = tolerated(&caller, Codec::MessagePack, b"\x10\0\0\0").await;
    assert_eq!(read, json!([[], "resource_exhausted"]));
}

#[tokio::test]
async fn a_caller_may_say_why_its_items_fail() {
    let caller = Caller::new();
    for codec in CODECS {
        let failed = json!({"err": {"code": "aborted", "message": "no more"}});
        let input = encode(codec, &[item(1), failed.clone()]);
        assert_eq!(tolerated(&caller, codec, &input).await, json!([[1], "aborted"]));
        assert_eq!(caller.exchange(codec, &[call("sum"), item(1), failed.clone()]).await, [failed]);
    }
}

#[tokio::test]
async fn items_sent_to_a_unary_method_are_ignored() {
    let caller = Caller::new();
    for codec in CODECS {
        let one = json!({"method": "one", "params": {"n": 5}});
        assert_eq!(caller.exchange(codec, &[one, item(1), end()]).await, [json!({"ok": 5})]);
        // The answer of `count` streams; what follows its request is ignored, too.
        let count = json!({"method": "count", "params": {"to": 1}});
        assert_eq!(caller.exchange(codec, &[count, item(1)]).await, [item(1), done()]);
        caller.assert_alive(codec).await;
    }
}

#[tokio::test]
async fn a_call_is_answered_before_its_items_have_come() {
    let caller = Caller::new();
    for codec in CODECS {
        let mut stream = caller.open(&encode(codec, &[call("ignore"), item(1)])).await;
        assert_eq!(decode(codec, &read_all(&mut stream).await), [json!({"ok": 7})]);
        // Who sends on is no danger to others.
        for _ in 0..1000 {
            if stream.write_all(&[b' '; 4096]).await.is_err() {
                break;
            }
        }
        caller.assert_alive(codec).await;
    }
}

#[tokio::test]
async fn errors_come_as_the_end_with_code_text_and_value() {
    let caller = Caller::new();
    for codec in CODECS {
        let own = |n: u64| {
            let message = format!("broken after {n}");
            json!({"code": "out_of_range", "message": message, "details": {"After": n}, "app": true})
        };
        let broken = json!({"method": "broken", "params": {"after": 2}});
        assert_eq!(caller.exchange(codec, &[broken]).await, [item(1), item(2), json!({"err": own(2)})]);
        let at_once = json!({"err": own(0), "metadata": {"k": "v", "t": "w"}});
        assert_eq!(caller.exchange(codec, &[call("broken_at_once")]).await, [at_once]);
        let unknown = caller.exchange(codec, &[call("counts")]).await;
        assert_eq!((unknown.len(), &unknown[0]["err"]["code"]), (1, &json!("unimplemented")));
        let parameters = caller.exchange(codec, &[json!({"method": "count", "params": {"to": "x"}})]).await;
        assert_eq!((parameters.len(), &parameters[0]["err"]["code"]), (1, &json!("invalid_argument")));
    }
}

#[tokio::test]
async fn metadata_is_in_front_and_the_trailer_behind() {
    let caller = Caller::new();
    for codec in CODECS {
        let annotated = |size: u64| json!({"method": "annotated", "params": {"size": size}});
        assert_eq!(
            caller.exchange(codec, &[annotated(1)]).await,
            [json!({"metadata": {"k": "v"}}), item(1), json!({"ok": null, "metadata": {"t": "w"}})]
        );
        // Over the limit there are no items.
        let answer = caller.exchange(codec, &[annotated(20_000)]).await;
        assert_eq!((answer.len(), &answer[0]["err"]["code"]), (1, &json!("internal")));
        let text = answer[0]["err"]["message"].to_string();
        assert!(text.contains("limit of 16384 (Limits::max_metadata_size)"), "{text}");
        caller.assert_alive(codec).await;
    }
}

#[tokio::test]
async fn a_reset_drops_the_handler() {
    let caller = Caller::new();
    for codec in CODECS {
        let large = json!({"method": "large_then_stall", "params": {"size": 1}});
        for request in [vec![large], vec![call("hang"), item(1)], vec![call("hang"), item(1), end()]] {
            let mut stream = caller.open(&encode(codec, &request)).await;
            stream.flush().await.unwrap();
            caller.feeding.until_alive(1).await;
            stream.reset(ErrorCode::CANCELLED);
            caller.feeding.until_alive(0).await;
            caller.assert_alive(codec).await;
        }
    }
}

#[tokio::test]
async fn a_caller_that_does_not_read_holds_up_nobody_else() {
    let caller = Caller::with(Limits::default().max_in_flight(2));
    for codec in CODECS {
        let endless = json!({"method": "count", "params": {"to": u64::MAX}});
        let unread = caller.open(&encode(codec, &[endless])).await;
        caller.assert_alive(codec).await;
        drop(unread);
    }
    let endless = json!({"method": "count", "params": {"to": u64::MAX}});
    let _one = caller.open(&encode(Codec::Json, &[endless])).await;
    caller.assert_alive(Codec::Json).await;
}

#[tokio::test(start_paused = true)]
async fn a_time_limit_ends_the_items_between_two_messages() {
    let caller = Caller::new();
    for codec in CODECS {
        let start = Instant::now();
        let mut stream = caller.open(&encode(codec, &[large_then_stall()])).await;
        let read = tokio::spawn(async move { read_all(&mut stream).await });
        caller.feeding.until_alive(1).await;
        caller.feeding.until_alive(0).await;
        assert_eq!(start.elapsed(), Duration::from_millis(1500));
        let answer = decode(codec, &read.await.unwrap());
        assert_eq!((answer.len(), answer[0]["item"].as_str().map(str::len)), (2, Some(LARGE)));
        assert_eq!(answer[1]["err"]["code"], "deadline_exceeded");
        caller.assert_alive(codec).await;
    }
}

#[tokio::test(start_paused = true)]
async fn items_that_nobody_reads_are_gone_with_their_time_limit() {
    let caller = Caller::new();
    for codec in CODECS {
        let start = Instant::now();
        let mut stream = caller.open(&encode(codec, &[large_then_stall()])).await;
        stream.flush().await.unwrap();
        caller.feeding.until_alive(1).await;
        // The window is far smaller than the item, so that it is sent in part when the time is over.
        caller.feeding.until_alive(0).await;
        assert_eq!(start.elapsed(), Duration::from_millis(1500));
        let error = stream.read_to_end(&mut Vec::new()).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        caller.assert_alive(codec).await;
    }
}

/// A call that sends an item larger than a window and then nothing, within 1.5 s.
fn large_then_stall() -> Value {
    json!({"method": "large_then_stall", "params": {"size": LARGE}, "timeout_ms": 1500})
}

const LARGE: usize = 1_000_000;
