//! What may be tried again, for `tower::retry`.

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

/// Tells `tower::retry` to try a call again that surely was not executed, or that was lost with its
/// connection and whose method is [idempotent](crate::MethodInfo::is_idempotent).
///
/// A call that waited too long for room ([`Limits::queue_timeout`](crate::Limits::queue_timeout)) is not: to try it
/// again would add to the load. Only `unavailable` is tried again, after a pause ([`Backoff`], 10 ms to 1 s by default), and never
/// beyond the time limit of the call: each attempt is given what is left of it. Requests that stream
/// items cannot be sent twice and are tried once. So are methods whose answer streams, once the stream
/// has begun: `tower::retry` decides before the first item, and a refusal shows in its place.
/// [`Reconnect`](crate::Reconnect) does the same by itself, and for such streams as well.
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
    /// Of the call that this copy of the policy is for.
    made: u32,
    deadline: Option<Instant>,
}

impl RetryPolicy {
    /// Tries each call so often, the first time included; at least once.
    pub fn new(attempts: u32) -> Self {
        let backoff = Backoff::default().base(Duration::from_millis(10)).max(Duration::from_secs(1));
        Self { attempts: attempts.max(1), backoff, made: 0, deadline: None }
    }

    /// Sets the pauses between attempts.
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

/// The pause between two attempts of a [`RetryPolicy`]. It may be awaited outside a tokio runtime, too.
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

/// Around layers that box their errors: those that are no [`Status`] are not tried again.
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
