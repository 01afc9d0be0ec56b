//! What two peers of ours tell each other on their control streams (`PROTOCOL §10.13`).

mod support;

use std::time::Duration;

use muxado::Config;
use muxado_rpc::{CallError, Code, Codec, Limits, Peer, Server, Status};
use support::{CODECS, Pair, WorkClient, WorkServer, Worker, assert_alive};
use tokio::time::{Instant, advance, sleep, timeout};

/// A little more than the time until a peer says who it is.
const SAID: Duration = Duration::from_millis(1100);

fn limited() -> Limits {
    Limits::default().max_message_size(4096).max_metadata_size(100).max_in_flight(7)
}

/// A far end with these limits, known to the near end.
async fn known(limits: Limits) -> Pair {
    let pair = Pair::with(Peer::builder(), Peer::builder().limits(limits));
    assert_alive(&pair.client(Codec::Json)).await;
    assert!(pair.near.hello().await.is_some());
    pair
}

fn not_executed(error: CallError) -> Status {
    let status = error.status().unwrap().clone();
    assert!(!status.may_have_executed(), "{status}");
    status
}

#[tokio::test(start_paused = true)]
async fn peers_learn_limits_codecs_and_services_of_each_other() {
    let pair = known(limited()).await;
    let remote = pair.near.remote().unwrap();
    assert_eq!(remote.max_message_size(), Some(4096));
    assert_eq!(remote.max_metadata_size(), Some(100));
    assert_eq!(remote.max_in_flight(), Some(7));
    assert_eq!(remote.max_request_memory(), Some(256 * 1024 * 1024));
    assert_eq!(remote.first_byte_timeout(), Some(Duration::from_secs(10)));
    assert_eq!(remote.codecs(), Some(&CODECS[..]));
    assert!(!remote.is_truncated() && !remote.is_draining());
    let [work] = &remote.services()[..] else { panic!("{remote:?}") };
    assert_eq!((work.name(), work.id()), ("Work", muxado_rpc::ServiceId::from_name("Work")));
    assert_eq!(work.methods().unwrap()[..2], ["echo", "divide"]);
    let back = pair.far.hello().await.unwrap();
    assert_eq!((back.max_message_size(), back.services().len()), (Some(16 * 1024 * 1024), 1));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_said_in_the_first_second_unless_somebody_asks() {
    let pair = Pair::new();
    assert_alive(&pair.client(Codec::Json)).await;
    let frames = || (pair.near.stats().frames_sent, pair.far.stats().frames_sent);
    sleep(Duration::from_millis(990)).await;
    assert_eq!(frames(), (2, 1));
    sleep(Duration::from_millis(20)).await;
    // On each side a line, and the end of the other direction.
    assert_eq!(frames(), (4, 3));
    assert!(pair.near.remote().is_some() && pair.far.remote().is_some());
    sleep(Duration::from_secs(5)).await;
    assert_eq!(frames(), (4, 3));
}

#[tokio::test(start_paused = true)]
async fn asking_has_both_say_it_at_once() {
    let pair = Pair::new();
    assert!(pair.near.remote().is_none());
    let start = Instant::now();
    assert_alive(&pair.client(Codec::Json)).await;
    assert!(pair.near.hello().await.is_some());
    assert!(pair.far.hello().await.is_some());
    assert_eq!(start.elapsed(), Duration::ZERO);
}
