//! A view of a client of many servers that does not keep it alive.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use super::{Balanced, Handle};
use crate::connection::totals::Totals;

/// Looks at a client from outside, as long as it is there.
pub(crate) struct BalancedObserver {
    handle: Weak<Handle>,
    seen: Mutex<Seen>,
}

/// What was seen before, so that the counters of servers that leave the set are not lost.
#[derive(Default)]
struct Seen {
    /// Of the servers that were in the set, by their ids: what their connections counted, and how many there were.
    servers: HashMap<u64, Counted>,
    gone: Counted,
}

#[derive(Clone, Default)]
struct Counted {
    connections: Totals,
    made: u64,
    reconnects: u64,
}

/// What there is to see of a client.
pub(crate) struct BalancedTotals {
    pub(crate) connections: Totals,
    /// Connections that were made so far, and those of them that replaced one.
    pub(crate) made: u64,
    pub(crate) reconnects: u64,
    pub(crate) connected: u64,
    pub(crate) not_connected: u64,
    pub(crate) ejected: u64,
    /// Calls under way.
    pub(crate) pending: u64,
    /// Calls that wait for a server.
    pub(crate) waiting: u64,
}

impl Balanced {
    pub(crate) fn observer(&self) -> BalancedObserver {
        BalancedObserver { handle: Arc::downgrade(&self.handle), seen: Mutex::default() }
    }
}

impl Counted {
    fn join(&mut self, other: &Self) {
        self.connections.join(&other.connections);
        self.made += other.made;
        self.reconnects += other.reconnects;
    }
}

impl BalancedObserver {
    /// Returns what there is to see; `None` once the client is gone.
    pub(crate) fn totals(&self) -> Option<BalancedTotals> {
        let handle = self.handle.upgrade()?;
        let mut now = HashMap::new();
        let (mut connected, mut not_connected, mut ejected, mut pending) = (0, 0, 0, 0);
        for endpoint in handle.set.endpoints() {
            let (info, totals) = (endpoint.info(), endpoint.totals());
            match (info.is_ejected(), info.is_connected()) {
                (true, _) => ejected += 1,
                (false, true) => connected += 1,
                (false, false) => not_connected += 1,
            }
            pending += info.pending() as u64;
            let reconnects = totals.made.saturating_sub(totals.states.len() as u64);
            now.insert(
                endpoint.id(),
                Counted { connections: totals.connections, made: totals.made, reconnects },
            );
        }
        let sum = self.count(now);
        Some(BalancedTotals {
            connections: sum.connections,
            made: sum.made,
            reconnects: sum.reconnects,
            connected,
            not_connected,
            ejected,
            pending,
            waiting: handle.set.waiting() as u64,
        })
    }

    /// Adds what servers count now to what those counted that are gone.
    fn count(&self, now: HashMap<u64, Counted>) -> Counted {
        // Nothing that panics runs under the lock.
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::take(&mut seen.servers);
        for (id, mut counted) in before {
            if !now.contains_key(&id) {
                counted.connections.forget_present();
                seen.gone.join(&counted);
            }
        }
        let mut sum = seen.gone.clone();
        now.values().for_each(|counted| sum.join(counted));
        seen.servers = now;
        sum
    }
}
