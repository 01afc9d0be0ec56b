//! How much of what this side sends may lie unread at the peer, on all streams together (`PROTOCOL §5.6`).
//!
//! What was sent on a stream and has no credit yet may be unread. The first 16 KiB of it are free on every stream, so
//! that a small message never waits for a large one. What is beyond is *bulk*, and all bulk together stays below half
//! of the peer's session memory: the other half is for what is free, and for windows that have grown. A stream goes
//! on while its own bulk is less than what is left. So each takes an equal share, and one share stays free for
//! whoever comes: those that nobody reads never take all.

use std::collections::BTreeSet;

use super::{
    frame::StreamId,
    output::FRAME,
    session::Session,
    stream::{Stream, StreamKey},
};

/// What may be sent on each stream without counting, in bytes.
pub(super) const FREE: u64 = 16 * 1024;

/// Least bytes for which a stream that waits goes on, unless it has fewer.
const LEAST: u64 = 4 * 1024;

/// Session memory of a peer that tells none: the default here.
const DEFAULT_MEMORY: usize = 64 * 1024 * 1024;

/// Bounds of what a peer may tell.
const MIN_MEMORY: usize = 64 * 1024;

/// What this side has under way to the peer.
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
    waiting: BTreeSet<(u64, u64, u32, u32)>,
    turns: u64,
}

impl PeerMemory {
    pub(super) fn new(window: u32) -> Self {
        Self {
            free_from: u64::from(window).saturating_sub(FREE),
            enforced: false,
            limit: DEFAULT_MEMORY as u64 / 2,
            bulk: 0,
            tails: 0,
            waiting: BTreeSet::new(),
            turns: 0,
        }
    }

    /// The peer is of this family.
    pub(super) const fn enforce(&mut self) {
        self.enforced = true;
    }

    /// Window down to which a stream may be used without being counted.
    pub(super) const fn free_from(&self) -> u64 {
        self.free_from
    }

    /// Bytes that may be sent on a stream of which `bulk` bytes are counted, and `window` is left.
    pub(super) fn room(&self, bulk: u64, window: u64) -> usize {
        if !self.enforced {
            return usize::MAX;
        }
        let free = window.saturating_sub(self.free_from);
        usize::try_from(free + self.left().saturating_sub(bulk)).unwrap_or(usize::MAX)
    }

    fn left(&self) -> u64 {
        self.limit.saturating_sub(self.bulk + self.tails)
    }
}

impl Session {
    /// Has the streams to a peer of this family together have no more than half of this under way without credit,
    /// what is free of each not counted: for a session memory that differs from the default, as the peer told it. 64
    /// KiB at least.
    pub fn set_peer_memory(&mut self, bytes: usize) {
        self.peer_memory.limit = bytes.max(MIN_MEMORY) as u64 / 2;
        self.wake_for_room();
    }

    /// This side's session memory, if it is not the default.
    pub fn told_memory(&self) -> Option<usize> {
        Some(self.config.session_receive_memory).filter(|memory| *memory != DEFAULT_MEMORY)
    }

    /// The session ends: what was finished goes out as far as the windows allow.
    pub(super) fn forget_peer_memory(&mut self) {
        self.peer_memory.enforced = false;
        for (_, _, index, serial) in std::mem::take(&mut self.peer_memory.waiting) {
            let key = StreamKey { index, serial };
            if let Some(stream) = self.stream_mut(key) {
                stream.room_turn = None;
                self.make_ready(key);
            }
        }
    }

    /// Counts a stream's bulk anew.
    pub(super) fn recount_bulk(&mut self, key: StreamKey) {
        let free_from = self.peer_memory.free_from;
        let Some(stream) = self.stream_mut(key) else { return };
        let bulk = free_from.saturating_sub(stream.send_window);
        let before = std::mem::replace(&mut stream.bulk, bulk);
        self.peer_memory.bulk = self.peer_memory.bulk + bulk - before;
    }

    /// The peer has given credit to a stream, which is looked at first.
    pub(super) fn note_credit(&mut self, key: StreamKey) {
        if self.stream(key).is_some_and(|stream| stream.bulk > 0 || stream.room_turn.is_some()) {
            self.leave_waiting(key);
            self.recount_bulk(key);
            self.wake_for_room();
        }
    }

    /// The peer has given credit to a stream that has ended.
    pub(super) fn note_late_credit(&mut self, id: StreamId, credit: u32) {
        if self.peer_memory.tails > 0 && !self.recently_reset.contains(id) {
            self.peer_memory.tails = self.peer_memory.tails.saturating_sub(credit.into());
            self.wake_for_room();
        }
    }

    /// A stream leaves the wire. What is unread of it at the peer is credited behind its end, if it was worth that.
    pub(super) fn release_bulk(&mut self, key: StreamKey) {
        let window = u64::from(self.config.window_size);
        self.leave_waiting(key);
        let Some(stream) = self.stream_mut(key).filter(|stream| stream.sent > FREE) else { return };
        let unread = if stream.reset.is_none() { window.saturating_sub(stream.send_window) } else { 0 };
        let bulk = std::mem::take(&mut stream.bulk);
        self.peer_memory.bulk -= bulk;
        if self.peer_memory.enforced {
            self.peer_memory.tails += unread;
        }
        self.wake_for_room();
    }

    /// Of so many bytes that a stream could send, those for which the peer has room. If they are not worth a frame
    /// the stream waits.
    pub(super) fn room_at_peer(&mut self, key: StreamKey, n: usize) -> Option<usize> {
        let Some(stream) = self.stream(key).filter(|stream| !stream.owner.is_heartbeat()) else {
            return Some(n);
        };
        let bulk = stream.bulk;
        let room = self.peer_memory.room(bulk, stream.send_window);
        if room >= n.min(LEAST as usize) {
            return Some(n.min(room));
        }
        self.wait_for_room(key);
        None
    }

    /// Has a stream wait until the peer has room.
    pub(super) fn wait_for_room(&mut self, key: StreamKey) {
        let turn = self.peer_memory.turns;
        let Some(stream) = self.stream_mut(key).filter(|stream| !stream.awaits_room()) else { return };
        stream.room_turn = Some(turn);
        // What it holds is no longer on the move.
        stream.ready = false;
        let bulk = stream.bulk;
        self.peer_memory.turns += 1;
        self.peer_memory.waiting.insert((bulk, turn, key.index, key.serial));
        self.restate(key);
    }

    /// Bytes that a stream's writer may hand over to be sent at once, as far as the window and the peer's memory
    /// are concerned; and of these the ones that are free.
    pub(super) fn send_window_room(&self, stream: &Stream) -> (usize, usize) {
        let (window, queued) = (stream.window_room(), stream.queue.len());
        if !self.peer_memory.enforced {
            return (window, window);
        }
        let free = stream.send_window.saturating_sub(self.peer_memory.free_from);
        let free = usize::try_from(free).unwrap_or(usize::MAX).saturating_sub(queued);
        let room = self.peer_memory.room(stream.bulk, stream.send_window).saturating_sub(queued);
        (window.min(room), window.min(free))
    }

    /// Whether the peer's memory holds a stream up, which has nothing queued that could wait for it.
    pub(super) fn lacks_room(&self, stream: &Stream) -> bool {
        self.peer_memory.room(stream.bulk, stream.send_window) < LEAST as usize && stream.send_window > LEAST
    }

    fn leave_waiting(&mut self, key: StreamKey) {
        if let Some(stream) = self.stream_mut(key)
            && let Some(turn) = stream.room_turn.take()
        {
            let bulk = stream.bulk;
            self.peer_memory.waiting.remove(&(bulk, turn, key.index, key.serial));
        }
    }

    /// Lets as many of the streams that wait go on as there is room for.
    pub(super) fn wake_for_room(&mut self) {
        let mut promised = 0;
        while let Some(&(bulk, _, index, serial)) = self.peer_memory.waiting.first() {
            if bulk + promised + LEAST > self.peer_memory.left() {
                return;
            }
            self.peer_memory.waiting.pop_first();
            let key = StreamKey { index, serial };
            let Some(stream) = self.stream_mut(key) else { continue };
            stream.room_turn = None;
            promised += stream.queue.len().clamp(FREE as usize, FRAME) as u64;
            self.restate(key);
            self.make_ready(key);
            self.wake_writer(key);
        }
    }
}

impl Stream {
    /// It waits until the peer has room.
    pub(super) const fn awaits_room(&self) -> bool {
        self.room_turn.is_some()
    }
}
