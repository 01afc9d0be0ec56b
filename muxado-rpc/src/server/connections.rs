//! The connections of a server.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::task::Id;

#[cfg(feature = "metrics")]
use crate::connection::totals::Totals;
use crate::{
    CallStats, Peer, PeerId,
    connection::{past_calls::PastCalls, shared::ConnectionShared},
    support::panics,
};

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
    past: PastCalls,
}

impl LiveConnections {
    pub(super) fn insert(&self, id: Id, shared: Arc<ConnectionShared>) {
        self.lock().live.insert(id, shared);
    }

    pub(super) fn remove(&self, id: Id) {
        let mut inner = self.lock();
        if let Some(ended) = inner.live.remove(&id) {
            inner.past.add(ended);
        }
        let over = inner.past.fold();
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

    /// Returns the peers that can be called, in the order in which they came.
    pub(super) fn peers(&self) -> Vec<Peer> {
        let mut live = self.all();
        live.retain(|shared| !shared.session().is_going_away());
        live.sort_unstable_by_key(|shared| shared.id());
        live.into_iter().map(Peer::lent).collect()
    }

    /// Returns the peer with this id, unless its connection has ended.
    pub(super) fn peer(&self, id: PeerId) -> Option<Peer> {
        let found = self.lock().live.values().find(|shared| shared.id() == id).cloned();
        found.filter(|shared| !shared.session().is_closed()).map(Peer::lent)
    }

    pub(super) fn all(&self) -> Vec<Arc<ConnectionShared>> {
        self.lock().live.values().cloned().collect()
    }

    pub(super) fn call_stats(&self) -> CallStats {
        let mut inner = self.lock();
        let over = inner.past.fold();
        let mut sum = inner.past.stats();
        inner.live.values().for_each(|shared| sum += shared.call_stats());
        drop(inner);
        panics::discard(over);
        sum
    }

    /// Returns what all connections have sent, received and hold, past ones included.
    #[cfg(feature = "metrics")]
    pub(super) fn totals(&self) -> Totals {
        let calls = self.call_stats();
        let inner = self.lock();
        let mut sum = inner.past.totals();
        inner.live.values().for_each(|shared| sum.add(shared));
        sum.calls = calls;
        sum
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing that panics runs under the lock.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
