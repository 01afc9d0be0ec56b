//! Which calls may be tried again, for `tower::retry`.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use pin_project::pin_project;
use tokio::time::Instant;
use tower::retry::Policy;

use crate::{
    Backoff, BoxError, Request, Response, Status, client::reconnect::may_try_again, support::timer::Timer,
};

/// A policy for `tower::retry` that repeats a call only where that is safe.
///
/// A call is tried again if it failed as `unavailable`, and either was surely not executed, or was lost with its
/// connection while its method is [idempotent](crate::MethodInfo::is_idempotent). Between attempts there is a pause
/// ([`Backoff`], 10 ms to 1 s by default). Each attempt gets what is left of the call's time limit, and none begins
/// after it. A call that waited too long for room ([`Limits::queue_timeout`](crate::Limits::queue_timeout)) is not tried
/// again, because that would add to the load.
///
/// A request that streams items cannot be sent twice and is tried once. A method that returns a stream is tried once
/// as well: `tower::retry` decides before the first item, and a refusal comes in place of that item.
/// [`Reconnect`](crate::Reconnect) applies the same rules without a layer, also to streams up to their first item.
///
/// ```
/// use std::time::Duration;
///
/// use muxado_rpc::{Backoff, layers::RetryPolicy};
/// use tower::retry::RetryLayer;
///
/// let policy = RetryPolicy::new(3).backoff(Backoff::default().max(Duration::from_secs(2)));
/// let layer = RetryLayer::new(policy);
/// ```
#[derive(Clone, Debug)]
pub struct RetryPolicy {
    attempts: u32,
    backoff: Backoff,
    /// Attempts of the call that this clone of the policy is for.
    made: u32,
    deadline: Option<Instant>,
}

impl RetryPolicy {
    /// Creates a policy with up to `attempts` attempts for each call, the first included; 0 counts as 1.
    pub fn new(attempts: u32) -> Self {
        let backoff = Backoff::default().base(Duration::from_millis(10)).max(Duration::from_secs(1));
        Self { attempts: attempts.max(1), backoff, made: 0, deadline: None }
    }

    /// Sets the pauses between attempts. Default 10 ms, growing to 1 s.
    #[must_use]
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// The pause before the next attempt, if there is to be one; `request` gets the time that is left.
    fn again(&mut self, request: &mut Request, status: &Status) -> Option<RetryPause> {
        if self.made >= self.attempts || !may_try_again(request.method(), status) {
            return None;
        }
        let pause = self.backoff.pause(self.made);
        if let Some(deadline) = self.deadline {
            let left = deadline.saturating_duration_since(Instant::now()).saturating_sub(pause);
            if left.is_zero() {
                return None;
            }
            request.set_timeout(Some(left));
        }
        tracing::debug!(method = %request.method(), attempt = self.made, "trying again: {status}");
        Some(RetryPause { end: Instant::now().checked_add(pause), timer: Timer::default() })
    }

    fn note_attempt(&mut self, request: &Request) -> Option<Request> {
        if self.made == 0 {
            self.deadline =
                request.effective_timeout().and_then(|timeout| Instant::now().checked_add(timeout));
        }
        self.made += 1;
        if self.made < self.attempts { request.try_clone() } else { None }
    }
}

/// The pause between two attempts of a [`RetryPolicy`]. It can be awaited outside a tokio runtime, too.
#[pin_project]
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct RetryPause {
    /// `None` if it is never over.
    end: Option<Instant>,
    #[pin]
    timer: Timer,
}

impl Future for RetryPause {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        match *this.end {
            Some(end) => this.timer.poll(cx, end),
            None => Poll::Pending,
        }
    }
}

impl Policy<Request, Response, Status> for RetryPolicy {
    type Future = RetryPause;

    fn retry(&mut self, request: &mut Request, result: &mut Result<Response, Status>) -> Option<RetryPause> {
        self.again(request, result.as_ref().err()?)
    }

    fn clone_request(&mut self, request: &Request) -> Option<Request> {
        self.note_attempt(request)
    }
}

/// For services that box their errors. An error that is not a [`Status`] is not tried again.
impl Policy<Request, Response, BoxError> for RetryPolicy {
    type Future = RetryPause;

    fn retry(
        &mut self,
        request: &mut Request,
        result: &mut Result<Response, BoxError>,
    ) -> Option<RetryPause> {
        self.again(request, result.as_ref().err()?.downcast_ref()?)
    }

    fn clone_request(&mut self, request: &Request) -> Option<Request> {
        self.note_attempt(request)
    }
}
