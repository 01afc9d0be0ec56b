//! Streams of items with a server that uses a bare muxado session and messages written by hand.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::time::Duration;

use futures_util::stream;
use muxado::{Config, ErrorCode, ReadError, Session, Stream, TypedSession};
use muxado_rpc::{CallError, Code, Codec, Executed, Limits, Metadata, Origin, Peer};
use serde_json::{Value, json};
use support::{
    CODECS,
    feed::{Broken, FeedClient, collect, decode, encode},
};
use tokio::{
    io::{AsyncWriteExt, duplex},
    time::{Instant, advance},
};

const SMALL: usize = 1024;

fn item(value: u64) -> Value {
    json!({"item": value})
}

fn end() -> Value {
    json!({"end": true})
}

fn done() -> Value {
    json!({"ok": null})
}

/// Answers our next call by hand, then one more, which must work.
async fn served<T>(
    codec: Codec,
    answer: impl AsyncFnOnce(&mut Stream),
    call: impl AsyncFnOnce(FeedClient) -> T,
) -> T {
    let (near, far) = duplex(64 * 1024);
    let (session, driver) = Session::server(far, Config::default());
    tokio::spawn(driver);
    let session = TypedSession::new(session);
    let peer = Peer::builder().limits(Limits::default().max_message_size(SMALL)).client(near).unwrap();
    let client = FeedClient::new(peer.channel()).with_codec(codec);
    let serving = async {
        let mut stream = session.accept_typed().await.unwrap().into_inner();
        answer(&mut stream).await;
        stream
    };
    let (result, _stream) = tokio::join!(call(client.clone()), serving);
    let serving = async {
        let mut stream = session.accept_typed().await.unwrap();
        stream.write_all(&encode(codec, &[json!({"ok": 5})])).await.unwrap();
        stream.shutdown().await.unwrap();
    };
    assert_eq!(tokio::join!(client.one(5), serving).0, Ok(5));
    result
}

/// What a call of `count` comes to that is answered with these bytes and a FIN.
async fn counted_bytes(codec: Codec, bytes: &[u8]) -> (Vec<u64>, Option<CallError>) {
    let answer = async |stream: &mut Stream| {
        stream.write_all(bytes).await.unwrap();
        // Whoever has seen enough may have reset it.
        let _ = stream.shutdown().await;
    };
    served(codec, answer, async |client| collect(&mut client.count(9).await.unwrap()).await).await
}

async fn counted(codec: Codec, messages: &[Value]) -> (Vec<u64>, Option<CallError>) {
    counted_bytes(codec, &encode(codec, messages)).await
}

/// Reads messages until one is an end.
async fn read_input(codec: Codec, stream: &mut Stream) -> Vec<Value> {
    let mut bytes = Vec::new();
    let last = encode(codec, &[end()]);
    while !bytes.ends_with(&last) {
        bytes.extend(stream.read_chunk().await.unwrap().expect("an end comes before the FIN"));
    }
    decode(codec, &bytes)
}

#[tokio::test]
async fn each_shape_is_answered_by_hand() {
    for codec in CODECS {
        assert_eq!(counted(codec, &[item(1), json!({"x": 1, "item": 2}), done()]).await, (vec![1, 2], None));
        assert_eq!(counted(codec, &[done()]).await, (vec![], None));
        let sum = served(
            codec,
            async |stream| {
                assert_eq!(read_input(codec, stream).await[1..], [item(1), item(2), end()]);
                stream.write_all(&encode(codec, &[json!({"ok": 3})])).await.unwrap();
                stream.shutdown().await.unwrap();
            },
            async |client| client.sum(stream::iter([1, 2])).await,
        );
        assert_eq!(sum.await, Ok(3));
        let doubled = served(
            codec,
            async |stream| {
                stream.write_all(&encode(codec, &[item(2)])).await.unwrap();
                assert_eq!(read_input(codec, stream).await[1..], [item(1), end()]);
                stream.write_all(&encode(codec, &[item(4), done()])).await.unwrap();
                stream.shutdown().await.unwrap();
            },
            async |client| collect(&mut client.double(stream::iter([1])).await.unwrap()).await,
        );
        assert_eq!(doubled.await, (vec![2, 4], None));
    }
}

#[tokio::test]
async fn items_without_an_end_are_data_loss_wherever_they_are_cut() {
    for codec in CODECS {
        let items = encode(codec, &[item(1), item(2)]);
        let one = encode(codec, &[item(1)]).len();
        for cut in 0..=items.len() {
            let (read, error) = counted_bytes(codec, &items[..cut]).await;
            let whole = (cut + usize::from(codec == Codec::Json)) / one;
            let error = error.unwrap();
            let origin = error.status().map(muxado_rpc::Status::origin);
            assert_eq!((read.len(), error.code(), origin), (whole, Code::DataLoss, Some(Origin::Peer)));
        }
    }
}

#[tokio::test]
async fn what_is_no_item_is_an_internal_error() {
    for codec in CODECS {
        for garbage in [
            json!({"item": "text"}),
            json!({}),
            json!({"ok": null, "end": true}),
            json!({"ok": null, "err": {}}),
            json!([1]),
        ] {
            let (read, error) = counted(codec, &[item(1), garbage.clone(), item(2), done()]).await;
            assert_eq!((read, error.unwrap().code()), (vec![1], Code::Internal), "{codec}: {garbage}");
        }
    }
}

#[tokio::test]
async fn one_answer_is_no_stream_and_an_item_no_answer() {
    for codec in CODECS {
        let (read, error) = counted(codec, &[json!({"ok": 7})]).await;
        assert_eq!((read, error.as_ref().map(CallError::code)), (vec![], Some(Code::Internal)));
        assert!(error.unwrap().to_string().contains("one answer came where items were expected"));
        let one = served(
            codec,
            async |stream| {
                stream.write_all(&encode(codec, &[item(7), done()])).await.unwrap();
                let _ = stream.shutdown().await;
            },
            async |client| client.one(7).await,
        );
        assert_eq!(one.await.unwrap_err().code(), Code::Internal);
    }
}

#[tokio::test]
async fn an_item_over_the_limit_ends_the_output() {
    for codec in CODECS {
        let large = json!({"item": "x".repeat(SMALL)});
        let (read, error) = counted(codec, &[item(1), large, done()]).await;
        let error = error.unwrap();
        assert_eq!((read, error.code()), (vec![1], Code::ResourceExhausted));
        assert!(error.to_string().contains("receiving side's limit of 1024 (Limits::max_message_size)"));
    }
}

#[tokio::test]
async fn metadata_over_the_limit_ends_the_output() {
    let limits = Limits::default().max_metadata_size(10);
    for codec in CODECS {
        for (place, read) in [(0, 0), (1, 1)] {
            let (near, far) = duplex(64 * 1024);
            let (session, driver) = Session::server(far, Config::default());
            tokio::spawn(driver);
            let peer = Peer::builder().limits(limits.clone()).client(near).unwrap();
            let client = FeedClient::new(peer.channel()).with_codec(codec);
            let metadata = json!({"name": "a long value"});
            let messages = match place {
                0 => [json!({"metadata": metadata}), item(1), done()],
                _ => [item(1), json!({"ok": null, "metadata": metadata}), done()],
            };
            let session = TypedSession::new(session);
            let serving = async {
                let mut stream = session.accept_typed().await.unwrap();
                stream.write_all(&encode(codec, &messages)).await.unwrap();
                stream
            };
            let calling = async { collect(&mut client.count(1).await.unwrap()).await };
            let ((items, error), _stream) = tokio::join!(calling, serving);
            assert_eq!((items.len(), error.unwrap().code()), (read, Code::ResourceExhausted));
        }
    }
}

#[tokio::test]
async fn metadata_and_trailer_are_found() {
    for codec in CODECS {
        for head in [json!({"k": "v"}), json!({})] {
            let seen = served(
                codec,
                async |stream| {
                    let last = json!({"metadata": {"t": "w"}, "ok": null});
                    let messages = [json!({"metadata": head}), item(1), last, item(2)];
                    stream.write_all(&encode(codec, &messages)).await.unwrap();
                },
                async |client| {
                    let mut items = client.count(1).await.unwrap();
                    assert_eq!(collect(&mut items).await, (vec![1], None), "what follows an end is ignored");
                    (items.metadata().get("k").map(str::to_owned), items.trailer().clone())
                },
            );
            let expected = head["k"].as_str().map(str::to_owned);
            assert_eq!(seen.await, (expected, Metadata::from([("t", "w")])));
        }
    }
}

#[tokio::test]
async fn a_reset_in_the_middle_says_what_it_means() {
    for codec in CODECS {
        for (code, status_code, executed) in [
            (ErrorCode::CANCELLED, Code::Cancelled, Executed::Maybe),
            (ErrorCode::INTERNAL_ERROR, Code::Unavailable, Executed::Maybe),
            // Who has sent items has not refused the call.
            (ErrorCode::STREAM_REFUSED, Code::Unavailable, Executed::Maybe),
            (ErrorCode::ACCEPT_QUEUE_FULL, Code::Unavailable, Executed::Maybe),
        ] {
            let (read, error) = served(
                codec,
                async |stream| {
                    stream.write_all(&encode(codec, &[item(1)])).await.unwrap();
                    stream.flush().await.unwrap();
                    tokio::task::yield_now().await;
                    stream.reset(code);
                },
                async |client| collect(&mut client.count(1).await.unwrap()).await,
            )
            .await;
            let error = error.unwrap();
            let status = error.status().unwrap();
            assert_eq!((read, status.code(), status.executed()), (vec![1], status_code, executed));
            assert_eq!(status.origin(), Origin::Peer);
        }
    }
}

#[tokio::test]
async fn a_stream_that_is_refused_says_that_nothing_was_executed() {
    for codec in CODECS {
        let refuse = async |stream: &mut Stream| stream.reset(ErrorCode::STREAM_REFUSED);
        let count = async |client: FeedClient| collect(&mut client.count(1).await.unwrap()).await;
        let error = served(codec, refuse, count).await.1.unwrap();
        assert_eq!((error.code(), error.may_have_executed()), (Code::Unavailable, false));
    }
}

#[tokio::test]
async fn an_error_of_the_application_shows_its_code_to_those_who_do_not_know_it() {
    for codec in CODECS {
        let own = json!({"code": "out_of_range", "message": "far", "details": {"After": 1}, "app": true});
        let (read, error) = counted(codec, &[item(1), json!({"err": own})]).await;
        let error = error.unwrap();
        let status = error.status().unwrap();
        assert_eq!((read, status.code(), status.origin()), (vec![1], Code::OutOfRange, Origin::Peer));
        assert_eq!(status.details(), Some(Broken::After(1)));
        let known = served(
            codec,
            async |stream| {
                stream.write_all(&encode(codec, &[item(1), json!({"err": own})])).await.unwrap();
                stream.shutdown().await.unwrap();
            },
            async |client| collect(&mut client.broken(1).await.unwrap()).await,
        );
        assert_eq!(known.await, (vec![1], Some(CallError::App(Broken::After(1)))));
    }
}

#[tokio::test]
async fn a_caller_that_has_enough_resets_the_stream() {
    for codec in CODECS {
        let left = served(
            codec,
            async |stream| {
                stream.write_all(&encode(codec, &[item(1)])).await.unwrap();
                stream.flush().await.unwrap();
                let read = loop {
                    match stream.read_chunk().await {
                        Ok(Some(_)) => {}
                        Ok(None) => {
                            break std::future::poll_fn(|cx| stream.poll_reset(cx)).await;
                        }
                        Err(error) => break error,
                    }
                };
                assert_eq!(read, ReadError::Reset(ErrorCode::CANCELLED));
            },
            async |client| {
                let mut counted = client.count(1).await.unwrap();
                let first = counted.try_next().await.unwrap();
                drop(counted);
                first
            },
        );
        assert_eq!(left.await, Some(1));
    }
}

#[tokio::test]
async fn a_stream_both_ways_may_end_before_its_items_are_read() {
    for codec in CODECS {
        let doubled = served(
            codec,
            async |stream| {
                stream.write_all(&encode(codec, &[done()])).await.unwrap();
                stream.shutdown().await.unwrap();
            },
            async |client| collect(&mut client.double(stream::repeat(1)).await.unwrap()).await,
        );
        assert_eq!(doubled.await, (vec![], None));
        let sum = served(
            codec,
            async |stream| {
                stream.write_all(&encode(codec, &[json!({"ok": 7})])).await.unwrap();
                stream.shutdown().await.unwrap();
            },
            async |client| client.sum(stream::repeat(1)).await,
        );
        assert_eq!(sum.await, Ok(7));
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_floods_items_is_cut_at_the_time_limit() {
    const MILLI: Duration = Duration::from_millis(1);
    for codec in CODECS {
        let (near, far) = duplex(64 * 1024);
        let (session, driver) = Session::server(far, Config::default());
        tokio::spawn(driver);
        let session = TypedSession::new(session);
        let flooding = tokio::spawn(async move {
            let mut stream = session.accept_typed().await.unwrap();
            let items = encode(codec, &vec![item(1); 100]);
            while stream.write_all(&items).await.is_ok() {}
        });
        let peer = Peer::builder().client(near).unwrap();
        let client = FeedClient::new(peer.channel()).with_codec(codec).with_timeout(100 * MILLI);
        let (start, mut read, mut late) = (Instant::now(), 0, 0);
        let mut items = client.count(1).await.unwrap();
        let error = loop {
            match items.next().await.unwrap() {
                Ok(_) if late > 10_000 => panic!("{codec}: {late} items after the time limit"),
                Ok(_) => (read, late) = (read + 1, late + u32::from(start.elapsed() > 100 * MILLI)),
                Err(error) => break error,
            }
            if read % 1000 == 0 {
                advance(MILLI).await;
            }
        };
        assert_eq!(error.code(), Code::DeadlineExceeded);
        assert!(read > 100_000 - 10_000, "{codec}: cut after {read} items, {:?}", start.elapsed());
        // The peer is told, too: its stream is reset.
        flooding.await.unwrap();
    }
}
