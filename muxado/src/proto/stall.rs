//! Streams that wait for the peer while nothing moves: they are reset after `Config::stall_timeout`.
//!
//! A stream waits for credit for what was written here, or for the rest of a message that the peer began and somebody
//! here needs. Only such streams are looked at, a few times in each timeout, so an idle stream is never among them, and
//! one that moves costs nothing.

use std::time::{Duration, Instant};

use super::{
    event::Event, flow_control::Moved, session::Session, store::StreamKey, stream::Stream, timers::Timer,
};
use crate::{error::ErrorCode, log_limit::RareLogLimit};

/// Looks in a timeout. They are counted, not the time between them: a process that was stopped has seen nothing
/// meanwhile.
const LOOKS: u16 = 4;

/// Bytes in a timeout below which a stream does not move.
const FLOOR: u32 = 1024;

/// Entries of streams that are gone which a list may have beside those of as many as there are.
const FEW: usize = 2;

/// Bytes of window below which the peer is held up.
const HELD_UP: u32 = 256;

/// How long a peer that is held up waits at most for credit of what was read, in small pieces.
const CREDIT_DELAY: Duration = Duration::from_secs(5);

/// How a stream is watched.
#[derive(Debug, Default)]
pub(super) struct StallState {
    /// It is in `StallWatch::watched`.
    watched: bool,
    /// Somebody waits for the rest of a message.
    awaits_rest: bool,
    /// It is in `StallWatch::held_up`.
    held_up: bool,
}

impl StallState {
    /// Notes that the stream is read: nobody waits for the rest of a message.
    #[inline]
    pub(super) fn note_read(&mut self) {
        self.awaits_rest = false;
    }
}

/// The streams of a session that may stall.
#[derive(Debug)]
pub(super) struct StallWatch {
    /// Streams that wait for the peer.
    watched: Vec<Watched>,
    /// Streams on which the peer has used up its window. What is read there slowly is credited from time to time, before
    /// it is worth a frame, so that the peer sees it move.
    held_up: Vec<StreamKey>,
    /// A stream may soon wait: once more nothing is to be looked at.
    expects: bool,
    resets: u64,
    reset_log: RareLogLimit,
}

#[derive(Debug)]
struct Watched {
    key: StreamKey,
    sending: Progress,
    receiving: Progress,
}

/// How one direction of a stream moves.
#[derive(Debug, Default)]
struct Progress {
    /// Bytes that had moved when it was last seen to.
    mark: Moved,
    /// How often in a row it was seen not to move since. `None` before the first look at a direction that waits, which
    /// may come right after it began to.
    still: Option<u16>,
}

impl Progress {
    /// Notes what has moved so far; returns whether nothing has for too long, while the stream waited.
    fn look(&mut self, waits: bool, moved: Moved) -> bool {
        let still = match self.still {
            Some(still) if waits && moved.since(self.mark) < FLOOR => still + 1,
            _ => {
                self.mark = moved;
                0
            }
        };
        self.still = waits.then_some(still);
        waits && still >= LOOKS
    }
}

impl StallWatch {
    pub(super) fn new() -> Self {
        let (watched, held_up) = (Vec::new(), Vec::new());
        Self { watched, held_up, expects: false, resets: 0, reset_log: RareLogLimit::default() }
    }

    /// Returns how many streams wait for the peer. Some may have gone on since they were looked at.
    pub(super) fn len(&self) -> usize {
        self.watched.len()
    }

    /// Returns how many streams were reset, ever.
    pub(super) const fn resets(&self) -> u64 {
        self.resets
    }

    /// Gives back memory that nothing is in.
    pub(super) fn shrink(&mut self) {
        self.watched.shrink_to_fit();
        self.held_up.shrink_to_fit();
    }

    /// Frees the lists: the session has ended.
    pub(super) fn end(&mut self) {
        (self.watched, self.held_up) = (Vec::new(), Vec::new());
    }
}

impl Stream {
    /// Returns whether somebody waits for the rest of a message.
    fn awaits_data(&self) -> bool {
        self.stall.awaits_rest && self.recv.is_open() && self.recv.unread() == 0
    }
}

impl Session {
    /// Waits for the rest of a message on a stream: if it does not come for `Config::stall_timeout`, the stream is
    /// reset with `WRITE_TIMEOUT`. Whatever is read from the stream ends that.
    pub fn await_rest(&mut self, key: StreamKey) {
        if let Some(stream) = self.store.get_mut(key).filter(|stream| stream.recv.is_open()) {
            stream.stall.awaits_rest = true;
            self.watch_for_stall(key);
        }
    }

    /// Sets the timer, because much is under way on a stream, which may soon wait for the peer: the driver need not be
    /// woken for the timer then.
    #[inline]
    pub(super) fn expect_stalls(&mut self) {
        if !self.timers.is_set(Timer::Stall)
            && let Some(timeout) = self.config.stall_timeout.filter(|_| !self.has_ended())
        {
            let due = self.timers.now().and_then(|now| now.checked_add(timeout / u32::from(LOOKS)));
            self.timers.set(Timer::Stall, due);
            self.stalls.expects = true;
        }
    }

    /// Watches a stream that waits for the peer.
    pub(super) fn watch_for_stall(&mut self, key: StreamKey) {
        if self.config.stall_timeout.is_none() || self.has_ended() {
            return;
        }
        let is_new = |stream: &&mut Stream| !stream.stall.watched && !stream.owner().is_heartbeat();
        let Some(stream) = self.store.get_mut(key).filter(is_new) else { return };
        stream.stall.watched = true;
        let (sending, receiving) = (Progress::default(), Progress::default());
        if self.stalls.watched.len() > 2 * self.store.len() + FEW {
            self.stalls.watched.retain(|watched| self.store.get(watched.key).is_some());
        }
        self.stalls.watched.push(Watched { key, sending, receiving });
        if !self.timers.is_set(Timer::Stall) {
            // The time of the last input may be long ago: the first look only notes what has moved so far.
            self.timers.set(Timer::Stall, self.timers.now());
            self.events.push(Event::Timer);
        }
    }

    /// Looks at the streams that wait for the peer, and resets those that do not move.
    pub(super) fn look_for_stalls(&mut self, now: Instant) {
        let Some(timeout) = self.config.stall_timeout.filter(|_| !self.has_ended()) else { return };
        let mut stalled = Vec::new();
        self.stalls.watched.retain_mut(|Watched { key, sending, receiving }| {
            let Some(stream) = self.store.get_mut(*key) else { return false };
            let (credit, data) = (stream.send.awaits_credit(), stream.awaits_data());
            let stands =
                sending.look(credit, stream.send.sent()) | receiving.look(data, stream.recv.received());
            if stands {
                stalled.push(*key);
            }
            stream.stall.watched = (credit || data) && !stands && stream.reset().is_none();
            stream.stall.watched
        });
        let more = !self.stalls.watched.is_empty() || std::mem::take(&mut self.stalls.expects);
        self.timers.set(Timer::Stall, if more { now.checked_add(timeout / u32::from(LOOKS)) } else { None });
        for key in stalled {
            self.reset_stalled(key, timeout, now);
        }
    }

    fn reset_stalled(&mut self, key: StreamKey, timeout: Duration, now: Instant) {
        let Some(stream) = self.store.get(key) else { return };
        if let Some(line) = self.stalls.reset_log.admit(now) {
            tracing::warn!(stream = ?stream.id(), unsent = stream.send.unsent(), suppressed = line.suppressed,
                "nothing moved on a stream for {timeout:?} (Config::stall_timeout); resetting it");
        }
        self.stalls.resets += 1;
        self.reset_with(key, ErrorCode::WRITE_TIMEOUT);
    }

    /// Notes how much is left of the window of a stream on which the peer has sent something.
    #[inline]
    pub(super) fn note_window(&mut self, key: StreamKey, left: u32, now: Instant) {
        if left < HELD_UP
            && let Some(stream) = self.store.get_mut(key)
            && !std::mem::replace(&mut stream.stall.held_up, true)
        {
            if self.stalls.held_up.len() > 2 * self.store.len() + FEW {
                self.stalls.held_up.retain(|key| self.store.get(*key).is_some());
            }
            self.stalls.held_up.push(key);
            if !self.timers.is_set(Timer::Credit) {
                self.timers.set(Timer::Credit, now.checked_add(CREDIT_DELAY));
            }
        }
    }

    /// Credits what was read of streams whose peer is held up.
    pub(super) fn credit_held_up(&mut self, now: Instant) {
        let mut keys = std::mem::take(&mut self.stalls.held_up);
        keys.retain(|&key| {
            let Some(stream) = self.store.get_mut(key) else { return false };
            let is_open = stream.recv.is_open();
            let (left, consumed) = (stream.recv.window().left(), stream.recv.window().consumed());
            let held_up = left < HELD_UP && consumed == 0 && is_open;
            stream.stall.held_up = held_up;
            if !held_up && consumed > 0 && is_open {
                self.credit_now(key);
            }
            held_up
        });
        self.timers.set(Timer::Credit, if keys.is_empty() { None } else { now.checked_add(CREDIT_DELAY) });
        self.stalls.held_up = keys;
    }
}
