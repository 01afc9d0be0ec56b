//! The ends of peers and servers.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::time::Duration;

use muxado::{HeartbeatConfig, SessionError};
use muxado_rpc::{Code, ConnectError, Limits, ListenError, Origin, Peer, Server};
use support::{CODECS, Pair, WorkClient, WorkServer, Worker, assert_alive};
use tokio::{
    io::{AsyncReadExt, duplex},
    time::{Instant, timeout},
};

const SECOND: Duration = Duration::from_secs(1);

async fn listen(worker: &Worker) -> Server {
    Server::builder().serve(WorkServer::new(worker.clone())).listen("tcp://127.0.0.1:0").await.unwrap()
}

async fn connect(server: &Server) -> Peer {
    Peer::builder().connect(server.local_addr()).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn calls_under_way_finish_within_the_grace_of_a_peer() {
    let pair = Pair::new();
    for codec in CODECS {
        assert_alive(&pair.client(codec)).await;
    }
    let client = pair.client(CODECS[0]);
    let call = tokio::spawn(async move { client.sleep(500).await });
    tokio::task::yield_now().await;
    let start = Instant::now();
    assert!(pair.near.shutdown(SECOND).await.is_clean());
    assert_eq!(call.await.unwrap(), Ok(()));
    assert!(start.elapsed() < SECOND);
    assert!(pair.far.closed().await.local.is_clean());
}

#[tokio::test(start_paused = true)]
async fn what_outlasts_the_grace_is_cut() {
    let pair = Pair::new();
    let client = pair.client(CODECS[0]);
    let call = tokio::spawn(async move { client.hang().await });
    pair.far_worker.until_hanging(1).await;
    let start = Instant::now();
    let drained = pair.far.shutdown(SECOND).await;
    assert_eq!((drained.finished, drained.cut, drained.is_clean()), (0, 1, false));
    assert!(start.elapsed() < 4 * SECOND);
    assert_eq!(call.await.unwrap().unwrap_err().code(), Code::Unavailable);
    pair.far_worker.until_hanging(0).await;
}

#[tokio::test(start_paused = true)]
async fn calls_that_never_began_are_refused_at_the_end_of_the_grace() {
    let pair = Pair::with(Peer::builder(), Peer::builder().limits(Limits::default().max_in_flight(1)));
    let client = pair.client(CODECS[0]);
    let hanging = tokio::spawn({
        let client = client.clone();
        async move { client.hang().await }
    });
    pair.far_worker.until_hanging(1).await;
    let waiting = tokio::spawn(async move { client.echo("late".to_owned()).await });
    tokio::task::yield_now().await;
    assert_eq!(pair.far.shutdown(SECOND).await.cut, 1);
    let waiting = waiting.await.unwrap().unwrap_err();
    assert_eq!((waiting.code(), waiting.may_have_executed()), (Code::Unavailable, false));
    assert!(hanging.await.unwrap().unwrap_err().may_have_executed());
}

#[tokio::test(start_paused = true)]
async fn no_call_begins_during_a_shutdown() {
    let pair = Pair::new();
    let client = pair.client(CODECS[0]);
    let call = tokio::spawn({
        let client = client.clone();
        async move { client.sleep(500).await }
    });
    tokio::task::yield_now().await;
    let far = pair.far.clone();
    let shutdown = tokio::spawn(async move { far.shutdown(SECOND).await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    for client in [client, WorkClient::new(pair.far.channel())] {
        let status = muxado_rpc::Status::from(client.echo("late".to_owned()).await.unwrap_err());
        assert_eq!((status.code(), status.may_have_executed()), (Code::Unavailable, false));
    }
    assert_eq!(call.await.unwrap(), Ok(()));
    let drained = shutdown.await.unwrap();
    assert_eq!((drained.finished, drained.cut), (1, 0));
}

#[tokio::test]
async fn the_last_handle_closes_the_connection() {
    let (near, far) = duplex(1024);
    let far = Peer::builder().serve(WorkServer::new(Worker::default())).server(far).unwrap();
    let near = Peer::builder().client(near).unwrap();
    let client = WorkClient::new(near.channel());
    drop(near);
    assert_alive(&client).await;
    assert!(!far.is_closed());
    drop(client);
    assert!(far.closed().await.local.is_clean());
    assert!(far.is_closed());
}

#[tokio::test]
async fn after_the_end_calls_fail_as_not_executed() {
    let pair = Pair::new();
    pair.near.close();
    pair.near.closed().await;
    for codec in CODECS {
        let status = muxado_rpc::Status::from(pair.client(codec).hanging().await.unwrap_err());
        assert_eq!((status.code(), status.origin()), (Code::Unavailable, Origin::Transport));
        assert!(!status.may_have_executed());
    }
    assert!(pair.near.is_closed() && pair.near.channel().is_closed());
}

#[tokio::test]
async fn a_server_that_is_dropped_closes_its_connections() {
    let worker = Worker::default();
    let server = listen(&worker).await;
    let address = server.local_addr().to_owned();
    let peer = connect(&server).await;
    let client = WorkClient::new(peer.channel());
    let call = tokio::spawn(async move { client.hang().await });
    worker.until_hanging(1).await;
    drop(server);
    let status = muxado_rpc::Status::from(call.await.unwrap().unwrap_err());
    assert_eq!((status.code(), status.origin()), (Code::Unavailable, Origin::Transport));
    worker.until_hanging(0).await;
    peer.closed().await;
    assert!(matches!(Peer::builder().connect(&address).await, Err(ConnectError::Io { .. })));
}

#[tokio::test]
async fn the_addresses_of_a_server_that_is_dropped_are_free_at_once() {
    let worker = Worker::default();
    let server = listen(&worker).await;
    let peer = connect(&server).await;
    let address = server.local_addr().to_string();
    drop(server);
    // Nothing has run in between.
    let next = std::net::TcpListener::bind(address.trim_start_matches("tcp://"));
    assert!(next.is_ok(), "{next:?}");
    peer.closed().await;
}

#[tokio::test]
async fn a_server_lets_calls_finish_and_ends() {
    let worker = Worker::default();
    let server = listen(&worker).await;
    let peers = [connect(&server).await, connect(&server).await];
    let calls: Vec<_> = peers
        .iter()
        .map(|peer| {
            let client = WorkClient::new(peer.channel());
            tokio::spawn(async move { client.sleep(50).await })
        })
        .collect();
    for peer in &peers {
        assert_alive(&WorkClient::new(peer.channel())).await;
    }
    let drained = server.shutdown(10 * SECOND).await;
    assert_eq!((drained.finished, drained.cut), (2, 0));
    assert_eq!(server.wait().await, drained);
    for call in calls {
        assert_eq!(call.await.unwrap(), Ok(()));
    }
    for peer in &peers {
        assert!(peer.closed().await.local.is_clean());
    }
}

#[tokio::test]
async fn a_server_cuts_what_outlasts_the_grace() {
    let worker = Worker::default();
    let server = listen(&worker).await;
    let peer = connect(&server).await;
    let client = WorkClient::new(peer.channel());
    let call = tokio::spawn(async move { client.hang().await });
    worker.until_hanging(1).await;
    let drained = timeout(5 * SECOND, server.shutdown(Duration::ZERO)).await.unwrap();
    assert_eq!((drained.finished, drained.cut), (0, 1));
    assert_eq!(call.await.unwrap().unwrap_err().code(), Code::Unavailable);
    worker.until_hanging(0).await;
}

#[tokio::test]
async fn connections_beyond_the_limit_wait() {
    let server = Server::builder()
        .limits(Limits::default().max_connections(1))
        .serve(WorkServer::new(Worker::default()))
        .listen("tcp://127.0.0.1:0")
        .await
        .unwrap();
    let first = connect(&server).await;
    assert_alive(&WorkClient::new(first.channel())).await;
    let second = connect(&server).await;
    let client = WorkClient::new(second.channel());
    let mut waiting = tokio::spawn(async move { client.hanging().await });
    assert!(timeout(Duration::from_millis(50), &mut waiting).await.is_err(), "the second was served");
    drop(first);
    assert_eq!(waiting.await.unwrap(), Ok(0));
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_is_gone_is_noticed_by_heartbeat() {
    let (near, mut far) = duplex(64 * 1024);
    let heartbeat = HeartbeatConfig::default().interval(5 * SECOND).tolerance(2 * SECOND);
    let peer = Peer::builder().heartbeat(heartbeat).client(near).unwrap();
    let client = WorkClient::new(peer.channel());
    let start = Instant::now();
    let gone = tokio::spawn(async move { while far.read_u8().await.is_ok() {} });
    let status = muxado_rpc::Status::from(client.hang().await.unwrap_err());
    assert_eq!((status.code(), status.origin()), (Code::Unavailable, Origin::Transport));
    assert!(matches!(peer.closed().await.local, SessionError::HeartbeatTimeout(_)));
    assert!(start.elapsed() < 10 * SECOND, "{:?}", start.elapsed());
    gone.abort();
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_stays() {
    let pair = Pair::new();
    tokio::time::sleep(Duration::from_secs(3600)).await;
    for codec in CODECS {
        assert_alive(&pair.client(codec)).await;
    }
    assert!(pair.near.stats().round_trip.is_some());
}

#[tokio::test]
async fn without_heartbeats_an_idle_connection_is_silent() {
    tokio::time::pause();
    let pair = Pair::with(Peer::builder().no_heartbeat(), Peer::builder().no_heartbeat());
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(pair.near.stats().bytes_sent, 0);
}

#[tokio::test]
async fn addresses_and_failures_are_named() {
    let taken = listen(&Worker::default()).await;
    let error = Server::builder().listen(taken.local_addr()).await.unwrap_err();
    assert!(matches!(error, ListenError::Io { .. }));
    assert!(error.to_string().starts_with(&format!("cannot listen on {}: ", taken.local_addr())), "{error}");
    let error = Peer::builder().connect("127.0.0.1:1").await.unwrap_err();
    assert!(matches!(error, ConnectError::Address(_)), "{error}");
}
