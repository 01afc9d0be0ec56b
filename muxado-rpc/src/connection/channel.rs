//! The client's end of a connection, as a Tower service.

mod call;

use std::{
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
    Origin, PeerInfo, RemoteInfo, Request, Response, Status, connection::link::Link, wire::encode_request,
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
    Lent(Arc<Link>),
}

impl Hold {
    fn link(&self) -> &Arc<Link> {
        match self {
            Self::Owning(owner) => &owner.link,
            Self::Lent(link) => link,
        }
    }
}

impl Channel {
    pub(crate) fn new(link: Arc<Link>) -> Self {
        Self { hold: Some(Hold::Lent(link)) }
    }

    /// A channel that owns its connection together with its clones.
    pub(crate) fn owning(link: Arc<Link>) -> Self {
        Self { hold: Some(Hold::Owning(Arc::new(Owner { link }))) }
    }

    /// A channel without a connection: all calls fail.
    pub(crate) const fn detached() -> Self {
        Self { hold: None }
    }

    fn link(&self) -> Option<&Arc<Link>> {
        self.hold.as_ref().map(Hold::link)
    }

    /// Who is at the other end; `None` without a connection.
    pub fn peer(&self) -> Option<&PeerInfo> {
        Some(self.link()?.peer())
    }

    /// What the peer said about itself; see [`Peer::remote`](crate::Peer::remote). In a handler,
    /// `cx.channel().remote()` is what the caller said.
    pub fn remote(&self) -> Option<Arc<RemoteInfo>> {
        self.link()?.remote().info()
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
    /// let remote = tokio::time::timeout(Duration::from_secs(5), channel.hello()).await;
    /// if let Ok(Some(remote)) = remote {
    ///     println!("{} services", remote.services().len());
    /// }
    /// # }
    /// ```
    pub async fn hello(&self) -> Option<Arc<RemoteInfo>> {
        let link = self.link()?;
        link.remote().hello(link.session()).await
    }

    /// Whether the connection has ended.
    pub fn is_closed(&self) -> bool {
        self.link().is_none_or(|link| link.session().is_closed())
    }

    /// Waits for the end of the connection, and says why it ended. Never ready without one.
    ///
    /// # Cancel safety
    ///
    /// It may be dropped and called again at any time, also after the end.
    pub async fn closed(&self) -> SessionEnd {
        match self.link() {
            Some(link) => link.session().closed().await,
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
        let message = encode_request(request, hold.link().send_limits())?;
        let call = Call::new(method, codec, hold.clone());
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
    link: Arc<Link>,
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.link.session().close(ErrorCode::NO_ERROR, "");
    }
}

fn no_connection() -> Status {
    Status::unavailable("the connection has ended").with_origin(Origin::Transport)
}
