//! Writes items to a stream, as many at a time as there are.

use std::{
    future::poll_fn,
    task::{Context, Poll, ready},
};

use bytes::Buf;
use muxado::WriteError;

use super::{Body, Step, WriteHalf};
use crate::{
    Metadata, MethodInfo, Status,
    message::{limits::SendLimit, payload::OutboundMessage, response::Failure},
    support::panics::Panic,
    wire::push_input_end,
};

/// Items, and those of them that are encoded and not yet written.
#[derive(Debug)]
pub(crate) struct BodyWriter {
    method: &'static MethodInfo,
    items: Body,
    limit: SendLimit,
    unsent: OutboundMessage,
}

/// How items ended: with a trailer, or not well.
pub(crate) type End = (Result<(), Failure>, Metadata);

impl BodyWriter {
    /// Sends `first`, then items of at most the bytes of `limit`.
    pub(crate) fn new(
        method: &'static MethodInfo,
        items: Body,
        limit: SendLimit,
        first: OutboundMessage,
    ) -> Self {
        Self { method, items, limit, unsent: first }
    }

    /// Writes what there is; ready when nothing but the end is left to be written.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        out: &mut WriteHalf,
    ) -> Poll<Result<End, WriteError>> {
        for _ in 0..BATCHES_PER_POLL {
            if self.unsent.has_remaining() {
                ready!(out.poll_write(cx, &mut self.unsent))?;
            }
            let mut buf = self.unsent.reclaim();
            let step = self.items.poll_fill(cx, self.method, self.limit, &mut buf);
            self.unsent = OutboundMessage::new(buf);
            if let Step::End(result, trailer) = ready!(step) {
                return Poll::Ready(Ok((result, trailer)));
            }
        }
        // Others want to run, too.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Returns the bytes that are encoded and wait to be written.
    pub(crate) fn unsent(&self) -> usize {
        self.unsent.remaining()
    }

    /// Lets go of what makes the items, which ended by something else than themselves.
    pub(crate) fn end(&mut self, result: &Result<(), Failure>) -> Result<(), Panic> {
        self.items.end(result)
    }

    /// Drops the source of the items when nobody wants further ones.
    pub(crate) fn abandon(&mut self) -> Result<(), Panic> {
        self.items.abandon()
    }

    /// The buffer, for the end. A message that was written in part is still in it: its rest comes
    /// first.
    pub(crate) fn into_buf(mut self) -> Vec<u8> {
        if self.unsent.has_remaining() { self.unsent.chunk().to_vec() } else { self.unsent.reclaim() }
    }
}

/// Sends the items of a request. Fails if one of them is a failure, in which case the stream is
/// reset. A stream that can no longer be written to is no failure: the peer may have answered.
pub(crate) async fn forward(mut sending: BodyWriter, out: &mut WriteHalf) -> Result<(), Status> {
    let codec = sending.items.codec();
    match poll_fn(|cx| sending.poll(cx, out)).await {
        Ok((Ok(()), _)) => {
            let mut buf = sending.into_buf();
            push_input_end(codec, &mut buf);
            let mut end = OutboundMessage::new(buf);
            let _ = poll_fn(|cx| out.poll_write_final(cx, &mut end)).await;
            Ok(())
        }
        Ok((Err(Failure::Status(status)), _)) => Err(status),
        Ok((Err(Failure::App(error)), _)) => Err(Status::new(error.code, error.message)),
        Ok((Err(Failure::Panic(_)), _)) => Err(Status::internal("the stream of items to send panicked")),
        Err(_) => Ok(()),
    }
}

/// How many batches of items one poll may write.
const BATCHES_PER_POLL: usize = 8;
