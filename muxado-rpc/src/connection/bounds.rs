//! What the connections of one server, or of one client that replaces its connections, hold together.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use crate::support::budget::ServerMemory;

/// Bounds for connections that have the builder in common.
#[derive(Clone, Debug)]
pub(crate) struct Bounds {
    /// `None` where there is no server: each connection then has its own limits alone.
    pub(crate) memory: Option<Arc<ServerMemory>>,
    pub(crate) detached: Arc<DetachedHandlers>,
}

impl Bounds {
    pub(crate) fn new(max_memory: Option<usize>, max_detached: usize) -> Self {
        let detached = DetachedHandlers { limit: max_detached, count: AtomicUsize::new(0) };
        Self { memory: max_memory.map(ServerMemory::new), detached: Arc::new(detached) }
    }
}

/// Handlers that run to their end (`no_cancel`) although their connection has ended.
#[derive(Debug)]
pub(crate) struct DetachedHandlers {
    limit: usize,
    count: AtomicUsize,
}

impl DetachedHandlers {
    /// Returns how many there are.
    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    pub(crate) const fn limit(&self) -> usize {
        self.limit
    }

    /// Whether there may be no further one.
    pub(crate) fn is_full(&self) -> bool {
        self.count() >= self.limit
    }

    /// Counts one more, until what is returned is dropped; `None` if there may be no further one.
    pub(crate) fn enter(self: &Arc<Self>) -> Option<Detached> {
        let fits = |count: usize| (count < self.limit).then_some(count + 1);
        self.count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).ok()?;
        Some(Detached { all: Arc::clone(self) })
    }
}

/// One of the [`DetachedHandlers`].
#[derive(Debug)]
pub(crate) struct Detached {
    all: Arc<DetachedHandlers>,
}

impl Drop for Detached {
    fn drop(&mut self) {
        self.all.count.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Bytes that the calls of all connections of a server may hold, unless it is told otherwise: 1 GiB.
pub(crate) const DEFAULT_MAX_MEMORY: usize = 1024 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_never_more_than_the_limit() {
        let detached = Bounds::new(None, 2).detached;
        let (one, two) = (detached.enter(), detached.enter());
        assert!(one.is_some() && two.is_some() && detached.enter().is_none() && detached.is_full());
        drop(one);
        assert!(!detached.is_full() && detached.enter().is_some());
        drop(two);
        assert_eq!(detached.count(), 0);
    }
}
