//! Code of the user's whose panic is a value.

use std::{
    any::Any,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context, Poll},
};

use pin_project::pin_project;
use tokio::time::Instant;

use crate::deadline;

/// What a panic left behind.
pub(super) type Panicked = Box<dyn Any + Send>;

/// Runs `work`, whose calls inherit the deadline.
///
/// After a panic whatever it worked on is only dropped, so nobody sees what it left half done.
pub(super) fn contain<R>(deadline: Option<Instant>, work: impl FnOnce() -> R) -> Result<R, Panicked> {
    catch_unwind(AssertUnwindSafe(|| deadline::within(deadline, work)))
}

/// The text of a panic, if it has one.
pub(super) fn message_of(panic: &Panicked) -> Option<&str> {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
}

/// A future that is polled by [`contain`].
#[pin_project]
pub(super) struct Contained<F> {
    deadline: Option<Instant>,
    #[pin]
    future: F,
}

impl<F> Contained<F> {
    pub(super) const fn new(deadline: Option<Instant>, future: F) -> Self {
        Self { deadline, future }
    }
}

impl<F: Future> Future for Contained<F> {
    type Output = Result<F::Output, Panicked>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        match contain(*this.deadline, || this.future.poll(cx)) {
            Ok(polled) => polled.map(Ok),
            Err(panic) => Poll::Ready(Err(panic)),
        }
    }
}
