//! A transport that notes every write.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::frame::{Frame, decode};

/// Passes everything on to `T` and records what is written, write by write.
#[derive(Debug)]
pub struct Recorder<T> {
    io: T,
    log: WriteLog,
}

/// The writes a [`Recorder`] has seen, each a vector of bytes.
#[derive(Clone, Debug, Default)]
pub struct WriteLog(Arc<Mutex<Vec<Vec<u8>>>>);

impl<T> Recorder<T> {
    /// The transport, and its log.
    pub fn new(io: T) -> (Self, WriteLog) {
        let log = WriteLog::default();
        (Self { io, log: log.clone() }, log)
    }
}

impl WriteLog {
    /// How many writes there were.
    pub fn count(&self) -> usize {
        self.writes().len()
    }

    /// The bytes of all writes.
    pub fn bytes(&self) -> Vec<u8> {
        self.writes().concat()
    }

    /// The frames of all writes.
    pub fn frames(&self) -> Vec<Frame> {
        decode(&self.bytes())
    }

    /// The frames of each write, each of which must end with a whole one.
    pub fn frames_by_write(&self) -> Vec<Vec<Frame>> {
        self.writes().iter().map(|write| decode(write)).collect()
    }

    /// Forgets what was written so far.
    pub fn clear(&self) {
        self.writes().clear();
    }

    fn writes(&self) -> MutexGuard<'_, Vec<Vec<u8>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Recorder<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Recorder<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let n = ready!(Pin::new(&mut self.io).poll_write(cx, buf))?;
        self.log.writes().push(buf[..n].to_vec());
        Poll::Ready(Ok(n))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let n = ready!(Pin::new(&mut self.io).poll_write_vectored(cx, bufs))?;
        let mut written = Vec::with_capacity(n);
        for buf in bufs {
            written.extend_from_slice(&buf[..buf.len().min(n - written.len())]);
        }
        self.log.writes().push(written);
        Poll::Ready(Ok(n))
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
