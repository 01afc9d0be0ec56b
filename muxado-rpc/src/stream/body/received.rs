//! A body that the peer sends.

use std::{
    any::Any,
    fmt,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use muxado::ReadError;

use super::{
    super::{
        deadline::{Deadline, TimeLimit},
        half::{ReadChunks, ReadHalf},
        reader::{Bounds, MessageReader, NoMessage, over_limit},
        writer::ForwardTask,
    },
    NOT_OVER,
};
use crate::{
    Codec, Limits, Metadata, MethodInfo, MethodRef, Origin, Status,
    message::{response::Failure, status},
    support::budget::{CallMemory, Purpose},
    wire::{MessageDecoder, MessageError, check_metadata, decode_item_message},
};

/// The reading side of a body.
pub(crate) struct ReceivedBody {
    method: MethodRef,
    chunks: Chunks,
    reader: MessageReader,
    limits: Limits,
    /// Where the room of what is buffered is counted.
    memory: Option<Arc<CallMemory>>,
    /// What sends a body the other way meanwhile.
    forwarding: Option<ForwardTask>,
    /// The first message, which was read before it was known to be one of a body. Few have any.
    first: Option<Box<Bytes>>,
    /// The stream may end without a message, and there is no body then.
    is_optional: bool,
    /// So it did.
    is_absent: bool,
    /// Messages that came, but for those that were taken where they lay.
    messages: u64,
    /// What lives as long as the body does.
    _keep: Option<Box<dyn Any + Send + Sync>>,
}

/// The bytes of a body, within its time limit.
struct Chunks {
    read: ReadHalf,
    deadline: Option<Deadline>,
}

/// Why there are no more bytes.
enum Broken {
    Stream(ReadError),
    /// The time limit has passed.
    Late(TimeLimit),
}

impl ReadChunks for Chunks {
    type Error = Broken;

    fn poll_chunk(&mut self, cx: &mut Context<'_>, chunk: &mut Option<Bytes>) -> Poll<Result<(), Broken>> {
        let Some(deadline) = &mut self.deadline else {
            return self.read.poll_chunk(cx, chunk).map_err(Broken::Stream);
        };
        if !deadline.has_run_out() {
            if let Poll::Ready(read) = self.read.poll_chunk(cx, chunk) {
                if let Some(chunk) = chunk {
                    deadline.note_taken(chunk.len());
                }
                return Poll::Ready(read.map_err(Broken::Stream));
            }
            ready!(deadline.poll_exceeded(cx));
        }
        Poll::Ready(Err(Broken::Late(deadline.limit())))
    }

    fn await_rest(&self) {
        self.read.await_rest();
    }
}

impl ReceivedBody {
    /// Reads on where the reader is.
    pub(crate) fn new(method: MethodRef, read: ReadHalf, reader: MessageReader, limits: &Limits) -> Self {
        let (chunks, limits) = (Chunks { read, deadline: None }, limits.clone());
        Self {
            method,
            chunks,
            reader,
            limits,
            memory: None,
            forwarding: None,
            first: None,
            is_optional: false,
            is_absent: false,
            messages: 0,
            _keep: None,
        }
    }

    /// Counts the room of what is buffered in this budget.
    pub(crate) fn counted(mut self, memory: &Arc<CallMemory>) -> Self {
        self.memory = Some(Arc::clone(memory));
        self
    }

    /// Begins with a message that was read already.
    pub(crate) fn with_first(mut self, message: Bytes) -> Self {
        self.first = Some(Box::new(message));
        self
    }

    /// Lets there be no body: the stream may end without a message.
    pub(crate) fn optional(mut self) -> Self {
        self.is_optional = true;
        self
    }

    /// Makes an end without a message an error again.
    pub(super) fn expect_end(&mut self) {
        self.is_optional = false;
    }

    /// Whether there was no body.
    pub(super) const fn is_absent(&self) -> bool {
        self.is_absent
    }

    pub(super) const fn method(&self) -> &MethodRef {
        &self.method
    }

    pub(crate) fn with_deadline(mut self, deadline: Option<Deadline>) -> Self {
        self.chunks.deadline = deadline;
        self
    }

    /// Holds the body to a time limit, unless it is held to an earlier one.
    pub(super) fn hold_to(&mut self, deadline: Deadline) {
        let held = &mut self.chunks.deadline;
        if held.as_ref().is_none_or(|held| deadline.limit().at() < held.limit().at()) {
            *held = Some(deadline);
        }
    }

    pub(crate) fn with_forward_task(mut self, forwarding: Option<ForwardTask>) -> Self {
        self.forwarding = forwarding;
        self
    }

    pub(crate) fn keeping(mut self, keep: impl Any + Send + Sync) -> Self {
        self._keep = Some(Box::new(keep));
        self
    }

    /// Returns what was received, for those who take messages where they lie.
    #[inline]
    pub(super) fn decoder(&mut self) -> Option<&mut MessageDecoder> {
        if self.first.is_some() { None } else { self.reader.decoder() }
    }

    /// Returns the next message; `None` if the body is optional and there is none. No message follows an error.
    pub(super) fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Status>> {
        if let Some(first) = self.first.take() {
            self.messages += 1;
            return Poll::Ready(Ok(Some(*first)));
        }
        let memory = self.memory.as_ref().map(|memory| (memory, Purpose::Request));
        let bounds = Bounds { max_message_size: self.limits.max_message_size, memory, gathers: false };
        let mut message = None;
        let read = ready!(self.reader.poll_message(cx, &mut self.chunks, bounds, &mut message));
        let read = match read.map(|()| message.unwrap_or_default()) {
            // In JSON what comes last may be cut off, and look whole.
            Ok(last) if self.reader.is_over() => self.whole(last).map_err(NoMessage::Unreadable),
            read => read,
        };
        if self.is_optional
            && self.messages == 0
            && matches!(read, Err(NoMessage::Unreadable(MessageError::Missing)))
        {
            self.is_absent = true;
            return Poll::Ready(Ok(None));
        }
        self.messages += u64::from(read.is_ok());
        Poll::Ready(read.map(Some).map_err(|error| self.no_message(&error)))
    }

    /// The end that the last message stated, as far as it is to be believed: where something came before it,
    /// the method has begun.
    pub(super) fn believed(&self, end: Result<(), Failure>) -> Result<(), Failure> {
        match end {
            Err(Failure::Status(status)) if self.messages > 1 || self.reader.has_taken() => {
                Err(Failure::Status(status.maybe_executed()))
            }
            end => end,
        }
    }

    /// The message in front of the end of the stream, if that did not come in the middle of it.
    fn whole(&self, last: Bytes) -> Result<Bytes, MessageError> {
        match decode_item_message(&self.method, Codec::Json, &last) {
            Ok(_) => Ok(last),
            Err(_) => Err(MessageError::CutShort),
        }
    }

    fn no_message(&self, error: &NoMessage<Broken>) -> Status {
        let (method, limit) = (&self.method, self.limits.max_message_size);
        match error {
            NoMessage::Broken(Broken::Late(limit)) => limit.status(method, NOT_OVER),
            NoMessage::Broken(Broken::Stream(error)) => self.broken(error),
            NoMessage::Unreadable(error) => over_limit(error, method, "an item", "receiving", limit)
                .unwrap_or_else(|| {
                    Status::data_loss(format!("{method}: the items stopped without an end"))
                        .with_origin(Origin::Peer)
                }),
        }
    }

    /// The stream ended without an end of the items.
    fn broken(&self, error: &ReadError) -> Status {
        let own = self.forwarding.as_ref().and_then(ForwardTask::failure);
        let status = own.unwrap_or_else(|| status::from_read_error(&self.method, error));
        if self.chunks.read.is_unheard_of() {
            status.not_executed()
        } else if self.reader.has_begun() {
            // Who has begun to answer has not refused.
            status.maybe_executed()
        } else {
            status
        }
    }

    pub(super) fn check_metadata(&self, method: &MethodInfo, metadata: &Metadata) -> Result<(), Status> {
        check_metadata(metadata, (&self.limits).into())
            .map_err(|problem| Status::resource_exhausted(format!("the items of {method} have {problem}")))
    }
}

impl Drop for ReceivedBody {
    /// With the body over or unwanted, so is what goes the other way.
    fn drop(&mut self) {
        if self.forwarding.is_some() {
            self.chunks.read.cancel();
        }
    }
}

impl fmt::Debug for ReceivedBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReceivedBody").field("method", &self.method).finish_non_exhaustive()
    }
}
