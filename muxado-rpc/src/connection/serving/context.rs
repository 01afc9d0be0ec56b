//! What a handler may know about the call it serves.

use std::{
    any::Any,
    fmt,
    future::Future,
    sync::{Arc, LazyLock, Mutex, PoisonError},
};

use tokio::{task::JoinHandle, time::Instant};

use crate::{
    Channel, Extensions, Metadata, MethodInfo, PeerInfo, Request, Response,
    message::{scope::Scope, trace_context::TraceContext},
    support::{deadline, depth::Depth},
};

/// The call that a handler serves: an argument of type `&Context`, which is not sent.
///
/// Clones are cheap. By [`channel`](Self::channel) a handler calls back the caller's own services
/// over the same connection.
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
///         format!("{} rings, as {:?}", cx.peer(), cx.metadata().get("name"))
///     }
/// }
/// ```
#[derive(Clone)]
pub struct Context {
    inner: Arc<Inner>,
}

struct Inner {
    method: &'static MethodInfo,
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
            method: request.method(),
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

    /// Calls the services of the caller, over the same connection.
    ///
    /// It may be kept after the call, and does not keep the connection open. If the request did not
    /// come by a connection, because a client calls the service directly, its calls fail.
    pub fn channel(&self) -> Channel {
        self.inner.channel.clone()
    }

    /// Who called: address, identity, and what was learnt when the connection was made. What the caller
    /// says about itself, its limits and services, is in [`Channel::remote`].
    pub fn peer(&self) -> &PeerInfo {
        static UNKNOWN: LazyLock<PeerInfo> = LazyLock::new(PeerInfo::default);
        self.inner.channel.peer().unwrap_or(&UNKNOWN)
    }

    /// A value that a layer left with the request, or else one of the connection.
    pub fn extension<T: Any + Send + Sync>(&self) -> Option<&T> {
        self.inner.extensions.get().or_else(|| self.inner.channel.peer()?.extensions().get())
    }

    /// What travels beside the parameters.
    pub fn metadata(&self) -> &Metadata {
        &self.inner.metadata
    }

    /// The method that was called.
    pub fn method(&self) -> &'static MethodInfo {
        self.inner.method
    }

    /// When the caller stops waiting, if it set a time limit. The handler is dropped then. Its own
    /// calls inherit what is left.
    pub fn deadline(&self) -> Option<Instant> {
        self.inner.deadline
    }

    /// Waits until nobody waits for the answer any more: the caller cancelled the call or has gone, or
    /// the call is over. For tasks that outlive the handler, and for methods with
    /// `#[method(no_cancel)]`; other handlers are dropped at that moment.
    ///
    /// # Cancel safety
    ///
    /// It may be dropped and called again at any time.
    pub async fn cancelled(&self) {
        self.inner.scope.cancelled().await;
    }

    /// Whether nobody waits for the answer any more; see [`cancelled`](Self::cancelled).
    pub fn is_cancelled(&self) -> bool {
        self.inner.scope.is_cancelled()
    }

    /// Spawns a task that ends with the call: when the handler has returned, its items have ended,
    /// or it was cancelled, the task is dropped, and its output is `None`. The call counts as in
    /// flight until the task is gone. Calls made in it inherit the deadline and the trace.
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
    /// Outside a tokio runtime.
    pub fn spawn<F>(&self, future: F) -> JoinHandle<Option<F::Output>>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        let future = deadline::scope(self.inner.deadline, self.inner.depth.next().scope(future));
        self.inner.scope.spawn(TraceContext::inherit(future))
    }

    /// Sends a value along with the answer; of a method that returns a stream, in front of its items,
    /// if it is set before the method returns.
    pub fn insert_metadata(&self, name: impl Into<String>, value: impl Into<String>) {
        self.response().head.insert(name, value);
    }

    /// Sends a value along with the answer; of a method that returns a stream, behind its items.
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
            .field("peer", &self.peer())
            .field("metadata", &self.inner.metadata)
            .field("deadline", &self.inner.deadline)
            .finish_non_exhaustive()
    }
}
