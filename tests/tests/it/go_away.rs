//! GOAWAY: received, sent, with a close and without.

use std::time::Duration;

use muxado::{Config, ErrorCode, GoAway, OpenError, ReadError, SessionEnd, SessionError};
use muxado_tests::{
    Frame, Pair, drain, each_side, hex, local_id, read_exactly, remote_id, run, scripted, settle, write_final,
};
use tokio::io::AsyncWriteExt;

fn pad(side: muxado::Side) -> Frame {
    Frame::fin(if side == muxado::Side::Client { 0x7FFF_FFFF } else { 0x7FFF_FFFE })
}

fn said(code: u32, last_stream_id: u32, debug: &str) -> GoAway {
    GoAway { code: ErrorCode::new(code), last_stream_id, debug: debug.to_owned().into() }
}

#[test]
fn open_streams_run_on_and_new_ones_are_refused_with_the_peers_reason() {
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default());
        let id = local_id(side, 0);
        let mut stream = session.open().await.unwrap();
        stream.write_all(b"q").await.unwrap();
        peer.expect(Frame::syn_ext(id, "q")).await;
        peer.send(Frame::go_away(id, 10, "lunch")).await;
        settle().await;
        let refused = session.open().await.map(drop);
        assert_eq!(refused, Err(OpenError::PeerGoingAway(said(10, id, "lunch"))));
        assert!(!session.is_closed());
        stream.write_all(b"uestion").await.unwrap();
        peer.expect(Frame::data(id, "uestion")).await;
        peer.send(Frame::data_fin(id, "answer")).await;
        assert_eq!(drain(&mut stream).await, (b"answer".to_vec(), Ok(())));
        // The peer may still open streams.
        peer.send(Frame::syn_fin(remote_id(side, 0), "theirs")).await;
        let mut theirs = session.accept().await.unwrap();
        assert_eq!(drain(&mut theirs).await, (b"theirs".to_vec(), Ok(())));
        peer.expect_silence().await;
    });
}

#[test]
fn streams_that_the_peer_did_not_look_at_fail_so_that_one_can_tell() {
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default());
        let (mut seen, mut unseen) = (session.open().await.unwrap(), session.open().await.unwrap());
        seen.write_all(b"1").await.unwrap();
        unseen.write_all(b"2").await.unwrap();
        peer.expect(Frame::syn_ext(local_id(side, 0), "1")).await;
        peer.expect(Frame::syn_ext(local_id(side, 1), "2")).await;
        peer.send(Frame::go_away(local_id(side, 0), 0, "")).await;
        let gone = ReadError::Reset(ErrorCode::REMOTE_GONE_AWAY);
        assert_eq!(unseen.read_chunk().await, Err(gone));
        peer.send(Frame::data_fin(local_id(side, 0), "a")).await;
        assert_eq!(drain(&mut seen).await, (b"a".to_vec(), Ok(())));
    });
}

#[test]
fn stream_without_a_syn_is_not_opened_behind_a_received_go_away() {
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default());
        let mut silent = session.open().await.unwrap();
        peer.send(Frame::go_away(0, 0, "")).await;
        settle().await;
        assert!(silent.write_all(b"too late").await.is_err());
        peer.expect_silence().await;
    });
}

#[test]
fn waiting_openers_are_told_at_once() {
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default().max_open_streams(1));
        let mut first = session.open().await.unwrap();
        first.write_all(b"1").await.unwrap();
        let waiting: Vec<_> = (0..3)
            .map(|_| {
                let session = session.clone();
                tokio::spawn(async move { session.open().await.map(drop) })
            })
            .collect();
        peer.expect(Frame::syn_ext(local_id(side, 0), "1")).await;
        peer.send(Frame::go_away(local_id(side, 0), 0, "bye")).await;
        for opener in waiting {
            let refused = Err(OpenError::PeerGoingAway(said(0, local_id(side, 0), "bye")));
            assert_eq!(opener.await.unwrap(), refused);
        }
    });
}

#[test]
fn bytes_that_are_no_frame_behind_a_go_away_are_a_clean_end() {
    // ngrok's crate gives a length that is 8 too short: the last 8 bytes of the text follow.
    let short = "00 00 08 30 00 00 00 00  00 00 00 00 00 00 00 00  4e 6f 74 20 61 20 66 72";
    // A wrong length, an id that cannot be, and an unknown type with a long length.
    let tails = ["00 00 07 00 00 00 00 03", "00 00 00 10 ff ff ff ff", "ff ff ff f0 00 00 00 00"];
    for tail in [&[short][..], &tails].concat() {
        each_side(|side| async move {
            let (session, mut peer) = scripted(side, Config::default());
            let open = session.open().await.unwrap();
            if tail != short {
                peer.send(Frame::go_away(0, 0, "")).await;
            }
            peer.send_bytes(&hex(tail)).await;
            peer.finish().await;
            let end = session.closed().await;
            let remote = said(0, 0, "");
            let clean = SessionError::ClosedByPeer(remote.clone());
            assert_eq!(end, SessionEnd { local: clean, remote: Some(remote) });
            assert!(end.local.is_clean());
            drop(open);
            assert!(peer.recv_rest().await.is_empty(), "nothing is answered");
        });
    }
}

#[test]
fn the_first_go_away_counts() {
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default());
        peer.send_all(&[Frame::go_away(0, 0, "first"), Frame::go_away(0, 1, "second")]).await;
        peer.finish().await;
        assert_eq!(session.closed().await.remote, Some(said(0, 0, "first")));
    });
}

#[test]
fn long_text_is_kept_in_part_and_skipped_in_full() {
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default());
        let text = "x".repeat(2_000_000);
        peer.send(Frame::go_away(0, 7, &text)).await;
        peer.send(Frame::syn_fin(remote_id(side, 0), "in step")).await;
        let mut stream = session.accept().await.unwrap();
        assert_eq!(drain(&mut stream).await, (b"in step".to_vec(), Ok(())));
        peer.finish().await;
        let end = session.closed().await;
        assert_eq!(end.remote, Some(said(7, 0, &text[..4096])));
        assert!(!end.local.is_clean(), "a code other than 0 is a failure");
    });
}

#[test]
fn go_away_is_sent_with_the_pad_and_streams_run_on() {
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default());
        let (ours, theirs) = (local_id(side, 0), remote_id(side, 4));
        peer.send(Frame::syn(theirs, "x")).await;
        let mut accepted = session.accept().await.unwrap();
        let mut opened = session.open().await.unwrap();
        opened.write_all(b"q").await.unwrap();
        peer.expect(Frame::syn_ext(ours, "q")).await;
        session.go_away();
        session.go_away();
        peer.expect_all([Frame::go_away(theirs, 0, ""), pad(side)]).await;
        assert_eq!(session.open().await.map(drop), Err(OpenError::GoingAway));
        write_final(&mut accepted, "a").await.unwrap();
        peer.expect(Frame::data_fin(theirs, "a")).await;
        peer.send_all(&[Frame::data_fin(ours, "answer"), Frame::fin(theirs)]).await;
        assert_eq!(drain(&mut opened).await, (b"answer".to_vec(), Ok(())));
        peer.expect_silence().await;
    });
}

#[test]
fn streams_opened_towards_a_side_that_goes_away_are_refused() {
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default());
        session.go_away();
        peer.expect_all([Frame::go_away(0, 0, ""), pad(side)]).await;
        let id = remote_id(side, 0);
        peer.send_all(&[Frame::syn(id, "skipped"), Frame::data(id, "too"), Frame::fin(id)]).await;
        peer.expect(Frame::rst(id, 5)).await;
        peer.expect_silence().await;
        assert_eq!(session.stats().streams_open, 0);
    });
}

#[test]
fn close_sends_code_and_text_last_and_ends_the_transport() {
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default());
        let id = local_id(side, 0);
        let (mut whole, mut torn) = (session.open().await.unwrap(), session.open().await.unwrap());
        write_final(&mut whole, "finished").await.unwrap();
        torn.write_all(b"torn").await.unwrap();
        session.close(ErrorCode::new(42), "enough");
        session.close(ErrorCode::new(43), "twice");
        peer.expect_all([Frame::syn_ext(id, "finished"), Frame::fin(id)]).await;
        peer.expect(Frame::syn_ext(local_id(side, 1), "torn")).await;
        peer.expect_all([Frame::go_away(0, 42, "enough")]).await;
        peer.expect_end().await;
        let reason = SessionError::Closed(ErrorCode::new(42));
        assert_eq!(torn.read_chunk().await, Err(ReadError::SessionClosed(reason.clone())));
        assert_eq!(session.open().await.map(drop), Err(OpenError::SessionClosed(reason.clone())));
        assert!(session.accept().await.is_none());
        peer.finish().await;
        assert_eq!(session.closed().await, SessionEnd { local: reason, remote: None });
    });
}

#[test]
fn close_names_the_greatest_stream_it_has_seen() {
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default());
        for n in [3, 9, 1] {
            peer.send(Frame::syn_fin(remote_id(side, n), "x")).await;
        }
        settle().await;
        session.close(ErrorCode::NO_ERROR, "");
        let frames = peer.recv_rest().await;
        assert_eq!(frames.last(), Some(&Frame::go_away(remote_id(side, 9), 0, "")));
    });
}

#[test]
fn long_reasons_are_cut() {
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default());
        session.close(ErrorCode::INTERNAL_ERROR, "y".repeat(5000));
        peer.expect(Frame::go_away(0, 2, &"y".repeat(1024))).await;
        peer.expect_end().await;
    });
}

#[test]
fn both_sides_reasons_are_reported() {
    run(async {
        let pair = Pair::new();
        let stream = pair.client.open().await.unwrap();
        pair.server.close(ErrorCode::new(99), "maintenance");
        let remote = said(99, 0, "maintenance");
        let end = pair.client.closed().await;
        assert_eq!(end.local, SessionError::ClosedByPeer(remote.clone()));
        assert_eq!(end.remote, Some(remote.clone()));
        drop(stream);
        let end = pair.server.closed().await;
        assert_eq!(end.local, SessionError::Closed(ErrorCode::new(99)));
        assert_eq!(pair.client_driver.await.unwrap(), Err(SessionError::ClosedByPeer(remote)));
        assert_eq!(pair.server_driver.await.unwrap(), Err(SessionError::Closed(ErrorCode::new(99))));
    });
}

#[test]
fn a_side_that_closes_itself_also_reports_the_peers_go_away() {
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default());
        peer.send(Frame::go_away(0, 10, "calm down")).await;
        settle().await;
        session.close(ErrorCode::CANCELLED, "");
        peer.expect(Frame::go_away(0, 6, "")).await;
        peer.finish().await;
        let end = session.closed().await;
        assert_eq!(end.local, SessionError::Closed(ErrorCode::CANCELLED));
        assert_eq!(end.remote, Some(said(10, 0, "calm down")));
    });
}

#[test]
fn shutdown_waits_for_open_streams_and_then_closes() {
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default());
        let id = remote_id(side, 0);
        peer.send(Frame::syn_fin(id, "q")).await;
        let mut stream = session.accept().await.unwrap();
        let closing = session.clone();
        let shutdown = tokio::spawn(async move { closing.shutdown(Duration::from_secs(30)).await });
        peer.expect_all([Frame::go_away(id, 0, ""), pad(side)]).await;
        peer.expect_silence().await;
        assert!(!shutdown.is_finished());
        write_final(&mut stream, "a").await.unwrap();
        peer.expect_all([Frame::data_fin(id, "a"), Frame::go_away(id, 0, "")]).await;
        peer.expect_end().await;
        peer.finish().await;
        assert!(shutdown.await.unwrap(), "all streams had ended");
    });
}

#[test]
fn shutdown_closes_when_its_time_is_over() {
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default());
        let id = remote_id(side, 0);
        peer.send(Frame::syn(id, "q")).await;
        let mut stream = session.accept().await.unwrap();
        let begin = tokio::time::Instant::now();
        let peer_end = async {
            peer.expect_all([Frame::go_away(id, 0, ""), pad(side), Frame::go_away(id, 0, "")]).await;
            peer.expect_end().await;
            assert_eq!(begin.elapsed(), Duration::from_secs(30));
            peer.finish().await;
        };
        let (in_time, ()) = tokio::join!(session.shutdown(Duration::from_secs(30)), peer_end);
        assert!(!in_time);
        let closed = ReadError::SessionClosed(SessionError::Closed(ErrorCode::NO_ERROR));
        assert_eq!(drain(&mut stream).await, (b"q".to_vec(), Err(closed)));
    });
}

#[test]
fn shutdown_is_over_at_once_when_the_peer_leaves() {
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default());
        peer.send(Frame::syn(remote_id(side, 0), "q")).await;
        let _stream = session.accept().await.unwrap();
        let begin = tokio::time::Instant::now();
        let leaving = async {
            settle().await;
            peer.finish().await;
        };
        tokio::join!(session.shutdown(Duration::from_secs(30)), leaving);
        assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
        assert_eq!(session.closed().await.local, SessionError::PeerEof { mid_frame: false });
    });
}

#[test]
fn drained_pair_ends_cleanly_on_both_sides() {
    run(async {
        let pair = Pair::new();
        let mut stream = pair.client.open().await.unwrap();
        write_final(&mut stream, "q").await.unwrap();
        let mut accepted = pair.server.accept().await.unwrap();
        let server = pair.server.clone();
        let shutdown = tokio::spawn(async move { server.shutdown(Duration::from_secs(5)).await });
        settle().await;
        assert!(matches!(pair.client.open().await, Err(OpenError::PeerGoingAway(_))));
        assert_eq!(read_exactly(&mut accepted, 1).await, b"q");
        write_final(&mut accepted, "a").await.unwrap();
        assert_eq!(drain(&mut stream).await, (b"a".to_vec(), Ok(())));
        assert!(shutdown.await.unwrap());
        assert_eq!(pair.client_driver.await.unwrap(), Ok(()));
        assert_eq!(pair.server_driver.await.unwrap(), Ok(()));
    });
}

#[test]
fn sides_that_close_at_once_learn_each_others_reason() {
    run(async {
        let pair = Pair::new();
        settle().await;
        pair.client.close(ErrorCode::new(71), "client");
        pair.server.close(ErrorCode::new(72), "server");
        for (session, own, other, text) in
            [(&pair.client, 71, 72, "server"), (&pair.server, 72, 71, "client")]
        {
            let end = session.closed().await;
            assert_eq!(end.local, SessionError::Closed(ErrorCode::new(own)));
            assert_eq!(end.remote, Some(said(other, 0, text)));
        }
    });
}
