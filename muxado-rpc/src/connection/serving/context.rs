//! The context of a call, for its handler.

use std::{
    any::Any,
    fmt,
    future::Future,
    sync::{Arc, LazyLock, Mutex, PoisonError},
};

use tokio::{task::JoinHandle, time::Instant};

use crate::{
    Channel, Extensions, Metadata, MethodInfo, MethodRef, PeerId, PeerInfo, Request, Response,
    message::{scope::Scope, trace_context::TraceContext},
    support::{deadline, depth::Depth},
};

/// The call that a handler serves: who calls, metadata, deadline, a channel back.
///
/// A method gets it as an argument of type `&Context`, which is not sent. Clones are cheap. With
/// [`channel`](Self::channel) a handler calls the caller's own services over the same connection.
///
/// ```
/// use muxado_rpc::Context;
///
/// #[muxado_rpc::service]
/// pub trait Doorbell {
///     async fn ring(&self, cx: &Context) -> String;
/// }
///
/// struct Door;
/// impl Doorbell for Door {
///     async fn ring(&self, cx: &Context) -> String {
///         format!("{} rings, as {:?}", cx.peer_info(), cx.metadata().get("name"))
///     }
/// }
/// ```
#[derive(Clone)]
pub struct Context {
    inner: Arc<Inner>,
}

struct Inner {
    method: MethodRef,
    channel: Channel,
    metadata: Metadata,
    extensions: Extensions,
    deadline: Option<Instant>,
    depth: Depth,
    scope: Arc<Scope>,
    response: Mutex<ResponseMetadata>,
}

/// What a handler wants to travel with its answer.
#[derive(Debug, Default)]
struct ResponseMetadata {
    head: Metadata,
    trailer: Metadata,
}

impl Context {
    /// Takes what is known out of a request.
    pub(crate) fn of(request: &mut Request) -> Self {
        let scope = request.scope();
        let (metadata, extensions) = request.take_extras();
        let inner = Inner {
            method: request.method_ref(),
            channel: Channel::back(request),
            metadata,
            extensions,
            deadline: request.deadline(),
            depth: request.depth(),
            scope,
            response: Mutex::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Returns a channel to the services of the caller, over the same connection.
    ///
    /// It may be used after the call and does not keep the connection open. If a client calls the service in the same
    /// process, without a connection, calls over this channel fail.
    pub fn channel(&self) -> Channel {
        self.inner.channel.clone()
    }

    /// Returns who called: address, identity, and what was learnt when the connection was made. The limits
    /// and services that the caller tells of itself are in [`Channel::known_capabilities`].
    pub fn peer_info(&self) -> &PeerInfo {
        static UNKNOWN: LazyLock<PeerInfo> = LazyLock::new(PeerInfo::default);
        self.inner.channel.peer_info().unwrap_or(&UNKNOWN)
    }

    /// Returns which connection the call came by: the id that [`Peer::id`](crate::Peer::id) has in the same process, by
    /// which [`Server::peer`](crate::Server::peer) finds it. `None` in a handler that a client calls in the same process,
    /// without a connection.
    pub fn peer_id(&self) -> Option<PeerId> {
        self.inner.channel.peer_id()
    }

    /// The former name of [`peer_info`](Self::peer_info).
    #[deprecated(note = "renamed to `peer_info`")]
    pub fn peer(&self) -> &PeerInfo {
        self.peer_info()
    }

    /// Returns a value of type `T` that a layer put into the request's extensions, or else one of the connection's.
    pub fn extension<T: Any + Send + Sync>(&self) -> Option<&T> {
        self.inner.extensions.get().or_else(|| self.inner.channel.peer_info()?.extensions().get())
    }

    /// Returns the metadata of the request.
    pub fn metadata(&self) -> &Metadata {
        &self.inner.metadata
    }

    /// Returns the method that was called.
    pub fn method(&self) -> &MethodInfo {
        &self.inner.method
    }

    /// Returns when the time limit of the call ends, if it has one. The handler is dropped then. Calls that the handler
    /// makes inherit the limit.
    pub fn deadline(&self) -> Option<Instant> {
        self.inner.deadline
    }

    /// Waits until the call is over: the caller has cancelled it or has gone, or the response is there.
    ///
    /// It is of use in tasks that outlive the handler, and in methods with `#[method(no_cancel)]`. Other handlers are
    /// dropped at that moment.
    ///
    /// # Cancel safety
    ///
    /// The future may be dropped and the method called again at any time.
    pub async fn cancelled(&self) {
        self.inner.scope.cancelled().await;
    }

    /// Returns whether the call is over; see [`cancelled`](Self::cancelled).
    pub fn is_cancelled(&self) -> bool {
        self.inner.scope.is_cancelled()
    }

    /// Spawns a task that ends with the call.
    ///
    /// The task is dropped, and its output is `None`, when the handler has returned, its stream has ended, or the call was
    /// cancelled. The call counts as in flight until the task is gone. Calls made in it inherit the deadline and the trace.
    ///
    /// ```
    /// use muxado_rpc::Context;
    ///
    /// async fn search(cx: &Context, words: Vec<String>) -> usize {
    ///     let tasks: Vec<_> = words.into_iter().map(|word| cx.spawn(async move { word.len() })).collect();
    ///     let mut sum = 0;
    ///     for task in tasks {
    ///         sum += task.await.ok().flatten().unwrap_or(0);
    ///     }
    ///     sum
    /// }
    /// # let _ = search;
    /// ```
    ///
    /// # Panics
    ///
    /// Panics outside a tokio runtime.
    pub fn spawn<F>(&self, future: F) -> JoinHandle<Option<F::Output>>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        let future = deadline::scope(self.inner.deadline, self.inner.depth.next().scope(future));
        self.inner.scope.spawn(TraceContext::inherit(future))
    }

    /// Adds metadata to the response. For a method that returns a stream it goes before the first item, and must be added
    /// before the method returns.
    pub fn insert_metadata(&self, name: impl Into<String>, value: impl Into<String>) {
        self.response().head.insert(name, value);
    }

    /// Adds metadata to the end of the response: behind the last item, for a method that returns a stream.
    pub fn insert_trailer(&self, name: impl Into<String>, value: impl Into<String>) {
        self.response().trailer.insert(name, value);
    }

    /// Adds to a response what the handler put here for it.
    pub(crate) fn add_metadata_to(&self, response: &mut Response) {
        for metadata in [self.take_metadata(), self.take_trailer()] {
            response.metadata_mut().extend(metadata);
        }
    }

    pub(crate) fn take_metadata(&self) -> Metadata {
        std::mem::take(&mut self.response().head)
    }

    pub(crate) fn take_trailer(&self) -> Metadata {
        std::mem::take(&mut self.response().trailer)
    }

    fn response(&self) -> std::sync::MutexGuard<'_, ResponseMetadata> {
        self.inner.response.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("method", &self.inner.method)
            .field("peer_info", &self.peer_info())
            .field("metadata", &self.inner.metadata)
            .field("deadline", &self.inner.deadline)
            .finish_non_exhaustive()
    }
}
