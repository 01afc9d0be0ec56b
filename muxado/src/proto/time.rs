//! What becomes due with time, and how long a session may be of no use.

use std::time::Instant;

use bytes::Bytes;

use super::session::Session;
use crate::error::{ErrorCode, SessionError};

impl Session {
    /// When [`handle_timeout`](Self::handle_timeout) is to be called at the latest.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.end.is_some() {
            return None;
        }
        let untyped = self.untyped.front().map(|(_, deadline)| *deadline);
        let close = self.close_owed.map(|(_, deadline)| deadline);
        let idle = self.idle_deadline();
        let stalls = self.stalls.due();
        let held_up = self.held_up.due();
        let dues = [self.heartbeat_due(), untyped, self.ack_at, close, idle, stalls, held_up];
        dues.into_iter().flatten().min()
    }

    /// Does what is due and is no limit of anybody's: heartbeats, signs of acceptance.
    /// [`handle_timeout`](Self::handle_timeout) does this, too; a driver calls it alone while it has reason to put limits
    /// off, as after a time in which the process was stopped.
    pub fn handle_tasks(&mut self, now: Instant) {
        self.now = Some(now);
        if self.ack_at.is_some_and(|at| at <= now) {
            self.acknowledge_accepted(now);
        }
        self.credit_held_up(now);
        self.beat_if_due(now);
    }

    /// Does what is due. To be called once at the beginning, too: idle time counts from the first
    /// call that tells the time.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.expire_untyped(now);
        self.handle_tasks(now);
        self.look_for_stalls(now);
        if let Some((code, _)) = self.close_owed.filter(|(_, deadline)| *deadline <= now) {
            self.close(code, Bytes::new());
        }
        self.judge_heartbeat(now);
        self.note_use(now);
        self.expire_idle(now);
    }

    /// Notes whether frames have come or gone.
    pub(super) fn note_use(&mut self, now: Instant) {
        let frames = self.stats.frames_received + self.stats.frames_sent;
        if frames != self.frames_noted || self.unused_since.is_none() {
            self.frames_noted = frames;
            self.unused_since = Some(now);
        }
    }

    fn idle_deadline(&self) -> Option<Instant> {
        self.unused_since?.checked_add(self.config.idle_timeout?)
    }

    /// Closes a session that was of no use for `Config::idle_timeout`. One with streams is of use,
    /// however silent; it is looked at again after the same time.
    fn expire_idle(&mut self, now: Instant) {
        let Some(timeout) = self.config.idle_timeout else { return };
        if self.end.is_some() || self.idle_deadline().is_none_or(|deadline| deadline > now) {
            return;
        }
        if self.is_idle() {
            let reason = SessionError::IdleTimeout(timeout);
            let debug = Bytes::from(reason.to_string());
            self.finish_session(reason, Some((ErrorCode::NO_ERROR, debug)));
        } else {
            self.unused_since = Some(now);
        }
    }
}
