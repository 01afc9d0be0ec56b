//! A view of a server that does not keep it alive.

use std::sync::{Arc, Weak};

use super::{Server, connections::LiveConnections, handshakes::Handshakes};
use crate::{
    ServerStats,
    connection::{bounds::Bounds, totals::Totals},
};

/// Looks at a server from outside, as long as it is there.
#[derive(Clone)]
pub(crate) struct ServerObserver {
    live: Weak<LiveConnections>,
    handshakes: Arc<Handshakes>,
    bounds: Bounds,
}

/// What there is to see of a server.
pub(crate) struct ServerTotals {
    pub(crate) connections: Totals,
    pub(crate) stats: ServerStats,
    /// Bytes that all connections may hold together.
    pub(crate) memory_limit: Option<u64>,
}

impl Server {
    pub(crate) fn observer(&self) -> ServerObserver {
        ServerObserver {
            live: Arc::downgrade(&self.live),
            handshakes: Arc::clone(&self.handshakes),
            bounds: self.bounds.clone(),
        }
    }
}

impl ServerObserver {
    /// Returns what there is to see; `None` once the server has ended and its handle is gone.
    pub(crate) fn totals(&self) -> Option<ServerTotals> {
        let live = self.live.upgrade()?;
        Some(ServerTotals {
            connections: live.totals(),
            stats: Server::stats_of(&live, &self.handshakes, &self.bounds),
            memory_limit: self.bounds.memory.as_ref().map(|memory| memory.limit() as u64),
        })
    }
}
