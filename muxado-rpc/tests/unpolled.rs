//! Futures that were begun and that nobody polls now: they hold nobody up who polls, and leave nothing behind when
//! they are dropped.
#![expect(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::{
    future::Future,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Wake, Waker},
    time::Duration,
};

use futures_util::{Stream, StreamExt, stream};
use muxado_rpc::{Channel, Limits, Peer, Reconnect, Request, Response, Status};
use support::{
    WorkClient, WorkServer, Worker,
    feed::{FeedClient, FeedServer, Feeding},
    place::{Place, client, to},
};
use tokio::{io::duplex, time::timeout};
use tower::Service;

const MILLI: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// In virtual time: what hangs fails at once.
async fn in_time<F: Future>(what: &str, future: F) -> F::Output {
    timeout(3600 * SECOND, future).await.unwrap_or_else(|_| panic!("it hangs: {what}"))
}

fn pair(limits: Limits) -> (Peer, Peer) {
    let (near, far) = duplex(64 * 1024);
    let far = Peer::builder()
        .limits(limits)
        .serve(WorkServer::new(Worker::default()))
        .serve(FeedServer::new(Feeding::default()))
        .server(far);
    (Peer::builder().client(near).unwrap(), far.unwrap())
}

/// Goes through what comes, and makes another call for each: while that is awaited nobody polls the rest.
async fn with_a_call_for_each<C>(calls: impl Stream, client: &WorkClient<C>) -> usize
where
    C: Service<Request, Response = Response, Error = Status> + Clone,
{
    let (mut calls, mut count) = (pin!(calls), 0);
    while calls.next().await.is_some() {
        client.echo("for each".to_owned()).await.unwrap();
        count += 1;
    }
    count
}

async fn assert_loop_ends<C>(client: &WorkClient<C>, at_once: usize, what: &str)
where
    C: Service<Request, Response = Response, Error = Status> + Clone,
{
    let calls = at_once + at_once / 2 + 3;
    let what = format!("{what}, {at_once} at once");
    let echo = |n: usize| async move { client.echo(n.to_string()).await.unwrap() };
    let all = stream::iter(0..calls).map(echo).buffer_unordered(at_once);
    assert_eq!(in_time(&what, with_a_call_for_each(all, client)).await, calls);
    // A call of the loop's own before the rest is polled the first time.
    let all = stream::iter(0..calls).map(echo).buffered(at_once);
    assert_eq!(in_time(&what, with_a_call_for_each(all, client)).await, calls);
}

#[tokio::test(start_paused = true)]
async fn a_call_in_the_loop_over_others_is_answered() {
    for at_once in [1, 2, 64, 65, 100, 1000] {
        let (near, _far) = pair(Limits::default());
        assert_loop_ends(&WorkClient::new(near.channel()), at_once, "a fresh connection").await;
    }
    let (near, _far) = pair(Limits::default());
    let client = WorkClient::new(near.channel());
    for at_once in [1000, 1024, 1025, 3000] {
        assert_loop_ends(&client, at_once, "a used connection").await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_in_the_loop_is_answered_whatever_the_serving_side_takes_at_a_time() {
    for max_in_flight in [1, 2, 50] {
        for at_once in [1, 2, 65, 300] {
            let (near, _far) = pair(Limits::default().max_in_flight(max_in_flight));
            let what = format!("{max_in_flight} calls in flight");
            assert_loop_ends(&WorkClient::new(near.channel()), at_once, &what).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_in_a_loop_over_streaming_calls_is_answered() {
    for at_once in [1, 65, 100] {
        let (near, _far) = pair(Limits::default());
        let (client, feed) = (WorkClient::new(near.channel()), FeedClient::new(near.channel()));
        let feed = &feed;
        let calls = stream::iter(0..2 * at_once);
        let sums = calls.clone().map(|n| async move { feed.sum(stream::iter([n as u64, 1])).await.unwrap() });
        let counts = calls.clone().map(|_| async move { feed.count(3).await.unwrap().count().await });
        let doubles =
            calls.map(|_| async move { feed.double(stream::iter([1])).await.unwrap().count().await });
        let ended = [
            in_time("sums", with_a_call_for_each(sums.buffer_unordered(at_once), &client)).await,
            in_time("counts", with_a_call_for_each(counts.buffer_unordered(at_once), &client)).await,
            in_time("doubles", with_a_call_for_each(doubles.buffer_unordered(at_once), &client)).await,
        ];
        assert_eq!(ended, [2 * at_once; 3]);
        // Streams that are open while others are called for.
        let open = stream::iter(0..at_once).then(|_| async move { feed.count(1).await.unwrap() });
        let open: Vec<_> = in_time("opening", open.collect()).await;
        assert_loop_ends(&client, at_once, "streams that are open").await;
        drop(open);
    }
}

#[muxado_rpc::service]
trait Fan {
    /// Calls the caller back for each of so many, and once more for each that is answered.
    async fn out(&self, cx: &muxado_rpc::Context, calls: usize, at_once: usize) -> usize;
}

struct Fanning;

impl Fan for Fanning {
    async fn out(&self, cx: &muxado_rpc::Context, calls: usize, at_once: usize) -> usize {
        let client = &WorkClient::<Channel>::new(cx.channel());
        let all = stream::iter(0..calls).map(|n| async move { client.echo(n.to_string()).await.unwrap() });
        with_a_call_for_each(all.buffer_unordered(at_once), client).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_loops_over_calls_back_is_answered() {
    for max_in_flight in [1, 1024] {
        let (near, far) = duplex(64 * 1024);
        let limits = Limits::default().max_in_flight(max_in_flight);
        let builder = Peer::builder().limits(limits).serve(WorkServer::new(Worker::default()));
        let near = builder.client(near).unwrap();
        let _far = Peer::builder().serve(FanServer::new(Fanning)).server(far).unwrap();
        let client = &FanClient::new(near.channel());
        let all = stream::iter(0..8).map(|_| async move { client.out(150, 100).await.unwrap() });
        let counts = in_time("calls back", all.buffer_unordered(4).collect::<Vec<_>>()).await;
        assert_eq!(counts, [150; 8]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_in_the_loop_is_answered_while_its_connection_is_made_or_replaced() {
    for connections in [1, 3] {
        for at_once in [1, 65, 300] {
            let place = Place::down();
            let channel = to(&place).connections(connections).build().unwrap();
            let up = place.clone();
            let connecting = tokio::spawn(async move {
                tokio::time::sleep(10 * SECOND).await;
                up.set_down(false);
            });
            assert_loop_ends(&client(&channel), at_once, "while it connects").await;
            connecting.await.unwrap();
            let asked = place.asked();
            let (work, crashed) = (&client(&channel), AtomicUsize::new(0));
            let all = stream::iter(0..2 * at_once).map(|n| async move { work.echo(n.to_string()).await });
            let crash = all.buffer_unordered(at_once).inspect(|_| {
                if crashed.fetch_add(1, Ordering::Relaxed) == at_once / 2 {
                    replace_all(&place);
                }
            });
            let loops = with_a_call_for_each(crash, work);
            assert_eq!(in_time("while it is replaced", loops).await, 2 * at_once);
            assert!(place.asked() > asked, "no connection was replaced");
        }
    }
}

/// Ends all connections in good order: what is under way finishes, what comes goes elsewhere.
fn replace_all(place: &Place) {
    for far in (0..place.connections()).map(|n| place.far(n)) {
        tokio::spawn(async move { far.shutdown(SECOND).await });
    }
}

#[tokio::test(start_paused = true)]
async fn those_who_wait_for_a_connection_and_are_not_polled_hold_up_nobody() {
    let place = Place::down();
    let channel: Reconnect = to(&place).max_waiting(100).build().unwrap();
    let work = client(&channel);
    let mut waiting: Vec<_> = (0..99).map(|_| Box::pin(work.echo("waits".to_owned()))).collect();
    let mut cx = Context::from_waker(Waker::noop());
    assert!(waiting.iter_mut().all(|call| call.as_mut().poll(&mut cx).is_pending()));
    place.set_down(false);
    in_time("a call beside others", work.echo("goes".to_owned())).await.unwrap();
    for call in waiting {
        in_time("a call that waited", call).await.unwrap();
    }
}

/// Counts how often it is held.
struct Held;

impl Wake for Held {
    fn wake(self: Arc<Self>) {}
}

type Waiting<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;

/// What may be waited for at a connection that lives.
fn waits<'a>(
    near: &'a Peer,
    channel: &'a Channel,
    client: &'a WorkClient,
) -> Vec<(&'static str, Waiting<'a>)> {
    vec![
        ("Channel::closed", Box::pin(async { drop(channel.closed().await) })),
        ("Channel::capabilities", Box::pin(async { drop(channel.capabilities().await) })),
        ("Peer::closed", Box::pin(async { drop(near.closed().await) })),
        ("Peer::going_away", Box::pin(near.going_away())),
        ("Peer::capabilities", Box::pin(async { drop(near.capabilities().await) })),
        ("a call", Box::pin(async { drop(client.hang().await) })),
        ("a call with a time limit", {
            let client = client.clone().with_timeout(SECOND);
            Box::pin(async move { drop(client.hang().await) })
        }),
    ]
}

/// Polls each and drops it; what still holds the waker then was left behind.
fn assert_nothing_left<'a>(waits: impl Fn() -> Vec<(&'static str, Waiting<'a>)>) {
    for index in 0..waits().len() {
        let held = Arc::new(Held);
        let waker = Waker::from(Arc::clone(&held));
        for _ in 0..10 {
            let (what, mut waiting) = waits().swap_remove(index);
            assert!(waiting.as_mut().poll(&mut Context::from_waker(&waker)).is_pending(), "{what}");
            drop(waiting);
            assert_eq!(Arc::strong_count(&held), 2, "{what} leaves its waker behind");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_a_connection_leaves_nothing_behind() {
    let (near, _far) = pair(Limits::default());
    let (channel, client) = (near.channel(), WorkClient::new(near.channel()));
    assert_nothing_left(|| waits(&near, &channel, &client));
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_a_reconnecting_client_leaves_nothing_behind() {
    let place = Place::down();
    let channel = to(&place).build().unwrap();
    tokio::time::sleep(MILLI).await;
    let (channel, client) = (&channel, &client(&channel));
    assert_nothing_left(|| {
        let mut watch = channel.watch();
        vec![
            ("Reconnect::connected", Box::pin(async { drop(channel.connected().await) }) as Waiting<'_>),
            ("StateWatch::changed", Box::pin(async move { drop(watch.changed().await) })),
            ("a call", Box::pin(async { drop(client.hang().await) })),
            ("a call with a time limit", {
                let client = client.clone().with_timeout(SECOND);
                Box::pin(async move { drop(client.hang().await) })
            }),
        ]
    });
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_a_server_leaves_nothing_behind() {
    let builder = muxado_rpc::Server::builder().serve(WorkServer::new(Worker::default()));
    let server = builder.listen("tcp://127.0.0.1:0").await.unwrap();
    let server = &server;
    assert_nothing_left(|| {
        vec![(
            "Server::wait",
            Box::pin(async {
                let _ = server.wait().await;
            }) as Waiting<'_>,
        )]
    });
}
