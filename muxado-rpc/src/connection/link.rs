//! What all handles of one connection share.

use std::{fmt, mem, sync::Arc, time::Duration};

use muxado::{Session, SessionError, TypedSession};
use tokio::{runtime::Handle, task::AbortHandle};

use crate::{
    Extensions, Limits,
    connection::{
        control::Remote,
        setup::Setup,
        tally::{Drained, Tally},
    },
    message::limits::SendLimits,
    support::{budget::Budget, log_limit::LogLimiter, panics, text::Brief, timer},
};

/// One connection: its session, its limits, who is at the other end.
#[derive(Debug)]
pub(crate) struct Link {
    typed: TypedSession,
    limits: Limits,
    request_memory: Arc<Budget>,
    peer: PeerInfo,
    /// The text of a panic goes to the caller.
    panic_messages: bool,
    tally: Tally,
    remote: Remote,
    log: LogLimiter,
    /// The runtime of the connection's task.
    runtime: Handle,
}

impl Link {
    /// To be made in the runtime of the connection's task.
    pub(crate) fn new(typed: TypedSession, peer: PeerInfo, setup: &Setup) -> Self {
        let (limits, panic_messages) = (setup.limits.clone(), setup.panic_messages);
        let (request_memory, log) = (Budget::new(limits.request_memory()), setup.logs.of_connection());
        let (tally, remote, runtime) = (Tally::default(), Remote::new(), Handle::current());
        Self { typed, limits, request_memory, peer, panic_messages, tally, remote, log, runtime }
    }

    /// Spawns a task on the runtime of who asks for it; for those who have none, on that of the connection.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
        match Handle::try_current() {
            Ok(runtime) => runtime.spawn(task).abort_handle(),
            Err(_) => self.runtime.spawn(task).abort_handle(),
        }
    }

    /// Ends the connection in good order; see [`Peer::shutdown`](crate::Peer::shutdown).
    pub(crate) async fn drain(&self, grace: Duration) -> Drained {
        let before = self.tally.stats();
        self.remote.drain(grace);
        let cut = timer::with_clock(self.session().drain(grace)).await;
        let end = self.session().closed().await.local;
        let lost = !matches!(end, SessionError::Closed(_));
        Drained::between(&before, &self.tally.stats(), cut, lost)
    }

    pub(crate) fn typed(&self) -> &TypedSession {
        &self.typed
    }

    pub(crate) fn session(&self) -> &Session {
        self.typed.session()
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// What holds for messages to the peer.
    pub(crate) fn send_limits(&self) -> SendLimits<'_> {
        SendLimits::new(&self.limits, self.remote.limits())
    }

    /// What the peer said about itself.
    pub(crate) fn remote(&self) -> &Remote {
        &self.remote
    }

    /// What the requests of the peer may take together.
    pub(crate) fn request_memory(&self) -> &Arc<Budget> {
        &self.request_memory
    }

    pub(crate) fn peer(&self) -> &PeerInfo {
        &self.peer
    }

    pub(crate) fn panic_messages(&self) -> bool {
        self.panic_messages
    }

    /// The limit on the lines that the peer can cause.
    pub(crate) fn log(&self) -> &LogLimiter {
        &self.log
    }

    pub(crate) fn tally(&self) -> &Tally {
        &self.tally
    }
}

/// Who is at the other end of a connection.
///
/// ```
/// use muxado_rpc::PeerInfo;
///
/// let peer = PeerInfo::new("tcp://10.0.0.7:41234").with_identity("CN=pump-7");
/// assert_eq!(peer.identity(), Some("CN=pump-7"));
/// assert_eq!(peer.to_string(), "CN=pump-7 at tcp://10.0.0.7:41234");
/// ```
#[derive(Clone, Debug, Default)]
pub struct PeerInfo {
    address: Option<String>,
    identity: Option<String>,
    extensions: Extensions,
}

impl PeerInfo {
    /// A peer at this address.
    pub fn new(address: impl Into<String>) -> Self {
        let mut peer = Self::default();
        peer.address = Some(address.into());
        peer
    }

    /// The same with an identity that was proved, such as the subject of a TLS certificate.
    #[must_use]
    pub fn with_identity(mut self, identity: impl Into<String>) -> Self {
        self.identity = Some(identity.into());
        self
    }

    /// Sets the identity, of use in a [`Handshake`](crate::Handshake).
    pub fn set_identity(&mut self, identity: impl Into<String>) {
        self.identity = Some(identity.into());
    }

    /// The peer's address, as in `tcp://127.0.0.1:41234`; `None` for a transport that has none.
    pub fn address(&self) -> Option<&str> {
        self.address.as_deref()
    }

    /// What the peer has proved to be, if a handshake made it.
    pub fn identity(&self) -> Option<&str> {
        self.identity.as_deref()
    }

    /// The same address and identity.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        (&self.address, &self.identity) == (&other.address, &other.identity)
    }

    /// What else was learnt when the connection was made.
    pub fn extensions(&self) -> &Extensions {
        &self.extensions
    }

    /// The same, to be added to.
    pub fn extensions_mut(&mut self) -> &mut Extensions {
        &mut self.extensions
    }
}

impl Drop for PeerInfo {
    /// A connection, or its server, is not to end by a value that panics.
    fn drop(&mut self) {
        if !self.extensions.is_empty() {
            panics::discard(mem::take(&mut self.extensions));
        }
    }
}

/// Identity and address, as far as they are known, or `unknown peer`: of each at most 256 bytes, escaped, since a peer
/// chooses what its certificate says.
impl fmt::Display for PeerInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.identity, &self.address) {
            (Some(identity), Some(address)) => write!(f, "{} at {}", Brief(identity), Brief(address)),
            (Some(one), None) | (None, Some(one)) => Brief(one).fmt(f),
            (None, None) => f.write_str("unknown peer"),
        }
    }
}
