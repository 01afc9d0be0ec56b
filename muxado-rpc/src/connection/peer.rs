//! One connection from the side that makes it: it may serve, call, or both.

use std::{fmt, io, sync::Arc, time::Duration};

use muxado::{Config, ErrorCode, HeartbeatConfig, SessionEnd, SessionStats, Side, TypedSession};
use tokio::io::{AsyncRead, AsyncWrite};
use tower_layer::{Identity, Layer, Stack};

use crate::{
    AddressError, CallHead, CallService, CallStats, Channel, Drained, Limits, NamedService, PeerCapabilities,
    PeerInfo, RegistrationError, Router, Socket, Status,
    connection::{serving::authorize::Authorize, setup::Setup, shared::ConnectionShared, task::Connection},
    support::{
        panics::CatchDrop,
        truncate::{Brief, Escaped},
    },
    transport::address::Address,
};

/// One connection, at whose other end there is a peer of the same kind: each may serve and call.
///
/// Clones are cheap and mean the same connection. It is closed when the last clone and the last
/// [`Channel`] from them are dropped, and at once by [`close`](Self::close).
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
    /// Begins to set a connection up.
    pub fn builder() -> PeerBuilder {
        PeerBuilder { setup: Setup::new(), layer: Identity::new(), info: None }
    }

    pub(crate) fn of_connection<T, S>(connection: &Connection<T, S>, owning: bool) -> Self
    where
        T: AsyncRead + AsyncWrite + Unpin,
        S: CallService,
    {
        let shared = Arc::clone(connection.shared());
        let make = if owning { Channel::owning } else { Channel::new };
        Self { channel: make(Arc::clone(&shared)), shared }
    }

    /// Calls the services of the other side.
    pub fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// Who is at the other end.
    pub fn info(&self) -> &PeerInfo {
        self.shared.peer()
    }

    /// What the other side said about itself: limits, services, whether it drains. `None` as long as
    /// it said nothing.
    ///
    /// Peers of this family tell each other, without being asked, one second after the first answer or
    /// request; asking for it here has both say it at once, in a line of some hundred bytes each way.
    /// No call waits for it. A peer of another kind never says anything (`PROTOCOL §10.13`).
    pub fn remote(&self) -> Option<Arc<PeerCapabilities>> {
        self.channel.remote()
    }

    /// Waits for what the other side says about itself; see [`Channel::capabilities`].
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

    /// Counters of the session underneath: bytes, streams, frames.
    pub fn stats(&self) -> SessionStats {
        self.shared.session().stats()
    }

    /// What became of the calls of the other side.
    pub fn call_stats(&self) -> CallStats {
        self.shared.call_stats()
    }

    /// Ends the connection in good order: neither side begins further calls, those under way may
    /// finish within `grace`, what is left is cut. Says what became of them.
    ///
    /// Takes at most `grace` and [`Config::close_timeout`].
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped no further calls can begin, but the connection is not closed.
    pub async fn shutdown(&self, grace: Duration) -> Drained {
        self.shared.drain(grace).await
    }

    /// Ends the connection now: calls under way fail, handlers are dropped.
    pub fn close(&self) {
        self.shared.session().close(ErrorCode::NO_ERROR, "");
    }

    /// Waits for the end of the connection, and says why it ended.
    ///
    /// # Cancel safety
    ///
    /// It may be dropped and called again at any time, also after the end.
    pub async fn closed(&self) -> SessionEnd {
        self.shared.session().closed().await
    }

    /// Whether the connection has ended.
    pub fn is_closed(&self) -> bool {
        self.shared.session().is_closed()
    }

    /// Whether no further call can be made: either side shuts down, or the connection has ended.
    pub fn is_going_away(&self) -> bool {
        self.shared.session().is_going_away()
    }

    /// Waits until no further call can be made; those under way may go on.
    ///
    /// # Cancel safety
    ///
    /// It may be dropped and called again at any time, also after the end.
    pub async fn going_away(&self) {
        self.shared.session().going_away().await;
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peer").field("info", self.info()).finish_non_exhaustive()
    }
}

/// Sets a connection up: services, layers, limits; see [`Peer::builder`].
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until it connects"]
pub struct PeerBuilder<L = Identity> {
    setup: Setup,
    layer: L,
    info: Option<PeerInfo>,
}

impl<L> PeerBuilder<L> {
    /// Serves a service to the other side. If two have the same id, connecting fails.
    pub fn serve<S>(mut self, service: S) -> Self
    where
        S: CallService + NamedService + Sync,
    {
        self.setup.serve(service);
        self
    }

    /// Puts a Tower layer around all services. Of several, the one added first sees a request first.
    pub fn layer<N>(self, layer: N) -> PeerBuilder<Stack<N, L>> {
        PeerBuilder { setup: self.setup, layer: Stack::new(layer, self.layer), info: self.info }
    }

    /// Says who is at the other end, for handlers and logs: after a TLS handshake, say. By default it
    /// is the address that is connected to, if there is one.
    pub fn peer_info(mut self, info: PeerInfo) -> Self {
        self.info = Some(info);
        self
    }

    /// Decides on each call when its head has arrived: by the method, the metadata and who calls. A call that it
    /// refuses fails with the status that it returns, as not executed.
    ///
    /// `check` runs in the task of the connection, before the layers. Of a request that does not come in one piece the
    /// parameters are not buffered before it has run, wherever the metadata come in front of them: in MessagePack as
    /// [`Codec::MessagePack`](crate::Codec::MessagePack) writes it, in JSON only if the caller writes them so. For
    /// those that come the other way round there is a quarter of
    /// [`Limits::max_request_memory`], for all of a connection together. What it refuses takes nothing else:
    /// no room in a layer, no handler.
    ///
    /// It must not wait: what has to ask elsewhere is for a layer, such as
    /// [`AuthLayer`](crate::layers::AuthLayer), which sees requests that are whole. A panic of its refuses the call.
    /// Calls within the process, made by a client of the server object, do not come this way.
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
        self.setup.limits = limits;
        self
    }

    /// Sets the multiplexer up: windows, streams, backlog.
    pub fn config(mut self, config: Config) -> Self {
        self.setup.config = config;
        self
    }

    /// Sets the heartbeats up. They are on by default: a peer that is gone is noticed.
    pub fn heartbeat(mut self, heartbeat: HeartbeatConfig) -> Self {
        self.setup.heartbeat = Some(heartbeat);
        self
    }

    /// Sends no heartbeats. Those of the other side are still answered.
    pub fn no_heartbeat(mut self) -> Self {
        self.setup.heartbeat = None;
        self
    }

    /// Whether the text of a handler's panic goes to the caller, in the `internal` status. Default
    /// no: it may tell what is none of the caller's business.
    pub fn panic_messages(mut self, show: bool) -> Self {
        self.setup.panic_messages = show;
        self
    }
}

impl<L> PeerBuilder<L>
where
    L: Layer<Router, Service: CallService>,
{
    /// Connects to `tcp://host:port` (with `TCP_NODELAY` and TCP keepalive) or `unix:///path`.
    ///
    /// # Errors
    ///
    /// When the address is none, nobody answers there, or two services have the same id.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives up.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub async fn connect(self, address: &str) -> Result<Peer, ConnectError> {
        let parsed: Address = address.parse()?;
        self.setup.router()?;
        let connected = Socket::connect(&parsed).await;
        let io = connected.map_err(|source| ConnectError::Io { address: address.to_owned(), source })?;
        let info = self.info.clone().unwrap_or_else(|| PeerInfo::new(address));
        Ok(self.start(Side::Client, io, info)?)
    }

    /// Runs over any transport, as the side that connected. Spawns the task of the connection on
    /// the current tokio runtime.
    ///
    /// # Errors
    ///
    /// When two services have the same id.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn client<T>(self, io: T) -> Result<Peer, RegistrationError>
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        {
            let info = self.info.clone().unwrap_or_default();
            self.start(Side::Client, io, info)
        }
    }

    /// Runs over any transport, as the side that was connected to; otherwise as
    /// [`client`](Self::client).
    ///
    /// # Errors
    ///
    /// When two services have the same id.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
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

    /// Everything but the connection.
    pub(crate) fn prepare(mut self) -> Result<Prepared<L::Service>, RegistrationError> {
        let router = self.setup.router()?;
        let service = CatchDrop::new(self.layer.layer(router.clone()));
        self.setup.begin_anew(false);
        Ok(Prepared { setup: self.setup, router, service })
    }
}

/// What connections are started from. The layers around the services are the same for all of them.
#[derive(Clone, Debug)]
pub(crate) struct Prepared<S> {
    setup: Setup,
    router: Router,
    service: CatchDrop<S>,
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

    pub(crate) fn heartbeat(&self) -> Option<HeartbeatConfig> {
        self.setup.heartbeat
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The address is none.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// The services cannot be served together.
    #[error(transparent)]
    Registration(#[from] RegistrationError),
    /// Nobody answers there.
    #[error("cannot connect to {}: {}", Escaped(.address), Brief(.source))]
    Io {
        /// The address.
        address: String,
        /// What the system says.
        source: io::Error,
    },
}
