//! Items that the peer sends.

use std::{
    any::Any,
    fmt,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
    thread,
};

use bytes::Bytes;
use muxado::ReadError;
use tokio::task::AbortHandle;

use super::{BodyWriter, Expiry, Limit, ReadHalf, WriteHalf, forward};
use crate::{
    Codec, Limits, Metadata, MethodInfo, Origin, Status,
    connection::shared::ConnectionShared,
    message::{response::Failure, status},
    support::{depth::Depth, panics::CatchUnwind},
    wire::{MessageError, MessageReader, check_metadata, decode_item_message},
};

/// The reading side of a stream of items.
pub(crate) struct Received {
    method: &'static MethodInfo,
    read: ReadHalf,
    reader: MessageReader,
    limits: Limits,
    expiry: Option<Expiry>,
    /// What sends items the other way meanwhile.
    forwarding: Option<ForwardTask>,
    /// Messages that came, but for those that were taken where they lay.
    messages: u64,
    /// What lives as long as the items do.
    _keep: Option<Box<dyn Any + Send + Sync>>,
}

impl Received {
    /// Reads on where the reader is.
    pub(crate) fn new(
        method: &'static MethodInfo,
        read: ReadHalf,
        reader: MessageReader,
        limits: &Limits,
    ) -> Self {
        let limits = limits.clone();
        Self { method, read, reader, limits, expiry: None, forwarding: None, messages: 0, _keep: None }
    }

    pub(crate) fn with_deadline(mut self, deadline: Option<Limit>) -> Self {
        self.expiry = deadline.map(|limit| Expiry::new(self.method, limit));
        self
    }

    pub(crate) fn with_forward_task(mut self, forwarding: Option<ForwardTask>) -> Self {
        self.forwarding = forwarding;
        self
    }

    pub(crate) fn keeping(mut self, keep: impl Any + Send + Sync) -> Self {
        self._keep = Some(Box::new(keep));
        self
    }

    /// What was received, for those who take messages where they lie.
    #[inline]
    pub(super) fn reader(&mut self) -> &mut MessageReader {
        &mut self.reader
    }

    /// The next message. After an error there is none.
    pub(super) fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, Status>> {
        loop {
            match self.reader.pop() {
                Ok(Some(message)) => {
                    self.messages += 1;
                    return Poll::Ready(Ok(message));
                }
                Ok(None) => {}
                Err(error) => return Poll::Ready(Err(self.no_message(&error))),
            }
            if let Some(status) = self.expiry.as_ref().and_then(Expiry::passed) {
                return Poll::Ready(Err(status));
            }
            match self.read.poll_read_chunk(cx) {
                Poll::Ready(Ok(Some(chunk))) => {
                    if let Some(expiry) = &mut self.expiry {
                        expiry.note_taken(chunk.len());
                    }
                    self.reader.push(chunk);
                }
                // JSON text needs no line feed at the end of the stream.
                Poll::Ready(Ok(None)) => {
                    let last = self.reader.finish().and_then(|last| self.whole(last));
                    self.messages += 1;
                    return Poll::Ready(last.map_err(|error| self.no_message(&error)));
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(self.broken(&error))),
                Poll::Pending => {
                    let Some(expiry) = &mut self.expiry else { return Poll::Pending };
                    return expiry.poll(cx).map(Err);
                }
            }
        }
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
        match decode_item_message(self.method, Codec::Json, &last) {
            Ok(_) => Ok(last),
            Err(_) => Err(MessageError::CutShort),
        }
    }

    /// The stream ended without an end of the items.
    fn broken(&self, error: &ReadError) -> Status {
        let own = self.forwarding.as_ref().and_then(|forwarding| forwarding.failure.get().cloned());
        let status = own.unwrap_or_else(|| status::from_read_error(self.method, error));
        if self.read.is_unheard_of() {
            status.not_executed()
        } else if self.reader.codec().is_some() {
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

    fn no_message(&self, error: &MessageError) -> Status {
        let method = self.method;
        match error {
            MessageError::TooLarge { size } => {
                let size = size.map_or_else(|| "too many".to_owned(), |size| size.to_string());
                Status::resource_exhausted(format!(
                    "{method}: an item of {size} bytes, over the receiving side's limit of {} (Limits::max_message_size)",
                    self.limits.max_message_size
                ))
            }
            MessageError::NoRoom(exhausted) => {
                Status::resource_exhausted(format!("{method}: an item has {exhausted}"))
            }
            MessageError::CutShort | MessageError::Missing => {
                Status::data_loss(format!("{method}: the items stopped without an end"))
                    .with_origin(Origin::Peer)
            }
        }
    }
}

impl Drop for Received {
    /// With the items over or unwanted, so is what goes the other way.
    fn drop(&mut self) {
        if self.forwarding.is_some() {
            self.read.cancel();
        }
    }
}

impl fmt::Debug for Received {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Received").field("method", &self.method).finish_non_exhaustive()
    }
}

/// A task that sends the items of a request while those of the answer are read. Ends when dropped.
pub(crate) struct ForwardTask {
    task: AbortHandle,
    failure: Arc<OnceLock<Status>>,
}

impl ForwardTask {
    pub(crate) fn spawn(
        shared: &ConnectionShared,
        method: &'static MethodInfo,
        sending: BodyWriter,
        out: WriteHalf,
    ) -> Self {
        let failure = Arc::new(OnceLock::new());
        let report = Report { method, failure: Arc::clone(&failure), done: false };
        let forward =
            CatchUnwind::new(None, Forward { report, sending, out }.run()).at_depth(Depth::current());
        let task = shared.spawn(async move { drop(forward.await) });
        Self { task, failure }
    }
}

impl Drop for ForwardTask {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The work of the task. Dropped in this order: the failure is known before the stream is reset.
struct Forward {
    report: Report,
    sending: BodyWriter,
    out: WriteHalf,
}

impl Forward {
    async fn run(self) {
        let Self { report, sending, out } = self;
        let mut out = out;
        let mut report = report;
        if let Err(status) = forward(sending, &mut out).await {
            let _ = report.failure.set(status);
        }
        report.done = true;
    }
}

/// Tells of a forward that panicked, or whose runtime has ended.
struct Report {
    method: &'static MethodInfo,
    failure: Arc<OnceLock<Status>>,
    done: bool,
}

impl Drop for Report {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        let method = self.method;
        let _ = self.failure.set(if thread::panicking() {
            Status::internal(format!("{method}: the stream of items to send stopped"))
        } else {
            Status::unavailable(format!("{method}: the runtime that sent the items has ended"))
        });
    }
}
