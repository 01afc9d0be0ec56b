//! Items that the peer sends.

use std::{
    any::Any,
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    task::JoinHandle,
    time::{Instant, Sleep, sleep_until},
};

use super::{ReadHalf, Sending, WriteHalf, pump};
use crate::{
    Codec, Limits, Metadata, MethodInfo, Origin, Status, status,
    wire::{MessageError, MessageReader, check_metadata, decode_item_message},
};

/// The reading side of a stream of items.
pub(crate) struct Received {
    method: &'static MethodInfo,
    read: ReadHalf,
    reader: MessageReader,
    limits: Limits,
    deadline: Option<Limit>,
    timer: Option<Pin<Box<Sleep>>>,
    /// What sends items the other way meanwhile.
    pumping: Option<Pumping>,
    /// What lives as long as the items do.
    _keep: Option<Box<dyn Any + Send + Sync>>,
}

/// By when the last item must be there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limit {
    pub(crate) at: Instant,
    pub(crate) timeout: Duration,
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
        Self { method, read, reader, limits, deadline: None, timer: None, pumping: None, _keep: None }
    }

    pub(crate) fn with_deadline(mut self, deadline: Option<Limit>) -> Self {
        self.deadline = deadline;
        self
    }

    pub(crate) fn with_pumping(mut self, pumping: Option<Pumping>) -> Self {
        self.pumping = pumping;
        self
    }

    pub(crate) fn keeping(mut self, keep: impl Any + Send + Sync) -> Self {
        self._keep = Some(Box::new(keep));
        self
    }

    /// What was received and not yet asked for.
    pub(super) fn reader_mut(&mut self) -> &mut MessageReader {
        &mut self.reader
    }

    /// The next message. After an error there is none.
    pub(super) fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, Status>> {
        loop {
            match self.reader.pop() {
                Ok(Some(message)) => return Poll::Ready(Ok(message)),
                Ok(None) => {}
                Err(error) => return Poll::Ready(Err(self.no_message(&error))),
            }
            match self.read.poll_read_chunk(cx) {
                Poll::Ready(Ok(Some(chunk))) => self.reader.push(chunk),
                // JSON text needs no line feed at the end of the stream.
                Poll::Ready(Ok(None)) => {
                    let last = self.reader.finish().and_then(|last| self.whole(last));
                    return Poll::Ready(last.map_err(|error| self.no_message(&error)));
                }
                Poll::Ready(Err(error)) => {
                    let own = self.pumping.as_ref().and_then(|pumping| pumping.failure.get().cloned());
                    let status = own.unwrap_or_else(|| status::from_read_error(self.method, &error));
                    let unheard_of = self.read.is_unheard_of();
                    return Poll::Ready(Err(if unheard_of { status.not_executed() } else { status }));
                }
                Poll::Pending => return self.poll_deadline(cx).map(Err),
            }
        }
    }

    /// The message in front of the end of the stream, if that did not come in the middle of it.
    fn whole(&self, last: Bytes) -> Result<Bytes, MessageError> {
        match decode_item_message(self.method, Codec::Json, &last) {
            Ok(_) => Ok(last),
            Err(_) => Err(MessageError::CutShort),
        }
    }

    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<Status> {
        let Some(Limit { at, timeout }) = self.deadline else { return Poll::Pending };
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(at)));
        ready!(timer.as_mut().poll(cx));
        let method = self.method;
        Poll::Ready(Status::deadline_exceeded(format!(
            "{method}: the items did not end within the time limit of {timeout:?}"
        )))
    }

    pub(super) fn check_metadata(&self, method: &MethodInfo, metadata: &Metadata) -> Result<(), Status> {
        check_metadata(metadata, &self.limits)
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
        if self.pumping.is_some() {
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
pub(crate) struct Pumping {
    task: JoinHandle<()>,
    failure: Arc<OnceLock<Status>>,
}

impl Pumping {
    pub(crate) fn spawn(method: &'static MethodInfo, sending: Sending, out: WriteHalf) -> Self {
        let failure = Arc::new(OnceLock::new());
        let report = Report { method, failure: Arc::clone(&failure), done: false };
        let task = tokio::spawn(async move {
            // Dropped in the reverse order: the failure is known before the stream is reset.
            let mut out = out;
            let mut report = report;
            if let Err(status) = pump(sending, &mut out).await {
                let _ = report.failure.set(status);
            }
            report.done = true;
        });
        Self { task, failure }
    }
}

impl Drop for Pumping {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Tells of a pump that panicked.
struct Report {
    method: &'static MethodInfo,
    failure: Arc<OnceLock<Status>>,
    done: bool,
}

impl Drop for Report {
    fn drop(&mut self) {
        if !self.done {
            let method = self.method;
            let status = Status::internal(format!("{method}: the stream of items to send stopped"));
            let _ = self.failure.set(status);
        }
    }
}
