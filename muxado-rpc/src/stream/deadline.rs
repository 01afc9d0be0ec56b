//! The time limit of a call, for everyone who holds a call to it.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use pin_project::pin_project;
use tokio::time::Instant;

use crate::{MethodInfo, Request, Status, support::timer::Timer};

/// A time limit, and when it is over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TimeLimit {
    at: Instant,
    timeout: Duration,
}

impl TimeLimit {
    pub(crate) const fn new(at: Instant, timeout: Duration) -> Self {
        Self { at, timeout }
    }

    /// Returns a limit that counts from `arrival`; `None` if it lies beyond the end of time, which is no limit.
    pub(crate) fn from(arrival: Instant, timeout: Duration) -> Option<Self> {
        arrival.checked_add(timeout).map(|at| Self { at, timeout })
    }

    /// Returns the limit of a request that has arrived.
    pub(crate) fn of(request: &Request) -> Option<Self> {
        Some(Self { at: request.deadline()?, timeout: request.timeout()? })
    }

    pub(crate) const fn at(self) -> Instant {
        self.at
    }

    /// Whether there is no time at all.
    pub(crate) const fn is_zero(self) -> bool {
        self.timeout.is_zero()
    }

    /// Returns the status of a call that was not over in time. `what` says what was missed, up to the number.
    pub(crate) fn status(self, method: &MethodInfo, what: &str) -> Status {
        exceeded(self.timeout, method, what)
    }
}

/// Returns the status of a call that was not over in `timeout`. `what` says what was missed, up to the number.
pub(crate) fn exceeded(timeout: Duration, method: &MethodInfo, what: &str) -> Status {
    Status::deadline_exceeded(format!("{method}: {what} of {timeout:?}"))
}

/// A time limit, and the timer of those who have to wait for it.
#[derive(Debug)]
pub(crate) struct Deadline {
    // Boxed, because thousands of calls may wait at a time.
    inner: Pin<Box<Inner>>,
}

#[pin_project]
#[derive(Debug)]
struct Inner {
    limit: TimeLimit,
    /// Bytes of a body that may still be taken after the limit.
    grace: usize,
    #[pin]
    timer: Timer,
}

impl Deadline {
    pub(crate) fn new(limit: TimeLimit) -> Self {
        Self { inner: Box::pin(Inner { limit, grace: GRACE, timer: Timer::default() }) }
    }

    pub(crate) fn limit(&self) -> TimeLimit {
        self.inner.limit
    }

    /// Ready when the limit has passed. To be asked after everything else that could go on has been polled: what is
    /// there in time counts before the limit does.
    pub(crate) fn poll_exceeded(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let inner = self.inner.as_mut().project();
        inner.timer.poll(cx, inner.limit.at)
    }

    /// Whether the limit has passed and what was there by then has been looked at. Where there is always something
    /// to do nobody waits for the timer, so the clock is to be asked.
    pub(crate) fn has_run_out(&self) -> bool {
        self.inner.grace == 0 && self.has_passed()
    }

    /// Notes that more of a body came: after the limit only so much of it is taken.
    pub(crate) fn note_taken(&mut self, bytes: usize) {
        if self.has_passed() {
            let grace = self.inner.as_mut().project().grace;
            *grace = grace.saturating_sub(bytes);
        }
    }

    fn has_passed(&self) -> bool {
        Instant::now() >= self.inner.limit.at
    }
}

/// A time limit whose timer is made when it is first waited for: most handlers are done before.
#[derive(Debug)]
pub(crate) struct LazyDeadline {
    limit: TimeLimit,
    deadline: Option<Deadline>,
}

impl LazyDeadline {
    pub(crate) const fn new(limit: TimeLimit) -> Self {
        Self { limit, deadline: None }
    }

    pub(crate) const fn limit(&self) -> TimeLimit {
        self.limit
    }

    /// As [`Deadline::poll_exceeded`].
    pub(crate) fn poll_exceeded(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.deadline.get_or_insert_with(|| Deadline::new(self.limit)).poll_exceeded(cx)
    }
}

/// A time limit whose timer is the reminder of a stream: it costs a call that waits for one no timer of its own.
///
/// The reminder is set in the step that waits for something of the stream; [`poll_exceeded`](Self::poll_exceeded) follows it.
#[derive(Debug)]
pub(crate) struct StreamDeadline {
    limit: TimeLimit,
    step: Step,
}

/// How far the waiting for a limit has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Step {
    /// Nobody has waited yet.
    New,
    /// The reminder is set.
    Waiting,
    /// The limit has passed, and other tasks have a turn: see [`Timer`].
    Passed,
}

impl Step {
    /// Ready when the limit has passed, at the second look: the reminder is set during the first, at which there is no need to
    /// ask for the time. `at` is told the time, and says when the limit passes.
    #[inline]
    pub(crate) fn poll_exceeded(
        &mut self,
        cx: &Context<'_>,
        at: impl FnOnce(Instant) -> Instant,
    ) -> Poll<()> {
        match self {
            Self::New => *self = Self::Waiting,
            Self::Waiting => {
                let now = Instant::now();
                if now >= at(now) {
                    *self = Self::Passed;
                    cx.waker().wake_by_ref();
                }
            }
            Self::Passed => return Poll::Ready(()),
        }
        Poll::Pending
    }
}

impl StreamDeadline {
    pub(crate) const fn new(limit: TimeLimit) -> Self {
        Self { limit, step: Step::New }
    }

    pub(crate) const fn limit(&self) -> TimeLimit {
        self.limit
    }

    /// Returns the time for the stream's reminder.
    pub(crate) fn reminder(&self) -> Option<std::time::Instant> {
        (self.step != Step::Passed).then(|| self.limit.at.into_std())
    }

    /// As [`Deadline::poll_exceeded`].
    pub(crate) fn poll_exceeded(&mut self, cx: &Context<'_>) -> Poll<()> {
        let at = self.limit.at;
        self.step.poll_exceeded(cx, |_| at)
    }
}

/// Bytes that may be taken after the limit, if they are there: a process that was stopped beyond it finds what
/// had come in time. Few enough for a sender that never stops to be cut all the same.
const GRACE: usize = 32 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_limit_counts_from_the_arrival() {
        let arrival = Instant::now();
        tokio::time::advance(Duration::from_secs(3)).await;
        let limit = TimeLimit::from(arrival, Duration::from_secs(5)).unwrap();
        let mut deadline = Deadline::new(limit);
        std::future::poll_fn(|cx| deadline.poll_exceeded(cx)).await;
        assert_eq!(arrival.elapsed(), Duration::from_secs(5));
        assert!(TimeLimit::from(arrival, Duration::MAX).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn after_the_limit_a_little_of_what_is_there_is_taken() {
        let mut deadline = Deadline::new(TimeLimit::from(Instant::now(), Duration::from_secs(1)).unwrap());
        deadline.note_taken(1 << 20);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(!deadline.has_run_out());
        deadline.note_taken(GRACE - 1);
        assert!(!deadline.has_run_out());
        deadline.note_taken(1);
        assert!(deadline.has_run_out());
    }

    #[tokio::test(start_paused = true)]
    async fn a_limit_holds_beside_what_takes_whole_turns() {
        let mut deadline = Deadline::new(TimeLimit::from(Instant::now(), Duration::from_secs(1)).unwrap());
        tokio::time::advance(Duration::from_secs(2)).await;
        let mut polls = 0;
        std::future::poll_fn(|cx| {
            while std::pin::pin!(tokio::task::consume_budget()).poll(cx).is_ready() {}
            polls += 1;
            assert!(polls <= 2, "it has passed");
            deadline.poll_exceeded(cx)
        })
        .await;
    }
}
