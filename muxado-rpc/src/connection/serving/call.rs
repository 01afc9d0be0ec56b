//! The serving side of one call: reads the request, runs the handler, sends the answer.

mod apart;
mod request_reader;

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use muxado::{Stream, TypedStream};
use pin_project::pin_project;
use tokio::time::Instant;

use self::{
    apart::Apart,
    request_reader::{Received, RequestReader},
};
use crate::{
    CallService, Codec, MethodInfo, Request, Response, Router, ServiceId, Shape, Status,
    connection::{
        metrics::CallGuard,
        serving::rooms::{Class, Permit},
        shared::ConnectionShared,
    },
    message::{payload::OutboundMessage, status},
    support::{
        budget::Reservation,
        depth::Depth,
        panics::{self, CatchDrop, CatchUnwind, Panic},
        timer::Timer,
    },
    wire::encode_response,
};

/// One call of the peer's, or the place for the next. Dropping it drops the handler and resets the stream.
/// The permit is given back last.
///
/// ```text
/// Done ──▶ Receiving ──▶ Handling ──▶ Answering ──▶ Done
///   │        ├────────────────────────▲            ▲
///   │        └──────▶ Apart (items, contexts, ..) ─┘
///   └──▶ as from Receiving, if the request is here already
/// ```
#[pin_project(project = ServerCallProj)]
pub(crate) struct ServerCall<S: CallService> {
    #[pin]
    state: State<S::Future>,
    /// None, if it could not be cloned.
    service: CatchDrop<S>,
    stream: Option<Stream>,
    guard: Option<CallGuard>,
    /// The memory of a request that was buffered, until its handler is gone.
    reserved: Option<Reservation>,
    permit: Option<Permit>,
    /// A panic went through the service.
    panicked: bool,
}

#[pin_project(project = StateProj, project_replace = StateOwned)]
enum State<F> {
    Receiving(RequestReader),
    /// The handler of a plain call runs.
    Handling {
        #[pin]
        handler: CatchUnwind<F>,
        about: About,
        timer: Option<Pin<Box<Timer>>>,
    },
    Answering(OutboundMessage),
    /// What not every call needs, in a future of its own.
    Apart(Pin<Box<dyn Future<Output = ()> + Send>>),
    Done,
}

/// A call that has come: its stream, the first bytes on it, and the permit to serve it.
pub(crate) struct New {
    pub(crate) stream: TypedStream,
    pub(crate) first: Option<Bytes>,
    pub(crate) permit: Option<Permit>,
    /// When its first frame was read.
    pub(crate) arrived: Instant,
}

/// What must be known of a request once it is with its handler.
#[derive(Clone, Copy)]
struct About {
    method: &'static MethodInfo,
    codec: Codec,
    deadline: Option<Instant>,
    timeout: Option<Duration>,
    depth: Depth,
}

impl<S: CallService> ServerCall<S> {
    /// A place for calls, one after the other.
    pub(crate) fn new(service: CatchDrop<S>) -> Self {
        Self {
            state: State::Done,
            service,
            stream: None,
            guard: None,
            reserved: None,
            permit: None,
            panicked: false,
        }
    }

    /// Takes up a call. It is not looked at before the first poll.
    pub(crate) fn take_up(self: Pin<&mut Self>, shared: &Arc<ConnectionShared>, router: &Router, new: New) {
        let mut this = self.project();
        let reception = this.begin(shared, router, new);
        this.state.set(State::Receiving(reception));
    }

    /// Takes up a call and polls it.
    pub(crate) fn poll_new(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        shared: &Arc<ConnectionShared>,
        router: &Router,
        new: New,
    ) -> Poll<()> {
        let mut this = self.as_mut().project();
        let mut reception = this.begin(shared, router, new);
        if let Some(stream) = this.stream.as_mut()
            && let Poll::Ready(received) = reception.poll_request(cx, stream, shared)
        {
            this.received(cx, received, reception);
            return self.poll(cx);
        }
        this.state.set(State::Receiving(reception));
        Poll::Pending
    }

    /// The permit of a call that is done.
    pub(crate) fn take_permit(self: Pin<&mut Self>) -> Option<Permit> {
        self.project().permit.take()
    }

    /// Whether another call may be served here, once this one is done: by a service that saw no panic.
    pub(crate) const fn may_serve_again(&self) -> bool {
        !self.panicked
    }
}

impl<S: CallService> Future for ServerCall<S> {
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

impl<S: CallService> ServerCallProj<'_, S> {
    fn begin(&mut self, shared: &Arc<ConnectionShared>, router: &Router, new: New) -> RequestReader {
        let New { stream, first, permit, arrived } = new;
        let id = ServiceId::new(stream.stream_type().as_u32());
        match self.guard.as_mut() {
            Some(guard) => guard.begin_again(),
            None => *self.guard = Some(CallGuard::begin(Arc::clone(shared))),
        }
        *self.stream = Some(stream.into_inner());
        *self.permit = permit;
        RequestReader::new(id, first, arrived, router, shared)
    }

    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let StateProj::Receiving(reception) = self.state.as_mut().project()
            && let (Some(stream), Some(guard)) = (self.stream.as_mut(), self.guard.as_ref())
        {
            let received = ready!(reception.poll_request(cx, stream, guard.shared()));
            if let StateOwned::Receiving(reception) = self.state.as_mut().project_replace(State::Done) {
                self.received(cx, received, reception);
            }
        }
        Poll::Ready(())
    }

    fn received(&mut self, cx: &mut Context<'_>, received: Received, mut reception: RequestReader) {
        match received {
            Received::Request(request) => match self.find_room(&request) {
                Ok(()) => {
                    *self.reserved = reception.take_reserved();
                    self.start(cx, request, reception);
                }
                Err(status) => self.answer(request.codec(), Err(status.not_executed())),
            },
            Received::Refused(codec, status) => {
                if let Some(guard) = self.guard.as_ref() {
                    tracing::debug!(peer = %guard.shared().peer(), "call refused: {status}");
                }
                self.answer(codec, Err(status.not_executed()));
            }
            Received::Nothing => self.finish(),
        }
    }

    /// A call whose beginning did not tell that it streams needs a place among those that do.
    fn find_room(&mut self, request: &Request) -> Result<(), Status> {
        let method = request.method();
        if method.shape() == Shape::Unary {
            return Ok(());
        }
        let Some(permit) = self.permit.as_mut().filter(|permit| !permit.class().streams) else {
            return Ok(());
        };
        if permit.turn_into_streaming() {
            return Ok(());
        }
        let class = Class { streams: true, ..permit.class() };
        let room = self.guard.as_ref().map(|guard| class.describe_limit(guard.shared().limits()));
        let room = room.unwrap_or_default();
        Err(Status::resource_exhausted(format!("{method}: no room beside {room}")))
    }

    /// Gives the request to the service.
    fn start(&mut self, cx: &mut Context<'_>, request: Request, reception: RequestReader) {
        let about = About::of(&request);
        if !about.is_plain() {
            return self.set_apart(about, request, reception);
        }
        let Some(service) = self.service.as_mut() else { return self.answer_panic(about, None) };
        let depth = about.depth.next();
        let begin = || match service.poll_ready(cx) {
            Poll::Ready(Ok(())) => Start::Running(service.call(request)),
            Poll::Ready(Err(error)) => Start::Refused(status::from_box_error(error.into())),
            Poll::Pending => Start::Busy(request),
        };
        let started = panics::catch_within(about.deadline, || depth.within(begin));
        match started {
            Ok(Start::Running(future)) => {
                let handler = CatchUnwind::new(about.deadline, future).at_depth(depth);
                self.state.set(State::Handling { handler, about, timer: None });
            }
            Ok(Start::Refused(status)) => self.answer(about.codec, Err(status.not_executed())),
            Ok(Start::Busy(request)) => self.set_apart(about, request, reception),
            Err(panic) => self.answer_panic(about, Some(&panic)),
        }
    }

    fn set_apart(&mut self, about: About, request: Request, mut reception: RequestReader) {
        // A service that is not ready has a place in a queue: it is the one to be asked again.
        let fresh = self.service.clone();
        let Some(service) = std::mem::replace(&mut *self.service, fresh).take() else {
            return self.answer_panic(about, None);
        };
        let (Some(stream), Some(guard)) = (self.stream.take(), self.guard.take()) else { return };
        let reader = reception.take_reader(guard.shared());
        let apart = Apart::new(about, guard, stream, reader, self.permit.take());
        let apart = apart.keeping(self.reserved.take());
        let apart = Box::pin(apart.run(service, request));
        self.state.set(State::Apart(apart));
    }

    /// Runs the handler until it is done, the time limit passes, or the caller goes.
    fn poll_handle(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let StateProj::Handling { mut handler, about, timer } = self.state.as_mut().project() else {
            return Poll::Ready(());
        };
        let about = *about;
        if let Poll::Ready(ended) = handler.as_mut().poll(cx) {
            match ended {
                Ok(result) => self.answer_handled(about, result),
                Err(panic) => self.answer_panic(about, Some(&panic)),
            }
            return Poll::Ready(());
        }
        if self.stream.as_mut().is_none_or(|stream| stream.poll_reset(cx).is_ready()) {
            if let Some(guard) = self.guard.as_ref() {
                let (method, peer) = (about.method, guard.shared().peer());
                tracing::debug!(%method, %peer, "call cancelled by the caller");
            }
            drop(self.drop_handler(about));
            self.finish();
            return Poll::Ready(());
        }
        let Some(deadline) = about.deadline else { return Poll::Pending };
        let timer = timer.get_or_insert_with(|| Box::pin(Timer::default()));
        ready!(timer.as_mut().poll(cx, deadline));
        drop(self.drop_handler(about));
        self.answer(about.codec, Err(about.too_late()));
        Poll::Ready(())
    }

    /// Answers as the handler did, which is dropped before.
    fn answer_handled(&mut self, about: About, result: Result<Response, S::Error>) {
        let result = match result {
            Ok(response) => Ok(response),
            Err(error) => match panics::catch(|| status::from_box_error(error.into())) {
                Ok(status) => Err(status),
                Err(panic) => return self.answer_panic(about, Some(&panic)),
            },
        };
        let dropped = self.drop_handler(about);
        self.answer(about.codec, after_drop(result, dropped));
    }

    /// Drops the handler. A panic of its destructors is one of the handler, with this status.
    fn drop_handler(&mut self, about: About) -> Result<(), Status> {
        let dropped = match self.state.as_mut().project() {
            StateProj::Handling { handler, .. } => handler.clear(),
            _ => Ok(()),
        };
        let (Err(panic), Some(guard)) = (dropped, self.guard.as_ref()) else { return Ok(()) };
        *self.panicked = true;
        Err(about.panicked(guard.shared(), Some(&panic)))
    }

    fn answer_panic(&mut self, about: About, panic: Option<&Panic>) {
        *self.panicked = true;
        if let Some(guard) = self.guard.as_ref() {
            let status = about.panicked(guard.shared(), panic);
            self.answer(about.codec, Err(status));
        }
    }

    /// Drops the handler and has the answer sent.
    fn answer(&mut self, codec: Codec, result: Result<Response, Status>) {
        let Some(guard) = self.guard.as_mut() else { return };
        guard.answer(result.is_err());
        let answer = encode_response(codec, result, guard.shared().send_limits());
        // The handler is gone before its answer is sent.
        self.state.set(State::Done);
        *self.reserved = None;
        self.send(answer);
    }

    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let StateProj::Answering(answer) = self.state.as_mut().project()
            && let (Some(stream), Some(guard)) = (self.stream.as_mut(), self.guard.as_mut())
            && ready!(stream.poll_write_final(cx, answer)).is_err()
        {
            // A caller that has gone needs no answer.
            guard.take_back();
        }
        self.finish();
        Poll::Ready(())
    }

    /// Sends an answer and gives its stream back; what there is no room for is sent later.
    fn send(&mut self, mut answer: OutboundMessage) {
        match self.stream.take().map(|stream| stream.finish_with(&mut answer)) {
            Some(Ok(Some(stream))) => {
                *self.stream = Some(stream);
                return self.state.set(State::Answering(answer));
            }
            Some(Err(_)) => {
                if let Some(guard) = self.guard.as_mut() {
                    guard.take_back();
                }
            }
            Some(Ok(None)) => answer.recycle(),
            None => {}
        }
        self.finish();
    }

    /// The call is over: nothing of it is left but the permit, and the counter for the next.
    fn finish(&mut self) {
        self.state.set(State::Done);
        *self.reserved = None;
        *self.stream = None;
        self.guard.take_if(|guard| !guard.is_answered());
    }
}

/// What a service made of a request.
enum Start<F> {
    Running(F),
    Refused(Status),
    /// It is not ready.
    Busy(Request),
}

impl About {
    fn of(request: &Request) -> Self {
        Self {
            method: request.method(),
            codec: request.codec(),
            deadline: request.deadline(),
            timeout: request.timeout(),
            depth: request.depth(),
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

    /// What to say of a panic, of which something may be left. It is counted here.
    fn panicked(&self, shared: &ConnectionShared, panic: Option<&Panic>) -> Status {
        let method = self.method;
        if let Some(line) = shared.log().admit() {
            tracing::error!(%method, peer = %shared.peer(), suppressed = line.suppressed, "a handler panicked");
        }
        shared.metrics().note_panic();
        match panic.and_then(Panic::message) {
            // What it says is not meant for others, unless the application says so.
            Some(message) if shared.panic_messages() => {
                Status::internal(format!("{method}: the handler panicked: {message}"))
            }
            _ => Status::internal(format!("{method}: the handler panicked")),
        }
    }

    fn result_of(
        &self,
        shared: &ConnectionShared,
        ended: Result<Result<Response, Status>, Panic>,
    ) -> Result<Response, Status> {
        ended.unwrap_or_else(|panic| Err(self.panicked(shared, Some(&panic))))
    }
}

/// What a call comes to whose handler came to this, and then was dropped: a panic of a destructor takes the place of
/// an answer, not that of a failure.
fn after_drop(result: Result<Response, Status>, dropped: Result<(), Status>) -> Result<Response, Status> {
    result.and_then(|response| dropped.map(|()| response))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_served_call_takes_little_room() {
        // Thousands of calls may wait at a time.
        let (size, bound) = (size_of::<ServerCall<Router>>(), 352);
        assert!(size <= bound, "ServerCall: {size} bytes measured, the bound is {bound}");
    }
}
