//! The calls of connections that are not there any more.

use std::sync::Arc;

#[cfg(feature = "metrics")]
use crate::connection::totals::Totals;
use crate::{CallStats, connection::shared::ConnectionShared};

/// Counts the calls of connections that have left a list, until nothing of them is left, and from then on by their sums.
#[derive(Debug, Default)]
pub(crate) struct PastCalls {
    /// Connections that may still have handlers.
    ending: Vec<Arc<ConnectionShared>>,
    sums: CallStats,
    /// What the sessions of the others have sent and received.
    #[cfg(feature = "metrics")]
    sessions: Totals,
}

impl PastCalls {
    pub(crate) fn add(&mut self, shared: Arc<ConnectionShared>) {
        self.ending.push(shared);
    }

    /// Adds connections without calls to the sums and returns them, to be dropped after an unlock: their values are the
    /// application's.
    #[must_use = "they are to be dropped outside of the lock"]
    pub(crate) fn fold(&mut self) -> Vec<Arc<ConnectionShared>> {
        let (mut over, mut at) = (Vec::new(), 0);
        while let Some(shared) = self.ending.get(at) {
            let stats = shared.metrics().stats();
            if shared.session().is_closed() && stats.in_flight() == 0 {
                self.sums += stats;
                #[cfg(feature = "metrics")]
                self.sessions.add_ended(&shared.session().stats());
                over.push(self.ending.swap_remove(at));
            } else {
                at += 1;
            }
        }
        over
    }

    /// Returns what became of all the calls, and what those hold that are under way.
    pub(crate) fn stats(&self) -> CallStats {
        let mut sum = self.sums;
        self.ending.iter().for_each(|shared| sum += shared.call_stats());
        sum
    }

    /// Returns what all these connections have sent and received.
    #[cfg(feature = "metrics")]
    pub(crate) fn totals(&self) -> Totals {
        let mut sum = self.sessions.clone();
        self.ending.iter().for_each(|shared| sum.add(shared));
        sum
    }
}
