//! The connections of a server.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::task::Id;

use crate::{CallStats, connection::shared::ConnectionShared, support::panics};

/// The connections of a server, by the ids of their tasks.
#[derive(Default)]
pub(super) struct LiveConnections {
    inner: Mutex<Inner>,
    /// Connections that were closed at once.
    refused: AtomicU64,
    failed_handshakes: AtomicU64,
}

#[derive(Default)]
struct Inner {
    live: HashMap<Id, Arc<ConnectionShared>>,
    /// Connections that have ended, with handlers that have not yet.
    ending: Vec<Arc<ConnectionShared>>,
    /// The calls of connections of which nothing is left.
    past: CallStats,
}

impl LiveConnections {
    pub(super) fn insert(&self, id: Id, shared: Arc<ConnectionShared>) {
        self.lock().live.insert(id, shared);
    }

    pub(super) fn remove(&self, id: Id) {
        let mut inner = self.lock();
        let ended = inner.live.remove(&id);
        inner.ending.extend(ended);
        let over = inner.fold();
        drop(inner);
        panics::discard(over);
    }

    pub(super) fn count(&self) -> u64 {
        self.lock().live.len() as u64
    }

    pub(super) fn note_refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    pub(super) fn note_failed_handshake(&self) {
        self.failed_handshakes.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn failed_handshakes(&self) -> u64 {
        self.failed_handshakes.load(Ordering::Relaxed)
    }

    pub(super) fn all(&self) -> Vec<Arc<ConnectionShared>> {
        self.lock().live.values().cloned().collect()
    }

    pub(super) fn call_stats(&self) -> CallStats {
        let mut inner = self.lock();
        let over = inner.fold();
        let mut sum = inner.past;
        inner.live.values().chain(&inner.ending).for_each(|shared| sum += shared.call_stats());
        drop(inner);
        panics::discard(over);
        sum
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing that panics runs under the lock.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Adds connections without calls to the counts and returns them, to be dropped after the unlock: their values are the
    /// application's.
    fn fold(&mut self) -> Vec<Arc<ConnectionShared>> {
        let (mut over, mut at) = (Vec::new(), 0);
        while let Some(shared) = self.ending.get(at) {
            let stats = shared.metrics().stats();
            if stats.in_flight() == 0 {
                self.past += stats;
                over.push(self.ending.swap_remove(at));
            } else {
                at += 1;
            }
        }
        over
    }
}
