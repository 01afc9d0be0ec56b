//! One server of the set: its connection, the calls under way to it, and what is seen of it from outside.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use tokio::time::Instant;

use super::outlier::Health;
use crate::client::reconnect::{Connections, Live, Reconnect, State};

/// One server of the set.
#[derive(Debug)]
pub(super) struct Endpoint {
    /// Of no other one, before or after.
    id: u64,
    name: String,
    /// The lowest that is there takes the calls.
    priority: u16,
    connection: Reconnect,
    pending: AtomicUsize,
    pub(super) health: Health,
    is_removed: AtomicBool,
}

impl Endpoint {
    pub(super) fn new(id: u64, name: String, priority: u16, connection: Reconnect) -> Self {
        Self {
            id,
            name,
            priority,
            connection,
            pending: AtomicUsize::new(0),
            health: Health::default(),
            is_removed: AtomicBool::new(false),
        }
    }

    pub(super) const fn id(&self) -> u64 {
        self.id
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn connections(&self) -> Connections {
        self.connection.connections()
    }

    /// Has the next attempt to connect begin soon, if it is in a pause.
    pub(super) fn hurry(&self) {
        if matches!(self.connection.state(), State::Backoff { .. }) {
            self.connection.hurry();
        }
    }

    /// Why it is not connected, if an attempt has failed.
    pub(super) fn problem(&self) -> Option<String> {
        self.connection.problem()
    }

    /// Takes no further calls. Those under way finish.
    pub(super) fn retire(&self) {
        self.is_removed.store(true, Ordering::Release);
        self.connection.retire();
    }

    pub(super) fn is_removed(&self) -> bool {
        self.is_removed.load(Ordering::Acquire)
    }

    /// Servers of a higher class get calls if there is none of a lower one.
    pub(super) fn class(&self) -> (bool, u16) {
        (self.health.is_ejected(), self.priority)
    }

    pub(super) fn pending(&self) -> usize {
        self.pending.load(Ordering::Relaxed)
    }

    #[cfg(feature = "metrics")]
    pub(super) fn totals(&self) -> crate::client::reconnect::ReconnectTotals {
        self.connection.totals()
    }

    pub(super) fn info(&self) -> EndpointInfo {
        EndpointInfo {
            name: self.name.clone(),
            state: self.connection.state(),
            pending: self.pending(),
            ejected_until: self.health.ejected_until(),
        }
    }
}

/// A server and a connection to it, over which calls can go.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) live: Arc<Live>,
    /// That of the server when it was last looked at.
    pub(super) class: (bool, u16),
}

impl Member {
    /// Whether calls can still go over it.
    pub(super) fn is_open(&self) -> bool {
        !self.live.peer.is_going_away()
    }

    /// Begins a call, which is pending until the value is dropped.
    pub(super) fn begin(self: &Arc<Self>) -> Pending {
        self.endpoint.pending.fetch_add(1, Ordering::Relaxed);
        Pending { member: Arc::clone(self) }
    }
}

/// A call under way to a server. It keeps its connection open.
#[derive(Debug)]
pub(super) struct Pending {
    member: Arc<Member>,
}

impl Pending {
    pub(super) const fn member(&self) -> &Arc<Member> {
        &self.member
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.member.endpoint.pending.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What a [`Balanced`](super::Balanced) client knows of one of its servers.
///
/// ```
/// use muxado_rpc::Balanced;
///
/// fn print(channel: &Balanced) {
///     for server in channel.endpoints() {
///         println!("{}: {} calls, ejected: {}", server.name(), server.pending(), server.is_ejected());
///     }
/// }
/// # let _ = print;
/// ```
#[derive(Clone)]
pub struct EndpointInfo {
    name: String,
    state: State,
    pending: usize,
    ejected_until: Option<Instant>,
}

impl EndpointInfo {
    /// Returns the address of the server. A connector without an address is `connector` and a number, from 1.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the state of the connection to it.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Returns whether there is a connection to it.
    pub fn is_connected(&self) -> bool {
        self.state.is_connected()
    }

    /// Returns how many calls of this client are under way to it. A call that streams is until its stream has ended.
    pub fn pending(&self) -> usize {
        self.pending
    }

    /// Returns whether it is ejected; see [`OutlierDetection`](super::OutlierDetection).
    pub fn is_ejected(&self) -> bool {
        self.ejected_until.is_some()
    }

    /// Returns when it is taken back, if it is ejected.
    pub fn ejected_until(&self) -> Option<Instant> {
        self.ejected_until
    }
}

impl fmt::Debug for EndpointInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EndpointInfo")
            .field("name", &self.name)
            .field("state", &self.state)
            .field("pending", &self.pending)
            .field("is_ejected", &self.is_ejected())
            .finish()
    }
}
