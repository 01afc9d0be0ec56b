//! Each direction ends on its own.

use muxado::{Config, WriteError};
use muxado_tests::{
    Frame, drain, each_side, local_id, read_exactly, remote_id, scripted, settle, write_final,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[test]
fn peer_may_go_on_after_our_fin() {
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default());
        let id = local_id(side, 0);
        let mut stream = session.open().await.unwrap();
        write_final(&mut stream, "request").await.unwrap();
        peer.expect_all([Frame::syn_ext(id, "request"), Frame::fin(id)]).await;
        for part in ["an", "sw", "er"] {
            peer.send(Frame::data(id, part)).await;
            assert_eq!(read_exactly(&mut stream, 2).await, part.as_bytes());
        }
        assert!(!stream.is_finished());
        peer.send(Frame::fin(id)).await;
        assert_eq!(drain(&mut stream).await, (vec![], Ok(())));
        assert!(stream.is_finished());
        drop(stream);
        peer.expect_silence().await;
        assert_eq!(session.stats().streams_open, 0);
    });
}

#[test]
fn we_may_go_on_after_the_peers_fin() {
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default());
        let id = remote_id(side, 0);
        peer.send_all(&[Frame::syn(id, "q"), Frame::fin(id)]).await;
        let mut stream = session.accept().await.unwrap();
        assert_eq!(drain(&mut stream).await, (b"q".to_vec(), Ok(())));
        for part in ["one", "two"] {
            stream.write_all(part.as_bytes()).await.unwrap();
            peer.expect(Frame::data(id, part)).await;
        }
        stream.shutdown().await.unwrap();
        peer.expect(Frame::fin(id)).await;
        assert!(stream.is_finished());
        assert_eq!(session.stats().streams_open, 0);
    });
}

#[test]
fn fin_goes_with_the_last_bytes_of_an_answer() {
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default());
        let id = remote_id(side, 0);
        peer.send(Frame::syn(id, "q")).await;
        let mut stream = session.accept().await.unwrap();
        write_final(&mut stream, "answer").await.unwrap();
        peer.expect(Frame::data_fin(id, "answer")).await;
        peer.expect_silence().await;
    });
}

#[test]
fn end_of_file_stays_the_end_of_file() {
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default());
        peer.send(Frame::syn_fin(remote_id(side, 0), "q")).await;
        let mut stream = session.accept().await.unwrap();
        let mut buf = [0; 16];
        assert_eq!(stream.read(&mut buf).await.unwrap(), 1);
        for _ in 0..3 {
            assert_eq!(stream.read(&mut buf).await.unwrap(), 0);
        }
        peer.finish().await;
        session.closed().await;
        assert_eq!(stream.read(&mut buf).await.unwrap(), 0, "whatever comes later");
    });
}

#[test]
fn writing_after_finish_is_an_error_and_sends_nothing() {
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default());
        let id = local_id(side, 0);
        let mut stream = session.open().await.unwrap();
        write_final(&mut stream, "all").await.unwrap();
        peer.expect_all([Frame::syn_ext(id, "all"), Frame::fin(id)]).await;
        assert_eq!(stream.write_chunk("more".into()).await, Err(WriteError::Finished));
        let error = stream.write(b"more").await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe);
        assert_eq!(stream.finish(), Ok(()));
        stream.shutdown().await.unwrap();
        peer.expect_silence().await;
    });
}

#[test]
fn repeated_fins_and_fins_of_unknown_streams_are_ignored() {
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default());
        let id = remote_id(side, 0);
        for unknown in [remote_id(side, 9), local_id(side, 9)] {
            peer.send(Frame::fin(unknown)).await;
        }
        peer.send_all(&[Frame::syn_fin(id, "q"), Frame::fin(id), Frame::fin(id)]).await;
        let mut stream = session.accept().await.unwrap();
        assert_eq!(drain(&mut stream).await, (b"q".to_vec(), Ok(())));
        write_final(&mut stream, "a").await.unwrap();
        peer.expect(Frame::data_fin(id, "a")).await;
        peer.send_all(&[Frame::fin(id), Frame::syn(remote_id(side, 1), "next")]).await;
        assert_eq!(read_exactly(&mut session.accept().await.unwrap(), 4).await, b"next");
        // Only the stream that was dropped half-open is heard of.
        peer.expect(Frame::rst(remote_id(side, 1), 6)).await;
        peer.expect_silence().await;
    });
}

#[test]
fn data_after_the_fin_is_answered_with_stream_closed() {
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default());
        let id = remote_id(side, 0);
        peer.send_all(&[Frame::syn_fin(id, "whole"), Frame::data(id, "more"), Frame::data(id, "yet")]).await;
        peer.expect(Frame::rst(id, 4)).await;
        peer.expect_silence().await;
        // What was complete stays complete.
        let mut stream = session.accept().await.unwrap();
        assert_eq!(drain(&mut stream).await, (b"whole".to_vec(), Ok(())));
    });
}

#[test]
fn data_after_the_fin_resets_the_answer_too() {
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default());
        let id = remote_id(side, 0);
        peer.send(Frame::syn_fin(id, "whole")).await;
        let mut stream = session.accept().await.unwrap();
        peer.send(Frame::data(id, "more")).await;
        peer.expect(Frame::rst(id, 4)).await;
        let closed = WriteError::ResetLocally(muxado::ErrorCode::STREAM_CLOSED);
        assert_eq!(stream.write_chunk("answer".into()).await, Err(closed));
        assert_eq!(drain(&mut stream).await, (b"whole".to_vec(), Ok(())));
        peer.expect_silence().await;
    });
}

#[test]
fn halves_are_used_by_two_tasks() {
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default());
        let id = local_id(side, 0);
        let (mut sender, mut receiver) = session.open().await.unwrap().into_split();
        let reading = tokio::spawn(async move {
            let mut text = String::new();
            receiver.read_to_string(&mut text).await.map(|_| text)
        });
        sender.write_all(b"question").await.unwrap();
        sender.finish().unwrap();
        drop(sender);
        peer.expect_all([Frame::syn_ext(id, "question"), Frame::fin(id)]).await;
        settle().await;
        peer.send(Frame::data_fin(id, "answer")).await;
        assert_eq!(reading.await.unwrap().unwrap(), "answer");
        peer.expect_silence().await;
    });
}

#[test]
fn both_directions_finished_leave_nothing() {
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default());
        for n in 0..200 {
            let id = remote_id(side, n);
            peer.send(Frame::syn_fin(id, "q")).await;
            let mut stream = session.accept().await.unwrap();
            write_final(&mut stream, "a").await.unwrap();
            peer.expect(Frame::data_fin(id, "a")).await;
        }
        settle().await;
        let stats = session.stats();
        assert_eq!((stats.streams_open, stats.bytes_unread, stats.bytes_unsent), (0, 0, 0));
    });
}
