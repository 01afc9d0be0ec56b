//! Metadata that goes with every call.

use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use tower_layer::Layer;
use tower_service::Service;

use crate::{Metadata, Request};

type Source = Arc<dyn Fn(&Request) -> Metadata + Send + Sync>;

/// Adds metadata to each call. What the call itself carries under the same name stays.
///
/// ```
/// use muxado_rpc::{Request, layers::MetadataLayer};
///
/// let fixed = MetadataLayer::new([("tenant", "blue")].into());
/// let fresh = MetadataLayer::with(|request: &Request| {
///     let token = format!("token for {}", request.method());
///     [("token", token)].into()
/// });
/// ```
#[derive(Clone)]
pub struct MetadataLayer {
    source: Source,
}

impl MetadataLayer {
    /// Adds this metadata.
    pub fn new(metadata: Metadata) -> Self {
        Self::with(move |_| metadata.clone())
    }

    /// Adds what a closure gives for the call. It should return at once: what takes time to get, such
    /// as a new token, is to be got in another task.
    pub fn with(source: impl Fn(&Request) -> Metadata + Send + Sync + 'static) -> Self {
        Self { source: Arc::new(source) }
    }
}

impl<S> Layer<S> for MetadataLayer {
    type Service = AddMetadata<S>;

    fn layer(&self, inner: S) -> AddMetadata<S> {
        AddMetadata { inner, source: Arc::clone(&self.source) }
    }
}

impl fmt::Debug for MetadataLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MetadataLayer").finish_non_exhaustive()
    }
}

/// A service inside a [`MetadataLayer`].
#[derive(Clone)]
pub struct AddMetadata<S> {
    inner: S,
    source: Source,
}

impl<S: Service<Request>> Service<Request> for AddMetadata<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request) -> S::Future {
        let added = (self.source)(&request);
        let metadata = request.metadata_mut();
        for (name, value) in added.iter() {
            if metadata.get(name).is_none() {
                metadata.insert(name, value);
            }
        }
        self.inner.call(request)
    }
}

impl<S: fmt::Debug> fmt::Debug for AddMetadata<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AddMetadata").field("inner", &self.inner).finish_non_exhaustive()
    }
}
