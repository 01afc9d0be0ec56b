//! Streams: [`AsyncRead`] and [`AsyncWrite`] over one stream of a session.

use std::{
    fmt,
    future::poll_fn,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::{
    error::{ErrorCode, ReadError, WriteError},
    proto::{Finish, Read, Source, StreamId, StreamKey},
    shared::{Direction, Shared},
    split::{RecvStream, SendStream, split},
};

/// A bidirectional stream of bytes.
///
/// * Opening costs no round trip. The peer hears of a stream that was opened here with the first bytes written, with
///   the first flush, or with the first read (by [`AsyncRead`] or [`read_chunk`](Self::read_chunk)) that has to wait,
///   whichever comes first.
/// * [`AsyncWrite::poll_shutdown`] and [`finish`](Self::finish) half-close it: the peer reads to the end and may go on
///   sending.
/// * [`AsyncWrite::poll_flush`] is ready once the transport has taken everything that was written before. Where the
///   window is full it waits for the peer's credit, so for as long as the peer does not read. It fails if the stream or
///   the session ends before. What was written is sent without a flush, too.
/// * Dropping a stream that has not ended in both directions resets it with [`ErrorCode::CANCELLED`]; what was finished
///   is still sent before. A drop never blocks.
/// * What was received before a FIN can be read to the end whatever happens later. Without a FIN the end is an error,
///   never a clean end of file.
///
/// All methods are cancel safe: a future that is dropped has either done its work or nothing. The exceptions are
/// `write_all`, `write_chunk` and the like, of which a part may be done.
pub struct Stream {
    inner: StreamRef,
    /// The handle was given back to the session.
    released: bool,
}

impl Stream {
    pub(crate) fn new(shared: Arc<Shared>, key: StreamKey) -> Self {
        Self { inner: StreamRef { shared, key }, released: false }
    }

    /// Returns the stream's number on the wire. A stream opened by this side has none before the peer is told of it.
    pub fn id(&self) -> Option<StreamId> {
        self.inner.id()
    }

    /// Reads the next bytes as they came, without a copy. Returns `None` after the peer's FIN.
    ///
    /// A piece of up to 128 bytes may share an allocation of 512 bytes with others, which is freed with the last of them:
    /// copy what is to be kept for long.
    ///
    /// # Errors
    ///
    /// When the stream was reset or the session ended before the FIN.
    pub async fn read_chunk(&mut self) -> Result<Option<Bytes>, ReadError> {
        self.inner.read_chunk().await
    }

    /// Polls for the next bytes, at most `max` of them. Returns `None` after the peer's FIN.
    ///
    /// Unlike [`read_chunk`](Self::read_chunk), it does not tell the peer of a stream to which nothing was written yet.
    ///
    /// # Errors
    ///
    /// As [`read_chunk`](Self::read_chunk).
    pub fn poll_read_chunk(
        &mut self,
        cx: &mut Context<'_>,
        max: usize,
    ) -> Poll<Result<Option<Bytes>, ReadError>> {
        self.inner.poll_read_chunk(cx, max)
    }

    /// Writes all of `data`; large pieces are passed on without a copy.
    ///
    /// # Errors
    ///
    /// When the stream was finished or reset, or the session ended.
    ///
    /// # Cancel safety
    ///
    /// A part of `data` may have been written when the future is dropped.
    pub async fn write_chunk(&mut self, mut data: Bytes) -> Result<(), WriteError> {
        poll_fn(|cx| self.poll_write_chunk(cx, &mut data)).await
    }

    /// Takes bytes from the front of `data`, a `Bytes` or a `&[u8]`. It is ready once none are left.
    ///
    /// # Errors
    ///
    /// As [`write_chunk`](Self::write_chunk).
    pub fn poll_write_chunk(
        &mut self,
        cx: &mut Context<'_>,
        data: &mut impl Source,
    ) -> Poll<Result<(), WriteError>> {
        self.inner.poll_write_all(cx, data, Finish::No)
    }

    /// Takes bytes from the front of `data` as [`poll_write_chunk`](Self::poll_write_chunk) does, and sends a FIN behind
    /// the last byte.
    ///
    /// A small message and its FIN leave in one frame. If they are the first of a stream opened by this side, and the
    /// protocol extensions are not negotiated, they leave in two frames of one write (`PROTOCOL §4.2`).
    ///
    /// # Errors
    ///
    /// As [`write_chunk`](Self::write_chunk).
    pub fn poll_write_final(
        &mut self,
        cx: &mut Context<'_>,
        data: &mut impl Source,
    ) -> Poll<Result<(), WriteError>> {
        self.inner.poll_write_all(cx, data, Finish::Yes)
    }

    /// Half-closes the stream: a FIN follows what was written. It never waits, and repeating it is harmless.
    ///
    /// # Errors
    ///
    /// When the stream was reset or the session ended.
    pub fn finish(&mut self) -> Result<(), WriteError> {
        self.inner.finish()
    }

    /// Ends the stream in both directions. Unread and unsent bytes are dropped; the peer sees
    /// `code`, if it has heard of the stream. [`ErrorCode::NO_ERROR`] is sent as [`ErrorCode::CANCELLED`].
    pub fn reset(&mut self, code: ErrorCode) {
        self.inner.reset(code);
    }

    /// Polls for the failure of the stream: ready once it was reset by either side, or the session ended. A FIN is no
    /// failure.
    ///
    /// It shares its waker with writing: of a task that waits for this and one that writes, only the last is woken.
    pub fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<ReadError> {
        self.inner.poll_reset(cx)
    }

    /// Returns whether both directions have ended.
    pub fn is_finished(&self) -> bool {
        self.inner.is_finished()
    }

    /// Splits the stream into two halves, which different tasks can use.
    pub fn into_split(self) -> (SendStream, RecvStream) {
        split(self)
    }

    pub(crate) fn inner(&self) -> &StreamRef {
        &self.inner
    }

    /// Drops a stream whose handle was given back to the session already.
    pub(crate) fn drop_released(mut self) {
        self.released = true;
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if !self.released {
            self.inner.shared.release(self.inner.key);
        }
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("id", &self.id()).finish_non_exhaustive()
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.inner.poll_read(cx, buf)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.inner.poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner.poll_flush(cx).map_err(Into::into)
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.inner.finish().map_err(Into::into))
    }
}

/// A stream as all kinds of handles use it. It does not give the handle back when it is dropped.
pub(crate) struct StreamRef {
    pub(crate) shared: Arc<Shared>,
    pub(crate) key: StreamKey,
}

impl StreamRef {
    pub(crate) fn id(&self) -> Option<StreamId> {
        self.shared.with(|core| core.proto.stream_id(self.key))
    }

    pub(crate) fn poll_read(&self, cx: &Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.shared.with(|core| match core.proto.read(self.key, buf)? {
            Read::Data(_) | Read::Finished => Poll::Ready(Ok(())),
            Read::Pending => {
                // A peer that does not know of the stream would never send anything.
                core.proto.announce(self.key);
                core.register_stream(self.key, Direction::Read, cx);
                Poll::Pending
            }
        })
    }

    /// Reads the next bytes; if the task has to wait for them, the peer is told of the stream.
    pub(crate) async fn read_chunk(&self) -> Result<Option<Bytes>, ReadError> {
        poll_fn(|cx| {
            self.shared.with(|core| {
                let polled = core.poll_read_chunk(self.key, cx, usize::MAX);
                if polled.is_pending() {
                    core.proto.announce(self.key);
                }
                polled
            })
        })
        .await
    }

    pub(crate) fn poll_read_chunk(
        &self,
        cx: &Context<'_>,
        max: usize,
    ) -> Poll<Result<Option<Bytes>, ReadError>> {
        self.shared.with(|core| core.poll_read_chunk(self.key, cx, max))
    }

    pub(crate) fn poll_write(&self, cx: &Context<'_>, mut buf: &[u8]) -> Poll<io::Result<usize>> {
        self.shared.with(|core| match core.write(self.key, &mut buf, Finish::No, cx)? {
            0 if !buf.is_empty() => Poll::Pending,
            n => Poll::Ready(Ok(n)),
        })
    }

    pub(crate) fn poll_write_all(
        &self,
        cx: &Context<'_>,
        data: &mut impl Source,
        finish: Finish,
    ) -> Poll<Result<(), WriteError>> {
        self.shared.with(|core| {
            core.write(self.key, data, finish, cx)?;
            if data.has_remaining() { Poll::Pending } else { Poll::Ready(Ok(())) }
        })
    }

    pub(crate) fn poll_reset(&self, cx: &Context<'_>) -> Poll<ReadError> {
        self.poll_reset_until(cx, None)
    }

    /// Polls for the failure of the stream. Unless that is there, the task is woken at a time, too.
    #[inline]
    pub(crate) fn poll_reset_until(&self, cx: &Context<'_>, at: Option<Instant>) -> Poll<ReadError> {
        let reminder = at.map(|at| self.shared.reminder_at(at));
        self.shared.with(|core| match core.proto.failure(self.key) {
            Some(error) => Poll::Ready(error),
            None => {
                core.register_stream(self.key, Direction::Write, cx);
                if let Some(reminder) = reminder {
                    core.set_reminder(self.key, reminder);
                }
                Poll::Pending
            }
        })
    }

    pub(crate) fn finish(&self) -> Result<(), WriteError> {
        self.shared.with(|core| core.finish(self.key))
    }

    pub(crate) fn reset(&self, code: ErrorCode) {
        self.shared.with(|core| core.proto.reset(self.key, code));
    }

    pub(crate) fn poll_flush(&self, cx: &Context<'_>) -> Poll<Result<(), WriteError>> {
        self.shared.with(|core| core.poll_flush(self.key, cx))
    }

    pub(crate) fn await_rest(&self) {
        self.shared.with(|core| core.proto.await_rest(self.key));
    }

    pub(crate) fn stop_reading(&self) {
        self.shared.with(|core| core.proto.stop_reading(self.key));
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.shared.with(|core| core.proto.is_over(self.key))
    }
}
