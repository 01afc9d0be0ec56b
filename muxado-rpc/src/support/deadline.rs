//! The deadline that the calls of a handler inherit.

use std::{future::Future, time::Duration};

use tokio::{task_local, time::Instant};

task_local! {
    static DEADLINE: Instant;
}

/// Runs `work`, whose calls inherit the deadline, if there is one.
#[inline]
pub(crate) fn within<R>(deadline: Option<Instant>, work: impl FnOnce() -> R) -> R {
    match deadline {
        Some(deadline) => DEADLINE.sync_scope(deadline, work),
        None => work(),
    }
}

/// A future whose calls inherit the deadline, if there is one.
pub(crate) async fn scope<F: Future>(deadline: Option<Instant>, future: F) -> F::Output {
    match deadline {
        Some(deadline) => DEADLINE.scope(deadline, future).await,
        None => future.await,
    }
}

/// What is left of the deadline of the handler that runs now, if it has one.
pub(crate) fn inherited() -> Option<Duration> {
    DEADLINE.try_with(|deadline| deadline.saturating_duration_since(Instant::now())).ok()
}
