//! The client's end of a connection, as a Tower service.

mod call;

use std::{
    any::Any,
    fmt,
    future::pending,
    sync::Arc,
    task::{Context, Poll},
};

use muxado::{ErrorCode, SessionEnd};
use tower_service::Service;

use self::call::Call;
pub use self::call::CallFuture;
use crate::{
    Origin, PeerCapabilities, PeerInfo, Request, Response, Status, connection::shared::ConnectionShared,
    support::depth::Depth, wire::encode_request,
};

/// Calls the services of the peer: a Tower service from [`Request`] to [`Response`].
///
/// Clones are cheap and call over the same connection, which stays open as long as one of them, or
/// the [`Peer`](crate::Peer) they come from, is there. A channel from
/// [`Context::channel`](crate::Context::channel), or of a connection that a
/// [`Server`](crate::Server) accepted, does not keep it open.
///
/// Any number of calls may be under way at once. Those above what the peer takes wait until it has
/// taken others: for a stream, and then in the peer's backlog. Each is one stream; dropping its future
/// resets the stream, and the peer drops the handler.
///
/// Calls may be awaited anywhere, also in another runtime or outside of any: the task of the connection runs where
/// the connection was made. A time limit that is awaited outside a tokio runtime with a clock is kept by a thread
/// of this crate, which begins with the first of them. Once the runtime of the connection has ended, calls fail as
/// `unavailable`.
#[derive(Clone)]
pub struct Channel {
    /// `None` without a connection.
    hold: Option<Hold>,
}

/// A hold on a connection: one count of references, since each call takes its own.
#[derive(Clone)]
enum Hold {
    /// The connection closes with the last of these.
    Owning(Arc<Owner>),
    /// It is there as long as others own it.
    Lent(Arc<ConnectionShared>),
    /// The same of a handler, whose calls have this depth at least. The depth is part of the tag, which is a word
    /// this way: the futures of calls find room in it.
    Depth1(Arc<ConnectionShared>),
    Depth2(Arc<ConnectionShared>),
    Depth3(Arc<ConnectionShared>),
    Depth4(Arc<ConnectionShared>),
    Depth5(Arc<ConnectionShared>),
    Depth6(Arc<ConnectionShared>),
    Depth7(Arc<ConnectionShared>),
    Depth8(Arc<ConnectionShared>),
}

impl Hold {
    fn lent(shared: Arc<ConnectionShared>, depth: Depth) -> Self {
        match depth.as_u8() {
            0 => Self::Lent(shared),
            1 => Self::Depth1(shared),
            2 => Self::Depth2(shared),
            3 => Self::Depth3(shared),
            4 => Self::Depth4(shared),
            5 => Self::Depth5(shared),
            6 => Self::Depth6(shared),
            7 => Self::Depth7(shared),
            _ => Self::Depth8(shared),
        }
    }

    fn shared(&self) -> &Arc<ConnectionShared> {
        match self {
            Self::Owning(owner) => &owner.shared,
            Self::Lent(shared)
            | Self::Depth1(shared)
            | Self::Depth2(shared)
            | Self::Depth3(shared)
            | Self::Depth4(shared)
            | Self::Depth5(shared)
            | Self::Depth6(shared)
            | Self::Depth7(shared)
            | Self::Depth8(shared) => shared,
        }
    }

    fn depth(&self) -> Depth {
        Depth::from_wire(match self {
            Self::Owning(_) | Self::Lent(_) => 0,
            Self::Depth1(_) => 1,
            Self::Depth2(_) => 2,
            Self::Depth3(_) => 3,
            Self::Depth4(_) => 4,
            Self::Depth5(_) => 5,
            Self::Depth6(_) => 6,
            Self::Depth7(_) => 7,
            Self::Depth8(_) => 8,
        })
    }
}

impl Channel {
    pub(crate) fn new(shared: Arc<ConnectionShared>) -> Self {
        Self::at_depth(shared, Depth::ZERO)
    }

    /// A channel of a handler, whose calls have this depth at least.
    pub(crate) fn at_depth(shared: Arc<ConnectionShared>, depth: Depth) -> Self {
        Self { hold: Some(Hold::lent(shared, depth)) }
    }

    /// Returns the channel back to who sent a request; a detached one if the request did not come by a connection.
    pub(crate) fn back(request: &Request) -> Self {
        let connection: Option<Arc<dyn Any + Send + Sync>> = match request.connection() {
            Some(connection) => Some(connection),
            None => None,
        };
        let shared = connection.and_then(|connection| connection.downcast().ok());
        let depth = request.depth().next();
        shared.map_or_else(Self::detached, |shared| Self::at_depth(shared, depth))
    }

    /// A channel that owns its connection together with its clones.
    pub(crate) fn owning(shared: Arc<ConnectionShared>) -> Self {
        Self { hold: Some(Hold::Owning(Arc::new(Owner { shared }))) }
    }

    /// A channel without a connection: all calls fail.
    pub(crate) const fn detached() -> Self {
        Self { hold: None }
    }

    fn shared(&self) -> Option<&Arc<ConnectionShared>> {
        self.hold.as_ref().map(Hold::shared)
    }

    /// Who is at the other end; `None` without a connection.
    pub fn peer(&self) -> Option<&PeerInfo> {
        Some(self.shared()?.peer())
    }

    /// What the peer said about itself; see [`Peer::remote`](crate::Peer::remote). In a handler,
    /// `cx.channel().remote()` is what the caller said.
    pub fn remote(&self) -> Option<Arc<PeerCapabilities>> {
        self.shared()?.remote().info()
    }

    /// Waits for what the peer says about itself. `None` if it is sure to say nothing: it refused to
    /// hear of this side, said something that cannot be understood, or the connection has ended.
    ///
    /// A peer is known to be of this family by its first call or answer. Before that, and towards a
    /// peer of another kind, there is nothing to wait for but the end of the connection, so a time
    /// limit around it is a good idea.
    ///
    /// # Cancel safety
    ///
    /// It may be dropped and called again at any time.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// # async fn example(channel: muxado_rpc::Channel) {
    /// // Behind the first call, so that the peer is known.
    /// let remote = tokio::time::timeout(Duration::from_secs(5), channel.capabilities()).await;
    /// if let Ok(Some(remote)) = remote {
    ///     println!("{} services", remote.services().len());
    /// }
    /// # }
    /// ```
    pub async fn capabilities(&self) -> Option<Arc<PeerCapabilities>> {
        let shared = self.shared()?;
        shared.remote().capabilities(shared.session()).await
    }

    /// The former name of [`capabilities`](Self::capabilities).
    #[deprecated(note = "renamed to `capabilities`")]
    pub async fn hello(&self) -> Option<Arc<PeerCapabilities>> {
        self.capabilities().await
    }

    /// Whether the connection has ended.
    pub fn is_closed(&self) -> bool {
        self.shared().is_none_or(|shared| shared.session().is_closed())
    }

    /// Waits for the end of the connection, and says why it ended. Never ready without one.
    ///
    /// # Cancel safety
    ///
    /// It may be dropped and called again at any time, also after the end.
    pub async fn closed(&self) -> SessionEnd {
        match self.shared() {
            Some(shared) => shared.session().closed().await,
            None => pending().await,
        }
    }

    fn start(&self, mut request: Request) -> Result<CallFuture, Status> {
        let method = request.method();
        let timeout = request.effective_timeout();
        request.set_timeout(timeout);
        let (codec, input) = (request.codec(), request.take_input());
        let hold = self.hold.as_ref().ok_or_else(|| no_connection().not_executed())?;
        if timeout.is_some_and(|timeout| timeout.is_zero()) {
            return Err(Status::deadline_exceeded(format!("{method}: no time is left")).not_executed());
        }
        if input.as_ref().is_some_and(|items| items.codec() != codec) {
            let problem = format!("{method}: the items are in another codec than the parameters");
            return Err(Status::internal(problem).not_executed());
        }
        let depth = request.outgoing_depth().max(hold.depth());
        request.set_depth(depth);
        let message = encode_request(request, hold.shared().send_limits())?;
        let call = Call::new(method, codec, depth, hold.clone());
        Ok(CallFuture::new(call, timeout, message, input))
    }
}

impl Service<Request> for Channel {
    type Response = Response;
    type Error = Status;
    type Future = CallFuture;

    /// Ready as long as the connection lives. Calls wait for their streams by themselves.
    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        if self.is_closed() {
            return Poll::Ready(Err(no_connection().not_executed()));
        }
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> CallFuture {
        self.start(request).unwrap_or_else(CallFuture::failed)
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel").field("peer", &self.peer()).finish_non_exhaustive()
    }
}

/// Closes its session when dropped.
struct Owner {
    shared: Arc<ConnectionShared>,
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.shared.session().close(ErrorCode::NO_ERROR, "");
    }
}

fn no_connection() -> Status {
    Status::unavailable("the connection has ended").with_origin(Origin::Transport)
}
