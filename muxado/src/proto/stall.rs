//! Streams on which something is owed and nothing moves: they are reset after `Config::stall_timeout`.
//!
//! Owed is what was written here and the peer gives no credit for, or the rest of a message that the peer began and
//! somebody here waits for. Only such streams are looked at, a few times in each timeout, so an idle stream is never
//! among them, and one that moves costs nothing.

use std::time::{Duration, Instant};

use super::{
    event::Event,
    session::Session,
    stream::{RecvState, SendState, Stream, StreamKey},
};
use crate::error::ErrorCode;

/// The streams on which something is owed.
#[derive(Debug)]
pub(super) struct StallWatch {
    watched: Vec<Watched>,
    /// When they are looked at next.
    due: Option<Instant>,
    /// There may be some soon: once more nothing is to be looked at.
    expects: bool,
    resets: u64,
}

#[derive(Debug)]
struct Watched {
    key: StreamKey,
    sending: Progress,
    receiving: Progress,
}

/// How one direction of a stream moves.
#[derive(Debug)]
struct Progress {
    /// Bytes that had moved when it was first looked at, or last seen to move.
    mark: u64,
    /// How often in a row it was seen not to move since; [`UNSEEN`] before the first look.
    still: u32,
}

/// In place of a count: nothing is known yet.
const UNSEEN: u32 = u32::MAX;

/// Looks in a timeout. They are counted, not the time between them: a process that was stopped has seen nothing
/// meanwhile.
const LOOKS: u32 = 4;

/// Bytes in a timeout below which a stream does not move.
const FLOOR: u64 = 1024;

/// Entries of streams that are gone which a list may have beside those of as many as there are.
const FEW: usize = 2;

/// Bytes of window below which the peer is held up.
const HELD_UP: u32 = 256;

/// How long a peer that is held up waits at most for credit of what was read, in small pieces.
const CREDIT_DELAY: Duration = Duration::from_secs(5);

impl Progress {
    /// Notes what has moved so far; true if nothing has for too long.
    fn look(&mut self, owed: bool, moved: u64) -> bool {
        if owed && self.still != UNSEEN && moved.wrapping_sub(self.mark) < FLOOR {
            self.still += 1;
        } else {
            (self.mark, self.still) = (moved, if owed { 0 } else { UNSEEN });
        }
        self.still != UNSEEN && self.still >= LOOKS
    }
}

impl Default for StallWatch {
    fn default() -> Self {
        // Bulk data stands still for moments all the time; that costs no allocation.
        Self { watched: Vec::with_capacity(4), due: None, expects: false, resets: 0 }
    }
}

impl StallWatch {
    pub(super) const fn due(&self) -> Option<Instant> {
        self.due
    }

    pub(super) fn len(&self) -> usize {
        self.watched.len()
    }

    pub(super) const fn resets(&self) -> u64 {
        self.resets
    }

    pub(super) fn clear(&mut self) {
        (self.watched, self.due) = (Vec::new(), None);
    }
}

impl Stream {
    /// Something is to be sent, and the peer takes nothing.
    fn is_owed_credit(&self) -> bool {
        let holds = !self.queue.is_empty() && self.sendable() == 0;
        let keeps_waiting = self.write_blocked && self.window_left() == 0;
        self.send != SendState::Done && (holds || keeps_waiting)
    }

    /// Somebody waits for the rest of a message.
    fn is_owed_data(&self) -> bool {
        self.awaits_rest && self.recv == RecvState::Open && self.buffer.len() == 0
    }
}

impl Session {
    /// Waits for the rest of a message on a stream: if it does not come for `Config::stall_timeout`, the stream is
    /// reset with `WRITE_TIMEOUT`. Whatever is read from the stream ends that.
    pub fn await_rest(&mut self, key: StreamKey) {
        if let Some(stream) = self.stream_mut(key).filter(|stream| stream.recv == RecvState::Open) {
            stream.awaits_rest = true;
            self.watch_for_stall(key);
        }
    }

    /// Much is under way on a stream: something may soon be owed. The driver sets its timer now, and need not be woken then.
    pub(super) fn expect_stalls(&mut self) {
        if self.stalls.due.is_none()
            && let Some(timeout) = self.config.stall_timeout.filter(|_| self.end.is_none())
        {
            self.stalls.due = self.now.and_then(|now| now.checked_add(timeout / LOOKS));
            self.stalls.expects = true;
        }
    }

    /// Something is owed on the stream.
    pub(super) fn watch_for_stall(&mut self, key: StreamKey) {
        if self.config.stall_timeout.is_none() || self.end.is_some() {
            return;
        }
        let Some(stream) = self.stream_mut(key).filter(|s| !s.watched && !s.owner.is_heartbeat()) else {
            return;
        };
        stream.watched = true;
        let begun = || Progress { mark: 0, still: UNSEEN };
        let (sending, receiving) = (begun(), begun());
        if self.stalls.watched.len() > 2 * self.streams.len() + FEW {
            let mut watched = std::mem::take(&mut self.stalls.watched);
            watched.retain(|entry| self.stream(entry.key).is_some());
            self.stalls.watched = watched;
        }
        self.stalls.watched.push(Watched { key, sending, receiving });
        if self.stalls.due.is_none() {
            // The time of the last input may be long ago: the first look is for nothing, then.
            self.stalls.due = self.now;
            self.events.push_back(Event::Timer);
        }
    }

    /// Looks at the streams on which something is owed, if it is time.
    pub(super) fn look_for_stalls(&mut self, now: Instant) {
        let Some(timeout) = self.config.stall_timeout else { return };
        if self.stalls.due.is_none_or(|due| due > now) || self.end.is_some() {
            return;
        }
        let mut watched = std::mem::take(&mut self.stalls.watched);
        let mut stalled = Vec::new();
        watched.retain_mut(|Watched { key, sending, receiving }| {
            let Some(stream) = self.stream_mut(*key) else { return false };
            let (credit, data) = (stream.is_owed_credit(), stream.is_owed_data());
            let stands = sending.look(credit, stream.sent) | receiving.look(data, stream.received);
            stream.watched = (credit || data) && !stands && stream.reset.is_none();
            if stands {
                stalled.push(*key);
            }
            stream.watched
        });
        let more = !watched.is_empty() || std::mem::take(&mut self.stalls.expects);
        self.stalls.watched = watched;
        self.stalls.due = if more { now.checked_add(timeout / LOOKS) } else { None };
        for key in stalled {
            self.reset_stalled(key, timeout, now);
        }
    }

    fn reset_stalled(&mut self, key: StreamKey, timeout: Duration, now: Instant) {
        let Some(stream) = self.stream(key) else { return };
        let (id, unsent) = (stream.id, stream.queue.len());
        if let Some(line) = self.logged.stalled.admit(now) {
            tracing::warn!(stream = ?id, unsent, suppressed = line.suppressed,
                "nothing moved on a stream for {timeout:?} (Config::stall_timeout); resetting it");
        }
        self.stalls.resets += 1;
        self.reset_with(key, ErrorCode::WRITE_TIMEOUT);
    }
}

/// Streams on which the peer has used up its window: what is read there slowly is credited from time to time, before
/// it is worth a frame, so that the peer sees it move.
#[derive(Debug)]
pub(super) struct HeldUp {
    keys: Vec<StreamKey>,
    due: Option<Instant>,
}

impl Default for HeldUp {
    fn default() -> Self {
        Self { keys: Vec::with_capacity(4), due: None }
    }
}

impl HeldUp {
    pub(super) const fn due(&self) -> Option<Instant> {
        self.due
    }

    pub(super) fn clear(&mut self) {
        (self.keys, self.due) = (Vec::new(), None);
    }
}

impl Session {
    /// The peer has sent on a stream of which `window` is left.
    pub(super) fn note_window(&mut self, key: StreamKey, window: u32, now: Instant) {
        if window < HELD_UP
            && let Some(stream) = self.stream_mut(key)
            && !std::mem::replace(&mut stream.held_up, true)
        {
            if self.held_up.keys.len() > 2 * self.streams.len() + FEW {
                let mut keys = std::mem::take(&mut self.held_up.keys);
                keys.retain(|key| self.stream(*key).is_some());
                self.held_up.keys = keys;
            }
            self.held_up.keys.push(key);
            if self.held_up.due.is_none() {
                self.held_up.due = now.checked_add(CREDIT_DELAY);
            }
        }
    }

    /// Has what was read of streams whose peer is held up credited.
    pub(super) fn credit_held_up(&mut self, now: Instant) {
        if self.held_up.due.is_none_or(|due| due > now) {
            return;
        }
        let mut keys = std::mem::take(&mut self.held_up.keys);
        keys.retain(|&key| {
            let Some(stream) = self.stream_mut(key) else { return false };
            let is_over = stream.recv != RecvState::Open;
            stream.held_up = stream.recv_window < HELD_UP && stream.consumed == 0 && !is_over;
            if !stream.held_up && stream.consumed > 0 && !is_over {
                self.credit_now(key);
            }
            self.stream(key).is_some_and(|stream| stream.held_up)
        });
        self.held_up.due = if keys.is_empty() { None } else { now.checked_add(CREDIT_DELAY) };
        self.held_up.keys = keys;
    }

    /// Owes the credit for what was read, however little.
    pub(super) fn credit_now(&mut self, key: StreamKey) {
        let Some(stream) = self.stream_mut(key) else { return };
        stream.credit_due = true;
        if !std::mem::replace(&mut stream.control, true) {
            self.queue_control(key);
        }
    }
}
