//! The one writer of bodies, as many items at a time as there are.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll, ready},
    thread,
};

use bytes::Buf;
use muxado::WriteError;
use tokio::{runtime::Handle, task::AbortHandle};

use super::{
    body::{BodyStream, Step},
    deadline::{Deadline, TimeLimit},
    half::WriteHalf,
};
use crate::{
    Body, Metadata, MethodRef, Shape, Status,
    message::{limits::SendLimit, payload::OutboundMessage, response::Failure},
    support::{
        depth::Depth,
        panics::{CatchUnwind, Panic},
    },
    wire::push_input_end,
};

/// A body, and those of its items that are encoded and not yet written.
#[derive(Debug)]
pub(crate) struct BodyWriter {
    method: MethodRef,
    body: Box<BodyStream>,
    limit: SendLimit,
    unsent: OutboundMessage,
}

/// How a body ended: with a trailer, or not well.
pub(crate) type End = (Result<(), Failure>, Metadata);

impl BodyWriter {
    /// Writes `first`, then items of at most the bytes of `limit`.
    pub(crate) fn new(method: MethodRef, body: Body, limit: SendLimit, first: OutboundMessage) -> Self {
        Self { method, body: BodyStream::of(body), limit, unsent: first }
    }

    /// Writes what there is; ready when nothing but the end is left to be written.
    pub(crate) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        out: &mut WriteHalf,
    ) -> Poll<Result<End, WriteError>> {
        for _ in 0..BATCHES_PER_POLL {
            if self.unsent.has_remaining() {
                ready!(out.poll_write(cx, &mut self.unsent))?;
            }
            let mut buf = self.unsent.reclaim();
            let step = self.body.poll_fill(cx, &self.method, self.limit, &mut buf);
            self.unsent = OutboundMessage::new(buf);
            if let Step::End(result, trailer) = ready!(step) {
                return Poll::Ready(Ok((result, trailer)));
            }
        }
        // Others want to run, too.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Whether the call turned out to have no body, which was not known before.
    fn has_no_body(&self) -> bool {
        self.method.shape() == Shape::Unknown && self.body.was_absent()
    }

    /// Returns the bytes that are encoded and wait to be written.
    pub(crate) fn unsent(&self) -> usize {
        self.unsent.remaining()
    }

    /// Lets go of what makes the items, which ended by something else than themselves.
    pub(crate) fn end(&mut self, result: &Result<(), Failure>) -> Result<(), Panic> {
        self.body.end(result)
    }

    /// Lets go of what makes the items when nobody wants further ones.
    pub(crate) fn abandon(&mut self) -> Result<(), Panic> {
        self.body.abandon()
    }

    /// Takes the buffer, for the end. A message that was written in part is still in it: its rest comes
    /// first.
    pub(crate) fn take_buf(&mut self) -> Vec<u8> {
        if self.unsent.has_remaining() { self.unsent.to_vec() } else { self.unsent.reclaim() }
    }
}

/// Sends the body of a request. Fails if an item is a failure, in which case the stream is reset with this. A stream
/// that can no longer be written to is no failure: the peer may have responded.
pub(crate) fn forward(writer: BodyWriter, out: WriteHalf) -> Forward {
    Forward { writer, out, end: None }
}

/// The future of [`forward`].
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub(crate) struct Forward {
    writer: BodyWriter,
    out: WriteHalf,
    /// All items are written.
    end: Option<OutboundMessage>,
}

impl Future for Forward {
    type Output = Result<(), Status>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { writer, out, end } = &mut *self;
        let end = match end {
            Some(end) => end,
            None => match ready!(writer.poll_write(cx, out)) {
                Ok((Ok(()), _)) => {
                    let mut buf = writer.take_buf();
                    if !writer.has_no_body() {
                        push_input_end(writer.body.codec(), &mut buf);
                    }
                    end.insert(OutboundMessage::new(buf))
                }
                Ok((Err(failure), _)) => return Poll::Ready(Err(unsent(failure))),
                Err(_) => return Poll::Ready(Ok(())),
            },
        };
        let _ = ready!(out.poll_write_final(cx, end));
        Poll::Ready(Ok(()))
    }
}

/// The status of a call whose own items failed.
fn unsent(failure: Failure) -> Status {
    match failure {
        Failure::Status(status) => status,
        Failure::App(error) => Status::new(error.code, error.message),
        Failure::Panic(_) => Status::internal("the stream of items to send panicked"),
    }
}

/// A task that sends the body of a request while that of the response is read. Ends when dropped, and at the time
/// limit of the call.
#[derive(Debug)]
pub(crate) struct ForwardTask {
    task: AbortHandle,
    failure: Arc<OnceLock<Status>>,
}

impl ForwardTask {
    /// Spawns the task on the runtime of the caller; for callers that have none, on that of the connection.
    pub(crate) fn spawn(
        runtime: &Handle,
        method: MethodRef,
        forward: Forward,
        limit: Option<TimeLimit>,
    ) -> Self {
        let failure = Arc::new(OnceLock::new());
        let report = Report { method, failure: Arc::clone(&failure), done: false };
        let work = CatchUnwind::new(None, Work { report, forward }.run(limit)).at_depth(Depth::current());
        let current = Handle::try_current();
        let runtime = current.as_ref().unwrap_or(runtime);
        let task = runtime.spawn(async move { drop(work.await) }).abort_handle();
        Self { task, failure }
    }

    /// Returns why the body could not be sent.
    pub(crate) fn failure(&self) -> Option<Status> {
        self.failure.get().cloned()
    }
}

impl Drop for ForwardTask {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The work of the task. Dropped in this order: the failure is known before the stream is reset.
struct Work {
    report: Report,
    forward: Forward,
}

impl Work {
    async fn run(self, limit: Option<TimeLimit>) {
        let Self { report, forward } = self;
        let mut forward = forward;
        let mut report = report;
        let mut deadline = limit.map(Deadline::new);
        let sent = poll_fn(|cx| {
            if let Poll::Ready(sent) = Pin::new(&mut forward).poll(cx) {
                return Poll::Ready(sent);
            }
            let Some(deadline) = &mut deadline else { return Poll::Pending };
            ready!(deadline.poll_exceeded(cx));
            let what = "the items to send did not end within the time limit";
            Poll::Ready(Err(deadline.limit().status(&report.method, what)))
        });
        if let Err(status) = sent.await {
            let _ = report.failure.set(status);
        }
        report.done = true;
    }
}

/// Tells of a task that panicked, or whose runtime has ended.
struct Report {
    method: MethodRef,
    failure: Arc<OnceLock<Status>>,
    done: bool,
}

impl Drop for Report {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        let method = &self.method;
        let _ = self.failure.set(if thread::panicking() {
            Status::internal(format!("{method}: the stream of items to send stopped"))
        } else {
            Status::unavailable(format!("{method}: the runtime that sent the items has ended"))
        });
    }
}

/// How many batches of items one poll may write.
const BATCHES_PER_POLL: usize = 8;
