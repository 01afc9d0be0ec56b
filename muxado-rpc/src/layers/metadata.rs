//! Metadata that is added to every call.

use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use tower_layer::Layer;
use tower_service::Service;

use crate::{Metadata, Request};

type Source = Arc<dyn Fn(&Request) -> Metadata + Send + Sync>;

/// Adds metadata to each call. Values that the call already carries under the same name are kept.
///
/// ```
/// use muxado_rpc::{Request, layers::AddMetadataLayer};
///
/// let fixed = AddMetadataLayer::new([("tenant", "blue")].into());
/// let fresh = AddMetadataLayer::with(|request: &Request| {
///     let token = format!("token for {}", request.method());
///     [("token", token)].into()
/// });
/// ```
#[derive(Clone)]
pub struct AddMetadataLayer {
    source: Source,
}

impl AddMetadataLayer {
    /// Creates a layer that adds the same metadata to each call.
    pub fn new(metadata: Metadata) -> Self {
        Self::with(move |_| metadata.clone())
    }

    /// Creates a layer that adds the metadata which a closure returns for the call.
    ///
    /// The closure should return at once. Another task should get what takes time, such as a new token.
    pub fn with(source: impl Fn(&Request) -> Metadata + Send + Sync + 'static) -> Self {
        Self { source: Arc::new(source) }
    }
}

impl<S> Layer<S> for AddMetadataLayer {
    type Service = AddMetadata<S>;

    fn layer(&self, inner: S) -> AddMetadata<S> {
        AddMetadata { inner, source: Arc::clone(&self.source) }
    }
}

impl fmt::Debug for AddMetadataLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AddMetadataLayer").finish_non_exhaustive()
    }
}

/// The former name of [`AddMetadataLayer`].
#[deprecated(note = "renamed to `AddMetadataLayer`")]
pub type MetadataLayer = AddMetadataLayer;

/// A service inside an [`AddMetadataLayer`].
#[derive(Clone)]
pub struct AddMetadata<S> {
    inner: S,
    source: Source,
}

accessors!(AddMetadata<S>);

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
