//! What all handles of one connection share.

use std::{sync::Arc, time::Duration};

use muxado::{Session, SessionError, TypedSession};
use tokio::{runtime::Handle, time::Instant};

use crate::{
    CallStats, Limits, PeerId, PeerInfo, Router, ServiceInfo,
    connection::{
        bounds::DetachedHandlers,
        capabilities::RemoteCapabilities,
        metrics::{CallMetrics, Drained},
        ping::Pings,
        serving::authorize::Authorize,
        setup::Setup,
    },
    message::{limits::SendLimits, request::Connection},
    support::{budget::CallMemory, log_limit::LogLimiter, timer},
};

/// One connection: its session, its limits, who is at the other end.
#[derive(Debug)]
pub(crate) struct ConnectionShared {
    id: PeerId,
    /// When the session began.
    since: Instant,
    typed: TypedSession,
    pings: Pings,
    limits: Arc<Limits>,
    memory: Arc<CallMemory>,
    detached: Arc<DetachedHandlers>,
    authorize: Option<Authorize>,
    peer: PeerInfo,
    /// The text of a panic goes to the caller.
    panic_messages: bool,
    metrics: CallMetrics,
    remote: RemoteCapabilities,
    log: LogLimiter,
    /// The runtime of the connection's task.
    runtime: Handle,
    /// The services that the peer may know of; `None` if it may know of all.
    visible: Option<Arc<[&'static ServiceInfo]>>,
    /// The schemes of the addresses that this side listens on.
    transports: Arc<[String]>,
}

impl ConnectionShared {
    /// To be made in the runtime of the connection's task.
    pub(crate) fn new(typed: TypedSession, peer: PeerInfo, setup: &Setup, router: &Router) -> Self {
        let (limits, panic_messages) = (Arc::clone(setup.limits()), setup.panic_messages);
        let memory = CallMemory::new(limits.memory(), setup.bounds.memory.clone());
        let authorize = setup.authorize.clone();
        let (detached, log) = (Arc::clone(&setup.bounds.detached), setup.logs.of_connection());
        let (metrics, remote, runtime) =
            (CallMetrics::default(), RemoteCapabilities::new(), Handle::current());
        let pings = Pings::start(&typed, setup.heartbeat);
        Self {
            id: PeerId::next(),
            since: Instant::now(),
            typed,
            pings,
            limits,
            memory,
            detached,
            authorize,
            peer,
            panic_messages,
            metrics,
            remote,
            log,
            runtime,
            visible: router.visible(),
            transports: Arc::clone(&setup.transports),
        }
    }

    /// Returns what measures round trips.
    pub(crate) const fn pings(&self) -> &Pings {
        &self.pings
    }

    /// Returns the runtime of the connection's task.
    pub(crate) fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// Ends the connection in good order; see [`Peer::shutdown`](crate::Peer::shutdown).
    pub(crate) async fn drain(&self, grace: Duration) -> Drained {
        let before = self.metrics.stats();
        self.remote.drain(grace);
        let cut = timer::with_clock(self.session().drain(grace)).await;
        let end = self.session().closed().await.local;
        let lost = !matches!(end, SessionError::Closed(_));
        Drained::between(&before, &self.metrics.stats(), cut, lost)
    }

    pub(crate) const fn id(&self) -> PeerId {
        self.id
    }

    /// Returns when the session began.
    pub(crate) const fn since(&self) -> Instant {
        self.since
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
    pub(crate) fn remote(&self) -> &RemoteCapabilities {
        &self.remote
    }

    /// Returns what the calls of the peer hold together.
    pub(crate) fn memory(&self) -> &Arc<CallMemory> {
        &self.memory
    }

    /// Returns the handlers that run on without their connections: this one's, and those of others.
    pub(crate) fn detached(&self) -> &Arc<DetachedHandlers> {
        &self.detached
    }

    /// Returns what decides on calls by their heads.
    pub(crate) fn authorize(&self) -> Option<&Authorize> {
        self.authorize.as_ref()
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

    /// Returns what became of the calls of the peer, and what they hold.
    pub(crate) fn call_stats(&self) -> CallStats {
        let mut stats = self.metrics.stats();
        stats.request_bytes = self.memory.request_bytes() as u64;
        stats.response_bytes = self.memory.response_bytes() as u64;
        if !self.session().is_closed() {
            stats.waiting = self.metrics.waiting();
        }
        stats
    }

    pub(crate) fn metrics(&self) -> &CallMetrics {
        &self.metrics
    }
}

impl Connection for ConnectionShared {
    fn id(&self) -> PeerId {
        self.id
    }

    fn peer(&self) -> &PeerInfo {
        &self.peer
    }

    fn limits(&self) -> &Limits {
        &self.limits
    }

    fn visible(&self) -> Option<&[&'static ServiceInfo]> {
        self.visible.as_deref()
    }

    fn transports(&self) -> &[String] {
        &self.transports
    }
}
