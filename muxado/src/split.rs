//! The two halves of a stream, for two tasks.

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
    proto::{Finish, Source, StreamId},
    stream::{Stream, StreamRef},
};

/// The sending half of a [`Stream`].
///
/// Dropping it before [`finish`](Self::finish) resets the whole stream with
/// [`ErrorCode::CANCELLED`]: the peer must not take a torn stream for a whole one.
pub struct SendStream {
    stream: Arc<Stream>,
    finished: bool,
}

/// The receiving half of a [`Stream`].
///
/// If it is dropped while the sending half lives, what still comes is thrown away.
pub struct RecvStream {
    stream: Arc<Stream>,
}

pub(crate) fn split(stream: Stream) -> (SendStream, RecvStream) {
    let stream = Arc::new(stream);
    (SendStream { stream: Arc::clone(&stream), finished: false }, RecvStream { stream })
}

impl SendStream {
    pub(crate) fn inner(&self) -> &StreamRef {
        self.stream.inner()
    }

    /// Writes all of `data`; see [`Stream::write_chunk`].
    ///
    /// # Errors
    ///
    /// When the stream was finished or reset, or the session ended.
    pub async fn write_chunk(&mut self, mut data: Bytes) -> Result<(), WriteError> {
        poll_fn(|cx| self.stream.inner().poll_write_all(cx, &mut data, Finish::No)).await
    }

    /// Takes bytes from the front of `data`. It is ready once none are left; see [`Stream::poll_write_chunk`].
    ///
    /// # Errors
    ///
    /// As [`write_chunk`](Self::write_chunk).
    pub fn poll_write_chunk(
        &mut self,
        cx: &mut Context<'_>,
        data: &mut impl Source,
    ) -> Poll<Result<(), WriteError>> {
        self.stream.inner().poll_write_all(cx, data, Finish::No)
    }

    /// Takes bytes from the front of `data`, and sends a FIN behind the last byte; see [`Stream::poll_write_final`].
    ///
    /// # Errors
    ///
    /// As [`write_chunk`](Self::write_chunk).
    pub fn poll_write_final(
        &mut self,
        cx: &mut Context<'_>,
        data: &mut impl Source,
    ) -> Poll<Result<(), WriteError>> {
        let polled = self.stream.inner().poll_write_all(cx, data, Finish::Yes);
        self.finished |= matches!(polled, Poll::Ready(Ok(())));
        polled
    }

    /// Polls for the failure of the stream; see [`Stream::poll_reset`].
    pub fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<ReadError> {
        self.stream.inner().poll_reset(cx)
    }

    /// Half-closes the stream; see [`Stream::finish`].
    ///
    /// # Errors
    ///
    /// When the stream was reset or the session ended.
    pub fn finish(&mut self) -> Result<(), WriteError> {
        self.finished = true;
        self.stream.inner().finish()
    }

    /// Ends the stream in both directions; see [`Stream::reset`].
    pub fn reset(&mut self, code: ErrorCode) {
        self.stream.inner().reset(code);
    }
}

impl RecvStream {
    pub(crate) fn inner(&self) -> &StreamRef {
        self.stream.inner()
    }

    /// Returns the stream's number on the wire; see [`Stream::id`].
    pub fn id(&self) -> Option<StreamId> {
        self.stream.id()
    }

    /// Reads the next bytes as they came. Returns `None` after the peer's FIN; see [`Stream::read_chunk`].
    ///
    /// # Errors
    ///
    /// When the stream was reset or the session ended before the FIN.
    pub async fn read_chunk(&mut self) -> Result<Option<Bytes>, ReadError> {
        self.stream.inner().read_chunk().await
    }

    /// Polls for the next bytes, at most `max` of them. Returns `None` after the peer's FIN; see
    /// [`Stream::poll_read_chunk`].
    ///
    /// # Errors
    ///
    /// As [`read_chunk`](Self::read_chunk).
    pub fn poll_read_chunk(
        &mut self,
        cx: &mut Context<'_>,
        max: usize,
    ) -> Poll<Result<Option<Bytes>, ReadError>> {
        self.stream.inner().poll_read_chunk(cx, max)
    }

    /// Ends the stream in both directions; see [`Stream::reset`].
    pub fn reset(&mut self, code: ErrorCode) {
        self.stream.inner().reset(code);
    }
}

impl Drop for SendStream {
    fn drop(&mut self) {
        if !self.finished && !self.stream.is_finished() {
            self.stream.inner().reset(ErrorCode::CANCELLED);
        }
    }
}

impl Drop for RecvStream {
    fn drop(&mut self) {
        self.stream.inner().stop_reading();
    }
}

impl AsyncRead for RecvStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.stream.inner().poll_read(cx, buf)
    }
}

impl AsyncWrite for SendStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.stream.inner().poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.inner().poll_flush(cx).map_err(Into::into)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.finish().map_err(Into::into))
    }
}

impl fmt::Debug for SendStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendStream").field("id", &self.stream.id()).finish_non_exhaustive()
    }
}

impl fmt::Debug for RecvStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecvStream").field("id", &self.stream.id()).finish_non_exhaustive()
    }
}
