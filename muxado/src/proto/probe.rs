//! Probes: signs of life of a peer that need no stream (`PROTOCOL §9.1`).
//!
//! Every implementation answers data for a stream that it does not know with a reset, and tells no application of either.
//! So a probe is a frame of data on an id that no stream has, and its answer the reset of that id.

use super::{frame::StreamId, session::Session, store::Store};

/// What a probe carries: as many bytes as allow for one useless frame, so that probes never use up what a peer of ours
/// tolerates.
pub(super) const PROBE: [u8; 64] = [0; 64];

/// How far the first probe is from the id of the next stream.
const FAR: u32 = 1 << 30;

/// The least distance of a probe from the id of the next stream, in either direction.
const NEAR: u32 = 1 << 28;

/// Which id the next probe is sent on: never one twice in a row of some hundred million, because a peer of ours answers
/// each id once, and never one that a stream is about to get.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct ProbeIds {
    last: Option<u32>,
}

impl ProbeIds {
    /// Returns the id of the next probe.
    pub(super) fn next_id(&mut self, store: &Store) -> StreamId {
        let next_stream = store.next_id();
        let is_far = |id: &u32| {
            (NEAR..=StreamId::MAX - NEAR).contains(&(id.wrapping_sub(next_stream) & StreamId::MAX))
        };
        let mut candidate = match self.last.filter(is_far) {
            Some(last) => last.wrapping_add(2),
            None => next_stream ^ FAR,
        };
        loop {
            candidate &= StreamId::MAX;
            if let Some(id) = StreamId::new(candidate).filter(|id| !store.is_id_taken(*id)) {
                self.last = Some(candidate);
                return id;
            }
            candidate = candidate.wrapping_add(2);
        }
    }
}

impl Session {
    /// Returns whether data for a stream that is not known is a probe of the peer: its id is far above all that the peer has
    /// opened.
    pub(super) fn is_probe(&self, id: StreamId, length: u32) -> bool {
        let beyond = id.as_u32().saturating_sub(self.store.highest_remote_id());
        length == PROBE.len() as u32 && beyond >= NEAR && !self.side().owns(id)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use bytes::{Buf, BytesMut};

    use super::*;
    use crate::{
        config::Config,
        proto::{HeartbeatConfig, Outbox, Side},
    };

    fn ids(side: Side, next_stream: u32) -> (Session, ProbeIds) {
        let mut session = Session::new(side, Config::default());
        session.set_next_id(StreamId::new(next_stream).unwrap());
        (session, ProbeIds::default())
    }

    #[test]
    fn each_probe_has_another_id_of_this_side() {
        for (side, next_stream) in [(Side::Client, 3), (Side::Server, 2), (Side::Client, StreamId::MAX)] {
            let (session, mut probes) = ids(side, next_stream);
            let mut seen = std::collections::HashSet::new();
            for _ in 0..5000 {
                let id = probes.next_id(&session.store);
                assert!(side.owns(id), "{id}");
                assert!(seen.insert(id), "{id} twice");
            }
        }
    }

    #[test]
    fn probe_keeps_away_from_the_ids_of_the_next_streams() {
        let (mut session, mut probes) = ids(Side::Server, 2);
        for next_stream in (0..64).map(|n| 2 + n * (1 << 25)) {
            session.set_next_id(StreamId::new(next_stream).unwrap());
            let distance = probes.next_id(&session.store).as_u32().wrapping_sub(next_stream) & StreamId::MAX;
            assert!((NEAR..=StreamId::MAX - NEAR + 2).contains(&distance), "{next_stream}: {distance}");
        }
    }

    #[test]
    fn probe_passes_over_zero_and_ids_in_use() {
        // The id opposite to this one is 0, which no frame of data may name.
        let (mut session, mut probes) = ids(Side::Server, 1 << 30);
        assert_eq!(probes.next_id(&session.store).as_u32(), 2);
        session.set_next_id(StreamId::new(4).unwrap());
        let key = session.open(None).unwrap();
        session.write(key, &mut &b"x"[..]).unwrap();
        assert_eq!(session.stream_id(key).map(StreamId::as_u32), Some(4));
        session.set_next_id(StreamId::new(1 << 30).unwrap());
        assert_eq!(probes.next_id(&session.store).as_u32(), 6);
    }

    #[test]
    fn probes_of_the_peer_are_answered_and_leave_nothing_behind() {
        let now = Instant::now();
        let mut client = Session::new(Side::Client, Config::default());
        let mut server = Session::new(Side::Server, Config::default());
        client.start_probes(HeartbeatConfig::default(), now);
        let (mut there, mut back, mut bytes) = (Outbox::default(), Outbox::default(), BytesMut::new());
        for beat in 1..=20_000 {
            client.ping(now);
            client.transmit(&mut there, now);
            bytes.extend_from_slice(there.chunk());
            there.advance(there.remaining());
            server.receive(&mut bytes, now);
            server.transmit(&mut back, now);
            bytes.extend_from_slice(back.chunk());
            back.advance(back.remaining());
            client.receive(&mut bytes, now);
            assert_eq!(client.heartbeat_event().0, beat, "it was answered");
        }
        assert!(!server.has_ended() && !client.has_ended());
        let last = StreamId::new((FAR ^ 3) + 2 * 19_999).unwrap();
        assert!(!server.store.was_recently_reset(last), "nothing is remembered of a probe");
    }

    #[test]
    fn peer_that_probes_and_does_not_read_the_answers_ends_the_session() {
        let now = Instant::now();
        let mut server = Session::new(Side::Server, Config::default());
        let probe = [&[0, 0, 64, 0x10, 0x40, 0, 0, 3][..], &PROBE].concat();
        let mut sent = 0;
        while !server.has_ended() && sent < 100_000 {
            server.receive(&mut BytesMut::from(&probe[..]), now);
            sent += 1;
        }
        assert!(sent < 6_000, "{sent} answers waited to be sent");
        let end = server.end().expect("it has ended").local;
        assert_eq!(end.code(), crate::error::ErrorCode::ENHANCE_YOUR_CALM, "{end}");
    }
}
