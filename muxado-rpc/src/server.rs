//! A server: listens on an address and serves any number of connections.

mod accept;
mod access;
mod addresses;
mod age;
#[cfg(feature = "axum")]
pub(crate) mod axum;
mod bind;
mod connections;
mod handshake;
mod handshakes;
mod listener;
#[cfg(feature = "metrics")]
mod observer;
mod proxy_protocol;
mod security;
mod stats;
mod websocket;

use std::{fmt, io, sync::Arc, time::Duration};

use muxado::{Config, HeartbeatConfig};
use tokio::sync::watch;
use tower_layer::{Identity, Layer, Stack};

#[cfg(feature = "metrics")]
pub(crate) use self::observer::{ServerObserver, ServerTotals};
use self::{
    accept::Acceptor,
    access::AccessHook,
    age::AgeLimit,
    connections::LiveConnections,
    handshakes::Handshakes,
    listener::{BindError, CloseOnDrop, Listeners},
    security::ServerSecurity,
};
pub use self::{
    access::Access,
    bind::{Bind, IntoBinds},
    handshake::Handshake,
    stats::ServerStats,
};
use crate::{
    Address, AddressError, CallHead, CallService, CallStats, Drained, Health, Inline, Limits, NamedService,
    Peer, PeerId, PeerInfo, RegistrationError, Router, ServiceSchema, Status,
    connection::{bounds::Bounds, serving::authorize::Authorize, setup::Setup},
    support::truncate::Escaped,
    transport::{
        target::{AddressFailure, Failures},
        tcp,
    },
};
#[cfg(feature = "__tls")]
use crate::{ServerTls, TlsConfigError};

/// A server: listens on an address and serves its services to any number of connections.
///
/// It serves until [`shutdown`](Self::shutdown) is called or it is dropped. When it is dropped it stops listening at
/// once, so that another server can take its address, and its connections are closed without a grace period.
///
/// ```
/// use muxado_rpc::Server;
///
/// # #[muxado_rpc::service]
/// # pub trait Greeter { async fn hello(&self, name: String) -> String; }
/// # struct Polite;
/// # impl Greeter for Polite { async fn hello(&self, name: String) -> String { name } }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let server = Server::builder().serve(GreeterServer::new(Polite)).listen("tcp://127.0.0.1:0").await?;
/// println!("listening on {}", server.local_addr());
/// # Ok(())
/// # }
/// ```
pub struct Server {
    local_addrs: Vec<Address>,
    // Before the orders, whose end ends the task.
    _listening: CloseOnDrop,
    orders: watch::Sender<Order>,
    outcome: watch::Receiver<Option<Drained>>,
    live: Arc<LiveConnections>,
    handshakes: Arc<Handshakes>,
    bounds: Bounds,
}

/// An order for the task of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Serve,
    /// Let calls under way finish within this time.
    Drain(Duration),
}

impl Server {
    /// Returns a builder of a server.
    pub fn builder() -> ServerBuilder {
        ServerBuilder {
            setup: Setup::new(),
            layer: Identity::new(),
            hooks: Hooks::default(),
            listening: ListenOptions::default(),
        }
    }

    /// Returns the address the server listens on, the first of several. If port 0 was asked for, it has the port that
    /// the system chose.
    pub fn local_addr(&self) -> &Address {
        self.local_addrs.first().expect("a server listens on one address at least")
    }

    /// Returns all addresses the server listens on, in the order in which they were given.
    pub fn local_addrs(&self) -> &[Address] {
        &self.local_addrs
    }

    /// Shuts the server down gracefully. Returns what became of the calls under way, of all connections together.
    ///
    /// The server takes no further connections and no further calls. Calls under way may finish within `grace`; calls
    /// that have not finished by then are cut. Takes at most `grace` plus [`Config::close_timeout`]. Further calls of
    /// this method wait for the same end.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the shutdown goes on.
    pub async fn shutdown(&self, grace: Duration) -> Drained {
        self.orders.send_if_modified(|order| {
            let first = *order == Order::Serve;
            if first {
                *order = Order::Drain(grace);
            }
            first
        });
        self.wait().await
    }

    /// Waits until the server has ended: after [`shutdown`](Self::shutdown), or with the runtime that it listens in.
    /// Returns what became of the calls that were under way.
    ///
    /// # Cancel safety
    ///
    /// The future may be dropped and the method called again at any time, also after the end.
    pub async fn wait(&self) -> Drained {
        match self.outcome.clone().wait_for(Option::is_some).await.as_deref() {
            Ok(Some(drained)) => *drained,
            // The task is gone, with its runtime and all calls.
            _ => Drained { finished: 0, cut: self.call_stats().in_flight() },
        }
    }

    /// Returns counts of the calls of all connections, past ones included.
    pub fn call_stats(&self) -> CallStats {
        self.live.call_stats()
    }

    /// Returns the peers that are connected now, in the order in which they connected, to call all of them back, say.
    ///
    /// A peer is in the list from the time at which its session begins until it can be called no more: because either side
    /// shuts down, or the connection has ended. The handles keep no connection open.
    ///
    /// ```
    /// use muxado_rpc::Server;
    ///
    /// #[muxado_rpc::service]
    /// pub trait Listener {
    ///     async fn news(&self, text: String);
    /// }
    ///
    /// async fn tell_all(server: &Server, text: &str) {
    ///     for peer in server.peers() {
    ///         // One that has left meanwhile is none of our business.
    ///         let _ = ListenerClient::new(peer.channel()).news(text.to_owned()).await;
    ///     }
    /// }
    ///
    /// fn show(server: &Server) {
    ///     for peer in server.peers() {
    ///         println!("{}: {} since {:?}", peer.id(), peer.peer_info(), peer.connected_at().elapsed());
    ///     }
    /// }
    /// ```
    pub fn peers(&self) -> Vec<Peer> {
        self.live.peers()
    }

    /// Returns the peer with this id, to close its connection, say. `None` if that has ended, or is another server's.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use muxado_rpc::{PeerId, Server};
    ///
    /// async fn disconnect(server: &Server, id: PeerId) {
    ///     if let Some(peer) = server.peer(id) {
    ///         peer.shutdown(Duration::from_secs(5)).await;
    ///     }
    /// }
    /// ```
    pub fn peer(&self, id: PeerId) -> Option<Peer> {
        self.live.peer(id)
    }

    /// Returns how many connections there are and were, and what they hold together.
    pub fn stats(&self) -> ServerStats {
        Self::stats_of(&self.live, &self.handshakes, &self.bounds)
    }

    fn stats_of(live: &LiveConnections, handshakes: &Handshakes, bounds: &Bounds) -> ServerStats {
        ServerStats {
            connections: live.count(),
            refused_connections: live.refused(),
            handshakes: handshakes.count() as u64,
            failed_handshakes: live.failed_handshakes(),
            call_bytes: bounds.memory.as_ref().map_or(0, |memory| memory.used() as u64),
            detached_handlers: bounds.detached.count() as u64,
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("local_addrs", &self.local_addrs).finish_non_exhaustive()
    }
}

/// What is done with connections beside serving them: user-supplied steps at their start, and what ends them.
#[derive(Clone, Default)]
struct Hooks {
    security: ServerSecurity,
    handshake: Option<Arc<dyn Handshake>>,
    access: Option<AccessHook>,
    on_connect: Option<Arc<dyn Fn(Peer) + Send + Sync>>,
    age: AgeLimit,
}

/// How the server listens.
#[derive(Clone, Copy, Debug)]
struct ListenOptions {
    tcp_keepalive: Option<Duration>,
}

impl Default for ListenOptions {
    fn default() -> Self {
        Self { tcp_keepalive: Some(tcp::DEFAULT_KEEPALIVE) }
    }
}

/// Configures a [`Server`]: services, layers and limits.
#[derive(Clone)]
#[must_use = "a builder does nothing until it listens"]
pub struct ServerBuilder<L = Identity> {
    setup: Setup,
    layer: L,
    hooks: Hooks,
    listening: ListenOptions,
}

impl<L> ServerBuilder<L> {
    /// Adds a service. If two services have the same id, [`listen`](Self::listen) fails.
    pub fn serve<S>(mut self, service: S) -> Self
    where
        S: CallService + NamedService + Sync,
    {
        self.setup.serve(service);
        self
    }

    /// Adds the service of health, `muxado.Health`: the other side can ask whether services take calls, once or whenever it
    /// changes, in the words of `grpc.health.v1` (`PROTOCOL §10.15`). A [`HealthClient`](crate::HealthClient) asks.
    ///
    /// All services take calls until the application says otherwise; see [`Health`] for an example. When the server
    /// [shuts down](Server::shutdown), those who watch are told before their connections are, and their calls end: it waits
    /// for that, up to 100 ms of its grace.
    ///
    /// Twice, or beside another service with its id, it is an error where the builder is used.
    pub fn health(mut self, health: &Health) -> Self {
        self.setup.health(health);
        self
    }

    /// Adds the service of reflection, `muxado.Reflection`: the other side can ask which services are served here, with
    /// which methods, and what they take and return (`PROTOCOL §10.14`). A [`ReflectionClient`](crate::ReflectionClient)
    /// asks.
    ///
    /// A service with `#[service(schema)]` (feature `schema`) is described with JSON Schemas and doc comments, any other
    /// one with names, shapes and options. The service of reflection is one like any other: layers and
    /// [`authorize`](Self::authorize) hold for its calls, and what
    /// [`access`](Self::access) hides it does not name. With [`Access::only`], connections that may ask need it among
    /// their services: its name is [`ReflectionClient::SERVICE`](crate::ReflectionClient::SERVICE).
    ///
    /// Twice, or beside another service with its id, it is an error where the builder is used.
    ///
    /// ```
    /// # #[muxado_rpc::service]
    /// # pub trait Greeter { async fn hello(&self, name: String) -> String; }
    /// # struct Polite;
    /// # impl Greeter for Polite { async fn hello(&self, name: String) -> String { name } }
    /// let builder = muxado_rpc::Server::builder().serve(GreeterServer::new(Polite)).reflection();
    /// # let _ = builder;
    /// ```
    pub fn reflection(mut self) -> Self {
        self.setup.reflection();
        self
    }

    /// Sets a service for all calls of services and methods that are not served here; see [`Router::fallback`]. With a
    /// [`Channel`](crate::Channel) the server passes them on to another peer.
    pub fn fallback<S>(mut self, service: S) -> Self
    where
        S: CallService + Sync,
    {
        self.setup.fallback(service);
        self
    }

    /// Sets what [`reflection`](Self::reflection) says of the services behind the [`fallback`](Self::fallback); see
    /// [`Router::describe_fallback`].
    pub fn describe_fallback(mut self, services: impl IntoIterator<Item = ServiceSchema>) -> Self {
        self.setup.describe_fallback(services);
        self
    }

    /// Puts a Tower layer around all services.
    ///
    /// Layers run in the order in which they were added: the first added sees a request first.
    /// All connections share the layers.
    pub fn layer<N>(self, layer: N) -> ServerBuilder<Stack<N, L>> {
        ServerBuilder {
            setup: self.setup,
            layer: Stack::new(layer, self.layer),
            hooks: self.hooks,
            listening: self.listening,
        }
    }

    /// Sets a check that allows or refuses each call by its head: the method, the metadata and who calls. A refused call
    /// fails with the status that the check returns, as not executed.
    ///
    /// The check runs before the layers, in the task of the connection. Where the metadata come before the parameters,
    /// as in MessagePack from our clients, the parameters of a request that arrives in several pieces are not buffered
    /// before the check has run. Where they come after the parameters, as in JSON from our clients, requests that are
    /// not checked yet may take a quarter of [`Limits::max_request_memory`] on each connection. A refused call takes no
    /// place in a layer and has no handler.
    ///
    /// The check must not block. A check that has to wait is for a layer, such as
    /// [`AuthLayer`](crate::layers::AuthLayer), which sees whole requests. A panic of the check refuses the call.
    /// Calls in the same process that do not come over a connection are not checked.
    ///
    /// ```
    /// use muxado_rpc::{CallHead, Server, Status};
    ///
    /// struct User(String);
    ///
    /// let builder = Server::builder().authorize(|call: &mut CallHead<'_>| {
    ///     match call.metadata_mut().remove("token").as_deref() {
    ///         Some("open sesame") => Ok(call.extensions_mut().insert(User("Ali Baba".to_owned()))),
    ///         _ => Err(Status::unauthenticated("a token is needed")),
    ///     }
    /// });
    /// # let _ = builder;
    /// ```
    pub fn authorize(
        mut self,
        check: impl Fn(&mut CallHead<'_>) -> Result<(), Status> + Send + Sync + 'static,
    ) -> Self {
        self.setup.authorize = Some(Authorize::new(check));
        self
    }

    /// Sets the limits of calls and connections.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.setup.set_limits(limits);
        self
    }

    /// Sets how many bytes the calls of all connections may hold together. Default 1 GiB.
    ///
    /// This counts what [`Limits::max_request_memory`] and [`Limits::max_response_memory`] limit for one connection:
    /// requests that arrive in several pieces, until their handlers are gone, and responses that wait for their
    /// callers.
    ///
    /// Over the limit, the connection that holds most loses the call that has held most for longest: first of the calls
    /// that wait for their peer, then of those whose handler runs. That call fails with `resource_exhausted`, with a
    /// line in the log. A new call of that connection is refused, as not executed; calls of other connections go on.
    /// Handlers of methods with `#[method(no_cancel)]` keep what they hold.
    ///
    /// The sessions underneath are not counted. Calls and sessions together hold at most
    /// `max_memory + connections × (what one session holds)`; `SECURITY.md` has the formula. What handlers allocate is
    /// not counted. [`Server::stats`] returns how much is held.
    pub fn max_memory(mut self, bytes: usize) -> Self {
        self.setup.max_memory = bytes;
        self
    }

    /// Sets the configuration of each connection's multiplexer: windows, streams, backlog.
    pub fn config(mut self, config: Config) -> Self {
        self.setup.set_config(config);
        self
    }

    /// Sets the heartbeats of each connection, by which a peer that is gone is noticed. On by default.
    pub fn heartbeat(mut self, heartbeat: HeartbeatConfig) -> Self {
        self.setup.heartbeat = Some(heartbeat);
        self
    }

    /// Turns heartbeats off. Heartbeats of the other side are still answered.
    pub fn no_heartbeat(mut self) -> Self {
        self.setup.heartbeat = None;
        self
    }

    /// Sets after how much silence the system asks whether the other end of a TCP connection is still there, in whole
    /// seconds; `None` if it never does. Default 30 s.
    pub fn tcp_keepalive(mut self, after: Option<Duration>) -> Self {
        self.listening.tcp_keepalive = after;
        self
    }

    /// Sets where handlers run: in the task of their connection, or in tasks of their own. Default
    /// [`Inline::Adaptive`].
    pub fn inline(mut self, inline: Inline) -> Self {
        self.setup.inline = inline;
        self
    }

    /// Sets whether the caller gets the text of a handler's panic, in the `internal` status. Off by default, because
    /// the text may be confidential.
    pub fn panic_messages(mut self, show: bool) -> Self {
        self.setup.panic_messages = show;
        self
    }

    /// Calls `hook` for each new connection, so that the serving side can call first.
    ///
    /// The hook runs in the task of the server, or in that of the connection if there is a handshake. It should return
    /// at once and spawn what takes longer. If it panics, the panic is logged. The [`Peer`] does not keep its connection
    /// open.
    pub fn on_connect(mut self, hook: impl Fn(Peer) + Send + Sync + 'static) -> Self {
        self.hooks.on_connect = Some(Arc::new(hook));
        self
    }

    /// Sets how old connections get: at that age the server goes away from a connection, as [`Peer::shutdown`] does. Off by
    /// default: a connection may stay for ever.
    ///
    /// Calls under way finish, within [`max_connection_age_grace`](Self::max_connection_age_grace); a client that makes
    /// connections again by itself, as [`Reconnect`](crate::Reconnect) does, makes a new one for further calls, and loses
    /// none. So clients come to servers that were started later, and a certificate or a permission is looked at again.
    ///
    /// The age of each connection is random within a tenth of this one, so that connections that began together do not
    /// all end together. At least 1 s.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use muxado_rpc::Server;
    ///
    /// let server = Server::builder()
    ///     .max_connection_age(Duration::from_secs(30 * 60))
    ///     .max_connection_age_grace(Duration::from_secs(60));
    /// # let _ = server;
    /// ```
    pub fn max_connection_age(mut self, age: Duration) -> Self {
        self.hooks.age.set_max(age);
        self
    }

    /// Sets how long calls under way may go on over a connection that has reached its
    /// [age](Self::max_connection_age). After that they are cut. By default they may go on until they end by themselves.
    pub fn max_connection_age_grace(mut self, grace: Duration) -> Self {
        self.hooks.age.set_grace(grace);
        self
    }

    /// Sets the certificate and key of the server, and whose clients it takes, for `tls://`.
    ///
    /// With it, [`listen`](Self::listen) fails if no address is `tls://`. The handshake is part of what
    /// [`Limits::handshake_timeout`] limits, and runs in the task of the connection.
    #[cfg(feature = "__tls")]
    pub fn tls(mut self, tls: ServerTls) -> Self {
        self.hooks.security.set(tls);
        self
    }

    /// Sets what each connection may see and call, by who is at the other end. By default all of them see all services.
    ///
    /// The hook runs once for each connection, after its handshakes and before its session, with what they have proved
    /// ([`PeerInfo::identity`](crate::PeerInfo::identity)). What it hides is hidden everywhere: in calls, in the texts of
    /// errors and in what the server tells of itself. It must not block. A panic refuses the connection.
    ///
    /// What depends on the method, on metadata or on time is for [`authorize`](Self::authorize), which sees each call.
    ///
    /// ```
    /// use muxado_rpc::{Access, Server};
    ///
    /// let builder = Server::builder().access(|peer| match peer.identity() {
    ///     Some("admin.internal") => Access::all(),
    ///     Some(_) => Access::only(|service| service.name() == "Hub"),
    ///     None => Access::refuse(),
    /// });
    /// # let _ = builder;
    /// ```
    pub fn access(mut self, decide: impl Fn(&PeerInfo) -> Access + Send + Sync + 'static) -> Self {
        self.hooks.access = Some(AccessHook::new(decide));
        self
    }

    /// Sets a step between accepting a socket and starting its session. None by default. On `tls://` it comes after the
    /// handshake of TLS.
    pub fn handshake(mut self, handshake: impl Handshake) -> Self {
        self.hooks.handshake = Some(Arc::new(handshake));
        self
    }
}

impl<L> ServerBuilder<L>
where
    L: Layer<Router, Service: CallService>,
{
    /// Listens on one [`Address`] or several: `tcp://host:port`, `tls://host:port`, `ws://host/path`, `unix:///path`,
    /// `unix:@name`, `fd:3` or `sd-listen:name`.
    ///
    /// A list may mix them; a [`Bind`] has settings of its own. All listen, or none does. Accepted TCP connections have
    /// `TCP_NODELAY` and [TCP keepalive](Self::tcp_keepalive). A Unix socket that no process has open any more is
    /// replaced. Anything else at the path, such as a file, a directory, a symbolic link or a socket in use, is an error
    /// and stays as it is. The file of the socket is removed when the server ends, unless another file has its name by
    /// then.
    ///
    /// Spawns the task of the server on the current tokio runtime.
    ///
    /// ```
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let server = muxado_rpc::Server::builder().listen(["tcp://[::]:7000", "unix:///run/app.sock"]).await?;
    /// println!("listening on {:?}", server.local_addrs());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Returns an error that names each address that is not valid or cannot be listened on, or one that says that there
    /// is no address, that two services have the same id, or that the certificate for `tls://` cannot be used.
    ///
    /// # Panics
    ///
    /// Panics outside a tokio runtime.
    pub async fn listen(mut self, on: impl IntoBinds) -> Result<Server, ListenError> {
        let binds = on.into_binds();
        if binds.is_empty() {
            return Err(ListenError::NoAddress);
        }
        let router = self.setup.router()?;
        self.hooks.security.prepare(binds.iter().filter_map(|bind| bind.address.as_ref().ok())).await?;
        let listeners = Listeners::bind(binds, self.listening.tcp_keepalive).await?;
        let (local_addrs, listening) = (listeners.local_addresses(), listeners.close_on_drop());
        let service = self.layer.layer(router.clone());
        self.setup.begin_anew(true);
        self.setup.transports = schemes(&local_addrs);
        let bounds = self.setup.bounds.clone();
        let (orders, ordered) = watch::channel(Order::Serve);
        let (outcome, ended) = watch::channel(None);
        let live = Arc::new(LiveConnections::default());
        let limits = self.setup.limits();
        let handshakes = Handshakes::new(limits.max_handshakes, limits.handshake_timeout);
        let shared = (Arc::clone(&live), Arc::clone(&handshakes));
        let acceptor = Acceptor::new(self.setup, router, service, self.hooks, shared.0, shared.1);
        // The task ends when the handle, which holds the sender of its orders, is dropped.
        tokio::spawn(async move {
            let drained = acceptor.run(listeners, ordered).await;
            outcome.send_replace(Some(drained));
        });
        Ok(Server { local_addrs, _listening: listening, orders, outcome: ended, live, handshakes, bounds })
    }
}

/// Returns the schemes of addresses, each once.
fn schemes(addresses: &[Address]) -> Arc<[String]> {
    let mut schemes: Vec<String> = Vec::new();
    for address in addresses {
        let address = address.to_string();
        let scheme = address.split(':').next().unwrap_or_default();
        if !schemes.iter().any(|known| known == scheme) {
            schemes.push(scheme.to_owned());
        }
    }
    schemes.into()
}

impl<L: fmt::Debug> fmt::Debug for ServerBuilder<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerBuilder")
            .field("setup", &self.setup)
            .field("layer", &self.layer)
            .finish_non_exhaustive()
    }
}

/// The error of [`ServerBuilder::listen`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ListenError {
    /// The address is not valid.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// The services cannot be served together.
    #[error(transparent)]
    Registration(#[from] RegistrationError),
    /// There is no address in the list.
    #[error("no address to listen on")]
    NoAddress,
    /// The system does not let the server listen on the address.
    #[error("cannot listen on {}: {}", Escaped(.address), Escaped(.source))]
    Io {
        /// The address.
        address: String,
        /// The error of the system.
        source: io::Error,
    },
    /// The certificates for `tls://` cannot be used, or there are none.
    #[cfg(feature = "__tls")]
    #[error(transparent)]
    Tls(#[from] TlsConfigError),
    /// The system does not let the server listen on several of the addresses.
    #[error("cannot listen on {} addresses: {}", .failures.len(), Failures(.failures))]
    Several {
        /// Each of them, and why.
        failures: Vec<AddressFailure>,
    },
}

impl From<BindError> for ListenError {
    fn from(error: BindError) -> Self {
        match error {
            BindError::Address(error) => Self::Address(error),
            BindError::Failed(mut failures) => match failures.pop() {
                Some(failure) if failures.is_empty() => {
                    let (address, source) = failure.into_parts();
                    Self::Io { address, source }
                }
                last => {
                    failures.extend(last);
                    Self::Several { failures }
                }
            },
        }
    }
}
