//! Configures a reconnecting client.

use std::{fmt, future::Future, sync::Arc, time::Duration};

use tower_layer::{Identity, Layer};

use super::{Connector, Reconnect, managed::Starter, on_connect::OnConnect, pool::Settings};
use crate::{
    Address, AddressError, Backoff, CallService, IntoTargets, Peer, PeerBuilder, RegistrationError, Router,
    transport::target::Target,
};

/// Configures a [`Reconnect`]: addresses, pauses, retries and the settings of its connections.
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
    targets: Result<Vec<Target>, AddressError>,
    peer: PeerBuilder<L>,
    settings: Settings,
}

impl ReconnectBuilder {
    pub(super) fn new() -> Self {
        let settings = Settings {
            connections: 1,
            connect_timeout: Duration::from_secs(10),
            on_connect: None,
            on_connect_timeout: Duration::from_secs(10),
            backoff: Backoff::default(),
            retry_backoff: Backoff::default().base(Duration::from_millis(10)).max(Duration::from_secs(1)),
            attempts: 5,
            max_waiting: Some(1024),
        };
        Self { targets: Ok(Vec::new()), peer: Peer::builder(), settings }
    }
}

impl<L> ReconnectBuilder<L> {
    /// Adds an [`Address`] to connect to, such as `tcp://host:port`, `tls://host:port`, `ws://host/path`, `unix:///path` or
    /// `exec:program args`. What TLS trusts is set with `tls` of the [`PeerBuilder`] that is given to [`peer`](Self::peer).
    ///
    /// Several addresses are tried in turn, with a pause when all have failed. All addresses of one name are tried side
    /// by side, as [`PeerBuilder::connect`] does, and TCP connections have the same options. If an address is not valid,
    /// [`build`](Self::build) fails.
    pub fn address(mut self, address: impl TryInto<Address, Error: Into<AddressError>>) -> Self {
        self.targets = self.targets.and_then(|mut targets| {
            targets.push(Target::Address(address.try_into().map_err(Into::into)?));
            Ok(targets)
        });
        self
    }

    /// Adds a place to connect to, by a closure or another [`Connector`]. Otherwise the same as
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
            targets.push(Target::Connector(Arc::new(connector)));
        }
        self
    }

    /// Adds the places of a list.
    pub(in crate::client) fn targets(mut self, more: impl IntoTargets) -> Self {
        self.targets = self.targets.and_then(|mut targets| {
            targets.extend(more.into_targets()?.0);
            Ok(targets)
        });
        self
    }

    /// Sets what each connection is made with: services for the other side, layers around them, limits, heartbeats.
    /// All connections share the layers.
    pub fn peer<M>(self, peer: PeerBuilder<M>) -> ReconnectBuilder<M> {
        ReconnectBuilder { targets: self.targets, peer, settings: self.settings }
    }

    /// Sets the number of connections. Calls take those that are connected in turn. Default 1; clamped to 1..=1024.
    pub fn connections(mut self, connections: usize) -> Self {
        self.settings.connections = connections.clamp(1, 1024);
        self
    }

    /// Sets how long making a connection may take, the first heartbeat included. Default 10 s.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.settings.connect_timeout = timeout;
        self
    }

    /// Sets what is done with each new connection before calls go over it: registering, subscribing again.
    ///
    /// `hook` may call the other side through the [`Peer`], which may call back meanwhile. The connection is used once the
    /// future has returned `Ok`. If it returns an error, panics or takes longer than
    /// [`on_connect_timeout`](Self::on_connect_timeout), or if the other side goes away meanwhile, the connection is
    /// closed, and that counts as a failure to connect: the next address is tried, or the same one again after a pause
    /// ([`backoff`](Self::backoff)), and the error is in [`State::Backoff`](super::State::Backoff).
    ///
    /// The hook runs for each of several [`connections`](Self::connections), in the task that connects. The peer does
    /// not keep its connection open, so that it may be kept. Calls through the client itself wait for the hook: do not
    /// wait for them here.
    ///
    /// ```no_run
    /// use muxado_rpc::{Peer, Reconnect};
    ///
    /// #[muxado_rpc::service]
    /// pub trait Hub {
    ///     async fn register(&self, name: String);
    /// }
    /// # #[muxado_rpc::service]
    /// # pub trait Agent { async fn run(&self, command: String) -> String; }
    /// # struct Machine;
    /// # impl Agent for Machine { async fn run(&self, command: String) -> String { command } }
    ///
    /// # fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let hub = Reconnect::builder()
    ///     .address("tcp://hub.internal:7000")
    ///     .peer(Peer::builder().serve(AgentServer::new(Machine)))
    ///     .on_connect(|peer| async move { HubClient::new(peer.channel()).register("pump-7".to_owned()).await })
    ///     .build()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn on_connect<F, Fut, E>(mut self, hook: F) -> Self
    where
        F: Fn(Peer) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), E>> + Send + 'static,
        E: fmt::Display,
    {
        self.settings.on_connect = Some(OnConnect::new(hook));
        self
    }

    /// Sets how long the hook of [`on_connect`](Self::on_connect) may take. Default 10 s. This is apart from
    /// [`connect_timeout`](Self::connect_timeout).
    pub fn on_connect_timeout(mut self, timeout: Duration) -> Self {
        self.settings.on_connect_timeout = timeout;
        self
    }

    /// Sets the pauses between rounds of failures to connect. Default 100 ms, growing to 30 s.
    ///
    /// They begin anew after a connection over which a call was answered, or that lasted for a second.
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.settings.backoff = backoff;
        self
    }

    /// Sets how often a call is tried, the first attempt included. Default 5, at least 1.
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.settings.attempts = attempts.max(1);
        self
    }

    /// Sets the pauses between the attempts of a call. Default 10 ms, growing to 1 s.
    ///
    /// If the connection of the first attempt goes away, the second attempt begins without a pause.
    pub fn retry_backoff(mut self, backoff: Backoff) -> Self {
        self.settings.retry_backoff = backoff;
        self
    }

    /// Sets how many calls may wait for a connection at a time; further calls fail as not executed. Default 1024. Each
    /// call that waits holds its request.
    pub fn max_waiting(mut self, calls: usize) -> Self {
        self.settings.max_waiting = Some(calls);
        self
    }

    /// Makes calls fail at once, as not executed, while there is no connection. This includes the time before the first
    /// connection, for which [`Reconnect::connected`] waits.
    pub fn fail_fast(mut self) -> Self {
        self.settings.max_waiting = None;
        self
    }
}

impl<L> ReconnectBuilder<L>
where
    L: Layer<Router, Service: CallService>,
{
    /// Builds the client. Returns at once; tasks on the current tokio runtime connect.
    ///
    /// # Errors
    ///
    /// Returns an error if there is no address, if an address is not valid, or if two services have the same id.
    ///
    /// # Panics
    ///
    /// Panics outside a tokio runtime.
    pub fn build(self) -> Result<Reconnect, ReconnectError> {
        if self.targets.as_ref().is_ok_and(Vec::is_empty) {
            return Err(ReconnectError::NoAddress);
        }
        let (targets, starter) = self.prepare()?;
        Ok(starter.start(&targets.into()))
    }

    /// Returns the targets, and all that clients of them are started from.
    pub(in crate::client) fn prepare(self) -> Result<(Vec<Target>, Starter<L::Service>), ReconnectError> {
        let targets = self.targets?;
        Ok((targets, Starter::new(self.peer.prepare()?, self.settings)))
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

/// The error of [`ReconnectBuilder::build`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReconnectError {
    /// There is no address and no connector.
    #[error("no address to connect to; give one to ReconnectBuilder::address or a connector")]
    NoAddress,
    /// An address is not valid.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// The services cannot be served together.
    #[error(transparent)]
    Registration(#[from] RegistrationError),
}
