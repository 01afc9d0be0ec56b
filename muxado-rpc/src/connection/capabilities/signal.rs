//! How the task of a connection learns that its control streams want something.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Wake, Waker},
    time::Duration,
};

/// Wakes the connection's task and tells it why, so that a call costs it no look at control streams.
#[derive(Debug)]
pub(super) struct Signal {
    is_set: AtomicBool,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    task: Option<Waker>,
    is_asked: bool,
    is_awaited: bool,
    drain: Option<Duration>,
}

impl Signal {
    /// A signal that is set: there is something to begin with.
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { is_set: AtomicBool::new(true), inner: Mutex::default() })
    }

    /// Whether it is set. It is not afterwards.
    pub(super) fn take(&self) -> bool {
        self.is_set.load(Ordering::Relaxed) && self.is_set.swap(false, Ordering::Acquire)
    }

    /// Sets it without waking the task.
    pub(super) fn set(&self) {
        self.is_set.store(true, Ordering::Release);
    }

    /// Has this task woken from now on.
    pub(super) fn register(&self, cx: &Context<'_>) {
        let mut task = Some(cx.waker().clone());
        let mut inner = self.lock();
        std::mem::swap(&mut inner.task, &mut task);
        drop(inner);
        // The one before is dropped without the lock.
        drop(task);
    }

    /// Wakes nobody any more.
    pub(super) fn forget_task(&self) {
        let task = self.lock().task.take();
        drop(task);
    }

    /// Somebody wants to know of the peer.
    pub(super) fn ask(self: &Arc<Self>) {
        if !std::mem::replace(&mut self.lock().is_asked, true) {
            self.wake_by_ref();
        }
    }

    /// Somebody waits for what the peer says.
    pub(super) fn await_peer(self: &Arc<Self>) {
        if !std::mem::replace(&mut self.lock().is_awaited, true) {
            self.wake_by_ref();
        }
    }

    /// The connection drains. Only the first time counts.
    pub(super) fn drain(self: &Arc<Self>, grace: Duration) {
        self.lock().drain.get_or_insert(grace);
        self.wake_by_ref();
    }

    pub(super) fn is_asked(&self) -> bool {
        self.lock().is_asked
    }

    pub(super) fn is_awaited(&self) -> bool {
        self.lock().is_awaited
    }

    pub(super) fn drains(&self) -> Option<Duration> {
        self.lock().drain
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing that panics runs under the lock.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.set();
        let task = self.lock().task.clone();
        if let Some(task) = task {
            task.wake();
        }
    }
}
