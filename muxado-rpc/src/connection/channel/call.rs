//! One call of ours: opens a stream, sends the request, reads the answer.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, Bytes};
use muxado::{OpenTyped, ReadError, RecvStream, Stream, StreamType, proto::OpenLevel};
use pin_project::pin_project;
use tokio::time::Instant;

use super::Hold;
use crate::{
    Body, Codec, Limits, MethodInfo, Origin, Response, Status,
    message::{payload::OutboundMessage, response::Outcome, status},
    stream::body::{BodyWriter, ForwardTask, Limit, ReadHalf, Received, WriteHalf, forward},
    support::{depth::Depth, timer::Timer},
    wire::{MessageError, MessageReader, decode_response, whole_message},
};

/// A call under way; see [`Channel`](crate::Channel).
///
/// Ready with the answer; of a method that returns a stream, as soon as the request is sent.
///
/// Dropping it resets the stream: the peer drops the handler. If it was dropped before its first poll,
/// nothing was sent.
#[must_use = "futures do nothing unless polled"]
pub struct CallFuture {
    state: State,
    /// Boxed, because most calls have none and thousands wait at a time.
    deadline: Option<Pin<Box<Deadline>>>,
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
        input: Option<Body>,
        call: Call,
        /// Begins when there is no stream at once.
        wait: Option<Pin<Box<OpenWait>>>,
    },
    /// Writing the request and reading the answer.
    Exchanging(Exchange),
    Done,
}

/// What a call needs as long as it lasts.
pub(super) struct Call {
    method: &'static MethodInfo,
    codec: Codec,
    depth: Depth,
    /// A call under way keeps the connection open as its channel does.
    hold: Hold,
}

#[pin_project]
struct Deadline {
    limit: Limit,
    method: &'static MethodInfo,
    #[pin]
    timer: Timer,
}

/// How long a call waits for a stream.
#[pin_project]
struct OpenWait {
    /// `None` beyond the end of time.
    until: Option<Instant>,
    #[pin]
    timer: Timer,
}

struct Exchange {
    call: Call,
    read: Answer,
    /// An answer that did not come in one piece.
    reader: Option<Box<MessageReader>>,
    sending: Sends,
}

/// Where the answer comes.
enum Answer {
    /// `None` once it has come, and the stream is over.
    Whole(Option<Stream>),
    Half(RecvStream),
}

/// What is still to be sent.
enum Sends {
    /// The request, which is all.
    Request(OutboundMessage),
    /// The request and the items that follow it, by a future that owns the writing half.
    Body(Pin<Box<dyn Future<Output = Result<(), Status>> + Send>>),
    /// The same, by a task, since the answer is a stream that is read meanwhile.
    Apart(Option<ForwardTask>),
    Nothing,
}

impl CallFuture {
    pub(super) fn new(
        call: Call,
        timeout: Option<Duration>,
        message: OutboundMessage,
        input: Option<Body>,
    ) -> Self {
        let method = call.method;
        let (stream_type, level) =
            (StreamType::new(method.service_id().as_u32()), OpenLevel::new(call.depth.as_u8()));
        let opening = call.hold.shared().typed().open_typed_at(stream_type, level);
        // A deadline beyond the end of time is none.
        let deadline = timeout.and_then(|timeout| {
            let at = Instant::now().checked_add(timeout)?;
            Some(Box::pin(Deadline { limit: Limit { at, timeout }, method, timer: Timer::default() }))
        });
        let state = State::Opening { opening, message, input, call, wait: None };
        Self { state, deadline }
    }

    pub(super) fn failed(status: Status) -> Self {
        Self { state: State::Failed(status), deadline: None }
    }
}

impl Future for CallFuture {
    type Output = Result<Response, Status>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let limit = this.deadline.as_ref().map(|deadline| deadline.limit);
        if let Poll::Ready(result) = this.state.poll(cx, limit) {
            this.state = State::Done;
            return Poll::Ready(result);
        }
        let Some(deadline) = &mut this.deadline else { return Poll::Pending };
        ready!(deadline.as_mut().poll_passed(cx));
        let status = deadline.exceeded(&this.state);
        // Drops the stream, which resets it.
        this.state = State::Done;
        Poll::Ready(Err(status))
    }
}

impl Deadline {
    /// Ready when it has passed.
    fn poll_passed(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        this.timer.poll(cx, this.limit.at)
    }

    fn exceeded(&self, state: &State) -> Status {
        let Self { method, limit: Limit { timeout, .. }, .. } = self;
        let status =
            Status::deadline_exceeded(format!("{method}: no answer within the time limit of {timeout:?}"));
        match state {
            State::Opening { .. } => status.not_executed(),
            _ => status,
        }
    }
}

impl OpenWait {
    /// Ready when it has been too long.
    fn poll(wait: &mut Option<Pin<Box<Self>>>, cx: &mut Context<'_>, limits: &Limits) -> Poll<()> {
        let wait = wait.get_or_insert_with(|| {
            let until = Instant::now().checked_add(limits.queue_timeout);
            Box::pin(Self { until, timer: Timer::default() })
        });
        let wait = wait.as_mut().project();
        match *wait.until {
            Some(until) => wait.timer.poll(cx, until),
            None => Poll::Pending,
        }
    }
}

impl State {
    fn poll(&mut self, cx: &mut Context<'_>, deadline: Option<Limit>) -> Poll<Result<Response, Status>> {
        loop {
            match self {
                Self::Opening { opening, message, input, call, wait } => {
                    let opened = match input {
                        None => opening.poll_with_final(cx, message),
                        Some(_) => Pin::new(opening).poll(cx),
                    };
                    let Poll::Ready(opened) = opened else {
                        ready!(OpenWait::poll(wait, cx, call.limits()));
                        return Poll::Ready(Err(call.no_stream()));
                    };
                    let stream =
                        opened.map_err(|error| status::from_open_error(call.method, &error))?.into_inner();
                    if self.exchange(stream) {
                        return Poll::Pending;
                    }
                }
                Self::Exchanging(exchange) if exchange.call.method.shape().streams_output() => {
                    ready!(exchange.poll_send(cx))?;
                    return Poll::Ready(self.take_items(deadline));
                }
                Self::Exchanging(exchange) => return exchange.poll(cx),
                Self::Failed(_) | Self::Done => return Poll::Ready(Err(self.take_failure())),
            }
        }
    }

    /// True if the request is on its way, and there is nothing to do but to wait for the answer.
    fn exchange(&mut self, stream: Stream) -> bool {
        let Self::Opening { mut message, input, call, .. } = std::mem::replace(self, Self::Done) else {
            return false;
        };
        let (read, sending) = match input {
            None if message.has_remaining() => (Answer::Whole(Some(stream)), Sends::Request(message)),
            None => {
                message.recycle();
                (Answer::Whole(Some(stream)), Sends::Nothing)
            }
            Some(input) => {
                let (send, receive) = stream.into_split();
                (Answer::Half(receive), call.send_items(message, input, WriteHalf::Half(send)))
            }
        };
        let waits = matches!(sending, Sends::Nothing) && !call.method.shape().streams_output();
        *self = Self::Exchanging(Exchange { call, read, reader: None, sending });
        waits
    }

    /// The items to come, once the request is on its way.
    fn take_items(&mut self, deadline: Option<Limit>) -> Result<Response, Status> {
        let Self::Exchanging(exchange) = std::mem::replace(self, Self::Done) else {
            return Err(self.take_failure());
        };
        let Exchange { call, read, reader, sending } = exchange;
        let read = match read {
            Answer::Whole(Some(stream)) => ReadHalf::Whole(stream),
            Answer::Half(half) => ReadHalf::Half(half),
            Answer::Whole(None) => {
                return Err(Status::internal("a stream of items was over before its first"));
            }
        };
        let forwarding = match sending {
            Sends::Apart(forwarding) => forwarding,
            _ => None,
        };
        let reader =
            reader.map_or_else(|| MessageReader::new(call.limits().max_message_size), |reader| *reader);
        let received = Received::new(call.method, read, reader, call.limits())
            .with_deadline(deadline)
            .with_forward_task(forwarding);
        let codec = call.codec;
        let items = Body::received(codec, received.keeping(call));
        Ok(Response::from_outcome(codec, Outcome::Body(items)))
    }

    fn take_failure(&mut self) -> Status {
        match std::mem::replace(self, Self::Done) {
            Self::Failed(status) => status,
            _ => Status::internal("a call was polled after its end"),
        }
    }
}

impl Exchange {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Response, Status>> {
        // Even if there is no more to send the peer may have answered.
        if let Poll::Ready(Err(status)) = self.poll_send(cx) {
            return Poll::Ready(Err(status));
        }
        loop {
            let message = match ready!(self.read.poll_read_chunk(cx)) {
                Ok(Some(chunk)) => self.take(chunk),
                Ok(None) => self.finish().map(Some),
                Err(error) => return Poll::Ready(Err(self.broken(&error))),
            };
            match message {
                Ok(Some((codec, message))) => {
                    return Poll::Ready(decode_response(
                        self.call.method,
                        codec,
                        message,
                        self.call.limits(),
                    ));
                }
                Ok(None) => {}
                Err(error) => return Poll::Ready(Err(self.no_message(&error))),
            }
        }
    }

    /// Sends what there is to send. A failed write is no failed call: the peer may have answered
    /// without reading on.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        let result = match (&mut self.sending, &mut self.read) {
            (Sends::Request(message), Answer::Whole(Some(stream))) => {
                let _ = ready!(stream.poll_write_final(cx, message));
                Ok(())
            }
            (Sends::Body(forward), _) => ready!(forward.as_mut().poll(cx)),
            _ => return Poll::Ready(Ok(())),
        };
        self.sending = Sends::Nothing;
        Poll::Ready(result)
    }

    /// Takes in what came; the answer, once it is whole.
    fn take(&mut self, chunk: Bytes) -> Result<Option<(Codec, Bytes)>, MessageError> {
        let limit = self.call.limits().max_message_size;
        let (reader, chunk) = match &mut self.reader {
            Some(reader) => (reader, chunk),
            None => match whole_message(chunk, limit) {
                Ok(whole) => return Ok(Some(whole)),
                Err(chunk) => (self.reader.insert(Box::new(MessageReader::new(limit))), chunk),
            },
        };
        reader.push(chunk);
        let message = reader.pop()?;
        // The reader knows the codec from the first byte; without one there is no message.
        Ok(message.zip(reader.codec()).map(|(message, codec)| (codec, message)))
    }

    /// What there is at the end of the stream.
    fn finish(&mut self) -> Result<(Codec, Bytes), MessageError> {
        let reader = self.reader.as_mut().ok_or(MessageError::Missing)?;
        let message = reader.finish()?;
        Ok((reader.codec().unwrap_or(Codec::Json), message))
    }

    /// The stream ended without an answer.
    fn broken(&self, error: &ReadError) -> Status {
        let status = status::from_read_error(self.call.method, error);
        if self.read.is_unheard_of() {
            // A stream without a number was never heard of by the peer.
            status.not_executed()
        } else if self.reader.is_some() {
            // Who has begun to answer has not refused.
            status.maybe_executed()
        } else {
            status
        }
    }

    fn no_message(&self, error: &MessageError) -> Status {
        let method = self.call.method;
        match error {
            MessageError::TooLarge { size } => {
                let limit = self.call.limits().max_message_size;
                let size = size.map_or_else(|| "too many".to_owned(), |size| size.to_string());
                Status::resource_exhausted(format!(
                    "{method}: an answer of {size} bytes, over the calling side's limit of {limit} (Limits::max_message_size)"
                ))
            }
            MessageError::NoRoom(exhausted) => Status::resource_exhausted(format!("{method}: {exhausted}")),
            MessageError::CutShort => Status::internal(format!("{method}: the answer ended in the middle"))
                .with_origin(Origin::Peer),
            MessageError::Missing => {
                Status::internal(format!("{method}: the peer ended the call without an answer"))
                    .with_origin(Origin::Peer)
            }
        }
    }
}

impl Answer {
    /// The next bytes. Nothing is asked of the stream after its end.
    fn poll_read_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, ReadError>> {
        match self {
            Self::Whole(stream) => Stream::poll_read_last(stream, cx, usize::MAX),
            Self::Half(half) => half.poll_read_chunk(cx, usize::MAX),
        }
    }

    /// Whether the peer cannot have heard of the stream.
    fn is_unheard_of(&self) -> bool {
        match self {
            Self::Whole(stream) => stream.as_ref().is_some_and(|stream| stream.id().is_none()),
            Self::Half(half) => half.id().is_none(),
        }
    }
}

impl Call {
    pub(super) fn new(method: &'static MethodInfo, codec: Codec, depth: Depth, hold: Hold) -> Self {
        Self { method, codec, depth, hold }
    }

    fn limits(&self) -> &Limits {
        self.hold.shared().limits()
    }

    /// There was no stream for too long.
    fn no_stream(&self) -> Status {
        let (method, limit) = (self.method, self.limits().queue_timeout);
        Status::resource_exhausted(format!(
            "{method}: no stream within {limit:?} (Limits::queue_timeout), over the calling side's limits \
             (muxado::Config::max_open_streams, muxado::Config::max_unacknowledged_opens)"
        ))
        .not_executed()
    }

    fn send_items(&self, message: OutboundMessage, input: Body, mut out: WriteHalf) -> Sends {
        let sending =
            BodyWriter::new(self.method, input, self.hold.shared().send_limits().message_size(), message);
        if self.method.shape().streams_output() {
            return Sends::Apart(Some(ForwardTask::spawn(self.hold.shared(), self.method, sending, out)));
        }
        Sends::Body(Box::pin(async move { forward(sending, &mut out).await }))
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
