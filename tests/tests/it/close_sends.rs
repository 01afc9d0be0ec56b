//! Closing a session sends what was finished before, as fast as the peer takes it.

use std::time::Duration;

use muxado::{Config, ErrorCode, ReadError, Session, SessionError, Stream, StreamType};
use muxado_tests::{
    Frame, GOAWAY, Pair, RST, drain, each_side, local_id, remote_id, run, scripted, scripted_typed,
    scripted_with_driver, settle,
};
use tokio::{io::AsyncWriteExt, time::Instant};

/// The window that both sides begin with.
const WINDOW: usize = 256 * 1024;

/// What is written: more than the window, less than window and send buffer.
const LEN: usize = 300 * 1024;

async fn finished(session: &Session) -> Stream {
    let mut stream = session.open().await.unwrap();
    stream.write_all(&vec![7; LEN]).await.unwrap();
    stream.shutdown().await.unwrap();
    stream
}

fn payload(frames: &[Frame]) -> usize {
    frames.iter().map(|frame| frame.payload.len()).sum()
}

#[test]
fn what_was_finished_before_a_close_arrives_whole() {
    run(async {
        let pair = Pair::new();
        let stream = finished(&pair.client).await;
        pair.client.close(ErrorCode::NO_ERROR, "done");
        assert!(pair.client.is_closed());
        let mut accepted = pair.server.accept().await.unwrap();
        assert_eq!(drain(&mut accepted).await, (vec![7; LEN], Ok(())));
        drop(stream);
        assert_eq!(pair.client_driver.await.unwrap(), Ok(()));
        let SessionError::ClosedByPeer(go_away) = pair.server.closed().await.local else { panic!() };
        assert_eq!(&go_away.debug[..], b"done");
    });
}

#[test]
fn what_was_finished_before_a_close_is_sent_by_credit_and_the_go_away_is_the_last_frame() {
    for dropped_first in [true, false] {
        each_side(|side| async move {
            let (session, mut peer, driver) = scripted_with_driver(side, Config::default(), 4 << 20);
            let (stream, id) = (finished(&session).await, local_id(side, 0));
            if dropped_first {
                drop(stream);
                session.close(ErrorCode::new(77), "end");
            } else {
                session.close(ErrorCode::new(77), "end");
                drop(stream);
            }
            let first = peer.recv_until_silence().await;
            assert_eq!(payload(&first), WINDOW);
            // The peer may have to write before it reads: that is taken and dropped.
            peer.send_all(&[Frame::data(id, [1; 1000]), Frame::wndinc(id, 1000)]).await;
            peer.expect(Frame::data(id, [7; 1000])).await;
            // New streams are refused; what else concerns nobody any more is not answered.
            peer.send_all(&[Frame::syn(remote_id(side, 3), "x"), Frame::data(remote_id(side, 5), "y")]).await;
            peer.expect(Frame::rst(remote_id(side, 3), 5)).await;
            peer.send(Frame::wndinc(id, 100_000)).await;
            let rest = peer.recv().await.unwrap();
            assert_eq!((rest.payload.len(), rest.has(1)), (LEN - WINDOW - 1000, true), "{rest:?}");
            let last = peer.recv_until_silence().await;
            let (go_away, before) = last.split_last().unwrap();
            assert_eq!((go_away.number(1), &go_away.payload[8..]), (77, &b"end"[..]));
            assert!(before.iter().all(|frame| frame.kind == RST), "{before:?}");
            peer.finish().await;
            assert!(driver.await.unwrap().is_err());
        });
    }
}

#[test]
fn close_is_over_at_its_time_limit_if_no_credit_comes() {
    each_side(|side| async move {
        let config = Config::default().close_timeout(Duration::from_secs(3));
        let (session, mut peer, driver) = scripted_with_driver(side, config, 4 << 20);
        let _stream = finished(&session).await;
        let start = Instant::now();
        session.close(ErrorCode::NO_ERROR, "late");
        assert_eq!(driver.await.unwrap(), Ok(()));
        assert_eq!(start.elapsed().as_secs(), 3);
        let frames = peer.recv_rest().await;
        assert_eq!(payload(&frames[..frames.len() - 1]), WINDOW);
        assert_eq!(&frames.last().unwrap().payload[8..], b"late");
    });
}

#[test]
fn close_does_not_wait_for_streams_that_were_not_finished() {
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default());
        let mut stream = session.open().await.unwrap();
        stream.write_all(&vec![7; LEN]).await.unwrap();
        let start = Instant::now();
        session.close(ErrorCode::NO_ERROR, "now");
        let frames = peer.recv_rest().await;
        assert_eq!(&frames.last().unwrap().payload[8..], b"now");
        assert!(start.elapsed() < Duration::from_secs(3));
        assert!(stream.write_all(b"more").await.is_err());
    });
}

#[test]
fn close_ends_at_once_when_the_peer_resets_what_is_left_or_is_gone() {
    for gone in [false, true] {
        each_side(|side| async move {
            let (session, mut peer, driver) = scripted_with_driver(side, Config::default(), 4 << 20);
            let _stream = finished(&session).await;
            let start = Instant::now();
            session.close(ErrorCode::NO_ERROR, "");
            if !gone {
                peer.send(Frame::rst(local_id(side, 0), 6)).await;
            }
            peer.finish().await;
            assert_eq!(driver.await.unwrap(), Ok(()));
            assert_eq!(start.elapsed(), Duration::ZERO);
        });
    }
}

#[test]
fn broken_frames_end_the_wait_for_credit() {
    each_side(|side| async move {
        let (session, mut peer, driver) = scripted_with_driver(side, Config::default(), 4 << 20);
        let _stream = finished(&session).await;
        session.close(ErrorCode::NO_ERROR, "");
        peer.send_bytes(&[0, 0, 3, 0x10, 0, 0, 0, 3, 1, 2, 3]).await;
        peer.send(Frame::new(1, 0, local_id(side, 0), "nine bytes")).await;
        peer.finish().await;
        assert_eq!(driver.await.unwrap(), Ok(()));
    });
}

#[test]
fn end_that_comes_behind_a_close_does_not_make_what_was_thrown_away_look_complete() {
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default());
        let (mut stream, id) = (finished(&session).await, local_id(side, 0));
        peer.recv_until_silence().await;
        session.close(ErrorCode::NO_ERROR, "");
        peer.send(Frame::data_fin(id, "too late")).await;
        settle().await;
        let (read, end) = drain(&mut stream).await;
        assert_eq!((&read[..], matches!(end, Err(ReadError::SessionClosed(_)))), (&b""[..], true), "{end:?}");
    });
}

#[test]
fn heartbeats_are_answered_while_what_was_finished_is_sent() {
    each_side(|side| async move {
        let (session, mut peer) = scripted_typed(side, Config::default());
        let beats = remote_id(side, 0);
        let beat = |token: &str| Frame::data(beats, token);
        peer.send_all(&[Frame::syn(beats, [0xFF; 4]), beat("one.")]).await;
        peer.expect(Frame::data(beats, "one.")).await;
        let mut stream = session.open_typed(StreamType::new(1)).await.unwrap();
        stream.write_all(&vec![7; LEN]).await.unwrap();
        stream.shutdown().await.unwrap();
        peer.recv_until_silence().await;
        session.session().close(ErrorCode::NO_ERROR, "");
        for token in ["two.", "3333", "four"] {
            peer.send(beat(token)).await;
            peer.expect(beat(token)).await;
        }
        peer.send(Frame::wndinc(local_id(side, 0), 1 << 20)).await;
        let frames = peer.recv_until_silence().await;
        assert_eq!(frames.last().unwrap().kind, GOAWAY);
    });
}

#[test]
fn what_was_finished_before_the_end_of_a_drain_arrives_whole() {
    run(async {
        let pair = Pair::new();
        let stream = finished(&pair.client).await;
        let (_, received) = tokio::join!(pair.client.shutdown(Duration::ZERO), async {
            let mut accepted = pair.server.accept().await.unwrap();
            drain(&mut accepted).await
        });
        assert_eq!(received, (vec![7; LEN], Ok(())));
        drop(stream);
    });
}
