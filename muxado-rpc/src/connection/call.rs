//! The serving side of one call: reads the request, runs the handler, sends the answer.

mod apart;
mod contained;
mod receive;

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use muxado::{Stream, TypedStream};
use pin_project::pin_project;
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Instant, Sleep, sleep_until},
};

use self::{
    apart::Apart,
    contained::{Contained, Panicked, contain, message_of},
    receive::{Received, Reception},
};
use crate::{
    CallService, Codec, MethodInfo, Request, Response, Router, ServiceId, Shape, Status, budget::Reservation,
    link::Link, payload::Outgoing, status, tally::Counted, wire::encode_answer,
};

/// One call of the peer's. Dropping it drops the handler and resets the stream. The permit is given
/// back last.
///
/// ```text
/// Receiving ──▶ Handling ──▶ Answering ──▶ Done
///     ├────────────────────────▲            ▲
///     └──────▶ Apart (items, contexts, ..) ─┘
/// ```
#[pin_project(project = ServeProj)]
pub(super) struct Serve<S: CallService> {
    #[pin]
    state: State<S::Future>,
    service: S,
    stream: Option<Stream>,
    counted: Option<Counted>,
    /// The memory of a request that was buffered, until its handler is gone.
    reserved: Option<Reservation>,
    permit: Option<OwnedSemaphorePermit>,
}

#[pin_project(project = StateProj)]
enum State<F> {
    Receiving(Reception),
    /// The handler of a plain call runs.
    Handling {
        #[pin]
        handler: Contained<F>,
        about: About,
        timer: Option<Pin<Box<Sleep>>>,
    },
    Answering(Outgoing),
    /// What not every call needs, in a future of its own.
    Apart(Pin<Box<dyn Future<Output = ()> + Send>>),
    Done,
}

/// What must be known of a request once it is with its handler.
#[derive(Clone, Copy)]
struct About {
    method: &'static MethodInfo,
    codec: Codec,
    deadline: Option<Instant>,
    timeout: Option<Duration>,
}

impl<S: CallService> Serve<S> {
    pub(super) fn new(
        link: &Arc<Link>,
        router: &Router,
        service: S,
        stream: TypedStream,
        permit: Option<OwnedSemaphorePermit>,
    ) -> Self {
        let id = ServiceId::new(stream.stream_type().as_u32());
        Self {
            state: State::Receiving(Reception::new(id, router, link)),
            service,
            stream: Some(stream.into_inner()),
            counted: Some(Counted::begin(Arc::clone(link))),
            reserved: None,
            permit,
        }
    }

    /// The permit of a call that is done.
    pub(super) fn take_permit(self: Pin<&mut Self>) -> Option<OwnedSemaphorePermit> {
        self.project().permit.take()
    }
}

impl<S: CallService> Future for Serve<S> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let mut this = self.as_mut().project();
            match this.state.as_mut().project() {
                StateProj::Receiving(_) => ready!(this.poll_receive(cx)),
                StateProj::Handling { .. } => ready!(this.poll_handle(cx)),
                StateProj::Answering(_) => ready!(this.poll_answer(cx)),
                StateProj::Apart(apart) => {
                    ready!(apart.as_mut().poll(cx));
                    this.finish();
                }
                StateProj::Done => return Poll::Ready(()),
            }
        }
    }
}

impl<S: CallService> ServeProj<'_, S> {
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let StateProj::Receiving(reception) = self.state.as_mut().project()
            && let (Some(stream), Some(counted)) = (self.stream.as_mut(), self.counted.as_ref())
        {
            match ready!(reception.poll_request(cx, stream, counted.link())) {
                Received::Request(request) => {
                    *self.reserved = reception.take_reserved();
                    self.begin(cx, request);
                }
                Received::Refused(codec, status) => {
                    tracing::debug!(peer = %counted.link().peer(), "call refused: {status}");
                    self.answer(codec, Err(status.not_executed()));
                }
                Received::Nothing => self.finish(),
            }
        }
        Poll::Ready(())
    }

    /// Gives the request to the service.
    fn begin(&mut self, cx: &mut Context<'_>, request: Request) {
        let about = About::of(&request);
        let service = &mut *self.service;
        let is_plain = about.is_plain();
        let ready =
            if is_plain { contain(about.deadline, || service.poll_ready(cx)) } else { Ok(Poll::Pending) };
        let started = match ready {
            Ok(Poll::Ready(Ok(()))) => contain(about.deadline, || service.call(request)),
            Ok(Poll::Pending) => return self.set_apart(about, request),
            Ok(Poll::Ready(Err(error))) => {
                let status = status::from_box_error(error.into());
                return self.answer(about.codec, Err(status.not_executed()));
            }
            Err(panic) => Err(panic),
        };
        match started {
            Ok(future) => {
                let handler = Contained::new(about.deadline, future);
                self.state.set(State::Handling { handler, about, timer: None });
            }
            Err(panic) => self.answer_panic(about, &panic),
        }
    }

    fn set_apart(&mut self, about: About, request: Request) {
        let state = self.state.as_mut().project();
        let (Some(stream), Some(counted)) = (self.stream.take(), self.counted.take()) else { return };
        let StateProj::Receiving(reception) = state else { return };
        let apart = Apart::new(about, counted, stream, reception.take_reader(), self.permit.take());
        let apart = apart.keeping(self.reserved.take());
        let apart = Box::pin(apart.run(self.service.clone(), request));
        self.state.set(State::Apart(apart));
    }

    /// Runs the handler until it is done, the time limit passes, or the caller goes.
    fn poll_handle(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let StateProj::Handling { handler, about, timer } = self.state.as_mut().project() else {
            return Poll::Ready(());
        };
        let about = *about;
        if let Poll::Ready(ended) = handler.poll(cx) {
            match ended {
                Ok(result) => {
                    self.answer(about.codec, result.map_err(|error| status::from_box_error(error.into())));
                }
                Err(panic) => self.answer_panic(about, &panic),
            }
            return Poll::Ready(());
        }
        if self.stream.as_mut().is_none_or(|stream| stream.poll_reset(cx).is_ready()) {
            if let Some(counted) = self.counted.as_ref() {
                let (method, peer) = (about.method, counted.link().peer());
                tracing::debug!(%method, %peer, "call cancelled by the caller");
            }
            self.finish();
            return Poll::Ready(());
        }
        let Some(deadline) = about.deadline else { return Poll::Pending };
        let timer = timer.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        ready!(timer.as_mut().poll(cx));
        self.answer(about.codec, Err(about.too_late()));
        Poll::Ready(())
    }

    fn answer_panic(&mut self, about: About, panic: &Panicked) {
        if let Some(counted) = self.counted.as_ref() {
            let status = about.panicked(counted.link(), panic);
            self.answer(about.codec, Err(status));
        }
    }

    /// Drops the handler and has the answer sent.
    fn answer(&mut self, codec: Codec, result: Result<Response, Status>) {
        let Some(counted) = self.counted.as_mut() else { return };
        counted.answer(result.is_err());
        let answer = encode_answer(codec, result, counted.link().send_limits());
        self.state.set(State::Answering(answer));
        *self.reserved = None;
    }

    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let StateProj::Answering(answer) = self.state.as_mut().project()
            && let (Some(stream), Some(counted)) = (self.stream.as_mut(), self.counted.as_mut())
            && ready!(stream.poll_write_final(cx, answer)).is_err()
        {
            // A caller that has gone needs no answer.
            counted.take_back();
        }
        self.finish();
        Poll::Ready(())
    }

    /// The call is over: nothing of it is left but the permit.
    fn finish(&mut self) {
        self.state.set(State::Done);
        *self.reserved = None;
        *self.stream = None;
        *self.counted = None;
    }
}

impl About {
    fn of(request: &Request) -> Self {
        Self {
            method: request.method(),
            codec: request.codec(),
            deadline: request.deadline(),
            timeout: request.timeout(),
        }
    }

    /// Whether there is nothing to do but to run the handler and to answer.
    fn is_plain(&self) -> bool {
        let method = self.method;
        method.shape() == Shape::Unary && !method.is_no_cancel() && !method.takes_context()
    }

    fn too_late(&self) -> Status {
        let (method, limit) = (self.method, self.timeout.unwrap_or_default());
        Status::deadline_exceeded(format!("{method}: not done within the caller's time limit of {limit:?}"))
    }

    fn panicked(&self, link: &Link, panic: &Panicked) -> Status {
        let method = self.method;
        tracing::error!(%method, peer = %link.peer(), "a handler panicked");
        link.tally().note_panic();
        match message_of(panic) {
            // What it says is not meant for others, unless the application says so.
            Some(message) if link.panic_messages() => {
                Status::internal(format!("{method}: the handler panicked: {message}"))
            }
            _ => Status::internal(format!("{method}: the handler panicked")),
        }
    }

    fn result_of(
        &self,
        link: &Link,
        ended: Result<Result<Response, Status>, Panicked>,
    ) -> Result<Response, Status> {
        ended.unwrap_or_else(|panic| Err(self.panicked(link, &panic)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_served_call_takes_little_room() {
        // Thousands of calls may wait at a time.
        let (size, bound) = (size_of::<Serve<Router>>(), 352);
        assert!(size <= bound, "Serve: {size} bytes measured, the bound is {bound}");
    }
}
