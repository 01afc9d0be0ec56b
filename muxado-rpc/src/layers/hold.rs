//! A value that lives as long as a call: a permit, a count, a lock.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use crate::{BoxError, Request, Response, Status, message::status::from_box_error};

/// Holds a value from the start of each call to its end: of a streaming call, to the end of its stream.
///
/// The value is made from the request, and dropped when the call is over: after the response of a unary call, after the
/// last item of a streaming one, or when either is dropped. A permit of a semaphore, a guard that counts, a lease. If no
/// value can be made, the call fails with the status that says so, as not executed.
///
/// It must not block: a limit for which calls wait is [`ConcurrencyLimitLayer`](super::ConcurrencyLimitLayer).
///
/// ```
/// use std::sync::Arc;
///
/// use muxado_rpc::{Peer, Request, Status, layers::HoldLayer};
/// use tokio::sync::Semaphore;
///
/// let uploads = Arc::new(Semaphore::new(10));
/// let permits = HoldLayer::new(move |request: &Request| {
///     let permit = Arc::clone(&uploads).try_acquire_owned();
///     permit.map_err(|_| Status::resource_exhausted(format!("{}: too many", request.method())))
/// });
/// let builder = Peer::builder().layer(permits);
/// # let _ = builder;
/// ```
#[derive(Clone, Copy)]
pub struct HoldLayer<F> {
    make: F,
}

impl<F> HoldLayer<F> {
    /// Creates a layer that holds what `make` returns for each request.
    pub const fn new<G>(make: F) -> Self
    where
        F: Fn(&Request) -> Result<G, Status> + Clone,
        G: Send + 'static,
    {
        Self { make }
    }
}

impl<F> fmt::Debug for HoldLayer<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HoldLayer").finish_non_exhaustive()
    }
}

impl<S, F: Clone> Layer<S> for HoldLayer<F> {
    type Service = Hold<S, F>;

    fn layer(&self, inner: S) -> Hold<S, F> {
        Hold { inner, make: self.make.clone() }
    }
}

/// A service inside a [`HoldLayer`].
#[derive(Clone, Copy)]
pub struct Hold<S, F> {
    inner: S,
    make: F,
}

accessors!(Hold<S, F>);

impl<S: fmt::Debug, F> fmt::Debug for Hold<S, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hold").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl<S, F, G> Service<Request> for Hold<S, F>
where
    S: Service<Request, Response = Response, Error: Into<BoxError>>,
    F: Fn(&Request) -> Result<G, Status>,
    G: Send + 'static,
{
    type Response = Response;
    type Error = Status;
    type Future = HoldFuture<S::Future, G>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        self.inner.poll_ready(cx).map_err(|error| from_box_error(error.into()))
    }

    fn call(&mut self, request: Request) -> HoldFuture<S::Future, G> {
        match (self.make)(&request) {
            Ok(held) => HoldFuture::new(held, self.inner.call(request)),
            Err(status) => HoldFuture { state: State::Refused(Some(status.not_executed())) },
        }
    }
}

/// A call through a [`Hold`] or an [`InFlight`](super::InFlight).
#[pin_project]
#[must_use = "futures do nothing unless polled"]
#[expect(missing_debug_implementations, reason = "futures on their way have no more to show")]
pub struct HoldFuture<F, G> {
    #[pin]
    state: State<F, G>,
}

#[pin_project(project = StateProjection)]
enum State<F, G> {
    Refused(Option<Status>),
    Calling {
        #[pin]
        call: F,
        held: Option<G>,
    },
}

impl<F, G> HoldFuture<F, G> {
    /// A call that holds this value to its end.
    pub(super) const fn new(held: G, call: F) -> Self {
        Self { state: State::Calling { call, held: Some(held) } }
    }
}

impl<F, G, E> Future for HoldFuture<F, G>
where
    F: Future<Output = Result<Response, E>>,
    E: Into<BoxError>,
    G: Send + 'static,
{
    type Output = Result<Response, Status>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProjection::Refused(status) => {
                let ended = || Status::internal("a call was polled after its end");
                Poll::Ready(Err(status.take().unwrap_or_else(ended)))
            }
            StateProjection::Calling { call, held } => {
                let result = ready!(call.poll(cx)).map_err(|error| from_box_error(error.into()));
                let held = held.take();
                Poll::Ready(result.map(|mut response| {
                    if let Some(body) = response.body_mut() {
                        body.on_end(move |_| drop(held));
                    }
                    response
                }))
            }
        }
    }
}
