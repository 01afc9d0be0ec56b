//! Probes: signs of life of a session without typed streams, over raw frames and in virtual time.

use std::time::Duration;

use muxado::{
    Config, Heartbeat, HeartbeatConfig, HeartbeatEvent, OnFailure, PingError, Session, SessionError, Side,
    StreamType,
};
use muxado_tests::{
    Frame, Pair, Peer, assert_pending, each_side, local_id, remote_id, run, scripted, scripted_typed, settle,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{Instant, sleep},
};

const STREAM_CLOSED: u32 = 4;

fn started(side: Side, config: HeartbeatConfig) -> (Session, Heartbeat, Peer) {
    let (session, mut peer) = scripted(side, Config::default());
    peer.law.probes();
    let heartbeat = session.keepalive(config);
    (session, heartbeat, peer)
}

/// The next frame is a probe, as the law says; returns its id.
async fn probe(peer: &mut Peer) -> u32 {
    let frame = peer.recv().await.expect("a probe");
    assert_eq!(frame, Frame::data(frame.id, [0; 64]));
    frame.id
}

#[test]
fn probe_is_sent_every_interval_and_its_reset_is_the_answer() {
    each_side(|side| async move {
        let begin = Instant::now();
        let (session, mut heartbeat, mut peer) = started(side, HeartbeatConfig::default());
        for beat in 1..=5 {
            let id = probe(&mut peer).await;
            assert_eq!(begin.elapsed(), beat * Duration::from_secs(10));
            let delay = Duration::from_millis(3);
            sleep(delay).await;
            // The reset of another id is none.
            peer.send_all(&[Frame::rst(id ^ 0x100, STREAM_CLOSED), Frame::rst(id, STREAM_CLOSED)]).await;
            assert_eq!(heartbeat.changed().await, HeartbeatEvent::RoundTrip(delay));
            assert_eq!(heartbeat.round_trip(), Some(delay));
        }
        assert_eq!(session.stats().resets_received, 0, "no stream was reset");
    });
}

#[test]
fn silent_peer_is_lost_after_the_tolerance() {
    each_side(|side| async move {
        let begin = Instant::now();
        let (session, mut heartbeat, mut peer) = started(side, HeartbeatConfig::default());
        probe(&mut peer).await;
        assert_eq!(peer.expect_closing(0xFF).await, "heartbeat timeout");
        assert_eq!(begin.elapsed(), Duration::from_secs(25));
        peer.finish().await;
        assert_eq!(session.closed().await.local, SessionError::HeartbeatTimeout(Duration::from_secs(15)));
        assert_eq!(heartbeat.changed().await, HeartbeatEvent::TimedOut);
    });
}

#[test]
fn whatever_comes_is_a_sign_of_life_and_a_missing_answer_can_be_reported_only() {
    each_side(|side| async move {
        let config = HeartbeatConfig::default().on_failure(OnFailure::Report);
        let (session, mut heartbeat, mut peer) = started(side, config);
        let id = probe(&mut peer).await;
        sleep(Duration::from_secs(10)).await;
        peer.send(Frame::wndinc(remote_id(side, 0), 1)).await;
        let alive_at = Instant::now();
        assert_eq!(heartbeat.changed().await, HeartbeatEvent::TimedOut);
        assert_eq!(alive_at.elapsed(), Duration::from_secs(15));
        assert!(!session.is_closed());
        // It may still come, and the next one is sent then.
        peer.send(Frame::rst(id, STREAM_CLOSED)).await;
        assert!(matches!(heartbeat.changed().await, HeartbeatEvent::RoundTrip(_)));
        assert_ne!(probe(&mut peer).await, id);
    });
}

#[test]
fn ping_sends_one_at_once_and_is_answered_while_the_peer_goes_away() {
    each_side(|side| async move {
        let (_session, heartbeat, mut peer) = started(side, HeartbeatConfig::default());
        peer.send(Frame::go_away(0, 0, "")).await;
        settle().await;
        let answer = async {
            let id = probe(&mut peer).await;
            peer.send(Frame::rst(id, STREAM_CLOSED)).await;
            peer.expect_silence().await;
        };
        let (round_trip, ()) = tokio::join!(heartbeat.ping(), answer);
        round_trip.unwrap();
        drop(peer);
        let error = heartbeat.ping().await.unwrap_err();
        assert!(matches!(error, PingError::SessionClosed(_)), "{error}");
    });
}

#[test]
fn sessions_of_ours_answer_probes_for_ever_and_tell_nobody() {
    run(async {
        let Pair { client, server, .. } = Pair::new();
        let config = HeartbeatConfig::default().interval(Duration::from_millis(100));
        let mut beats = [client.keepalive(config), server.keepalive(config)];
        let (mut near, mut far) = (Box::pin(client.accept()), Box::pin(server.accept()));
        // More than either side would tolerate of frames that are of no use.
        for _ in 0..12_000 {
            for heartbeat in &mut beats {
                assert!(matches!(heartbeat.changed().await, HeartbeatEvent::RoundTrip(_)));
            }
        }
        assert_pending(near.as_mut());
        assert_pending(far.as_mut());
        drop((near, far));
        let mut stream = client.open().await.unwrap();
        stream.write_all(b"on it goes").await.unwrap();
        let mut said = [0; 10];
        server.accept().await.unwrap().read_exact(&mut said).await.unwrap();
        assert_eq!(&said, b"on it goes");
    });
}

#[test]
fn session_with_probes_is_in_use() {
    run(async {
        let Pair { client, server, .. } = Pair::new();
        let _keepalive = client.keepalive(HeartbeatConfig::default());
        sleep(Duration::from_secs(3 * 3600)).await;
        assert!(!client.is_closed() && !server.is_closed());
    });
}

#[test]
fn probes_take_the_place_of_heartbeats_and_the_reverse() {
    each_side(|side| async move {
        let (typed, mut peer) = scripted_typed(side, Config::default());
        peer.law.probes();
        let config = HeartbeatConfig::default();
        let _on_a_stream = Heartbeat::start(&typed, config);
        let first = peer.recv().await.expect("a heartbeat");
        assert_eq!(first, Frame::syn_ext(local_id(side, 0), &first.payload));
        // Its stream is given up, and its answer not waited for.
        let keepalive = typed.session().keepalive(config);
        peer.expect(Frame::rst(local_id(side, 0), 6)).await;
        let id = probe(&mut peer).await;
        peer.send(Frame::rst(id, STREAM_CLOSED)).await;
        settle().await;
        assert!(keepalive.round_trip().is_some());
        let _on_a_stream = Heartbeat::start(&typed, config);
        let second = peer.recv().await.expect("a heartbeat");
        assert_eq!(second, Frame::syn_ext(local_id(side, 1), &second.payload));
    });
}

#[test]
fn probes_of_the_peer_are_answered_on_a_typed_session_beside_its_streams() {
    run(async {
        let pair = Pair::new();
        let (client, server) = pair.typed();
        let mut keepalive = server.session().keepalive(HeartbeatConfig::default());
        let mut beating = Heartbeat::start(&client, HeartbeatConfig::default());
        for _ in 0..10 {
            assert!(matches!(keepalive.changed().await, HeartbeatEvent::RoundTrip(_)));
            assert!(matches!(beating.changed().await, HeartbeatEvent::RoundTrip(_)));
        }
        let mut stream = client.open_typed(StreamType::new(7)).await.unwrap();
        stream.write_all(b"x").await.unwrap();
        assert_eq!(server.accept_typed().await.unwrap().stream_type(), StreamType::new(7));
    });
}
