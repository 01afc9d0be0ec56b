//! Typed streams: a type in front of the first bytes, gathered without holding anybody up.

use std::time::Duration;

use muxado::{Config, StreamType, TypedSession, TypedStream};
use muxado_tests::{
    Frame, Peer, assert_pending, drain, each_side, local_id, read_exactly, remote_id, scripted,
    scripted_typed, settle, write_final,
};
use tokio::{
    io::AsyncWriteExt,
    time::{Instant, sleep},
};

fn typed(stream_type: u32, data: &str) -> Vec<u8> {
    [&stream_type.to_be_bytes()[..], data.as_bytes()].concat()
}

async fn accept(session: &TypedSession) -> (u32, TypedStream) {
    let stream = session.accept_typed().await.expect("the session lives");
    (stream.stream_type().as_u32(), stream)
}

async fn nothing_to_accept(session: &TypedSession) {
    settle().await;
    assert_pending(std::pin::pin!(session.accept_typed()));
}

#[test]
fn type_and_first_bytes_leave_in_one_frame() {
    each_side(|side| async move {
        let (session, mut peer) = scripted_typed(side, Config::default());
        let id = local_id(side, 0);
        let mut stream = session.open_typed(StreamType::new(0x0102_0304)).await.unwrap();
        peer.expect_silence().await;
        stream.write_all(b"request").await.unwrap();
        peer.expect(Frame::syn_ext(id, typed(0x0102_0304, "request"))).await;
        stream.write_all(b"more").await.unwrap();
        peer.expect(Frame::data(id, "more")).await;
    });
}

#[test]
fn flush_announces_a_stream_of_which_nothing_was_written() {
    each_side(|side| async move {
        let (session, mut peer) = scripted_typed(side, Config::default());
        let id = local_id(side, 0);
        let mut stream = session.open_typed(StreamType::new(7)).await.unwrap();
        stream.flush().await.unwrap();
        peer.expect(Frame::syn_ext(id, typed(7, ""))).await;
        stream.flush().await.unwrap();
        stream.write_all(b"x").await.unwrap();
        peer.expect(Frame::data(id, "x")).await;
    });
}

#[test]
fn finish_without_data_sends_the_type_then_the_fin() {
    each_side(|side| async move {
        let (session, mut peer) = scripted_typed(side, Config::default());
        let id = local_id(side, 0);
        let mut stream = session.open_typed(StreamType::new(7)).await.unwrap();
        stream.shutdown().await.unwrap();
        peer.expect_all([Frame::syn_ext(id, typed(7, "")), Frame::fin(id)]).await;
    });
}

#[test]
fn stream_dropped_before_its_first_byte_leaves_no_trace() {
    each_side(|side| async move {
        let (session, mut peer) = scripted_typed(side, Config::default());
        drop(session.open_typed(StreamType::new(7)).await.unwrap());
        session
            .open_typed(StreamType::new(8))
            .await
            .unwrap()
            .stream_mut()
            .reset(muxado::ErrorCode::CANCELLED);
        peer.expect_silence().await;
    });
}

#[test]
fn large_first_write_starts_with_the_type_and_keeps_to_the_window() {
    each_side(|side| async move {
        let (session, mut peer) = scripted_typed(side, Config::default());
        let stream = session.open_typed(StreamType::new(7)).await.unwrap();
        let writing = tokio::spawn(async move {
            let mut stream = stream;
            stream.write_all(&vec![1; 400_000]).await
        });
        let frames = peer.recv_until_silence().await;
        assert_eq!(frames[0].number(0), 7);
        let sent: usize = frames.iter().map(|frame| frame.payload.len()).sum();
        assert_eq!(sent, 256 * 1024, "the type counts against the window");
        assert!(!writing.is_finished());
    });
}

#[test]
fn type_is_gathered_from_however_many_frames() {
    each_side(|side| async move {
        let (session, mut peer) = scripted_typed(side, Config::default());
        let id = remote_id(side, 0);
        peer.send(Frame::syn(id, "")).await;
        for byte in [0, 0, 1] {
            peer.send(Frame::data(id, [byte])).await;
            nothing_to_accept(&session).await;
        }
        peer.send(Frame::data(id, [2, b'o', b'k'])).await;
        let (stream_type, mut stream) = accept(&session).await;
        assert_eq!(stream_type, 0x0000_0102);
        assert_eq!(read_exactly(stream.stream_mut(), 2).await, b"ok");
    });
}

#[test]
fn type_with_data_and_fin_in_one_frame_is_accepted_and_answered() {
    each_side(|side| async move {
        let (session, mut peer) = scripted_typed(side, Config::default());
        let id = remote_id(side, 0);
        peer.send(Frame::syn_fin(id, typed(9, "q"))).await;
        let (stream_type, mut stream) = accept(&session).await;
        assert_eq!(stream_type, 9);
        assert_eq!(drain(stream.stream_mut()).await, (b"q".to_vec(), Ok(())));
        write_final(stream.stream_mut(), "a").await.unwrap();
        peer.expect(Frame::data_fin(id, "a")).await;
    });
}

#[test]
fn silent_streams_hold_up_nobody() {
    each_side(|side| async move {
        let (session, mut peer) = scripted_typed(side, Config::default());
        for n in 0..10 {
            peer.send(Frame::syn(remote_id(side, n), [0, 0])).await;
        }
        peer.send(Frame::syn(remote_id(side, 10), typed(3, "quick"))).await;
        let (stream_type, mut stream) = accept(&session).await;
        assert_eq!(stream_type, 3);
        assert_eq!(read_exactly(stream.stream_mut(), 5).await, b"quick");
        peer.send(Frame::data(remote_id(side, 4), [0, 4])).await;
        assert_eq!(accept(&session).await.0, 4, "the one that went on");
    });
}

#[test]
fn silent_stream_is_reset_after_the_type_timeout() {
    each_side(|side| async move {
        let (session, mut peer) = scripted_typed(side, Config::default());
        let begin = Instant::now();
        peer.send(Frame::syn(remote_id(side, 0), "")).await;
        sleep(Duration::from_secs(4)).await;
        peer.send(Frame::syn(remote_id(side, 1), [1, 2, 3])).await;
        peer.expect(Frame::rst(remote_id(side, 0), 6)).await;
        assert_eq!(begin.elapsed(), Duration::from_secs(10));
        peer.expect(Frame::rst(remote_id(side, 1), 6)).await;
        assert_eq!(begin.elapsed(), Duration::from_secs(14));
        nothing_to_accept(&session).await;
        assert_eq!(session.session().stats().streams_open, 0);
    });
}

#[test]
fn type_timeout_is_configurable_and_counts_from_the_syn() {
    each_side(|side| async move {
        let config = Config::default().type_timeout(Duration::from_secs(3));
        let (session, mut peer) = scripted_typed(side, config);
        let (slow, fast) = (remote_id(side, 0), remote_id(side, 1));
        let begin = Instant::now();
        peer.send_all(&[Frame::syn(slow, [0]), Frame::syn(fast, [0])]).await;
        for _ in 0..2 {
            sleep(Duration::from_secs(1)).await;
            peer.send(Frame::data(slow, [0])).await;
        }
        peer.send(Frame::data(fast, [0, 0, 5])).await;
        assert_eq!(accept(&session).await.0, 5);
        peer.expect(Frame::rst(fast, 6)).await;
        peer.expect(Frame::rst(slow, 6)).await;
        assert_eq!(begin.elapsed(), Duration::from_secs(3));
    });
}

#[test]
fn streams_without_a_type_are_limited_in_number() {
    each_side(|side| async move {
        let (session, mut peer) = scripted_typed(side, Config::default().max_untyped_streams(2));
        for n in 0..3 {
            peer.send(Frame::syn(remote_id(side, n), "")).await;
        }
        peer.expect(Frame::rst(remote_id(side, 2), 9)).await;
        // One that brings its type with it needs no place, and each type makes room.
        peer.send(Frame::syn(remote_id(side, 3), typed(1, ""))).await;
        peer.send(Frame::data(remote_id(side, 0), typed(2, ""))).await;
        peer.send(Frame::syn(remote_id(side, 4), "")).await;
        let _kept = [accept(&session).await, accept(&session).await];
        peer.expect_silence().await;
    });
}

#[test]
fn fin_before_the_type_resets_the_stream() {
    for bytes in [&[][..], &[0, 0, 1]] {
        each_side(|side| async move {
            let (session, mut peer) = scripted_typed(side, Config::default());
            peer.send(Frame::syn_fin(remote_id(side, 0), bytes)).await;
            peer.expect(Frame::rst(remote_id(side, 0), 7)).await;
            peer.send(Frame::syn(remote_id(side, 1), bytes)).await;
            peer.send(Frame::fin(remote_id(side, 1))).await;
            peer.expect(Frame::rst(remote_id(side, 1), 7)).await;
            nothing_to_accept(&session).await;
            assert_eq!(session.session().stats().streams_open, 0);
        });
    }
}

#[test]
fn reset_before_the_type_is_silent_and_frees_the_place() {
    each_side(|side| async move {
        let (session, mut peer) = scripted_typed(side, Config::default().max_untyped_streams(1));
        for n in 0..5 {
            let id = remote_id(side, n);
            peer.send_all(&[Frame::syn(id, [0, 0]), Frame::rst(id, 6)]).await;
        }
        peer.expect_silence().await;
        nothing_to_accept(&session).await;
        assert_eq!(session.session().stats().streams_open, 0);
    });
}

#[test]
fn streams_that_wait_when_the_session_becomes_typed_give_up_their_type() {
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default());
        peer.send(Frame::syn(remote_id(side, 0), typed(5, "early"))).await;
        peer.send(Frame::syn_fin(remote_id(side, 1), typed(6, ""))).await;
        peer.send(Frame::syn(remote_id(side, 2), [0, 0])).await;
        settle().await;
        let session = TypedSession::new(session);
        let (stream_type, mut stream) = accept(&session).await;
        assert_eq!(stream_type, 5);
        assert_eq!(read_exactly(stream.stream_mut(), 5).await, b"early");
        let (stream_type, mut stream) = accept(&session).await;
        assert_eq!((stream_type, drain(stream.stream_mut()).await), (6, (vec![], Ok(()))));
        nothing_to_accept(&session).await;
        peer.send(Frame::data(remote_id(side, 2), [0, 7])).await;
        assert_eq!(accept(&session).await.0, 7);
    });
}

#[test]
fn type_bytes_count_for_credit() {
    each_side(|side| async move {
        let (session, mut peer) = scripted_typed(side, Config::default());
        let id = remote_id(side, 0);
        let first = [&7_u32.to_be_bytes()[..], &[1; 128 * 1024 - 4]].concat();
        peer.send(Frame::syn(id, first)).await;
        let (_, mut stream) = accept(&session).await;
        read_exactly(stream.stream_mut(), 128 * 1024 - 4).await;
        peer.expect(Frame::wndinc(id, 128 * 1024)).await;
    });
}

#[test]
fn types_that_arrive_when_nobody_can_accept_any_more_are_refused() {
    each_side(|side| async move {
        let (session, mut peer): (TypedSession, Peer) = scripted_typed(side, Config::default());
        let (kept, silent) = (remote_id(side, 0), remote_id(side, 1));
        peer.send_all(&[Frame::syn(kept, typed(1, "")), Frame::syn(silent, [0])]).await;
        let (_, stream) = accept(&session).await;
        drop(session);
        peer.send(Frame::data(silent, [0, 0, 2])).await;
        peer.expect(Frame::rst(silent, 5)).await;
        drop(stream);
    });
}
