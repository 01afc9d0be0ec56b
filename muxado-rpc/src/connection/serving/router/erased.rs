//! Services of different types behind one trait object, at one box per call.

use std::{
    any::Any,
    future::{Future, poll_fn, ready},
    pin::Pin,
    task::{Context, Poll, Waker},
};

use tower_service::Service;

use crate::{BoxError, Request, Response, Status, message::status};

/// A handler under way.
pub(super) type ServeFuture = Pin<Box<dyn Future<Output = Result<Response, Status>> + Send>>;

/// A service whose type is forgotten.
pub(super) trait ErasedService: Send + Sync {
    /// Calls a clone of the service: at once if it is ready, and else from the future, where there is somebody to wake.
    fn start(&self, request: Request) -> ServeFuture;
}

impl<S> ErasedService for S
where
    S: Service<Request, Response = Response> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
{
    fn start(&self, request: Request) -> ServeFuture {
        let mut service = self.clone();
        match service.poll_ready(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(())) => boxed(service.call(request)),
            Poll::Ready(Err(error)) => failed(status::from_box_error(error.into()).not_executed()),
            Poll::Pending => Box::pin(async move {
                let ready = poll_fn(|cx| service.poll_ready(cx)).await;
                ready.map_err(|error| status::from_box_error(error.into()).not_executed())?;
                service.call(request).await.map_err(|error| status::from_box_error(error.into()))
            }),
        }
    }
}

/// A call that fails without a handler.
#[cold]
pub(super) fn failed(status: Status) -> ServeFuture {
    Box::pin(ready(Err(status)))
}

/// Boxes a future. One that is such a box already, as that of a generated server, is taken as it is.
fn boxed<F, E>(future: F) -> ServeFuture
where
    F: Future<Output = Result<Response, E>> + Send + 'static,
    E: Into<BoxError>,
{
    let mut future = Some(future);
    if let Some(boxed) = (&mut future as &mut dyn Any).downcast_mut::<Option<ServeFuture>>()
        && let Some(boxed) = boxed.take()
    {
        return boxed;
    }
    Box::pin(async move {
        match future {
            Some(future) => future.await.map_err(|error| status::from_box_error(error.into())),
            None => Err(Status::internal("a call was started twice")),
        }
    })
}
