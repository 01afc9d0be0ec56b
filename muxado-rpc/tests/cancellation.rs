//! Calls given up, time limits, and what is left of them.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    task::Poll,
    time::Duration,
};

use muxado_rpc::{CallError, Code, Limits, Origin, Peer, Status};
use support::{CODECS, Pair, assert_alive};
use tokio::time::{Instant, timeout};

const SECOND: Duration = Duration::from_secs(1);

/// The status of a call that must fail.
fn status<T: std::fmt::Debug>(result: Result<T, CallError>) -> Status {
    result.unwrap_err().into()
}

#[tokio::test(start_paused = true)]
async fn dropping_a_call_drops_its_handler_at_once() {
    let pair = Pair::new();
    for codec in CODECS {
        let client = pair.client(codec);
        let call = tokio::spawn(async move { client.hang().await });
        pair.far_worker.until_hanging(1).await;
        let start = Instant::now();
        call.abort();
        pair.far_worker.until_hanging(0).await;
        assert_eq!(start.elapsed(), Duration::ZERO);
        assert_alive(&pair.client(codec)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_dropped_before_its_first_poll_sends_nothing() {
    let pair = Pair::new();
    for codec in CODECS {
        drop(pair.client(codec).hang());
    }
    assert_alive(&pair.client(CODECS[0])).await;
    assert_eq!((pair.near.stats().streams_opened, pair.near.stats().resets_sent), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn calls_dropped_in_any_state_leave_nothing_behind() {
    let pair = Pair::new();
    for round in 0..200 {
        let client = pair.client(CODECS[round % 2]);
        let mut call = pin!(client.echo("x".repeat(round * 1000)));
        for _ in 0..round % 7 {
            if poll_once(call.as_mut()).await {
                break;
            }
        }
    }
    assert_alive(&pair.client(CODECS[0])).await;
    for peer in [&pair.near, &pair.far] {
        assert_eq!((peer.stats().streams_open, peer.stats().bytes_unread), (0, 0));
    }
}

/// Polls once, then lets other tasks run; whether the future was ready.
async fn poll_once<F: Future>(mut future: Pin<&mut F>) -> bool {
    let ready = poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx).is_ready())).await;
    tokio::task::yield_now().await;
    ready
}

#[tokio::test(start_paused = true)]
async fn a_time_limit_ends_the_call_and_the_handler() {
    let pair = Pair::new();
    for codec in CODECS {
        let start = Instant::now();
        let status = status(pair.client(codec).with_timeout(SECOND).hang().await);
        assert_eq!(status.code(), Code::DeadlineExceeded);
        assert!(status.message().starts_with("Work.hang: ") && status.message().contains("1s"), "{status}");
        assert_eq!(start.elapsed(), SECOND);
        pair.far_worker.until_hanging(0).await;
        assert_alive(&pair.client(codec)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_within_its_time_limit_is_not_disturbed() {
    let pair = Pair::new();
    for codec in CODECS {
        let client = pair.client(codec).with_timeout(SECOND);
        assert_eq!(client.sleep(999).await, Ok(()));
        assert_eq!(client.time_left().await, Ok(Some(1000)));
        assert_eq!(pair.client(codec).time_left().await, Ok(None));
        assert_eq!(client.with_timeout(Duration::MAX).sleep(1).await, Ok(()));
    }
}

#[tokio::test(start_paused = true)]
async fn without_time_left_nothing_is_sent() {
    let pair = Pair::new();
    for codec in CODECS {
        let status = status(pair.client(codec).with_timeout(Duration::ZERO).hang().await);
        assert_eq!((status.code(), status.may_have_executed()), (Code::DeadlineExceeded, false));
    }
    assert_eq!(pair.near.stats().streams_opened, 0);
}

#[tokio::test(start_paused = true)]
async fn calls_beyond_the_limit_in_flight_wait_their_turn() {
    let pair = Pair::with(Peer::builder(), Peer::builder().limits(Limits::default().max_in_flight(2)));
    for codec in CODECS {
        let hanging: Vec<_> = (0..2)
            .map(|_| {
                let client = pair.client(codec);
                tokio::spawn(async move { client.hang().await })
            })
            .collect();
        pair.far_worker.until_hanging(2).await;
        let client = pair.client(codec);
        let mut waiting = tokio::spawn(async move { client.hanging().await });
        assert!(timeout(SECOND, &mut waiting).await.is_err(), "the third call ran");
        hanging[0].abort();
        assert_eq!(waiting.await.unwrap(), Ok(1));
        hanging[1].abort();
        pair.far_worker.until_hanging(0).await;
    }
}

#[tokio::test(start_paused = true)]
async fn calls_beyond_the_backlog_are_refused_as_not_executed() {
    let small = muxado::Config::default().accept_backlog(1);
    let far = Peer::builder().limits(Limits::default().max_in_flight(1)).config(small);
    let pair = Pair::with(Peer::builder(), far);
    let client = pair.client(CODECS[0]);
    let hanging = tokio::spawn({
        let client = client.clone();
        async move { client.hang().await }
    });
    pair.far_worker.until_hanging(1).await;
    let queued = tokio::spawn({
        let client = client.clone();
        async move { client.echo("queued".to_owned()).await }
    });
    tokio::task::yield_now().await;
    let refused = status(client.echo("refused".to_owned()).await);
    assert_eq!((refused.code(), refused.origin()), (Code::Unavailable, Origin::Peer));
    assert!(!refused.may_have_executed());
    hanging.abort();
    assert_eq!(queued.await.unwrap().as_deref(), Ok("queued"));
}

#[tokio::test(start_paused = true)]
async fn a_handler_ends_with_its_connection() {
    for codec in CODECS {
        let pair = Pair::new();
        let client = pair.client(codec);
        let call = tokio::spawn(async move { client.hang().await });
        pair.far_worker.until_hanging(1).await;
        pair.near.close();
        let status = status(call.await.unwrap());
        assert_eq!((status.code(), status.origin()), (Code::Unavailable, Origin::Transport));
        assert!(status.may_have_executed());
        pair.far_worker.until_hanging(0).await;
    }
}
