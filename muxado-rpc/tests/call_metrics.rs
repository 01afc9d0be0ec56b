//! Counts of calls, by what became of them.

mod support;

use std::time::Duration;

use muxado_rpc::{CallStats, Code, Peer, Server, Status};
use support::{CODECS, Pair, WorkClient, WorkServer, Worker, assert_alive};
use tokio::io::duplex;

const SECOND: Duration = Duration::from_secs(1);

/// Lets the tasks of both ends come to rest.
async fn settle() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

fn counts(stats: &CallStats) -> [u64; 6] {
    [stats.started, stats.served, stats.failed, stats.cancelled, stats.cut, stats.panicked]
}

#[tokio::test(start_paused = true)]
async fn every_call_is_counted_once_by_how_it_ended() {
    let pair = Pair::new();
    let expect = |expected: [u64; 6]| assert_eq!(counts(&pair.far.call_stats()), expected);
    let client = pair.client(CODECS[0]);
    assert_alive(&client).await;
    client.divide(1.0, 0.0).await.unwrap_err();
    expect([2, 2, 0, 0, 0, 0]);
    client.find("x".to_owned()).await.unwrap_err();
    client.panic().await.unwrap_err();
    let late = client.clone().with_timeout(SECOND).hang().await.unwrap_err();
    assert_eq!(late.code(), Code::DeadlineExceeded);
    settle().await;
    // The time limit passes on both sides at once: the answer may or may not reach the stream.
    let stats = pair.far.call_stats();
    assert_eq!((stats.failed + stats.cancelled, stats.panicked, stats.in_flight()), (3, 1, 0));
    let hanging = tokio::spawn({
        let client = client.clone();
        async move { client.hang().await }
    });
    pair.far_worker.until_hanging(1).await;
    assert_eq!(pair.far.call_stats().in_flight(), 1);
    let cancelled = stats.cancelled;
    hanging.abort();
    pair.far_worker.until_hanging(0).await;
    settle().await;
    assert_eq!(pair.far.call_stats().cancelled, cancelled + 1);
    let hanging = tokio::spawn(async move { client.hang().await });
    pair.far_worker.until_hanging(1).await;
    pair.near.close();
    hanging.await.unwrap().unwrap_err();
    pair.far_worker.until_hanging(0).await;
    settle().await;
    let stats = pair.far.call_stats();
    assert_eq!((stats.started, stats.served, stats.cut, stats.in_flight()), (7, 2, 1, 0));
    assert_eq!(pair.near.call_stats(), CallStats::default());
}

#[tokio::test]
async fn a_server_adds_its_connections_up_and_keeps_the_counts_of_those_that_ended() {
    let worker = Worker::default();
    let server =
        Server::builder().serve(WorkServer::new(worker.clone())).listen("tcp://127.0.0.1:0").await.unwrap();
    for round in 1..=3 {
        let peer = Peer::builder().connect(server.local_addr()).await.unwrap();
        let client = WorkClient::new(peer.channel());
        assert_alive(&client).await;
        client.panic().await.unwrap_err();
        peer.shutdown(SECOND).await;
        assert_eq!(counts(&server.call_stats()), [2 * round, round, round, 0, 0, round]);
    }
    let peer = Peer::builder().connect(server.local_addr()).await.unwrap();
    let client = WorkClient::new(peer.channel());
    let hanging = tokio::spawn(async move { client.hang().await });
    worker.until_hanging(1).await;
    assert_eq!(server.call_stats().in_flight(), 1);
    assert_eq!(server.shutdown(Duration::ZERO).await.cut, 1);
    hanging.await.unwrap().unwrap_err();
    worker.until_hanging(0).await;
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_lost_during_a_drain_is_not_clean() {
    let pair = Pair::new();
    let client = pair.client(CODECS[0]);
    let call = tokio::spawn(async move { client.hang().await });
    pair.far_worker.until_hanging(1).await;
    let far = pair.far.clone();
    let shutdown = tokio::spawn(async move { far.shutdown(SECOND).await });
    settle().await;
    pair.near.close();
    let drained = shutdown.await.unwrap();
    assert_eq!((drained.finished, drained.cut), (0, 1));
    call.await.unwrap().unwrap_err();
}

#[tokio::test]
async fn the_text_of_a_panic_is_told_on_request_only() {
    for (show, message) in
        [(false, "Work.panic: the handler panicked"), (true, "Work.panic: the handler panicked: a secret")]
    {
        let (near, far) = duplex(1024);
        let far = Peer::builder().panic_messages(show).serve(WorkServer::new(Worker::default())).server(far);
        let near = Peer::builder().client(near).unwrap();
        let client = WorkClient::new(near.channel());
        assert_eq!(Status::from(client.panic().await.unwrap_err()), Status::internal(message));
        assert_eq!(far.unwrap().call_stats().panicked, 1);
    }
}
