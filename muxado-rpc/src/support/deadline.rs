//! The deadline that the calls of a handler inherit.

use std::{
    cell::Cell,
    future::{Future, poll_fn},
    pin::pin,
    time::Duration,
};

use tokio::time::Instant;

thread_local! {
    /// The deadline of the handler that runs now.
    static CURRENT: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Runs `work`, whose calls inherit the deadline, if there is one.
#[inline]
pub(crate) fn within<R>(deadline: Option<Instant>, work: impl FnOnce() -> R) -> R {
    if deadline.is_none() {
        return work();
    }
    let _restore = Restore(CURRENT.replace(deadline));
    work()
}

struct Restore(Option<Instant>);

impl Drop for Restore {
    fn drop(&mut self) {
        CURRENT.set(self.0);
    }
}

/// A future whose calls inherit the deadline, if there is one.
pub(crate) async fn scope<F: Future>(deadline: Option<Instant>, future: F) -> F::Output {
    let mut future = pin!(future);
    poll_fn(|cx| within(deadline, || future.as_mut().poll(cx))).await
}

/// What is left of the deadline of the handler that runs now, if it has one.
#[inline]
pub(crate) fn inherited() -> Option<Duration> {
    CURRENT.get().map(|deadline| deadline.saturating_duration_since(Instant::now()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::support::panics;

    #[tokio::test(start_paused = true)]
    async fn a_deadline_holds_inside_and_the_outer_one_is_restored_after_a_panic_too() {
        let at = |seconds| Some(Instant::now() + Duration::from_secs(seconds));
        within(at(3), || {
            within(at(1), || assert_eq!(inherited(), Some(Duration::from_secs(1))));
            within(None, || assert_eq!(inherited(), Some(Duration::from_secs(3))));
            assert!(panics::catch(|| within(at(2), || panic!("inside"))).is_err());
            assert_eq!(inherited(), Some(Duration::from_secs(3)));
        });
        assert_eq!(inherited(), None);
        scope(at(5), async {
            tokio::time::sleep(Duration::from_secs(2)).await;
            assert_eq!(inherited(), Some(Duration::from_secs(3)));
        })
        .await;
        assert_eq!(inherited(), None);
    }
}
