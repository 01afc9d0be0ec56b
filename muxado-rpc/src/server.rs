//! Many connections from the side that is connected to.

mod accept;
mod addresses;
mod connections;
mod handshake;
mod listener;
mod stats;

use std::{fmt, io, sync::Arc, time::Duration};

use muxado::{Config, HeartbeatConfig};
use tokio::sync::watch;
use tower_layer::{Identity, Layer, Stack};

use self::{accept::Acceptor, connections::LiveConnections, listener::Listener};
pub use self::{handshake::Handshake, stats::ServerStats};
use crate::{
    AddressError, CallHead, CallService, CallStats, Drained, Limits, NamedService, Peer, RegistrationError,
    Router, Status,
    connection::{bounds::Bounds, serving::authorize::Authorize, setup::Setup},
    support::truncate::Escaped,
    transport::address::Address,
};

/// Serves services on an address, to any number of connections.
///
/// It serves until [`shutdown`](Self::shutdown), or until it is dropped: then it stops listening and
/// closes its connections.
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
    local_addr: String,
    orders: watch::Sender<Order>,
    outcome: watch::Receiver<Option<Drained>>,
    live: Arc<LiveConnections>,
    bounds: Bounds,
}

/// What the task of a server is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Serve,
    /// Let calls under way finish within this time.
    Drain(Duration),
}

impl Server {
    /// Begins to set a server up.
    pub fn builder() -> ServerBuilder {
        ServerBuilder { setup: Setup::new(), layer: Identity::new(), hooks: Hooks::default() }
    }

    /// The address it listens on, with the port that the system chose if 0 was asked for.
    pub fn local_addr(&self) -> &str {
        &self.local_addr
    }

    /// Stops serving in good order: no further connections, no further calls; those under way may
    /// finish within `grace`, what is left is cut. Says what became of them, of all connections
    /// together.
    ///
    /// Takes at most `grace` and [`Config::close_timeout`]. Calling it again waits for the same end.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped the server ends all the same.
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

    /// Waits until the server has ended, which it does after [`shutdown`](Self::shutdown), or with the runtime that
    /// it listens in.
    /// Says what became of the calls then under way.
    ///
    /// # Cancel safety
    ///
    /// It may be dropped and called again at any time, also after the end.
    pub async fn wait(&self) -> Drained {
        match self.outcome.clone().wait_for(Option::is_some).await.as_deref() {
            Ok(Some(drained)) => *drained,
            // The task is gone, with its runtime and all calls.
            _ => Drained { finished: 0, cut: self.call_stats().in_flight() },
        }
    }

    /// What became of the calls of all connections, also of those that have ended.
    pub fn call_stats(&self) -> CallStats {
        self.live.call_stats()
    }

    /// Returns how many connections there are and were, and what they hold together.
    pub fn stats(&self) -> ServerStats {
        ServerStats {
            connections: self.live.count(),
            refused_connections: self.live.refused(),
            call_bytes: self.bounds.memory.as_ref().map_or(0, |memory| memory.used() as u64),
            detached_handlers: self.bounds.detached.count() as u64,
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("local_addr", &self.local_addr).finish_non_exhaustive()
    }
}

/// Code of the user's that sees connections.
#[derive(Clone, Default)]
struct Hooks {
    handshake: Option<Arc<dyn Handshake>>,
    on_connect: Option<Arc<dyn Fn(Peer) + Send + Sync>>,
}

/// Sets a server up: services, layers, limits; see [`Server::builder`].
#[derive(Clone)]
#[must_use = "a builder does nothing until it listens"]
pub struct ServerBuilder<L = Identity> {
    setup: Setup,
    layer: L,
    hooks: Hooks,
}

impl<L> ServerBuilder<L> {
    /// Serves a service. If two have the same id, listening fails.
    pub fn serve<S>(mut self, service: S) -> Self
    where
        S: CallService + NamedService + Sync,
    {
        self.setup.serve(service);
        self
    }

    /// Puts a Tower layer around all services, for all connections together. Of several, the one
    /// added first sees a request first.
    pub fn layer<N>(self, layer: N) -> ServerBuilder<Stack<N, L>> {
        ServerBuilder { setup: self.setup, layer: Stack::new(layer, self.layer), hooks: self.hooks }
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
        self.setup.limits = limits;
        self
    }

    /// Bytes that the calls of all connections may hold together. Default 1 GiB.
    ///
    /// Counted is what [`Limits::max_request_memory`] and [`Limits::max_response_memory`] bound for one connection:
    /// requests that come in several pieces, until their handlers are gone, and responses that wait for their
    /// callers. Each of these two has its room on a connection only as far as there is room here.
    ///
    /// Where there is none, the connection that holds most has to give: of its calls the one that has held most for
    /// longest, first of those that wait for their peer, then of those that are served. It fails with
    /// `resource_exhausted`, and a line in the log says so. A call of that connection itself is refused, as not
    /// executed. Handlers of methods with `#[method(no_cancel)]` keep what they hold.
    ///
    /// The sessions underneath are not part of it. All in all, calls and sessions hold at most
    /// `max_memory + max_connections × (what one session holds)`, for which `SECURITY.md` has the formula; what
    /// handlers make is theirs. [`Server::stats`] says how much is held.
    pub fn max_memory(mut self, bytes: usize) -> Self {
        self.setup.max_memory = bytes;
        self
    }

    /// Sets the multiplexer of each connection up: windows, streams, backlog.
    pub fn config(mut self, config: Config) -> Self {
        self.setup.config = config;
        self
    }

    /// Sets the heartbeats of each connection up. They are on by default: a peer that is gone is
    /// noticed.
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

    /// Tells of each new connection, so that the serving side may call first.
    ///
    /// `hook` runs in the task of the server, or of the connection if that began with a handshake, and
    /// should return at once; what takes longer is to be
    /// spawned. A panic of its is logged. The [`Peer`] does not keep its connection open.
    pub fn on_connect(mut self, hook: impl Fn(Peer) + Send + Sync + 'static) -> Self {
        self.hooks.on_connect = Some(Arc::new(hook));
        self
    }

    /// Does this with each socket before the session begins: TLS, say. By default nothing is done.
    pub fn handshake(mut self, handshake: impl Handshake) -> Self {
        self.hooks.handshake = Some(Arc::new(handshake));
        self
    }
}

impl<L> ServerBuilder<L>
where
    L: Layer<Router, Service: CallService>,
{
    /// Listens on `tcp://host:port` (with `TCP_NODELAY` and TCP keepalive on what is accepted) or `unix:///path`.
    ///
    /// A Unix socket left behind by a process that is gone is replaced. Anything else at the path, such as a
    /// file, a directory, a symbolic link or a socket in use, is an error and stays as it is. The file of the
    /// socket is removed when the server ends, unless another file has its name by then.
    ///
    /// Spawns the task of the server on the current tokio runtime.
    ///
    /// # Errors
    ///
    /// When the address is not valid or is taken, or two services have the same id.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub async fn listen(mut self, address: &str) -> Result<Server, ListenError> {
        let parsed: Address = address.parse()?;
        let router = self.setup.router()?;
        let failed = |source| ListenError::Io { address: address.to_owned(), source };
        let listener = Listener::bind(&parsed).await.map_err(failed)?;
        let bound = listener.local_address().map_err(failed)?;
        let service = self.layer.layer(router.clone());
        self.setup.begin_anew(true);
        let bounds = self.setup.bounds.clone();
        let (orders, ordered) = watch::channel(Order::Serve);
        let (outcome, ended) = watch::channel(None);
        let live = Arc::new(LiveConnections::default());
        let acceptor = Acceptor::new(self.setup, router, service, self.hooks, Arc::clone(&live));
        // The task ends when the handle, which holds the sender of its orders, is dropped.
        tokio::spawn(async move {
            let drained = acceptor.run(listener, ordered).await;
            outcome.send_replace(Some(drained));
        });
        Ok(Server { local_addr: bound.to_string(), orders, outcome: ended, live, bounds })
    }
}

impl<L: fmt::Debug> fmt::Debug for ServerBuilder<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerBuilder")
            .field("setup", &self.setup)
            .field("layer", &self.layer)
            .finish_non_exhaustive()
    }
}

/// Why a server does not listen.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ListenError {
    /// The address is none.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// The services cannot be served together.
    #[error(transparent)]
    Registration(#[from] RegistrationError),
    /// The address cannot be listened on.
    #[error("cannot listen on {}: {}", Escaped(.address), Escaped(.source))]
    Io {
        /// The address.
        address: String,
        /// What the system says.
        source: io::Error,
    },
}
