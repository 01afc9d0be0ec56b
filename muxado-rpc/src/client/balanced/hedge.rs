//! A call with a second attempt beside the first, if that takes long.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::Instant;

use super::{
    call::{Attempts, CallResult},
    endpoint::Pending,
    set::Wish,
};
use crate::{CallFuture, client::reconnect::may_try_again, support::timer::Timer};

/// One or two attempts under way. The first response counts; the other attempt is cancelled.
pub(super) struct Hedged {
    running: Vec<(Pending, CallFuture)>,
    /// When the second begins; `None` if it has begun, or cannot.
    at: Option<Instant>,
    timer: Pin<Box<Timer>>,
}

impl Hedged {
    pub(super) fn new(pending: Pending, call: CallFuture, after: Duration) -> Self {
        let timer = Box::pin(Timer::default());
        Self { running: vec![(pending, call)], at: Instant::now().checked_add(after), timer }
    }

    /// What the call came to, and over which connection: a response, or a failure if no attempt is under way any more.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        attempts: &mut Attempts,
    ) -> Poll<(Pending, CallResult)> {
        loop {
            if let Some(ended) = self.poll_running(cx, attempts) {
                return Poll::Ready(ended);
            }
            match self.at {
                Some(at) if self.timer.as_mut().poll(cx, at).is_ready() => self.at = None,
                _ => return Poll::Pending,
            }
            if !self.begin_second(attempts) {
                return Poll::Pending;
            }
        }
    }

    fn poll_running(
        &mut self,
        cx: &mut Context<'_>,
        attempts: &mut Attempts,
    ) -> Option<(Pending, CallResult)> {
        let mut at = 0;
        while let Some((_, call)) = self.running.get_mut(at) {
            let Poll::Ready(result) = Pin::new(call).poll(cx) else {
                at += 1;
                continue;
            };
            let (pending, _) = self.running.remove(at);
            match result {
                // The other one may still do better.
                Err(status) if !self.running.is_empty() && may_try_again(&attempts.method_ref(), &status) => {
                    attempts.note_attempt(&status);
                    attempts.note_failure(pending.member(), &status);
                }
                result => {
                    if !self.running.is_empty() {
                        self.running.clear();
                        attempts.note_cancelled();
                    }
                    return Some((pending, result));
                }
            }
        }
        None
    }

    /// Begins an attempt elsewhere, if there is another server and the budget has one left.
    fn begin_second(&mut self, attempts: &mut Attempts) -> bool {
        let Some((first, _)) = self.running.first() else { return false };
        let first = first.member().endpoint.id();
        let set = attempts.set();
        let elsewhere = set.pick(Wish { not: Some(first), ..attempts.wish() });
        let Some(member) = elsewhere.filter(|member| member.endpoint.id() != first) else { return false };
        if !attempts.may_hedge() || !set.budget.withdraw() {
            return false;
        }
        self.running.extend(attempts.begin(&member));
        true
    }
}
