//! Flow control: the windows of streams, and the credit that refills them (`PROTOCOL §5`).

use std::time::Instant;

use super::{
    growth::{Growth, Link, MAX_LEGACY_WINDOW, MAX_WINDOW},
    late_credit::LEAST_CREDIT,
    session::Session,
    store::StreamKey,
};
use crate::config::Config;

/// Largest send window, in bytes.
const MAX_SEND_WINDOW: u64 = 1 << 40;

/// Part of a window that must be used before a stream is observed: most streams of calls never get there,
/// and no window holds them up.
const UNOBSERVED: u32 = 16;

/// How many bytes a stream has moved in one direction, in little room: exact below 2 GiB, and from there on somewhere
/// above.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Moved(u32);

impl Moved {
    /// What is counted from when all is used up.
    const AGAIN: u32 = 1 << 31;

    #[inline]
    pub(super) fn add(&mut self, n: usize) {
        self.0 = match u32::try_from(n).ok().and_then(|n| self.0.checked_add(n)) {
            Some(sum) => sum,
            None => Self::AGAIN | self.0.wrapping_add(n as u32),
        };
    }

    /// Returns whether it is more than `n` bytes, which must be less than 2 GiB.
    #[inline]
    pub(super) const fn exceeds(self, n: u64) -> bool {
        self.0 as u64 > n
    }

    /// Returns how many bytes it is more than it was. Every 2 GiB it is too many, once.
    pub(super) const fn since(self, before: Self) -> u32 {
        self.0.wrapping_sub(before.0)
    }
}

/// How many bytes this side may still send on a stream.
#[derive(Debug)]
pub(super) struct SendWindow(u64);

impl SendWindow {
    pub(super) fn new(window: u32) -> Self {
        Self(u64::from(window))
    }

    #[inline]
    pub(super) const fn left(&self) -> u64 {
        self.0
    }

    #[inline]
    pub(super) fn consume(&mut self, n: u64) {
        self.0 = self.0.saturating_sub(n);
    }

    /// Adds credit from the peer.
    pub(super) fn add(&mut self, credit: u32) {
        // No stream ever needs more, and no sum of credits can overflow.
        self.0 = (self.0 + u64::from(credit)).min(MAX_SEND_WINDOW);
    }
}

/// How many bytes the peer may still send on a stream, and what is to be given back.
#[derive(Debug)]
pub(super) struct RecvWindow {
    left: u32,
    /// Bytes consumed for which no credit went back yet.
    consumed: u32,
    /// Bytes behind the peer's FIN that are credited once they are consumed.
    late: u32,
    /// What was consumed is to be credited, however little it is.
    is_asked_for: bool,
    /// Whether the window holds the peer up, once much of it was used.
    growth: Option<Box<Growth>>,
}

impl RecvWindow {
    pub(super) fn new(window: u32) -> Self {
        Self { left: window, consumed: 0, late: 0, is_asked_for: false, growth: None }
    }

    #[inline]
    pub(super) const fn left(&self) -> u32 {
        self.left
    }

    /// Notes bytes that came, no more than are left.
    #[inline]
    pub(super) fn receive(&mut self, n: u32) {
        self.left -= n;
    }

    /// Notes bytes that nobody holds any more.
    #[inline]
    pub(super) fn consume(&mut self, n: u32) {
        self.consumed = self.consumed.saturating_add(n);
    }

    /// Returns how many bytes were consumed for which no credit went back yet.
    #[inline]
    pub(super) const fn consumed(&self) -> u32 {
        self.consumed
    }

    pub(super) fn take_consumed(&mut self) -> u32 {
        std::mem::take(&mut self.consumed)
    }

    /// Credits what was consumed with the next frames, however little it is.
    pub(super) fn ask_for_credit(&mut self) {
        self.is_asked_for = true;
    }

    /// Gives credit only for the last `counted` bytes from now on: the peer has finished the stream.
    pub(super) fn finish(&mut self, counted: u32) {
        self.consumed = self.consumed.min(counted);
        self.late = counted - self.consumed;
        if let Some(growth) = &mut self.growth {
            growth.clear_extra();
        }
    }

    /// Notes bytes behind the peer's FIN that nobody holds any more. Returns for how many no credit went back yet; `None`
    /// if there is no more credit to be given.
    pub(super) fn consume_late(&mut self, n: usize) -> Option<u32> {
        if self.late == 0 {
            return None;
        }
        let n = self.late.min(u32::try_from(n).unwrap_or(u32::MAX));
        self.late -= n;
        self.consumed += n;
        Some(self.consumed)
    }

    /// Gives no more credit: the stream was reset.
    pub(super) fn forget_credit(&mut self) {
        (self.late, self.consumed) = (0, 0);
    }

    fn extra(&self) -> u32 {
        self.growth.as_ref().map_or(0, |growth| growth.extra())
    }
}

/// What the flow control of all streams goes by.
#[derive(Debug)]
pub(super) struct FlowControl {
    /// The window that streams begin with.
    window: u32,
    /// Bytes by which the windows of all streams together may still grow.
    growth_left: usize,
    last_input: Option<Instant>,
    /// When the input before the present one came.
    quiet_since: Option<Instant>,
}

impl FlowControl {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            window: config.window_size,
            growth_left: config.window_growth,
            last_input: None,
            quiet_since: None,
        }
    }

    /// Notes when input comes.
    #[inline]
    pub(super) fn note_input(&mut self, now: Instant) {
        self.quiet_since = self.last_input.replace(now);
    }

    /// Takes back by how much the window of a stream had grown.
    pub(super) fn release(&mut self, window: &mut RecvWindow) {
        if let Some(growth) = window.growth.take() {
            self.growth_left += growth.window().saturating_sub(self.window) as usize;
        }
    }

    fn budget(&self) -> u32 {
        u32::try_from(self.growth_left).unwrap_or(u32::MAX)
    }
}

impl Session {
    /// Looks at `n` bytes that came for a stream, before its window is reduced by them, and lets the window grow if it
    /// held the peer up.
    #[inline]
    pub(super) fn consider_growth(&mut self, key: StreamKey, n: u32, now: Instant) {
        let base = self.flow.window;
        let Some(stream) = self.store.get(key) else { return };
        let window = stream.recv.window();
        if window.growth.is_some() || base.saturating_sub(window.left) + n > base / UNOBSERVED {
            self.observe(key, n, now);
        }
    }

    fn observe(&mut self, key: StreamKey, n: u32, now: Instant) {
        let most = if self.peer_has_extensions() { MAX_WINDOW } else { MAX_LEGACY_WINDOW };
        // What is unread may come to fill the memory; windows must not add to it then.
        let is_much = self.recv.bytes_unread() > self.config.session_receive_memory / 8;
        let budget = if is_much { 0 } else { self.flow.budget() };
        let link = Link { now, quiet_since: self.flow.quiet_since, most, budget };
        let base = self.flow.window;
        let Some(stream) = self.store.get_mut(key) else { return };
        let id = stream.id();
        let is_read = stream.recv.unread() == 0 && stream.recv.is_open();
        let window = stream.recv.window_mut();
        let (left, is_first) = (window.left, window.growth.is_none());
        let growth = window.growth.get_or_insert_with(|| Box::new(Growth::new(base, left)));
        let grown = growth.receive(n, left, is_read, &link);
        if grown > 0 {
            tracing::debug!(stream = ?id, window = growth.window(), "the window holds the peer up; it grows");
            self.flow.growth_left -= grown as usize;
            self.queue_control(key);
        }
        if is_first {
            self.expect_stalls();
        }
    }

    /// Counts bytes that nobody holds any more, and has credit sent once it is worth a frame. There is none for streams
    /// that will bring nothing more.
    #[inline]
    pub(super) fn consumed(&mut self, key: StreamKey, n: usize) {
        let least = (self.config.window_size / 2).min(LEAST_CREDIT);
        let ended = self.has_ended() && !self.is_draining();
        let Some(stream) = self.store.get_mut(key) else { return };
        if !stream.recv.is_open() {
            self.consumed_late(key, n);
            return;
        }
        let window = stream.recv.window_mut();
        window.consume(u32::try_from(n).unwrap_or(u32::MAX));
        let consumed = window.consumed;
        if consumed >= least && !ended && consumed >= self.credit_threshold() {
            self.queue_control(key);
        }
    }

    /// Takes the credit of a stream that is to be sent now, if there is any.
    pub(super) fn take_credit(&mut self, key: StreamKey) -> Option<u32> {
        let (threshold, now) = (self.credit_threshold(), self.timers.now());
        // Only a peer with the protocol extensions widens at once: the Go original would put all of it into one frame.
        let is_lone = self.peer_has_extensions() && self.streams_in_use() == 1;
        let budget = self.flow.budget();
        let stream = self.store.get_mut(key)?;
        let is_open = stream.recv.is_open();
        let is_cut = stream.recv.is_cut() || stream.reset().is_some();
        let window = stream.recv.window_mut();
        let is_due = std::mem::take(&mut window.is_asked_for) || window.consumed >= threshold;
        if is_cut || ((!is_due || window.consumed == 0) && window.extra() == 0) {
            return None;
        }
        let mut credit = std::mem::take(&mut window.consumed);
        if let Some(growth) = &mut window.growth {
            if let Some(now) = now.filter(|_| is_lone && is_open) {
                self.flow.growth_left -= growth.widen(credit, now, budget) as usize;
            }
            credit += growth.grant(now);
        }
        window.left += credit;
        Some(credit)
    }
}
