//! Heartbeats that are started again on a session whose peer refused them.

use std::time::Instant;

use bytes::{Buf, BytesMut};
use muxado::{
    Config, HeartbeatConfig, HeartbeatEvent, Side,
    proto::{Outbox, Session},
};
use muxado_tests::{Frame, decode};

fn sent(session: &mut Session) -> Vec<Frame> {
    let mut outbox = Outbox::default();
    session.transmit(&mut outbox, Instant::now());
    decode(&outbox.copy_to_bytes(outbox.len()))
}

#[test]
fn nothing_is_due_for_ever_where_heartbeats_were_refused() {
    for (side, id) in [(Side::Client, 3), (Side::Server, 2)] {
        let now = Instant::now();
        let mut session = Session::new(side, Config::default());
        session.set_typed(now);
        session.start_heartbeat(HeartbeatConfig::default(), now);
        session.ping(now);
        assert_eq!(sent(&mut session).len(), 1);
        session.receive(&mut BytesMut::from(&Frame::rst(id, 6).encode()[..]), now);
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
        assert_eq!(session.heartbeat_event(), (1, Some(HeartbeatEvent::Unsupported)));
    }
}
