//! What dropping a handle does, and how a session's life ends.

use std::time::Duration;

use muxado::{Config, ErrorCode, OpenError, ReadError, Session, SessionEnd, SessionError, WriteError};
use muxado_tests::{
    Frame, Pair, drain, each_side, local_id, read_exactly, remote_id, run, scripted, scripted_with_driver,
    settle, write_final,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, duplex},
    time::Instant,
};

fn closed(code: ErrorCode) -> SessionEnd {
    SessionEnd { local: SessionError::Closed(code), remote: None }
}

#[test]
fn dropped_stream_is_reset_if_the_peer_has_heard_of_it() {
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default());
        let mut opened = session.open().await.unwrap();
        opened.write_all(b"x").await.unwrap();
        drop(opened);
        let id = local_id(side, 0);
        peer.expect_all([Frame::syn_ext(id, "x"), Frame::rst(id, 6)]).await;
        peer.send(Frame::syn(remote_id(side, 0), "y")).await;
        drop(session.accept().await.unwrap());
        peer.expect(Frame::rst(remote_id(side, 0), 6)).await;
    });
}

#[test]
fn dropped_stream_that_sent_nothing_leaves_no_trace() {
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default());
        drop(session.open().await.unwrap());
        drop(session.open().await.unwrap().into_split());
        peer.expect_silence().await;
        assert_eq!(session.stats().streams_open, 0);
    });
}

#[test]
fn drop_after_finish_delivers_everything_and_then_resets() {
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default());
        let id = local_id(side, 0);
        let mut stream = session.open().await.unwrap();
        write_final(&mut stream, "message").await.unwrap();
        drop(stream);
        peer.expect_all([Frame::syn_ext(id, "message"), Frame::fin(id), Frame::rst(id, 6)]).await;
        peer.expect_silence().await;
        assert_eq!(session.stats().streams_open, 0);
    });
}

#[test]
fn drop_after_finish_delivers_what_has_to_wait_for_credit() {
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default());
        let id = local_id(side, 0);
        let mut stream = session.open().await.unwrap();
        stream.write_all(&vec![1; 256 * 1024 + 50_000]).await.unwrap();
        stream.finish().unwrap();
        drop(stream);
        let sent: usize = peer.recv_until_silence().await.iter().map(|frame| frame.payload.len()).sum();
        assert_eq!(sent, 256 * 1024);
        peer.send(Frame::wndinc(id, 50_000)).await;
        peer.expect_all([Frame::data_fin(id, [1; 50_000]), Frame::rst(id, 6)]).await;
    });
}

#[test]
fn drop_after_both_directions_ended_is_silent_even_with_bytes_unread() {
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default());
        let id = remote_id(side, 0);
        peer.send(Frame::syn_fin(id, "unread")).await;
        let mut stream = session.accept().await.unwrap();
        write_final(&mut stream, "a").await.unwrap();
        drop(stream);
        peer.expect(Frame::data_fin(id, "a")).await;
        peer.expect_silence().await;
        assert_eq!((session.stats().streams_open, session.stats().bytes_unread), (0, 0));
    });
}

#[test]
fn sending_half_dropped_unfinished_resets_the_stream() {
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default());
        let id = local_id(side, 0);
        let (mut sender, mut receiver) = session.open().await.unwrap().into_split();
        sender.write_all(b"to").await.unwrap();
        drop(sender);
        peer.expect_all([Frame::syn_ext(id, "to"), Frame::rst(id, 6)]).await;
        let cancelled = ReadError::ResetLocally(ErrorCode::CANCELLED);
        assert_eq!(receiver.read_chunk().await, Err(cancelled));
    });
}

#[test]
fn last_handle_dropped_closes_the_session_in_good_order() {
    each_side(|side| async move {
        let (session, mut peer, driver) = scripted_with_driver(side, Config::default(), 1 << 20);
        let other = session.clone();
        let id = local_id(side, 0);
        let mut stream = session.open().await.unwrap();
        write_final(&mut stream, "last words").await.unwrap();
        drop((session, other));
        peer.expect_all([Frame::syn_ext(id, "last words"), Frame::fin(id)]).await;
        peer.expect_silence().await;
        peer.send(Frame::data_fin(id, "answer")).await;
        assert_eq!(drain(&mut stream).await, (b"answer".to_vec(), Ok(())));
        drop(stream);
        peer.expect(Frame::go_away(0, 0, "")).await;
        peer.expect_end().await;
        peer.finish().await;
        assert_eq!(driver.await.unwrap(), Ok(()));
    });
}

#[test]
fn session_dropped_at_once_says_goodbye() {
    each_side(|side| async move {
        let (session, mut peer, driver) = scripted_with_driver(side, Config::default(), 1 << 20);
        drop(session);
        peer.expect(Frame::go_away(0, 0, "")).await;
        peer.expect_end().await;
        drop(peer);
        assert_eq!(driver.await.unwrap(), Ok(()));
    });
}

#[test]
fn without_a_session_handle_nobody_can_accept_and_streams_are_refused() {
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default());
        let (held, waiting, new) = (remote_id(side, 0), remote_id(side, 1), remote_id(side, 2));
        peer.send_all(&[Frame::syn(held, "x"), Frame::syn(waiting, "y")]).await;
        let mut stream = session.accept().await.unwrap();
        settle().await;
        drop(session);
        peer.expect(Frame::rst(waiting, 5)).await;
        peer.send(Frame::syn(new, "z")).await;
        peer.expect(Frame::rst(new, 5)).await;
        write_final(&mut stream, "alive").await.unwrap();
        peer.expect(Frame::data_fin(held, "alive")).await;
    });
}

#[test]
fn abandoned_session_does_not_wait_for_ever_for_a_peer_that_gives_no_credit() {
    each_side(|side| async move {
        let (session, mut peer, driver) = scripted_with_driver(side, Config::default(), 1 << 20);
        let mut stream = session.open().await.unwrap();
        stream.write_all(&vec![1; 256 * 1024 + 1000]).await.unwrap();
        stream.finish().unwrap();
        let begin = Instant::now();
        drop((stream, session));
        let frames = peer.recv_rest().await;
        assert_eq!(frames.last(), Some(&Frame::go_away(0, 0, "")));
        assert_eq!(begin.elapsed(), Duration::from_secs(2));
        drop(peer);
        driver.await.unwrap().unwrap();
    });
}

#[test]
fn dropped_driver_ends_everything_without_a_go_away() {
    each_side(|side| async move {
        let (session, mut peer, driver) = scripted_with_driver(side, Config::default(), 1 << 20);
        let mut stream = session.open().await.unwrap();
        stream.write_all(b"x").await.unwrap();
        peer.expect(Frame::syn_ext(local_id(side, 0), "x")).await;
        peer.send(Frame::data(local_id(side, 0), "before")).await;
        settle().await;
        driver.abort();
        peer.expect_end().await;
        let dropped = SessionError::DriverDropped;
        let lost = Err(ReadError::SessionClosed(dropped.clone()));
        assert_eq!(drain(&mut stream).await, (b"before".to_vec(), lost));
        let lost = Err(WriteError::SessionClosed(dropped.clone()));
        assert_eq!(stream.write_chunk("y".into()).await, lost);
        assert!(session.accept().await.is_none());
        assert_eq!(session.open().await.map(drop), Err(OpenError::SessionClosed(dropped.clone())));
        assert_eq!(session.closed().await, SessionEnd { local: dropped, remote: None });
    });
}

#[test]
fn driver_that_never_ran_can_be_dropped() {
    run(async {
        let (near, _far) = duplex(1024);
        let (session, driver) = Session::client(near, Config::default());
        let mut stream = session.open().await.unwrap();
        stream.write_all(b"x").await.unwrap();
        drop(driver);
        assert_eq!(session.closed().await.local, SessionError::DriverDropped);
        assert!(stream.read_chunk().await.is_err());
    });
}

#[test]
fn every_waiter_is_told_of_the_end_and_may_ask_again() {
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default());
        let waiting: Vec<_> = (0..5)
            .map(|_| {
                let session = session.clone();
                tokio::spawn(async move { (session.accept().await.is_none(), session.closed().await) })
            })
            .collect();
        settle().await;
        session.close(ErrorCode::new(8), "");
        peer.finish().await;
        for waiter in waiting {
            assert_eq!(waiter.await.unwrap(), (true, closed(ErrorCode::new(8))));
        }
        assert_eq!(session.closed().await, closed(ErrorCode::new(8)));
        assert!(session.is_closed());
    });
}

#[test]
fn close_ends_in_time_although_the_peer_neither_reads_nor_leaves() {
    each_side(|side| async move {
        let (session, _peer, driver) = scripted_with_driver(side, Config::default(), 64);
        let mut stream = session.open().await.unwrap();
        stream.write_all(&[0; 10_000]).await.unwrap();
        settle().await;
        let begin = Instant::now();
        session.close(ErrorCode::NO_ERROR, "");
        assert_eq!(session.closed().await, closed(ErrorCode::NO_ERROR));
        assert_eq!(begin.elapsed(), Duration::from_secs(2));
        assert_eq!(driver.await.unwrap(), Ok(()));
    });
}

#[test]
fn close_timeout_is_configurable() {
    each_side(|side| async move {
        let config = Config::default().close_timeout(Duration::from_millis(50));
        let (session, _peer) = scripted(side, config);
        let begin = Instant::now();
        session.close(ErrorCode::NO_ERROR, "");
        session.closed().await;
        assert_eq!(begin.elapsed(), Duration::from_millis(50));
    });
}

#[test]
fn what_was_received_stays_readable_after_the_end() {
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default());
        peer.send(Frame::syn_fin(remote_id(side, 0), "whole")).await;
        peer.send(Frame::syn(remote_id(side, 1), "part")).await;
        let mut whole = session.accept().await.unwrap();
        let mut part = session.accept().await.unwrap();
        session.close(ErrorCode::NO_ERROR, "");
        peer.finish().await;
        session.closed().await;
        assert_eq!(drain(&mut whole).await, (b"whole".to_vec(), Ok(())));
        let end = ReadError::SessionClosed(SessionError::Closed(ErrorCode::NO_ERROR));
        assert_eq!(drain(&mut part).await, (b"part".to_vec(), Err(end)));
    });
}

#[test]
fn one_way_message_of_a_client_that_leaves_arrives() {
    // Open, write, finish, and drop of everything, before the server looks.
    run(async {
        let pair = Pair::new();
        let mut stream = pair.client.open().await.unwrap();
        write_final(&mut stream, "fire and forget").await.unwrap();
        drop(stream);
        drop(pair.client);
        let mut stream = pair.server.accept().await.expect("it arrived before the end");
        assert_eq!(drain(&mut stream).await, (b"fire and forget".to_vec(), Ok(())));
        assert_eq!(pair.client_driver.await.unwrap(), Ok(()));
        assert_eq!(pair.server_driver.await.unwrap(), Ok(()));
    });
}

#[test]
fn finished_stream_is_delivered_even_if_it_is_accepted_after_the_end() {
    run(async {
        let pair = Pair::new();
        let mut stream = pair.client.open().await.unwrap();
        write_final(&mut stream, "fire and forget").await.unwrap();
        drop((stream, pair.client));
        pair.client_driver.await.unwrap().unwrap();
        settle().await;
        let mut stream = pair.server.accept().await.expect("it was complete before the end");
        assert_eq!(drain(&mut stream).await, (b"fire and forget".to_vec(), Ok(())));
    });
}

#[test]
fn dropped_futures_lose_nothing() {
    // Every read, write and accept is polled once and dropped before it is awaited in earnest.
    run(async {
        let pair = Pair::with(Config::default().window_size(1024), 100);
        let moment = Duration::from_millis(1);
        let sending = tokio::spawn(async move {
            let mut stream = pair.client.open().await.unwrap();
            for n in 0..200_u8 {
                while tokio::time::timeout(moment, stream.write(&[n; 1])).await.is_err() {}
            }
            write_final(&mut stream, "").await.unwrap();
            pair.client.closed().await;
        });
        let mut accepted = loop {
            if let Ok(stream) = tokio::time::timeout(moment, pair.server.accept()).await {
                break stream.unwrap();
            }
        };
        let mut got = Vec::new();
        let mut buf = [0; 3];
        loop {
            match tokio::time::timeout(moment, accepted.read(&mut buf)).await {
                Ok(Ok(0)) => break,
                Ok(read) => got.extend_from_slice(&buf[..read.unwrap()]),
                Err(_) => {}
            }
        }
        assert_eq!(got, (0..200).collect::<Vec<u8>>());
        sending.abort();
    });
}

#[test]
fn peers_session_that_is_dropped_is_a_clean_end_for_us() {
    run(async {
        let pair = Pair::new();
        let mut stream = pair.client.open().await.unwrap();
        write_final(&mut stream, "q").await.unwrap();
        let mut accepted = pair.server.accept().await.unwrap();
        assert_eq!(read_exactly(&mut accepted, 1).await, b"q");
        write_final(&mut accepted, "a").await.unwrap();
        assert_eq!(drain(&mut stream).await, (b"a".to_vec(), Ok(())));
        drop((accepted, pair.server));
        let end = pair.client.closed().await;
        assert!(end.local.is_clean(), "{end}");
        assert_eq!(pair.server_driver.await.unwrap(), Ok(()));
    });
}

#[test]
fn abandoned_session_ends_with_the_last_stream_it_was_sending() {
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default());
        let mut stream = session.open().await.unwrap();
        // More than the window: the rest waits for credit, which never comes.
        stream.write_all(&vec![0; 256 * 1024 + 1000]).await.unwrap();
        stream.shutdown().await.unwrap();
        let id = stream.id().unwrap().as_u32();
        let begin = Instant::now();
        drop((stream, session));
        peer.send(Frame::rst(id, 6)).await;
        while peer.recv().await.expect("a go-away").kind != muxado_tests::GOAWAY {}
        assert!(begin.elapsed() < Duration::from_secs(2), "it waited for the close timeout");
    });
}
