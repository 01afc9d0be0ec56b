//! The connections of a server, for those who count calls and end connections.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::task::Id;

use crate::{CallStats, link::Link};

/// The connections of a server, by the ids of their tasks.
#[derive(Default)]
pub(super) struct Links {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    live: HashMap<Id, Arc<Link>>,
    /// Connections that have ended, with handlers that have not yet.
    ending: Vec<Arc<Link>>,
    /// The calls of connections of which nothing is left.
    past: CallStats,
}

impl Links {
    pub(super) fn insert(&self, id: Id, link: Arc<Link>) {
        self.lock().live.insert(id, link);
    }

    pub(super) fn remove(&self, id: Id) {
        let mut inner = self.lock();
        let ended = inner.live.remove(&id);
        inner.ending.extend(ended);
        inner.fold();
    }

    pub(super) fn all(&self) -> Vec<Arc<Link>> {
        self.lock().live.values().cloned().collect()
    }

    pub(super) fn call_stats(&self) -> CallStats {
        let mut inner = self.lock();
        inner.fold();
        let mut sum = inner.past;
        inner.live.values().chain(&inner.ending).for_each(|link| sum += link.tally().stats());
        sum
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing that panics runs under the lock.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Keeps of connections without calls only the counts.
    fn fold(&mut self) {
        let past = &mut self.past;
        self.ending.retain(|link| {
            let stats = link.tally().stats();
            let is_over = stats.in_flight() == 0;
            if is_over {
                *past += stats;
            }
            !is_over
        });
    }
}
