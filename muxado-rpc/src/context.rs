//! What a handler may know about the call it serves.

use std::{fmt, sync::Arc};

use tokio::time::Instant;

use crate::{Channel, Metadata, MethodInfo, PeerInfo, Request};

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
    peer: PeerInfo,
    metadata: Metadata,
    deadline: Option<Instant>,
}

impl Context {
    /// Takes what is known out of a request.
    pub(crate) fn of(request: &mut Request) -> Self {
        let metadata = std::mem::take(request.metadata_mut());
        let channel = request.channel();
        let inner = Inner {
            method: request.method(),
            peer: channel.peer().cloned().unwrap_or_default(),
            channel,
            metadata,
            deadline: request.deadline(),
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

    /// Who called.
    pub fn peer(&self) -> &PeerInfo {
        &self.inner.peer
    }

    /// What travels beside the parameters.
    pub fn metadata(&self) -> &Metadata {
        &self.inner.metadata
    }

    /// The method that was called.
    pub fn method(&self) -> &'static MethodInfo {
        self.inner.method
    }

    /// When the caller stops waiting, if it set a time limit. The handler is dropped then.
    pub fn deadline(&self) -> Option<Instant> {
        self.inner.deadline
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("method", &self.inner.method)
            .field("peer", &self.inner.peer)
            .field("metadata", &self.inner.metadata)
            .field("deadline", &self.inner.deadline)
            .finish_non_exhaustive()
    }
}
