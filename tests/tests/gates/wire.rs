//! A transport in memory that allocates nothing while it is used, and counts what is asked of it.

use std::{
    collections::VecDeque,
    io::{self, Read},
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes that are under way in one direction, at most.
const PIPE: usize = 1024 * 1024;

/// One direction.
struct Pipe {
    bytes: VecDeque<u8>,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Pipe {
    fn new() -> Arc<Mutex<Self>> {
        Arc::new(Mutex::new(Self { bytes: VecDeque::with_capacity(PIPE), reader: None, writer: None }))
    }
}

/// One end. Both ends of a pair live as long as the test.
pub struct Wire {
    incoming: Arc<Mutex<Pipe>>,
    outgoing: Arc<Mutex<Pipe>>,
    traffic: Arc<Counters>,
}

#[derive(Default)]
struct Counters {
    reads: AtomicU64,
    empty_reads: AtomicU64,
    writes: AtomicU64,
    bytes_written: AtomicU64,
}

/// Shows what an end was asked to do.
#[derive(Clone)]
pub struct Meter(Arc<Counters>);

/// What an end was asked to do so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Traffic {
    /// Reads that brought something.
    pub reads: u64,
    /// Reads that found nothing.
    pub empty_reads: u64,
    pub writes: u64,
    pub bytes_written: u64,
}

impl Wire {
    /// Two ends, each with its meter.
    pub fn pair() -> ((Self, Meter), (Self, Meter)) {
        let (there, back) = (Pipe::new(), Pipe::new());
        let near = Self::new(Arc::clone(&back), Arc::clone(&there));
        (near, Self::new(there, back))
    }

    fn new(incoming: Arc<Mutex<Pipe>>, outgoing: Arc<Mutex<Pipe>>) -> (Self, Meter) {
        let traffic = Arc::new(Counters::default());
        (Self { incoming, outgoing, traffic: Arc::clone(&traffic) }, Meter(traffic))
    }
}

impl Meter {
    pub fn read(&self) -> Traffic {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Traffic {
            reads: count(&self.0.reads),
            empty_reads: count(&self.0.empty_reads),
            writes: count(&self.0.writes),
            bytes_written: count(&self.0.bytes_written),
        }
    }
}

impl Traffic {
    /// What came since.
    pub fn since(self, before: Self) -> Self {
        Self {
            reads: self.reads - before.reads,
            empty_reads: self.empty_reads - before.empty_reads,
            writes: self.writes - before.writes,
            bytes_written: self.bytes_written - before.bytes_written,
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut pipe = self.incoming.lock().unwrap();
        if pipe.bytes.is_empty() {
            self.traffic.empty_reads.fetch_add(1, Ordering::Relaxed);
            pipe.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        self.traffic.reads.fetch_add(1, Ordering::Relaxed);
        while buf.remaining() > 0 && !pipe.bytes.is_empty() {
            let n = pipe.bytes.read(buf.initialize_unfilled())?;
            buf.advance(n);
        }
        let writer = pipe.writer.take();
        drop(pipe);
        writer.into_iter().for_each(Waker::wake);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[io::IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut pipe = self.outgoing.lock().unwrap();
        if pipe.bytes.len() == PIPE {
            pipe.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let mut written = 0;
        for buf in bufs {
            let n = buf.len().min(PIPE - pipe.bytes.len());
            pipe.bytes.extend(&buf[..n]);
            written += n;
        }
        self.traffic.writes.fetch_add(1, Ordering::Relaxed);
        self.traffic.bytes_written.fetch_add(written as u64, Ordering::Relaxed);
        let reader = pipe.reader.take();
        drop(pipe);
        reader.into_iter().for_each(Waker::wake);
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
