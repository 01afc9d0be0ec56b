//! A count of the calls that are under way, to the end of their streams.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use tower::load::Load;
use tower_layer::Layer;
use tower_service::Service;

use super::hold::HoldFuture;
use crate::{BoxError, Request, Response, Status, message::status::from_box_error};

/// Counts the calls that are under way. A call counts until it is over: a streaming call until its stream has ended or
/// was dropped.
///
/// All services that one layer value and its clones wrap share the count. The service is a `tower::load::Load`, so that
/// Tower's `Balance` and peak-load pickers send a call where the fewest are under way; make a layer for each of the
/// channels there. Tower's `PendingRequests` counts a call until its [`Response`] is there, which for a streaming method
/// is before the first item.
///
/// ```
/// use muxado_rpc::{Channel, Peer, layers::InFlightLayer};
/// use tower::{Layer, load::Load};
///
/// // On the serving side: how much is going on.
/// let calls = InFlightLayer::new();
/// let builder = Peer::builder().layer(calls.clone());
/// assert_eq!(calls.count(), 0);
///
/// // On the calling side: the load of one of several channels.
/// fn balanced(channel: Channel) -> impl Load<Metric = usize> {
///     InFlightLayer::new().layer(channel)
/// }
/// # let _ = (builder, balanced);
/// ```
#[derive(Clone, Debug, Default)]
pub struct InFlightLayer {
    count: Arc<AtomicUsize>,
}

impl InFlightLayer {
    /// Creates a layer with a count of its own.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns how many calls are under way.
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }
}

impl<S> Layer<S> for InFlightLayer {
    type Service = InFlight<S>;

    fn layer(&self, inner: S) -> InFlight<S> {
        InFlight { inner, layer: self.clone() }
    }
}

/// A service inside an [`InFlightLayer`].
#[derive(Clone, Debug)]
pub struct InFlight<S> {
    inner: S,
    layer: InFlightLayer,
}

accessors!(InFlight<S>);

impl<S> InFlight<S> {
    /// Returns how many calls are under way, through all services of the layer.
    pub fn count(&self) -> usize {
        self.layer.count()
    }
}

/// The load is the number of calls under way.
impl<S> Load for InFlight<S> {
    type Metric = usize;

    fn load(&self) -> usize {
        self.count()
    }
}

impl<S> Service<Request> for InFlight<S>
where
    S: Service<Request, Response = Response, Error: Into<BoxError>>,
{
    type Response = Response;
    type Error = Status;
    type Future = HoldFuture<S::Future, Counted>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        self.inner.poll_ready(cx).map_err(|error| from_box_error(error.into()))
    }

    fn call(&mut self, request: Request) -> HoldFuture<S::Future, Counted> {
        // Counted before the call begins, and no longer if that panics.
        let counted = Counted::new(&self.layer.count);
        HoldFuture::new(counted, self.inner.call(request))
    }
}

/// A call that counts for as long as this lives.
#[derive(Debug)]
pub struct Counted {
    count: Arc<AtomicUsize>,
}

impl Counted {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self { count: Arc::clone(count) }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
    }
}
