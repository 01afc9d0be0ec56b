//! Opening and accepting streams: lazy SYN, ids, and every form in which a peer opens one.

use muxado::{Config, Side};
use muxado_tests::{
    Frame, Pair, drain, each_side, local_id, read_exactly, remote_id, run, scripted, settle, write_final,
};
use tokio::io::AsyncWriteExt;

#[test]
fn opening_sends_nothing() {
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default());
        let stream = session.open().await.unwrap();
        assert_eq!(stream.id(), None);
        peer.expect_silence().await;
    });
}

#[test]
fn first_write_carries_the_syn_and_the_first_id() {
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default());
        let mut stream = session.open().await.unwrap();
        stream.write_all(b"hello").await.unwrap();
        let id = local_id(side, 0);
        assert_eq!(stream.id().map(|id| id.as_u32()), Some(id));
        peer.expect(Frame::syn_ext(id, "hello")).await;
        stream.write_all(b"world").await.unwrap();
        peer.expect(Frame::data(id, "world")).await;
        peer.expect_silence().await;
    });
}

#[test]
fn empty_write_does_not_open_the_stream_or_lose_its_syn() {
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default());
        let mut stream = session.open().await.unwrap();
        assert_eq!(stream.write(b"").await.unwrap(), 0);
        peer.expect_silence().await;
        stream.write_all(b"x").await.unwrap();
        peer.expect(Frame::syn_ext(local_id(side, 0), "x")).await;
    });
}

#[test]
fn ids_rise_in_the_order_of_first_writes() {
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default());
        let (mut first, mut second) = (session.open().await.unwrap(), session.open().await.unwrap());
        second.write_all(b"2").await.unwrap();
        first.write_all(b"1").await.unwrap();
        peer.expect(Frame::syn_ext(local_id(side, 0), "2")).await;
        peer.expect(Frame::syn_ext(local_id(side, 1), "1")).await;
    });
}

#[test]
fn finish_without_data_opens_then_finishes_in_two_frames() {
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default());
        let mut stream = session.open().await.unwrap();
        stream.shutdown().await.unwrap();
        let id = local_id(side, 0);
        peer.expect_all([Frame::syn_ext(id, ""), Frame::fin(id)]).await;
        peer.send(Frame::data_fin(id, "answer")).await;
        assert_eq!(drain(&mut stream).await, (b"answer".to_vec(), Ok(())));
    });
}

#[test]
fn syn_with_data_is_accepted_and_read() {
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default());
        let id = remote_id(side, 0);
        peer.send_all(&[Frame::syn(id, "he"), Frame::data(id, "llo"), Frame::fin(id)]).await;
        let mut stream = session.accept().await.unwrap();
        assert_eq!(stream.id().map(|id| id.as_u32()), Some(id));
        assert_eq!(drain(&mut stream).await, (b"hello".to_vec(), Ok(())));
    });
}

#[test]
fn empty_syn_is_accepted_at_once_and_data_follows() {
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default());
        let id = remote_id(side, 0);
        peer.send(Frame::syn(id, "")).await;
        let mut stream = session.accept().await.unwrap();
        peer.send(Frame::data(id, "late")).await;
        assert_eq!(read_exactly(&mut stream, 4).await, b"late");
    });
}

#[test]
fn stream_opened_by_syn_and_fin_in_one_is_answered() {
    for payload in ["", "question"] {
        each_side(|side| async move {
            let (session, mut peer) = scripted(side, Config::default());
            let id = remote_id(side, 0);
            peer.send(Frame::syn_fin(id, payload)).await;
            let mut stream = session.accept().await.unwrap();
            assert_eq!(drain(&mut stream).await, (payload.as_bytes().to_vec(), Ok(())));
            write_final(&mut stream, "answer").await.unwrap();
            peer.expect(Frame::data_fin(id, "answer")).await;
            drop(stream);
            peer.expect_silence().await;
        });
    }
}

#[test]
fn ids_come_in_any_order_with_any_gaps() {
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default());
        let largest = if side == Side::Client { 0x7FFF_FFFE } else { 0x7FFF_FFFF };
        let ids = [remote_id(side, 40), remote_id(side, 0), largest, remote_id(side, 7), remote_id(side, 6)];
        for id in ids {
            peer.send(Frame::syn(id, id.to_be_bytes())).await;
        }
        for id in ids {
            let mut stream = session.accept().await.unwrap();
            assert_eq!(stream.id().map(|id| id.as_u32()), Some(id));
            assert_eq!(read_exactly(&mut stream, 4).await, id.to_be_bytes());
            peer.send(Frame::fin(id)).await;
            assert_eq!(drain(&mut stream).await, (vec![], Ok(())));
            write_final(&mut stream, "ok").await.unwrap();
            peer.expect(Frame::data_fin(id, "ok")).await;
        }
    });
}

#[test]
fn the_very_first_ids_of_either_parity_are_legal() {
    run(async {
        let (session, mut peer) = scripted(Side::Server, Config::default());
        peer.send(Frame::syn(1, "one")).await;
        assert_eq!(read_exactly(&mut session.accept().await.unwrap(), 3).await, b"one");
    });
}

#[test]
fn id_of_a_closed_stream_may_be_used_again() {
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default());
        let id = remote_id(side, 0);
        for round in 0..3_u8 {
            peer.send(Frame::syn_fin(id, [round])).await;
            let mut stream = session.accept().await.unwrap();
            assert_eq!(drain(&mut stream).await, (vec![round], Ok(())));
            stream.finish().unwrap();
            peer.expect(Frame::fin(id)).await;
        }
        // And after a reset by the peer.
        peer.send_all(&[Frame::syn(id, ""), Frame::rst(id, 6), Frame::syn(id, "again")]).await;
        assert_eq!(read_exactly(&mut session.accept().await.unwrap(), 5).await, b"again");
    });
}

#[test]
fn streams_are_accepted_in_the_order_they_were_opened_by_whoever_waits() {
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default());
        let waiters: Vec<_> = (0..3)
            .map(|_| {
                let session = session.clone();
                tokio::spawn(async move { session.accept().await.unwrap().id().unwrap().as_u32() })
            })
            .collect();
        settle().await;
        for n in 0..3 {
            peer.send(Frame::syn(remote_id(side, n), "x")).await;
            settle().await;
        }
        let mut ids = Vec::new();
        for waiter in waiters {
            ids.push(waiter.await.unwrap());
        }
        ids.sort_unstable();
        assert_eq!(ids, (0..3).map(|n| remote_id(side, n)).collect::<Vec<_>>());
    });
}

#[test]
fn dropped_accept_loses_no_stream() {
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default());
        let waiting = tokio::time::timeout(std::time::Duration::from_millis(5), session.accept()).await;
        assert!(waiting.is_err());
        peer.send(Frame::syn(remote_id(side, 0), "x")).await;
        settle().await;
        assert_eq!(read_exactly(&mut session.accept().await.unwrap(), 1).await, b"x");
    });
}

#[test]
fn both_sides_open_and_answer_at_the_same_time() {
    run(async {
        let pair = muxado_tests::Pair::new();
        for (opener, acceptor) in [(&pair.client, &pair.server), (&pair.server, &pair.client)] {
            let mut streams = Vec::new();
            for n in 0..20_u8 {
                let mut stream = opener.open().await.unwrap();
                write_final(&mut stream, vec![n; 100]).await.unwrap();
                streams.push(stream);
            }
            for n in 0..20_u8 {
                let mut stream = acceptor.accept().await.unwrap();
                assert_eq!(drain(&mut stream).await, (vec![n; 100], Ok(())));
                write_final(&mut stream, vec![n]).await.unwrap();
            }
            for (n, stream) in streams.iter_mut().enumerate() {
                assert_eq!(drain(stream).await, (vec![n as u8], Ok(())));
            }
        }
        settle().await;
        assert_eq!(pair.client.stats().streams_open, 0);
        assert_eq!(pair.server.stats().streams_open, 0);
    });
}

#[test]
fn opener_that_comes_behind_woken_ones_gets_its_turn() {
    run(async {
        let pair = Pair::with(Config::default().max_open_streams(2), 64 * 1024);
        let held = [pair.client.open().await.unwrap(), pair.client.open().await.unwrap()];
        let client = pair.client.clone();
        let first = tokio::spawn(async move { client.open().await });
        tokio::task::yield_now().await;
        // There is room for two; the first is woken, and has not run when the second asks.
        drop(held);
        let second = pair.client.open().await;
        assert!(second.is_ok() && first.await.unwrap().is_ok());
    });
}

#[test]
fn opener_that_comes_after_the_go_away_is_refused_beside_those_who_wait() {
    run(async {
        let pair = Pair::with(Config::default().max_open_streams(1), 64 * 1024);
        let _held = pair.client.open().await.unwrap();
        let client = pair.client.clone();
        let waiting = tokio::spawn(async move { client.open().await });
        tokio::task::yield_now().await;
        pair.client.go_away();
        assert_eq!(pair.client.open().await.unwrap_err(), muxado::OpenError::GoingAway);
        assert_eq!(waiting.await.unwrap().unwrap_err(), muxado::OpenError::GoingAway);
    });
}
