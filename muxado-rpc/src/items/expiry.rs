//! The time limit of a stream of items, where it is taken.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep_until};

use crate::{MethodInfo, Status};

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
    timer: Option<Pin<Box<Sleep>>>,
}

impl Expiry {
    pub(crate) const fn new(method: &'static MethodInfo, limit: Limit) -> Self {
        Self { method, limit, timer: None }
    }

    pub(crate) fn at(&self) -> Instant {
        self.limit.at
    }

    /// What to say if the limit has passed. Where there is always something to do nobody waits for the timer,
    /// so the clock is to be asked.
    pub(crate) fn passed(&self) -> Option<Status> {
        (Instant::now() >= self.limit.at).then(|| self.status())
    }

    /// Ready when the limit has passed.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Status> {
        let at = self.limit.at;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(at)));
        timer.as_mut().poll(cx).map(|()| self.status())
    }

    fn status(&self) -> Status {
        let (method, timeout) = (self.method, self.limit.timeout);
        Status::deadline_exceeded(format!(
            "{method}: the items did not end within the time limit of {timeout:?}"
        ))
    }
}
