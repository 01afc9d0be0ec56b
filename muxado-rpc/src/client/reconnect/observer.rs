//! A view of a reconnecting client that does not keep it alive.

use std::sync::{Arc, Weak};

use super::{Handle, Reconnect, State};
use crate::connection::totals::Totals;

/// Looks at a client from outside, as long as it is there.
#[derive(Clone)]
pub(crate) struct ReconnectObserver {
    handle: Weak<Handle>,
}

/// What there is to see of a client.
pub(crate) struct ReconnectTotals {
    pub(crate) connections: Totals,
    pub(crate) states: Vec<State>,
    /// Connections that were made so far.
    pub(crate) made: u64,
    /// Calls that wait for a connection.
    pub(crate) waiting: u64,
}

impl Reconnect {
    pub(crate) fn observer(&self) -> ReconnectObserver {
        ReconnectObserver { handle: Arc::downgrade(&self.handle) }
    }

    pub(in crate::client) fn totals(&self) -> ReconnectTotals {
        totals(&self.handle)
    }
}

impl ReconnectObserver {
    /// Returns what there is to see; `None` once the client is gone.
    pub(crate) fn totals(&self) -> Option<ReconnectTotals> {
        Some(totals(&*self.handle.upgrade()?))
    }
}

fn totals(handle: &Handle) -> ReconnectTotals {
    let pool = &handle.pool;
    ReconnectTotals {
        connections: pool.totals(),
        states: pool.states(),
        made: pool.generation(),
        waiting: pool.waiting() as u64,
    }
}
