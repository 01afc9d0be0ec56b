//! Heartbeats in both roles, over raw frames and in virtual time.

use std::{pin::pin, time::Duration};

use muxado::{
    Config, Heartbeat, HeartbeatConfig, HeartbeatEvent, OnFailure, PingError, SessionError, Side, StreamType,
    TypedSession,
};
use muxado_tests::{
    EXT, Frame, Pair, Peer, assert_pending, each_side, local_id, remote_id, run, scripted_typed, settle,
};
use tokio::time::{Instant, sleep};

const HEARTBEAT: [u8; 4] = [0xFF; 4];

fn started(side: Side, config: HeartbeatConfig) -> (TypedSession, Heartbeat, Peer) {
    let (session, peer) = scripted_typed(side, Config::default());
    let heartbeat = Heartbeat::start(&session, config);
    (session, heartbeat, peer)
}

/// The first heartbeat: the stream's type and a token in one frame. Gives the token.
async fn first_token(peer: &mut Peer, id: u32) -> Vec<u8> {
    let frame = peer.recv().await.expect("a heartbeat");
    assert_eq!(frame, Frame::syn_ext(id, [&HEARTBEAT[..], &frame.payload[4..]].concat()));
    assert_eq!(frame.payload.len(), 8);
    frame.payload[4..].to_vec()
}

async fn next_token(peer: &mut Peer, id: u32) -> Vec<u8> {
    let frame = peer.recv().await.expect("a heartbeat");
    assert_eq!(frame, Frame::data(id, &frame.payload));
    assert_eq!(frame.payload.len(), 4);
    frame.payload.to_vec()
}

#[test]
fn a_token_is_sent_every_ten_seconds_and_the_first_after_one_interval() {
    each_side(|side| async move {
        let begin = Instant::now();
        let (_session, mut heartbeat, mut peer) = started(side, HeartbeatConfig::default());
        let id = local_id(side, 0);
        let mut token = first_token(&mut peer, id).await;
        for beat in 1..=5 {
            assert_eq!(begin.elapsed(), beat * Duration::from_secs(10));
            let delay = Duration::from_millis(3);
            sleep(delay).await;
            peer.send(Frame::data(id, &token)).await;
            assert_eq!(heartbeat.changed().await, HeartbeatEvent::RoundTrip(delay));
            assert_eq!(heartbeat.round_trip(), Some(delay));
            let last = std::mem::replace(&mut token, next_token(&mut peer, id).await);
            assert_ne!(last, token, "an old answer must not pass for a new one");
        }
    });
}

#[test]
fn stream_of_heartbeats_takes_no_place_of_another() {
    each_side(|side| async move {
        let (session, mut peer) = scripted_typed(side, Config::default().max_open_streams(1));
        let mut heartbeat = Heartbeat::start(&session, HeartbeatConfig::default());
        let token = first_token(&mut peer, local_id(side, 0)).await;
        peer.send(Frame::data(local_id(side, 0), &token)).await;
        assert!(matches!(heartbeat.changed().await, HeartbeatEvent::RoundTrip(_)));
        let first = session.open_typed(StreamType::new(7)).await.unwrap();
        let mut second = pin!(session.open_typed(StreamType::new(7)));
        assert_pending(second.as_mut());
        drop(first);
        second.await.unwrap();
    });
}

#[test]
fn echo_is_understood_in_pieces() {
    each_side(|side| async move {
        let (_session, mut heartbeat, mut peer) = started(side, HeartbeatConfig::default());
        let id = local_id(side, 0);
        let token = first_token(&mut peer, id).await;
        for byte in &token {
            assert_eq!(heartbeat.round_trip(), None);
            peer.send(Frame::data(id, [*byte])).await;
            sleep(Duration::from_secs(1)).await;
        }
        assert_eq!(heartbeat.changed().await, HeartbeatEvent::RoundTrip(Duration::from_secs(3)));
    });
}

#[test]
fn missing_answer_closes_the_session_after_the_tolerance() {
    each_side(|side| async move {
        let begin = Instant::now();
        let (session, mut heartbeat, mut peer) = started(side, HeartbeatConfig::default());
        first_token(&mut peer, local_id(side, 0)).await;
        let text = peer.expect_closing(0xFF).await;
        assert_eq!(text, "heartbeat timeout");
        assert_eq!(begin.elapsed(), Duration::from_secs(25));
        peer.finish().await;
        let lost = SessionError::HeartbeatTimeout(Duration::from_secs(15));
        assert_eq!(session.session().closed().await.local, lost);
        assert_eq!(heartbeat.changed().await, HeartbeatEvent::TimedOut);
        assert_eq!(heartbeat.changed().await, HeartbeatEvent::Ended);
        assert_eq!(heartbeat.ping().await, Err(PingError::SessionClosed(lost)));
    });
}

#[test]
fn missing_answer_is_only_reported_if_so_configured() {
    each_side(|side| async move {
        let config = HeartbeatConfig::default().on_failure(OnFailure::Report);
        let begin = Instant::now();
        let (session, mut heartbeat, mut peer) = started(side, config);
        let id = local_id(side, 0);
        let late = first_token(&mut peer, id).await;
        assert_eq!(heartbeat.changed().await, HeartbeatEvent::TimedOut);
        assert_eq!(begin.elapsed(), Duration::from_secs(25));
        assert!(!session.session().is_closed());
        // There is never more than one on its way; a late answer counts, and heartbeats go on.
        sleep(Duration::from_secs(1)).await;
        peer.send(Frame::data(id, &late)).await;
        assert_eq!(heartbeat.changed().await, HeartbeatEvent::RoundTrip(Duration::from_secs(16)));
        next_token(&mut peer, id).await;
        assert_eq!(begin.elapsed(), Duration::from_secs(26));
    });
}

#[test]
fn beat_on_demand_is_answered_or_times_out_also_after_a_reported_failure() {
    each_side(|side| async move {
        let config = HeartbeatConfig::default().on_failure(OnFailure::Report);
        let (_session, mut heartbeat, mut peer) = started(side, config);
        first_token(&mut peer, local_id(side, 0)).await;
        assert_eq!(heartbeat.changed().await, HeartbeatEvent::TimedOut);
        let begin = Instant::now();
        assert_eq!(heartbeat.ping().await, Err(PingError::TimedOut(Duration::from_secs(15))));
        assert!(begin.elapsed() <= Duration::from_secs(15));
    });
}

#[test]
fn anything_the_peer_says_is_a_sign_of_life() {
    each_side(|side| async move {
        let begin = Instant::now();
        let (session, mut heartbeat, mut peer) = started(side, HeartbeatConfig::default());
        first_token(&mut peer, local_id(side, 0)).await;
        sleep(Duration::from_secs(12)).await;
        peer.send(Frame::syn(remote_id(side, 0), [0, 0, 0, 1])).await;
        let _stream = session.accept_typed().await;
        assert_eq!(heartbeat.changed().await, HeartbeatEvent::TimedOut);
        assert_eq!(begin.elapsed(), Duration::from_secs(10 + 12 + 15));
    });
}

#[test]
fn interval_tolerance_and_type_are_configurable() {
    each_side(|side| async move {
        let config = HeartbeatConfig::default()
            .interval(Duration::from_millis(200))
            .tolerance(Duration::from_millis(700))
            .stream_type(0x0BEA_7000);
        let begin = Instant::now();
        let (_session, _heartbeat, mut peer) = started(side, config);
        let frame = peer.recv().await.unwrap();
        assert_eq!((frame.number(0), frame.payload.len()), (0x0BEA_7000, 8));
        assert_eq!(begin.elapsed(), Duration::from_millis(200));
        peer.expect_closing(0xFF).await;
        assert_eq!(begin.elapsed(), Duration::from_millis(900));
    });
}

#[test]
fn beat_on_demand_is_sent_at_once_and_gives_the_round_trip() {
    each_side(|side| async move {
        let (_session, heartbeat, mut peer) = started(side, HeartbeatConfig::default());
        let id = local_id(side, 0);
        let begin = Instant::now();
        let answering = async {
            let token = first_token(&mut peer, id).await;
            assert_eq!(begin.elapsed(), Duration::ZERO);
            sleep(Duration::from_millis(40)).await;
            peer.send(Frame::data(id, &token)).await;
        };
        // Two at a time share one token.
        let (first, second, ()) = tokio::join!(heartbeat.ping(), heartbeat.ping(), answering);
        assert_eq!(first, Ok(Duration::from_millis(40)));
        assert_eq!(second, Ok(Duration::from_millis(40)));
        assert_eq!(heartbeat.round_trip(), Some(Duration::from_millis(40)));
        peer.expect_silence().await;
        // The next regular one is an interval later.
        next_token(&mut peer, id).await;
        assert_eq!(begin.elapsed(), Duration::from_secs(10));
    });
}

#[test]
fn dropped_beat_leaves_heartbeats_running() {
    each_side(|side| async move {
        let (_session, heartbeat, mut peer) = started(side, HeartbeatConfig::default());
        let id = local_id(side, 0);
        assert!(tokio::time::timeout(Duration::from_millis(5), heartbeat.ping()).await.is_err());
        let token = first_token(&mut peer, id).await;
        peer.send(Frame::data(id, &token)).await;
        next_token(&mut peer, id).await;
    });
}

#[test]
fn peer_that_ends_heartbeat_streams_is_asked_again_and_lives_as_long_as_it_ends_them() {
    for end in [Frame::fin(0), Frame::rst(0, 5), Frame::rst(0, 6)] {
        each_side(|side| {
            let end = end.clone();
            async move {
                let (session, mut heartbeat, mut peer) = started(side, HeartbeatConfig::default());
                let fin = end.kind == muxado_tests::DATA;
                for n in 0..100 {
                    let (id, since) = (local_id(side, n), Instant::now());
                    first_token(&mut peer, id).await;
                    assert_eq!(since.elapsed().as_secs(), 10);
                    peer.send(Frame { id, ..end.clone() }).await;
                    assert_eq!(heartbeat.changed().await, HeartbeatEvent::Unsupported);
                    // Never a FIN alone: one implementation answers that with an endless flood.
                    if fin {
                        peer.expect(Frame::rst(id, 6)).await;
                    }
                    assert_eq!(session.session().stats().streams_open, 0);
                }
                assert!(!session.session().is_closed());
            }
        });
    }
}

#[test]
fn heartbeat_that_is_asked_for_goes_on_a_new_stream_where_the_last_was_refused() {
    each_side(|side| async move {
        let (_session, heartbeat, mut peer) = started(side, HeartbeatConfig::default());
        for n in 0..3 {
            let beating = tokio::spawn({
                let heartbeat = heartbeat.clone();
                async move { heartbeat.ping().await }
            });
            first_token(&mut peer, local_id(side, n)).await;
            peer.send(Frame::rst(local_id(side, n), 6)).await;
            assert_eq!(beating.await.unwrap(), Err(PingError::Unsupported));
        }
    });
}

#[test]
fn peer_that_refuses_heartbeats_and_falls_silent_is_dead_whatever_is_open() {
    for end in [Frame::fin(0), Frame::rst(0, 6)] {
        each_side(|side| {
            let end = end.clone();
            async move {
                let (session, _heartbeat, mut peer) = started(side, HeartbeatConfig::default());
                peer.send(Frame::syn(remote_id(side, 0), [0, 0, 0, 1])).await;
                let _open = session.accept_typed().await.unwrap();
                let id = local_id(side, 0);
                first_token(&mut peer, id).await;
                peer.send(Frame { id, ..end }).await;
                let refused = Instant::now();
                let reason = session.session().closed().await.local;
                assert_eq!(reason, SessionError::HeartbeatTimeout(Duration::from_secs(15)));
                // An interval, the tolerance, and the time that closing may take.
                assert_eq!(refused.elapsed(), Duration::from_secs(10 + 15 + 2));
            }
        });
    }
}

#[test]
fn peer_that_refuses_heartbeats_and_sends_on_something_else_lives() {
    each_side(|side| async move {
        let (session, _heartbeat, mut peer) = started(side, HeartbeatConfig::default());
        let id = remote_id(side, 0);
        peer.send(Frame::syn(id, [0, 0, 0, 1])).await;
        let _open = session.accept_typed().await.unwrap();
        first_token(&mut peer, local_id(side, 0)).await;
        peer.send(Frame::rst(local_id(side, 0), 6)).await;
        // The second stream of heartbeats is left as it is.
        for _ in 0..30 {
            sleep(Duration::from_secs(14)).await;
            peer.send(Frame::data(id, "x")).await;
        }
        assert!(!session.session().is_closed());
    });
}

#[test]
fn wrong_answers_are_no_answer() {
    each_side(|side| async move {
        let (_session, heartbeat, mut peer) = started(side, HeartbeatConfig::default());
        let id = local_id(side, 0);
        let token = first_token(&mut peer, id).await;
        peer.send(Frame::data(id, [0, 0, 0, 0])).await;
        settle().await;
        assert_eq!(heartbeat.round_trip(), None);
        peer.send(Frame::data(id, &token)).await;
        settle().await;
        assert!(heartbeat.round_trip().is_some());
    });
}

#[test]
fn tokens_of_the_peer_are_sent_back_and_never_accepted() {
    each_side(|side| async move {
        let (session, mut peer) = scripted_typed(side, Config::default());
        let id = remote_id(side, 0);
        peer.send(Frame::syn(id, [&HEARTBEAT[..], b"abcd"].concat())).await;
        peer.expect(Frame::data(id, "abcd")).await;
        for token in [[0; 4], [0xFF; 4], [1, 2, 3, 4]] {
            peer.send(Frame::data(id, token)).await;
            peer.expect(Frame::data(id, token)).await;
        }
        assert_pending(std::pin::pin!(session.accept_typed()));
    });
}

#[test]
fn split_tokens_are_sent_back_whole() {
    each_side(|side| async move {
        let (_session, mut peer) = scripted_typed(side, Config::default());
        let id = remote_id(side, 0);
        peer.send(Frame::syn(id, [0xFF, 0xFF])).await;
        peer.send(Frame::data(id, [0xFF, 0xFF, b'a'])).await;
        peer.send(Frame::data(id, "b")).await;
        peer.send(Frame::data(id, "c")).await;
        peer.expect_silence().await;
        peer.send(Frame::data(id, "de")).await;
        peer.expect(Frame::data(id, "abcd")).await;
        peer.send(Frame::data(id, "fgh")).await;
        peer.expect(Frame::data(id, "efgh")).await;
    });
}

#[test]
fn of_many_tokens_that_come_at_once_the_newest_is_answered() {
    each_side(|side| async move {
        let (_session, mut peer) = scripted_typed(side, Config::default());
        let id = remote_id(side, 0);
        peer.send(Frame::syn(id, [&HEARTBEAT[..], b"aaaabbbbcccc"].concat())).await;
        peer.expect(Frame::data(id, "cccc")).await;
        peer.expect_silence().await;
    });
}

#[test]
fn fin_of_the_peers_heartbeat_stream_is_answered_with_a_fin() {
    each_side(|side| async move {
        let (session, mut peer) = scripted_typed(side, Config::default());
        let id = remote_id(side, 0);
        peer.send(Frame::syn(id, [&HEARTBEAT[..], b"abcd"].concat())).await;
        peer.expect(Frame::data(id, "abcd")).await;
        peer.send(Frame::fin(id)).await;
        peer.expect(Frame::fin(id)).await;
        peer.expect_silence().await;
        assert_eq!(session.session().stats().streams_open, 0);
    });
}

#[test]
fn session_that_the_peer_drains_is_not_closed_by_heartbeats() {
    // The GOAWAY crosses our first heartbeat: the peer has not looked at its stream.
    each_side(|side| async move {
        let (session, mut heartbeat, mut peer) = started(side, HeartbeatConfig::default());
        let id = remote_id(side, 0);
        peer.send(Frame::syn(id, [0, 0, 0, 1])).await;
        let _working = session.accept_typed().await.unwrap();
        first_token(&mut peer, local_id(side, 0)).await;
        peer.send(Frame::go_away(0, 0, "")).await;
        assert_eq!(heartbeat.changed().await, HeartbeatEvent::Unsupported);
        sleep(Duration::from_secs(120)).await;
        assert!(!session.session().is_closed(), "the peer still works on its stream");
        peer.expect_silence().await;
    });
}

#[test]
fn heartbeats_open_no_stream_behind_a_received_go_away() {
    each_side(|side| async move {
        let (session, _heartbeat, mut peer) = started(side, HeartbeatConfig::default());
        peer.send(Frame::syn(remote_id(side, 0), [0, 0, 0, 1])).await;
        let _working = session.accept_typed().await.unwrap();
        peer.send(Frame::go_away(0, 0, "")).await;
        sleep(Duration::from_secs(60)).await;
        peer.expect_silence().await;
        assert!(!session.session().is_closed());
    });
}

#[test]
fn heartbeats_run_both_ways_on_one_session_for_hours() {
    run(async {
        let pair = Pair::new();
        let (client, server) = pair.typed();
        let heartbeats = [
            Heartbeat::start(&client, HeartbeatConfig::default()),
            Heartbeat::start(&server, HeartbeatConfig::default()),
        ];
        sleep(Duration::from_secs(6 * 3600 + 1)).await;
        for heartbeat in &heartbeats {
            assert_eq!(heartbeat.round_trip(), Some(Duration::ZERO));
        }
        assert!(!client.session().is_closed());
        assert_eq!(pair.client_log.frames().len(), 2 * 6 * 360, "a token and an echo every ten seconds");
        // Heartbeats are no work in progress.
        assert!(client.session().shutdown(Duration::from_secs(1)).await);
    });
}

#[test]
fn beat_in_a_pair_is_answered_past_bulk_data() {
    run(async {
        let pair = Pair::new();
        let (client, server) = pair.typed();
        let mut bulk = client.open_typed(muxado::StreamType::new(1)).await.unwrap();
        let writing =
            tokio::spawn(
                async move { tokio::io::AsyncWriteExt::write_all(&mut bulk, &vec![0; 1 << 20]).await },
            );
        let _unread = server.accept_typed().await.unwrap();
        let heartbeat = Heartbeat::start(&client, HeartbeatConfig::default());
        assert_eq!(heartbeat.ping().await, Ok(Duration::ZERO));
        assert!(!writing.is_finished());
        let echo = pair.server_log.frames().into_iter().find(|frame| frame.payload.len() == 4);
        assert!(echo.is_some_and(|frame| frame.flags & !EXT == 0));
    });
}

#[test]
fn refusal_is_reported_once_and_then_the_end() {
    each_side(|side| async move {
        let (session, mut heartbeat, mut peer) = started(side, HeartbeatConfig::default());
        let id = local_id(side, 0);
        first_token(&mut peer, id).await;
        peer.send(Frame::rst(id, 6)).await;
        assert_eq!(heartbeat.changed().await, HeartbeatEvent::Unsupported);
        session.session().close(muxado::ErrorCode::NO_ERROR, "");
        assert_eq!(heartbeat.changed().await, HeartbeatEvent::Ended);
    });
}
