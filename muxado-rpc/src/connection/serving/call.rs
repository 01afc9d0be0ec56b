//! The serving side of one call: reads the request, runs the handler, sends the answer.

mod apart;
mod request_reader;
mod waiting;

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, Bytes};
use muxado::{Stream, TypedStream, rpc::StreamExt};
use pin_project::pin_project;
use tokio::{sync::OwnedSemaphorePermit, time::Instant};

use self::{
    apart::Apart,
    request_reader::{Received, RequestReader},
    waiting::WaitingResponse,
};
use crate::{
    CallService, Codec, MethodInfo, Request, Response, Router, ServiceId, Shape, Status,
    connection::{metrics::CallGuard, shared::ConnectionShared},
    message::{payload::OutboundMessage, status},
    support::{
        budget::{Exhausted, Reservation},
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
    permit: Option<OwnedSemaphorePermit>,
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
    Answering(WaitingResponse),
    /// What not every call needs, in a future of its own.
    Apart(Pin<Box<dyn Future<Output = ()> + Send>>),
    Done,
}

/// A call that has come: its stream, the first bytes on it, and the permit to serve it.
pub(crate) struct New {
    pub(crate) stream: TypedStream,
    pub(crate) first: Option<Bytes>,
    pub(crate) permit: Option<OwnedSemaphorePermit>,
}

/// What must be known of a request once it is with its handler.
#[derive(Clone, Copy)]
struct About {
    method: &'static MethodInfo,
    codec: Codec,
    deadline: Option<Instant>,
    timeout: Option<Duration>,
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
    pub(crate) fn take_permit(self: Pin<&mut Self>) -> Option<OwnedSemaphorePermit> {
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
        let New { stream, first, permit } = new;
        let id = ServiceId::new(stream.stream_type().as_u32());
        match self.guard.as_mut() {
            Some(guard) => guard.begin_again(),
            None => *self.guard = Some(CallGuard::begin(Arc::clone(shared))),
        }
        *self.stream = Some(stream.into_inner());
        *self.permit = permit;
        RequestReader::new(id, first, router, shared)
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
            Received::Request(request) => {
                if let Some(status) = self.refusal(&request) {
                    return self.answer(request.codec(), Err(status.not_executed()));
                }
                *self.reserved = reception.take_reserved();
                self.start(cx, request, reception);
            }
            Received::Refused(codec, status) => {
                if let Some(guard) = self.guard.as_ref() {
                    tracing::debug!(peer = %guard.shared().peer(), "call refused: {status}");
                }
                self.answer(codec, Err(status.not_executed()));
            }
            Received::Nothing => self.finish(),
        }
    }

    /// Returns why the call is not to begin, although its request is here.
    fn refusal(&self, request: &Request) -> Option<Status> {
        let shared = self.guard.as_ref()?.shared();
        let method = request.method();
        if let Some(exhausted) = shared.memory().refusal() {
            return Some(Status::resource_exhausted(format!("{method}: {exhausted}")));
        }
        let detached = shared.detached();
        (method.is_no_cancel() && detached.is_full()).then(|| {
            let limit = detached.limit();
            Status::resource_exhausted(format!(
                "{method}: handlers that must finish run on without their connections, as many as the serving side's \
                 limit of {limit} (Limits::max_detached_handlers)"
            ))
        })
    }

    /// Gives the request to the service.
    fn start(&mut self, cx: &mut Context<'_>, request: Request, reception: RequestReader) {
        let about = About::of(&request);
        if !about.is_plain() {
            return self.set_apart(about, request, reception);
        }
        let Some(service) = self.service.as_mut() else { return self.answer_panic(about, None) };
        let started = panics::catch_within(about.deadline, || match service.poll_ready(cx) {
            Poll::Ready(Ok(())) => Start::Running(service.call(request)),
            Poll::Ready(Err(error)) => Start::Refused(status::from_box_error(error.into())),
            Poll::Pending => Start::Busy(request),
        });
        match started {
            Ok(Start::Running(future)) => {
                let handler = CatchUnwind::new(about.deadline, future);
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
        if let Some(reserved) = self.reserved.as_ref()
            && let Poll::Ready(exhausted) = reserved.poll_evicted(cx, false)
        {
            drop(self.drop_handler(about));
            if let Some(guard) = self.guard.as_ref() {
                let status = about.evicted(guard.shared(), exhausted);
                self.answer(about.codec, Err(status));
            }
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
        let is_status = result.is_err();
        guard.answer(is_status);
        let answer = encode_response(codec, result, guard.shared().send_limits());
        // The handler is gone before its answer is sent.
        self.state.set(State::Done);
        *self.reserved = None;
        self.send(answer, codec, is_status);
    }

    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let StateProj::Answering(response) = self.state.as_mut().project()
            && let (Some(stream), Some(guard)) = (self.stream.as_mut(), self.guard.as_mut())
        {
            ready!(response.poll(cx, stream, guard));
        }
        self.finish();
        Poll::Ready(())
    }

    /// Sends an answer and gives its stream back; what there is no room for is sent later.
    fn send(&mut self, mut answer: OutboundMessage, codec: Codec, is_status: bool) {
        let whole = answer.remaining();
        match self.stream.take().map(|stream| stream.finish_with(&mut answer)) {
            Some(Ok(Some(stream))) => {
                *self.stream = Some(stream);
                if let Some(guard) = self.guard.as_mut() {
                    guard.take_back();
                    let waiting = WaitingResponse::new(guard.shared(), answer, whole, codec, is_status);
                    return self.state.set(State::Answering(waiting));
                }
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

    /// Returns what to say of a call whose memory others need.
    fn evicted(&self, shared: &ConnectionShared, exhausted: Exhausted) -> Status {
        let method = self.method;
        if let Some(line) = shared.log().admit() {
            let (peer, suppressed) = (shared.peer(), line.suppressed);
            tracing::warn!(%method, %peer, suppressed, "a call is ended: its request has {exhausted}");
        }
        Status::resource_exhausted(format!("{method}: its request has {exhausted}"))
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
