//! One call of a balanced client: waits for a server, and tries another where that is safe.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::Instant;
use tower_service::Service;

use super::{
    Handle,
    endpoint::{Member, Pending},
    hedge::Hedged,
    outlier::Verdict,
    seat::Seat,
    set::{Set, Wish},
    stream::until_begun,
};
use crate::{
    CallFuture, Code, MethodRef, Origin, Request, Response, Status,
    client::reconnect::may_try_again,
    message::response::Outcome,
    support::{exclusive::Exclusive, timer},
};

/// A call of a [`Balanced`](super::Balanced).
///
/// Dropping it gives up the wait for a server, or resets the stream, and the peer drops the handler.
#[must_use = "futures do nothing unless polled"]
pub struct BalancedFuture {
    attempts: Attempts,
    state: State,
}

/// ```text
///            ┌───────────────┐
///            ▼               │ may be tried again
///         Waiting ──▶ Calling ──▶ Done
/// Failed ────────────────────────▶ Done
/// ```
pub(super) enum State {
    Failed(Option<Status>),
    Waiting(Exclusive<Waiting>),
    Calling { pending: Option<Pending>, call: CallFuture },
    Hedged(Box<Hedged>),
    Done,
}

type Waiting = Pin<Box<dyn Future<Output = Result<Arc<Member>, Status>> + Send>>;

/// What is left to be tried.
pub(super) struct Attempts {
    /// Keeps the client at work as long as the call is under way.
    handle: Arc<Handle>,
    method: MethodRef,
    /// The request of the next attempt; `None` if it cannot be copied and was used.
    request: Option<Request>,
    deadline: Option<Instant>,
    /// What the next attempt would have: not the server that has failed.
    wish: Wish,
    made: u32,
    /// One of them may have been executed.
    maybe_executed: bool,
    /// Where a stream holds its call; `None` before there is one.
    seat: Option<Seat>,
}

impl BalancedFuture {
    pub(super) fn new(handle: Arc<Handle>, request: Request) -> Self {
        let deadline = request.effective_timeout().and_then(|timeout| Instant::now().checked_add(timeout));
        let (method, bytes) = (request.method_ref(), request.params_len());
        let mut attempts = Attempts {
            handle,
            method: method.clone(),
            request: Some(request),
            deadline,
            wish: Wish { not: None, bytes },
            made: 0,
            maybe_executed: false,
            seat: None,
        };
        let set = attempts.set();
        set.budget.deposit();
        let state = match set.pick(attempts.wish) {
            Some(member) => attempts.call(&member),
            None => match set.end() {
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

impl Future for BalancedFuture {
    type Output = Result<Response, Status>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { attempts, state } = self.get_mut();
        loop {
            let (pending, result) = match state {
                State::Waiting(waiting) => {
                    let waited = ready!(waiting.get_mut().as_mut().poll(cx));
                    *state = match waited {
                        Ok(member) => attempts.call(&member),
                        Err(status) => State::Failed(Some(status)),
                    };
                    continue;
                }
                State::Calling { pending, call } => {
                    let result = ready!(Pin::new(call).poll(cx));
                    (pending.take(), result)
                }
                State::Hedged(hedged) => {
                    let (pending, result) = ready!(hedged.poll(cx, attempts));
                    (Some(pending), result)
                }
                State::Failed(status) => {
                    let status = status.take().unwrap_or_else(polled_after_end);
                    *state = State::Done;
                    return Poll::Ready(Err(attempts.failed(status)));
                }
                State::Done => return Poll::Ready(Err(polled_after_end())),
            };
            // The call is over, and so is its hold on the connection.
            *state = State::Done;
            let Some(pending) = pending else { return Poll::Ready(Err(polled_after_end())) };
            match attempts.again(pending, result) {
                Ok(next) => *state = next,
                Err(result) => return Poll::Ready(result),
            }
        }
    }
}

impl Attempts {
    pub(super) fn method_ref(&self) -> MethodRef {
        self.method.clone()
    }

    pub(super) fn set(&self) -> &Arc<Set> {
        &self.handle.set
    }

    pub(super) const fn wish(&self) -> Wish {
        self.wish
    }

    /// Begins an attempt over this connection.
    fn call(&mut self, member: &Arc<Member>) -> State {
        let Some((pending, call)) = self.begin(member) else {
            return State::Failed(Some(polled_after_end()));
        };
        match self.set().settings.hedge_after {
            Some(after) if self.may_hedge() => State::Hedged(Box::new(Hedged::new(pending, call, after))),
            _ => State::Calling { pending: Some(pending), call },
        }
    }

    /// Sends the request. `None` if there is none any more.
    pub(super) fn begin(&mut self, member: &Arc<Member>) -> Option<(Pending, CallFuture)> {
        let is_last = self.made + 1 >= self.set().settings.attempts;
        let copy = self.request.as_ref().filter(|_| !is_last).and_then(Request::try_clone);
        let mut request = std::mem::replace(&mut self.request, copy)?;
        self.made += 1;
        if let Some(deadline) = self.deadline {
            request.set_timeout(Some(deadline.saturating_duration_since(Instant::now())));
        }
        let pending = member.begin();
        Some((pending, member.live.peer.channel().call(request)))
    }

    /// Whether a second attempt may be made while the first is under way: the method may be executed twice, and has one
    /// response.
    pub(super) fn may_hedge(&self) -> bool {
        self.request.is_some() && self.method.is_idempotent() && !self.method.shape().streams_output()
    }

    /// The next attempt, or what the call came to.
    pub(super) fn again(&mut self, pending: Pending, result: CallResult) -> Result<State, CallResult> {
        match result {
            // Of a stream there is only the promise yet.
            Ok(response) if self.method.shape().streams_output() => {
                Err(Ok(self.watch_items(pending, response)))
            }
            // Of a shape that was not known, something has come.
            Ok(mut response) => {
                self.note_answer(&pending);
                if let Some(body) = response.body_mut() {
                    body.on_end(move |_| drop(pending));
                }
                Err(Ok(response))
            }
            Err(status) => self.retry(pending, status).map_err(Err),
        }
    }

    /// The next attempt after one that has failed, or the failure.
    pub(super) fn retry(&mut self, pending: Pending, status: Status) -> Result<State, Status> {
        let member = Arc::clone(pending.member());
        drop(pending);
        self.note_failure(&member, &status);
        if self.request.is_none() || !may_try_again(&self.method, &status) {
            return Err(self.failed(status));
        }
        let is_leaving = !member.is_open();
        let is_free = is_leaving && self.made == 1 && !status.may_have_executed();
        if !is_free && !self.set().budget.withdraw() {
            tracing::debug!(method = %self.method, "not tried again: the retry budget is used up");
            return Err(self.failed(status));
        }
        self.note_attempt(&status);
        tracing::debug!(method = %self.method, attempt = self.made, "trying again: {status}");
        let failed = member.endpoint.id();
        self.wish.not = Some(failed);
        // Another server takes the call at once, as does the next connection. Else there is a pause.
        let is_elsewhere = self.made == 1 && (is_leaving || self.set().has_other(failed));
        let pause =
            if is_elsewhere { Duration::ZERO } else { self.set().settings.retry_backoff.pause(self.made) };
        // It does not hold its connection open while the call waits for another.
        drop(member);
        self.wait(pause).map_err(|_| self.failed(status))
    }

    /// Notes that an attempt was in vain.
    pub(super) fn note_attempt(&mut self, status: &Status) {
        self.maybe_executed |= status.may_have_executed();
    }

    /// Notes that an attempt was given up for another.
    pub(super) fn note_cancelled(&mut self) {
        self.maybe_executed = true;
    }

    fn note_answer(&self, pending: &Pending) {
        pending.member().live.note_answer();
        self.set().note(pending.member(), Verdict::Works);
    }

    pub(super) fn note_failure(&self, member: &Member, status: &Status) {
        let refused = status.code() == Code::Unavailable && !status.may_have_executed();
        if status.origin() == Origin::Peer && !refused {
            member.live.note_answer();
        }
        self.set().note(member, Verdict::of(status));
    }

    /// Hands what is left to be tried to the items, which may still turn out to be refused.
    fn watch_items(&mut self, pending: Pending, mut response: Response) -> Response {
        let Some((items, metadata)) = response.take_body() else { return response };
        let is_first = self.seat.is_none();
        let seat = self.seat.get_or_insert_with(|| Seat::new(Arc::clone(&self.handle.set))).clone();
        seat.take(pending);
        let mut items = if self.request.is_none() && !self.maybe_executed {
            items
        } else {
            let attempts = Self {
                handle: Arc::clone(&self.handle),
                method: self.method.clone(),
                request: self.request.take(),
                seat: self.seat.clone(),
                ..*self
            };
            until_begun(attempts, seat.clone(), items)
        };
        if is_first {
            items.on_end(move |end| seat.end(end));
        }
        Response::from_outcome(items.codec(), Outcome::Body(items)).with_metadata(metadata)
    }

    /// Waits for a server, after a pause.
    fn wait(&mut self, pause: Duration) -> Result<State, Status> {
        if pause.is_zero()
            && let Some(member) = self.set().pick(self.wish)
        {
            return Ok(self.call(&member));
        }
        let (method, deadline, set) = (self.method.clone(), self.deadline, Arc::clone(self.set()));
        // Where calls do not wait for a server, one may still pause.
        let queues = pause.is_zero() || set.settings.max_waiting.is_some();
        let place = if queues { Some(set.place(&method)?) } else { None };
        let wish = self.wish;
        let waiting = async move {
            let connected = async {
                timer::pause(pause).await;
                match &place {
                    Some(_place) => set.wait(wish).await.map_err(|end| end.status_of(&method)),
                    None => set.pick(wish).ok_or_else(|| set.not_connected(&method)),
                }
            };
            timer::before(deadline, connected).await.unwrap_or_else(|| {
                let problem = format!("{method}: no server within the time limit: {}", set.why());
                Err(Status::deadline_exceeded(problem).not_executed())
            })
        };
        Ok(State::Waiting(Exclusive::new(Box::pin(waiting))))
    }

    /// What the last attempt came to says nothing of those before it.
    pub(super) fn failed(&self, status: Status) -> Status {
        if self.maybe_executed { status.maybe_executed() } else { status }
    }
}

pub(super) type CallResult = Result<Response, Status>;

fn polled_after_end() -> Status {
    Status::internal("a call was polled after its end")
}

impl fmt::Debug for BalancedFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Failed(_) => "failed",
            State::Waiting(_) => "waiting",
            State::Calling { .. } | State::Hedged(_) => "calling",
            State::Done => "done",
        };
        f.debug_struct("BalancedFuture").field("state", &state).finish_non_exhaustive()
    }
}
