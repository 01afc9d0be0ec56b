//! The times at which a session has something to do, in one table.

use std::{
    num::NonZeroU64,
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::session::Session;
use crate::error::{ErrorCode, SessionError};

/// What a session does when its time has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Timer {
    /// Sends the next heartbeat.
    Ping,
    /// Finds that the answer to a heartbeat is missing.
    PingAnswer,
    /// Acknowledges streams that were accepted a while ago and have not been answered.
    Acknowledge,
    /// Credits what was read of streams whose peer is held up.
    Credit,
    /// Looks for streams that wait for the peer and do not move.
    Stall,
    /// Resets streams that have not sent their type.
    StreamType,
    /// Closes the session, whatever is still unsent.
    Close,
    /// Closes a session that nobody uses.
    Idle,
}

impl Timer {
    const COUNT: usize = Self::Idle as usize + 1;
}

/// A time of a session, in half the room of an [`Instant`]: nanoseconds since the session's first, and one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Moment(NonZeroU64);

/// When each [`Timer`] is due.
#[derive(Debug, Default)]
pub(super) struct Timers {
    due: [Option<Instant>; Timer::COUNT],
    /// The first of these times.
    next: Option<Instant>,
    /// The time of the last input or timeout.
    now: Option<Instant>,
    /// That in short.
    moment: Option<Moment>,
    /// The time of the first, from which moments count.
    origin: Option<Instant>,
    /// Frames of both directions when the time for [`Timer::Idle`] was last set.
    frames_noted: u64,
}

impl Timers {
    /// Sets when a timer is due. A time that cannot be represented is never due.
    #[inline]
    pub(super) fn set(&mut self, timer: Timer, at: Option<Instant>) {
        let before = std::mem::replace(&mut self.due[timer as usize], at);
        if before != at {
            self.note_change(before, at);
        }
    }

    fn note_change(&mut self, before: Option<Instant>, at: Option<Instant>) {
        if before == self.next {
            self.next = self.due.iter().flatten().min().copied();
        } else if let Some(at) = at
            && self.next.is_none_or(|next| at < next)
        {
            self.next = Some(at);
        }
    }

    pub(super) fn stop_all(&mut self) {
        (self.due, self.next) = ([None; Timer::COUNT], None);
    }

    #[inline]
    pub(super) fn is_set(&self, timer: Timer) -> bool {
        self.due[timer as usize].is_some()
    }

    pub(super) fn is_due(&self, timer: Timer, now: Instant) -> bool {
        self.due[timer as usize].is_some_and(|at| at <= now)
    }

    /// Notes the time. A session knows no other clock.
    #[inline]
    pub(super) fn set_now(&mut self, now: Instant) {
        if self.now != Some(now) {
            self.now = Some(now);
            let since = now.saturating_duration_since(*self.origin.get_or_insert(now)).as_nanos();
            self.moment =
                Some(Moment(NonZeroU64::MIN.saturating_add(u64::try_from(since).unwrap_or(u64::MAX))));
        }
    }

    /// Returns the time of the last input or timeout in short.
    #[inline]
    pub(super) const fn moment(&self) -> Option<Moment> {
        self.moment
    }

    /// Returns the time that a moment stands for.
    #[inline]
    pub(super) fn instant(&self, moment: Moment) -> Option<Instant> {
        if self.moment == Some(moment) {
            // Most streams are accepted after the input with which they came.
            return self.now;
        }
        self.origin?.checked_add(Duration::from_nanos(moment.0.get() - 1))
    }

    /// Returns the time of the last input or timeout.
    #[inline]
    pub(super) const fn now(&self) -> Option<Instant> {
        self.now
    }
}

impl Session {
    /// Returns when [`handle_timeout`](Self::handle_timeout) is to be called at the latest.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.has_ended() { None } else { self.timers.next }
    }

    /// Does what is due and enforces no limit: sends heartbeats and acknowledges accepted streams.
    ///
    /// [`handle_timeout`](Self::handle_timeout) does this, too. A driver calls it alone while it has a reason to put
    /// limits off, for instance after the process was stopped for a while.
    pub fn handle_tasks(&mut self, now: Instant) {
        self.timers.set_now(now);
        if self.timers.is_due(Timer::Acknowledge, now) {
            self.acknowledge_accepted(now);
        }
        if self.timers.is_due(Timer::Credit, now) {
            self.credit_held_up(now);
        }
        if self.timers.is_due(Timer::Ping, now) {
            self.ping(now);
        }
    }

    /// Does what is due and enforces the limits that have passed.
    ///
    /// Call it once at the beginning, too: idle time counts from the first call that tells the time.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.expire_untyped(now);
        self.handle_tasks(now);
        if self.timers.is_due(Timer::Stall, now) {
            self.look_for_stalls(now);
        }
        if self.timers.is_due(Timer::Close, now) {
            self.close_pending();
        }
        if self.timers.is_due(Timer::PingAnswer, now) {
            self.handle_missing_answer(now);
        }
        self.note_use(now);
        if self.timers.is_due(Timer::Idle, now) {
            self.handle_idle(now);
        }
    }

    /// Notes whether frames have come or gone.
    #[inline]
    pub(super) fn note_use(&mut self, now: Instant) {
        let frames = self.recv.frames_received() + self.send.frames_sent();
        if frames != self.timers.frames_noted || !self.timers.is_set(Timer::Idle) {
            self.timers.frames_noted = frames;
            self.restart_idle_timer(now);
        }
    }

    fn restart_idle_timer(&mut self, now: Instant) {
        let due = self.config.idle_timeout.and_then(|timeout| now.checked_add(timeout));
        self.timers.set(Timer::Idle, due);
    }

    /// Closes a session that was unused for `Config::idle_timeout`. One with open streams is in use, however silent;
    /// it is looked at again after the same time.
    fn handle_idle(&mut self, now: Instant) {
        let Some(timeout) = self.config.idle_timeout.filter(|_| !self.has_ended()) else { return };
        if self.is_idle() {
            let reason = SessionError::IdleTimeout(timeout);
            let debug = Bytes::from(reason.to_string());
            self.end_session(reason, Some((ErrorCode::NO_ERROR, debug)));
        } else {
            self.restart_idle_timer(now);
        }
    }
}
