//! Sets a reconnecting client up.

use std::{fmt, sync::Arc, time::Duration};

use tower_layer::{Identity, Layer};

use super::{
    Connector, Reconnect,
    pool::{Pool, Settings},
    slot::Slot,
};
use crate::transport::connector::Dial;
use crate::{
    AddressError, Backoff, CallService, Peer, PeerBuilder, RegistrationError, Router,
    transport::address::Address,
};

/// Sets a reconnecting client up: where to, how often, with what; see [`Reconnect::builder`].
///
/// ```no_run
/// use std::time::Duration;
///
/// use muxado_rpc::{Backoff, Peer, Reconnect};
///
/// # #[muxado_rpc::service]
/// # pub trait Events { async fn changed(&self, name: String); }
/// # struct Log;
/// # impl Events for Log { async fn changed(&self, _: String) {} }
/// # fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let channel = Reconnect::builder()
///     .address("tcp://one:7000")
///     .address("tcp://two:7000")
///     .peer(Peer::builder().serve(EventsServer::new(Log)))
///     .connections(2)
///     .backoff(Backoff::default().max(Duration::from_secs(5)))
///     .build()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use = "a builder does nothing until it builds"]
pub struct ReconnectBuilder<L = Identity> {
    targets: Result<Vec<Arc<dyn Connector>>, AddressError>,
    peer: PeerBuilder<L>,
    settings: Settings,
}

impl ReconnectBuilder {
    pub(super) fn new() -> Self {
        let settings = Settings {
            connections: 1,
            connect_timeout: Duration::from_secs(10),
            backoff: Backoff::default(),
            retry_backoff: Backoff::default().base(Duration::from_millis(10)).max(Duration::from_secs(1)),
            attempts: 5,
            max_waiting: Some(1024),
        };
        Self { targets: Ok(Vec::new()), peer: Peer::builder(), settings }
    }
}

impl<L> ReconnectBuilder<L> {
    /// Adds an address, `tcp://host:port` or `unix:///path`. Of several, each is tried in turn; a
    /// pause is made when all have failed. If it is none, building fails.
    pub fn address(mut self, address: &str) -> Self {
        self.targets = self.targets.and_then(|mut targets| {
            targets.push(Arc::new(Dial::new(address.parse::<Address>()?)));
            Ok(targets)
        });
        self
    }

    /// Adds a place to connect to by a connector: a closure, or a type of one's own. Otherwise as
    /// [`address`](Self::address).
    ///
    /// ```no_run
    /// use muxado_rpc::Reconnect;
    /// use tokio::net::TcpStream;
    ///
    /// # fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let channel = Reconnect::builder().connector(|| TcpStream::connect("one:7000")).build()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn connector(mut self, connector: impl Connector) -> Self {
        if let Ok(targets) = &mut self.targets {
            targets.push(Arc::new(connector));
        }
        self
    }

    /// Sets what each connection is made with: services for the other side, layers around them,
    /// limits, heartbeats. The layers are the same for all connections together.
    pub fn peer<M>(self, peer: PeerBuilder<M>) -> ReconnectBuilder<M> {
        ReconnectBuilder { targets: self.targets, peer, settings: self.settings }
    }

    /// Keeps this many connections; each call goes over the next one of those that are connected.
    /// Default 1; 1 to 1024, others are clamped.
    pub fn connections(mut self, connections: usize) -> Self {
        self.settings.connections = connections.clamp(1, 1024);
        self
    }

    /// How long making a connection may take, the first heartbeat included. Default 10 s.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.settings.connect_timeout = timeout;
        self
    }

    /// The pauses between rounds of failures to connect. They begin anew after a connection over
    /// which a call was answered, or that lived for a second.
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.settings.backoff = backoff;
        self
    }

    /// How often a call is tried, the first time included. Default 5, at least 1.
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.settings.attempts = attempts.max(1);
        self
    }

    /// The pauses between the attempts of a call. Default 10 ms, growing to 1 s. There is none
    /// before the second attempt when the connection of the first goes away.
    pub fn retry_backoff(mut self, backoff: Backoff) -> Self {
        self.settings.retry_backoff = backoff;
        self
    }

    /// Calls that may wait for a connection at a time; further ones fail as not executed. Default
    /// 1024. Each holds its request.
    pub fn max_waiting(mut self, calls: usize) -> Self {
        self.settings.max_waiting = Some(calls);
        self
    }

    /// Lets calls fail at once, as not executed, while there is no connection: also before the first
    /// is made, for which [`Reconnect::connected`] waits.
    pub fn fail_fast(mut self) -> Self {
        self.settings.max_waiting = None;
        self
    }
}

impl<L> ReconnectBuilder<L>
where
    L: Layer<Router, Service: CallService>,
{
    /// Begins to connect, in tasks on the current tokio runtime, and does not wait for it.
    ///
    /// # Errors
    ///
    /// When there is no address or one that is none, or two services have the same id.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn build(self) -> Result<Reconnect, ReconnectError> {
        let targets: Arc<[Arc<dyn Connector>]> = self.targets?.into();
        if targets.is_empty() {
            return Err(ReconnectError::NoAddress);
        }
        let prepared = self.peer.prepare()?;
        let connections = self.settings.connections;
        let pool = Pool::new(self.settings);
        let start = |index| {
            let slot = Slot::new(index, Arc::clone(&pool), prepared.clone(), Arc::clone(&targets));
            // The task is aborted with the last handle.
            tokio::spawn(slot.run()).abort_handle()
        };
        let tasks = (0..connections).map(start).collect();
        Ok(Reconnect::new(pool, tasks))
    }
}

impl<L: fmt::Debug> fmt::Debug for ReconnectBuilder<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReconnectBuilder")
            .field("targets", &self.targets)
            .field("peer", &self.peer)
            .field("settings", &self.settings)
            .finish()
    }
}

/// Why there is no reconnecting client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReconnectError {
    /// There is nowhere to connect to.
    #[error("no address to connect to; give one to ReconnectBuilder::address or a connector")]
    NoAddress,
    /// An address is none.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// The services cannot be served together.
    #[error(transparent)]
    Registration(#[from] RegistrationError),
}
