//! What a peer can make a session hold.

use muxado::{Config, ErrorCode, ReadError, rpc::TypedSessionExt};
use muxado_tests::{
    Frame, drain, each_side, read_exactly, remote_id, scripted, scripted_typed, settle, write_final,
};

const WINDOW: usize = 256 * 1024;

#[test]
fn fullest_stream_is_reset_when_too_much_is_unread() {
    each_side(|side| async move {
        let config = Config::default().session_receive_memory(3 * WINDOW);
        let (session, mut peer) = scripted(side, config);
        for n in 0..3 {
            let id = remote_id(side, n);
            let size = if n == 1 { WINDOW } else { WINDOW - 50 };
            peer.send(Frame::syn(id, vec![n as u8; size])).await;
        }
        peer.expect_silence().await;
        peer.send(Frame::syn(remote_id(side, 3), [3; 101])).await;
        peer.expect(Frame::rst(remote_id(side, 1), 10)).await;
        assert_eq!(session.stats().bytes_unread, 2 * (WINDOW - 50) + 101);
        let mut streams = Vec::new();
        for (n, size) in [(0, WINDOW - 50), (2, WINDOW - 50), (3, 101)] {
            streams.push(session.accept().await.unwrap());
            let stream = streams.last_mut().unwrap();
            assert_eq!(read_exactly(stream, size).await, vec![n; size]);
        }
        for n in [0, 2] {
            // What was read is worth credit, as ever.
            peer.expect(Frame::wndinc(remote_id(side, n), (WINDOW - 50) as u32)).await;
        }
        peer.expect_silence().await;
    });
}

#[test]
fn reader_of_a_stream_reset_for_memory_gets_an_error() {
    each_side(|side| async move {
        let config = Config::default().session_receive_memory(WINDOW);
        let (session, mut peer) = scripted(side, config);
        peer.send(Frame::syn(remote_id(side, 0), vec![1; WINDOW])).await;
        let mut stream = session.accept().await.unwrap();
        peer.send(Frame::syn_fin(remote_id(side, 1), "x")).await;
        peer.expect(Frame::rst(remote_id(side, 0), 10)).await;
        let calm = ReadError::ResetLocally(ErrorCode::ENHANCE_YOUR_CALM);
        assert_eq!(drain(&mut stream).await, (vec![], Err(calm)));
        let mut other = session.accept().await.unwrap();
        assert_eq!(drain(&mut other).await, (b"x".to_vec(), Ok(())));
    });
}

#[test]
fn complete_stream_whose_bytes_were_dropped_for_memory_does_not_look_empty() {
    each_side(|side| async move {
        let config = Config::default().session_receive_memory(WINDOW);
        let (session, mut peer) = scripted(side, config);
        peer.send(Frame::syn_fin(remote_id(side, 0), vec![1; WINDOW])).await;
        let mut stream = session.accept().await.unwrap();
        peer.send(Frame::syn(remote_id(side, 1), "x")).await;
        settle().await;
        let (read, end) = drain(&mut stream).await;
        let whole = read.len() == WINDOW && end == Ok(());
        assert!(whole || end.is_err(), "{} of {WINDOW} bytes, then a clean end of file", read.len());
    });
}

#[test]
fn reading_makes_room() {
    each_side(|side| async move {
        let config = Config::default().session_receive_memory(WINDOW);
        let (session, mut peer) = scripted(side, config);
        for n in 0..20 {
            let id = remote_id(side, n);
            peer.send(Frame::syn_fin(id, vec![n as u8; WINDOW])).await;
            let mut stream = session.accept().await.unwrap();
            assert_eq!(drain(&mut stream).await, (vec![n as u8; WINDOW], Ok(())));
            write_final(&mut stream, "ok").await.unwrap();
            peer.expect(Frame::data_fin(id, "ok")).await;
        }
        assert_eq!(session.stats().bytes_unread, 0);
    });
}

#[test]
fn dropped_streams_hold_nothing() {
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default());
        for n in 0..50 {
            let id = remote_id(side, n);
            peer.send(Frame::syn(id, vec![1; 100_000])).await;
            drop(session.accept().await.unwrap());
            peer.expect(Frame::rst(id, 6)).await;
        }
        let stats = session.stats();
        assert_eq!((stats.streams_open, stats.bytes_unread, stats.bytes_unsent), (0, 0, 0));
    });
}

#[test]
fn ended_session_keeps_what_came_before_a_fin_and_nothing_of_messages_that_were_cut() {
    each_side(|side| async move {
        let (session, mut peer) = scripted_typed(side, Config::default());
        session.accept_whole_only();
        let ids = [0, 1].map(|n| remote_id(side, n));
        let typed = [&[0, 0, 0, 7][..], &[1; 1000]].concat();
        peer.send_all(&ids.map(|id| Frame::syn(id, &typed))).await;
        let mut whole = session.accept_typed().await.unwrap().into_inner();
        let cut = session.accept_typed().await.unwrap();
        peer.send_all(&[Frame::fin(ids[0]), Frame::rst(ids[1], 6)]).await;
        settle().await;
        assert_eq!(session.session().stats().bytes_unread, 2000);
        peer.finish().await;
        session.session().closed().await;
        assert_eq!(session.session().stats().bytes_unread, 1000);
        assert_eq!(drain(&mut whole).await, (vec![1; 1000], Ok(())));
        drop(cut);
    });
}

#[test]
fn send_buffers_are_bounded_per_stream_and_per_session() {
    each_side(|side| async move {
        let config = Config::default().stream_send_buffer(10_000).session_send_buffer(25_000);
        let (session, mut peer) = scripted(side, config);
        let mut writers = Vec::new();
        for _ in 0..3 {
            let mut stream = session.open().await.unwrap();
            writers.push(tokio::spawn(async move {
                stream.write_chunk(vec![0; WINDOW].into()).await.unwrap();
                stream.write_chunk(vec![0; 100_000].into()).await.unwrap();
            }));
        }
        peer.recv_until_silence().await;
        assert_eq!(session.stats().bytes_unsent, 25_000);
        for n in 0..3 {
            let id = muxado_tests::local_id(side, n);
            peer.send(Frame::wndinc(id, 100_000)).await;
        }
        peer.recv_until_silence().await;
        for writer in writers {
            writer.await.unwrap();
        }
        assert_eq!(session.stats().bytes_unsent, 0);
    });
}

#[test]
fn complete_streams_that_nobody_can_accept_any_more_hold_nothing() {
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default());
        let held = session.open().await.unwrap();
        let other = session.clone();
        for n in 0..10 {
            peer.send(Frame::syn_fin(remote_id(side, n), vec![1; 1000])).await;
        }
        settle().await;
        assert_eq!(session.stats().bytes_unread, 10_000);
        drop(session);
        assert_eq!(other.stats().bytes_unread, 10_000);
        drop(other);
        // The stream keeps the session; the ten were refused.
        let refused = peer.recv_until_silence().await;
        assert_eq!(refused.iter().filter(|frame| frame.kind == muxado_tests::RST).count(), 10);
        drop(held);
    });
}
