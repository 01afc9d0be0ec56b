//! How much of what this side sends may lie unread at the peer, on all streams together (`PROTOCOL §5.6`).
//!
//! What was sent on a stream and has no credit yet may be unread. The first 16 KiB of it are free on every stream, so
//! that a small message never waits for a large one. What is beyond is *bulk*, and all bulk together stays below half
//! of the peer's session memory: the other half is for what is free, and for windows that have grown. A stream goes
//! on while its own bulk is less than what is left. So each takes an equal share, and one share stays free for
//! newcomers: streams that nobody reads never take all.

use std::{collections::BTreeMap, num::NonZeroU64};

use super::{frame::StreamId, send::FRAME, session::Session, store::StreamKey, stream::Stream};

/// What may be sent on each stream without counting, in bytes.
pub(super) const FREE: u64 = 16 * 1024;

/// Least bytes for which a stream that waits goes on, unless it has fewer.
const LEAST: u64 = 4 * 1024;

/// Session memory of a peer that advertises none: the default here.
const DEFAULT_MEMORY: usize = 64 * 1024 * 1024;

/// Least session memory that a peer may advertise.
const MIN_MEMORY: usize = 64 * 1024;

/// What a stream has under way to the peer.
#[derive(Debug, Default)]
pub(super) struct Bulk {
    /// Bytes without credit that are counted against the peer's session memory.
    bytes: u64,
    /// Its turn among the streams that wait for room there.
    turn: Option<NonZeroU64>,
}

impl Bulk {
    /// Returns whether the stream waits until the peer has room.
    #[inline]
    pub(super) const fn awaits_room(&self) -> bool {
        self.turn.is_some()
    }
}

/// What this side has under way to the peer, on all streams.
#[derive(Debug)]
pub(super) struct PeerMemory {
    /// Window of a stream from which on what is sent is free, in bytes.
    free_from: u64,
    /// The peer credits what it reads behind the end of a stream, so all that is sent comes back.
    enforced: bool,
    limit: u64,
    /// Bulk of the streams that are open.
    bulk: u64,
    /// What had no credit when its stream ended.
    tails: u64,
    /// Streams that wait: those with the least bulk first, and of these in turn.
    waiting: BTreeMap<(u64, NonZeroU64), StreamKey>,
    turns: NonZeroU64,
}

impl PeerMemory {
    pub(super) fn new(window: u32) -> Self {
        Self {
            free_from: u64::from(window).saturating_sub(FREE),
            enforced: false,
            limit: DEFAULT_MEMORY as u64 / 2,
            bulk: 0,
            tails: 0,
            waiting: BTreeMap::new(),
            turns: NonZeroU64::MIN,
        }
    }

    /// Holds to the peer's memory from now on.
    pub(super) const fn enforce(&mut self) {
        self.enforced = true;
    }

    /// Returns whether a stream of which `window` is left may send `n` bytes.
    #[inline]
    pub(super) fn allows(&self, bulk: &Bulk, window: u64, n: u64) -> bool {
        window >= n + self.free_from || (window >= n && n <= self.room(bulk, window) as u64)
    }

    /// Returns whether a stream of which `window` is left has anything under way that counts.
    #[inline]
    pub(super) const fn counts(&self, window: u64) -> bool {
        window < self.free_from
    }

    /// Returns how many bytes may be sent on a stream of which `window` is left.
    fn room(&self, bulk: &Bulk, window: u64) -> usize {
        if !self.enforced {
            return usize::MAX;
        }
        let free = window.saturating_sub(self.free_from);
        usize::try_from(free + self.left().saturating_sub(bulk.bytes)).unwrap_or(usize::MAX)
    }

    fn left(&self) -> u64 {
        self.limit.saturating_sub(self.bulk + self.tails)
    }

    /// Returns how many bytes a stream's writer may hand over to be sent at once, as far as its window and the peer's
    /// memory are concerned; and how many of these are free.
    pub(super) fn writable(&self, stream: &Stream) -> (usize, usize) {
        let (window, queued) = (stream.send.window_room(), stream.send.unsent());
        if !self.enforced {
            return (window, window);
        }
        let left = stream.send.window().left();
        let free = usize::try_from(left.saturating_sub(self.free_from)).unwrap_or(usize::MAX);
        let room = self.room(stream.send.bulk(), left);
        (window.min(room.saturating_sub(queued)), window.min(free.saturating_sub(queued)))
    }

    /// Returns whether the peer's memory holds up a stream which has nothing queued that could wait for it.
    pub(super) fn holds_up(&self, stream: &Stream) -> bool {
        let window = stream.send.window().left();
        self.room(stream.send.bulk(), window) < LEAST as usize && window > LEAST
    }

    fn leave_waiting(&mut self, bulk: &mut Bulk) {
        if let Some(turn) = bulk.turn.take() {
            self.waiting.remove(&(bulk.bytes, turn));
        }
    }

    /// Counts anew what of a stream is under way and counts.
    fn recount(&mut self, bulk: &mut Bulk, window: u64) {
        let bytes = self.free_from.saturating_sub(window);
        let before = std::mem::replace(&mut bulk.bytes, bytes);
        self.bulk = self.bulk + bytes - before;
    }
}

impl Session {
    /// Sets the session memory of a peer whose memory differs from the default, in bytes, at least 64 KiB.
    ///
    /// If the protocol extensions are negotiated, all streams together have at most half of it under way without credit.
    /// The first 16 KiB of each stream are not counted.
    pub fn set_peer_memory(&mut self, bytes: usize) {
        self.peer_memory.limit = bytes.max(MIN_MEMORY) as u64 / 2;
        self.wake_for_room();
    }

    /// Returns this side's session memory in bytes, if it is not the default: the peer has to be told.
    pub fn advertised_memory(&self) -> Option<usize> {
        Some(self.config.session_receive_memory).filter(|memory| *memory != DEFAULT_MEMORY)
    }

    /// Holds to the peer's memory no longer: the session ends, and what was finished goes out as far as the windows
    /// allow.
    pub(super) fn forget_peer_memory(&mut self) {
        self.peer_memory.enforced = false;
        for key in std::mem::take(&mut self.peer_memory.waiting).into_values() {
            if let Some(stream) = self.store.get_mut(key) {
                stream.send.bulk_mut().turn = None;
                self.make_ready(key);
            }
        }
    }

    /// Counts anew what a stream has under way.
    pub(super) fn recount_bulk(&mut self, key: StreamKey) {
        let Some(stream) = self.store.get_mut(key) else { return };
        let window = stream.send.window().left();
        self.peer_memory.recount(stream.send.bulk_mut(), window);
    }

    /// Notes that the peer has given credit to a stream, which is looked at first.
    pub(super) fn note_credit(&mut self, key: StreamKey) {
        let Some(stream) = self.store.get_mut(key) else { return };
        let window = stream.send.window().left();
        let bulk = stream.send.bulk_mut();
        if bulk.bytes > 0 || bulk.awaits_room() {
            self.peer_memory.leave_waiting(bulk);
            self.peer_memory.recount(bulk, window);
            self.wake_for_room();
        }
    }

    /// Notes that the peer has given credit to a stream that has ended.
    pub(super) fn note_late_credit(&mut self, id: StreamId, credit: u32) {
        if self.peer_memory.tails > 0 && !self.store.was_recently_reset(id) {
            self.peer_memory.tails = self.peer_memory.tails.saturating_sub(credit.into());
            self.wake_for_room();
        }
    }

    /// Stops counting a stream that leaves the wire. What is unread of it at the peer is credited behind its end, if it
    /// was worth that.
    pub(super) fn release_bulk(&mut self, key: StreamKey) {
        let initial = u64::from(self.config.window_size);
        let Some(stream) = self.store.get_mut(key) else { return };
        let (is_large, is_whole) = (stream.send.sent().exceeds(FREE), stream.reset().is_none());
        let window = stream.send.window().left();
        let bulk = stream.send.bulk_mut();
        self.peer_memory.leave_waiting(bulk);
        if !is_large {
            return;
        }
        self.peer_memory.bulk -= std::mem::take(&mut bulk.bytes);
        if self.peer_memory.enforced && is_whole {
            self.peer_memory.tails += initial.saturating_sub(window);
        }
        self.wake_for_room();
    }

    /// Returns for how many of the bytes that a stream could send the peer has room. If these are not worth a frame the
    /// stream waits.
    pub(super) fn room_at_peer(&mut self, key: StreamKey, n: usize) -> Option<usize> {
        let Some(stream) = self.store.get(key).filter(|stream| !stream.owner().is_heartbeat()) else {
            return Some(n);
        };
        let room = self.peer_memory.room(stream.send.bulk(), stream.send.window().left());
        if room >= n.min(LEAST as usize) {
            return Some(n.min(room));
        }
        self.wait_for_room(key);
        None
    }

    /// Makes a stream wait until the peer has room.
    pub(super) fn wait_for_room(&mut self, key: StreamKey) {
        let turn = self.peer_memory.turns;
        let waits = |stream: &&mut Stream| stream.send.bulk().awaits_room();
        let Some(stream) = self.store.get_mut(key).filter(|stream| !waits(stream)) else { return };
        let bulk = stream.send.bulk_mut();
        bulk.turn = Some(turn);
        self.peer_memory.turns = turn.saturating_add(1);
        self.peer_memory.waiting.insert((bulk.bytes, turn), key);
        // What it holds is no longer on the move.
        stream.send.leave_ready();
        self.recount_stalled(key);
    }

    /// Lets as many of the streams that wait go on as there is room for.
    pub(super) fn wake_for_room(&mut self) {
        let mut promised = 0;
        while let Some((&(bulk, turn), &key)) = self.peer_memory.waiting.first_key_value() {
            if bulk + promised + LEAST > self.peer_memory.left() {
                return;
            }
            self.peer_memory.waiting.remove(&(bulk, turn));
            let Some(stream) = self.store.get_mut(key) else { continue };
            stream.send.bulk_mut().turn = None;
            promised += stream.send.unsent().clamp(FREE as usize, FRAME) as u64;
            self.recount_stalled(key);
            self.make_ready(key);
            self.wake_writer(key);
        }
    }
}
