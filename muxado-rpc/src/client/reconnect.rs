//! A client that makes new connections by itself: to a server that restarts, to one of several.

mod body;
mod builder;
mod call;
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
use self::pool::{End, Live, Pool};
pub use self::{
    builder::{ReconnectBuilder, ReconnectError},
    call::ReconnectFuture,
    state::{State, StateWatch},
};
pub use crate::transport::connector::{BoxIo, Connector, Io};
use crate::{Drained, Request, Response, Status};

/// Calls the services of a peer as a [`Channel`](crate::Channel) does, over connections that are
/// replaced when they end.
///
/// Tasks in the background connect, with growing pauses between failures ([`Backoff`](crate::Backoff)), to the
/// addresses in turn. A connection counts when a first heartbeat has come back over it (at once with
/// [`PeerBuilder::no_heartbeat`](crate::PeerBuilder::no_heartbeat)). When the peer says that it goes
/// away, or the connection ends, a new one takes the calls that come; calls under way on the old one
/// finish there.
///
/// While there is no connection calls wait, within their own time limits and up to
/// [`max_waiting`](ReconnectBuilder::max_waiting) of them, or fail at once with
/// [`fail_fast`](ReconnectBuilder::fail_fast). Either failure is `unavailable` and not executed;
/// a time limit that passes is `deadline_exceeded`, as ever.
///
/// A call is tried again, up to [`attempts`](ReconnectBuilder::attempts) times and within its time
/// limit, when the peer surely did not execute it, or when it was lost with its connection and the
/// method is [idempotent](crate::MethodInfo::is_idempotent). Only `unavailable` is tried again; of what
/// the peer answers, only if it says that nothing was executed. A call whose answer streams is tried again inside of its stream, as
/// long as nothing of the answer has come. One that sends items is not tried again once it has begun to
/// send, because its items exist only once; it waits for a connection as others do.
///
/// Clones are cheap and mean the same connections. When the last clone and the last call are gone,
/// so are the tasks, and the connections are closed.
///
/// The tasks run in the runtime that it was built in, and end with it: from then on its [`State`] is
/// [`Closed`](State::Closed), and calls fail as `unavailable` at once, in whatever runtime they are made. Build one
/// for each runtime.
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
    /// Begins to set a client up.
    pub fn builder() -> ReconnectBuilder {
        ReconnectBuilder::new()
    }

    fn new(pool: Arc<Pool>, tasks: Vec<AbortHandle>) -> Self {
        Self { handle: Arc::new(Handle { pool, tasks }) }
    }

    /// What it is doing now. Of several connections the best counts: one that is connected, if there
    /// is one.
    pub fn state(&self) -> State {
        self.watch().state()
    }

    /// Sees the states change.
    pub fn watch(&self) -> StateWatch {
        StateWatch::new(self.handle.pool.watch_states())
    }

    /// Waits until there is a connection.
    ///
    /// # Errors
    ///
    /// `unavailable` when it is closed, or has stopped with its runtime.
    ///
    /// # Cancel safety
    ///
    /// It may be dropped and called again at any time.
    pub async fn connected(&self) -> Result<(), Status> {
        self.handle.pool.wait(0).await.map(drop).map_err(End::status)
    }

    /// Ends all connections now and makes no more: calls under way on them fail, further ones too.
    /// Those on connections that were replaced before may finish.
    pub fn close(&self) {
        for live in self.handle.pool.close() {
            live.peer.close();
        }
        self.handle.abort();
    }

    /// Ends all connections in good order and makes no more: calls under way may finish within
    /// `grace`, what is left is cut. Says what became of them.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped no further calls can begin; the connections end with their calls.
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

    /// Ready until it is closed or has stopped. Calls wait for a connection by themselves.
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
