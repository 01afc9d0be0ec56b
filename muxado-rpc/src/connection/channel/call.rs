//! The calling side of one call: opens a stream, sends the request, reads the response.

use std::{
    borrow::{Borrow, BorrowMut},
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, Bytes};
use muxado::{
    OpenTyped, ReadError, Stream, StreamType,
    rpc::{OpenLevel, OpenTypedExt, TypedSessionExt},
};

use super::{Hold, time::CallTime};
use crate::{
    Body, Codec, Limits, MethodInfo, MethodRef, Origin, Response, Shape, Status,
    message::{method_ref::MethodAnd, payload::OutboundMessage, response::Outcome, status},
    stream::{
        body::{BodyStream, ReceivedBody},
        deadline::{TimeLimit, exceeded},
        half::{ReadHalf, WriteHalf},
        reader::{Bounds, MessageReader, NoMessage, over_limit},
        writer::{BodyWriter, Forward, ForwardTask, forward},
    },
    support::depth::Depth,
    wire::{MessageDecoder, MessageError, begins_items, decode_response},
};

/// A call over a [`Channel`](crate::Channel).
///
/// Returns the response; for a method that returns a stream, as soon as the request is sent. Dropping it resets the
/// stream, and the peer drops the handler. Before its first poll nothing is sent.
#[must_use = "futures do nothing unless polled"]
pub struct CallFuture {
    /// `None` if the call has failed or is over.
    call: Option<Call>,
    state: State,
    time: CallTime,
}

/// ```text
/// Opening ──▶ Exchanging ──▶ Done
/// Failed ───────────────────▶ Done
/// ```
enum State {
    /// The request cannot be sent.
    Failed(Status),
    /// Waiting for a stream.
    Opening {
        opening: OpenTyped,
        message: OutboundMessage,
        body: Option<Box<Body>>,
    },
    /// Writing the request and reading the response.
    Exchanging(Exchange),
    Done,
}

/// What a call needs as long as it lasts.
pub(super) struct Call {
    about: MethodAnd<(Codec, Depth)>,
    /// A call under way keeps the connection open as its channel does.
    hold: Hold,
}

struct Exchange {
    read: ReadHalf,
    reader: MessageReader<Box<Parts>>,
    unsent: Unsent,
}

/// What is still to be sent.
enum Unsent {
    /// The rest of the request, which is with the decoder.
    Request,
    /// The request and its body.
    Body(Box<Forward>),
    /// The request and its body, sent by a task, because the response has a body that is read meanwhile.
    ByTask(Option<ForwardTask>),
    Nothing,
}

/// What a call needs whose messages do not go in one piece: the rest of its request, and what reads the response.
struct Parts {
    unsent: OutboundMessage,
    decoder: MessageDecoder,
}

impl From<MessageDecoder> for Box<Parts> {
    fn from(decoder: MessageDecoder) -> Self {
        Self::new(Parts { unsent: OutboundMessage::default(), decoder })
    }
}

impl From<Box<Parts>> for MessageDecoder {
    fn from(parts: Box<Parts>) -> Self {
        parts.decoder
    }
}

impl Borrow<MessageDecoder> for Box<Parts> {
    fn borrow(&self) -> &MessageDecoder {
        &self.decoder
    }
}

impl BorrowMut<MessageDecoder> for Box<Parts> {
    fn borrow_mut(&mut self) -> &mut MessageDecoder {
        &mut self.decoder
    }
}

impl CallFuture {
    #[inline]
    pub(super) fn new(
        call: Call,
        timeout: Option<Duration>,
        message: OutboundMessage,
        body: Option<Box<Body>>,
    ) -> Self {
        let service = StreamType::new(call.method().service_id().as_u32());
        let level = OpenLevel::new(call.depth().as_u8());
        let queue_timeout = call.limits().queue_timeout;
        let patience = timeout.map_or(queue_timeout, |timeout| timeout.min(queue_timeout));
        let shared = call.hold.shared();
        let opening = shared.typed().open_typed_at(service, level, Some(patience));
        let time = CallTime::new(timeout);
        let state = State::Opening { opening, message, body };
        Self { call: Some(call), state, time }
    }

    pub(super) fn failed(status: Status) -> Self {
        Self { call: None, state: State::Failed(status), time: CallTime::Unlimited }
    }
}

impl Future for CallFuture {
    type Output = Result<Response, Status>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { call, state, time } = self.get_mut();
        let mut polled = state.poll(cx, call, time);
        if polled.is_pending()
            && let Some(call) = call
            && time.poll_exceeded(cx, call.hold.shared(), state.stream()).is_ready()
        {
            polled = Poll::Ready(Err(state.late(call, time)));
        }
        if polled.is_ready() {
            // Drops the stream, which resets it, before what keeps the connection.
            *state = State::Done;
            *call = None;
        }
        polled
    }
}

impl State {
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        slot: &mut Option<Call>,
        time: &mut CallTime,
    ) -> Poll<Result<Response, Status>> {
        loop {
            let Some(call) = slot else { return Poll::Ready(Err(self.take_failure())) };
            match self {
                Self::Opening { opening, message, body } => {
                    let (shared, mut stream) = (call.hold.shared(), None);
                    let opened = match body {
                        None => opening.poll_with_final(cx, message, time.after(shared), &mut stream),
                        Some(_) => {
                            Pin::new(opening).poll(cx).map_ok(|opened| stream = Some(opened.into_inner()))
                        }
                    };
                    let Poll::Ready(opened) = opened else {
                        ready!(time.poll_waited(cx, shared));
                        return Poll::Ready(Err(call.no_stream()));
                    };
                    opened.map_err(|error| status::from_open_error(call.method(), &error))?;
                    if self.exchange(call, stream, time) {
                        return Poll::Pending;
                    }
                }
                Self::Exchanging(exchange) => match call.method().shape() {
                    Shape::Unary | Shape::ClientStreaming => return exchange.poll(cx, call),
                    Shape::ServerStreaming | Shape::Bidirectional => {
                        ready!(exchange.poll_send(cx))?;
                        return Poll::Ready(self.take_body(slot.take(), None, time));
                    }
                    Shape::Unknown => {
                        let mut first = None;
                        ready!(exchange.poll_message(cx, call, &mut first))?;
                        return Poll::Ready(self.take_response(slot.take(), first.unwrap_or_default(), time));
                    }
                },
                Self::Failed(_) | Self::Done => return Poll::Ready(Err(self.take_failure())),
            }
        }
    }

    /// True if the request is on its way, and there is nothing to do but to wait for the response.
    #[inline]
    fn exchange(&mut self, call: &Call, stream: Option<Stream>, time: &mut CallTime) -> bool {
        let Self::Opening { message, body, .. } = self else { return false };
        let mut reader = MessageReader::default();
        let (read, unsent) = match body.take() {
            None if message.has_remaining() => {
                let decoder = MessageDecoder::new(call.limits().max_message_size).gathering();
                reader =
                    MessageReader::with_decoder(Box::new(Parts { unsent: std::mem::take(message), decoder }));
                (ReadHalf::Whole(stream), Unsent::Request)
            }
            None => {
                message.recycle();
                (ReadHalf::Whole(stream), Unsent::Nothing)
            }
            Some(body) => {
                let Some((send, receive)) = stream.map(Stream::into_split) else { return false };
                let (message, out) = (std::mem::take(message), WriteHalf::Half(send));
                (ReadHalf::Half(receive), call.send_body(message, *body, out, time.limit()))
            }
        };
        let waits = matches!(unsent, Unsent::Nothing) && !call.method().shape().streams_output();
        *self = Self::Exchanging(Exchange { read, reader, unsent });
        waits
    }

    /// The response that begins with this message: the first tells whether it has a body.
    fn take_response(
        &mut self,
        call: Option<Call>,
        first: Bytes,
        time: &mut CallTime,
    ) -> Result<Response, Status> {
        let (Self::Exchanging(exchange), Some(call)) = (&mut *self, call) else {
            return Err(self.take_failure());
        };
        // An item has to be in one piece.
        let first = match exchange.reader.take_apart() {
            Some(apart) => apart.join(&first),
            None => first,
        };
        if begins_items(call.method(), exchange.codec(), &first) {
            return self.take_body(Some(call), Some(first), time);
        }
        exchange.decode(&call, first)
    }

    /// The body to come, once the request is on its way. The first message of it may have come.
    fn take_body(
        &mut self,
        call: Option<Call>,
        first: Option<Bytes>,
        time: &mut CallTime,
    ) -> Result<Response, Status> {
        let (Self::Exchanging(exchange), Some(call)) = (std::mem::replace(self, Self::Done), call) else {
            return Err(self.take_failure());
        };
        let Exchange { read, reader, unsent } = exchange;
        let deadline = time.take_limit(read.whole());
        let task = match unsent {
            Unsent::ByTask(task) => task,
            _ => None,
        };
        let received = ReceivedBody::new(call.about.method_ref(), read, reader.unboxed(), call.limits())
            .with_deadline(deadline)
            .with_forward_task(task);
        let received = match first {
            Some(first) => received.with_first(first),
            None => received,
        };
        let codec = call.codec();
        let body = BodyStream::received(codec, received.keeping(call));
        Ok(Response::from_outcome(codec, Outcome::Body(body)))
    }

    /// The status of a call that is not over in time.
    fn late(&self, call: &Call, time: &CallTime) -> Status {
        let Some(timeout) = time.timeout() else { return polled_after_end() };
        let status = exceeded(timeout, call.method(), "no answer within the time limit");
        if let Self::Opening { .. } = self { status.not_executed() } else { status }
    }

    fn take_failure(&mut self) -> Status {
        match std::mem::replace(self, Self::Done) {
            Self::Failed(status) => status,
            _ => polled_after_end(),
        }
    }

    /// Returns the stream of the call, if it has all of it.
    const fn stream(&self) -> Option<&Stream> {
        match self {
            Self::Exchanging(exchange) => exchange.read.whole(),
            _ => None,
        }
    }
}

fn polled_after_end() -> Status {
    Status::internal("a call was polled after its end")
}

impl Exchange {
    #[inline]
    fn poll(&mut self, cx: &mut Context<'_>, call: &Call) -> Poll<Result<Response, Status>> {
        let mut message = None;
        Poll::Ready(match ready!(self.poll_message(cx, call, &mut message)) {
            Ok(()) => self.decode(call, message.unwrap_or_default()),
            Err(status) => Err(status),
        })
    }

    /// Sends what there is to send, and reads the first message that comes back.
    #[inline]
    fn poll_message(
        &mut self,
        cx: &mut Context<'_>,
        call: &Call,
        message: &mut Option<Bytes>,
    ) -> Poll<Result<(), Status>> {
        // Even if there is no more to send the peer may have answered.
        if let Poll::Ready(Err(status)) = self.poll_send(cx) {
            return Poll::Ready(Err(status));
        }
        let limits = call.limits();
        let bounds = Bounds { max_message_size: limits.max_message_size, memory: None, gathers: true };
        let read = ready!(self.reader.poll_message(cx, &mut self.read, bounds, message));
        Poll::Ready(match read {
            Ok(()) => Ok(()),
            Err(NoMessage::Broken(error)) => Err(self.broken(call, &error)),
            Err(NoMessage::Unreadable(error)) => Err(call.unreadable(&error)),
        })
    }

    /// Sends what there is to send. A failed write is no failed call: the peer may have answered
    /// without reading on.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        let result = match (&mut self.unsent, &mut self.read) {
            (Unsent::Request, ReadHalf::Whole(Some(stream))) => {
                if let Some(parts) = self.reader.place() {
                    let _ = ready!(stream.poll_write_final(cx, &mut parts.unsent));
                    parts.unsent = OutboundMessage::default();
                }
                Ok(())
            }
            (Unsent::Body(body), _) => ready!(Pin::new(body).poll(cx)),
            _ => return Poll::Ready(Ok(())),
        };
        self.unsent = Unsent::Nothing;
        Poll::Ready(result)
    }

    #[inline]
    fn decode(&mut self, call: &Call, message: Bytes) -> Result<Response, Status> {
        let apart = self.reader.take_apart();
        decode_response(call.method(), self.codec(), message, apart, call.limits())
    }

    /// The codec of the response.
    fn codec(&self) -> Codec {
        self.reader.codec().unwrap_or(Codec::Json)
    }

    /// The stream ended without a response.
    fn broken(&self, call: &Call, error: &ReadError) -> Status {
        let own = match &self.unsent {
            Unsent::ByTask(Some(task)) => task.failure(),
            _ => None,
        };
        let status = own.unwrap_or_else(|| status::from_read_error(call.method(), error));
        if self.read.is_unheard_of() {
            // A stream without a number was never heard of by the peer.
            status.not_executed()
        } else if self.reader.has_begun() {
            // Who has begun to answer has not refused.
            status.maybe_executed()
        } else {
            status
        }
    }
}

impl Call {
    #[inline]
    pub(super) fn new(method: MethodRef, codec: Codec, depth: Depth, hold: Hold) -> Self {
        Self { about: MethodAnd::new(method, (codec, depth)), hold }
    }

    fn method(&self) -> &MethodInfo {
        self.about.method()
    }

    const fn codec(&self) -> Codec {
        self.about.value().0
    }

    const fn depth(&self) -> Depth {
        self.about.value().1
    }

    fn limits(&self) -> &Limits {
        self.hold.shared().limits()
    }

    /// What came is no response that may be taken.
    fn unreadable(&self, error: &MessageError) -> Status {
        let (method, limit) = (self.method(), self.limits().max_message_size);
        if let Some(status) = over_limit(error, method, "an answer", "calling", limit) {
            return status;
        }
        let problem = match error {
            MessageError::Missing => "the peer ended the call without an answer",
            _ => "the answer ended in the middle",
        };
        Status::internal(format!("{method}: {problem}")).with_origin(Origin::Peer)
    }

    /// There was no stream for too long.
    fn no_stream(&self) -> Status {
        let (method, limit) = (self.method(), self.limits().queue_timeout);
        Status::resource_exhausted(format!(
            "{method}: no stream within {limit:?} (Limits::queue_timeout), over the calling side's limits \
             (muxado::Config::max_open_streams, muxado::Config::max_unacknowledged_opens)"
        ))
        .not_executed()
    }

    fn send_body(
        &self,
        message: OutboundMessage,
        body: Body,
        out: WriteHalf,
        limit: Option<TimeLimit>,
    ) -> Unsent {
        let shared = self.hold.shared();
        let writer =
            BodyWriter::new(self.about.method_ref(), body, shared.send_limits().message_size(), message);
        let forward = forward(writer, out);
        // What comes back may be a body, too, if it is not known.
        if self.method().shape() != Shape::ClientStreaming {
            return Unsent::ByTask(Some(ForwardTask::spawn(
                shared.runtime(),
                self.about.method_ref(),
                forward,
                limit,
            )));
        }
        Unsent::Body(Box::new(forward))
    }
}

impl fmt::Debug for CallFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Failed(_) => "failed",
            State::Opening { .. } => "opening",
            State::Exchanging(_) => "exchanging",
            State::Done => "done",
        };
        f.debug_struct("CallFuture").field("state", &state).finish_non_exhaustive()
    }
}
