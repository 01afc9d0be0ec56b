//! The handler of one call at work, and the answer it makes.

use std::{
    future::{Future, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use pin_project::pin_project;
use tokio::time::{Instant, sleep_until};

use crate::{
    BoxError, CallService, Codec, Items, Metadata, MethodInfo, Request, Response, Status, deadline,
    items::{Sending, WriteHalf},
    link::Link,
    payload::Outgoing,
    response::Failure,
    scope::Scope,
    status,
    wire::{check_metadata, encode_answer, push_metadata_message, push_output_end},
};

/// A call that is being served, and where its answer goes.
pub(super) struct Serving<'a> {
    link: &'a Link,
    method: &'static MethodInfo,
    codec: Codec,
    deadline: Option<Instant>,
    time_limit: Option<Duration>,
    scope: Ending,
    out: WriteHalf,
}

/// Ends what belongs to a call, however the call ends.
struct Ending(Option<Arc<Scope>>);

impl Drop for Ending {
    fn drop(&mut self) {
        if let Some(scope) = &self.0 {
            scope.end();
        }
    }
}

impl<'a> Serving<'a> {
    pub(super) fn new(link: &'a Link, request: &Request, out: WriteHalf) -> Self {
        Self {
            link,
            method: request.method(),
            codec: request.codec(),
            deadline: request.deadline(),
            time_limit: request.timeout(),
            scope: Ending(request.arrival_scope()),
            out,
        }
    }

    /// Runs the handler and sends what it answers. Done when nothing of the call is left.
    pub(super) async fn run<S: CallService>(mut self, service: S, request: Request) {
        if self.method.is_no_cancel() {
            // Boxed, so that other calls need no room for it.
            Box::pin(self.run_to_the_end(service, request)).await;
        } else if let Some(result) = self.handle(service, request).await {
            self.answer(result).await;
        }
        if let Some(scope) = self.scope.0.take() {
            scope.end();
            scope.wait().await;
        }
    }

    async fn answer(&mut self, mut result: Result<Response, Status>) {
        if let Ok(response) = &mut result
            && let Some((items, metadata)) = response.take_items()
        {
            return Box::pin(self.send_items(items, metadata)).await;
        }
        let mut answer = encode_answer(self.codec, result, self.link.limits());
        // A caller that has gone needs no answer.
        let _ = poll_fn(|cx| self.out.poll_write_final(cx, &mut answer)).await;
    }

    /// Runs the handler until it is done. A caller that still waits is told when its time limit passes.
    async fn run_to_the_end<S: CallService>(&mut self, mut service: S, request: Request) {
        let deadline = self.deadline;
        let mut timer = pin!(deadline.map(sleep_until));
        let mut handler = pin!(Contained::new(deadline, async move {
            poll_fn(|cx| service.poll_ready(cx)).await?;
            service.call(request).await
        }));
        let mut caller_waits = true;
        loop {
            let ended = poll_fn(|cx| {
                if let Poll::Ready(ended) = handler.as_mut().poll(cx) {
                    return Poll::Ready(Ok(self.result_of(ended)));
                }
                if !caller_waits {
                    return Poll::Pending;
                }
                self.poll_interrupted(cx, timer.as_mut()).map(Err)
            })
            .await;
            match ended {
                Ok(result) => {
                    if caller_waits {
                        self.answer(result).await;
                    }
                    return;
                }
                Err(status) => {
                    caller_waits = false;
                    if let Some(scope) = &self.scope.0 {
                        scope.caller_gone();
                    }
                    if let Some(status) = status {
                        self.answer(Err(status)).await;
                    }
                }
            }
        }
    }

    fn result_of<E: Into<BoxError>>(
        &self,
        ended: Result<Result<Response, E>, Panicked>,
    ) -> Result<Response, Status> {
        match ended {
            Ok(result) => result.map_err(|error| status::from_box_error(error.into())),
            Err(Panicked) => Err(self.panicked()),
        }
    }

    /// Runs the handler until it is done, the time limit passes, or the caller goes; `None` if it went.
    /// The handler is dropped when this returns.
    async fn handle<S: CallService>(
        &mut self,
        mut service: S,
        request: Request,
    ) -> Option<Result<Response, Status>> {
        let deadline = self.deadline;
        let mut timer = pin!(deadline.map(sleep_until));
        let mut handler = pin!(Contained::new(deadline, async move {
            poll_fn(|cx| service.poll_ready(cx)).await?;
            service.call(request).await
        }));
        poll_fn(|cx| {
            if let Poll::Ready(ended) = handler.as_mut().poll(cx) {
                return Poll::Ready(Some(self.result_of(ended)));
            }
            self.poll_interrupted(cx, timer.as_mut()).map(|status| Some(Err(status?)))
        })
        .await
    }

    /// Sends items until their end, the time limit, or until the caller goes.
    async fn send_items(&mut self, items: Items, metadata: Metadata) {
        let limits = self.link.limits();
        if let Err(problem) = check_metadata(&metadata, limits) {
            let status = Status::internal(format!("{}: the items have {problem}", self.method));
            let mut answer = encode_answer(self.codec, Err(status), limits);
            let _ = poll_fn(|cx| self.out.poll_write_final(cx, &mut answer)).await;
            return;
        }
        let mut first = Vec::new();
        if !metadata.is_empty() {
            push_metadata_message(self.codec, &metadata, &mut first);
        }
        let mut timer = pin!(self.deadline.map(sleep_until));
        let mut sending = Sending::new(self.method, items, limits.max_message_size, Outgoing::new(first));
        let ended = poll_fn(|cx| {
            let poll = || deadline::within(self.deadline, || sending.poll(cx, &mut self.out));
            let polled = catch_unwind(AssertUnwindSafe(poll));
            match polled {
                Ok(Poll::Ready(Ok(end))) => return Poll::Ready(Some(end)),
                // The caller has gone.
                Ok(Poll::Ready(Err(_))) => return Poll::Ready(None),
                Ok(Poll::Pending) => {}
                Err(_) => return Poll::Ready(Some(failed(self.panicked()))),
            }
            self.poll_interrupted(cx, timer.as_mut()).map(|status| Some(failed(status?)))
        })
        .await;
        let Some((mut result, trailer)) = ended else { return };
        if let Err(Failure::Panic(_)) = result {
            result = Err(Failure::Status(self.panicked()));
        }
        let mut buf = sending.into_buf();
        push_output_end(self.codec, result, trailer, limits, &mut buf);
        let mut last = Outgoing::new(buf);
        let _ = poll_fn(|cx| self.out.poll_write_final(cx, &mut last)).await;
    }

    /// Ready when there is no use in going on: with what to tell the caller, or `None` if it has gone.
    fn poll_interrupted(
        &mut self,
        cx: &mut Context<'_>,
        timer: Pin<&mut Option<tokio::time::Sleep>>,
    ) -> Poll<Option<Status>> {
        if self.out.poll_reset(cx).is_ready() {
            tracing::debug!(method = %self.method, peer = %self.link.peer(), "call cancelled by the caller");
            return Poll::Ready(None);
        }
        match timer.as_pin_mut() {
            Some(timer) => timer.poll(cx).map(|()| Some(self.too_late())),
            None => Poll::Pending,
        }
    }

    fn panicked(&self) -> Status {
        let method = self.method;
        tracing::error!(%method, peer = %self.link.peer(), "a handler panicked");
        Status::internal(format!("{method}: the handler panicked"))
    }

    fn too_late(&self) -> Status {
        let (method, limit) = (self.method, self.time_limit.unwrap_or_default());
        Status::deadline_exceeded(format!("{method}: not done within the caller's time limit of {limit:?}"))
    }
}

fn failed(status: Status) -> (Result<(), Failure>, Metadata) {
    (Err(Failure::Status(status)), Metadata::new())
}

/// A future whose panic is a value.
#[pin_project]
struct Contained<F> {
    /// What calls of its inherit.
    deadline: Option<Instant>,
    #[pin]
    future: F,
}

struct Panicked;

impl<F> Contained<F> {
    const fn new(deadline: Option<Instant>, future: F) -> Self {
        Self { deadline, future }
    }
}

impl<F: Future> Future for Contained<F> {
    type Output = Result<F::Output, Panicked>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let poll = || deadline::within(*this.deadline, || this.future.poll(cx));
        // After a panic the future is only dropped, so nobody sees what it left half done.
        match catch_unwind(AssertUnwindSafe(poll)) {
            Ok(polled) => polled.map(Ok),
            Err(_) => Poll::Ready(Err(Panicked)),
        }
    }
}
