//! One call of a reconnecting client: waits for a connection, and tries again where that is safe.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use pin_project::pin_project;
use tokio::time::Instant;
use tower_service::Service;

use super::{
    Handle,
    body::until_begun,
    pool::{Live, Pool},
};
use crate::{
    CallFuture, Code, MethodInfo, MethodRef, Origin, Request, Response, Status,
    message::response::Outcome,
    support::{exclusive::Exclusive, timer},
};

/// A call of a [`Reconnect`](super::Reconnect).
///
/// Dropping it gives up the wait for a connection, or resets the stream, and the peer drops the handler.
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct ReconnectFuture {
    attempts: Attempts,
    #[pin]
    state: State,
}

/// ```text
///            ┌───────────────┐
///            ▼               │ may be tried again
///         Waiting ──▶ Calling ──▶ Done
/// Failed ────────────────────────▶ Done
/// ```
#[pin_project(project = StateProjection)]
pub(super) enum State {
    Failed(Option<Status>),
    Waiting(Exclusive<Waiting>),
    Calling {
        live: Arc<Live>,
        #[pin]
        call: CallFuture,
    },
    Done,
}

type Waiting = Pin<Box<dyn Future<Output = Result<Arc<Live>, Status>> + Send>>;

/// What is left to be tried.
pub(super) struct Attempts {
    /// Keeps the client at work as long as the call is under way.
    handle: Arc<Handle>,
    method: MethodRef,
    /// The request of the next attempt; `None` if it cannot be copied and was used.
    request: Option<Request>,
    deadline: Option<Instant>,
    /// Bytes of the parameters: not every connection may take so many.
    bytes: usize,
    made: u32,
    /// One of them may have been executed.
    maybe_executed: bool,
}

impl ReconnectFuture {
    pub(super) fn new(handle: Arc<Handle>, request: Request) -> Self {
        let deadline = request.effective_timeout().and_then(|timeout| Instant::now().checked_add(timeout));
        let (method, bytes) = (request.method_ref(), request.params_len());
        let mut attempts = Attempts {
            handle,
            method: method.clone(),
            request: Some(request),
            deadline,
            bytes,
            made: 0,
            maybe_executed: false,
        };
        let state = match attempts.pool().pick(attempts.bytes) {
            Some(live) => attempts.call(live),
            None => match attempts.pool().end() {
                Some(end) => State::Failed(Some(end.status_of(&method))),
                None => attempts.wait(Duration::ZERO).unwrap_or_else(|status| State::Failed(Some(status))),
            },
        };
        Self { attempts, state }
    }

    /// A call some of whose attempts were made.
    pub(super) fn going_on(attempts: Attempts, state: State) -> Self {
        Self { attempts, state }
    }
}

impl Future for ReconnectFuture {
    type Output = Result<Response, Status>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let next = match this.state.as_mut().project() {
                StateProjection::Waiting(waiting) => match ready!(waiting.get_mut().as_mut().poll(cx)) {
                    Ok(live) => this.attempts.call(live),
                    Err(status) => State::Failed(Some(status)),
                },
                StateProjection::Calling { live, call } => {
                    let result = ready!(call.poll(cx));
                    match this.attempts.again(live, result) {
                        Ok(state) => state,
                        Err(result) => {
                            this.state.set(State::Done);
                            return Poll::Ready(result);
                        }
                    }
                }
                StateProjection::Failed(status) => {
                    let status = status.take().unwrap_or_else(polled_after_end);
                    this.state.set(State::Done);
                    return Poll::Ready(Err(this.attempts.failed(status)));
                }
                StateProjection::Done => return Poll::Ready(Err(polled_after_end())),
            };
            this.state.set(next);
        }
    }
}

impl Attempts {
    pub(super) fn method_ref(&self) -> MethodRef {
        self.method.clone()
    }

    fn pool(&self) -> &Arc<Pool> {
        &self.handle.pool
    }

    /// Begins an attempt over this connection.
    fn call(&mut self, live: Arc<Live>) -> State {
        let is_last = self.made + 1 >= self.pool().settings.attempts;
        let copy = self.request.as_ref().filter(|_| !is_last).and_then(Request::try_clone);
        let Some(mut request) = std::mem::replace(&mut self.request, copy) else {
            return State::Failed(Some(polled_after_end()));
        };
        self.made += 1;
        if let Some(deadline) = self.deadline {
            request.set_timeout(Some(deadline.saturating_duration_since(Instant::now())));
        }
        let call = live.peer.channel().call(request);
        State::Calling { live, call }
    }

    /// The next attempt, or what the call came to.
    pub(super) fn again(&mut self, live: &Arc<Live>, result: CallResult) -> Result<State, CallResult> {
        let status = match result {
            // Of a stream there is only the promise yet.
            Ok(response) if self.method.shape().streams_output() => {
                return Err(Ok(self.watch_items(live, response)));
            }
            // Of a shape that was not known, something has come.
            Ok(response) => {
                live.note_answer();
                return Err(Ok(response));
            }
            Err(status) => status,
        };
        let refused = status.code() == Code::Unavailable && !status.may_have_executed();
        if status.origin() == Origin::Peer && !refused {
            live.note_answer();
        }
        if self.request.is_none() || !may_try_again(&self.method, &status) {
            return Err(Err(self.failed(status)));
        }
        self.maybe_executed |= status.may_have_executed();
        tracing::debug!(method = %self.method, attempt = self.made, "trying again: {status}");
        // A connection that goes away is replaced: another takes the call at once. Else the peer is
        // given a moment.
        let pause = if live.peer.is_going_away() && self.made == 1 {
            Duration::ZERO
        } else {
            self.pool().settings.retry_backoff.pause(self.made)
        };
        self.wait(pause).map_err(|_| Err(self.failed(status)))
    }

    /// Hands what is left to be tried to the items, which may still turn out to be refused.
    fn watch_items(&mut self, live: &Arc<Live>, mut response: Response) -> Response {
        if self.request.is_none() && !self.maybe_executed {
            return response;
        }
        let Some((items, metadata)) = response.take_body() else { return response };
        let attempts = Self {
            handle: Arc::clone(&self.handle),
            method: self.method.clone(),
            request: self.request.take(),
            ..*self
        };
        let items = until_begun(attempts, Arc::clone(live), items);
        Response::from_outcome(items.codec(), Outcome::Body(items)).with_metadata(metadata)
    }

    /// Waits for a connection, after a pause.
    fn wait(&mut self, pause: Duration) -> Result<State, Status> {
        if pause.is_zero()
            && let Some(live) = self.pool().pick(self.bytes)
        {
            return Ok(self.call(live));
        }
        let (method, deadline, pool) = (self.method.clone(), self.deadline, Arc::clone(self.pool()));
        // Where calls do not wait for a connection, one may still pause.
        let queues = pause.is_zero() || pool.settings.max_waiting.is_some();
        let place = if queues { Some(pool.place(&method)?) } else { None };
        let bytes = self.bytes;
        let waiting = async move {
            let connected = async {
                timer::pause(pause).await;
                match &place {
                    Some(_place) => pool.wait(bytes).await.map_err(|end| end.status_of(&method)),
                    None => pool.pick(bytes).ok_or_else(|| pool.not_connected(&method)),
                }
            };
            timer::before(deadline, connected).await.unwrap_or_else(|| {
                let problem = format!("{method}: no connection within the time limit: {}", pool.why());
                Err(Status::deadline_exceeded(problem).not_executed())
            })
        };
        Ok(State::Waiting(Exclusive::new(Box::pin(waiting))))
    }

    /// What the last attempt came to says nothing of those before it.
    fn failed(&self, status: Status) -> Status {
        if self.maybe_executed { status.maybe_executed() } else { status }
    }
}

type CallResult = Result<Response, Status>;

/// Whether a failure says that the call was not executed, or the method that it may be twice.
pub(crate) fn may_try_again(method: &MethodInfo, status: &Status) -> bool {
    if status.code() != Code::Unavailable {
        return false;
    }
    match status.origin() {
        Origin::Local => false,
        Origin::Peer => !status.may_have_executed(),
        Origin::Transport => !status.may_have_executed() || method.is_idempotent(),
    }
}

fn polled_after_end() -> Status {
    Status::internal("a call was polled after its end")
}

impl fmt::Debug for ReconnectFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Failed(_) => "failed",
            State::Waiting(_) => "waiting",
            State::Calling { .. } => "calling",
            State::Done => "done",
        };
        f.debug_struct("ReconnectFuture").field("state", &state).finish_non_exhaustive()
    }
}
