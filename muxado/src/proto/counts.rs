//! How many streams are open, and how many more this side may open.

use super::{open_level::OpenLevel, session::Session};

/// The streams of a session that are on the wire, or reserved by `open`, and the handles to streams.
///
/// Control streams are not counted; those of heartbeats are counted apart.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// Streams that this side opened.
    local: usize,
    /// Streams that the peer opened.
    remote: usize,
    /// Those of this side that the peer has not yet taken, as far as is known.
    unacknowledged: usize,
    /// Those of either side that carry heartbeats.
    heartbeats: usize,
    /// Those of this side that carry heartbeats: they take no other stream's place.
    local_heartbeats: usize,
    /// Handles that the application holds.
    handles: usize,
}

/// Most streams of this side that a peer with the protocol extensions leaves unaccepted.
const EXTENDED_UNACKNOWLEDGED: usize = 1024;

/// Most streams opened to a peer that is not known to have the protocol extensions: ngrok's crate ends the session at
/// 512, its own included, and counts streams for a while after they have ended.
const LEGACY_STREAMS: usize = 256;

impl Counts {
    pub(super) fn add_local(&mut self, is_heartbeat: bool) {
        self.local += 1;
        self.unacknowledged += 1;
        self.heartbeats += usize::from(is_heartbeat);
        self.local_heartbeats += usize::from(is_heartbeat);
    }

    pub(super) fn add_remote(&mut self) {
        self.remote += 1;
    }

    /// Counts a stream of the peer as one of heartbeats from now on.
    pub(super) fn turn_into_heartbeat(&mut self) {
        self.heartbeats += 1;
    }

    /// Stops counting a stream, which is not one of heartbeats any more.
    pub(super) fn remove(&mut self, opened_here: bool) {
        if opened_here {
            self.local -= 1;
        } else {
            self.remote -= 1;
        }
    }

    pub(super) fn remove_heartbeat(&mut self, opened_here: bool) {
        self.heartbeats -= 1;
        self.local_heartbeats -= usize::from(opened_here);
    }

    pub(super) fn acknowledge(&mut self) {
        self.unacknowledged -= 1;
    }

    /// Stops counting streams: the session has ended. Handles live on.
    pub(super) fn clear_streams(&mut self) {
        *self = Self { handles: self.handles, ..Self::default() };
    }

    pub(super) fn add_handle(&mut self) {
        self.handles += 1;
    }

    pub(super) fn remove_handle(&mut self) {
        self.handles -= 1;
    }

    pub(super) const fn remote(&self) -> usize {
        self.remote
    }
}

impl Session {
    /// Returns whether [`open`](Self::open) would not exceed a limit: one more stream may be open, and one more
    /// unacknowledged, or `open` is an error anyway.
    pub fn may_open(&self) -> bool {
        self.refuses_opens() || self.open_capacity() > 0
    }

    /// Returns how many more streams may be opened now.
    pub fn open_capacity(&self) -> usize {
        self.open_capacity_at(OpenLevel::ALL)
    }

    /// Returns how many more streams openers of this level may open now.
    pub fn open_capacity_at(&self, level: OpenLevel) -> usize {
        let (open, unacknowledged) = self.open_limits();
        let counts = &self.counts;
        let unacknowledged =
            if self.peer_has_extensions() { level.beyond(unacknowledged) } else { level.of(unacknowledged) };
        (level.of(open).saturating_sub(counts.local - counts.local_heartbeats))
            .min(unacknowledged.saturating_sub(counts.unacknowledged))
    }

    fn open_limits(&self) -> (usize, usize) {
        let (open, unacknowledged) = (self.config.max_open_streams, self.config.max_unacknowledged_opens);
        if self.peer_has_extensions() {
            (open, unacknowledged.max(EXTENDED_UNACKNOWLEDGED))
        } else {
            (open.min(LEGACY_STREAMS), unacknowledged)
        }
    }

    /// Returns how many handles of streams the application holds.
    pub const fn handles(&self) -> usize {
        self.counts.handles
    }

    /// Returns whether no stream is open, except control streams and those of heartbeats.
    pub fn is_idle(&self) -> bool {
        self.streams_in_use() == 0
    }

    /// Returns how many streams are open, except control streams and those of heartbeats.
    pub const fn streams_in_use(&self) -> usize {
        self.counts.local + self.counts.remote - self.counts.heartbeats
    }
}
