//! When the receive window of a stream grows, and to what.
//!
//! Over a long link a fixed window leaves the pipe empty most of the time. That shows on the receiving side: the peer
//! sent all that it knew it might, **then nothing at all arrived on the connection** for a good part of the time, and
//! the application had read everything. Only then is the window enlarged, by extra credit (`PROTOCOL §5.4`), and by no
//! more than would have filled the silence.
//!
//! Two other causes look alike. A slow sender also pauses before its credit is used up, and does not go on as soon as
//! credit can have reached it. A queue in the link makes credit take longer than it once did. Both show in the time
//! from giving credit to its use, of which the shortest counts: no queue makes it shorter.
//!
//! Over a short and fast link the window is no limit, but each end sleeps and wakes whenever it is used up. A stream
//! that is the only one of its session therefore gets as much as arrives in a millisecond.

use std::time::{Duration, Instant};

/// Observations of one stream, from which its window grows.
///
/// They are made between two times at which the peer *went on*: sent what it could not have sent without
/// credit that was new to it.
#[derive(Debug)]
pub(super) struct Growth {
    /// The window in force, in bytes.
    window: u32,
    /// What the peer may still send by the credit that it had when it last went on. Credit given since
    /// then may be on its way still.
    known: u32,
    /// All of that.
    able: u32,
    /// When it last went on, or the first byte came.
    went_on_at: Option<Instant>,
    /// Longest time since then without a byte on the connection, other than the last one.
    pause: Duration,
    /// When the first credit went out after that.
    offered_at: Option<Instant>,
    /// When what it knew of was used up.
    stalled_at: Option<Instant>,
    /// Shortest time in which the peer has gone on by credit.
    swiftest: Duration,
    /// When credit last went out, or the first byte came.
    granted_at: Option<Instant>,
    /// Credit to be given beyond what was consumed.
    extra: u32,
}

/// The peer would have sent more, had the window been larger.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct HoldUp {
    /// Bytes that it could and did send.
    bytes: u32,
    /// From going on to going on.
    whole: Duration,
    /// The end of it, in which nothing came.
    silence: Duration,
}

/// Largest window for a peer with the protocol extensions, in bytes. It is half of what windows grow by together, so
/// that one stream leaves something to others.
pub(super) const MAX_WINDOW: u32 = 8 * 1024 * 1024;

/// Largest window for a legacy peer, in bytes: the Go original sends whole windows in one frame, in front of all other
/// streams.
pub(super) const MAX_LEGACY_WINDOW: u32 = 1024 * 1024;

/// Shortest silence that counts: below, the window is not what holds the peer up.
const MIN_SILENCE: Duration = Duration::from_millis(1);

/// Most times itself that a window becomes at once: one observation may be wrong. Until a larger window shows
/// at this end a round trip passes, in which the old one is observed again; it justifies no more than before.
const MAX_STEP: u32 = 4;

/// What may be under way to a stream that is the only one: as much as arrives in this time. What is sent
/// beside it later is held up by no more than that.
const REACH: Duration = Duration::from_millis(1);

/// Largest window that a stream gets for being fast, in bytes.
const MAX_FAST_WINDOW: u32 = 1024 * 1024;

/// What growth goes by that is not the stream's own.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link {
    pub(super) now: Instant,
    /// When the input before the present one came.
    pub(super) quiet_since: Option<Instant>,
    /// The largest window that the peer gets.
    pub(super) most: u32,
    /// What is left of the growth of all windows together.
    pub(super) budget: u32,
}

impl HoldUp {
    /// Returns the window with which the silence would have been filled.
    fn filled(self) -> u32 {
        let busy = self.whole.saturating_sub(self.silence).as_nanos();
        let filled = u128::from(self.bytes).saturating_mul(self.whole.as_nanos()).checked_div(busy);
        filled.and_then(|filled| u32::try_from(filled).ok()).unwrap_or(u32::MAX)
    }
}

impl Growth {
    /// Starts to observe a stream with this window, of which `known` is left.
    pub(super) fn new(window: u32, known: u32) -> Self {
        Self {
            window,
            known,
            able: window,
            went_on_at: None,
            pause: Duration::ZERO,
            offered_at: None,
            stalled_at: None,
            swiftest: Duration::MAX,
            granted_at: None,
            extra: 0,
        }
    }

    /// Returns the window in force, in bytes.
    pub(super) const fn window(&self) -> u32 {
        self.window
    }

    /// Returns the credit to be given beyond what was consumed.
    pub(super) const fn extra(&self) -> u32 {
        self.extra
    }

    /// Gives no more credit than was consumed: the peer has finished the stream.
    pub(super) fn clear_extra(&mut self) {
        self.extra = 0;
    }

    /// Notes that credit goes out, all that is extra included; returns how much that is.
    pub(super) fn grant(&mut self, now: Option<Instant>) -> u32 {
        self.granted_at = now;
        self.offered_at = self.offered_at.or(now);
        std::mem::take(&mut self.extra)
    }

    /// Looks at `n` bytes that came while so much of the window was left, `is_read` if all before them was read.
    /// Returns by how much the window has grown, to `most` and by `budget` at most.
    pub(super) fn receive(&mut self, n: u32, window_left: u32, is_read: bool, link: &Link) -> u32 {
        let held_up = self.observe(n, window_left, link.now, link.quiet_since);
        let Some(held_up) = held_up.filter(|_| is_read) else { return 0 };
        let most = self.window.saturating_mul(MAX_STEP).min(link.most);
        self.grow_to(held_up.filled().min(most), link.budget)
    }

    /// Grows to what comes in [`REACH`], going by what was consumed since credit last went out. Returns by how much.
    pub(super) fn widen(&mut self, consumed: u32, now: Instant, budget: u32) -> u32 {
        self.grow_to(self.reach(consumed, now).min(MAX_FAST_WINDOW), budget)
    }

    fn grow_to(&mut self, window: u32, budget: u32) -> u32 {
        let grown = window.saturating_sub(self.window).min(budget);
        self.window += grown;
        self.extra += grown;
        grown
    }

    /// Notes bytes that came; returns how the window held the peer up before them, if it did. `quiet_since` is when
    /// the connection had last brought anything.
    fn observe(
        &mut self,
        n: u32,
        window_left: u32,
        now: Instant,
        quiet_since: Option<Instant>,
    ) -> Option<HoldUp> {
        self.granted_at.get_or_insert(now);
        let went_on_at = *self.went_on_at.get_or_insert(now);
        let mut held_up = None;
        if self.stalled_at.is_some() || n > self.known {
            held_up = self.go_on(now, went_on_at, quiet_since);
            (self.known, self.able) = (window_left, window_left);
        } else if let Some(quiet) = quiet_since.filter(|quiet| *quiet >= went_on_at) {
            self.pause = self.pause.max(now.saturating_duration_since(quiet));
        }
        self.known = self.known.saturating_sub(n);
        if self.known == 0 {
            self.stalled_at = Some(now);
        }
        held_up
    }

    /// Notes that the peer uses credit that it did not know of when it last went on.
    fn go_on(&mut self, now: Instant, before: Instant, quiet_since: Option<Instant>) -> Option<HoldUp> {
        let pause = std::mem::take(&mut self.pause);
        self.went_on_at = Some(now);
        if let Some(offered_at) = self.offered_at.take() {
            let taken = now.saturating_duration_since(offered_at);
            self.swiftest = self.swiftest.min(taken);
            if taken / 2 > self.swiftest {
                self.stalled_at = None;
            }
        }
        let silent_since = self.stalled_at.take()?.max(quiet_since?);
        let whole = now.saturating_duration_since(before);
        let silence = now.saturating_duration_since(silent_since);
        let long = silence >= MIN_SILENCE && silence >= whole / 4 && silence / 3 >= pause / 2;
        long.then_some(HoldUp { bytes: self.able, whole, silence })
    }

    /// Returns how many bytes come in [`REACH`], going by those that were consumed since credit last went out.
    fn reach(&self, consumed: u32, now: Instant) -> u32 {
        let nanos = self.granted_at.map_or(0, |since| now.saturating_duration_since(since).as_nanos());
        // No time at all says nothing.
        let reach = (u128::from(consumed) * REACH.as_nanos()).checked_div(nanos).unwrap_or(0);
        u32::try_from(reach).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const W: u32 = 256 * 1024;

    const MS: Duration = Duration::from_millis(1);

    /// A stream of which all is read as it comes.
    struct Observed {
        growth: Growth,
        now: Instant,
        quiet_since: Option<Instant>,
        window_left: u32,
    }

    impl Observed {
        fn new() -> Self {
            Self { growth: Growth::new(W, W), now: Instant::now(), quiet_since: None, window_left: W }
        }

        /// So many bytes come, so long after the last ones.
        fn bytes(&mut self, after: Duration, n: u32) -> Option<HoldUp> {
            self.now += after;
            let held_up = self.growth.observe(n, self.window_left, self.now, self.quiet_since);
            self.quiet_since = Some(self.now);
            self.window_left -= n;
            held_up
        }

        fn grant(&mut self) {
            self.growth.grant(Some(self.now));
            self.window_left = W;
        }

        /// A window of bytes that take `busy` from the first to the last, each half with its credit, and
        /// one of the next window after `silence`.
        fn window(&mut self, busy: Duration, silence: Duration) -> Option<HoldUp> {
            assert_eq!(self.bytes(Duration::ZERO, W / 2 - 1), None);
            self.grant();
            assert_eq!(self.bytes(busy, W / 2), None);
            self.grant();
            self.bytes(silence, 1)
        }

        /// The first byte, then windows; what the last of them shows.
        fn windows(times: &[(Duration, Duration)]) -> Option<HoldUp> {
            let mut stream = Self::new();
            stream.bytes(Duration::ZERO, 1);
            let mut last = None;
            for (busy, silence) in times {
                last = stream.window(*busy, *silence);
            }
            last
        }
    }

    #[test]
    fn silence_after_a_used_up_window_is_a_hold_up() {
        let held_up = Observed::windows(&[(MS, 99 * MS)]);
        assert_eq!(held_up, Some(HoldUp { bytes: W, whole: 100 * MS, silence: 99 * MS }));
    }

    #[test]
    fn short_gap_or_one_that_is_a_small_part_is_none() {
        assert_eq!(Observed::windows(&[(Duration::ZERO, MS * 9 / 10)]), None);
        assert_eq!(
            Observed::windows(&[(Duration::ZERO, MS)]),
            Some(HoldUp { bytes: W, whole: MS, silence: MS })
        );
        // The busy part is in pieces, as bytes come over a link.
        for (silence, is_one) in [(32, false), (34, true)] {
            let mut stream = Observed::new();
            for _ in 0..100 {
                stream.bytes(MS, W / 128);
                stream.grant();
            }
            stream.bytes(MS, W - 100 * (W / 128));
            stream.grant();
            assert_eq!(stream.bytes(silence * MS, 1).is_some(), is_one, "{silence} ms");
        }
    }

    #[test]
    fn only_the_silence_right_before_the_peer_goes_on_counts() {
        for (since_other, is_one) in [(Duration::ZERO, false), (10 * MS, false), (50 * MS, true)] {
            let mut stream = Observed::new();
            stream.bytes(Duration::ZERO, W);
            stream.grant();
            stream.quiet_since = Some(stream.now + 100 * MS - since_other);
            assert_eq!(stream.bytes(100 * MS, 1).is_some(), is_one, "{since_other:?} after other bytes");
        }
    }

    #[test]
    fn pause_before_credit_is_used_up_shows_that_the_sender_is_slow() {
        assert_eq!(Observed::windows(&[(20 * MS, 20 * MS)]), None);
        assert_eq!(Observed::windows(&[(20 * MS, 29 * MS)]), None);
        assert_eq!(
            Observed::windows(&[(20 * MS, 30 * MS)]),
            Some(HoldUp { bytes: W, whole: 50 * MS, silence: 30 * MS })
        );
    }

    #[test]
    fn credit_that_was_once_used_much_sooner_is_not_what_the_peer_waits_for() {
        // A sender that is slow, or a queue that has become long.
        assert!(Observed::windows(&[(MS, 10 * MS), (MS, 19 * MS)]).is_some());
        assert!(Observed::windows(&[(MS, 10 * MS), (MS, 40 * MS)]).is_none());
        assert!(Observed::windows(&[(MS, 40 * MS), (MS, 10 * MS)]).is_some());
    }

    #[test]
    fn silence_would_have_been_filled_at_the_rate_of_what_came_before() {
        let filled = |bytes, whole: u32, silence: u32| {
            let held_up = HoldUp { bytes, whole: whole * MS, silence: silence * MS };
            held_up.filled()
        };
        assert_eq!(filled(W, 100, 50), 2 * W);
        assert_eq!(filled(W, 100, 60), W * 5 / 2);
        assert_eq!(filled(W, 100, 99), 100 * W);
        assert_eq!(filled(W, 100, 100), u32::MAX);
        assert_eq!(filled(u32::MAX, u32::MAX, 1), u32::MAX);
    }

    /// The reach of a stream of which so much was consumed in so long.
    fn reach(consumed: u32, elapsed: Duration) -> u32 {
        let start = Instant::now();
        let mut growth = Growth::new(W, W);
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
}
