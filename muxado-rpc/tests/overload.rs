//! More calls than are served at a time: who waits, for how long, and who is begun.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::future::join_all;
use muxado::{Config, ErrorCode, Session, StreamType, TypedSession, TypedStream};
use muxado_rpc::{CallError, Channel, Code, Codec, Limits, NamedService, Origin, Peer, Status};
use support::CODECS;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, duplex},
    task::{JoinHandle, yield_now},
    time::{Instant, sleep, timeout},
};

const SECOND: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);

#[muxado_rpc::service]
trait Shop {
    /// Serves customer `number` for so long.
    async fn serve(&self, number: u32, ms: u64) -> u32;
}

#[derive(Clone, Default)]
struct Counter {
    served: Arc<Mutex<Vec<u32>>>,
}

impl Counter {
    fn served(&self) -> Vec<u32> {
        self.served.lock().unwrap().clone()
    }
}

impl Shop for Counter {
    async fn serve(&self, number: u32, ms: u64) -> u32 {
        self.served.lock().unwrap().push(number);
        sleep(Duration::from_millis(ms)).await;
        number
    }
}

struct Pair {
    client: ShopClient<Channel>,
    counter: Counter,
    far: Peer,
    _near: Peer,
}

impl Pair {
    fn new(codec: Codec, limits: Limits) -> Self {
        Self::with(codec, Config::default(), limits)
    }

    fn with(codec: Codec, near_config: Config, limits: Limits) -> Self {
        let (near, far) = duplex(64 * 1024);
        let counter = Counter::default();
        let builder = Peer::builder().limits(limits.clone()).config(near_config);
        let near = builder.client(near).unwrap();
        let far = Peer::builder().limits(limits).serve(ShopServer::new(counter.clone())).server(far).unwrap();
        let client = ShopClient::new(near.channel()).with_codec(codec);
        Self { client, counter, far, _near: near }
    }

    /// A call that is under way.
    async fn begin(&self, number: u32, ms: u64) -> JoinHandle<Result<u32, CallError>> {
        let client = self.client.clone();
        let call = tokio::spawn(async move { client.serve(number, ms).await });
        settle().await;
        call
    }
}

async fn settle() {
    for _ in 0..20 {
        yield_now().await;
    }
}

fn status<T: std::fmt::Debug>(result: Result<T, CallError>) -> Status {
    result.unwrap_err().into()
}

/// A client that is written by hand, and does not give up by itself.
struct Bare {
    session: TypedSession,
    counter: Counter,
    _far: Peer,
}

impl Bare {
    fn new(limits: Limits) -> Self {
        let (near, far) = duplex(64 * 1024);
        let counter = Counter::default();
        let far = Peer::builder().limits(limits).serve(ShopServer::new(counter.clone())).server(far).unwrap();
        let (session, driver) = Session::client(near, Config::default());
        tokio::spawn(driver);
        Self { session: TypedSession::new(session), counter, _far: far }
    }

    async fn say(&self, text: &str) -> TypedStream {
        let id = <ShopServer<Counter> as NamedService>::INFO.id().as_u32();
        let mut stream = self.session.open_typed(StreamType::new(id)).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
        settle().await;
        stream
    }
}

async fn answer(stream: &mut TypedStream) -> String {
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test(start_paused = true)]
async fn a_call_that_waits_for_room_too_long_is_refused_as_not_executed() {
    for codec in CODECS {
        for (limits, limit) in [
            (Limits::default(), 10 * SECOND),
            (Limits::default().queue_timeout(3 * SECOND), 3 * SECOND),
            (Limits::default().queue_timeout(Duration::ZERO), Duration::ZERO),
        ] {
            let pair = Pair::new(codec, limits.max_in_flight(1));
            let hanging = pair.begin(1, u64::MAX).await;
            for client in [pair.client.clone(), pair.client.clone().with_timeout(60 * SECOND)] {
                let begun = Instant::now();
                let refused = status(client.serve(2, 1).await);
                assert_eq!((refused.code(), refused.may_have_executed()), (Code::ResourceExhausted, false));
                assert_eq!(refused.origin(), Origin::Peer);
                let says = format!(
                    "Shop.serve: not begun within {limit:?} (Limits::queue_timeout), beside the calls in flight, \
                     at the serving side's limit of 1 (Limits::max_in_flight)"
                );
                assert_eq!(refused.message(), says);
                assert!(
                    begun.elapsed() >= limit && begun.elapsed() <= limit + 20 * MS,
                    "{:?}",
                    begun.elapsed()
                );
            }
            assert_eq!(pair.counter.served(), [1]);
            assert_eq!(pair.far.call_stats().failed, 2);
            hanging.abort();
            settle().await;
            assert_eq!(pair.client.serve(3, 1).await, Ok(3));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_waits_for_a_stream_too_long_is_refused_as_not_executed() {
    for codec in CODECS {
        let config = Config::default().max_open_streams(1);
        let pair = Pair::with(codec, config, Limits::default().queue_timeout(3 * SECOND));
        let hanging = pair.begin(1, u64::MAX).await;
        let begun = Instant::now();
        let refused = status(pair.client.serve(2, 1).await);
        assert_eq!((refused.code(), refused.may_have_executed()), (Code::ResourceExhausted, false));
        assert_eq!(
            refused.message(),
            "Shop.serve: no stream within 3s (Limits::queue_timeout), over the calling side's limits \
             (muxado::Config::max_open_streams, muxado::Config::max_unacknowledged_opens)"
        );
        assert!(begun.elapsed() >= 3 * SECOND && begun.elapsed() < 3 * SECOND + 10 * MS);
        hanging.abort();
        assert_eq!((pair.client.serve(3, 1).await, pair.counter.served()), (Ok(3), vec![1, 3]));
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_whose_time_is_over_while_it_waits_is_never_begun() {
    for codec in CODECS {
        let pair = Pair::new(codec, Limits::default().max_in_flight(1));
        let first = pair.begin(1, 3000).await;
        let late = status(pair.client.clone().with_timeout(500 * MS).serve(2, 1).await);
        assert_eq!(late.code(), Code::DeadlineExceeded);
        assert_eq!(first.await.unwrap(), Ok(1));
        assert_eq!(pair.client.serve(3, 1).await, Ok(3));
        assert_eq!(pair.counter.served(), [1, 3]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_on_waiting_is_told_when_its_time_is_over() {
    let bare = Bare::new(Limits::default().max_in_flight(1));
    let _first = bare.say("{\"method\":\"serve\",\"params\":[1,3000]}\n").await;
    for timeout_ms in [500, 700] {
        let call = format!("{{\"method\":\"serve\",\"params\":[2,1],\"timeout_ms\":{timeout_ms}}}\n");
        let (mut stream, begun) = (bare.say(&call).await, Instant::now());
        let answer = answer(&mut stream).await;
        let says = format!(
            "Shop.serve: not begun within the caller's time limit of {timeout_ms}ms, beside the calls in flight, \
             at the serving side's limit of 1 (Limits::max_in_flight)"
        );
        assert!(answer.contains(&says) && answer.contains("deadline_exceeded"), "{answer}");
        assert!(answer.contains("\"executed\":false"), "{answer}");
        let limit = Duration::from_millis(timeout_ms);
        assert!(begun.elapsed() >= limit && begun.elapsed() <= limit + 20 * MS, "{:?}", begun.elapsed());
    }
    sleep(5 * SECOND).await;
    assert_eq!(bare.counter.served(), [1]);
}

#[tokio::test(start_paused = true)]
async fn a_time_limit_counts_from_the_first_byte_of_a_request() {
    let bare = Bare::new(Limits::default());
    let mut slow = bare.say("{\"method\":\"serve\",\"params\":[1,").await;
    sleep(2 * SECOND).await;
    slow.write_all(b"0],\"timeout_ms\":1000}\n").await.unwrap();
    slow.flush().await.unwrap();
    let said = answer(&mut slow).await;
    assert!(said.contains("deadline_exceeded") && said.contains("\"executed\":false"), "{said}");

    let mut slow = bare.say("{\"method\":\"serve\",\"params\":[2,").await;
    sleep(2 * SECOND).await;
    slow.write_all(b"5000],\"timeout_ms\":3000}\n").await.unwrap();
    slow.flush().await.unwrap();
    let (said, waited) = (timeout(60 * SECOND, answer(&mut slow)), Instant::now());
    assert!(said.await.unwrap().contains("deadline_exceeded"));
    assert!(waited.elapsed() <= SECOND + 10 * MS, "{:?}", waited.elapsed());
    assert_eq!(bare.counter.served(), [2]);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_given_up_while_it_waits_is_never_begun() {
    for codec in CODECS {
        let pair = Pair::new(codec, Limits::default().max_in_flight(1));
        let first = pair.begin(1, 1000).await;
        for number in 2..500 {
            pair.begin(number, 1).await.abort();
        }
        let last = pair.begin(500, 1).await;
        assert_eq!((first.await.unwrap(), last.await.unwrap()), (Ok(1), Ok(500)));
        assert_eq!(pair.counter.served(), [1, 500]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_whose_beginning_comes_late_waits_as_others() {
    let bare = Bare::new(Limits::default().max_in_flight(1));
    let mut first = bare.say("{\"method\":\"serve\",\"params\":[1,1000]}\n").await;
    let silent = bare.say("").await;
    let mut parts = bare.say("{\"meth").await;
    let mut backwards = bare.say("{\"params\":[3,0],\"method\":\"serve\"}\n").await;
    // Its end is that of the request.
    let mut bare_end = bare.say("{\"params\":[4,0],\"method\":\"serve\"}").await;
    bare_end.stream_mut().finish().unwrap();
    let mut gone = bare.say("{\"method\":\"se").await.into_inner();
    parts.write_all(b"od\":\"serve\",\"params\":[2,0]}\n").await.unwrap();
    parts.flush().await.unwrap();
    gone.reset(ErrorCode::CANCELLED);
    drop(silent);
    assert_eq!(answer(&mut first).await, "{\"ok\":1}\n");
    assert_eq!(answer(&mut backwards).await, "{\"ok\":3}\n");
    assert_eq!(answer(&mut parts).await, "{\"ok\":2}\n");
    assert_eq!(answer(&mut bare_end).await, "{\"ok\":4}\n");
    assert_eq!(bare.counter.served().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_says_nothing_while_it_waits_is_reset_in_time() {
    let bare = Bare::new(Limits::default().max_in_flight(1).first_byte_timeout(SECOND));
    let mut first = bare.say("{\"method\":\"serve\",\"params\":[1,5000]}\n").await;
    let (mut silent, begun) = (bare.say("").await, Instant::now());
    assert!(silent.read_u8().await.is_err());
    assert!(begun.elapsed() <= SECOND + 20 * MS, "{:?}", begun.elapsed());
    assert_eq!(answer(&mut first).await, "{\"ok\":1}\n");
}

#[tokio::test(start_paused = true)]
async fn as_long_as_the_queue_moves_the_oldest_call_is_next() {
    for codec in CODECS {
        let pair = Pair::new(codec, Limits::default().max_in_flight(2));
        let mut calls = Vec::new();
        for number in 0..10 {
            calls.push(pair.begin(number, 100).await);
        }
        assert!(join_all(calls).await.into_iter().all(|answer| answer.unwrap().is_ok()));
        assert_eq!(pair.counter.served(), Vec::from_iter(0..10));
    }
}

#[tokio::test(start_paused = true)]
async fn once_it_stands_the_newest_is() {
    let pair = Pair::new(Codec::MessagePack, Limits::default().max_in_flight(1).queue_timeout(4 * SECOND));
    let mut calls = vec![pair.begin(0, 2500).await];
    for number in 1..=5 {
        calls.push(pair.begin(number, 500).await);
        sleep(100 * MS).await;
    }
    let answers = join_all(calls).await;
    // At 2.5 s call 1 has waited for more than half of its 4 s; at 4 s it has waited for all of it.
    assert_eq!(pair.counter.served(), [0, 5, 4, 3, 2]);
    let refused: Vec<_> = answers.into_iter().map(|answer| answer.unwrap().is_err()).collect();
    assert_eq!(refused, [false, true, false, false, false, false]);
}

/// Calls that are answered in time in ten seconds, by so many callers that call again and again.
async fn goodput(codec: Codec, callers: usize) -> usize {
    let pair = Pair::new(codec, Limits::default().max_in_flight(8));
    let (answered, over) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let call = || {
        let client = pair.client.clone().with_timeout(100 * MS);
        let (answered, over) = (Arc::clone(&answered), Arc::clone(&over));
        tokio::spawn(async move {
            while !over.load(Ordering::Relaxed) {
                if client.serve(0, 20).await.is_ok() {
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            }
        })
    };
    let callers: Vec<_> = (0..callers).map(|_| call()).collect();
    sleep(10 * SECOND).await;
    over.store(true, Ordering::Relaxed);
    let good = answered.load(Ordering::Relaxed);
    join_all(callers).await;
    good
}

#[tokio::test(start_paused = true)]
async fn overload_leaves_the_calls_that_are_answered_as_many() {
    for codec in CODECS {
        let peak = goodput(codec, 8).await;
        assert!(peak > 3500, "{codec}: {peak}");
        for callers in [9, 24, 40, 100, 500, 1000, 2000] {
            let good = goodput(codec, callers).await;
            assert!(good * 10 >= peak * 8, "{codec}, {callers} callers: {good} of {peak}");
        }
    }
}

/// Callers that come whether or not the earlier ones were answered.
#[tokio::test(start_paused = true)]
async fn so_it_does_where_callers_do_not_wait_for_one_another() {
    for every in [2, 1] {
        let pair = Pair::new(Codec::MessagePack, Limits::default().max_in_flight(8));
        let answered = Arc::new(AtomicU64::new(0));
        let mut calls = Vec::new();
        for _ in 0..5000 / every {
            let client = pair.client.clone().with_timeout(100 * MS);
            let answered = Arc::clone(&answered);
            calls.push(tokio::spawn(async move {
                if client.serve(0, 20).await.is_ok() {
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            }));
            sleep(Duration::from_millis(every)).await;
        }
        join_all(calls).await;
        // 400 a second are possible, for 5 seconds.
        let good = answered.load(Ordering::Relaxed);
        assert!(good >= 1600, "every {every} ms: {good}");
    }
}
