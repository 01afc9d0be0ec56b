//! One connection, which may serve, call, or both.

use std::{
    fmt,
    hash::{Hash, Hasher},
    io,
    sync::Arc,
    time::Duration,
};

use muxado::{Config, ErrorCode, HeartbeatConfig, SessionEnd, SessionStats, Side, TypedSession};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::Instant,
};
use tower_layer::{Identity, Layer, Stack};

#[cfg(feature = "__tls")]
use crate::transport::tls::client::ClientTls;
use crate::{
    AddressError, CallHead, CallService, CallStats, Channel, Drained, Health, Inline, Limits, NamedService,
    PeerCapabilities, PeerId, PeerInfo, RegistrationError, Router, ServiceSchema, Status,
    connection::{serving::authorize::Authorize, setup::Setup, shared::ConnectionShared, task::Connection},
    support::{panics::CatchDrop, truncate::Escaped},
    transport::{
        connector::BoxIo,
        dial::{DialOptions, Dialed},
        target::{AddressFailure, Failures, IntoTargets, Shown, Target, connect_to_any},
    },
};

/// A connection to a peer. Either side may serve and call.
///
/// Clones are cheap and share the connection. It closes when the last clone and the last [`Channel`] from them are
/// dropped, or at once with [`close`](Self::close). Those that a hook or a list gives out do not keep it open:
/// [`ServerBuilder::on_connect`](crate::ServerBuilder::on_connect), [`Server::peers`](crate::Server::peers),
/// [`Reconnect::peers`](crate::Reconnect::peers).
///
/// Two are equal if they are handles of the same connection, which [`id`](Self::id) names: the key for maps of peers.
///
/// ```no_run
/// use muxado_rpc::Peer;
///
/// # #[muxado_rpc::service]
/// # pub trait Greeter { async fn hello(&self, name: String) -> String; }
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let peer = Peer::builder().connect("tcp://127.0.0.1:7000").await?;
/// let greeter = GreeterClient::new(peer.channel());
/// println!("{}", greeter.hello("Eve".to_owned()).await?);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Peer {
    channel: Channel,
    shared: Arc<ConnectionShared>,
}

impl Peer {
    /// Returns a builder of a connection.
    pub fn builder() -> PeerBuilder {
        PeerBuilder {
            setup: Setup::new(),
            layer: Identity::new(),
            info: None,
            dialing: DialOptions::default(),
        }
    }

    pub(crate) fn of_connection<T, S>(connection: &Connection<T, S>, owning: bool) -> Self
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        S: CallService,
    {
        let shared = Arc::clone(connection.shared());
        if !owning {
            return Self::lent(shared);
        }
        Self { channel: Channel::owning(Arc::clone(&shared)), shared }
    }

    /// A handle that does not keep its connection open.
    pub(crate) fn lent(shared: Arc<ConnectionShared>) -> Self {
        Self { channel: Channel::new(Arc::clone(&shared)), shared }
    }

    pub(crate) fn shared(&self) -> &Arc<ConnectionShared> {
        &self.shared
    }

    /// Returns a channel, by which clients call the services of the other side.
    pub fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// Returns the id of the connection, which is unique in the process.
    pub fn id(&self) -> PeerId {
        self.shared.id()
    }

    /// Returns since when the connection has been there: the time at which its session began.
    pub fn connected_at(&self) -> Instant {
        self.shared.since()
    }

    /// Returns who is at the other end: address, identity, and what was learnt when the connection was made.
    pub fn peer_info(&self) -> &PeerInfo {
        self.shared.peer()
    }

    /// Returns what the other side has proved to be: [`PeerInfo::identity`].
    pub fn identity(&self) -> Option<&str> {
        self.peer_info().identity()
    }

    /// The former name of [`peer_info`](Self::peer_info).
    #[deprecated(note = "renamed to `peer_info`")]
    pub fn info(&self) -> &PeerInfo {
        self.peer_info()
    }

    /// Returns what the other side has told about itself: limits, services, whether it drains. `None` as long as it has
    /// told nothing.
    ///
    /// Peers of this implementation tell each other one second after the first request or response. This method makes
    /// both tell at once, in a line of some hundred bytes each way. No call waits for it. Peers of other implementations
    /// never tell anything (`PROTOCOL §10.13`).
    pub fn known_capabilities(&self) -> Option<Arc<PeerCapabilities>> {
        self.channel.known_capabilities()
    }

    /// The former name of [`known_capabilities`](Self::known_capabilities).
    #[deprecated(note = "renamed to `known_capabilities`")]
    pub fn remote(&self) -> Option<Arc<PeerCapabilities>> {
        self.known_capabilities()
    }

    /// Asks what the other side tells about itself, and waits for the answer: a round trip. `None` if it tells nothing; see
    /// [`Channel::capabilities`].
    ///
    /// # Cancel safety
    ///
    /// It may be dropped and called again at any time.
    pub async fn capabilities(&self) -> Option<Arc<PeerCapabilities>> {
        self.channel.capabilities().await
    }

    /// The former name of [`capabilities`](Self::capabilities).
    #[deprecated(note = "renamed to `capabilities`")]
    pub async fn hello(&self) -> Option<Arc<PeerCapabilities>> {
        self.capabilities().await
    }

    /// Whether the limits of both sides let this side send a message of so many bytes, as far as they are known.
    pub(crate) fn takes_message_of(&self, bytes: usize) -> bool {
        bytes <= self.shared.send_limits().message_size().bytes
    }

    pub(crate) fn typed(&self) -> &TypedSession {
        self.shared.typed()
    }

    /// Returns counters of the session: bytes, streams, frames.
    pub fn stats(&self) -> SessionStats {
        self.shared.session().stats()
    }

    /// Returns counts of the other side's calls, by what became of them.
    pub fn call_stats(&self) -> CallStats {
        self.shared.call_stats()
    }

    /// Shuts the connection down gracefully. Returns what became of the calls under way.
    ///
    /// Neither side begins further calls. Calls under way may finish within `grace`; calls that have not finished by then
    /// are cut. Takes at most `grace` plus [`Config::close_timeout`].
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, no further calls can begin, but the connection stays open.
    pub async fn shutdown(&self, grace: Duration) -> Drained {
        self.shared.drain(grace).await
    }

    /// Closes the connection at once: calls under way fail, handlers are dropped.
    pub fn close(&self) {
        self.shared.session().close(ErrorCode::NO_ERROR, "");
    }

    /// Waits until the connection has ended. Returns why.
    ///
    /// # Cancel safety
    ///
    /// The future may be dropped and the method called again at any time, also after the end.
    pub async fn closed(&self) -> SessionEnd {
        self.shared.session().closed().await
    }

    /// Returns whether the connection has ended.
    pub fn is_closed(&self) -> bool {
        self.shared.session().is_closed()
    }

    /// Returns whether no further call can be made, because either side shuts down or the connection has ended.
    pub fn is_going_away(&self) -> bool {
        self.shared.session().is_going_away()
    }

    /// Waits until no further call can be made. Calls under way may go on after that.
    ///
    /// # Cancel safety
    ///
    /// The future may be dropped and the method called again at any time, also after the end.
    pub async fn going_away(&self) {
        self.shared.session().going_away().await;
    }
}

impl PartialEq for Peer {
    fn eq(&self, other: &Self) -> bool {
        self.id() == other.id()
    }
}

impl Eq for Peer {}

impl Hash for Peer {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.id().hash(state);
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peer")
            .field("id", &self.id())
            .field("peer_info", self.peer_info())
            .finish_non_exhaustive()
    }
}

/// Configures a connection: services, layers and limits. [`Peer::builder`] creates one.
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until it connects"]
pub struct PeerBuilder<L = Identity> {
    setup: Setup,
    layer: L,
    info: Option<PeerInfo>,
    dialing: DialOptions,
}

impl<L> PeerBuilder<L> {
    /// Adds a service for the other side to call. If two services have the same id, connecting fails.
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
    /// All services take calls until the application says otherwise; see [`Health`] for an example.
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
    /// [`authorize`](Self::authorize) hold for its calls.
    ///
    /// Twice, or beside another service with its id, it is an error where the builder is used.
    ///
    /// ```
    /// # #[muxado_rpc::service]
    /// # pub trait Greeter { async fn hello(&self, name: String) -> String; }
    /// # struct Polite;
    /// # impl Greeter for Polite { async fn hello(&self, name: String) -> String { name } }
    /// let builder = muxado_rpc::Peer::builder().serve(GreeterServer::new(Polite)).reflection();
    /// # let _ = builder;
    /// ```
    pub fn reflection(mut self) -> Self {
        self.setup.reflection();
        self
    }

    /// Sets a service for all calls of services and methods that are not served here; see [`Router::fallback`](crate::Router::fallback). With a
    /// [`Channel`](crate::Channel) the peer passes them on to another peer.
    pub fn fallback<S>(mut self, service: S) -> Self
    where
        S: CallService + Sync,
    {
        self.setup.fallback(service);
        self
    }

    /// Sets what [`reflection`](Self::reflection) says of the services behind the [`fallback`](Self::fallback); see
    /// [`Router::describe_fallback`](crate::Router::describe_fallback).
    pub fn describe_fallback(mut self, services: impl IntoIterator<Item = ServiceSchema>) -> Self {
        self.setup.describe_fallback(services);
        self
    }

    /// Puts a Tower layer around all services.
    ///
    /// Layers run in the order in which they were added: the first added sees a request first.
    pub fn layer<N>(self, layer: N) -> PeerBuilder<Stack<N, L>> {
        PeerBuilder {
            setup: self.setup,
            layer: Stack::new(layer, self.layer),
            info: self.info,
            dialing: self.dialing,
        }
    }

    /// Sets who is at the other end, for handlers and logs, as learnt in a TLS handshake. By default it is the address
    /// that is connected to, if there is one.
    pub fn peer_info(mut self, info: PeerInfo) -> Self {
        self.info = Some(info);
        self
    }

    /// Returns who is at the other end, if that was said.
    #[cfg(feature = "axum")]
    pub(crate) fn known_peer(&self) -> Option<&PeerInfo> {
        self.info.as_ref()
    }

    /// Sets the certificate authorities that are trusted, and the certificate of this side, for connections to `tls://`
    /// and `wss://`.
    /// By default those of the system are trusted, and this side has no certificate.
    ///
    /// With it, connecting to `tcp://` or `ws://` fails: nothing falls back to plain text.
    #[cfg(feature = "__tls")]
    pub fn tls(mut self, tls: ClientTls) -> Self {
        self.dialing.security.set(tls);
        self
    }

    /// Adds a header to the HTTP request with which connections to `ws://` and `wss://` begin: `Authorization`, a cookie.
    /// One of the same name is replaced, also `Host`. If it is not valid, connecting fails. Other addresses have no
    /// headers.
    ///
    /// ```no_run
    /// use muxado_rpc::{Peer, Reconnect};
    ///
    /// # fn example(token: &str) -> Result<(), Box<dyn std::error::Error>> {
    /// let peer = Peer::builder().websocket_header("Authorization", format!("Bearer {token}"));
    /// let channel = Reconnect::builder().address("wss://rpc.example.org/rpc").peer(peer).build()?;
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(feature = "ws")]
    pub fn websocket_header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.dialing.websocket.add_header(name.into(), value.into());
        self
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
    /// use muxado_rpc::{CallHead, Peer, Status};
    ///
    /// struct User(String);
    ///
    /// let builder = Peer::builder().authorize(|call: &mut CallHead<'_>| {
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

    /// Sets the limits of calls.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.setup.set_limits(limits);
        self
    }

    /// Sets the configuration of the multiplexer: windows, streams, backlog.
    pub fn config(mut self, config: Config) -> Self {
        self.setup.set_config(config);
        self
    }

    /// Sets the heartbeats, by which a peer that is gone is noticed. On by default.
    pub fn heartbeat(mut self, heartbeat: HeartbeatConfig) -> Self {
        self.setup.heartbeat = Some(heartbeat);
        self
    }

    /// Turns heartbeats off. Heartbeats of the other side are still answered.
    pub fn no_heartbeat(mut self) -> Self {
        self.setup.heartbeat = None;
        self
    }

    /// Sets how long connecting may take: for the name, all its addresses, and all places of a list together. Default
    /// 10 s. A [`Reconnect`](crate::Reconnect) has a limit of its own.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.dialing.connect_timeout = timeout;
        self
    }

    /// Sets after how much silence the system asks whether the other end of a TCP connection is still there, in whole
    /// seconds; `None` if it never does. Default 30 s. A [`Reconnect`](crate::Reconnect) takes it from its
    /// [peer](crate::reconnect::ReconnectBuilder::peer).
    pub fn tcp_keepalive(mut self, after: Option<Duration>) -> Self {
        self.dialing.tcp_keepalive = after;
        self
    }

    /// Puts something around each transport that is connected to, below the session and above TLS and WebSocket: what
    /// counts bytes, slows them down or shows them.
    ///
    /// Only transports of [`connect`](Self::connect), of a [`Reconnect`](crate::Reconnect) and of a
    /// [`Balanced`](crate::Balanced) are wrapped. Called again, it replaces what was set. A panic of `wrap` reaches the
    /// caller of `connect`.
    ///
    /// ```
    /// use muxado_rpc::{BoxIo, Peer};
    /// use tokio::io::BufStream;
    ///
    /// let builder = Peer::builder().wrap_transport(|io: BoxIo| Box::new(BufStream::new(io)));
    /// # let _ = builder;
    /// ```
    pub fn wrap_transport(mut self, wrap: impl Fn(BoxIo) -> BoxIo + Send + Sync + 'static) -> Self {
        self.dialing.wrap.set(wrap);
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
}

impl<L> PeerBuilder<L>
where
    L: Layer<Router, Service: CallService>,
{
    /// Connects to an [`Address`](crate::Address), through a connector, or to the first of several that takes the
    /// connection; see [`IntoTargets`].
    ///
    /// All addresses of a name are tried, IPv6 and IPv4 in turn, each 250 ms after the one before or when that one has
    /// failed (RFC 8305). TCP connections have `TCP_NODELAY` and [TCP keepalive](Self::tcp_keepalive). Over `tls://` the
    /// handshake is part of what `connect_timeout` limits; its error holds a `TlsError`. So is the upgrade over `ws://`,
    /// whose error holds a `WebSocketError`.
    ///
    /// # Errors
    ///
    /// Returns an error if an address is not valid, if two services have the same id, or if nobody answers within
    /// [`connect_timeout`](Self::connect_timeout). It names each address that was tried, and why there is no connection
    /// to it.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives the connection up.
    ///
    /// # Panics
    ///
    /// Panics outside a tokio runtime.
    pub async fn connect(self, to: impl IntoTargets) -> Result<Peer, ConnectError> {
        let targets = to.into_targets()?.0;
        if targets.is_empty() {
            return Err(ConnectError::NoAddress);
        }
        self.setup.router()?;
        let (target, dialed) = connect_to_any(targets, &self.dialing).await?;
        let mut info = self.info.clone().unwrap_or_else(|| info_of(&target, &dialed));
        info.note_identified(dialed.identified.as_ref());
        Ok(self.start(Side::Client, dialed.io, info)?)
    }

    /// Runs a connection over the standard input and output of this process, as the side that accepted it: the program
    /// was started by its peer, which connected to `exec:program` or to a [`ChildProcess`](crate::ChildProcess). They
    /// must be pipes or sockets. Available on Unix.
    ///
    /// Nothing else may read the standard input or write to the standard output: `println!` breaks the connection, while
    /// `eprintln!` and a log on the standard error do not. When the other side closes the connection, or ends,
    /// [`Peer::closed`] returns at once, and the program should end.
    ///
    /// ```no_run
    /// use muxado_rpc::Peer;
    ///
    /// # #[muxado_rpc::service]
    /// # pub trait Greeter { async fn hello(&self, name: String) -> String; }
    /// # struct Polite;
    /// # impl Greeter for Polite { async fn hello(&self, name: String) -> String { name } }
    /// #[tokio::main]
    /// async fn main() -> Result<(), muxado_rpc::ConnectError> {
    ///     let host = Peer::builder().serve(GreeterServer::new(Polite)).stdio()?;
    ///     host.closed().await;
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// Returns an error if the standard input or output is a file or a terminal, if another peer of this process has
    /// them, or if two services have the same id.
    ///
    /// # Panics
    ///
    /// Panics outside a tokio runtime.
    #[cfg(unix)]
    pub fn stdio(self) -> Result<Peer, ConnectError> {
        self.setup.router()?;
        let failed = |source| ConnectError::Io { address: "standard input and output".to_owned(), source };
        let io = crate::transport::stdio::StandardIo::take().map_err(failed)?;
        let info = self.info.clone().unwrap_or_else(|| PeerInfo::new("stdio"));
        Ok(self.start(Side::Server, io, info)?)
    }

    /// Runs a connection over any transport, as the side that connected. Spawns its task on the current tokio runtime.
    ///
    /// # Errors
    ///
    /// Returns an error if two services have the same id.
    ///
    /// # Panics
    ///
    /// Panics outside a tokio runtime.
    pub fn client<T>(self, io: T) -> Result<Peer, RegistrationError>
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        {
            let info = self.info.clone().unwrap_or_default();
            self.start(Side::Client, io, info)
        }
    }

    /// Runs a connection over any transport, as the side that accepted it. Otherwise the same as
    /// [`client`](Self::client).
    ///
    /// # Errors
    ///
    /// Returns an error if two services have the same id.
    ///
    /// # Panics
    ///
    /// Panics outside a tokio runtime.
    pub fn server<T>(self, io: T) -> Result<Peer, RegistrationError>
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        {
            let info = self.info.clone().unwrap_or_default();
            self.start(Side::Server, io, info)
        }
    }

    fn start<T>(self, side: Side, io: T, info: PeerInfo) -> Result<Peer, RegistrationError>
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        Ok(self.prepare()?.start(side, io, info))
    }

    /// Returns all that connections are started from.
    pub(crate) fn prepare(mut self) -> Result<Prepared<L::Service>, RegistrationError> {
        let router = self.setup.router()?;
        let service = CatchDrop::new(self.layer.layer(router.clone()));
        self.setup.begin_anew(false);
        Ok(Prepared { setup: self.setup, router, service, dialing: self.dialing })
    }
}

/// What connections are started from. All of them share the layers around the services.
#[derive(Clone, Debug)]
pub(crate) struct Prepared<S> {
    setup: Setup,
    router: Router,
    service: CatchDrop<S>,
    dialing: DialOptions,
}

/// Returns what is known of who is at the other end of a new connection.
pub(crate) fn info_of(target: &Target, dialed: &Dialed) -> PeerInfo {
    let known = target.address().map_or_else(PeerInfo::default, PeerInfo::new);
    let mut info = known.with_credentials(dialed.credentials);
    info.note_identified(dialed.identified.as_ref());
    info
}

/// Connects to a peer with the default settings: what [`Peer::builder`]`().connect(to)` does.
///
/// ```no_run
/// # #[muxado_rpc::service]
/// # pub trait Greeter { async fn hello(&self, name: String) -> String; }
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let peer = muxado_rpc::connect("unix:///run/app.sock").await?;
/// let greeter = GreeterClient::new(peer.channel());
/// println!("{}", greeter.hello("Eve".to_owned()).await?);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// Returns an error that names each address that was tried, and why there is no connection to it.
///
/// # Cancel safety
///
/// Dropping the future gives the connection up.
///
/// # Panics
///
/// Panics outside a tokio runtime.
pub async fn connect(to: impl IntoTargets) -> Result<Peer, ConnectError> {
    Peer::builder().connect(to).await
}

impl<S: CallService> Prepared<S> {
    pub(crate) fn start<T>(self, side: Side, io: T, info: PeerInfo) -> Peer
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let connection = Connection::new(side, io, info, &self.setup, self.router, self.service);
        let peer = Peer::of_connection(&connection, true);
        // The task ends with the session, which the last handle closes.
        tokio::spawn(connection.run());
        peer
    }

    pub(crate) fn dialing(&self) -> &DialOptions {
        &self.dialing
    }

    pub(crate) fn heartbeat(&self) -> Option<HeartbeatConfig> {
        self.setup.heartbeat
    }
}

/// The error of [`PeerBuilder::connect`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The address is not valid.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// The services cannot be served together.
    #[error(transparent)]
    Registration(#[from] RegistrationError),
    /// There is no address in the list.
    #[error("no address to connect to")]
    NoAddress,
    /// There is no connection to the address.
    #[error("cannot connect to {}: {}", Escaped(.address), Shown(.source))]
    Io {
        /// The address.
        address: String,
        /// Why connecting failed.
        source: io::Error,
    },
    /// There is no connection to any of several addresses.
    #[error("cannot connect to any of {} addresses: {}", .failures.len(), Failures(.failures))]
    Several {
        /// Each of them, and why.
        failures: Vec<AddressFailure>,
    },
}

impl From<Vec<AddressFailure>> for ConnectError {
    fn from(mut failures: Vec<AddressFailure>) -> Self {
        match failures.pop() {
            Some(failure) if failures.is_empty() => {
                let (address, source) = failure.into_parts();
                Self::Io { address, source }
            }
            last => {
                failures.extend(last);
                Self::Several { failures }
            }
        }
    }
}
