//! A time limit for calls, to the end of their streams.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use pin_project::pin_project;
use tokio::time::Instant;
use tower_layer::Layer;
use tower_service::Service;

use crate::{
    BoxError, MethodRef, Request, Response, Status,
    client::in_process::finish,
    message::status::from_box_error,
    stream::{
        body::BodyStream,
        deadline::{Deadline, LazyDeadline, TimeLimit},
    },
    support::{deadline, panics},
};

/// Limits how long a call may take, from its start to its end: of a streaming call, to the end of its stream.
///
/// A call that takes longer fails with `deadline_exceeded`, and its handler is dropped; a stream ends with that
/// status in place of its next item. If the caller has set a shorter time limit, that one holds. Tower's
/// `TimeoutLayer` ends with the [`Response`], which for a streaming method is there before the first item.
///
/// On the calling side the limit is sent with the request, so that the peer keeps it, too. On the serving side it is
/// the [deadline](crate::Context::deadline) that the handler sees and that the calls of the handler inherit. Time
/// spent in `poll_ready` does not count. The handler of a method with `#[method(no_cancel)]` is not dropped but
/// finishes in a task of its own.
///
/// ```
/// use std::time::Duration;
///
/// use muxado_rpc::{Peer, layers::TimeoutLayer};
///
/// let builder = Peer::builder().layer(TimeoutLayer::new(Duration::from_secs(30)));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct TimeoutLayer {
    timeout: Duration,
}

impl TimeoutLayer {
    /// Creates a limit of this duration for each call.
    pub const fn new(timeout: Duration) -> Self {
        Self { timeout }
    }
}

impl<S> Layer<S> for TimeoutLayer {
    type Service = Timeout<S>;

    fn layer(&self, inner: S) -> Timeout<S> {
        Timeout { inner, timeout: self.timeout }
    }
}

/// A service inside a [`TimeoutLayer`].
#[derive(Clone, Copy, Debug)]
pub struct Timeout<S> {
    inner: S,
    timeout: Duration,
}

accessors!(Timeout<S>);

impl<S> Service<Request> for Timeout<S>
where
    S: Service<Request, Response = Response, Error: Into<BoxError>, Future: Send + 'static>,
{
    type Response = Response;
    type Error = Status;
    type Future = TimeoutFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        self.inner.poll_ready(cx).map_err(|error| from_box_error(error.into()))
    }

    fn call(&mut self, mut request: Request) -> TimeoutFuture<S::Future> {
        let method = request.method_ref();
        let is_served = request.has_arrived();
        let limit = limit_time(&mut request, self.timeout);
        let future = self.inner.call(request);
        let call = if is_served && method.is_no_cancel() && limit.is_some() {
            Call::MustFinish(Box::pin(async { future.await.map_err(|error| from_box_error(error.into())) }))
        } else {
            Call::Droppable(future)
        };
        let inherited = limit.filter(|_| is_served).map(TimeLimit::at);
        TimeoutFuture { method, deadline: limit.map(LazyDeadline::new), inherited, call }
    }
}

/// Gives a request this time limit. Returns the limit that is to be kept here; `None` if a deadline of the request
/// holds already, or for a limit beyond the end of time.
fn limit_time(request: &mut Request, timeout: Duration) -> Option<TimeLimit> {
    let (now, is_served) = (Instant::now(), request.has_arrived());
    let own = if is_served { None } else { request.effective_timeout() };
    let timeout = own.map_or(timeout, |own| own.min(timeout));
    let limit = TimeLimit::from(now, timeout)?;
    if is_served {
        if request.deadline().is_some_and(|deadline| deadline <= limit.at()) {
            return None;
        }
        request.set_deadline(Some(limit.at()));
    }
    request.set_timeout(Some(timeout));
    Some(limit)
}

/// A call through a [`Timeout`].
#[pin_project]
#[must_use = "futures do nothing unless polled"]
#[expect(missing_debug_implementations, reason = "futures on their way have no more to show")]
pub struct TimeoutFuture<F> {
    method: MethodRef,
    deadline: Option<LazyDeadline>,
    /// The deadline for calls of the handler.
    inherited: Option<Instant>,
    #[pin]
    call: Call<F>,
}

#[pin_project(project = CallProjection)]
enum Call<F> {
    Droppable(#[pin] F),
    /// The handler of a `no_cancel` method, which goes on after the limit.
    MustFinish(Pin<Box<dyn Future<Output = Result<Response, Status>> + Send>>),
    Over,
}

impl<F, E> Call<F>
where
    F: Future<Output = Result<Response, E>>,
    E: Into<BoxError>,
{
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Response, Status>> {
        match self.project() {
            CallProjection::Droppable(future) => {
                future.poll(cx).map_err(|error| from_box_error(error.into()))
            }
            CallProjection::MustFinish(future) => future.as_mut().poll(cx),
            CallProjection::Over => Poll::Ready(Err(Status::internal("a call was polled after its end"))),
        }
    }
}

impl<F, E> Future for TimeoutFuture<F>
where
    F: Future<Output = Result<Response, E>>,
    E: Into<BoxError>,
{
    type Output = Result<Response, Status>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if let Poll::Ready(mut result) = deadline::within(*this.inherited, || this.call.as_mut().poll(cx)) {
            let body = result.as_mut().ok().and_then(Response::body_mut);
            if let (Some(body), Some(deadline)) = (body, this.deadline) {
                BodyStream::hold_to(body, this.method.clone(), Deadline::new(deadline.limit()));
            }
            return Poll::Ready(result);
        }
        let Some(deadline) = this.deadline else { return Poll::Pending };
        ready!(deadline.poll_exceeded(cx));
        let method = &*this.method;
        // A panic in a destructor does not change what became of the call.
        drop(panics::catch(|| give_up(method, this.call)));
        Poll::Ready(Err(deadline.limit().status(method, "no answer within TimeoutLayer's time limit")))
    }
}

/// Drops a call, unless it must finish.
fn give_up<F>(method: &MethodRef, mut call: Pin<&mut Call<F>>) {
    if let CallProjection::MustFinish(future) = call.as_mut().project() {
        let over = Box::pin(std::future::ready(Err(Status::cancelled(""))));
        finish(method, std::mem::replace(future, over));
    }
    call.set(Call::Over);
}
