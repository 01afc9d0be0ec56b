//! The handler of one call at work, and the answer it makes.

use std::{
    future::{Future, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Duration,
};

use pin_project::pin_project;
use tokio::time::{Instant, sleep_until};

use crate::{
    CallService, Codec, Items, Metadata, MethodInfo, Request, Response, Status,
    items::{Sending, WriteHalf},
    link::Link,
    payload::Outgoing,
    response::Failure,
    status,
    wire::{encode_answer, push_metadata_message, push_output_end},
};

/// A call that is being served, and where its answer goes.
pub(super) struct Serving<'a> {
    link: &'a Link,
    method: &'static MethodInfo,
    codec: Codec,
    deadline: Option<Instant>,
    time_limit: Option<Duration>,
    out: WriteHalf,
}

impl<'a> Serving<'a> {
    pub(super) fn new(link: &'a Link, request: &Request, out: WriteHalf) -> Self {
        Self {
            link,
            method: request.method(),
            codec: request.codec(),
            deadline: request.deadline(),
            time_limit: request.timeout(),
            out,
        }
    }

    /// Runs the handler and sends what it answers.
    pub(super) async fn run<S: CallService>(mut self, service: S, request: Request) {
        let Some(mut result) = self.handle(service, request).await else { return };
        if let Ok(response) = &mut result
            && let Some((items, metadata)) = response.take_items()
        {
            // Boxed, so that unary calls need no room for it.
            return Box::pin(self.send_items(items, metadata)).await;
        }
        let mut answer = encode_answer(self.codec, result, self.link.limits());
        // A caller that has gone needs no answer.
        let _ = poll_fn(|cx| self.out.poll_write_final(cx, &mut answer)).await;
    }

    /// Runs the handler until it is done, the time limit passes, or the caller goes; `None` if it went.
    /// The handler is dropped when this returns.
    async fn handle<S: CallService>(
        &mut self,
        mut service: S,
        request: Request,
    ) -> Option<Result<Response, Status>> {
        let mut timer = pin!(self.deadline.map(sleep_until));
        let mut handler = pin!(Contained::new(async move {
            poll_fn(|cx| service.poll_ready(cx)).await?;
            service.call(request).await
        }));
        poll_fn(|cx| {
            if let Poll::Ready(ended) = handler.as_mut().poll(cx) {
                return Poll::Ready(Some(match ended {
                    Ok(result) => result.map_err(|error: S::Error| status::from_box_error(error.into())),
                    Err(Panicked) => Err(self.panicked()),
                }));
            }
            self.poll_interrupted(cx, timer.as_mut()).map(|status| Some(Err(status?)))
        })
        .await
    }

    /// Sends items until their end, the time limit, or until the caller goes.
    async fn send_items(mut self, items: Items, metadata: Metadata) {
        let limits = self.link.limits();
        let mut first = Vec::new();
        if !metadata.is_empty() {
            push_metadata_message(self.codec, &metadata, &mut first);
        }
        let mut timer = pin!(self.deadline.map(sleep_until));
        let mut sending = Sending::new(self.method, items, limits.max_message_size, Outgoing::new(first));
        let ended = poll_fn(|cx| {
            let polled = catch_unwind(AssertUnwindSafe(|| sending.poll(cx, &mut self.out)));
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
    #[pin]
    future: F,
}

struct Panicked;

impl<F> Contained<F> {
    const fn new(future: F) -> Self {
        Self { future }
    }
}

impl<F: Future> Future for Contained<F> {
    type Output = Result<F::Output, Panicked>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let future = self.project().future;
        // After a panic the future is only dropped, so nobody sees what it left half done.
        match catch_unwind(AssertUnwindSafe(|| future.poll(cx))) {
            Ok(polled) => polled.map(Ok),
            Err(_) => Poll::Ready(Err(Panicked)),
        }
    }
}
