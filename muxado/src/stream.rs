//! Streams: [`AsyncRead`] and [`AsyncWrite`] over one part of a session.

use std::{
    fmt,
    future::poll_fn,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
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
/// * The peer hears of a stream that was opened here with the first bytes written, with the first flush, or with
///   the first read (by [`AsyncRead`] or [`read_chunk`](Self::read_chunk)) that has to wait, whatever comes first:
///   opening costs no round trip.
/// * [`AsyncWrite::poll_shutdown`] and [`finish`](Self::finish) half-close it: the peer reads to
///   the end and may go on sending.
/// * [`AsyncWrite::poll_flush`] is ready once the transport has taken everything that was written
///   before: it waits for the peer's credit where the window is full, so it may wait for as long as the
///   peer does not read. It fails if the stream or the session ends before. Nothing needs it to get on its way: what
///   was written is sent without it, too.
/// * Dropping a stream that has not ended in both directions resets it with
///   [`ErrorCode::CANCELLED`]; what was finished is still sent before. It never blocks.
/// * What was received before a FIN can be read to the end whatever happens later. Without a FIN
///   the end is an error, never a clean end of file.
///
/// All methods are cancel safe: a future that is dropped has either done its work or nothing, with
/// the exception of `write_all` and the like, of which a part may be done.
pub struct Stream {
    inner: StreamRef,
    /// There is nothing left to be given back.
    spent: bool,
}

impl Stream {
    pub(crate) fn new(shared: Arc<Shared>, key: StreamKey) -> Self {
        Self { inner: StreamRef { shared, key }, spent: false }
    }

    /// The stream's number on the wire. A stream opened by this side has none before the peer is told of it.
    pub fn id(&self) -> Option<StreamId> {
        self.inner.id()
    }

    /// The next bytes as they came, without a copy; `None` after the peer's FIN.
    ///
    /// # Errors
    ///
    /// When the stream was reset or the session ended before the FIN.
    pub async fn read_chunk(&mut self) -> Result<Option<Bytes>, ReadError> {
        self.inner.read_chunk().await
    }

    /// Polls for the next bytes, at most `max` of them; `None` after the peer's FIN. Other than
    /// [`read_chunk`](Self::read_chunk) it does not tell the peer of a stream to which nothing was written yet.
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

    /// As [`poll_read_chunk`](Self::poll_read_chunk), for whoever drops the stream when it has ended: one
    /// that has ended in both directions behind the bytes returned is taken out of `stream`, which spares
    /// a locking of the session. Of no stream there is nothing to read: `Ok(None)`.
    ///
    /// # Errors
    ///
    /// As [`read_chunk`](Self::read_chunk).
    ///
    /// ```
    /// # use std::future::poll_fn;
    /// # use muxado::{ReadError, Stream};
    /// # async fn example(stream: Stream) -> Result<(), ReadError> {
    /// let mut stream = Some(stream);
    /// while let Some(chunk) = poll_fn(|cx| Stream::poll_read_last(&mut stream, cx, usize::MAX)).await? {
    ///     println!("{} bytes", chunk.len());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn poll_read_last(
        stream: &mut Option<Self>,
        cx: &mut Context<'_>,
        max: usize,
    ) -> Poll<Result<Option<Bytes>, ReadError>> {
        let Some(this) = stream else { return Poll::Ready(Ok(None)) };
        let StreamRef { shared, key } = &this.inner;
        let (result, spent) = shared.with_release(*key, |core| {
            let result = core.poll_read_chunk(*key, cx, max);
            let is_over = matches!(result, Poll::Ready(Ok(_))) && core.proto.is_read_out(*key);
            (result, is_over)
        });
        if spent {
            this.spent = true;
            *stream = None;
        }
        result
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

    /// Takes bytes from the front of `data`, a `Bytes` or a `&[u8]`; ready once none are left.
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

    /// As [`poll_write_chunk`](Self::poll_write_chunk), with the FIN behind the last byte. `data` is
    /// a `Bytes`, large pieces of which are passed on without a copy, or a `&[u8]`.
    ///
    /// A small message and its FIN leave in one frame, or in two frames of one write if they are
    /// the first of a stream opened by this side to a peer of another kind (`PROTOCOL §4.2`).
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

    /// [`poll_write_final`](Self::poll_write_final) and a drop in one step: sends `data` with the FIN behind
    /// it. The stream comes back if there was no room for all of `data`: the rest is for
    /// [`poll_write_final`](Self::poll_write_final).
    ///
    /// What the peer still sends is thrown away; if it has not finished by the time of the FIN the stream
    /// is reset behind it, as on any drop.
    ///
    /// # Errors
    ///
    /// As [`write_chunk`](Self::write_chunk); the stream is dropped.
    ///
    /// ```
    /// # use std::future::poll_fn;
    /// # use muxado::{Stream, WriteError};
    /// # async fn example(stream: Stream) -> Result<(), WriteError> {
    /// let mut answer = &b"42"[..];
    /// if let Some(mut stream) = stream.finish_with(&mut answer)? {
    ///     poll_fn(|cx| stream.poll_write_final(cx, &mut answer)).await?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn finish_with(mut self, data: &mut impl Source) -> Result<Option<Self>, WriteError> {
        let StreamRef { shared, key } = &self.inner;
        let (result, spent) = shared.with_release(*key, |core| {
            let result = core.proto.write_with(*key, data, Finish::Yes);
            (result, !data.has_remaining())
        });
        self.spent = spent;
        result?;
        Ok(Some(self).filter(|_| !spent))
    }

    /// Says that the rest of a message is missing, for `muxado-rpc`: if it does not come for
    /// [`Config::stall_timeout`](crate::Config::stall_timeout) the stream is reset. To be called again whenever a read has
    /// to wait in the middle of a message.
    #[doc(hidden)]
    pub fn await_rest(&self) {
        self.inner.await_rest();
    }

    /// Half-closes the stream: a FIN follows what was written. It never waits, and may be repeated.
    ///
    /// # Errors
    ///
    /// When the stream was reset or the session ended.
    pub fn finish(&mut self) -> Result<(), WriteError> {
        self.inner.finish()
    }

    /// Ends the stream in both directions. Unread and unsent bytes are dropped; the peer sees
    /// `code`, if it has heard of the stream. [`ErrorCode::NO_ERROR`] goes as `CANCELLED`.
    pub fn reset(&mut self, code: ErrorCode) {
        self.inner.reset(code);
    }

    /// Ready once the stream has failed: it was reset by either side, or the session ended. A FIN
    /// is no failure. It shares its waker with writing.
    pub fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<ReadError> {
        self.inner.poll_reset(cx)
    }

    /// Whether both directions have ended.
    pub fn is_finished(&self) -> bool {
        self.inner.is_finished()
    }

    /// Two halves for two tasks.
    pub fn into_split(self) -> (SendStream, RecvStream) {
        split(self)
    }

    pub(crate) fn inner(&self) -> &StreamRef {
        &self.inner
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if !self.spent {
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

/// What all kinds of stream handles do, without the duty to give the handle back.
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

    /// The next bytes; if the task has to wait for them, the peer is told of the stream.
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
        self.shared.with(|core| match core.proto.failure(self.key) {
            Some(error) => Poll::Ready(error),
            None => {
                core.register_stream(self.key, Direction::Write, cx);
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
