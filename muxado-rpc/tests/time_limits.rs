//! A time limit covers a whole call: sending the request, waiting, and the response to its last byte, whatever the
//! other side does.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{self, Poll},
    time::Duration,
};

use futures_util::{Stream, StreamExt, stream};
use muxado::{Config, Session, StreamType, TypedSession, TypedStream};
use muxado_rpc::{Channel, Code, Context, NamedService, Peer, Streaming};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, duplex},
    time::{Instant, sleep},
};

const LIMIT: Duration = Duration::from_secs(1);
/// More than a window takes.
const LARGE: usize = 1_000_000;

#[muxado_rpc::service]
trait Bulk {
    async fn large(&self, bytes: usize) -> String;
    async fn large_with_context(&self, cx: &Context, bytes: usize) -> String;
    #[method(no_cancel)]
    async fn large_to_the_end(&self, bytes: usize) -> String;
    async fn large_for_items(&self, bytes: usize, items: Streaming<u64>) -> String;
    async fn take(&self, text: String) -> usize;
    async fn sum(&self, items: Streaming<u64>) -> u64;
    async fn count(&self) -> impl Stream<Item = u64>;
    async fn echo(&self, items: Streaming<u64>) -> impl Stream<Item = u64>;
}

struct Plain;

impl Bulk for Plain {
    async fn large(&self, bytes: usize) -> String {
        "x".repeat(bytes)
    }

    async fn large_with_context(&self, _: &Context, bytes: usize) -> String {
        "x".repeat(bytes)
    }

    async fn large_to_the_end(&self, bytes: usize) -> String {
        "x".repeat(bytes)
    }

    async fn large_for_items(&self, bytes: usize, _: Streaming<u64>) -> String {
        "x".repeat(bytes)
    }

    async fn take(&self, _: String) -> usize {
        std::future::pending().await
    }

    async fn sum(&self, mut items: Streaming<u64>) -> u64 {
        while items.next().await.is_some() {}
        0
    }

    async fn count(&self) -> impl Stream<Item = u64> {
        every_ms()
    }

    async fn echo(&self, items: Streaming<u64>) -> impl Stream<Item = u64> {
        items.map(|item| item.unwrap_or_default())
    }
}

/// Items without end.
fn every_ms() -> impl Stream<Item = u64> + Send {
    stream::unfold(0, |n| async move {
        sleep(Duration::from_millis(1)).await;
        Some((n, n + 1))
    })
}

/// Items that are there as fast as they are taken, and a sign that they are wanted no more.
struct Endless(Arc<AtomicBool>);

impl Stream for Endless {
    type Item = u64;

    fn poll_next(self: Pin<&mut Self>, _: &mut task::Context<'_>) -> Poll<Option<u64>> {
        Poll::Ready(Some(7))
    }
}

impl Drop for Endless {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A server, and a bare session that calls it.
struct Served {
    peer: Peer,
    session: TypedSession,
}

impl Served {
    fn new() -> Self {
        let (near, far) = duplex(64 * 1024);
        let peer = Peer::builder().serve(BulkServer::new(Plain)).server(far).unwrap();
        let (session, driver) = Session::client(near, Config::default());
        tokio::spawn(driver);
        Self { peer, session: TypedSession::new(session) }
    }

    async fn call(&self, method: &str, params: Value) -> TypedStream {
        let mut stream = self.session.open_typed(service()).await.unwrap();
        let request = json!({"method": method, "params": params, "timeout_ms": LIMIT.as_millis() as u64});
        stream.write_all(format!("{request}\n").as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
        stream
    }
}

fn service() -> StreamType {
    StreamType::new(<BulkServer<Plain> as NamedService>::INFO.id().as_u32())
}

#[tokio::test(start_paused = true)]
async fn a_response_that_nobody_reads_is_gone_with_the_time_limit() {
    for method in ["large", "large_with_context", "large_to_the_end", "large_for_items"] {
        let served = Served::new();
        let mut stream = served.call(method, json!({"bytes": LARGE})).await;
        sleep(LIMIT - Duration::from_millis(1)).await;
        let stats = served.peer.call_stats();
        assert_eq!((stats.started, served.peer.stats().streams_open), (1, 1), "{method}: {stats:?}");
        sleep(Duration::from_millis(2)).await;
        let stats = served.peer.call_stats();
        assert_eq!((stats.cancelled, stats.served, stats.in_flight()), (1, 0, 0), "{method}");
        assert_eq!(served.peer.stats().streams_open, 0, "{method}");
        let error = stream.read_to_end(&mut Vec::new()).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset, "{method}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_response_that_is_read_in_time_comes_whole() {
    let served = Served::new();
    let mut stream = served.call("large", json!({"bytes": LARGE})).await;
    sleep(LIMIT / 2).await;
    let mut response = Vec::new();
    stream.read_to_end(&mut response).await.unwrap();
    assert!(response.len() > LARGE && response.ends_with(b"\"}\n"));
    assert_eq!(served.peer.call_stats().served, 1);
}

/// A client, and a bare session that takes its calls and does not read them.
struct Called {
    peer: Peer,
    session: TypedSession,
}

impl Called {
    fn new() -> Self {
        let (near, far) = duplex(64 * 1024);
        let peer = Peer::builder().client(near).unwrap();
        let (session, driver) = Session::server(far, Config::default());
        tokio::spawn(driver);
        Self { peer, session: TypedSession::new(session) }
    }

    fn client(&self) -> BulkClient<Channel> {
        BulkClient::new(self.peer.channel()).with_codec(muxado_rpc::Codec::Json).with_timeout(LIMIT)
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_nobody_reads_is_given_up_in_time() {
    let called = Called::new();
    let start = Instant::now();
    let client = called.client();
    let (result, _unread) = tokio::join!(client.take("x".repeat(LARGE)), called.session.accept_typed());
    assert_eq!((result.unwrap_err().code(), start.elapsed()), (Code::DeadlineExceeded, LIMIT));
    sleep(Duration::from_millis(1)).await;
    assert_eq!(called.peer.stats().streams_open, 0);
}

#[tokio::test(start_paused = true)]
async fn so_are_items_that_nobody_reads() {
    let called = Called::new();
    let start = Instant::now();
    let dropped = Arc::new(AtomicBool::new(false));
    let client = called.client();
    let (result, _unread) =
        tokio::join!(client.sum(Endless(Arc::clone(&dropped))), called.session.accept_typed());
    assert_eq!((result.unwrap_err().code(), start.elapsed()), (Code::DeadlineExceeded, LIMIT));
    assert!(dropped.load(Ordering::Relaxed));
}

#[tokio::test(start_paused = true)]
async fn items_that_do_not_end_are_given_up_in_time() {
    let called = Called::new();
    let start = Instant::now();
    let mut items = called.client().count().await.unwrap();
    let mut stream = called.session.accept_typed().await.unwrap();
    tokio::spawn(async move {
        while stream.write_all(b"{\"item\":1}\n").await.is_ok() {
            sleep(Duration::from_millis(1)).await;
        }
    });
    let error = loop {
        if let Err(error) = items.next().await.unwrap() {
            break error;
        }
    };
    assert_eq!((error.code(), start.elapsed()), (Code::DeadlineExceeded, LIMIT));
}

#[tokio::test(start_paused = true)]
async fn items_both_ways_end_in_time_even_if_nobody_asks_for_them() {
    let called = Called::new();
    let dropped = Arc::new(AtomicBool::new(false));
    let mut items = called.client().echo(Endless(Arc::clone(&dropped))).await.unwrap();
    let _unread = called.session.accept_typed().await.unwrap();
    sleep(LIMIT - Duration::from_millis(1)).await;
    assert!(!dropped.load(Ordering::Relaxed));
    sleep(Duration::from_millis(2)).await;
    assert!(dropped.load(Ordering::Relaxed));
    assert_eq!(items.next().await.unwrap().unwrap_err().code(), Code::DeadlineExceeded);
}

#[tokio::test(start_paused = true)]
async fn calls_in_process_end_in_time() {
    let client = BulkClient::new(BulkServer::new(Plain)).with_timeout(LIMIT);
    let start = Instant::now();
    assert_eq!(client.take(String::new()).await.unwrap_err().code(), Code::DeadlineExceeded);
    assert_eq!(client.sum(every_ms()).await.unwrap_err().code(), Code::DeadlineExceeded);
    assert_eq!(start.elapsed(), 2 * LIMIT);
    for mut items in [client.count().await.unwrap(), client.echo(every_ms()).await.unwrap()] {
        let start = Instant::now();
        let error = loop {
            if let Err(error) = items.next().await.unwrap() {
                break error;
            }
        };
        assert_eq!(error.code(), Code::DeadlineExceeded);
        assert!(start.elapsed() <= LIMIT);
    }
}
