//! The testing aids, and calls over connections that are as bad as these make them.

mod support;

use std::time::Duration;

use muxado_rpc::{
    Code, Peer,
    testing::{Conditions, pair, pair_under, serve},
};
use support::{CODECS, WorkClient, WorkServer, Worker, assert_alive};
use tokio::time::Instant;

const SECOND: Duration = Duration::from_secs(1);

fn serving() -> muxado_rpc::PeerBuilder {
    Peer::builder().no_heartbeat().serve(WorkServer::new(Worker::default()))
}

#[tokio::test(start_paused = true)]
async fn a_client_comes_straight_from_an_implementation() {
    let worker = Worker::default();
    let channel = serve(WorkServer::new(worker.clone())).unwrap();
    for codec in CODECS {
        assert_alive(&WorkClient::new(channel.clone()).with_codec(codec)).await;
    }
    let client = WorkClient::new(channel);
    let call = tokio::spawn(async move { client.hang().await });
    worker.until_hanging(1).await;
    call.abort();
    worker.until_hanging(0).await;
}

#[tokio::test(start_paused = true)]
async fn both_ends_of_a_pair_serve_and_call() {
    let (near, far) = pair(serving(), serving()).unwrap();
    for end in [&near, &far] {
        assert_alive(&WorkClient::new(end.channel())).await;
    }
    assert_eq!((near.call_stats().served, far.call_stats().served), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_delay_is_felt_once_in_each_direction() {
    let conditions = Conditions::new();
    let (near, far) = pair_under(&conditions, serving(), serving()).unwrap();
    for (delay, end) in [(0, &near), (300, &near), (300, &far), (700, &near), (0, &far)] {
        conditions.set_delay(Duration::from_millis(delay));
        let begin = Instant::now();
        assert_alive(&WorkClient::new(end.channel())).await;
        assert_eq!(begin.elapsed(), Duration::from_millis(2 * delay));
    }
}

#[tokio::test(start_paused = true)]
async fn a_delay_holds_no_bulk_up() {
    let conditions = Conditions::new();
    let (near, _far) = pair_under(&conditions, serving(), serving()).unwrap();
    conditions.set_delay(SECOND);
    let client = WorkClient::new(near.channel());
    let begin = Instant::now();
    assert_eq!(client.grow(200_000).await.unwrap().len(), 200_000);
    assert_eq!(begin.elapsed(), 2 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn calls_work_a_byte_at_a_time() {
    let conditions = Conditions::new();
    conditions.set_dribble(true);
    let (near, _far) = pair_under(&conditions, serving(), serving()).unwrap();
    for codec in CODECS {
        let client = WorkClient::new(near.channel()).with_codec(codec);
        assert_eq!(client.grow(5000).await.unwrap().len(), 5000);
        assert_eq!(client.divide(1.0, 4.0).await, Ok(0.25));
    }
    assert!(conditions.passed() > 10_000);
}

#[tokio::test(start_paused = true)]
async fn wherever_a_connection_is_cut_the_call_ends_and_says_whether_it_may_have_run() {
    let whole = {
        let conditions = Conditions::new();
        let (near, _far) = pair_under(&conditions, serving(), serving()).unwrap();
        assert_alive(&WorkClient::new(near.channel())).await;
        conditions.passed()
    };
    for bytes in 0..whole {
        let conditions = Conditions::new();
        let (near, far) = pair_under(&conditions, serving(), serving()).unwrap();
        conditions.cut_after(bytes);
        let error = WorkClient::new(near.channel()).echo("alive".to_owned()).await.unwrap_err();
        assert_eq!(error.code(), Code::Unavailable, "cut after {bytes}: {error}");
        assert!(error.may_have_executed() || far.call_stats().served == 0, "cut after {bytes}");
        near.closed().await;
        far.closed().await;
        assert_eq!(conditions.passed(), bytes);
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_cut_while_nothing_happens() {
    let conditions = Conditions::new();
    let (near, far) = pair_under(&conditions, serving(), serving()).unwrap();
    assert_alive(&WorkClient::new(near.channel())).await;
    tokio::time::sleep(SECOND).await;
    conditions.cut();
    near.closed().await;
    far.closed().await;
    conditions.mend();
    let (near, _far) = pair_under(&conditions, serving(), serving()).unwrap();
    assert_alive(&WorkClient::new(near.channel())).await;
}
