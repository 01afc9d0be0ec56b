//! Probes: signs of life of a peer that need no stream (`PROTOCOL §9.1`).
//!
//! Every implementation answers data for a stream that it does not know with a reset, and tells no application of either.
//! So a probe is a frame of data on an id that no stream has, and its answer the reset of that id.

use super::{frame::StreamId, store::Store};

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::Config,
        proto::{Session, Side},
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
}
