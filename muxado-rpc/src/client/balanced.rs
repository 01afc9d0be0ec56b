//! A client of many servers: each call goes to one that has few calls under way.
//!
//! For a fleet of servers that come and go; see [`Balanced`].
//! [`guide::channels`](crate::guide::channels) says when to use it.

mod budget;
mod builder;
mod call;
mod endpoint;
mod hedge;
#[cfg(feature = "metrics")]
mod observer;
mod outlier;
mod seat;
mod set;
mod stream;
mod update;

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

#[cfg(feature = "metrics")]
pub(crate) use self::observer::{BalancedObserver, BalancedTotals};
pub use self::{
    budget::RetryBudget,
    builder::{BalancedBuilder, BalancedError},
    call::BalancedFuture,
    endpoint::EndpointInfo,
    outlier::OutlierDetection,
};
use self::{
    endpoint::Member,
    set::{End, Set},
};
#[cfg(feature = "dns")]
pub use super::resolver::dns::DnsResolver;
pub use super::resolver::{Resolved, Resolver, system::SystemResolver};
use crate::{Drained, IntoTargets, Request, Response, Status};

/// A channel over many servers: each call goes to the one of two, chosen at random, that has fewer calls under way.
///
/// Like a [`Channel`](crate::Channel), it is a Tower service that clients call through. It can be cloned, sent to tasks
/// and kept in the state of a program; clones share the connections.
///
/// ```no_run
/// use muxado_rpc::Balanced;
///
/// # #[muxado_rpc::service]
/// # pub trait Greeter { async fn hello(&self, name: String) -> String; }
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let greeter = GreeterClient::new(Balanced::connect(["tcp://one:7000", "tcp://two:7000"])?);
/// println!("{}", greeter.hello("Eve".to_owned()).await?);
/// # Ok(())
/// # }
/// ```
///
/// # Servers
///
/// Servers are given as [addresses](BalancedBuilder::address), found by a [`Resolver`], such as [`SystemResolver`] or
/// `DnsResolver` (feature `dns`), or told by a [stream](BalancedBuilder::updates). Each has a connection of its own,
/// which is replaced when it ends, as a [`Reconnect`](crate::Reconnect) does. Servers that are new join once they are connected. Servers
/// that are gone from the set, or that shut down, get no further calls, and calls under way finish.
///
/// # Choice
///
/// Calls go to servers that are connected. Of two that are chosen at random, the one with fewer pending calls gets the
/// call ("power of two choices"): slow servers get fewer calls, new ones are not flooded, and clients that know nothing
/// of each other do not choose alike. A call is pending until its response is there, or its stream has ended. A server
/// whose calls fail one after the other is ejected for a while; see [`OutlierDetection`].
///
/// # Waiting
///
/// While no server is connected, up to [`max_waiting`](BalancedBuilder::max_waiting) calls wait, each within its own
/// time limit. Further calls fail as `unavailable` and not executed; with [`fail_fast`](BalancedBuilder::fail_fast) all
/// do. The text says why there is no server.
///
/// # Retries
///
/// A call that fails as `unavailable` is tried again, over another server if there is one, if the peer surely did not
/// execute it, or if it was lost with its connection and its method is
/// [idempotent](crate::MethodInfo::is_idempotent). This holds for streams up to their first item. There are up to
/// [`attempts`](BalancedBuilder::attempts) attempts within the call's time limit, and a [`RetryBudget`] for all calls
/// together, so that retries are no further load on servers that fail under it.
///
/// # Runtime
///
/// The tasks run in the runtime in which the client was built. When that ends, calls fail as `unavailable` at once, in
/// whichever runtime they are made. The connections close when the last clone and the last call are gone.
#[derive(Clone)]
pub struct Balanced {
    handle: Arc<Handle>,
}

/// Ends the task when it is dropped.
struct Handle {
    set: Arc<Set>,
    task: AbortHandle,
}

/// The state of a [`Balanced`].
///
/// ```
/// use muxado_rpc::{Balanced, balanced::BalancedState};
///
/// /// For the page that tells whether a program is ready.
/// fn is_ready(channel: &Balanced) -> bool {
///     matches!(channel.state(), BalancedState::Ready { .. })
/// }
/// # let _ = is_ready;
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BalancedState {
    /// Calls go to so many servers.
    Ready {
        /// The number of servers that are connected and not ejected.
        servers: usize,
    },
    /// No server is connected, and calls wait.
    Waiting {
        /// The reason that no server is connected.
        reason: String,
    },
    /// The client was closed, or the runtime in which it was built has ended.
    Closed,
}

impl Balanced {
    /// Builds a client of these servers with the default settings. Each address or connector of the list is a server.
    ///
    /// Returns at once; tasks on the current tokio runtime connect, and calls wait for the first connection.
    ///
    /// # Errors
    ///
    /// Returns an error if there is no address or one is not valid.
    ///
    /// # Panics
    ///
    /// Panics outside a tokio runtime.
    pub fn connect(servers: impl IntoTargets) -> Result<Self, BalancedError> {
        Self::builder().targets(servers).build()
    }

    /// Returns a builder of a client.
    pub fn builder() -> BalancedBuilder {
        BalancedBuilder::new()
    }

    fn new(set: Arc<Set>, task: AbortHandle) -> Self {
        Self { handle: Arc::new(Handle { set, task }) }
    }

    /// Returns the current state.
    pub fn state(&self) -> BalancedState {
        let set = &self.handle.set;
        match set.count_ready() {
            None => BalancedState::Closed,
            Some(0) => BalancedState::Waiting { reason: set.why() },
            Some(servers) => BalancedState::Ready { servers },
        }
    }

    /// Returns what is known of each server: its connection, its calls, and whether it is ejected.
    pub fn endpoints(&self) -> Vec<EndpointInfo> {
        self.handle.set.infos()
    }

    /// Waits until a server is connected.
    ///
    /// # Errors
    ///
    /// Returns `unavailable` if the client was closed, or has stopped with its runtime.
    ///
    /// # Cancel safety
    ///
    /// The future may be dropped and the method called again at any time.
    pub async fn connected(&self) -> Result<(), Status> {
        self.connected_to(1).await
    }

    /// Waits until calls go to so many servers at least: they are connected and not ejected.
    ///
    /// # Errors
    ///
    /// Returns `unavailable` if the client was closed, or has stopped with its runtime.
    ///
    /// # Cancel safety
    ///
    /// The future may be dropped and the method called again at any time.
    pub async fn connected_to(&self, servers: usize) -> Result<(), Status> {
        self.handle.set.wait_for(servers).await.map_err(End::status)
    }

    /// Closes the client and its connections at once. Calls under way on them fail, and so do further calls.
    pub fn close(&self) {
        for member in self.handle.set.end_with(End::Closed) {
            member.live.peer.close();
        }
        self.handle.task.abort();
    }

    /// Shuts the client and its connections down gracefully. Returns what became of the calls under way.
    ///
    /// Calls under way may finish within `grace`; calls that have not finished by then are cut.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, no further calls can begin, and the connections end with their calls.
    pub async fn shutdown(&self, grace: Duration) -> Drained {
        let drain = |member: Arc<Member>| -> Drain {
            Box::pin(async move { member.live.peer.shutdown(grace).await })
        };
        let mut drains: Vec<_> = self.handle.set.end_with(End::Closed).into_iter().map(drain).collect();
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
        self.handle.task.abort();
        sum
    }
}

impl Service<Request> for Balanced {
    type Response = Response;
    type Error = Status;
    type Future = BalancedFuture;

    /// Ready until the client is closed or has stopped. Calls wait for a server in their futures.
    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(self.handle.set.end().map_or(Ok(()), |end| Err(end.status())))
    }

    fn call(&mut self, request: Request) -> BalancedFuture {
        BalancedFuture::new(Arc::clone(&self.handle), request)
    }
}

impl fmt::Debug for Balanced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Balanced").field("endpoints", &self.endpoints()).finish_non_exhaustive()
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // Nobody calls any more: connections without calls close with this.
        drop(self.set.end_with(End::Closed));
        self.task.abort();
    }
}

/// The end of one connection.
type Drain = Pin<Box<dyn Future<Output = Drained> + Send>>;
