//! Configures a balanced client.

use std::{fmt, future::Future, sync::Arc, time::Duration};

use futures_core::Stream;
use tower_layer::{Identity, Layer};

use super::{
    Balanced, OutlierDetection, RetryBudget,
    set::{Set, Settings},
    update::{Source, Times, Updater},
};
use crate::{
    Address, AddressError, Backoff, CallService, IntoTargets, Peer, PeerBuilder, Reconnect,
    RegistrationError, Router,
    client::{
        reconnect::{Connector, ReconnectBuilder, ReconnectError},
        resolver::Resolver,
    },
};

/// Configures a [`Balanced`]: servers, or who finds them, retries, and the settings of the connections.
///
/// ```no_run
/// use std::time::Duration;
///
/// use muxado_rpc::{Balanced, balanced::{OutlierDetection, SystemResolver}};
///
/// # fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let channel = Balanced::builder()
///     .resolver(SystemResolver::new("tcp://workers.internal:7000")?)
///     .attempts(3)
///     .outlier_detection(OutlierDetection::default().consecutive_failures(10))
///     .hedge_after(Duration::from_millis(200))
///     .build()?;
/// # Ok(())
/// # }
/// ```
#[must_use = "a builder does nothing until it builds"]
pub struct BalancedBuilder<L = Identity> {
    /// What the connection to each server is made as. Its targets are the servers that are fixed.
    connections: ReconnectBuilder<L>,
    source: Source,
    times: Times,
    outliers: Option<OutlierDetection>,
    budget: RetryBudget,
    hedge_after: Option<Duration>,
}

impl BalancedBuilder {
    pub(super) fn new() -> Self {
        Self {
            // Pauses that are short, so that a server that is back soon gets its share.
            connections: Reconnect::builder().backoff(Backoff::default().max(Duration::from_secs(1))),
            source: Source::Fixed,
            times: Times { every: Duration::from_secs(30), apart: Duration::from_secs(5) },
            outliers: Some(OutlierDetection::default()),
            budget: RetryBudget::default(),
            hedge_after: None,
        }
    }
}

impl<L> BalancedBuilder<L> {
    fn map<M>(self, change: impl FnOnce(ReconnectBuilder<L>) -> ReconnectBuilder<M>) -> BalancedBuilder<M> {
        BalancedBuilder {
            connections: change(self.connections),
            source: self.source,
            times: self.times,
            outliers: self.outliers,
            budget: self.budget,
            hedge_after: self.hedge_after,
        }
    }

    /// Adds a server by its [`Address`]. The same address counts once, however often it is given or found.
    ///
    /// All IP addresses of a host name are one server: one of them is connected to. To have each as a server of its own
    /// use a [`resolver`](Self::resolver). If an address is not valid, [`build`](Self::build) fails.
    pub fn address(self, address: impl TryInto<Address, Error: Into<AddressError>>) -> Self {
        self.map(|connections| connections.address(address))
    }

    /// Adds a server by a closure or another [`Connector`]. Each connector is a server of its own.
    pub fn connector(self, connector: impl Connector) -> Self {
        self.map(|connections| connections.connector(connector))
    }

    /// Adds a server for each address or connector of a list.
    pub(super) fn targets(self, targets: impl IntoTargets) -> Self {
        self.map(|connections| connections.targets(targets))
    }

    /// Has a [`Resolver`] find servers, beside those that were added. It takes the place of another resolver or stream.
    pub fn resolver(mut self, resolver: impl Resolver) -> Self {
        self.source = Source::Resolver(Box::new(resolver));
        self
    }

    /// Takes sets of servers from a stream: each item is the whole set, beside the servers that were added. It takes the
    /// place of another stream or resolver.
    ///
    /// For files, Kubernetes, Consul, or whatever else tells of changes. When the stream ends, the last set stays.
    ///
    /// ```
    /// use futures_util::stream;
    /// use muxado_rpc::{Address, Balanced, BalancedBuilder};
    /// use tokio::sync::watch;
    ///
    /// fn watching(mut sets: watch::Receiver<Vec<Address>>) -> BalancedBuilder {
    ///     sets.mark_changed();
    ///     Balanced::builder().updates(stream::unfold(sets, async |mut sets| {
    ///         sets.changed().await.ok()?;
    ///         let set = sets.borrow_and_update().clone();
    ///         Some((set, sets))
    ///     }))
    /// }
    /// # let _ = watching;
    /// ```
    pub fn updates(mut self, sets: impl Stream<Item = Vec<Address>> + Send + 'static) -> Self {
        self.source = Source::Updates(Box::pin(sets));
        self
    }

    /// Sets how often a resolver is asked at least. Default 30 s.
    ///
    /// It is asked earlier if what it found is valid for less, and when a connection has ended. As long as no server is
    /// connected, and after a failure, it is asked as often as [`resolve_apart`](Self::resolve_apart) lets it be.
    pub fn resolve_every(mut self, time: Duration) -> Self {
        self.times.every = time;
        self
    }

    /// Sets the least time between two times that a resolver is asked. Default 5 s.
    pub fn resolve_apart(mut self, time: Duration) -> Self {
        self.times.apart = time;
        self
    }

    /// Sets what each connection is made with: services for the other side, layers around them, limits, heartbeats, TLS.
    /// All connections share the layers.
    pub fn peer<M>(self, peer: PeerBuilder<M>) -> BalancedBuilder<M> {
        self.map(|connections| connections.peer(peer))
    }

    /// Sets how long making a connection may take, the first heartbeat included. Default 10 s.
    pub fn connect_timeout(self, timeout: Duration) -> Self {
        self.map(|connections| connections.connect_timeout(timeout))
    }

    /// Sets what is done with each new connection before calls go over it; see [`ReconnectBuilder::on_connect`]. It runs for
    /// each server, and again when the connection to a server was replaced.
    pub fn on_connect<F, Fut, E>(self, hook: F) -> Self
    where
        F: Fn(Peer) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), E>> + Send + 'static,
        E: fmt::Display,
    {
        self.map(|connections| connections.on_connect(hook))
    }

    /// Sets how long the hook of [`on_connect`](Self::on_connect) may take. Default 10 s.
    pub fn on_connect_timeout(self, timeout: Duration) -> Self {
        self.map(|connections| connections.on_connect_timeout(timeout))
    }

    /// Sets the pauses between failures to connect to a server. Default 100 ms, growing to 1 s.
    ///
    /// They begin anew after a connection that was of use; when another server is connected to, or the set has changed,
    /// which counts once a second; never within 100 ms.
    pub fn backoff(self, backoff: Backoff) -> Self {
        self.map(|connections| connections.backoff(backoff))
    }

    /// Sets how often a call is tried, the first attempt and a hedged one included. Default 5, at least 1.
    pub fn attempts(self, attempts: u32) -> Self {
        self.map(|connections| connections.attempts(attempts))
    }

    /// Sets the pauses between the attempts of a call. Default 10 ms, growing to 1 s. The second attempt begins without
    /// a pause if there is another server.
    pub fn retry_backoff(self, backoff: Backoff) -> Self {
        self.map(|connections| connections.retry_backoff(backoff))
    }

    /// Sets how many calls may wait for a server at a time; further calls fail as not executed. Default 1024. Each call
    /// that waits holds its request.
    pub fn max_waiting(self, calls: usize) -> Self {
        self.map(|connections| connections.max_waiting(calls))
    }

    /// Makes calls fail at once, as not executed, while no server is connected. This includes the time before the first
    /// connection, for which [`Balanced::connected`] waits.
    pub fn fail_fast(self) -> Self {
        self.map(ReconnectBuilder::fail_fast)
    }

    /// Sets when a server that fails gets no calls for a while. On by default.
    pub fn outlier_detection(mut self, detection: OutlierDetection) -> Self {
        self.outliers = Some(detection);
        self
    }

    /// Has servers that fail get calls as long as they are connected.
    pub fn no_outlier_detection(mut self) -> Self {
        self.outliers = None;
        self
    }

    /// Sets how many retries and hedged attempts there may be, of all calls together.
    pub fn retry_budget(mut self, budget: RetryBudget) -> Self {
        self.budget = budget;
        self
    }

    /// Makes a second attempt over another server when a call has had no response after this time. The first response
    /// counts, and the other attempt is cancelled. Off by default.
    ///
    /// Only [idempotent](crate::MethodInfo::is_idempotent) methods are called twice, and none that streams. The second
    /// attempt is one of [`attempts`](Self::attempts), and counts against the [retry budget](Self::retry_budget). A good
    /// time is what 95 of 100 calls take less than.
    pub fn hedge_after(mut self, time: Duration) -> Self {
        self.hedge_after = Some(time);
        self
    }
}

impl<L> BalancedBuilder<L>
where
    L: Layer<Router, Service: CallService>,
{
    /// Builds the client. Returns at once; tasks on the current tokio runtime find the servers and connect to them.
    ///
    /// # Errors
    ///
    /// Returns an error if there is no server and nothing that finds any, if an address is not valid, or if two services
    /// have the same id.
    ///
    /// # Panics
    ///
    /// Panics outside a tokio runtime.
    pub fn build(self) -> Result<Balanced, BalancedError> {
        let (targets, starter) = self.connections.prepare()?;
        if targets.is_empty() && matches!(self.source, Source::Fixed) {
            return Err(BalancedError::NoAddress);
        }
        let settings = Settings {
            retry_backoff: starter.settings().retry_backoff,
            attempts: starter.settings().attempts,
            max_waiting: starter.settings().max_waiting,
            outliers: self.outliers,
            budget: self.budget,
            hedge_after: self.hedge_after,
        };
        let set = Set::new(settings, self.source.nothing_yet());
        let mut updater = Updater::new(Arc::clone(&set), starter, self.source, self.times, targets);
        updater.begin();
        // The task is aborted with the last handle.
        let task = tokio::spawn(updater.run()).abort_handle();
        Ok(Balanced::new(set, task))
    }
}

impl<L: fmt::Debug> fmt::Debug for BalancedBuilder<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BalancedBuilder")
            .field("connections", &self.connections)
            .field("times", &self.times)
            .field("outliers", &self.outliers)
            .field("budget", &self.budget)
            .field("hedge_after", &self.hedge_after)
            .finish_non_exhaustive()
    }
}

/// The error of [`BalancedBuilder::build`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BalancedError {
    /// There is no server, and nothing that finds any.
    #[error(
        "no server to call; give an address to BalancedBuilder::address, or a resolver to BalancedBuilder::resolver"
    )]
    NoAddress,
    /// An address is not valid.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// The services cannot be served together.
    #[error(transparent)]
    Registration(#[from] RegistrationError),
}

impl From<ReconnectError> for BalancedError {
    fn from(error: ReconnectError) -> Self {
        match error {
            ReconnectError::NoAddress => Self::NoAddress,
            ReconnectError::Address(error) => Self::Address(error),
            ReconnectError::Registration(error) => Self::Registration(error),
        }
    }
}
