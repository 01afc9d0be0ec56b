//! Sessions of no use: no stream is open and no frame comes or goes. They are closed after a time.

use std::time::Duration;

use muxado::{Config, Heartbeat, HeartbeatConfig, OnFailure, Session, SessionEnd, SessionError, Side};
use muxado_tests::{
    Frame, Pair, Peer, each_side, local_id, remote_id, run, scripted, scripted_typed, scripted_with_driver,
};
use tokio::{
    io::AsyncWriteExt,
    time::{Instant, sleep},
};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// A session with this limit, whose peer is scripted.
fn limited(side: Side, limit: Duration) -> (Session, Peer) {
    scripted(side, Config::default().idle_timeout(Some(limit)))
}

/// When the session closes for idleness, since `begin`; it must not before `rest` is over.
async fn closed_after(peer: &mut Peer, begin: Instant, rest: Duration) -> Duration {
    sleep(rest - Duration::from_millis(1)).await;
    let text = peer.expect_closing(0).await;
    assert!(text.contains("(Config::idle_timeout)"), "{text}");
    begin.elapsed()
}

#[test]
fn session_that_nobody_ever_uses_is_closed_after_an_hour() {
    each_side(|side| async move {
        let begin = Instant::now();
        let (session, mut peer, driver) = scripted_with_driver(side, Config::default(), 1024);
        sleep(HOUR - Duration::from_millis(1)).await;
        assert!(!session.is_closed());
        let text = peer.expect_closing(0).await;
        assert_eq!(text, "no stream was open and no frame came or went for 3600s (Config::idle_timeout)");
        assert_eq!(begin.elapsed(), HOUR);
        peer.finish().await;
        let end = SessionEnd { local: SessionError::IdleTimeout(HOUR), remote: None };
        assert_eq!(session.closed().await, end);
        assert!(end.local.is_clean());
        assert_eq!(driver.await.unwrap(), Ok(()));
    });
}

#[test]
fn frames_of_the_peer_count_and_half_a_header_does_not() {
    each_side(|side| async move {
        let begin = Instant::now();
        let (_session, mut peer) = limited(side, 10 * MINUTE);
        for _ in 0..5 {
            sleep(9 * MINUTE).await;
            peer.send(Frame::rst(remote_id(side, 0), 6)).await;
        }
        sleep(MINUTE).await;
        peer.send_bytes(&[0, 0, 4]).await;
        assert_eq!(closed_after(&mut peer, begin, 9 * MINUTE).await, 55 * MINUTE);
    });
}

#[test]
fn frames_to_the_peer_count() {
    each_side(|side| async move {
        let begin = Instant::now();
        let (session, mut peer) = limited(side, 10 * MINUTE);
        let mut stream = session.open().await.unwrap();
        stream.write_all(b"x").await.unwrap();
        peer.expect(Frame::syn_ext(local_id(side, 0), "x")).await;
        sleep(25 * MINUTE).await;
        // The last thing that happens on it is the reset that this side sends.
        drop(stream);
        peer.expect(Frame::rst(local_id(side, 0), 6)).await;
        assert_eq!(closed_after(&mut peer, begin, 10 * MINUTE).await, 35 * MINUTE);
    });
}

#[test]
fn open_stream_keeps_a_silent_session() {
    each_side(|side| async move {
        let begin = Instant::now();
        let (session, mut peer) = limited(side, 10 * MINUTE);
        let id = remote_id(side, 0);
        peer.send(Frame::syn(id, "x")).await;
        let stream = session.accept().await.unwrap();
        sleep(125 * MINUTE).await;
        assert!(!session.is_closed());
        peer.send(Frame::rst(id, 6)).await;
        assert_eq!(closed_after(&mut peer, begin, 10 * MINUTE).await, 135 * MINUTE);
        drop(stream);
    });
}

#[test]
fn stream_that_is_yet_to_be_written_to_keeps_a_silent_session() {
    each_side(|side| async move {
        let begin = Instant::now();
        let (session, mut peer) = limited(side, 10 * MINUTE);
        let stream = session.open().await.unwrap();
        sleep(125 * MINUTE).await;
        assert!(!session.is_closed());
        drop(stream);
        // It left no trace, so the time counts from when it was last found open.
        assert_eq!(closed_after(&mut peer, begin, 5 * MINUTE).await, 130 * MINUTE);
    });
}

#[test]
fn heartbeats_of_either_side_keep_a_session() {
    each_side(|side| async move {
        let pair = Pair::with(Config::default().idle_timeout(Some(MINUTE)), 1024);
        let (client, server) = pair.typed();
        let beating = if side == Side::Client { &client } else { &server };
        let _heartbeat = Heartbeat::start(beating, HeartbeatConfig::default().interval(50 * MINUTE / 60));
        sleep(24 * HOUR - MINUTE).await;
        assert!(!client.session().is_closed() && !server.session().is_closed());
    });
}

#[test]
fn streams_of_heartbeats_are_no_use_of_a_session() {
    each_side(|side| async move {
        let begin = Instant::now();
        let (session, mut peer) = scripted_typed(side, Config::default());
        // Ours is never answered, theirs has one token.
        let config = HeartbeatConfig::default().on_failure(OnFailure::Report);
        let _heartbeat = Heartbeat::start(&session, config);
        peer.recv().await.expect("a heartbeat");
        sleep(MINUTE).await;
        let id = remote_id(side, 0);
        peer.send(Frame::syn(id, [&[0xFF; 4][..], b"abcd"].concat())).await;
        peer.expect(Frame::data(id, "abcd")).await;
        assert_eq!(session.session().stats().streams_open, 2);
        let last_frame = begin.elapsed();
        assert_eq!(closed_after(&mut peer, begin, HOUR).await, last_frame + HOUR);
    });
}

#[test]
fn without_a_limit_a_session_is_never_closed() {
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default().idle_timeout(None));
        sleep(23 * HOUR).await;
        peer.expect_silence().await;
        assert!(!session.is_closed());
    });
}

#[test]
fn sides_with_the_same_limit_end_together_in_good_order() {
    run(async {
        let pair = Pair::new();
        let begin = Instant::now();
        let ends = [pair.client.closed().await, pair.server.closed().await];
        assert_eq!(begin.elapsed(), HOUR);
        // One is first, and the other may hear of it before it looks at its own limit.
        assert!(ends.iter().any(|end| end.local == SessionError::IdleTimeout(HOUR)));
        assert!(ends.iter().all(|end| end.local.is_clean()), "{ends:?}");
        assert_eq!(pair.client_driver.await.unwrap(), Ok(()));
        assert_eq!(pair.server_driver.await.unwrap(), Ok(()));
    });
}
