//! A limit on the calls that are under way at a time, to the end of their streams.

mod room;

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use pin_project::pin_project;
use tokio::time::Instant;
use tower_layer::Layer;
use tower_service::Service;

use self::room::{Full, Permit, Room, Turn};
use crate::{
    BoxError, MethodInfo, Request, Response, Status, message::status::from_box_error, support::timer::Timer,
};

/// Limits how many calls are under way at a time. A call counts until it is over: a streaming call until its stream
/// has ended or was dropped.
///
/// All services that one layer value and its clones wrap share the limit, so it holds for all connections of a
/// server together. Tower's `ConcurrencyLimitLayer` and `GlobalConcurrencyLimitLayer` count a call until its
/// [`Response`] is there, which for a streaming method is before the first item.
///
/// A call above the limit waits in a queue, first come, first served. At most [`max_waiting`](Self::max_waiting)
/// calls wait (1024 by default), each for at most [`queue_timeout`](Self::queue_timeout) (10 s by default) and its
/// own time limit. A call that does not get room fails as not executed: with `resource_exhausted`, or
/// `deadline_exceeded` if its own time limit was shorter. With [`load_shed`](Self::load_shed) nothing waits.
///
/// A wait never lasts for ever: a handler whose call holds room, and that makes a call which needs room of the same
/// layer, gets it or an error within `queue_timeout`.
///
/// The service is ready when the inner one is; calls wait in their futures, not in `poll_ready`. Tower's
/// `LoadShedLayer` around it therefore has no effect; use [`load_shed`](Self::load_shed).
///
/// A task that passes by waiters which are woken but not polled is spawned on the current tokio runtime while calls
/// wait.
///
/// ```
/// use muxado_rpc::{Server, layers::ConcurrencyLimitLayer};
///
/// # #[muxado_rpc::service]
/// # pub trait Greeter { async fn hello(&self, name: String) -> String; }
/// # struct Polite;
/// # impl Greeter for Polite { async fn hello(&self, name: String) -> String { name } }
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let server = Server::builder()
///     .layer(ConcurrencyLimitLayer::new(100).max_waiting(1000))
///     .serve(GreeterServer::new(Polite))
///     .listen("tcp://127.0.0.1:0")
///     .await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct ConcurrencyLimitLayer {
    room: Arc<Room>,
    settings: Settings,
}

#[derive(Clone, Copy, Debug)]
struct Settings {
    max: usize,
    max_waiting: usize,
    queue_timeout: Duration,
}

impl ConcurrencyLimitLayer {
    /// Creates a limit of `max` calls at a time; 0 counts as 1.
    pub fn new(max: usize) -> Self {
        let max = max.max(1);
        let settings = Settings { max, max_waiting: 1024, queue_timeout: Duration::from_secs(10) };
        Self { room: Arc::new(Room::new(max)), settings }
    }

    /// Sets how many calls may wait for room at a time. Each of them holds its request. Default 1024.
    #[must_use]
    pub fn max_waiting(mut self, calls: usize) -> Self {
        self.settings.max_waiting = calls;
        self
    }

    /// Sets how long a call waits for room at most. Default 10 s.
    #[must_use]
    pub fn queue_timeout(mut self, timeout: Duration) -> Self {
        self.settings.queue_timeout = timeout;
        self
    }

    /// Refuses calls above the limit at once, instead of letting them wait.
    #[must_use]
    pub fn load_shed(self) -> Self {
        self.max_waiting(0)
    }
}

impl<S> Layer<S> for ConcurrencyLimitLayer {
    type Service = ConcurrencyLimit<S>;

    fn layer(&self, inner: S) -> ConcurrencyLimit<S> {
        ConcurrencyLimit { inner, layer: self.clone() }
    }
}

/// A service inside a [`ConcurrencyLimitLayer`].
#[derive(Clone, Debug)]
pub struct ConcurrencyLimit<S> {
    inner: S,
    layer: ConcurrencyLimitLayer,
}

accessors!(ConcurrencyLimit<S>);

impl<S> Service<Request> for ConcurrencyLimit<S>
where
    S: Service<Request, Response = Response, Error: Into<BoxError>> + Clone,
{
    type Response = Response;
    type Error = Status;
    type Future = ConcurrencyLimitFuture<S>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        self.inner.poll_ready(cx).map_err(|error| from_box_error(error.into()))
    }

    fn call(&mut self, request: Request) -> ConcurrencyLimitFuture<S> {
        // The service that was ready goes with the call, a clone takes its place.
        let clone = self.inner.clone();
        let inner = std::mem::replace(&mut self.inner, clone);
        let turn = Turn::new(Arc::clone(&self.layer.room));
        let settings = self.layer.settings;
        ConcurrencyLimitFuture {
            settings,
            state: State::Waiting { turn, call: Some((inner, request)), end: None },
        }
    }
}

/// A call through a [`ConcurrencyLimit`].
#[pin_project]
#[must_use = "futures do nothing unless polled"]
#[expect(
    missing_debug_implementations,
    reason = "neither requests nor services on their way have more to show"
)]
pub struct ConcurrencyLimitFuture<S: Service<Request>> {
    settings: Settings,
    #[pin]
    state: State<S, S::Future>,
}

#[pin_project(project = StateProjection)]
enum State<S, F> {
    Waiting {
        turn: Turn,
        call: Option<(S, Request)>,
        /// `None` for a call that did not have to wait.
        end: Option<WaitEnd>,
    },
    Calling {
        permit: Option<Permit>,
        #[pin]
        future: F,
    },
}

impl<S> Future for ConcurrencyLimitFuture<S>
where
    S: Service<Request, Response = Response, Error: Into<BoxError>>,
{
    type Output = Result<Response, Status>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let next = match this.state.as_mut().project() {
                StateProjection::Waiting { turn, call, end } => {
                    let Some((_, request)) = call.as_ref() else {
                        return Poll::Ready(Err(polled_after_end()));
                    };
                    let permit = match turn.poll(cx, this.settings.max_waiting) {
                        Poll::Ready(Ok(permit)) => permit,
                        Poll::Ready(Err(Full)) => return Poll::Ready(Err(this.settings.full(request))),
                        Poll::Pending => {
                            let end = end.get_or_insert_with(|| WaitEnd::of(*this.settings, request));
                            let status = ready!(end.poll(cx, *this.settings, request));
                            // Leaves the queue.
                            turn.leave();
                            *call = None;
                            return Poll::Ready(Err(status));
                        }
                    };
                    let Some((mut inner, mut request)) = call.take() else {
                        return Poll::Ready(Err(polled_after_end()));
                    };
                    if let Some(end) = end {
                        end.charge(&mut request)?;
                    }
                    let future = inner.call(request);
                    State::Calling { permit: Some(permit), future }
                }
                StateProjection::Calling { permit, future } => {
                    let result = ready!(future.poll(cx)).map_err(|error| from_box_error(error.into()));
                    return Poll::Ready(result.map(|response| hold(permit.take(), response)));
                }
            };
            this.state.set(next);
        }
    }
}

/// Keeps the room of a call that streams its answer until the stream is over.
fn hold(permit: Option<Permit>, mut response: Response) -> Response {
    if let Some(body) = response.body_mut() {
        body.on_end(move |_| drop(permit));
    }
    response
}

/// When a call gives up waiting for room.
struct WaitEnd {
    /// When the caller stops waiting for the call.
    deadline: Option<Instant>,
    /// When the call stops waiting for room. `None` for never.
    at: Option<Instant>,
    timer: Pin<Box<Timer>>,
}

impl WaitEnd {
    fn of(settings: Settings, request: &Request) -> Self {
        let now = Instant::now();
        let own = || request.effective_timeout().and_then(|timeout| now.checked_add(timeout));
        let deadline = request.deadline().or_else(own);
        let queue = now.checked_add(settings.queue_timeout);
        let at = [deadline, queue].into_iter().flatten().min();
        Self { deadline, at, timer: Box::pin(Timer::default()) }
    }

    fn poll(&mut self, cx: &mut Context<'_>, settings: Settings, request: &Request) -> Poll<Status> {
        let Some(at) = self.at else { return Poll::Pending };
        ready!(self.timer.as_mut().poll(cx, at));
        let method = request.method();
        Poll::Ready(if self.deadline == Some(at) {
            too_late(method, &settings.limit(request))
        } else {
            let (timeout, limit) = (settings.queue_timeout, settings.limit(request));
            Status::resource_exhausted(format!(
                "{method}: no room within {timeout:?} (ConcurrencyLimitLayer::queue_timeout): {limit}"
            ))
            .not_executed()
        })
    }

    /// Takes the time that was waited off the time limit of a call that is still to be sent.
    fn charge(&self, request: &mut Request) -> Result<(), Status> {
        if let Some(deadline) = self.deadline.filter(|_| request.deadline().is_none()) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(too_late(request.method(), "the call waited for a ConcurrencyLimitLayer"));
            }
            request.set_timeout(Some(left));
        }
        Ok(())
    }
}

impl Settings {
    fn full(&self, request: &Request) -> Status {
        let (method, waiting, limit) = (request.method(), self.max_waiting, self.limit(request));
        let problem = match waiting {
            0 => format!("{method}: {limit}"),
            _ => format!("{method}: {limit}, and {waiting} wait (ConcurrencyLimitLayer::max_waiting)"),
        };
        Status::resource_exhausted(problem).not_executed()
    }

    /// Says whose limit was reached.
    fn limit(&self, request: &Request) -> String {
        let side = if request.has_arrived() { "serving" } else { "calling" };
        format!("{} calls are under way, the limit of the {side} side's ConcurrencyLimitLayer", self.max)
    }
}

fn too_late(method: &MethodInfo, why: &str) -> Status {
    Status::deadline_exceeded(format!("{method}: no room within the time limit: {why}")).not_executed()
}

fn polled_after_end() -> Status {
    Status::internal("a call was polled after its end")
}
