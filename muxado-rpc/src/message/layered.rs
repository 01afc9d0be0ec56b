//! A service inside Tower layers that still knows which service it is.

use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use tower_layer::{Layer, Stack};
use tower_service::Service;

use crate::{NamedService, ServiceInfo};

/// The service `N` inside the layer `L`. [`NamedService::layered`] creates one.
pub struct Layered<N, L: Layer<N>> {
    service: L::Service,
    /// What the service was made from, for further layers.
    origin: Arc<(N, L)>,
}

impl<N, L: Layer<N>> Layered<N, L> {
    pub(crate) fn new(named: N, layer: L) -> Self
    where
        N: Clone,
    {
        Self { service: layer.layer(named.clone()), origin: Arc::new((named, layer)) }
    }

    /// Adds a layer inside those that were added before, so that the layer added first sees a request first.
    ///
    /// The layers that were added before are applied anew.
    pub fn layered<M>(self, layer: M) -> Layered<N, Stack<M, L>>
    where
        N: Clone,
        M: Layer<N>,
        L: Layer<M::Service> + Clone,
    {
        let (named, outer) = &*self.origin;
        Layered::new(named.clone(), Stack::new(layer, outer.clone()))
    }

    /// Returns a reference to the service with its layers.
    pub const fn get_ref(&self) -> &L::Service {
        &self.service
    }

    /// Returns a mutable reference to the service with its layers.
    pub const fn get_mut(&mut self) -> &mut L::Service {
        &mut self.service
    }

    /// Returns the service with its layers.
    pub fn into_inner(self) -> L::Service {
        self.service
    }
}

impl<N: NamedService, L: Layer<N>> NamedService for Layered<N, L> {
    const INFO: &'static ServiceInfo = N::INFO;
}

impl<N, L, R> Service<R> for Layered<N, L>
where
    L: Layer<N, Service: Service<R>>,
{
    type Response = <L::Service as Service<R>>::Response;
    type Error = <L::Service as Service<R>>::Error;
    type Future = <L::Service as Service<R>>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.service.poll_ready(cx)
    }

    fn call(&mut self, request: R) -> Self::Future {
        self.service.call(request)
    }
}

impl<N, L: Layer<N, Service: Clone>> Clone for Layered<N, L> {
    fn clone(&self) -> Self {
        Self { service: self.service.clone(), origin: Arc::clone(&self.origin) }
    }
}

impl<N, L: Layer<N, Service: fmt::Debug>> fmt::Debug for Layered<N, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Layered").field(&self.service).finish()
    }
}
