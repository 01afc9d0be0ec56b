//! Clients of HTTP over a session.

use muxado::{Config, ErrorCode, Session};
use muxado_tests::{Pair, run, settle};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{chain, client, client_h2, fetch, serve};

const PIPE: usize = 64 * 1024;

#[test]
fn http2_carries_many_requests_on_one_stream() {
    run(async {
        let Pair { client: connecting, server, .. } = Pair::new();
        serve(server);
        let client = client_h2(&connecting);
        fetch(&client, "/").await.unwrap();
        let asked = futures_util::future::join_all((0..100).map(|_| fetch(&client, "/"))).await;
        assert!(asked.iter().all(|answer| answer.as_deref().ok() == Some("hello")));
        assert_eq!(connecting.stats().streams_opened, 1);
    });
}

#[test]
fn connection_that_the_client_drops_ends_in_good_order() {
    run(async {
        let Pair { client: connecting, server, .. } = Pair::new();
        serve(server.clone());
        let client = client(&connecting);
        fetch(&client, "/").await.unwrap();
        drop(client);
        settle().await;
        assert_eq!((connecting.stats().streams_open, server.stats().streams_open), (0, 0));
        assert_eq!(server.stats().resets_sent, 0, "the server saw an orderly end");
    });
}

#[test]
fn refused_connection_fails_with_the_code_among_its_sources() {
    run(async {
        for (config, code) in [
            (Config::default().accept_backlog(0), "stream reset by the peer: accept queue full (9)"),
            (Config::default().max_streams(0), "stream reset by the peer: stream refused (5)"),
        ] {
            let Pair { client: connecting, server, .. } = Pair::with(config, PIPE);
            serve(server);
            let error = chain(&fetch(&client(&connecting), "/").await.unwrap_err());
            assert!(error.contains(code), "{error}");
        }
    });
}

#[test]
fn nobody_who_listens_is_a_refusal() {
    run(async {
        let Pair { client: connecting, server, .. } = Pair::new();
        let mut accepted = {
            let mut listener = server.into_listener();
            let mut stream = connecting.open().await.unwrap();
            stream.write_all(b"first").await.unwrap();
            (listener.accept().await.unwrap(), stream)
        };
        let error = chain(&fetch(&client(&connecting), "/").await.unwrap_err());
        assert!(error.contains("stream refused (5)"), "{error}");
        // What was accepted before runs on.
        let mut first = [0; 5];
        accepted.0.read_exact(&mut first).await.unwrap();
        assert_eq!(&first, b"first");
    });
}

#[test]
fn connector_of_a_session_that_is_over_fails_by_name() {
    run(async {
        let Pair { client: connecting, server, .. } = Pair::new();
        let client = client(&connecting);
        server.go_away();
        connecting.going_away().await;
        let error = chain(&fetch(&client, "/").await.unwrap_err());
        assert!(error.contains("the peer is going away"), "{error}");
        connecting.close(ErrorCode::NO_ERROR, "");
        connecting.closed().await;
        let error = chain(&fetch(&client, "/").await.unwrap_err());
        assert!(error.contains("session closed by this side"), "{error}");
    });
}

#[test]
fn client_waits_for_room_and_its_dropped_request_holds_up_nobody() {
    run(async {
        let Pair { client: connecting, server, .. } = Pair::with(Config::default().max_open_streams(1), PIPE);
        serve(server);
        let held = connecting.open().await.unwrap();
        let client = client(&connecting);
        let mut waiting = Box::pin(fetch(&client, "/"));
        assert!(futures_util::poll!(waiting.as_mut()).is_pending());
        settle().await;
        assert!(futures_util::poll!(waiting.as_mut()).is_pending());
        drop(waiting);
        let other = tokio::spawn({
            let client = client.clone();
            async move { fetch(&client, "/").await }
        });
        settle().await;
        drop(held);
        assert_eq!(other.await.unwrap().unwrap(), "hello");
    });
}

#[test]
fn connector_keeps_the_session_open_as_any_handle_does() {
    run(async {
        let (near, far) = tokio::io::duplex(PIPE);
        let (session, driver) = Session::client(near, Config::default());
        tokio::spawn(driver);
        let (server, driver) = Session::server(far, Config::default());
        tokio::spawn(driver);
        let connector = session.connector();
        drop(session);
        settle().await;
        assert!(!server.is_closed());
        drop(connector);
        settle().await;
        assert!(server.is_closed());
    });
}
