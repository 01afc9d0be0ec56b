//! Resets: ours, the peer's, and what becomes of data that was there before.

use muxado::{Config, ErrorCode, ReadError, WriteError};
use muxado_tests::{
    Frame, drain, each_side, local_id, read_exactly, remote_id, scripted, settle, write_final,
};
use tokio::io::AsyncWriteExt;

#[test]
fn reset_sends_its_code_and_fails_both_directions() {
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default());
        let id = local_id(side, 0);
        let mut stream = session.open().await.unwrap();
        stream.write_all(b"x").await.unwrap();
        stream.reset(ErrorCode::new(77));
        peer.expect_all([Frame::syn_ext(id, "x"), Frame::rst(id, 77)]).await;
        let code = ErrorCode::new(77);
        assert_eq!(stream.read_chunk().await, Err(ReadError::ResetLocally(code)));
        assert_eq!(stream.write_chunk("y".into()).await, Err(WriteError::ResetLocally(code)));
        assert_eq!(stream.finish(), Err(WriteError::ResetLocally(code)));
        drop(stream);
        peer.expect_silence().await;
    });
}

#[test]
fn reset_before_the_first_byte_leaves_no_trace() {
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default());
        let mut stream = session.open().await.unwrap();
        stream.reset(ErrorCode::CANCELLED);
        drop(stream);
        peer.expect_silence().await;
        let mut next = session.open().await.unwrap();
        next.write_all(b"x").await.unwrap();
        peer.expect(Frame::syn_ext(local_id(side, 0), "x")).await;
        assert_eq!(session.stats().streams_open, 1);
    });
}

#[test]
fn reset_without_an_error_goes_as_cancelled() {
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default());
        let id = remote_id(side, 0);
        peer.send(Frame::syn(id, "x")).await;
        session.accept().await.unwrap().reset(ErrorCode::NO_ERROR);
        peer.expect(Frame::rst(id, 6)).await;
    });
}

#[test]
fn reset_drops_what_was_not_sent() {
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default());
        let id = local_id(side, 0);
        let mut stream = session.open().await.unwrap();
        stream.write_all(&[1; 256 * 1024]).await.unwrap();
        stream.write_all(&[2; 1000]).await.unwrap();
        settle().await;
        stream.reset(ErrorCode::CANCELLED);
        assert_eq!(session.stats().bytes_unsent, 0);
        let frames = peer.recv_until_silence().await;
        let sent: usize = frames.iter().filter(|f| f.kind == 1).map(|f| f.payload.len()).sum();
        assert_eq!(sent, 256 * 1024);
        assert_eq!(frames.last(), Some(&Frame::rst(id, 6)));
    });
}

#[test]
fn reset_of_a_stream_that_ended_both_ways_is_silent() {
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default());
        let id = remote_id(side, 0);
        peer.send(Frame::syn_fin(id, "q")).await;
        let mut stream = session.accept().await.unwrap();
        write_final(&mut stream, "a").await.unwrap();
        peer.expect(Frame::data_fin(id, "a")).await;
        stream.reset(ErrorCode::CANCELLED);
        peer.expect_silence().await;
    });
}

#[test]
fn reset_by_the_peer_leaves_what_came_before_readable() {
    for code in [0, 6, 7, 0xFF, 0xFFFF_FFFF] {
        each_side(|side| async move {
            let (session, mut peer) = scripted(side, Config::default());
            let id = remote_id(side, 0);
            peer.send(Frame::syn(id, "before")).await;
            let mut stream = session.accept().await.unwrap();
            peer.send(Frame::rst(id, code)).await;
            let code = ErrorCode::new(code);
            assert_eq!(drain(&mut stream).await, (b"before".to_vec(), Err(ReadError::Reset(code))));
            assert_eq!(stream.write_chunk("x".into()).await, Err(WriteError::Reset(code)));
            drop(stream);
            // A reset is never answered.
            peer.expect_silence().await;
        });
    }
}

#[test]
fn reset_behind_the_fin_does_not_turn_the_end_into_an_error() {
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default());
        let id = local_id(side, 0);
        let mut stream = session.open().await.unwrap();
        stream.write_all(b"q").await.unwrap();
        peer.expect(Frame::syn_ext(id, "q")).await;
        peer.send_all(&[Frame::data_fin(id, "answer"), Frame::rst(id, 6)]).await;
        settle().await;
        assert_eq!(drain(&mut stream).await, (b"answer".to_vec(), Ok(())));
        let reset = WriteError::Reset(ErrorCode::CANCELLED);
        assert_eq!(stream.write_chunk("more".into()).await, Err(reset));
    });
}

#[test]
fn reset_behind_the_fin_does_not_take_a_stream_from_the_backlog() {
    // What a peer of this family sends for a stream that it finished and dropped.
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default());
        let id = remote_id(side, 0);
        peer.send_all(&[Frame::syn(id, "message"), Frame::fin(id), Frame::rst(id, 6)]).await;
        settle().await;
        let mut stream = session.accept().await.unwrap();
        assert_eq!(drain(&mut stream).await, (b"message".to_vec(), Ok(())));
    });
}

#[test]
fn reset_of_a_stream_that_brought_nothing_takes_it_from_the_backlog() {
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default());
        let (gone, kept) = (remote_id(side, 0), remote_id(side, 1));
        peer.send_all(&[Frame::syn(gone, ""), Frame::rst(gone, 6), Frame::syn(kept, "y")]).await;
        settle().await;
        let mut stream = session.accept().await.unwrap();
        assert_eq!(stream.id().map(|id| id.as_u32()), Some(kept));
        assert_eq!(read_exactly(&mut stream, 1).await, b"y");
        assert_eq!(session.stats().streams_open, 1);
    });
}

#[test]
fn reset_leaves_what_came_before_to_whoever_accepts_the_stream() {
    // What a peer sends that writes, flushes and drops a stream; and with it the session.
    for closed in [false, true] {
        each_side(|side| async move {
            let (session, mut peer) = scripted(side, Config::default());
            let id = remote_id(side, 0);
            peer.send_all(&[Frame::syn(id, "heard"), Frame::rst(id, 6)]).await;
            if closed {
                peer.send(Frame::go_away(0, 0, "")).await;
                peer.finish().await;
            }
            settle().await;
            let mut stream = session.accept().await.unwrap();
            let cancelled = Err(ReadError::Reset(ErrorCode::CANCELLED));
            assert_eq!(drain(&mut stream).await, (b"heard".to_vec(), cancelled));
            drop(stream);
            assert_eq!(session.stats().bytes_unread, 0);
        });
    }
}

#[test]
fn streams_that_are_reset_behind_data_wait_within_the_backlog() {
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default().accept_backlog(2));
        for n in 0..3 {
            let id = remote_id(side, n);
            peer.send_all(&[Frame::syn(id, "x"), Frame::rst(id, 6)]).await;
        }
        peer.expect(Frame::rst(remote_id(side, 2), 9)).await;
        for _ in 0..2 {
            assert!(session.try_accept().is_some());
        }
        assert!(session.try_accept().is_none());
    });
}

#[test]
fn reset_wakes_a_reader_and_a_writer() {
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default());
        let id = local_id(side, 0);
        let (mut sender, mut receiver) = session.open().await.unwrap().into_split();
        let writing = tokio::spawn(async move { sender.write_chunk(vec![0; 1 << 20].into()).await });
        let reading = tokio::spawn(async move { receiver.read_chunk().await });
        peer.recv_until_silence().await;
        assert!(!writing.is_finished() && !reading.is_finished());
        peer.send(Frame::rst(id, 5)).await;
        let code = ErrorCode::STREAM_REFUSED;
        assert_eq!(writing.await.unwrap(), Err(WriteError::Reset(code)));
        assert_eq!(reading.await.unwrap(), Err(ReadError::Reset(code)));
        peer.expect_silence().await;
    });
}

#[test]
fn reset_is_noticed_without_reading() {
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default());
        let id = remote_id(side, 0);
        peer.send(Frame::syn(id, "unread")).await;
        let mut stream = session.accept().await.unwrap();
        let noticing = async { std::future::poll_fn(|cx| stream.poll_reset(cx)).await };
        let (error, ()) = tokio::join!(noticing, async {
            settle().await;
            peer.send(Frame::rst(id, 6)).await;
        });
        assert_eq!(error, ReadError::Reset(ErrorCode::CANCELLED));
    });
}

#[test]
fn finish_is_not_taken_for_a_reset() {
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default());
        let id = remote_id(side, 0);
        peer.send(Frame::syn(id, "")).await;
        let mut stream = session.accept().await.unwrap();
        peer.send(Frame::fin(id)).await;
        settle().await;
        let reset = std::pin::pin!(std::future::poll_fn(|cx| stream.poll_reset(cx)));
        muxado_tests::assert_pending(reset);
    });
}

#[test]
fn resets_and_credit_for_unknown_streams_are_ignored() {
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default());
        for id in [remote_id(side, 3), local_id(side, 3), remote_id(side, 0)] {
            peer.send_all(&[Frame::rst(id, 6), Frame::wndinc(id, 100), Frame::fin(id)]).await;
        }
        peer.expect_silence().await;
        peer.send(Frame::syn(remote_id(side, 0), "x")).await;
        assert_eq!(read_exactly(&mut session.accept().await.unwrap(), 1).await, b"x");
    });
}

#[test]
fn truncated_input_never_looks_complete_after_a_local_reset() {
    // The sending half is dropped unfinished, which resets the stream and drops what was unread.
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default());
        let id = remote_id(side, 0);
        peer.send(Frame::syn_fin(id, "unread")).await;
        let (sender, mut receiver) = session.accept().await.unwrap().into_split();
        drop(sender);
        peer.expect(Frame::rst(id, 6)).await;
        let first = receiver.read_chunk().await;
        assert_ne!(first, Ok(None), "an empty end of file, where six bytes had come");
    });
}
