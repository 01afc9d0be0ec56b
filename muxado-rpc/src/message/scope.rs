//! What ends with a call: tasks of its handler, and whoever waits for the end.

use std::{
    future::Future,
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::task::JoinHandle;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// The end of one call. It costs nothing until it is asked for.
#[derive(Debug, Default)]
pub(crate) struct Scope {
    /// The caller has gone, or the call is over.
    gone: Signal,
    /// The call is over.
    over: Signal,
    tasks: OnceLock<TaskTracker>,
}

/// Something that happens once.
#[derive(Debug, Default)]
struct Signal {
    happened: AtomicBool,
    token: OnceLock<CancellationToken>,
}

impl Signal {
    fn raise(&self) {
        self.happened.store(true, Ordering::SeqCst);
        if let Some(token) = self.token.get() {
            token.cancel();
        }
    }

    fn has_happened(&self) -> bool {
        self.happened.load(Ordering::SeqCst)
    }

    fn token(&self) -> &CancellationToken {
        let token = self.token.get_or_init(CancellationToken::new);
        // Of this and `raise` one sees what the other has done.
        if self.has_happened() {
            token.cancel();
        }
        token
    }
}

impl Scope {
    /// Spawns a task that is dropped at the end of the call; `None` if that came first.
    pub(crate) fn spawn<F>(&self, future: F) -> JoinHandle<Option<F::Output>>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        let over = self.over.token().clone();
        let tasks = self.tasks.get_or_init(TaskTracker::new);
        tasks.spawn(async move { over.run_until_cancelled_owned(future).await })
    }

    /// Waits until the caller has gone or the call is over.
    pub(crate) async fn cancelled(&self) {
        self.gone.token().cancelled().await;
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.gone.has_happened()
    }

    /// Tells that nobody waits for the answer any more.
    pub(crate) fn caller_gone(&self) {
        self.gone.raise();
    }

    /// Ends the tasks.
    pub(crate) fn end(&self) {
        self.gone.raise();
        self.over.raise();
    }

    /// Whether tasks run that were spawned here.
    pub(crate) fn has_tasks(&self) -> bool {
        self.tasks.get().is_some_and(|tasks| !tasks.is_empty())
    }

    /// Waits until no task is left.
    pub(crate) async fn wait(&self) {
        if let Some(tasks) = self.tasks.get() {
            tasks.close();
            tasks.wait().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{future::pending, sync::Arc};

    use super::*;

    #[tokio::test]
    async fn tasks_end_with_the_call() {
        let scope = Scope::default();
        let (done, stuck) = (scope.spawn(async { 7 }), scope.spawn(pending::<()>()));
        assert_eq!(done.await.unwrap(), Some(7));
        scope.end();
        scope.wait().await;
        assert_eq!(stuck.await.unwrap(), None);
        assert_eq!(scope.spawn(pending::<()>()).await.unwrap(), None);
    }

    #[tokio::test]
    async fn the_end_is_heard_before_and_after() {
        let scope = Arc::new(Scope::default());
        let early = Arc::clone(&scope);
        let early = tokio::spawn(async move { early.cancelled().await });
        tokio::task::yield_now().await;
        scope.caller_gone();
        early.await.unwrap();
        scope.cancelled().await;
        assert!(scope.is_cancelled());
    }
}
