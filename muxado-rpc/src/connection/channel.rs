//! A channel: the Tower service that sends calls over a connection.

mod call;
mod time;

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
    Codec, MethodInfo, Origin, PeerCapabilities, PeerId, PeerInfo, Request, Response, Status,
    connection::shared::ConnectionShared, support::depth::Depth, wire::encode_request,
};

/// A Tower service from [`Request`] to [`Response`] that calls the services of the peer.
///
/// Clones are cheap and share the connection. A channel from [`Peer::channel`](crate::Peer::channel) keeps the
/// connection open. A channel from [`Context::channel`](crate::Context::channel), or of a connection that a
/// [`Server`](crate::Server) accepted, does not.
///
/// Any number of calls may be under way at once. Each call is one stream; dropping its future resets the stream, and
/// the peer drops the handler. Calls above the limits of the peer wait: for a stream, then in the peer's backlog.
///
/// Calls may be awaited anywhere, also in another runtime or outside any runtime, because the task of the connection
/// runs where the connection was made. Where there is no tokio runtime with a clock, a thread of this crate keeps time
/// limits; it is started when it is first needed. Once the runtime of the connection has ended, calls fail as
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

    /// Returns who is at the other end. `None` if the channel has no connection, as in a handler that a client
    /// calls in the same process.
    pub fn peer_info(&self) -> Option<&PeerInfo> {
        Some(self.shared()?.peer())
    }

    /// Returns which connection calls go over. `None` if the channel has no connection.
    pub fn peer_id(&self) -> Option<PeerId> {
        Some(self.shared()?.id())
    }

    /// The former name of [`peer_info`](Self::peer_info).
    #[deprecated(note = "renamed to `peer_info`")]
    pub fn peer(&self) -> Option<&PeerInfo> {
        self.peer_info()
    }

    /// Returns what the peer has told about itself; see [`Peer::known_capabilities`](crate::Peer::known_capabilities).
    ///
    /// In a handler, `cx.channel().known_capabilities()` is what the caller has told.
    pub fn known_capabilities(&self) -> Option<Arc<PeerCapabilities>> {
        self.shared()?.remote().info()
    }

    /// The former name of [`known_capabilities`](Self::known_capabilities).
    #[deprecated(note = "renamed to `known_capabilities`")]
    pub fn remote(&self) -> Option<Arc<PeerCapabilities>> {
        self.known_capabilities()
    }

    /// Asks what the peer tells about itself, and waits for the answer: a round trip, also on a fresh connection. Returns
    /// `None` if the peer tells nothing: it refuses the control stream, sends something that is not valid there, the
    /// connection has ended, or 5 s have passed since this method was first called on the connection.
    ///
    /// A peer of another implementation gets a stream that it does not know (`PROTOCOL §10.13`), and refuses it as a
    /// rule. [`known_capabilities`](Self::known_capabilities) asks those only that have shown to be of this one. With
    /// [`muxado::Config::extensions`] off nobody is asked.
    ///
    /// # Cancel safety
    ///
    /// The future may be dropped and the method called again at any time.
    ///
    /// ```
    /// # async fn example(channel: muxado_rpc::Channel) {
    /// if let Some(remote) = channel.capabilities().await {
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

    /// Returns whether the connection has ended.
    pub fn is_closed(&self) -> bool {
        self.shared().is_none_or(|shared| shared.session().is_closed())
    }

    /// Waits until the connection has ended. Returns why. Waits for ever if the channel has no connection.
    ///
    /// # Cancel safety
    ///
    /// The future may be dropped and the method called again at any time, also after the end.
    pub async fn closed(&self) -> SessionEnd {
        match self.shared() {
            Some(shared) => shared.session().closed().await,
            None => pending().await,
        }
    }

    /// Returns what a call holds, and sets what its request tells of this channel.
    #[inline]
    fn prepare(&self, request: &mut Request) -> Result<&Hold, Status> {
        let timeout = request.effective_timeout();
        request.set_timeout(timeout);
        let codec = request.codec();
        let hold = self.hold.as_ref().ok_or_else(|| no_connection().not_executed())?;
        if timeout.is_some_and(|timeout| timeout.is_zero()) {
            return Err(
                Status::deadline_exceeded(format!("{}: no time is left", request.method())).not_executed()
            );
        }
        if request.body_mut().is_some_and(|items| items.codec() != codec) {
            let method = request.method();
            let problem = format!("{method}: the items are in another codec than the parameters");
            return Err(Status::internal(problem).not_executed());
        }
        if request.has_arrived() || request.static_method().is_none() {
            check_codec(request.method(), codec, hold.shared())?;
        }
        let depth = request.outgoing_depth().max(hold.depth());
        request.set_depth(depth);
        Ok(hold)
    }
}

impl Service<Request> for Channel {
    type Response = Response;
    type Error = Status;
    type Future = CallFuture;

    /// Ready as long as the connection is open. Calls wait for their streams in their futures.
    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        if self.is_closed() {
            return Poll::Ready(Err(no_connection().not_executed()));
        }
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request) -> CallFuture {
        let hold = match self.prepare(&mut request) {
            Ok(hold) => hold,
            Err(status) => return CallFuture::failed(status),
        };
        match encode_request(&mut request, hold.shared().send_limits()) {
            Ok(message) => {
                let call = Call::new(request.method_ref(), request.codec(), request.depth(), hold.clone());
                CallFuture::new(call, request.timeout(), message, request.take_input())
            }
            Err(status) => CallFuture::failed(status),
        }
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel").field("peer_info", &self.peer_info()).finish_non_exhaustive()
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

/// Refuses a call whose codec was chosen by somebody else and is none of the peer's, as far as it has told.
fn check_codec(method: &MethodInfo, codec: Codec, shared: &ConnectionShared) -> Result<(), Status> {
    let known = shared.remote().info();
    match known.as_ref().and_then(|known| known.codecs()) {
        Some(codecs) if !codecs.contains(&codec) => {
            let problem = format!("{method}: the call is in {codec}, which the serving side does not take");
            Err(Status::unimplemented(problem).not_executed())
        }
        _ => Ok(()),
    }
}

fn no_connection() -> Status {
    Status::unavailable("the connection has ended").with_origin(Origin::Transport)
}
