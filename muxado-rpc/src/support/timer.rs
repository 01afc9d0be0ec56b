//! Time limits that hold wherever they are awaited: in a runtime with a clock, in one without, in none, and
//! after the runtime that they began in has ended.

use std::{
    future::{Future, pending, poll_fn},
    io,
    pin::{Pin, pin},
    sync::{Mutex, OnceLock, PoisonError},
    task::{Context, Poll, ready},
    thread,
    time::Duration,
};

use pin_project::pin_project;
use tokio::{
    runtime::{Builder, Handle},
    task::unconstrained,
    time::{Instant, Sleep, sleep_until},
};

use crate::support::panics;

/// Ready when its time has come, and other tasks have had a turn since.
///
/// A process that was stopped wakes up to find everything due at once. What came in the meantime is seen
/// during that turn, so that it counts before the limit does: whoever uses a timer first looks for what it limits.
#[pin_project]
#[derive(Debug, Default)]
pub(crate) struct Timer {
    /// `None` before the first poll: most limits are never waited for.
    #[pin]
    sleep: Option<Sleep>,
    is_due: bool,
}

impl Timer {
    /// Polls a timer for this time, which is always the same.
    pub(crate) fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>, at: Instant) -> Poll<()> {
        let mut this = self.project();
        if *this.is_due {
            return Poll::Ready(());
        }
        if this.sleep.is_none() {
            this.sleep.set(begin(at));
        }
        let polled = panics::catch(|| poll_sleep(this.sleep.as_mut(), cx, at));
        ready!(polled.unwrap_or_else(|_| {
            // It began in a runtime that has ended since.
            this.sleep.set(begin_anywhere(at));
            poll_sleep(this.sleep.as_mut(), cx, at)
        }));
        *this.is_due = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// Without a clock at all, the time is asked for whenever somebody looks.
fn poll_sleep(sleep: Pin<&mut Option<Sleep>>, cx: &mut Context<'_>, at: Instant) -> Poll<()> {
    match sleep.as_pin_mut() {
        // Whatever a task has used up before it looks at the time: a limit holds beside what takes whole turns.
        Some(sleep) => pin!(unconstrained(sleep)).poll(cx),
        None if Instant::now() < at => Poll::Pending,
        None => Poll::Ready(()),
    }
}

/// Waits until this time.
pub(crate) async fn until(at: Instant) {
    let mut timer = pin!(Timer::default());
    poll_fn(|cx| timer.as_mut().poll(cx, at)).await;
}

/// Waits so long. Not at all, if that is no time.
pub(crate) async fn pause(time: Duration) {
    if !time.is_zero() {
        match Instant::now().checked_add(time) {
            Some(at) => until(at).await,
            None => pending().await,
        }
    }
}

/// What the future comes to, if that is before `deadline`, should there be one. It is looked at before the time is.
pub(crate) async fn before<F: Future>(deadline: Option<Instant>, future: F) -> Option<F::Output> {
    let (mut future, mut timer) = (pin!(future), pin!(Timer::default()));
    poll_fn(|cx| {
        if let Poll::Ready(output) = future.as_mut().poll(cx) {
            return Poll::Ready(Some(output));
        }
        match deadline {
            Some(deadline) => timer.as_mut().poll(cx, deadline).map(|()| None),
            None => Poll::Pending,
        }
    })
    .await
}

/// What the future comes to, if it takes no longer than `limit`.
pub(crate) async fn within<F: Future>(limit: Duration, future: F) -> Option<F::Output> {
    // A limit beyond the end of time is none.
    before(Instant::now().checked_add(limit), future).await
}

/// Polls a future that needs a clock wherever it is awaited.
pub(crate) async fn with_clock<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    poll_fn(|cx| {
        let own = if Handle::try_current().is_ok() { None } else { own_clock() };
        let _entered = own.map(Handle::enter);
        future.as_mut().poll(cx)
    })
    .await
}

/// A timer of the current runtime, if it has a clock; else one of our own.
fn begin(at: Instant) -> Option<Sleep> {
    if Handle::try_current().is_ok()
        && let Ok(sleep) = panics::catch(|| sleep_until(at))
    {
        return Some(sleep);
    }
    begin_anywhere(at)
}

fn begin_anywhere(at: Instant) -> Option<Sleep> {
    let _entered = own_clock()?.enter();
    Some(sleep_until(at))
}

/// The clock of those who have none: a thread that does nothing but keep time. It begins with the first who
/// needs it. `None` if the system lets no thread begin.
fn own_clock() -> Option<&'static Handle> {
    static CLOCK: OnceLock<Handle> = OnceLock::new();
    static BEGINNING: Mutex<()> = Mutex::new(());
    if let Some(clock) = CLOCK.get() {
        return Some(clock);
    }
    let _one_at_a_time = BEGINNING.lock().unwrap_or_else(PoisonError::into_inner);
    if CLOCK.get().is_none() {
        match start_clock() {
            Ok(clock) => drop(CLOCK.set(clock)),
            Err(error) => tracing::error!("cannot begin a thread to keep time: {error}"),
        }
    }
    CLOCK.get()
}

fn start_clock() -> io::Result<Handle> {
    let runtime = Builder::new_current_thread().enable_time().build()?;
    let handle = runtime.handle().clone();
    let keep = move || runtime.block_on(pending::<()>());
    thread::Builder::new().name("muxado-rpc-clock".to_owned()).spawn(keep)?;
    Ok(handle)
}
