//! Calls of a client that is straight over a server: where there is no connection that holds them to
//! their time limits, the server does it.

use std::{
    future::{Future, ready},
    io,
    pin::Pin,
    task::{Context, Poll},
    thread,
};

use pin_project::pin_project;
use tokio::runtime::{Builder, Handle};

use crate::{
    __private::BoxFuture,
    MethodInfo, Request, Response, Status,
    stream::body::{Expiry, Limit},
    support::{
        deadline,
        panics::{self, CatchUnwind},
        timer::Timer,
    },
};

type Call = BoxFuture<'static, Result<Response, Status>>;

/// The time limit of a request that came by no connection.
#[derive(Clone, Copy, Debug)]
pub struct TimeLimit {
    method: &'static MethodInfo,
    limit: Limit,
}

impl TimeLimit {
    /// Begins now; `None` if the request has none, or came by a connection.
    pub(crate) fn begin(request: &mut Request) -> Option<Self> {
        let limit = request.arrive_in_process()?;
        Some(Self { method: request.method(), limit })
    }

    /// Holds a call to it.
    pub(crate) fn hold(self, call: Call) -> Call {
        let Self { method, limit } = self;
        if limit.timeout.is_zero() {
            let status = Status::deadline_exceeded(format!("{method}: no time is left")).not_executed();
            return Box::pin(ready(Err(status)));
        }
        Box::pin(Held { method, limit, call: Some(call), timer: Timer::default() })
    }
}

/// A call that is held to a time limit.
#[pin_project]
struct Held {
    method: &'static MethodInfo,
    limit: Limit,
    /// `None` once it is over.
    call: Option<Call>,
    #[pin]
    timer: Timer,
}

impl Future for Held {
    type Output = Result<Response, Status>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let (method, limit) = (*this.method, *this.limit);
        let Some(call) = this.call else {
            return Poll::Ready(Err(Status::internal("a call was polled after its end")));
        };
        if let Poll::Ready(mut result) = deadline::within(Some(limit.at), || call.as_mut().poll(cx)) {
            *this.call = None;
            if let Some(items) = result.as_mut().ok().and_then(Response::body_mut) {
                items.expire(Expiry::new(method, limit));
            }
            return Poll::Ready(result);
        }
        if this.timer.poll(cx, limit.at).is_pending() {
            return Poll::Pending;
        }
        // Drops the handler, unless it must finish.
        match this.call.take() {
            Some(call) if method.is_no_cancel() => finish(method, call),
            call => panics::discard(call),
        }
        let timeout = limit.timeout;
        Poll::Ready(Err(Status::deadline_exceeded(format!(
            "{method}: no answer within the time limit of {timeout:?}"
        ))))
    }
}

/// Runs a call that nobody waits for any more to its end, in a task of its own.
pub(crate) fn finish(method: &'static MethodInfo, call: Call) {
    match Handle::try_current() {
        Ok(runtime) => drop(runtime.spawn(CatchUnwind::new(None, call))),
        Err(_) => {
            if let Err(error) = finish_apart(call) {
                tracing::error!(%method, "a call that must finish cannot: {error}");
            }
        }
    }
}

/// Keeps time outside a runtime: in a thread with a runtime of its own.
fn finish_apart(call: Call) -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let work = move || drop(runtime.block_on(CatchUnwind::new(None, call)));
    thread::Builder::new().name("muxado-rpc-call".to_owned()).spawn(work).map(drop)
}
