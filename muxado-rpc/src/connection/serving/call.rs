//! The serving side of one call: reads the request, runs the handler, sends the response.

mod orphan;
mod request_reader;
mod waiting;

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use muxado::TypedStream;
use pin_project::pin_project;
use tokio::time::Instant;

use self::{
    orphan::Orphan,
    request_reader::{Chunks, Reading, RequestReader},
    waiting::{WaitingResponse, give_up, note_thrown_away},
};
use crate::{
    Body, CallService, Codec, Metadata, MethodInfo, Request, Response, Router, ServiceId, Shape, Status,
    connection::{
        metrics::CallGuard,
        serving::rooms::{Class, Permit},
        shared::ConnectionShared,
    },
    message::{method_ref::MethodAnd, payload::OutboundMessage, response::Failure, scope::Scope, status},
    stream::{
        body::{BodyStream, ReceivedBody},
        deadline::{StreamDeadline, TimeLimit},
        half::{ReadHalf, WriteHalf},
        writer::{BodyWriter, End},
    },
    support::{
        budget::{Exhausted, Purpose, Reservation},
        depth::Depth,
        panics::{self, CatchDrop, CatchUnwind, Panic},
    },
    wire::{check_metadata, encode_response, push_metadata_message, push_output_end},
};

/// One call of the peer's, or the place for the next. Dropping it drops the handler and resets the stream.
/// The permit is given back last.
///
/// ```text
/// Done ──▶ Receiving ─┬─────────▶ Starting ──▶ Handling ──▶ Streaming ──▶ Responding ──▶ Closing ──▶ Done
///              │      └ Received ──┘ │           └──────────────────────▲  ▲ ▲            ▲
///              └─────────────────────┴────────────────────────────────────┘ └─ interrupted ┘
/// ```
///
/// In each state that waits, what it waits for is polled first. After that [`poll_interrupted`] says whether there
/// is any use in going on: whether the caller is still there, and its time is not over. This covers the call until
/// the last byte of its response is on its way.
///
/// [`poll_interrupted`]: ServerCallProj::poll_interrupted
#[pin_project(project = ServerCallProj)]
pub(crate) struct ServerCall<S: CallService> {
    #[pin]
    state: State<S::Future>,
    /// None, if it could not be cloned.
    service: CatchDrop<S>,
    /// Where the response goes; `None` when the caller waits for none any more.
    out: Option<WriteHalf>,
    deadline: Option<StreamDeadline>,
    guard: Option<CallGuard>,
    scope: EndScope,
    /// The memory of a request that was buffered, until its handler is gone.
    reserved: Option<Reservation>,
    /// A handler that must finish runs without its caller.
    orphan: Option<Box<Orphan>>,
    permit: Held,
    /// The service must not be called again: it panicked, or has a place in a queue.
    is_spent: bool,
}

#[pin_project(project = StateProj, project_replace = StateOwned)]
enum State<F> {
    /// Reading the request.
    Receiving(RequestReader),
    /// The request is here; its handler is begun by the task of the call.
    Received(Request),
    /// Waiting until the service is ready.
    Starting(Box<Option<Request>>),
    /// Running the handler. If it must finish, it runs on after its caller has gone.
    Handling {
        #[pin]
        handler: CatchUnwind<F>,
        about: About,
    },
    /// Writing the items of the response.
    Streaming {
        writer: Box<BodyWriter>,
        about: About,
        /// The memory of the items that wait.
        held: Reservation,
    },
    /// Writing the response, or the end of its items.
    Responding(WaitingResponse),
    /// Waiting for the tasks of the call.
    Closing(Pin<Box<dyn Future<Output = ()> + Send>>),
    Done,
}

/// A call that has come: its stream, the first bytes on it, and the permit to serve it, unless its place has one.
pub(crate) struct New {
    pub(crate) stream: TypedStream,
    pub(crate) first: Option<Bytes>,
    pub(crate) permit: Option<Permit>,
    /// When its first frame was read.
    pub(crate) arrived: Instant,
}

/// Where the handler of a request begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Begins {
    Here,
    InItsTask,
    /// It does not: no time is left.
    TooLate,
}

/// What must be known of a request once it is with its handler.
#[derive(Clone)]
struct About(MethodAnd<(Codec, Depth)>);

/// The place of a call among those that are served.
#[derive(Default)]
enum Held {
    #[default]
    Nothing,
    Own(Permit),
    /// That of a call with a body: it is given back when nobody reads that any more, either.
    WithBody {
        _held: Arc<Self>,
    },
}

/// Ends what belongs to a call, however the call ends.
#[derive(Default)]
struct EndScope(Option<Arc<Scope>>);

/// Why there is no use in going on.
enum Interruption {
    CallerGone,
    /// The time of the call is over, or others need its memory: its caller is told with this.
    Late(Status),
}

impl<S: CallService> ServerCall<S> {
    /// A place for calls, one after the other.
    pub(crate) fn new(service: CatchDrop<S>) -> Self {
        Self {
            state: State::Done,
            service,
            out: None,
            deadline: None,
            guard: None,
            scope: EndScope::default(),
            reserved: None,
            orphan: None,
            permit: Held::Nothing,
            is_spent: false,
        }
    }

    /// Takes up a call, and polls it if its request is here and its handler runs here, for which `begins` is asked.
    /// What is pending needs a task.
    pub(crate) fn poll_new(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        shared: &Arc<ConnectionShared>,
        router: &Router,
        new: &mut Option<New>,
        begins: impl FnOnce(&Request) -> Begins,
    ) -> Poll<()> {
        let mut this = self.as_mut().project();
        let mut first = None;
        let Some(mut reader) = this.begin(shared, router, new, &mut first) else { return Poll::Ready(()) };
        let mut reading = Reading::default();
        let polled = match this.out.as_mut() {
            Some(stream) => {
                reader.poll_request(cx, &mut Chunks { first: &mut first, stream }, shared, &mut reading)
            }
            None => Poll::Pending,
        };
        if polled.is_pending() {
            this.state.set(State::Receiving(reader));
            return Poll::Pending;
        }
        match reading.request.as_ref().map(begins) {
            Some(Begins::InItsTask) => {
                if this.arrived(cx, &mut reading.request, &mut reader)
                    && let Some(request) = reading.request
                {
                    this.state.set(State::Received(request));
                    return Poll::Pending;
                }
            }
            Some(Begins::Here) => this.received(cx, &mut reading, &mut reader, true),
            Some(Begins::TooLate) | None => this.received(cx, &mut reading, &mut reader, false),
        }
        self.poll(cx)
    }

    /// Returns whether a call that is done has kept a permit of the class that most calls are of, for the next one.
    #[inline]
    pub(crate) fn has_first_permit(&self) -> bool {
        matches!(&self.permit, Held::Own(permit) if permit.is_of_first_class())
    }

    /// Returns the permit of a call that is done.
    pub(crate) fn take_permit(self: Pin<&mut Self>) -> Option<Permit> {
        match std::mem::take(self.project().permit) {
            Held::Own(permit) => Some(permit),
            Held::Nothing | Held::WithBody { .. } => None,
        }
    }

    /// Returns the method of a call whose handler waits, or is to be begun.
    pub(crate) fn method(&self) -> Option<&MethodInfo> {
        match &self.state {
            State::Handling { about, .. } => Some(about.method()),
            State::Starting(request) => request.as_ref().as_ref().map(Request::method),
            _ => None,
        }
    }

    /// Returns whether all that it waits for is its handler, or room for its response: to poll it takes as long as the
    /// handler does.
    pub(crate) const fn may_be_parked(&self) -> bool {
        match self.state {
            State::Starting(_) | State::Handling { .. } | State::Responding(_) => {
                !matches!(self.permit, Held::WithBody { .. })
            }
            _ => false,
        }
    }

    /// Whether another call may be served here, once this one is done.
    pub(crate) const fn may_serve_again(&self) -> bool {
        !self.is_spent
    }
}

impl<S: CallService> Future for ServerCall<S> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let mut this = self.as_mut().project();
            match this.state.as_mut().project() {
                StateProj::Receiving(_) => ready!(this.poll_receive(cx)),
                StateProj::Received(_) => this.begin_handler(cx),
                StateProj::Starting(_) => ready!(this.poll_start(cx)),
                StateProj::Handling { .. } => ready!(this.poll_handle(cx)),
                StateProj::Streaming { .. } => ready!(this.poll_stream(cx)),
                StateProj::Responding(_) => ready!(this.poll_respond(cx)),
                StateProj::Closing(tasks) => {
                    ready!(tasks.as_mut().poll(cx));
                    this.finish();
                }
                StateProj::Done => return Poll::Ready(()),
            }
        }
    }
}

/// The request.
impl<S: CallService> ServerCallProj<'_, S> {
    #[inline]
    fn begin(
        &mut self,
        shared: &Arc<ConnectionShared>,
        router: &Router,
        new: &mut Option<New>,
        first: &mut Option<Bytes>,
    ) -> Option<RequestReader> {
        let New { stream, first: chunk, permit, arrived } = new.take()?;
        *first = chunk;
        let id = ServiceId::new(stream.stream_type().as_u32());
        match self.guard.as_mut() {
            Some(guard) => guard.begin_again(),
            None => *self.guard = Some(CallGuard::begin(Arc::clone(shared))),
        }
        *self.out = Some(WriteHalf::Whole(stream.into_inner()));
        if let Some(permit) = permit {
            *self.permit = Held::Own(permit);
        }
        Some(RequestReader::new(id, arrived, router))
    }

    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let StateProj::Receiving(reader) = self.state.as_mut().project()
            && let (Some(stream), Some(guard)) = (self.out.as_mut(), self.guard.as_ref())
        {
            let mut reading = Reading::default();
            let mut chunks = Chunks { first: &mut None, stream };
            ready!(reader.poll_request(cx, &mut chunks, guard.shared(), &mut reading));
            if let StateOwned::Receiving(mut reader) = self.state.as_mut().project_replace(State::Done) {
                self.received(cx, &mut reading, &mut reader, false);
            }
        }
        Poll::Ready(())
    }

    /// Begins the handler of a request that was left to the task of the call.
    fn begin_handler(&mut self, cx: &mut Context<'_>) {
        if let StateOwned::Received(request) = self.state.as_mut().project_replace(State::Done) {
            self.hand_over(cx, &mut Some(request), false);
        }
    }

    /// Takes up a request that was read, or responds that it could not be. `has_time` says that time is left, as far as that
    /// is known.
    #[inline]
    fn received(
        &mut self,
        cx: &mut Context<'_>,
        reading: &mut Reading,
        reader: &mut RequestReader,
        has_time: bool,
    ) {
        if reading.request.is_some() {
            if self.arrived(cx, &mut reading.request, reader) {
                self.hand_over(cx, &mut reading.request, has_time);
            }
        } else if let Some((codec, status)) = reading.refusal.take() {
            if let Some(guard) = self.guard.as_ref() {
                tracing::debug!(peer = %guard.shared().peer(), "call refused: {status}");
            }
            self.respond(codec, Err(status.not_executed()));
        } else {
            self.close();
        }
    }

    /// Notes what a request brings: its time limit, its scope and its body. Returns false if there is no room for a
    /// call that turned out to stream, which is answered then.
    #[inline]
    fn arrived(
        &mut self,
        cx: &mut Context<'_>,
        request: &mut Option<Request>,
        reader: &mut RequestReader,
    ) -> bool {
        let Some(request) = request else { return false };
        let shape = request.method().shape();
        let has_body = match shape {
            Shape::Unknown => self.may_have_body(cx, reader),
            shape => shape.streams_input(),
        };
        // Before the body takes the place of the call along.
        if (has_body || shape.streams_output())
            && let Err(status) = self.find_room(request.method())
        {
            self.respond(request.codec(), Err(status.not_executed()));
            return false;
        }
        *self.deadline = TimeLimit::of(request).map(StreamDeadline::new);
        *self.reserved = reader.take_reserved();
        self.scope.0 = request.arrival_scope();
        if has_body {
            self.split(request, reader);
        }
        true
    }

    /// Whether anything but the end of the stream comes behind the request, as far as it is known.
    fn may_have_body(&mut self, cx: &mut Context<'_>, reader: &mut RequestReader) -> bool {
        match (self.out.as_mut(), self.guard.as_ref()) {
            (Some(stream), Some(guard)) => {
                reader.may_go_on(cx, &mut Chunks { first: &mut None, stream }, guard.shared())
            }
            _ => false,
        }
    }

    /// Gives a request to the service, or waits until that is ready.
    #[inline]
    fn hand_over(&mut self, cx: &mut Context<'_>, request: &mut Option<Request>, has_time: bool) {
        if let Some(request) = request
            && let Some(status) = self.refusal(request, has_time)
        {
            panics::discard(request.take_input());
            return self.respond(request.codec(), Err(status.not_executed()));
        }
        if self.start(cx, request).is_pending() {
            self.state.set(State::Starting(Box::new(request.take())));
        }
    }

    /// Returns why the call is not to begin, although its request is here.
    fn refusal(&self, request: &Request, has_time: bool) -> Option<Status> {
        let shared = self.guard.as_ref()?.shared();
        let method = request.method();
        if !has_time && request.deadline().is_some_and(|at| at <= Instant::now()) {
            return Some(Status::deadline_exceeded(format!("{method}: no time is left")));
        }
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

    /// Takes room for a call that turned out to stream: one whose beginning did not tell that it streams needs a place
    /// among those that do.
    fn find_room(&mut self, method: &MethodInfo) -> Result<(), Status> {
        let Held::Own(permit) = self.permit else { return Ok(()) };
        if permit.class().streams {
            return Ok(());
        }
        if permit.turn_into_streaming() {
            return Ok(());
        }
        let class = Class { streams: true, ..permit.class() };
        let room = self.guard.as_ref().map(|guard| class.describe_limit(guard.shared().limits()));
        let room = room.unwrap_or_default();
        Err(Status::resource_exhausted(format!("{method}: no room beside {room}")))
    }

    /// Gives the request the half of the stream on which its body comes.
    fn split(&mut self, request: &mut Request, reader: &mut RequestReader) {
        let Some(guard) = self.guard.as_ref() else { return };
        let stream = match self.out.take() {
            Some(WriteHalf::Whole(stream)) => stream,
            other => return *self.out = other,
        };
        let (send, receive) = stream.into_split();
        *self.out = Some(WriteHalf::Half(send));
        let permit = Arc::new(std::mem::take(self.permit));
        let (read, reader, limits) = (ReadHalf::Half(receive), reader.take_reader(), guard.shared().limits());
        let mut received = ReceivedBody::new(request.method_ref(), read, reader, limits)
            .counted(guard.shared().memory())
            .keeping(Arc::clone(&permit));
        if request.method().shape() == Shape::Unknown {
            received = received.optional();
        }
        *self.permit = Held::WithBody { _held: permit };
        request.set_input(Some(BodyStream::received(request.codec(), received)));
    }
}

/// The handler.
impl<S: CallService> ServerCallProj<'_, S> {
    /// Gives the request to the service, once that is ready.
    #[inline]
    fn start(&mut self, cx: &mut Context<'_>, request: &mut Option<Request>) -> Poll<()> {
        let Some(about) = request.as_ref().map(About::of) else { return Poll::Ready(()) };
        let Some(service) = self.service.as_mut() else {
            self.respond_panic(&about, None);
            return Poll::Ready(());
        };
        let at = self.deadline.as_ref().map(|deadline| deadline.limit().at());
        let depth = about.depth().next();
        let mut future = None;
        let mut begin = || match service.poll_ready(cx) {
            Poll::Ready(Ok(())) => {
                future = request.take().map(|request| service.call(request));
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(status::from_box_error(error.into()))),
            Poll::Pending => Poll::Pending,
        };
        let started = panics::catch_within(at, depth, &mut begin);
        match started {
            Ok(Poll::Ready(Ok(()))) => match future {
                Some(future) => {
                    let handler = CatchUnwind::new(at, future).at_depth(depth);
                    self.state.set(State::Handling { handler, about });
                }
                None => self.close(),
            },
            Ok(Poll::Ready(Err(status))) => self.respond(about.codec(), Err(status.not_executed())),
            Ok(Poll::Pending) => return Poll::Pending,
            Err(panic) => self.respond_panic(&about, Some(&panic)),
        }
        Poll::Ready(())
    }

    fn poll_start(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let state = self.state.as_mut().project_replace(State::Done);
        let StateOwned::Starting(mut request) = state else { return Poll::Ready(()) };
        let Some(about) = request.as_ref().as_ref().map(About::of) else { return Poll::Ready(()) };
        if self.start(cx, &mut request).is_ready() {
            return Poll::Ready(());
        }
        let Poll::Ready(interruption) = self.poll_interrupted(cx, &about) else {
            self.state.set(State::Starting(request));
            return Poll::Pending;
        };
        // Whoever gave the service its place in a queue waits for it no longer.
        *self.is_spent = true;
        panics::discard(request);
        match interruption {
            Interruption::CallerGone => self.close(),
            Interruption::Late(status) => self.respond(about.codec(), Err(status.not_executed())),
        }
        Poll::Ready(())
    }

    /// Runs the handler until it is done, the time limit passes, or the caller goes.
    fn poll_handle(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let StateProj::Handling { handler, about } = self.state.as_mut().project() else {
            return Poll::Ready(());
        };
        let about = about.clone();
        let mut result = None;
        if let Poll::Ready(ended) = handler.poll_into(cx, &mut result) {
            match (ended, result) {
                (Ok(()), Some(Ok(response))) => self.returned(&about, response),
                (Ok(()), Some(Err(error))) => self.failed(&about, error),
                (Ok(()), None) => self.respond_panic(&about, None),
                (Err(panic), _) => self.respond_panic(&about, Some(&panic)),
            }
            return Poll::Ready(());
        }
        if let Some(orphan) = self.orphan.as_mut() {
            ready!(orphan.poll_no_room(cx, about.method()));
            drop(self.drop_handler(&about));
            self.close();
            return Poll::Ready(());
        }
        let interruption = ready!(self.poll_interrupted(cx, &about));
        if about.method().is_no_cancel() {
            self.detach(&about, interruption);
            // Polled again for what is to wake it from now on.
            return Poll::Ready(());
        }
        // Of a handler that is cut off a panic is only counted.
        drop(self.drop_handler(&about));
        match interruption {
            Interruption::CallerGone => self.close(),
            Interruption::Late(status) => self.respond(about.codec(), Err(status)),
        }
        Poll::Ready(())
    }

    /// Lets a handler run on that must finish, and whose caller waits no longer.
    fn detach(&mut self, about: &About, interruption: Interruption) {
        if let Some(scope) = &self.scope.0 {
            scope.caller_gone();
        }
        if let (Interruption::Late(status), Some(guard)) = (interruption, self.guard.as_mut()) {
            guard.answer(true);
            let mut message = encode_response(about.codec(), Err(status), guard.shared().send_limits());
            // There is no time to wait for room.
            let sent = WriteHalf::finish_with(self.out, &mut message);
            if sent.is_err() || self.out.is_some() {
                guard.take_back();
            }
        }
        *self.out = None;
        *self.orphan = self.guard.as_ref().map(|guard| Box::new(Orphan::new(Arc::clone(guard.shared()))));
    }

    /// Responds as the handler did, which is dropped before.
    #[inline]
    fn returned(&mut self, about: &About, mut response: Response) {
        if let Err(status) = self.drop_handler(about) {
            // A panic of a destructor takes the place of a response.
            panics::discard(response);
            return self.respond(about.codec(), Err(status));
        }
        match response.take_body() {
            Some((body, metadata)) => self.respond_with_body(about, body, &metadata),
            None => self.respond(about.codec(), Ok(response)),
        }
    }

    /// Responds with the error of the handler, which is dropped before.
    fn failed(&mut self, about: &About, error: S::Error) {
        match panics::catch(|| status::from_box_error(error.into())) {
            Ok(status) => {
                // A panic of a destructor does not take the place of a failure.
                drop(self.drop_handler(about));
                self.respond(about.codec(), Err(status));
            }
            Err(panic) => self.respond_panic(about, Some(&panic)),
        }
    }

    /// Drops the handler. A panic of its destructors is one of the handler, with this status.
    fn drop_handler(&mut self, about: &About) -> Result<(), Status> {
        let dropped = match self.state.as_mut().project() {
            StateProj::Handling { handler, .. } => handler.clear(),
            _ => Ok(()),
        };
        dropped.map_err(|panic| self.panicked(about, Some(&panic)))
    }

    fn respond_panic(&mut self, about: &About, panic: Option<&Panic>) {
        let status = self.panicked(about, panic);
        self.respond(about.codec(), Err(status));
    }

    /// Counts a panic, of which something may be left, and returns what to say of it.
    fn panicked(&mut self, about: &About, panic: Option<&Panic>) -> Status {
        *self.is_spent = true;
        let method = about.method();
        let status = Status::internal(format!("{method}: the handler panicked"));
        let Some(shared) = self.guard.as_ref().map(CallGuard::shared) else { return status };
        if let Some(line) = shared.log().admit() {
            let suppressed = line.suppressed;
            tracing::error!(%method, peer = %shared.peer(), suppressed, "a handler panicked");
        }
        shared.metrics().note_panic();
        match panic.and_then(Panic::message) {
            // What it says is not meant for others, unless the application says so.
            Some(message) if shared.panic_messages() => {
                Status::internal(format!("{method}: the handler panicked: {message}"))
            }
            _ => status,
        }
    }
}

/// The response.
impl<S: CallService> ServerCallProj<'_, S> {
    /// Ready when there is no use in going on. Never, if nobody waits for the response any more.
    fn poll_interrupted(&mut self, cx: &mut Context<'_>, about: &About) -> Poll<Interruption> {
        let Some(out) = self.out.as_mut() else { return Poll::Pending };
        let reminder = self.deadline.as_ref().and_then(StreamDeadline::reminder);
        if out.poll_reset(cx, reminder).is_ready() {
            if let Some(guard) = self.guard.as_ref() {
                let (method, peer) = (about.method(), guard.shared().peer());
                tracing::debug!(%method, %peer, "call cancelled by the caller");
            }
            return Poll::Ready(Interruption::CallerGone);
        }
        if !about.method().is_no_cancel()
            && let Some(reserved) = self.reserved.as_ref()
            && let Poll::Ready(exhausted) = reserved.poll_evicted(cx, false)
        {
            return Poll::Ready(Interruption::Late(self.evicted(about, exhausted)));
        }
        let Some(deadline) = self.deadline.as_mut() else { return Poll::Pending };
        ready!(deadline.poll_exceeded(cx));
        let status = deadline.limit().status(about.method(), "not done within the caller's time limit");
        Poll::Ready(Interruption::Late(status))
    }

    /// Returns what to say of a call whose memory others need.
    fn evicted(&self, about: &About, exhausted: Exhausted) -> Status {
        let method = about.method();
        if let Some(shared) = self.guard.as_ref().map(CallGuard::shared)
            && let Some(line) = shared.log().admit()
        {
            let (peer, suppressed) = (shared.peer(), line.suppressed);
            tracing::warn!(%method, %peer, suppressed, "a call is ended: its request has {exhausted}");
        }
        Status::resource_exhausted(format!("{method}: its request has {exhausted}"))
    }

    /// Responds with a value or a status. The handler is gone before that is sent.
    #[inline]
    fn respond(&mut self, codec: Codec, result: Result<Response, Status>) {
        let Some(guard) = self.guard.as_mut() else { return };
        if self.out.is_none() {
            panics::discard(result);
            return self.close();
        }
        let is_status = result.is_err();
        guard.answer(is_status);
        let message = encode_response(codec, result, guard.shared().send_limits());
        self.state.set(State::Done);
        self.release();
        self.send(message, codec, is_status);
    }

    /// Responds with items, in front of which their metadata goes.
    fn respond_with_body(&mut self, about: &About, mut body: Body, metadata: &Metadata) {
        let no_room = match about.method().shape() {
            Shape::Unknown => self.find_room(about.method()).err(),
            _ => None,
        };
        let Some(guard) = self.guard.as_ref() else { return };
        if self.out.is_none() {
            panics::discard(body);
            return self.close();
        }
        let limits = guard.shared().send_limits();
        let refused = match check_metadata(metadata, limits) {
            Err(problem) => Some(Status::internal(format!("{}: the items have {problem}", about.method()))),
            Ok(()) if body.codec() != about.codec() => {
                let (items, call) = (body.codec(), about.codec());
                Some(Status::internal(format!("{}: items in {items} for a call in {call}", about.method())))
            }
            Ok(()) => no_room,
        };
        if let Some(status) = refused {
            if let Err(panic) = BodyStream::end_of(&mut body, &Err(Failure::Status(status.clone()))) {
                self.panicked(about, Some(&panic));
            }
            return self.respond(about.codec(), Err(status));
        }
        let mut first = Vec::new();
        if !metadata.is_empty() {
            push_metadata_message(about.codec(), metadata, &mut first);
        }
        let first = OutboundMessage::new(first);
        let writer = Box::new(BodyWriter::new(about.0.method_ref(), body, limits.message_size(), first));
        let held = Reservation::of(guard.shared().memory(), Purpose::Response);
        self.state.set(State::Streaming { writer, about: about.clone(), held });
    }

    /// Writes items until their end, the time limit, or until the caller goes.
    fn poll_stream(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let StateProj::Streaming { writer, about, held } = self.state.as_mut().project() else {
            return Poll::Ready(());
        };
        let about = about.clone();
        let Some(out) = self.out.as_mut() else {
            self.close();
            return Poll::Ready(());
        };
        let depth = about.depth().next();
        let at = self.deadline.as_ref().map(|deadline| deadline.limit().at());
        let end = match panics::catch_within(at, depth, &mut || writer.poll_write(cx, out)) {
            Ok(Poll::Ready(Ok(end))) => Some(end),
            Ok(Poll::Ready(Err(_))) => None,
            Ok(Poll::Pending) => match poll_hold_items(cx, held, writer.unsent()) {
                Poll::Ready(exhausted) => {
                    self.drop_items(exhausted);
                    None
                }
                Poll::Pending => match ready!(self.poll_interrupted(cx, &about)) {
                    Interruption::CallerGone => None,
                    Interruption::Late(status) => Some((Err(Failure::Status(status)), Metadata::new())),
                },
            },
            Err(panic) => Some((Err(Failure::Panic(panic)), Metadata::new())),
        };
        if let StateOwned::Streaming { writer, .. } = self.state.as_mut().project_replace(State::Done) {
            self.end_stream(&about, *writer, end);
        }
        Poll::Ready(())
    }

    /// Ends a call for whose items there is no room.
    fn drop_items(&mut self, exhausted: Exhausted) {
        if let (Some(out), Some(guard)) = (self.out.as_mut(), self.guard.as_mut()) {
            note_thrown_away(guard.shared(), exhausted);
            give_up(out, guard);
        }
    }

    /// Drops what made the items, and writes how they ended, unless the caller has gone.
    fn end_stream(&mut self, about: &About, mut writer: BodyWriter, end: Option<End>) {
        let Some((result, trailer)) = end else {
            if let Err(panic) = writer.abandon() {
                self.panicked(about, Some(&panic));
            }
            return self.close();
        };
        // Of several panics one counts.
        let result = match (writer.end(&result), result) {
            (_, Err(Failure::Panic(panic))) | (Err(panic), Ok(())) => {
                Err(Failure::Status(self.panicked(about, Some(&panic))))
            }
            (Err(panic), failed) => {
                self.panicked(about, Some(&panic));
                failed
            }
            (Ok(()), result) => result,
        };
        self.release();
        let Some(shared) = self.guard.as_ref().map(CallGuard::shared) else { return };
        let is_status = matches!(result, Err(Failure::Status(_)));
        let mut buf = writer.take_buf();
        push_output_end(about.codec(), result, trailer, shared.send_limits(), &mut buf);
        let response = WaitingResponse::end_of_items(shared, buf, about.codec(), is_status);
        self.state.set(State::Responding(response));
    }

    /// Writes the rest of the response, as long as there is time.
    fn poll_respond(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let StateProj::Responding(response) = self.state.as_mut().project()
            && let (Some(out), Some(guard)) = (self.out.as_mut(), self.guard.as_mut())
            && response.poll(cx, out, guard).is_pending()
        {
            let Some(deadline) = self.deadline.as_mut() else { return Poll::Pending };
            if deadline.reminder().is_some() && out.poll_reset(cx, deadline.reminder()).is_ready() {
                // Polled again for what is left to do.
                cx.waker().wake_by_ref();
            }
            ready!(deadline.poll_exceeded(cx));
            let peer = guard.shared().peer();
            tracing::debug!(%peer, "a response was not taken within the caller's time limit");
        }
        self.close();
        Poll::Ready(())
    }

    /// Sends a response and lets go of its stream; what there is no room for is sent later.
    #[inline]
    fn send(&mut self, mut message: OutboundMessage, codec: Codec, is_status: bool) {
        let whole = message.remaining();
        let sent = WriteHalf::finish_with(self.out, &mut message);
        if sent.is_ok() && self.out.is_none() {
            message.recycle();
        } else if let Some(guard) = self.guard.as_mut() {
            guard.take_back();
            if sent.is_ok() {
                let waiting = WaitingResponse::new(guard.shared(), message, whole, codec, is_status);
                return self.state.set(State::Responding(waiting));
            }
        }
        self.close();
    }

    /// Gives back the memory of the request, now that the handler is gone: a caller that does not read
    /// the response holds none of it. Tasks of the call may have parts of it still.
    fn release(&mut self) {
        if self.scope.0.as_ref().is_none_or(|scope| !scope.has_tasks()) {
            *self.reserved = None;
        }
    }

    /// Ends the stream, and the tasks of the call.
    fn close(&mut self) {
        self.state.set(State::Done);
        *self.out = None;
        *self.deadline = None;
        if let Some(scope) = self.scope.0.take() {
            scope.end();
            if scope.has_tasks() {
                return self.state.set(State::Closing(Box::pin(async move { scope.wait().await })));
            }
        }
        self.finish();
    }

    /// The call is over: nothing of it is left but the permit, and the guard for the next.
    fn finish(&mut self) {
        self.state.set(State::Done);
        *self.reserved = None;
        *self.orphan = None;
        if let Held::WithBody { .. } = self.permit {
            *self.permit = Held::Nothing;
        }
        self.guard.take_if(|guard| !guard.is_answered());
    }
}

/// Counts the items that wait for the caller. Ready if there is no room for them.
fn poll_hold_items(cx: &mut Context<'_>, held: &mut Reservation, bytes: usize) -> Poll<Exhausted> {
    if bytes == 0 {
        held.clear();
        return Poll::Pending;
    }
    held.poll_hold(cx, bytes)
}

impl About {
    fn of(request: &Request) -> Self {
        Self(MethodAnd::new(request.method_ref(), (request.codec(), request.depth())))
    }

    fn method(&self) -> &MethodInfo {
        self.0.method()
    }

    const fn codec(&self) -> Codec {
        self.0.value().0
    }

    const fn depth(&self) -> Depth {
        self.0.value().1
    }
}

impl Drop for EndScope {
    fn drop(&mut self) {
        if let Some(scope) = &self.0 {
            scope.end();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_served_call_takes_little_room() {
        // Thousands of calls may wait at a time.
        let (size, bound) = (size_of::<ServerCall<Router>>(), 320);
        assert!(size <= bound, "ServerCall: {size} bytes measured, the bound is {bound}");
    }
}
