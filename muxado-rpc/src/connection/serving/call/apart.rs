//! Calls that need more than a plain one: items, a scope, a handler that must finish, a service that
//! is not ready.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use muxado::Stream;

use super::{About, after_drop};
use crate::{
    Body, CallService, Metadata, Request, Response, Status,
    connection::{metrics::CallGuard, serving::rooms::Permit},
    message::{payload::OutboundMessage, response::Failure, scope::Scope, status},
    stream::body::{BodyWriter, ReadHalf, Received, WriteHalf},
    support::{
        budget::Reservation,
        panics::{self, CatchUnwind, Panic},
        timer::Timer,
    },
    wire::{MessageReader, check_metadata, encode_response, push_metadata_message, push_output_end},
};

/// A call that is being served, and where its answer goes.
pub(super) struct Apart {
    about: About,
    scope: Ending,
    out: WriteHalf,
    /// The items that the caller sends.
    input: Option<Body>,
    guard: CallGuard,
    /// The memory of a request that was buffered.
    reserved: Option<Reservation>,
    /// Given back when the call is over.
    _permit: Option<Permit>,
    /// The same of a call whose items come: given back when nobody reads them any more, either.
    _shared_permit: Option<Arc<Option<Permit>>>,
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

impl Apart {
    /// A call whose request the reader has brought; what it holds beyond that are the first items.
    pub(super) fn new(
        about: About,
        guard: CallGuard,
        stream: Stream,
        reader: MessageReader,
        permit: Option<Permit>,
    ) -> Self {
        let (mut permit, mut shared_permit) = (permit, None);
        let (out, input) = if about.method.shape().streams_input() {
            let (send, receive) = stream.into_split();
            let read = ReadHalf::Half(receive);
            let received = Received::new(about.method, read, reader, guard.shared().limits());
            let permit = Arc::new(permit.take());
            let received = received.keeping(Arc::clone(&permit));
            shared_permit = Some(permit);
            (WriteHalf::Half(send), Some(Body::received(about.codec, received)))
        } else {
            (WriteHalf::Whole(stream), None)
        };
        let scope = Ending(None);
        Self {
            about,
            scope,
            out,
            input,
            guard,
            reserved: None,
            _permit: permit,
            _shared_permit: shared_permit,
        }
    }

    /// The same, for as long as this holds memory of the connection's budget.
    pub(super) fn keeping(mut self, reserved: Option<Reservation>) -> Self {
        self.reserved = reserved;
        self
    }

    /// Runs the handler and sends what it answers. Done when nothing of the call is left.
    pub(super) async fn run<S: CallService>(mut self, service: S, mut request: Request) {
        self.scope = Ending(request.arrival_scope());
        request.set_input(self.input.take());
        if self.about.method.is_no_cancel() {
            // Boxed, so that other calls need no room for it.
            Box::pin(self.run_to_the_end(service, request)).await;
        } else if let Some(result) = self.handle(service, request).await {
            self.answer_handled(result).await;
        }
        if let Some(scope) = self.scope.0.take() {
            scope.end();
            scope.wait().await;
        }
    }

    /// Answers as the handler did, which is gone but for its items.
    async fn answer_handled(&mut self, mut result: Result<Response, Status>) {
        if let Ok(response) = &mut result
            && let Some((items, metadata)) = response.take_items()
        {
            return Box::pin(self.send_items(items, metadata)).await;
        }
        self.release();
        self.answer(result).await;
    }

    /// Gives back the memory of the request, now that the handler is gone: a caller that does not read
    /// the answer holds none of it. Tasks of the call may have parts of it still.
    fn release(&mut self) {
        if self.scope.0.as_ref().is_none_or(|scope| !scope.has_tasks()) {
            self.reserved = None;
        }
    }

    /// Answers with a value or a status.
    async fn answer(&mut self, result: Result<Response, Status>) {
        self.guard.answer(result.is_err());
        let answer = encode_response(self.about.codec, result, self.guard.shared().send_limits());
        self.finish(answer).await;
    }

    /// Sends the last of an answer. A caller that has gone needs none.
    async fn finish(&mut self, mut last: OutboundMessage) {
        if poll_fn(|cx| self.out.poll_write_final(cx, &mut last)).await.is_err() {
            self.guard.take_back();
        }
    }

    /// Runs the handler until it is done. A caller that still waits is told when its time limit passes.
    async fn run_to_the_end<S: CallService>(&mut self, service: S, request: Request) {
        let deadline = self.about.deadline;
        let mut timer = pin!(Timer::default());
        let taken = AtomicBool::new(false);
        let mut handler = pin!(
            CatchUnwind::new(deadline, call(service, request, &taken)).at_depth(self.about.depth.next())
        );
        let mut caller_waits = true;
        loop {
            let ended = poll_fn(|cx| {
                if let Poll::Ready(ended) = handler.as_mut().poll(cx) {
                    return Poll::Ready(Ok(self.about.result_of(self.guard.shared(), ended)));
                }
                if !caller_waits {
                    return Poll::Pending;
                }
                self.poll_interrupted(cx, timer.as_mut()).map(Err)
            })
            .await;
            match ended {
                Ok(result) => {
                    let result = after_drop(result, self.drop_handler(handler.as_mut()));
                    if caller_waits {
                        self.answer_handled(result).await;
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

    /// Runs the handler until it is done, the time limit passes, or the caller goes; `None` if it went.
    /// The handler is dropped when this returns.
    async fn handle<S: CallService>(
        &mut self,
        service: S,
        request: Request,
    ) -> Option<Result<Response, Status>> {
        let deadline = self.about.deadline;
        let mut timer = pin!(Timer::default());
        let taken = AtomicBool::new(false);
        let mut handler = pin!(
            CatchUnwind::new(deadline, call(service, request, &taken)).at_depth(self.about.depth.next())
        );
        let ended = poll_fn(|cx| {
            if let Poll::Ready(ended) = handler.as_mut().poll(cx) {
                return Poll::Ready(Some(self.about.result_of(self.guard.shared(), ended)));
            }
            self.poll_interrupted(cx, timer.as_mut()).map(|status| {
                let status = status?;
                Some(Err(if taken.load(Ordering::Relaxed) { status } else { status.not_executed() }))
            })
        })
        .await;
        let dropped = self.drop_handler(handler);
        ended.map(|result| after_drop(result, dropped))
    }

    /// Drops the handler. A panic of its destructors is one of the handler, with this status.
    fn drop_handler<F>(&self, handler: Pin<&mut CatchUnwind<F>>) -> Result<(), Status> {
        handler.clear().map_err(|panic| self.panicked(&panic))
    }

    fn panicked(&self, panic: &Panic) -> Status {
        self.about.panicked(self.guard.shared(), Some(panic))
    }

    /// Sends items until their end, the time limit, or until the caller goes.
    async fn send_items(&mut self, mut items: Body, metadata: Metadata) {
        let About { method, codec, deadline, .. } = self.about;
        let depth = self.about.depth.next();
        let limits = self.guard.shared().send_limits();
        let limit = limits.message_size();
        if let Err(problem) = check_metadata(&metadata, limits) {
            let status = Status::internal(format!("{method}: the items have {problem}"));
            if let Err(panic) = items.end(&Err(Failure::Status(status.clone()))) {
                self.panicked(&panic);
            }
            self.release();
            return self.answer(Err(status)).await;
        }
        let mut first = Vec::new();
        if !metadata.is_empty() {
            push_metadata_message(codec, &metadata, &mut first);
        }
        let mut timer = pin!(Timer::default());
        let mut sending = BodyWriter::new(method, items, limit, OutboundMessage::new(first));
        let ended = poll_fn(|cx| {
            match panics::catch_within(deadline, || depth.within(|| sending.poll(cx, &mut self.out))) {
                Ok(Poll::Ready(Ok(end))) => return Poll::Ready(Some(end)),
                // The caller has gone.
                Ok(Poll::Ready(Err(_))) => return Poll::Ready(None),
                Ok(Poll::Pending) => {}
                Err(panic) => return Poll::Ready(Some((Err(Failure::Panic(panic)), Metadata::new()))),
            }
            self.poll_interrupted(cx, timer.as_mut()).map(|status| Some(failed(status?)))
        })
        .await;
        let Some((result, trailer)) = ended else {
            if let Err(panic) = sending.abandon() {
                self.panicked(&panic);
            }
            return;
        };
        let result = self.end_items(&mut sending, result);
        self.release();
        self.guard.answer(matches!(result, Err(Failure::Status(_))));
        let mut buf = sending.into_buf();
        push_output_end(codec, result, trailer, self.guard.shared().send_limits(), &mut buf);
        self.finish(OutboundMessage::new(buf)).await;
    }

    /// Drops what made the items, which came to this, and says how they end. Of several panics one counts.
    fn end_items(&self, sending: &mut BodyWriter, result: Result<(), Failure>) -> Result<(), Failure> {
        let dropped = sending.end(&result);
        match (result, dropped) {
            (Err(Failure::Panic(panic)), _) | (Ok(()), Err(panic)) => {
                Err(Failure::Status(self.panicked(&panic)))
            }
            (failed, Err(panic)) => {
                self.panicked(&panic);
                failed
            }
            (result, Ok(())) => result,
        }
    }

    /// Ready when there is no use in going on: with what to tell the caller, or `None` if it has gone.
    fn poll_interrupted(&mut self, cx: &mut Context<'_>, timer: Pin<&mut Timer>) -> Poll<Option<Status>> {
        if self.out.poll_reset(cx).is_ready() {
            let (method, peer) = (self.about.method, self.guard.shared().peer());
            tracing::debug!(%method, %peer, "call cancelled by the caller");
            return Poll::Ready(None);
        }
        match self.about.deadline {
            Some(deadline) => timer.poll(cx, deadline).map(|()| Some(self.about.too_late())),
            None => Poll::Pending,
        }
    }
}

/// Waits until the service takes the request, notes that it has, and runs it.
async fn call<S: CallService>(
    mut service: S,
    request: Request,
    taken: &AtomicBool,
) -> Result<Response, Status> {
    let ready = poll_fn(|cx| service.poll_ready(cx)).await;
    ready.map_err(|error| status::from_box_error(error.into()).not_executed())?;
    taken.store(true, Ordering::Relaxed);
    service.call(request).await.map_err(|error| status::from_box_error(error.into()))
}

fn failed(status: Status) -> (Result<(), Failure>, Metadata) {
    (Err(Failure::Status(status)), Metadata::new())
}
