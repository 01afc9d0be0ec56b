//! A client that replaces its connections when they end.
//!
//! For a server that restarts, or for one of several servers; see [`Reconnect`].

mod body;
mod builder;
mod call;
mod managed;
#[cfg(feature = "metrics")]
mod observer;
mod on_connect;
mod pool;
mod slot;
mod state;

use std::{
    fmt,
    future::{Future, poll_fn},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::task::AbortHandle;
use tower_service::Service;

pub(crate) use self::call::may_try_again;
#[cfg(feature = "metrics")]
pub(crate) use self::observer::{ReconnectObserver, ReconnectTotals};
use self::pool::{End, Pool};
pub use self::{
    builder::{ReconnectBuilder, ReconnectError},
    call::ReconnectFuture,
    state::{State, StateWatch},
};
pub(super) use self::{
    managed::{Connections, Starter},
    pool::Live,
};
pub use crate::transport::connector::{BoxIo, Connector, Io};
use crate::{CallStats, Drained, Peer, Request, Response, Status};

/// A channel over connections that are replaced when they end.
///
/// Like a [`Channel`](crate::Channel), it is a Tower service that clients call through.
///
/// # Connections
///
/// Tasks in the background connect to the addresses in turn, with growing pauses between failures
/// ([`Backoff`](crate::Backoff)). A connection is used once a first heartbeat has come back over it, or at once with
/// [`PeerBuilder::no_heartbeat`](crate::PeerBuilder::no_heartbeat). When the peer goes away or the connection ends, a
/// new one takes further calls; calls under way finish on the old one.
///
/// What has to be done with each new connection, registering with the other side, say, is done by
/// [`on_connect`](ReconnectBuilder::on_connect) before calls go over it.
///
/// The tasks run in the runtime in which the client was built. When that runtime ends, the [`State`] is
/// [`Closed`](State::Closed), and calls fail as `unavailable` at once, in whichever runtime they are made. Build one
/// client for each runtime. Clones are cheap and share the connections, which close when the last clone and the last
/// call are gone.
///
/// # Waiting
///
/// While there is no connection, up to [`max_waiting`](ReconnectBuilder::max_waiting) calls wait, each within its own
/// time limit. Further calls fail as `unavailable` and not executed; with [`fail_fast`](ReconnectBuilder::fail_fast)
/// all do. A call whose time limit passes fails with `deadline_exceeded`.
///
/// # Retries
///
/// A call that fails as `unavailable` is tried again if the peer surely did not execute it, or if it was lost with its
/// connection and its method is [idempotent](crate::MethodInfo::is_idempotent). There are up to
/// [`attempts`](ReconnectBuilder::attempts) attempts within the call's time limit. A call whose response streams is
/// tried again inside the stream, as long as nothing of the response has come. A call that streams its request is not
/// tried again once it has begun to send, because its items exist only once.
///
/// ```no_run
/// use muxado_rpc::{Peer, Reconnect};
///
/// # #[muxado_rpc::service]
/// # pub trait Greeter { async fn hello(&self, name: String) -> String; }
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let channel = Reconnect::builder().address("tcp://one:7000").address("tcp://two:7000").build()?;
/// let greeter = GreeterClient::new(channel);
/// println!("{}", greeter.hello("Eve".to_owned()).await?);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Reconnect {
    handle: Arc<Handle>,
}

/// Ends the tasks when it is dropped.
#[derive(Debug)]
struct Handle {
    pool: Arc<Pool>,
    tasks: Vec<AbortHandle>,
}

impl Reconnect {
    /// Returns a builder of a client.
    pub fn builder() -> ReconnectBuilder {
        ReconnectBuilder::new()
    }

    fn new(pool: Arc<Pool>, tasks: Vec<AbortHandle>) -> Self {
        Self { handle: Arc::new(Handle { pool, tasks }) }
    }

    /// Returns the current state. With several connections it is the best of theirs: connected, if any is.
    pub fn state(&self) -> State {
        self.watch().state()
    }

    /// Returns a watch on the state.
    pub fn watch(&self) -> StateWatch {
        StateWatch::new(self.handle.pool.watch_states())
    }

    /// Returns the states of all [connections](ReconnectBuilder::connections), each with the number that its own
    /// connection has among all that the client has made.
    pub fn states(&self) -> Vec<State> {
        self.handle.pool.states()
    }

    /// Returns how many connections the client has made so far, those that ended included. What was done with the
    /// connections that there were is to be done again if it has grown.
    pub fn generation(&self) -> u64 {
        self.handle.pool.generation()
    }

    /// Returns the peers of the connections over which calls go now, with what they tell of themselves and what is counted
    /// of each: [`Peer::capabilities`], [`Peer::stats`]. Empty while there is no connection, and once the client was
    /// closed or has stopped with its runtime.
    ///
    /// The handles keep no connection open. Calls through one of them stay on its connection and are not tried again.
    ///
    /// ```
    /// use muxado_rpc::Reconnect;
    ///
    /// async fn show(channel: &Reconnect) {
    ///     for peer in channel.peers() {
    ///         println!("{}: {} bytes received", peer.peer_info(), peer.stats().bytes_received);
    ///         if let Some(remote) = peer.capabilities().await {
    ///             println!("serves {:?}", remote.services());
    ///         }
    ///     }
    /// }
    /// ```
    pub fn peers(&self) -> Vec<Peer> {
        self.handle.pool.peers()
    }

    /// Returns counts of the calls of the other side, over all connections, past ones included.
    pub fn call_stats(&self) -> CallStats {
        self.handle.pool.call_stats()
    }

    /// Waits until there is a connection.
    ///
    /// # Errors
    ///
    /// Returns `unavailable` if the client was closed, or has stopped with its runtime.
    ///
    /// # Cancel safety
    ///
    /// The future may be dropped and the method called again at any time.
    pub async fn connected(&self) -> Result<(), Status> {
        self.handle.pool.wait(0).await.map(drop).map_err(End::status)
    }

    /// Closes the client and its connections at once. Calls under way on them fail, and so do further calls. Calls on
    /// connections that were replaced before may finish.
    pub fn close(&self) {
        for live in self.handle.pool.close() {
            live.peer.close();
        }
        self.handle.abort();
    }

    /// Shuts the client and its connections down gracefully. Returns what became of the calls under way.
    ///
    /// Calls under way may finish within `grace`; calls that have not finished by then are cut.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, no further calls can begin, and the connections end with their calls.
    pub async fn shutdown(&self, grace: Duration) -> Drained {
        let drain = |live: Arc<Live>| -> Drain { Box::pin(async move { live.peer.shutdown(grace).await }) };
        let mut drains: Vec<_> = self.handle.pool.close().into_iter().map(drain).collect();
        let mut sum = Drained::default();
        poll_fn(|cx| {
            drains.retain_mut(|drain| match drain.as_mut().poll(cx) {
                Poll::Ready(drained) => {
                    sum += drained;
                    false
                }
                Poll::Pending => true,
            });
            if drains.is_empty() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        self.handle.abort();
        sum
    }
}

impl Service<Request> for Reconnect {
    type Response = Response;
    type Error = Status;
    type Future = ReconnectFuture;

    /// Ready until the client is closed or has stopped. Calls wait for a connection in their futures.
    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(self.handle.pool.end().map_or(Ok(()), |end| Err(end.status())))
    }

    fn call(&mut self, request: Request) -> ReconnectFuture {
        ReconnectFuture::new(Arc::clone(&self.handle), request)
    }
}

impl fmt::Debug for Reconnect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reconnect").field("state", &self.state()).finish_non_exhaustive()
    }
}

impl Handle {
    fn abort(&self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // Nobody calls any more: connections without calls close with this.
        drop(self.pool.close());
        self.abort();
    }
}

/// The end of one connection.
type Drain = Pin<Box<dyn Future<Output = Drained> + Send>>;
