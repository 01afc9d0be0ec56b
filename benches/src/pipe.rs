//! A simulated link: so many bytes a second, and so long until they are there.

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::{Buf, Bytes};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};

/// Bytes that a line takes before it has sent them, as a socket's buffer does. It must last for the
/// milliseconds to which tokio's timers are rounded.
const BUFFER: u64 = 4_000_000;

/// Of both directions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link {
    pub(crate) delay: Duration,
    pub(crate) bytes_per_second: u64,
}

impl Link {
    /// The time that so many bytes occupy the line.
    fn time_of(self, bytes: u64) -> Duration {
        Duration::from_nanos(bytes * 1_000_000_000 / self.bytes_per_second)
    }
}

/// One end of a link.
#[derive(Debug)]
pub(crate) struct Pipe {
    link: Link,
    incoming: Arc<Mutex<Line>>,
    outgoing: Arc<Mutex<Line>>,
    arrival: Pin<Box<Sleep>>,
    room: Pin<Box<Sleep>>,
}

/// One direction.
#[derive(Debug)]
struct Line {
    /// What is under way, and when it arrives.
    pieces: VecDeque<(Instant, Bytes)>,
    /// When all that was written has been sent.
    sent: Instant,
    closed: bool,
    reader: Option<Waker>,
}

/// The two ends of a link. Needs tokio's clock, running or paused.
pub(crate) fn pair(link: Link) -> (Pipe, Pipe) {
    let now = Instant::now();
    let line = || {
        let line = Line { pieces: VecDeque::new(), sent: now, closed: false, reader: None };
        Arc::new(Mutex::new(line))
    };
    let (there, back) = (line(), line());
    let end = |incoming: &Arc<_>, outgoing: &Arc<_>| Pipe {
        link,
        incoming: Arc::clone(incoming),
        outgoing: Arc::clone(outgoing),
        arrival: Box::pin(sleep_until(now)),
        room: Box::pin(sleep_until(now)),
    };
    (end(&back, &there), end(&there, &back))
}

fn lock(line: &Mutex<Line>) -> MutexGuard<'_, Line> {
    line.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Line {
    fn close(&mut self) -> Option<Waker> {
        self.closed = true;
        self.reader.take()
    }
}

impl AsyncRead for Pipe {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let mut line = lock(&this.incoming);
        let (now, before) = (Instant::now(), buffer.filled().len());
        while buffer.remaining() > 0
            && let Some((arrival, piece)) = line.pieces.front_mut()
            && *arrival <= now
        {
            let length = piece.len().min(buffer.remaining());
            buffer.put_slice(&piece[..length]);
            piece.advance(length);
            if piece.is_empty() {
                line.pieces.pop_front();
            }
        }
        if buffer.filled().len() > before || (line.pieces.is_empty() && line.closed) {
            return Poll::Ready(Ok(()));
        }
        if let Some((arrival, _)) = line.pieces.front() {
            this.arrival.as_mut().reset(*arrival);
            if this.arrival.as_mut().poll(cx).is_ready() {
                cx.waker().wake_by_ref();
            }
        }
        line.reader = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let mut line = lock(&this.outgoing);
        let now = Instant::now();
        let waiting = line.sent.saturating_duration_since(now);
        let waiting = waiting.as_nanos() * u128::from(this.link.bytes_per_second) / 1_000_000_000;
        let room = BUFFER.saturating_sub(u64::try_from(waiting).unwrap_or(u64::MAX));
        if room == 0 {
            let half_empty = line.sent.checked_sub(this.link.time_of(BUFFER / 2)).unwrap_or(now);
            this.room.as_mut().reset(half_empty);
            if this.room.as_mut().poll(cx).is_ready() {
                cx.waker().wake_by_ref();
            }
            return Poll::Pending;
        }
        let length = data.len().min(usize::try_from(room).unwrap_or(usize::MAX));
        line.sent = line.sent.max(now) + this.link.time_of(length as u64);
        let arrival = line.sent + this.link.delay;
        line.pieces.push_back((arrival, Bytes::copy_from_slice(&data[..length])));
        let reader = line.reader.take();
        drop(line);
        reader.into_iter().for_each(Waker::wake);
        Poll::Ready(Ok(length))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let reader = lock(&self.outgoing).close();
        reader.into_iter().for_each(Waker::wake);
        Poll::Ready(Ok(()))
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        let reader = lock(&self.outgoing).close();
        reader.into_iter().for_each(Waker::wake);
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    const LINK: Link = Link { delay: Duration::from_millis(50), bytes_per_second: 1_000_000_000 };

    /// Sends so many bytes from one end to the other; gives how long it took in simulated time.
    async fn send(bytes: usize) -> Duration {
        let (mut near, mut far) = pair(LINK);
        let begin = Instant::now();
        let write = async move {
            near.write_all(&vec![7; bytes]).await.unwrap();
            near.shutdown().await.unwrap();
        };
        let mut received = Vec::new();
        let (_, read) = tokio::join!(write, far.read_to_end(&mut received));
        assert_eq!(read.unwrap(), bytes);
        assert!(received.iter().all(|&byte| byte == 7));
        begin.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn a_byte_takes_the_delay() {
        let time = send(1).await;
        assert!((50..=51).contains(&time.as_millis()), "{time:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn much_takes_what_the_bandwidth_says() {
        let time = send(100_000_000).await;
        assert!((150..=152).contains(&time.as_millis()), "{time:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_dropped_end_is_an_end() {
        let (near, mut far) = pair(LINK);
        drop(near);
        assert_eq!(far.read(&mut [0; 8]).await.unwrap(), 0);
    }
}
