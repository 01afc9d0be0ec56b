//! Heartbeats on a session whose peer refuses them.

use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use muxado::{
    Config, HeartbeatConfig, HeartbeatEvent, Side,
    proto::{Outbox, Session},
};
use muxado_tests::{Frame, decode, encode};

fn sent(session: &mut Session) -> Vec<Frame> {
    let mut outbox = Outbox::default();
    session.transmit(&mut outbox, Instant::now());
    decode(&outbox.copy_to_bytes(outbox.len()))
}

#[test]
fn refused_heartbeats_are_due_again_after_an_interval_and_never_twice_at_a_time() {
    for (side, id) in [(Side::Client, 3), (Side::Server, 2)] {
        let config = HeartbeatConfig::default();
        let mut now = Instant::now();
        let mut session = Session::new(side, Config::default());
        session.set_typed(now);
        session.start_heartbeat(config, now);
        session.ping(now);
        for n in 0..5 {
            let id = id + 2 * n;
            assert_eq!(sent(&mut session).iter().map(|frame| frame.id).collect::<Vec<_>>(), [id]);
            session.receive(&mut BytesMut::from(&Frame::rst(id, 6).encode()[..]), now);
            assert_eq!(session.heartbeat_event(), (u64::from(n) + 1, Some(HeartbeatEvent::Unsupported)));
            // To start them again changes nothing.
            session.start_heartbeat(config, now);
            let due = session.poll_timeout().expect("the next one");
            assert_eq!(due - now, Duration::from_secs(10));
            now = due;
            session.handle_timeout(now);
        }
        assert!(session.poll_timeout().is_some_and(|next| next > now), "the same time is due again");
    }
}

#[test]
fn nothing_is_due_for_ever_where_a_peer_that_goes_away_refused_heartbeats() {
    for (side, id) in [(Side::Client, 3), (Side::Server, 2)] {
        let now = Instant::now();
        let mut session = Session::new(side, Config::default());
        session.set_typed(now);
        session.start_heartbeat(HeartbeatConfig::default(), now);
        session.ping(now);
        assert_eq!(sent(&mut session).len(), 1);
        let frames = [Frame::go_away(0, 0, ""), Frame::rst(id, 6)];
        session.receive(&mut BytesMut::from(&encode(&frames)[..]), now);
        assert_eq!(session.heartbeat_event(), (1, Some(HeartbeatEvent::Unsupported)));

        session.start_heartbeat(HeartbeatConfig::default(), now);
        let mut due = session.poll_timeout();
        for _ in 0..3 {
            let Some(at) = due.filter(|_| !session.has_ended()) else { break };
            session.handle_timeout(at);
            due = session.poll_timeout();
            // Else its driver would have no rest.
            assert!(due.is_none_or(|next| next > at), "the same time is due again");
        }
        assert!(sent(&mut session).iter().all(|frame| frame.kind == muxado_tests::GOAWAY));
    }
}
