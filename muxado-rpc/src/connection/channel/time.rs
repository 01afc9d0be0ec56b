//! How long a call over a channel may take, and what wakes it when that is over.

use std::{
    task::{Context, Poll},
    time::Duration,
};

use muxado::rpc::{Reminder, TypedSessionExt};
use tokio::{runtime::Handle, time::Instant};

use crate::{
    connection::shared::ConnectionShared,
    stream::deadline::{Deadline, Step, TimeLimit},
};

/// The time of a call, in two words.
#[derive(Debug)]
pub(super) enum CallTime {
    Unlimited,
    /// The reminder of the call's stream. A call that is answered in time sets up no timer.
    Stream {
        step: Step,
        timeout_micros: u32,
        at: Reminder,
    },
    /// Timers of the call itself.
    Timers(Box<Timers>),
}

/// The timers of a call that has some: it waits for a stream, or where the connection's task does not run.
#[derive(Debug, Default)]
pub(super) struct Timers {
    limit: Option<Deadline>,
    /// For how long it waits for a stream.
    wait: Option<Deadline>,
}

impl CallTime {
    /// Returns the time of a call that begins now. One whose limit lies beyond what an [`Instant`] can hold is unlimited.
    #[inline]
    pub(super) fn new(shared: &ConnectionShared, timeout: Option<Duration>) -> Self {
        match timeout.and_then(|timeout| TimeLimit::from(Instant::now(), timeout)) {
            Some(limit) => Self::in_short(shared, limit).unwrap_or_else(|| Self::timers(Some(limit))),
            None => Self::Unlimited,
        }
    }

    /// Returns `None` for a limit that finds no room in two words: of more than an hour, or with a part of a microsecond.
    fn in_short(shared: &ConnectionShared, limit: TimeLimit) -> Option<Self> {
        let timeout_micros = u32::try_from(limit.timeout().as_micros()).ok()?;
        let is_whole = Duration::from_micros(timeout_micros.into()) == limit.timeout();
        is_whole.then(|| {
            let at = shared.typed().reminder_at(limit.at().into_std());
            Self::Stream { step: Step::New, timeout_micros, at }
        })
    }

    fn timers(limit: Option<TimeLimit>) -> Self {
        Self::Timers(Box::new(Timers { limit: limit.map(Deadline::new), wait: None }))
    }

    pub(super) fn limit(&self, shared: &ConnectionShared) -> Option<TimeLimit> {
        match self {
            Self::Unlimited => None,
            Self::Stream { timeout_micros, at, .. } => {
                let timeout = Duration::from_micros((*timeout_micros).into());
                Some(TimeLimit::new(time_of(shared, *at), timeout))
            }
            Self::Timers(timers) => timers.limit.as_ref().map(Deadline::limit),
        }
    }

    /// Returns the time for the reminder of the stream that the call opens now, if that is to end it.
    #[inline]
    pub(super) fn reminder(&mut self, shared: &ConnectionShared) -> Option<Reminder> {
        let Self::Stream { at, .. } = *self else { return None };
        if is_elsewhere(shared) {
            self.timers_mut(shared);
            return None;
        }
        Some(at)
    }

    /// Ready when the limit has passed. To be asked after everything else that could go on has been polled: what is there
    /// in time counts before the limit does. `has_stream` says whether the reminder is set.
    #[inline]
    pub(super) fn poll_exceeded(
        &mut self,
        cx: &mut Context<'_>,
        shared: &ConnectionShared,
        has_stream: bool,
    ) -> Poll<()> {
        match self {
            Self::Unlimited => return Poll::Pending,
            Self::Stream { step, at, .. } if has_stream && (*step == Step::New || !is_elsewhere(shared)) => {
                return step.poll_exceeded(cx, || time_of(shared, *at));
            }
            _ => {}
        }
        self.timers_mut(shared).limit.as_mut().map_or(Poll::Pending, |limit| limit.poll_exceeded(cx))
    }

    /// Ready when the call has waited for a stream for too long.
    pub(super) fn poll_waited(&mut self, cx: &mut Context<'_>, shared: &ConnectionShared) -> Poll<()> {
        let timers = self.timers_mut(shared);
        if timers.wait.is_none() {
            let limit = TimeLimit::from(Instant::now(), shared.limits().queue_timeout);
            timers.wait = limit.map(Deadline::new);
        }
        // Without a timer, because the limit lies beyond what an `Instant` can hold, it waits on.
        timers.wait.as_mut().map_or(Poll::Pending, |wait| wait.poll_exceeded(cx))
    }

    /// Returns the limit for the rest of the call, which somebody else keeps.
    pub(super) fn take_limit(&mut self, shared: &ConnectionShared) -> Option<Deadline> {
        match std::mem::replace(self, Self::Unlimited) {
            Self::Timers(timers) => timers.limit,
            other => other.limit(shared).map(Deadline::new),
        }
    }

    /// Has the call keep the time itself.
    fn timers_mut(&mut self, shared: &ConnectionShared) -> &mut Timers {
        loop {
            match self {
                Self::Timers(timers) => return timers,
                _ => *self = Self::timers(self.limit(shared)),
            }
        }
    }
}

fn time_of(shared: &ConnectionShared, at: Reminder) -> Instant {
    Instant::from_std(shared.typed().time_of(at))
}

/// Returns whether the call is polled in another runtime than the connection, or in none. The connection's may not run then,
/// and the limit holds all the same.
#[inline]
fn is_elsewhere(shared: &ConnectionShared) -> bool {
    !Handle::try_current().is_ok_and(|current| current.id() == shared.runtime().id())
}
