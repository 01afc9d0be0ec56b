//! Which connection of the process.

use std::{
    fmt,
    num::NonZeroU64,
    sync::atomic::{AtomicU64, Ordering},
};

/// The id of a connection: unique in the process, as long as it runs.
///
/// Ids grow in the order in which connections begin. The other side knows nothing of them: the two ends of a connection
/// have different ids, and each connection of one peer has its own. What is the same for all connections of a peer is its
/// [identity](crate::PeerInfo::identity).
///
/// ```
/// use std::collections::HashMap;
///
/// use muxado_rpc::{Context, PeerId};
///
/// /// Counts a call of a connection.
/// fn count(calls: &mut HashMap<PeerId, u64>, cx: &Context) {
///     if let Some(id) = cx.peer_id() {
///         *calls.entry(id).or_default() += 1;
///     }
/// }
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(NonZeroU64);

impl PeerId {
    /// Returns an id that no connection has had.
    pub(crate) fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NonZeroU64::MIN.saturating_add(NEXT.fetch_add(1, Ordering::Relaxed)))
    }

    /// Returns the id as a number, for logs and metrics.
    pub const fn as_u64(self) -> u64 {
        self.0.get()
    }
}

/// The number.
impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PeerId({self})")
    }
}
