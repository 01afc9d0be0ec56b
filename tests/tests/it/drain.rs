//! Draining and going away, as the handles of a session see it.

use std::time::Duration;

use muxado::{ErrorCode, ReadError};
use muxado_tests::{Pair, drain, run, settle, write_final};

#[test]
fn drain_counts_the_streams_that_it_cuts() {
    run(async {
        let pair = Pair::new();
        let mut streams = Vec::new();
        for _ in 0..3 {
            let mut stream = pair.client.open().await.unwrap();
            write_final(&mut stream, "q").await.unwrap();
            let accepted = pair.server.accept().await.unwrap();
            streams.push((stream, accepted));
        }
        write_final(&mut streams[0].1, "a").await.unwrap();
        assert_eq!(pair.server.drain(Duration::from_secs(5)).await, 2);
    });
}

#[test]
fn both_sides_learn_that_either_goes_away() {
    run(async {
        let pair = Pair::new();
        let mut stream = pair.client.open().await.unwrap();
        write_final(&mut stream, "q").await.unwrap();
        let _accepted = pair.server.accept().await.unwrap();
        let waiting = tokio::spawn({
            let client = pair.client.clone();
            async move { client.going_away().await }
        });
        settle().await;
        assert!(!waiting.is_finished() && !pair.client.is_going_away());
        pair.server.go_away();
        assert!(pair.server.is_going_away());
        pair.server.going_away().await;
        waiting.await.unwrap();
        assert!(pair.client.is_going_away() && !pair.client.is_closed());
    });
}

#[test]
fn the_end_of_a_session_is_a_going_away() {
    run(async {
        let pair = Pair::new();
        let waiting = tokio::spawn({
            let client = pair.client.clone();
            async move { client.going_away().await }
        });
        settle().await;
        pair.client.close(ErrorCode::NO_ERROR, "");
        waiting.await.unwrap();
        pair.server.going_away().await;
    });
}

#[test]
fn streams_that_nobody_accepted_are_refused_at_the_end_of_a_drain() {
    run(async {
        let pair = Pair::new();
        let mut taken = pair.client.open().await.unwrap();
        write_final(&mut taken, "q").await.unwrap();
        let _accepted = pair.server.accept().await.unwrap();
        let mut waiting = Vec::new();
        for _ in 0..3 {
            let mut stream = pair.client.open().await.unwrap();
            write_final(&mut stream, "q").await.unwrap();
            waiting.push(stream);
        }
        settle().await;
        assert_eq!(pair.server.drain(Duration::from_secs(1)).await, 1);
        for stream in &mut waiting {
            let refused = ReadError::Reset(ErrorCode::STREAM_REFUSED);
            assert_eq!(drain(stream).await, (Vec::new(), Err(refused)));
        }
        assert!(matches!(drain(&mut taken).await, (_, Err(ReadError::SessionClosed(_)))));
    });
}
