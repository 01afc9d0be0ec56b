//! Stream ids: which one is next, whose one is, and which were answered last (`PROTOCOL §4.1`).

use std::collections::VecDeque;

use super::{
    frame::{Flags, FrameHeader, StreamId},
    session::Session,
    stream::StreamKey,
};

/// Which end of the connection this is. It decides only which stream ids are whose.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Side {
    /// The side that connected: odd ids, from 3.
    Client,
    /// The side that was connected to: even ids, from 2.
    Server,
}

impl Side {
    /// The first id this side uses, as in the other implementations.
    pub(super) const fn first_id(self) -> u32 {
        match self {
            Self::Client => 3,
            Self::Server => 2,
        }
    }

    /// Whether this side may open streams with this id.
    pub const fn owns(self, id: StreamId) -> bool {
        (id.as_u32() & 1 == 1) == matches!(self, Self::Client)
    }
}

/// The ids that were last reset or answered with a reset, so that each gets one answer only.
#[derive(Debug, Default)]
pub(super) struct RecentlyReset {
    /// In the order in which they came; some have been removed since.
    order: VecDeque<StreamId>,
    /// The remembered ids by number: a peer that opens streams with low ids must not cost a look at all of them.
    sorted: Vec<StreamId>,
}

impl RecentlyReset {
    /// Ids remembered.
    const CAPACITY: usize = 1024;

    pub(super) fn insert(&mut self, id: StreamId) {
        if self.contains(id) {
            return;
        }
        if self.order.len() == Self::CAPACITY
            && let Some(oldest) = self.order.pop_front()
        {
            self.remove(oldest);
        }
        self.order.push_back(id);
        if let Err(place) = self.place(id) {
            self.sorted.insert(place, id);
        }
    }

    pub(super) fn contains(&self, id: StreamId) -> bool {
        self.place(id).is_ok()
    }

    pub(super) fn remove(&mut self, id: StreamId) {
        if let Ok(place) = self.place(id) {
            self.sorted.remove(place);
        }
    }

    pub(super) fn shrink(&mut self) {
        self.order.shrink_to_fit();
        self.sorted.shrink_to_fit();
    }

    /// Where an id is, or belongs. Ids rise as a rule: then that is the end.
    fn place(&self, id: StreamId) -> Result<usize, usize> {
        match self.sorted.last() {
            Some(last) if *last >= id => self.sorted.binary_search(&id),
            _ => Err(self.sorted.len()),
        }
    }
}

impl Session {
    /// Has the next stream of this side's that reaches the wire get this id, or the next one above
    /// it that is not in use.
    ///
    /// For tests of what happens when ids begin again: a session gets there after 2³⁰ streams.
    ///
    /// # Panics
    ///
    /// When the id is the peer's to use (`PROTOCOL §4.1`), or below this side's first.
    #[doc(hidden)]
    pub fn set_next_id(&mut self, id: StreamId) {
        assert!(self.side.owns(id), "id {id} is for the other side to use");
        assert!(id.as_u32() >= self.side.first_id(), "id {id} is below the first one");
        self.next_id = id.as_u32();
    }

    /// The next id of ours that no open stream has.
    pub(super) fn take_id(&mut self, key: StreamKey) -> Option<StreamId> {
        let id = loop {
            let id = StreamId::new(self.next_id)?;
            self.next_id = match self.next_id.checked_add(2).filter(|next| *next <= StreamId::MAX) {
                Some(next) => next,
                None => {
                    self.wrapped = true;
                    self.side.first_id()
                }
            };
            if !self.ids.contains_key(&id) {
                break id;
            }
        };
        self.ids.insert(id, key.index);
        self.stats.streams_opened += 1;
        let stream = self.stream_mut(key)?;
        stream.id = Some(id);
        let apart = stream.apart;
        self.control_streams.on_wire += usize::from(apart);
        Some(id)
    }

    pub(super) fn key_of(&self, id: StreamId) -> Option<StreamKey> {
        let index = *self.ids.get(&id)?;
        let serial = self.streams.get(index as usize)?.serial;
        Some(StreamKey { index, serial })
    }

    /// The header of the frame that follows every GOAWAY after which the session goes on: the Go
    /// original reads eight bytes more than the GOAWAY has (`PROTOCOL §7`).
    pub(super) fn pad_header(&self) -> FrameHeader {
        let last = match self.side {
            Side::Client => StreamId::MAX,
            Side::Server => StreamId::MAX - 1,
        };
        let unused = |id: &u32| StreamId::new(*id).is_some_and(|id| !self.ids.contains_key(&id));
        let id = (1..=last).rev().step_by(2).find(unused).unwrap_or(last);
        FrameHeader::data(id, Flags::FIN, 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u32) -> StreamId {
        StreamId::new(n).unwrap()
    }

    #[test]
    fn last_resets_are_known_whatever_their_order() {
        let mut recent = RecentlyReset::default();
        assert!(!recent.contains(id(7)));
        (1..=5000).for_each(|n| recent.insert(id(n)));
        (1..=5000).for_each(|n| assert_eq!(recent.contains(id(n)), n > 5000 - 1024, "{n}"));
        recent.remove(id(4500));
        recent.remove(id(5001));
        assert!(!recent.contains(id(4500)) && recent.contains(id(4501)));
        // Falling, and far apart.
        (1..=1024).for_each(|n| recent.insert(id(StreamId::MAX - 1_000_000 * n)));
        (1..=1024).for_each(|n| assert!(recent.contains(id(StreamId::MAX - 1_000_000 * n)), "{n}"));
        assert_eq!((recent.order.len(), recent.sorted.len()), (1024, 1024));
    }

    #[test]
    fn id_that_is_used_again_is_forgotten_and_may_be_reset_again() {
        let mut recent = RecentlyReset::default();
        for _ in 0..5000 {
            recent.insert(id(3));
            recent.remove(id(3));
        }
        assert!(!recent.contains(id(3)) && recent.order.len() <= RecentlyReset::CAPACITY);
    }
}
