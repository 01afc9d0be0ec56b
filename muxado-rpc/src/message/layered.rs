//! A service inside Tower layers that still knows which service it is.

use std::{
    fmt,
    marker::PhantomData,
    task::{Context, Poll},
};

use tower_service::Service;

use crate::{NamedService, ServiceInfo};

/// A service `N` inside a layer: made by [`NamedService::layered`].
pub struct Layered<S, N> {
    service: S,
    // `fn() -> N` so that the wrapper is `Send` and `Sync` whatever the named type is.
    named: PhantomData<fn() -> N>,
}

impl<S, N> Layered<S, N> {
    pub(crate) const fn new(service: S) -> Self {
        Self { service, named: PhantomData }
    }

    /// The layered service itself.
    pub fn into_inner(self) -> S {
        self.service
    }
}

impl<S, N: NamedService> NamedService for Layered<S, N> {
    const INFO: &'static ServiceInfo = N::INFO;
}

impl<S: Service<R>, N, R> Service<R> for Layered<S, N> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.service.poll_ready(cx)
    }

    fn call(&mut self, request: R) -> Self::Future {
        self.service.call(request)
    }
}

impl<S: Clone, N> Clone for Layered<S, N> {
    fn clone(&self) -> Self {
        Self::new(self.service.clone())
    }
}

impl<S: fmt::Debug, N> fmt::Debug for Layered<S, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Layered").field(&self.service).finish()
    }
}
