//! Frames that arrive for streams that are over: one answer per id, and nothing else.

use muxado::{Config, ErrorCode, ReadError};
use muxado_tests::{
    Frame, drain, each_side, local_id, raw_header, read_exactly, remote_id, scripted, settle, write_final,
};
use tokio::io::AsyncWriteExt;

#[test]
fn late_data_gets_exactly_one_reset_per_id() {
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default());
        let ids = [remote_id(side, 0), remote_id(side, 5), local_id(side, 0)];
        for id in ids {
            for _ in 0..50 {
                peer.send(Frame::data(id, "late")).await;
            }
            peer.send(Frame::data_fin(id, "late")).await;
            peer.expect(Frame::rst(id, 4)).await;
        }
        peer.expect_silence().await;
        assert_eq!(session.stats().resets_sent, 3);
    });
}

#[test]
fn late_data_of_a_stream_that_ended_well_gets_one_reset() {
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default());
        let id = remote_id(side, 0);
        peer.send(Frame::syn_fin(id, "q")).await;
        let mut stream = session.accept().await.unwrap();
        write_final(&mut stream, "a").await.unwrap();
        peer.expect(Frame::data_fin(id, "a")).await;
        drop(stream);
        peer.send_all(&[Frame::data(id, "1"), Frame::data(id, "2")]).await;
        peer.expect(Frame::rst(id, 4)).await;
        peer.expect_silence().await;
    });
}

#[test]
fn data_under_way_when_we_reset_gets_no_second_reset() {
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default());
        let id = local_id(side, 0);
        let mut stream = session.open().await.unwrap();
        stream.write_all(b"x").await.unwrap();
        peer.expect(Frame::syn_ext(id, "x")).await;
        stream.reset(ErrorCode::CANCELLED);
        peer.send_all(&[Frame::data(id, "crossed"), Frame::data_fin(id, "crossed")]).await;
        peer.expect(Frame::rst(id, 6)).await;
        peer.send_all(&[Frame::data(id, "later"), Frame::rst(id, 4), Frame::wndinc(id, 4)]).await;
        peer.expect_silence().await;
    });
}

#[test]
fn late_data_after_the_peers_own_reset_is_answered_at_most_once() {
    // ngrok's crate and the Go original both let frames follow a reset.
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default());
        let id = local_id(side, 0);
        let mut stream = session.open().await.unwrap();
        stream.write_all(b"x").await.unwrap();
        peer.expect(Frame::syn_ext(id, "x")).await;
        peer.send_all(&[Frame::rst(id, 7), Frame::fin(id), Frame::rst(id, 7), Frame::data(id, "late")]).await;
        let reset = ReadError::Reset(ErrorCode::STREAM_RESET);
        assert_eq!(drain(&mut stream).await, (vec![], Err(reset)));
        let answers = peer.recv_until_silence().await;
        assert!(answers.len() <= 1, "{answers:?}");
    });
}

#[test]
fn reuse_of_an_id_makes_late_data_answerable_again() {
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default());
        let id = remote_id(side, 0);
        peer.send(Frame::data(id, "late")).await;
        peer.expect(Frame::rst(id, 4)).await;
        peer.send(Frame::syn_fin(id, "q")).await;
        let mut stream = session.accept().await.unwrap();
        assert_eq!(drain(&mut stream).await, (b"q".to_vec(), Ok(())));
        write_final(&mut stream, "a").await.unwrap();
        peer.expect(Frame::data_fin(id, "a")).await;
        peer.send_all(&[Frame::data(id, "late"), Frame::data(id, "late")]).await;
        peer.expect(Frame::rst(id, 4)).await;
        peer.expect_silence().await;
    });
}

#[test]
fn crossing_resets_free_the_id_at_once() {
    // The peer overruns its window, resets the stream itself and opens the id again, all in one
    // write: our reset of the first stream must not hit, or outlaw, the second.
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default().window_size(1024));
        peer.law.window(1024);
        let id = remote_id(side, 0);
        let overrun = Frame::data(id, [0; 2000]);
        peer.send_all(&[Frame::syn(id, ""), overrun, Frame::rst(id, 6), Frame::syn(id, "again")]).await;
        settle().await;
        assert!(!session.is_closed(), "the id was free");
        let mut stream = session.accept().await.unwrap();
        assert_eq!(read_exactly(&mut stream, 5).await, b"again");
        write_final(&mut stream, "answer").await.unwrap();
        let frames = peer.recv_until_silence().await;
        assert_eq!(frames.last(), Some(&Frame::data_fin(id, "answer")));
    });
}

#[test]
fn late_payload_is_skipped_without_being_kept() {
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default());
        let (id, next) = (remote_id(side, 0), remote_id(side, 1));
        peer.send_bytes(&raw_header(0x00FF_FFFF, 1, 0, id)).await;
        peer.expect(Frame::rst(id, 4)).await;
        for _ in 0..255 {
            peer.send_bytes(&[0xAA; 0x1_0000]).await;
        }
        peer.send_bytes(&[0xAA; 0xFFFF]).await;
        peer.send(Frame::syn(next, "after")).await;
        assert_eq!(read_exactly(&mut session.accept().await.unwrap(), 5).await, b"after");
        assert_eq!(session.stats().bytes_unread, 0);
    });
}

#[test]
fn credit_and_fin_for_a_stream_that_ended_are_ignored() {
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default());
        let id = local_id(side, 0);
        let mut stream = session.open().await.unwrap();
        write_final(&mut stream, "q").await.unwrap();
        peer.expect_all([Frame::syn_ext(id, "q"), Frame::fin(id)]).await;
        peer.send_all(&[Frame::wndinc(id, 1), Frame::data_fin(id, "a"), Frame::wndinc(id, 1)]).await;
        assert_eq!(drain(&mut stream).await, (b"a".to_vec(), Ok(())));
        peer.send_all(&[Frame::wndinc(id, 1), Frame::fin(id), Frame::rst(id, 4)]).await;
        peer.expect_silence().await;
        assert!(!session.is_closed());
    });
}
