//! When a stream's receive window grows.
//!
//! Over a long link a fixed window leaves the pipe empty most of the time. That shows on the
//! receiving side without any measurement of round trips, which a queue of our own could falsify:
//! the peer sent all that it knew it might, **then nothing at all arrived on the connection** for a
//! good part of the time since credit went out, and the application had read everything. Only then
//! is the window doubled, by extra credit (`PROTOCOL §5`).
//!
//! Over a short and fast link the window is no limit, but each end sleeps and wakes whenever it is used
//! up. A stream that is the only one of its session therefore gets as much as arrives in a millisecond.

use std::time::{Duration, Instant};

use super::{
    session::Session,
    stream::{RecvState, StreamKey},
};

/// Observations of one stream.
#[derive(Debug)]
pub(super) struct Growth {
    /// The window in force, in bytes.
    window: u32,
    /// What the peer may still send by the credit that it had when it last went on. Credit given since
    /// then may be on its way still.
    known: u32,
    /// When that was used up.
    stalled_at: Option<Instant>,
    /// When credit last went out, or the first byte came.
    granted_at: Option<Instant>,
    /// Credit to be given beyond what was consumed.
    pub(super) extra: u32,
}

/// Largest window that a peer of this family gets, in bytes.
const MAX_WINDOW: u32 = 4 * 1024 * 1024;

/// Largest window for other peers: the Go original sends whole windows in one frame, in front of
/// all other streams.
const MAX_STRANGER_WINDOW: u32 = 1024 * 1024;

/// Shortest silence that counts: below, the window is not what holds the peer up.
const MIN_SILENCE: Duration = Duration::from_millis(1);

/// What may be under way to a stream that is the only one: as much as arrives in this time. What is sent
/// beside it later is held up by no more than that.
const REACH: Duration = Duration::from_millis(1);

/// Largest window that a stream gets for being fast, in bytes.
const MAX_FAST_WINDOW: u32 = 1024 * 1024;

impl Growth {
    pub(super) fn new(window: u32) -> Self {
        Self { window, known: window, stalled_at: None, granted_at: None, extra: 0 }
    }

    /// Credit goes out.
    pub(super) fn granted(&mut self, now: Option<Instant>) {
        self.granted_at = now;
    }

    /// Bytes of the session's budget that this stream holds.
    pub(super) fn held(&self, base: u32) -> usize {
        self.window.saturating_sub(base) as usize
    }

    /// Bytes have come; true if the peer was held up before them. `quiet_since` is when the
    /// connection had last brought anything.
    fn observe(&mut self, n: u32, window_left: u32, now: Instant, quiet_since: Option<Instant>) -> bool {
        self.granted_at.get_or_insert(now);
        let stalled_at = self.stalled_at.take();
        if stalled_at.is_some() || n > self.known {
            self.known = window_left;
        }
        self.known = self.known.saturating_sub(n);
        if self.known == 0 {
            self.stalled_at = Some(now);
        }
        let Some(since) = stalled_at else { return false };
        let silence = now.saturating_duration_since(since);
        let since_grant = self.granted_at.map_or(silence, |at| now.saturating_duration_since(at));
        silence >= MIN_SILENCE && silence * 4 >= since_grant && quiet_since.is_none_or(|quiet| quiet <= since)
    }

    /// Bytes that come in [`REACH`], going by those that were consumed since credit last went out.
    fn reach(&self, consumed: u32, now: Instant) -> u32 {
        let nanos = self.granted_at.map_or(0, |since| now.saturating_duration_since(since).as_nanos());
        // No time at all says nothing.
        let reach = (u128::from(consumed) * REACH.as_nanos()).checked_div(nanos).unwrap_or(0);
        u32::try_from(reach).unwrap_or(u32::MAX)
    }
}

impl Session {
    /// Looks at `n` bytes that came for a stream, before its window is reduced by them.
    pub(super) fn consider_growth(&mut self, key: StreamKey, n: u32, now: Instant) {
        let most = if self.peer_is_family { MAX_WINDOW } else { MAX_STRANGER_WINDOW };
        let (quiet_since, budget) = (self.quiet_since, self.growth_left);
        let Some(stream) = self.stream_mut(key) else { return };
        let held_up = stream.growth.observe(n, stream.recv_window, now, quiet_since);
        if !held_up || stream.buffer.len() > 0 || stream.recv != RecvState::Open {
            return;
        }
        let growth = &mut stream.growth;
        let room = usize::try_from(most.saturating_sub(growth.window)).unwrap_or(0).min(budget);
        let extra = growth.window.min(u32::try_from(room).unwrap_or(u32::MAX));
        if extra == 0 {
            return;
        }
        growth.window += extra;
        growth.extra += extra;
        tracing::debug!(stream = ?stream.id, window = growth.window, "the window holds the peer up; it grows");
        if !std::mem::replace(&mut stream.control, true) {
            self.queue_control(key);
        }
        self.growth_left -= extra as usize;
    }

    /// Credit goes out. A lone stream that is fast gets a window to go with that.
    ///
    /// Only a peer of this family does: the Go original would put all of it into one frame.
    pub(super) fn widen_if_fast(&mut self, key: StreamKey) {
        let lone = self.peer_is_family && self.streams_in_use() == 1;
        let (now, budget) = (self.now, u32::try_from(self.growth_left).unwrap_or(u32::MAX));
        let Some((stream, now)) = self.stream_mut(key).filter(|_| lone).zip(now) else { return };
        let growth = &mut stream.growth;
        let window = growth.reach(stream.consumed, now).min(MAX_FAST_WINDOW);
        let extra = window.saturating_sub(growth.window).min(budget);
        growth.window += extra;
        growth.extra += extra;
        self.growth_left -= extra as usize;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const W: u32 = 256 * 1024;

    /// A window's worth of bytes, the grants that follow, and the first bytes after `silence`.
    fn held_up(silence: Duration, other_traffic: bool) -> bool {
        let start = Instant::now();
        let mut growth = Growth::new(W);
        assert!(!growth.observe(W / 2, W, start, None));
        growth.granted(Some(start));
        assert!(!growth.observe(W / 2, W, start, Some(start)));
        growth.granted(Some(start));
        let now = start + silence;
        growth.observe(1, W, now, Some(if other_traffic { now } else { start }))
    }

    #[test]
    fn silence_after_a_used_up_window_is_a_hold_up() {
        assert!(held_up(Duration::from_millis(100), false));
    }

    /// The reach of a stream of which so much was consumed in so long.
    fn reach(consumed: u32, elapsed: Duration) -> u32 {
        let start = Instant::now();
        let mut growth = Growth::new(W);
        growth.observe(1, W, start, None);
        growth.reach(consumed, start + elapsed)
    }

    #[test]
    fn reach_is_what_comes_in_a_millisecond() {
        assert_eq!(reach(64_000, Duration::from_micros(500)), 128_000);
        assert_eq!(reach(64_000, Duration::from_secs(10)), 6);
        assert_eq!(reach(u32::MAX, Duration::from_nanos(1)), u32::MAX);
    }

    #[test]
    fn no_time_at_all_says_nothing_of_the_reach() {
        assert_eq!(reach(64_000, Duration::ZERO), 0);
    }

    #[test]
    fn a_short_gap_or_a_busy_connection_is_none() {
        assert!(!held_up(Duration::from_micros(200), false));
        assert!(!held_up(Duration::from_millis(100), true));
    }
}
