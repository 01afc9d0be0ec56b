//! The streams of a session, by key and by id: hands out both, and remembers which ids were reset last
//! (`PROTOCOL §4.1`).

use std::collections::{HashMap, VecDeque};

use slab::Slab;

use super::{
    frame::StreamId,
    session::Session,
    stream::{Owner, Stream},
};

/// Which end of the connection this is. It decides which stream ids each end uses, and nothing else.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Side {
    /// The side that connected: odd ids, from 3.
    Client,
    /// The side that was connected to: even ids, from 2.
    Server,
}

impl Side {
    /// Returns the first id this side uses, as in the other implementations.
    const fn first_id(self) -> u32 {
        match self {
            Self::Client => 3,
            Self::Server => 2,
        }
    }

    /// Returns the highest id this side may use.
    const fn last_id(self) -> u32 {
        match self {
            Self::Client => StreamId::MAX,
            Self::Server => StreamId::MAX - 1,
        }
    }

    /// Returns whether this side may open streams with this id.
    pub const fn owns(self, id: StreamId) -> bool {
        (id.as_u32() & 1 == 1) == matches!(self, Self::Client)
    }
}

/// Names a stream of a session for as long as its handle lives, also before it has an id.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct StreamKey {
    index: u32,
    serial: u32,
}

impl StreamKey {
    /// Returns the index of the stream's slot: small, dense, and used again once the stream is gone.
    pub const fn index(self) -> usize {
        self.index as usize
    }
}

/// Places of streams up to which none is kept for the next stream when a session comes to rest.
const SMALL: usize = 8;

/// The streams of a session, with and without ids.
#[derive(Debug)]
pub(super) struct Store {
    side: Side,
    streams: Slab<Stream>,
    ids: HashMap<StreamId, u32, foldhash::fast::RandomState>,
    next_serial: u32,
    next_id: u32,
    /// This side's ids have been used up once and start again.
    wrapped: bool,
    /// The highest id that the peer has used.
    highest_remote_id: u32,
    recently_reset: RecentlyReset,
    /// Streams of this side that were given an id, ever.
    opened: u64,
}

impl Store {
    pub(super) fn new(side: Side) -> Self {
        Self {
            side,
            streams: Slab::new(),
            ids: HashMap::default(),
            next_serial: 0,
            next_id: side.first_id(),
            wrapped: false,
            highest_remote_id: 0,
            recently_reset: RecentlyReset::default(),
            opened: 0,
        }
    }

    pub(super) const fn side(&self) -> Side {
        self.side
    }

    /// Returns how many streams of this side have reached the wire, ever.
    pub(super) const fn opened(&self) -> u64 {
        self.opened
    }

    /// Returns how many streams there are.
    pub(super) fn len(&self) -> usize {
        self.streams.len()
    }

    #[inline]
    pub(super) fn get(&self, key: StreamKey) -> Option<&Stream> {
        self.streams.get(key.index()).filter(|stream| stream.serial() == key.serial)
    }

    #[inline]
    pub(super) fn get_mut(&mut self, key: StreamKey) -> Option<&mut Stream> {
        self.streams.get_mut(key.index()).filter(|stream| stream.serial() == key.serial)
    }

    /// Adds a stream, without an id.
    #[inline]
    pub(super) fn insert(&mut self, window: u32, owner: Owner, opened_here: bool) -> StreamKey {
        let serial = self.next_serial;
        self.next_serial = serial.wrapping_add(1);
        let index = self.streams.insert(Stream::new(serial, window, owner, opened_here));
        StreamKey { index: u32::try_from(index).unwrap_or(u32::MAX), serial }
    }

    /// Takes a stream out. Its id stays taken.
    pub(super) fn remove(&mut self, key: StreamKey) -> Option<Stream> {
        self.get(key)?;
        Some(self.streams.remove(key.index()))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (StreamKey, &Stream)> {
        let key = |index, stream: &Stream| StreamKey { index: index as u32, serial: stream.serial() };
        self.streams.iter().map(move |(index, stream)| (key(index, stream), stream))
    }

    /// Drops the streams for which `keep` returns false. Their ids stay taken.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(&mut Stream) -> bool) {
        self.streams.retain(|_, stream| keep(stream));
    }

    /// Drops keys of streams that are gone from a list in which most could be such. A peer that does not read must
    /// not make a list grow by opening and resetting streams.
    #[inline]
    pub(super) fn prune(&self, keys: &mut VecDeque<StreamKey>) {
        if self.may_hold_gone(keys.len()) {
            keys.retain(|key| self.get(*key).is_some());
        }
    }

    /// Returns whether most keys of a list of this length could be those of streams that are gone.
    #[inline]
    pub(super) fn may_hold_gone(&self, len: usize) -> bool {
        len > 2 * self.streams.len() + 64
    }

    /// Returns the stream that has this id.
    pub(super) fn find(&self, id: StreamId) -> Option<StreamKey> {
        let index = *self.ids.get(&id)?;
        let serial = self.streams.get(index as usize)?.serial();
        Some(StreamKey { index, serial })
    }

    pub(super) fn is_id_taken(&self, id: StreamId) -> bool {
        self.ids.contains_key(&id)
    }

    /// Returns how many streams have an id.
    pub(super) fn ids_taken(&self) -> usize {
        self.ids.len()
    }

    /// Gives a stream of this side the next id that no open stream has.
    #[inline]
    pub(super) fn assign_id(&mut self, key: StreamKey) -> Option<StreamId> {
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
        self.opened += 1;
        self.name(key, id);
        Some(id)
    }

    /// Gives a stream of the peer the id that the peer chose.
    pub(super) fn name(&mut self, key: StreamKey, id: StreamId) {
        self.ids.insert(id, key.index);
        if let Some(stream) = self.get_mut(key) {
            stream.set_id(id);
        }
    }

    pub(super) fn free_id(&mut self, id: StreamId) {
        self.ids.remove(&id);
    }

    pub(super) fn free_all_ids(&mut self) {
        self.ids.clear();
    }

    /// Frees all ids, and what is known of earlier ones: no frame comes any more.
    pub(super) fn forget_ids(&mut self) {
        self.ids = HashMap::default();
        self.recently_reset = RecentlyReset::default();
    }

    /// Frees the ids of all streams for which `keep` returns false, and of those that are gone.
    pub(super) fn retain_ids(&mut self, keep: impl Fn(&Stream) -> bool) {
        let streams = &self.streams;
        self.ids.retain(|_, index| streams.get(*index as usize).is_some_and(&keep));
    }

    /// Notes that the peer opens a stream with this id, which makes the id a new one.
    pub(super) fn note_remote_id(&mut self, id: StreamId) {
        self.recently_reset.remove(id);
        self.highest_remote_id = self.highest_remote_id.max(id.as_u32());
    }

    /// Returns the id that the next stream of this side is given, unless an open stream has it.
    pub(super) const fn next_id(&self) -> u32 {
        self.next_id
    }

    pub(super) const fn highest_remote_id(&self) -> u32 {
        self.highest_remote_id
    }

    /// Returns the streams of this side that a peer has not looked at whose GOAWAY names `last`.
    ///
    /// Ids rise in the order of opening until they wrap; later ones were not looked at.
    pub(super) fn opened_after(&self, last: u32) -> Vec<StreamKey> {
        let is_unseen = |id: Option<StreamId>| id.is_none_or(|id| !self.wrapped && id.as_u32() > last);
        self.iter()
            .filter(|(_, stream)| stream.opened_here() && stream.is_on_wire() && is_unseen(stream.id()))
            .map(|(key, _)| key)
            .collect()
    }

    /// Returns the highest id of this side that no stream has.
    pub(super) fn last_unused_id(&self) -> u32 {
        let last = self.side.last_id();
        let unused = |id: &u32| StreamId::new(*id).is_some_and(|id| !self.ids.contains_key(&id));
        (1..=last).rev().step_by(2).find(unused).unwrap_or(last)
    }

    /// Notes that a stream with this id was reset, or that data for it was answered with a reset.
    pub(super) fn note_reset(&mut self, id: StreamId) {
        self.recently_reset.insert(id);
    }

    pub(super) fn was_recently_reset(&self, id: StreamId) -> bool {
        self.recently_reset.contains(id)
    }

    /// Gives back memory that nothing is in.
    pub(super) fn shrink(&mut self) {
        self.recently_reset.shrink();
        for (_, stream) in &mut self.streams {
            stream.shrink();
        }
        let (len, capacity) = (self.streams.len(), self.streams.capacity());
        if len < capacity / 2 || capacity <= SMALL {
            self.streams.shrink_to_fit();
            self.ids.shrink_to_fit();
        }
    }
}

impl Session {
    /// Gives the next stream of this side that reaches the wire this id, or the next one above it that is not in
    /// use.
    ///
    /// For tests of what happens when ids start again: a session gets there after 2³⁰ streams.
    ///
    /// # Panics
    ///
    /// If the id is the peer's to use (`PROTOCOL §4.1`), or below the first one of this side.
    #[doc(hidden)]
    pub fn set_next_id(&mut self, id: StreamId) {
        let side = self.store.side;
        assert!(side.owns(id), "id {id} is for the other side to use");
        assert!(id.as_u32() >= side.first_id(), "id {id} is below the first one");
        self.store.next_id = id.as_u32();
    }
}

/// The ids that were last reset or answered with a reset, so that each gets one answer only.
#[derive(Debug, Default)]
struct RecentlyReset {
    /// In the order in which they came; some have been removed since.
    order: VecDeque<StreamId>,
    /// The remembered ids by number: a peer that opens streams with low ids must not cost a look at all of them.
    sorted: Vec<StreamId>,
}

impl RecentlyReset {
    /// Ids remembered.
    const CAPACITY: usize = 1024;

    fn insert(&mut self, id: StreamId) {
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

    fn contains(&self, id: StreamId) -> bool {
        self.place(id).is_ok()
    }

    fn remove(&mut self, id: StreamId) {
        if let Ok(place) = self.place(id) {
            self.sorted.remove(place);
        }
    }

    fn shrink(&mut self) {
        self.order.shrink_to_fit();
        self.sorted.shrink_to_fit();
    }

    /// Returns where an id is, or where it belongs. Ids mostly rise: then that is the end.
    fn place(&self, id: StreamId) -> Result<usize, usize> {
        match self.sorted.last() {
            Some(last) if *last >= id => self.sorted.binary_search(&id),
            _ => Err(self.sorted.len()),
        }
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
