//! Calls of a client that is straight over a server: where there is no connection that holds them to
//! their time limits, the server does it.

use std::{
    future::{self, Future},
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    thread,
};

use tokio::runtime::{Builder, Handle};

use crate::{
    MethodRef, Request, Response, Status,
    stream::{
        body::BodyStream,
        deadline::{Deadline, LazyDeadline, TimeLimit},
    },
    support::{
        deadline,
        panics::{self, CatchUnwind},
    },
};

type Call = Pin<Box<dyn Future<Output = Result<Response, Status>> + Send>>;

/// The time limit of a request that came by no connection.
#[derive(Clone, Debug)]
pub struct InProcessLimit {
    method: MethodRef,
    limit: TimeLimit,
}

impl InProcessLimit {
    /// Begins now; `None` if the request has none, or came by a connection.
    pub(crate) fn begin(request: &mut Request) -> Option<Self> {
        request
            .arrive_in_process()
            .then(|| TimeLimit::of(request))
            .flatten()
            .map(|limit| Self { method: request.method_ref(), limit })
    }

    /// Holds a call to it.
    pub(crate) fn hold(self, call: Call) -> Call {
        let Self { method, limit } = self;
        if limit.is_zero() {
            let status = Status::deadline_exceeded(format!("{method}: no time is left")).not_executed();
            return Box::pin(future::ready(Err(status)));
        }
        Box::pin(Held { method, deadline: LazyDeadline::new(limit), call: Some(call) })
    }
}

/// A call that is held to a time limit.
struct Held {
    method: MethodRef,
    deadline: LazyDeadline,
    /// `None` once it is over.
    call: Option<Call>,
}

impl Future for Held {
    type Output = Result<Response, Status>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { method, deadline, call } = &mut *self;
        let limit = deadline.limit();
        let Some(running) = call else {
            return Poll::Ready(Err(Status::internal("a call was polled after its end")));
        };
        if let Poll::Ready(mut result) = deadline::within(Some(limit.at()), || running.as_mut().poll(cx)) {
            *call = None;
            if let Some(body) = result.as_mut().ok().and_then(Response::body_mut) {
                BodyStream::hold_to(body, method.clone(), Deadline::new(limit));
            }
            return Poll::Ready(result);
        }
        ready!(deadline.poll_exceeded(cx));
        // Drops the handler, unless it must finish.
        match call.take() {
            Some(call) if method.is_no_cancel() => finish(method, call),
            call => panics::discard(call),
        }
        Poll::Ready(Err(limit.status(method, "no answer within the time limit")))
    }
}

/// Runs a call that nobody waits for any more to its end, in a task of its own.
pub(crate) fn finish(method: &MethodRef, call: Call) {
    match Handle::try_current() {
        Ok(runtime) => drop(runtime.spawn(CatchUnwind::new(None, call))),
        Err(_) => {
            if let Err(error) = finish_in_thread(call) {
                tracing::error!(%method, "a call that must finish cannot: {error}");
            }
        }
    }
}

/// Keeps time outside a runtime: in a thread with a runtime of its own.
fn finish_in_thread(call: Call) -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let work = move || drop(runtime.block_on(CatchUnwind::new(None, call)));
    thread::Builder::new().name("muxado-rpc-call".to_owned()).spawn(work).map(drop)
}
