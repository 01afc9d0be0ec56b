//! The time limit of a stream of items, where it is taken.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::Instant;

use crate::{MethodInfo, Status, support::timer::Timer};

/// By when the last item must be there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limit {
    pub(crate) at: Instant,
    pub(crate) timeout: Duration,
}

/// A limit, and the timer of those who have to wait.
#[derive(Debug)]
pub(crate) struct Expiry {
    method: &'static MethodInfo,
    limit: Limit,
    timer: Option<Pin<Box<Timer>>>,
    /// Bytes that may still be taken after the limit.
    grace: usize,
}

impl Expiry {
    pub(crate) const fn new(method: &'static MethodInfo, limit: Limit) -> Self {
        Self { method, limit, timer: None, grace: GRACE }
    }

    pub(crate) fn at(&self) -> Instant {
        self.limit.at
    }

    /// What to say if the limit has passed, and what was there by then has been looked at. Where there is always
    /// something to do nobody waits for the timer, so the clock is to be asked.
    pub(crate) fn passed(&self) -> Option<Status> {
        (self.grace == 0 && self.has_passed()).then(|| self.status())
    }

    /// Something more came: after the limit only so much of it is taken.
    pub(crate) fn note_taken(&mut self, bytes: usize) {
        if self.has_passed() {
            self.grace = self.grace.saturating_sub(bytes);
        }
    }

    fn has_passed(&self) -> bool {
        Instant::now() >= self.limit.at
    }

    /// Ready when the limit has passed.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Status> {
        let at = self.limit.at;
        let timer = self.timer.get_or_insert_with(|| Box::pin(Timer::default()));
        timer.as_mut().poll(cx, at).map(|()| self.status())
    }

    fn status(&self) -> Status {
        let (method, timeout) = (self.method, self.limit.timeout);
        Status::deadline_exceeded(format!(
            "{method}: the items did not end within the time limit of {timeout:?}"
        ))
    }
}

/// Bytes that may be taken after the limit, if they are there: a process that was stopped beyond it finds what
/// had come in time. Few enough for a sender that never stops to be cut all the same.
const GRACE: usize = 32 * 1024;
