//! How long a call over a channel may take, and what wakes it when that is over.

use std::{
    task::{Context, Poll},
    time::Duration,
};

use muxado::{Stream, rpc::StreamExt};
use tokio::{runtime::Handle, time::Instant};

use crate::{
    connection::shared::ConnectionShared,
    stream::deadline::{Deadline, Step, TimeLimit},
};

/// The time of a call, in two words.
#[derive(Debug)]
pub(super) enum CallTime {
    Unlimited,
    /// That of the call's stream, which the connection's task keeps. A call that is answered in time sets up no timer, and
    /// does not look at the clock.
    Stream {
        step: Step,
        timeout_micros: u32,
    },
    /// Timers of the call itself.
    Timers(Box<Timers>),
}

/// The timers of a call that has some: it waits for a stream, or where the connection's task does not run.
#[derive(Debug, Default)]
pub(super) struct Timers {
    timeout: Option<Duration>,
    /// `None` as well if the limit lies beyond what an [`Instant`] can hold.
    limit: Option<Deadline>,
    /// For how long it waits for a stream.
    wait: Option<Deadline>,
}

impl CallTime {
    /// Returns the time of a call, which begins with its first poll.
    #[inline]
    pub(super) fn new(timeout: Option<Duration>) -> Self {
        timeout.map_or(Self::Unlimited, |timeout| {
            Self::in_short(timeout).unwrap_or_else(|| Self::timers(timeout, None))
        })
    }

    /// Returns `None` for a limit that finds no room in two words: of more than an hour, or with a part of a microsecond.
    #[inline]
    fn in_short(timeout: Duration) -> Option<Self> {
        let timeout_micros = u32::try_from(timeout.as_micros()).ok()?;
        let is_whole = from_micros(timeout_micros) == timeout;
        is_whole.then_some(Self::Stream { step: Step::New, timeout_micros })
    }

    fn timers(timeout: Duration, stream: Option<&Stream>) -> Self {
        let limit = limit_of(timeout, stream).map(Deadline::new);
        Self::Timers(Box::new(Timers { timeout: Some(timeout), limit, wait: None }))
    }

    pub(super) fn timeout(&self) -> Option<Duration> {
        match self {
            Self::Unlimited => None,
            Self::Stream { timeout_micros, .. } => Some(from_micros(*timeout_micros)),
            Self::Timers(timers) => timers.timeout,
        }
    }

    /// Returns the limit for what the call does apart from its stream. Unless it has been counting it does so from now on.
    pub(super) fn limit(&mut self) -> Option<TimeLimit> {
        match self {
            Self::Unlimited => None,
            _ => self.timers_mut(None).limit.as_ref().map(Deadline::limit),
        }
    }

    /// Returns after which time the stream that the call opens now is to wake it, if that is to end it.
    #[inline]
    pub(super) fn after(&mut self, shared: &ConnectionShared) -> Option<Duration> {
        let Self::Stream { timeout_micros, .. } = *self else { return None };
        if is_elsewhere(shared) {
            self.timers_mut(None);
            return None;
        }
        Some(from_micros(timeout_micros))
    }

    /// Ready when the limit has passed. To be asked after everything else that could go on has been polled: what is there
    /// in time counts before the limit does. `stream` is the one that wakes the call, once that is open.
    #[inline]
    pub(super) fn poll_exceeded(
        &mut self,
        cx: &mut Context<'_>,
        shared: &ConnectionShared,
        stream: Option<&Stream>,
    ) -> Poll<()> {
        match (&mut *self, stream) {
            (Self::Unlimited, _) => return Poll::Pending,
            (Self::Stream { step, .. }, Some(stream)) if *step == Step::New || !is_elsewhere(shared) => {
                return step.poll_exceeded(cx, |now| wakes_at(stream, now));
            }
            _ => {}
        }
        self.timers_mut(stream).limit.as_mut().map_or(Poll::Pending, |limit| limit.poll_exceeded(cx))
    }

    /// Ready when the call has waited for a stream for too long.
    pub(super) fn poll_waited(&mut self, cx: &mut Context<'_>, shared: &ConnectionShared) -> Poll<()> {
        let timers = self.timers_mut(None);
        if timers.wait.is_none() {
            let limit = TimeLimit::from(Instant::now(), shared.limits().queue_timeout);
            timers.wait = limit.map(Deadline::new);
        }
        // Without a timer, because the limit lies beyond what an `Instant` can hold, it waits on.
        timers.wait.as_mut().map_or(Poll::Pending, |wait| wait.poll_exceeded(cx))
    }

    /// Returns the limit for the rest of the call, which somebody else keeps. Where `stream` has ended, so that all there
    /// will be is here, it counts anew.
    pub(super) fn take_limit(&mut self, stream: Option<&Stream>) -> Option<Deadline> {
        match std::mem::replace(self, Self::Unlimited) {
            Self::Unlimited => None,
            Self::Stream { timeout_micros, .. } => {
                limit_of(from_micros(timeout_micros), stream).map(Deadline::new)
            }
            Self::Timers(timers) => timers.limit,
        }
    }

    /// Has the call keep the time itself.
    fn timers_mut(&mut self, stream: Option<&Stream>) -> &mut Timers {
        loop {
            *self = match self {
                Self::Timers(timers) => return timers,
                Self::Unlimited => Self::Timers(Box::default()),
                Self::Stream { timeout_micros, .. } => Self::timers(from_micros(*timeout_micros), stream),
            };
        }
    }
}

fn from_micros(micros: u32) -> Duration {
    Duration::from_micros(micros.into())
}

/// Returns the limit that a stream has been set, without a stream one that counts from now on.
fn limit_of(timeout: Duration, stream: Option<&Stream>) -> Option<TimeLimit> {
    let now = Instant::now();
    match stream {
        Some(stream) => Some(TimeLimit::new(wakes_at(stream, now), timeout)),
        None => TimeLimit::from(now, timeout),
    }
}

fn wakes_at(stream: &Stream, now: Instant) -> Instant {
    Instant::from_std(stream.wakes_at(now.into_std()))
}

/// Returns whether the call is polled in another runtime than the connection, or in none. The connection's may not run then,
/// and the limit holds all the same.
#[inline]
fn is_elsewhere(shared: &ConnectionShared) -> bool {
    !Handle::try_current().is_ok_and(|current| current.id() == shared.runtime().id())
}
