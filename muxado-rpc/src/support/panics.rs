//! Panics of code that is not ours: caught, and let go of without another one.

use std::{
    any::Any,
    fmt,
    future::Future,
    mem,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project::{pin_project, pinned_drop};
use tokio::time::Instant;

use crate::support::{deadline, depth::Depth, log_limit::LogLimiter};

/// What a panic left behind. Dropping it does not panic, whatever it is.
pub struct Panic {
    /// `None` while it is dropped.
    payload: Option<Box<dyn Any + Send>>,
}

impl Panic {
    /// The text of the panic, if it has one.
    pub(crate) fn message(&self) -> Option<&str> {
        let payload = self.payload.as_ref()?;
        let text = payload.downcast_ref::<String>().map(String::as_str);
        text.or_else(|| payload.downcast_ref::<&str>().copied())
    }

    /// Goes on with the panic.
    pub(crate) fn resume(mut self) -> ! {
        resume_unwind(self.payload.take().unwrap_or_else(|| Box::new("a panic that was dropped")))
    }
}

impl Drop for Panic {
    fn drop(&mut self) {
        let payload = self.payload.take();
        if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
            // What panics when it is dropped may leave a panic that does so, too, and so on.
            forget(again);
        }
    }
}

#[expect(clippy::mem_forget, reason = "dropping it may panic")]
fn forget(payload: Box<dyn Any + Send>) {
    mem::forget(payload);
}

impl fmt::Debug for Panic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Panic").field("message", &self.message()).finish()
    }
}

/// Runs `work`. After a panic whatever it worked on is only dropped, so nobody sees what it left half done.
pub(crate) fn catch<R>(work: impl FnOnce() -> R) -> Result<R, Panic> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|payload| Panic { payload: Some(payload) })
}

/// [`catch`] for work whose calls inherit the deadline, and have the depth at least. It is passed by reference: moving
/// what it has captured from closure to closure costs more than calling them.
#[inline]
pub(crate) fn catch_within<R>(
    deadline: Option<Instant>,
    depth: Depth,
    work: &mut impl FnMut() -> R,
) -> Result<R, Panic> {
    let mut work = || depth.within(&mut *work);
    match deadline {
        None => catch(&mut work),
        Some(_) => catch(|| deadline::within(deadline, &mut work)),
    }
}

/// Logs a panic in user code for which no connection is known.
pub(crate) fn report(what: &'static str) {
    if let Some(line) = LINES.admit() {
        tracing::error!(suppressed = line.suppressed, "{what}");
    }
}

/// A peer can cause such panics, however rare values are that panic when they are dropped.
static LINES: LogLimiter = LogLimiter::new(100);

/// Drops a value. A panic of its destructor is logged, and goes no further.
pub(crate) fn discard<T>(value: T) {
    if catch(|| drop(value)).is_err() {
        report("a destructor panicked");
    }
}

/// A value whose destructor may panic: dropping this does not.
pub(crate) struct CatchDrop<T>(Option<T>);

impl<T> CatchDrop<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(Some(value))
    }

    pub(crate) const fn as_mut(&mut self) -> Option<&mut T> {
        self.0.as_mut()
    }
}

/// A clone of nothing, if cloning the value panics.
impl<T: Clone> Clone for CatchDrop<T> {
    fn clone(&self) -> Self {
        let clone = catch(|| self.0.clone());
        if clone.is_err() {
            report("a service panicked when it was cloned");
        }
        Self(clone.unwrap_or_default())
    }
}

impl<T: fmt::Debug> fmt::Debug for CatchDrop<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<T> Drop for CatchDrop<T> {
    fn drop(&mut self) {
        if let Some(value) = self.0.take() {
            discard(value);
        }
    }
}

/// A future whose panics are values, those of its destructors too. Its calls inherit the deadline.
#[pin_project(PinnedDrop)]
pub(crate) struct CatchUnwind<F> {
    deadline: Option<Instant>,
    depth: Depth,
    /// `None` once it is dropped, as it is after a panic.
    #[pin]
    future: Option<F>,
}

impl<F> CatchUnwind<F> {
    pub(crate) const fn new(deadline: Option<Instant>, future: F) -> Self {
        Self { deadline, depth: Depth::ZERO, future: Some(future) }
    }

    /// Sets the least depth of the calls that the future makes.
    pub(crate) fn at_depth(mut self, depth: Depth) -> Self {
        self.depth = depth;
        self
    }

    /// Drops the future.
    pub(crate) fn clear(self: Pin<&mut Self>) -> Result<(), Panic> {
        let mut future = self.project().future;
        catch(|| future.set(None))
    }
}

impl<F: Future> CatchUnwind<F> {
    /// Polls the future, and puts what it returns into `output`, which costs no moves on the way. Pending for ever once
    /// the future is dropped.
    #[inline]
    pub(crate) fn poll_into(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        output: &mut Option<F::Output>,
    ) -> Poll<Result<(), Panic>> {
        let this = self.as_mut().project();
        let Some(mut future) = this.future.as_pin_mut() else { return Poll::Pending };
        let mut put = || match future.as_mut().poll(cx) {
            Poll::Ready(result) => {
                *output = Some(result);
                Poll::Ready(())
            }
            Poll::Pending => Poll::Pending,
        };
        match catch_within(*this.deadline, *this.depth, &mut put) {
            Ok(polled) => polled.map(Ok),
            Err(panic) => {
                // Of several panics of one future the first counts.
                drop(self.clear());
                Poll::Ready(Err(panic))
            }
        }
    }
}

impl<F: Future> Future for CatchUnwind<F> {
    type Output = Result<F::Output, Panic>;

    /// Pending for ever once the future is dropped.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut output = None;
        let ended = ready!(self.poll_into(cx, &mut output));
        match (ended, output) {
            (Err(panic), _) => Poll::Ready(Err(panic)),
            (Ok(()), Some(output)) => Poll::Ready(Ok(output)),
            (Ok(()), None) => Poll::Pending,
        }
    }
}

#[pinned_drop]
impl<F> PinnedDrop for CatchUnwind<F> {
    fn drop(self: Pin<&mut Self>) {
        if self.future.is_some() && self.clear().is_err() {
            report("a destructor panicked");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{future::pending, panic::panic_any, pin::pin, task::Waker};

    use super::*;

    /// Panics when it is dropped, and leaves another one.
    struct Endless;

    impl Drop for Endless {
        fn drop(&mut self) {
            panic_any(Self);
        }
    }

    #[test]
    fn a_payload_that_panics_when_it_is_dropped_is_let_go() {
        let panic = catch(|| panic_any(Endless)).unwrap_err();
        assert_eq!(panic.message(), None);
        drop(panic);
        discard(Endless);
    }

    #[test]
    fn a_future_is_dropped_without_a_panic_of_its_own() {
        let mut future = pin!(CatchUnwind::new(None, async {
            let _endless = Endless;
            pending::<()>().await;
        }));
        assert!(future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        assert!(future.as_mut().clear().is_err());
        assert!(future.as_mut().clear().is_ok());
        assert!(future.poll(&mut Context::from_waker(Waker::noop())).is_pending());
    }

    #[test]
    fn the_first_panic_of_a_future_is_the_one_that_is_told() {
        let mut future = pin!(CatchUnwind::new(None, async { panic!("{}", "first") }));
        let Poll::Ready(Err::<(), _>(panic)) = future.as_mut().poll(&mut Context::from_waker(Waker::noop()))
        else {
            panic!("no panic");
        };
        assert_eq!(panic.message(), Some("first"));
    }

    #[test]
    fn a_value_that_cannot_be_cloned_leaves_none() {
        struct Unclonable;
        impl Clone for Unclonable {
            fn clone(&self) -> Self {
                panic!("while it is cloned")
            }
        }
        let mut value = CatchDrop::new(Unclonable);
        assert!(value.clone().as_mut().is_none());
        assert!(value.as_mut().is_some());
        drop(CatchDrop::new(Endless));
    }
}
