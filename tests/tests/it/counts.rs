//! How many frames and writes an exchange costs.

use muxado::{Config, Session, StreamType, TypedSession};
use muxado_tests::{DATA, EXT, FIN, Frame, Pair, SYN, WriteLog, drain, run, settle, write_final};
use tokio::io::AsyncWriteExt;

/// One call: a typed stream, the request and FIN; the answer and FIN.
async fn call(opener: &TypedSession, acceptor: &TypedSession, request: &[u8], answer: &[u8]) {
    let mut stream = opener.open_typed(StreamType::new(7)).await.unwrap();
    write_final(stream.stream_mut(), request.to_vec()).await.unwrap();
    let mut accepted = acceptor.accept_typed().await.unwrap();
    assert_eq!(drain(accepted.stream_mut()).await, (request.to_vec(), Ok(())));
    write_final(accepted.stream_mut(), answer.to_vec()).await.unwrap();
    assert_eq!(drain(stream.stream_mut()).await, (answer.to_vec(), Ok(())));
}

fn counts(log: &WriteLog) -> (usize, usize) {
    (log.count(), log.frames().len())
}

#[test]
fn call_is_three_frames_in_one_write_each_way() {
    run(async {
        let pair = Pair::new();
        let (client, server) = pair.typed();
        call(&client, &server, b"request", b"answer").await;
        settle().await;
        let request = [&7_u32.to_be_bytes()[..], b"request"].concat();
        assert_eq!(pair.client_log.frames_by_write(), [[Frame::syn_ext(3, request), Frame::fin(3)]]);
        assert_eq!(pair.server_log.frames_by_write(), [[Frame::new(DATA, FIN | EXT, 3, "answer")]]);
    });
}

#[test]
fn call_costs_the_same_in_the_other_direction() {
    run(async {
        let pair = Pair::new();
        let (client, server) = pair.typed();
        call(&server, &client, b"request", b"answer").await;
        settle().await;
        let request = [&7_u32.to_be_bytes()[..], b"request"].concat();
        assert_eq!(pair.server_log.frames_by_write(), [[Frame::syn_ext(2, request), Frame::fin(2)]]);
        assert_eq!(pair.client_log.frames_by_write(), [[Frame::new(DATA, FIN | EXT, 2, "answer")]]);
    });
}

#[test]
fn calls_to_a_peer_that_is_known_are_one_frame_each_way() {
    run(async {
        let pair = Pair::new();
        let (client, server) = pair.typed();
        for _ in 0..500 {
            call(&client, &server, &[1; 100], &[2; 1000]).await;
        }
        settle().await;
        assert_eq!(counts(&pair.client_log), (500, 501));
        assert_eq!(counts(&pair.server_log), (500, 500));
        for stats in [pair.client.stats(), pair.server.stats()] {
            assert_eq!((stats.frames_sent + stats.frames_received, stats.streams_open), (1001, 0));
        }
    });
}

#[test]
fn calls_without_the_extension_have_their_ends_apart() {
    run(async {
        let pair = Pair::with(Config::default().extensions(false), 1 << 20);
        let (client, server) = pair.typed();
        for _ in 0..100 {
            call(&client, &server, b"", b"").await;
        }
        settle().await;
        assert_eq!(counts(&pair.client_log), (100, 200));
        assert_eq!(counts(&pair.server_log), (100, 100));
    });
}

#[test]
fn messages_of_several_kib_are_still_one_write() {
    run(async {
        for size in [4 * 1024, 16 * 1024, 60 * 1024] {
            let pair = Pair::new();
            let (client, server) = pair.typed();
            call(&client, &server, &vec![1; size], &vec![2; size]).await;
            settle().await;
            assert_eq!(counts(&pair.client_log), (1, 2), "{size} bytes");
            assert_eq!(counts(&pair.server_log), (1, 1), "{size} bytes");
        }
    });
}

#[test]
fn calls_made_at_once_share_writes() {
    run(async {
        let pair = Pair::new();
        let (client, server) = pair.typed();
        let serving = tokio::spawn(async move {
            while let Some(mut stream) = server.accept_typed().await {
                tokio::spawn(async move {
                    let (request, end) = drain(stream.stream_mut()).await;
                    end.unwrap();
                    write_final(stream.stream_mut(), request).await.unwrap();
                });
            }
        });
        let calls: Vec<_> = (0..50_u8)
            .map(|n| {
                let client = client.clone();
                tokio::spawn(async move {
                    let mut stream = client.open_typed(StreamType::new(7)).await.unwrap();
                    write_final(stream.stream_mut(), vec![n; 50]).await.unwrap();
                    assert_eq!(drain(stream.stream_mut()).await, (vec![n; 50], Ok(())));
                })
            })
            .collect();
        for call in calls {
            call.await.unwrap();
        }
        settle().await;
        assert_eq!(counts(&pair.client_log), (1, 100));
        // By portions of 20, so that the client has something to do meanwhile.
        assert_eq!(counts(&pair.server_log), (3, 50));
        serving.abort();
    });
}

#[test]
fn write_then_shutdown_is_no_more_than_one_frame_more() {
    // What a user of AsyncWrite does.
    run(async {
        let pair = Pair::new();
        let mut stream = pair.client.open().await.unwrap();
        stream.write_all(b"request").await.unwrap();
        stream.shutdown().await.unwrap();
        let mut accepted = pair.server.accept().await.unwrap();
        drain(&mut accepted).await.1.unwrap();
        accepted.write_all(b"answer").await.unwrap();
        accepted.shutdown().await.unwrap();
        drain(&mut stream).await.1.unwrap();
        settle().await;
        assert_eq!(counts(&pair.client_log), (1, 2));
        assert_eq!(counts(&pair.server_log), (1, 2));
    });
}

#[test]
fn bulk_uses_large_writes() {
    run(async {
        let pair = Pair::new();
        let total = 8 << 20;
        let mut stream = pair.client.open().await.unwrap();
        let writing = tokio::spawn(async move { write_final(&mut stream, vec![5; total]).await });
        let mut accepted = pair.server.accept().await.unwrap();
        assert_eq!(drain(&mut accepted).await.0.len(), total);
        writing.await.unwrap().unwrap();
        let (writes, frames) = counts(&pair.client_log);
        assert!(writes <= 200 && frames <= 300, "{writes} writes, {frames} frames for 8 MiB");
        let (_, credits) = counts(&pair.server_log);
        assert!(credits <= 8 * 1024 / 128, "{credits} credit frames for 8 MiB");
    });
}

#[test]
fn idle_session_writes_nothing() {
    run(async {
        let pair = Pair::new();
        let (client, _server): (TypedSession, TypedSession) = pair.typed();
        let opened: &Session = client.session();
        let _silent = opened.open().await.unwrap();
        tokio::time::sleep(std::time::Duration::from_secs(3600)).await;
        assert_eq!((pair.client_log.count(), pair.server_log.count()), (0, 0));
    });
}

#[test]
fn only_the_first_frame_of_a_stream_says_syn() {
    run(async {
        let pair = Pair::new();
        let mut stream = pair.client.open().await.unwrap();
        for _ in 0..5 {
            stream.write_all(b"x").await.unwrap();
            settle().await;
        }
        let frames = pair.client_log.frames();
        let syns: Vec<_> = frames.iter().map(|frame| frame.has(SYN)).collect();
        assert_eq!(syns, [true, false, false, false, false]);
    });
}

#[test]
fn statistics_count_what_went_over_the_wire() {
    run(async {
        let pair = Pair::new();
        let (client, server) = pair.typed();
        for _ in 0..3 {
            call(&client, &server, b"request", b"answer").await;
        }
        let mut dropped = client.open_typed(StreamType::new(1)).await.unwrap();
        dropped.write_all(b"x").await.unwrap();
        drop(dropped);
        settle().await;
        let (ours, theirs) = (pair.client.stats(), pair.server.stats());
        assert_eq!((ours.frames_sent, theirs.frames_received), (6, 6));
        assert_eq!((ours.frames_received, theirs.frames_sent), (3, 3));
        assert_eq!(ours.bytes_sent as usize, pair.client_log.bytes().len());
        assert_eq!((ours.bytes_sent, ours.bytes_received), (theirs.bytes_received, theirs.bytes_sent));
        assert_eq!((ours.streams_opened, theirs.streams_accepted, theirs.streams_refused), (4, 4, 0));
        assert_eq!((ours.resets_sent, theirs.resets_received), (1, 1));
        assert_eq!((ours.streams_open, theirs.streams_open), (0, 0));
    });
}
