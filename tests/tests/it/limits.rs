//! Limits on streams: the peer's are refused with the right code, ours wait for their turn.

use muxado::{Config, ErrorCode, Session, SessionError};
use muxado_tests::{
    Frame, Peer, assert_pending, drain, each_side, local_id, read_exactly, remote_id, scripted, settle,
    write_final,
};
use tokio::io::AsyncWriteExt;

#[test]
fn full_backlog_refuses_with_accept_queue_full_and_keeps_nothing() {
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default().accept_backlog(3));
        for n in 0..5 {
            peer.send_all(&[Frame::syn(remote_id(side, n), "x"), Frame::fin(remote_id(side, n))]).await;
        }
        peer.expect_all([Frame::rst(remote_id(side, 3), 9), Frame::rst(remote_id(side, 4), 9)]).await;
        let stats = session.stats();
        assert_eq!((stats.streams_open, stats.bytes_unread, stats.streams_refused), (3, 3, 2));
        // Accepting one makes room for one.
        let mut first = session.accept().await.unwrap();
        peer.send_all(&[Frame::syn(remote_id(side, 5), "y"), Frame::syn(remote_id(side, 6), "z")]).await;
        peer.expect(Frame::rst(remote_id(side, 6), 9)).await;
        assert_eq!(drain(&mut first).await, (b"x".to_vec(), Ok(())));
        for n in [1, 2, 5] {
            let stream = session.accept().await.unwrap();
            assert_eq!(stream.id().map(|id| id.as_u32()), Some(remote_id(side, n)));
        }
    });
}

#[test]
fn streams_above_the_limit_are_refused_until_one_ends() {
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default().max_streams(2));
        peer.send_all(&[Frame::syn(remote_id(side, 0), "a"), Frame::syn(remote_id(side, 1), "b")]).await;
        let mut first = session.accept().await.unwrap();
        let _second = session.accept().await.unwrap();
        peer.send_all(&[Frame::syn(remote_id(side, 2), "c"), Frame::data(remote_id(side, 2), "c")]).await;
        peer.expect(Frame::rst(remote_id(side, 2), 5)).await;
        // Half-closed still counts.
        write_final(&mut first, "done").await.unwrap();
        peer.expect(Frame::data_fin(remote_id(side, 0), "done")).await;
        peer.send(Frame::syn(remote_id(side, 3), "d")).await;
        peer.expect(Frame::rst(remote_id(side, 3), 5)).await;
        peer.send_all(&[Frame::fin(remote_id(side, 0)), Frame::syn(remote_id(side, 4), "e")]).await;
        let mut next = session.accept().await.unwrap();
        assert_eq!(read_exactly(&mut next, 1).await, b"e");
        peer.expect_silence().await;
    });
}

#[test]
fn refused_ids_may_be_tried_again() {
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default().accept_backlog(1));
        let (held, retried) = (remote_id(side, 0), remote_id(side, 1));
        peer.send_all(&[Frame::syn(held, "x"), Frame::syn(retried, "y")]).await;
        peer.expect(Frame::rst(retried, 9)).await;
        let _held = session.accept().await.unwrap();
        peer.send(Frame::syn(retried, "y")).await;
        assert_eq!(read_exactly(&mut session.accept().await.unwrap(), 1).await, b"y");
    });
}

async fn open_and_say(session: &Session, peer: &mut Peer, count: u32) -> Vec<muxado::Stream> {
    let mut streams = Vec::new();
    for _ in 0..count {
        let mut stream = session.open().await.unwrap();
        stream.write_all(b"x").await.unwrap();
        assert_eq!(peer.recv().await.unwrap().flags & 2, 2);
        streams.push(stream);
    }
    streams
}

#[test]
fn opens_without_a_sign_of_acceptance_wait_at_64() {
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default());
        let mut streams = open_and_say(&session, &mut peer, 64).await;
        // Credit, data, or the end of a stream is such a sign.
        let signs = [
            Frame::wndinc(local_id(side, 5), 1),
            Frame::data(local_id(side, 9), "x"),
            Frame::rst(local_id(side, 30), 5),
        ];
        for sign in signs {
            let mut opening = std::pin::pin!(session.open());
            settle().await;
            assert_pending(opening.as_mut());
            peer.send(sign).await;
            let mut stream = opening.await.unwrap();
            stream.write_all(b"x").await.unwrap();
            peer.recv().await.unwrap();
            streams.push(stream);
        }
    });
}

#[test]
fn stranger_gets_at_most_256_streams() {
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default());
        let mut streams = Vec::new();
        for n in 0..256 {
            streams.extend(open_and_say(&session, &mut peer, 1).await);
            peer.send(Frame::wndinc(local_id(side, n), 1)).await;
            settle().await;
        }
        let mut opening = std::pin::pin!(session.open());
        assert_pending(opening.as_mut());
        streams.pop();
        assert!(opening.await.is_ok());
    });
}

#[test]
fn opens_that_wait_get_their_turn_in_order() {
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default().max_open_streams(1));
        let first = session.open().await.unwrap();
        let (done, mut order) = tokio::sync::mpsc::unbounded_channel();
        for n in 0..5 {
            let (session, done) = (session.clone(), done.clone());
            tokio::spawn(async move {
                let stream = session.open().await.unwrap();
                done.send(n).unwrap();
                drop(stream);
            });
            settle().await;
        }
        assert!(order.try_recv().is_err());
        drop(first);
        settle().await;
        let turns: Vec<_> = std::iter::from_fn(|| order.try_recv().ok()).collect();
        assert_eq!(turns, [0, 1, 2, 3, 4]);
        peer.expect_silence().await;
    });
}

#[test]
fn turn_of_an_open_that_was_dropped_goes_to_the_next() {
    each_side(|side| async move {
        let (session, _peer) = scripted(side, Config::default().max_open_streams(1));
        let held = session.open().await.unwrap();
        let mut given_up = Box::pin(session.open());
        assert_pending(given_up.as_mut());
        let other = session.clone();
        let waiting = tokio::spawn(async move { other.open().await.map(drop) });
        settle().await;
        drop(held);
        drop(given_up);
        assert_eq!(waiting.await.unwrap(), Ok(()));
    });
}

#[test]
fn answers_that_the_peer_does_not_read_end_the_session_at_64_kib() {
    each_side(|side| async move {
        let (session, mut peer, driver) = muxado_tests::scripted_with_driver(side, Config::default(), 256);
        let floods = tokio::spawn(async move {
            let mut sent = 0;
            for n in 0..9000 {
                peer.send(Frame::data(remote_id(side, n), "x")).await;
                sent += 1;
            }
            (sent, peer)
        });
        let end = session.closed().await;
        let SessionError::Protocol(error) = &end.local else { panic!("{end:?}") };
        assert_eq!(error.code(), ErrorCode::ENHANCE_YOUR_CALM);
        assert_eq!(driver.await.unwrap(), Err(end.local));
        floods.abort();
    });
}

/// Sends so many useless frames of a kind, and says with which code the session ended, if it did.
async fn flood(side: muxado::Side, useless: &Frame, count: usize) -> Option<u32> {
    let (session, mut peer) = scripted(side, Config::default());
    let id = remote_id(side, 0);
    peer.send(Frame::syn(id, "")).await;
    let _stream = session.accept().await.unwrap();
    for _ in 0..count / 100 {
        peer.send_all(&vec![useless.clone(); 100]).await;
        settle().await;
        if session.is_closed() {
            return peer.recv_rest().await.last().map(|frame| frame.number(1));
        }
    }
    None
}

#[test]
fn useless_frames_have_a_budget() {
    let id = |side| remote_id(side, 0);
    let kinds: [fn(u32) -> Frame; 5] = [
        |id| Frame::data(id, ""),
        |id| Frame::wndinc(id, 0),
        |id| Frame::fin(id + 100),
        |id| Frame::rst(id + 100, 6),
        |_| Frame::new(9, 0, 0, "?"),
    ];
    for kind in kinds {
        each_side(|side| async move {
            assert_eq!(flood(side, &kind(id(side)), 9_900).await, None);
            assert_eq!(flood(side, &kind(id(side)), 10_200).await, Some(10));
        });
    }
}

#[test]
fn useful_payload_earns_useless_frames() {
    each_side(|side| async move {
        let id = remote_id(side, 0);
        let (session, mut peer) = scripted(side, Config::default());
        peer.send(Frame::syn(id, "")).await;
        let mut stream = session.accept().await.unwrap();
        let round = vec![[Frame::wndinc(id, 0), Frame::data(id, [1; 64])]; 100].concat();
        for _ in 0..200 {
            peer.send_all(&round).await;
            read_exactly(&mut stream, 6400).await;
        }
        assert!(!session.is_closed());
    });
}

#[test]
fn streams_that_end_in_good_order_earn_useless_frames() {
    // The Go original sends credit for every read and one FIN too many, all after the end.
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default());
        for n in 0..3000 {
            let id = remote_id(side, n);
            peer.send(Frame::syn_fin(id, "q")).await;
            write_final(&mut session.accept().await.unwrap(), "a").await.unwrap();
            peer.expect(Frame::data_fin(id, "a")).await;
            peer.send_all(&[Frame::wndinc(id, 1), Frame::fin(id), Frame::fin(id), Frame::rst(id, 4)]).await;
        }
        settle().await;
        assert!(!session.is_closed());
    });
}

#[test]
fn streams_reset_before_they_are_accepted_have_a_budget() {
    // "Rapid reset": work begun and thrown away, at 20 bytes apiece.
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default());
        let mut n = 0;
        while !session.is_closed() {
            assert!(n < 100_000, "no end to it");
            for _ in 0..1000 {
                let id = remote_id(side, n);
                peer.send_all(&[Frame::syn(id, ""), Frame::rst(id, 6)]).await;
                n += 1;
            }
            settle().await;
        }
        let last = peer.recv_rest().await.pop().unwrap();
        assert_eq!((last.kind, last.number(1)), (3, 10));
    });
}
