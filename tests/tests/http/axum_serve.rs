//! axum's server over a session.

use std::time::Duration;

use muxado::{Session, Side};
use muxado_tests::{Pair, each_side, run, settle};
use tokio::time::{Instant, timeout};

use crate::{client, client_h2, fetch, serve, upload};

/// The session of this side, and that of its peer.
fn pair(side: Side) -> (Session, Session) {
    let Pair { client, server, .. } = Pair::new();
    if side == Side::Client { (client, server) } else { (server, client) }
}

#[test]
fn either_side_serves_http_to_the_other() {
    each_side(|side| async move {
        let (listening, connecting) = pair(side);
        serve(listening);
        let client = client(&connecting);
        assert_eq!(fetch(&client, "/").await.unwrap(), "hello");
        assert_eq!(fetch(&client, "/").await.unwrap(), "hello");
        // The connection was kept.
        assert_eq!(connecting.stats().streams_opened, 1);
    });
}

#[test]
fn both_sides_serve_and_call_at_once() {
    run(async {
        let (near, far) = pair(Side::Client);
        serve(near.clone());
        serve(far.clone());
        let (one, other) = (client(&near), client(&far));
        let (first, second) = tokio::join!(fetch(&one, "/"), fetch(&other, "/"));
        assert_eq!((first.unwrap(), second.unwrap()), ("hello".to_owned(), "hello".to_owned()));
    });
}

#[test]
fn body_larger_than_all_windows_goes_there_and_back() {
    each_side(|side| async move {
        let (listening, connecting) = pair(side);
        serve(listening);
        let body: Vec<u8> = (0..3 << 20).map(|n: u32| (n % 251) as u8).collect();
        assert_eq!(upload(&client(&connecting), body.clone()).await, body);
    });
}

#[test]
fn connection_that_nobody_reads_holds_up_no_other() {
    run(async {
        let (listening, connecting) = pair(Side::Server);
        serve(listening);
        let client = client(&connecting);
        let never = tokio::spawn({
            let client = client.clone();
            async move { fetch(&client, "/never").await }
        });
        settle().await;
        for _ in 0..100 {
            assert_eq!(fetch(&client, "/").await.unwrap(), "hello");
        }
        assert!(!never.is_finished());
        // Dropping the request resets its stream, and the server lets go of it.
        never.abort();
        settle().await;
        assert_eq!(connecting.stats().streams_open, 1);
    });
}

#[test]
fn handler_learns_which_stream_of_which_transport_a_request_came_on() {
    run(async {
        let (listening, connecting) = pair(Side::Server);
        let client = client(&connecting);
        listening.set_transport_addrs("10.0.0.1:80".parse().unwrap(), "10.0.0.2:4000".parse().unwrap());
        // The first word counts.
        listening.set_transport_addrs("10.0.0.1:80".parse().unwrap(), "10.0.0.3:4000".parse().unwrap());
        assert_eq!(listening.local_addr().to_string(), "10.0.0.1:80");
        assert_eq!(listening.peer_addr().transport(), "10.0.0.2:4000".parse().ok());
        serve(listening);
        assert_eq!(fetch(&client, "/from").await.unwrap(), "10.0.0.2:4000, stream 3");
    });
}

#[test]
fn shutdown_of_either_side_closes_resting_connections_and_ends_the_server() {
    for h2 in [false, true] {
        for by_server in [false, true] {
            each_side(|side| async move {
                let (listening, connecting) = pair(side);
                let served = serve(listening.clone());
                let client = if h2 { client_h2(&connecting) } else { client(&connecting) };
                assert_eq!(fetch(&client, "/").await.unwrap(), "hello");
                let begin = Instant::now();
                let by = if by_server { &listening } else { &connecting };
                assert_eq!(by.drain(Duration::from_secs(60)).await, 0, "nothing was cut");
                assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
                served.await.unwrap();
                assert!(listening.closed().await.local.is_clean());
                assert!(connecting.closed().await.local.is_clean());
            });
        }
    }
}

#[test]
fn request_that_runs_is_finished_before_the_server_ends() {
    run(async {
        let (listening, connecting) = pair(Side::Server);
        let served = serve(listening);
        let client = client(&connecting);
        let never = tokio::spawn(async move { fetch(&client, "/never").await });
        settle().await;
        let draining = tokio::spawn({
            let connecting = connecting.clone();
            async move { connecting.drain(Duration::from_secs(60)).await }
        });
        settle().await;
        assert!(!served.is_finished() && !draining.is_finished());
        assert_eq!(draining.await.unwrap(), 1, "the grace is over");
        served.await.unwrap();
        assert!(never.await.unwrap().is_err());
    });
}

#[test]
fn server_without_a_graceful_end_waits_and_one_with_it_returns_when_the_transport_fails() {
    run(async {
        let (near, far) = tokio::io::duplex(64 * 1024);
        let (session, driver) = Session::server(near, muxado::Config::default());
        tokio::spawn(driver);
        let served = serve(session);
        settle().await;
        assert!(!served.is_finished());
        drop(far);
        timeout(Duration::from_secs(60), served).await.expect("it ends").unwrap();
    });
}
