//! A transport under adjustable conditions.

use std::{
    collections::VecDeque,
    fmt, io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use bytes::{Buf, Bytes};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};

/// Conditions of the transports that it wraps: delay, small reads and writes, a cut.
///
/// By default a wrapped transport behaves as if it were not wrapped. Clones share the conditions, which may be changed
/// while bytes are on their way.
///
/// ```
/// use std::time::Duration;
///
/// use muxado_rpc::{Code, Peer, testing::{self, Conditions}};
/// use tokio::time::Instant;
///
/// # #[muxado_rpc::service]
/// # pub trait Greeter { async fn hello(&self, name: String) -> String; }
/// # struct Polite;
/// # impl Greeter for Polite { async fn hello(&self, name: String) -> String { name } }
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let conditions = Conditions::new();
/// let serving = Peer::builder().serve(GreeterServer::new(Polite));
/// let (near, _far) = testing::pair_under(&conditions, Peer::builder(), serving)?;
/// let greeter = GreeterClient::new(near.channel());
///
/// conditions.set_delay(Duration::from_secs(1));
/// let begin = Instant::now();
/// assert_eq!(greeter.hello("far away".to_owned()).await?, "far away");
/// assert_eq!(begin.elapsed(), Duration::from_secs(2));
///
/// conditions.set_dribble(true);
/// assert_eq!(greeter.hello("bit by bit".to_owned()).await?, "bit by bit");
///
/// conditions.cut_after(20);
/// assert_eq!(greeter.hello("lost".to_owned()).await.unwrap_err().code(), Code::Unavailable);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Conditions {
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug, Default)]
struct Shared {
    delay: Duration,
    dribble: bool,
    /// Bytes until the end.
    left: Option<u64>,
    passed: u64,
    /// Whom to wake when something changes.
    wakers: Vec<Waker>,
}

impl Conditions {
    /// Creates conditions without effect.
    pub fn new() -> Self {
        Self::default()
    }

    /// Wraps a transport. To wrap one end of a connection is enough.
    pub fn wrap<T: AsyncRead + AsyncWrite + Unpin>(&self, io: T) -> Shaped<T> {
        let [inward, outward] = [Lane::default(), Lane::default()];
        Shaped { io: Some(io), conditions: self.clone(), inward, outward, end: None }
    }

    /// Sets how much later each byte arrives, in either direction. Default zero.
    pub fn set_delay(&self, delay: Duration) {
        self.change(|shared| shared.delay = delay);
    }

    /// Sets whether each read and write passes one byte only. Default false.
    pub fn set_dribble(&self, dribble: bool) {
        self.change(|shared| shared.dribble = dribble);
    }

    /// Cuts the connection when `bytes` more bytes have passed, both directions together, even inside a frame.
    pub fn cut_after(&self, bytes: u64) {
        self.change(|shared| shared.left = Some(bytes));
    }

    /// Cuts the connection now.
    pub fn cut(&self) {
        self.cut_after(0);
    }

    /// Undoes a cut for new connections, and for connections that are not cut yet.
    pub fn mend(&self) {
        self.change(|shared| shared.left = None);
    }

    /// Returns how many bytes have passed, both directions together.
    pub fn passed(&self) -> u64 {
        self.lock().passed
    }

    fn change(&self, change: impl FnOnce(&mut Shared)) {
        let wakers = {
            let mut shared = self.lock();
            change(&mut shared);
            std::mem::take(&mut shared.wakers)
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        // Nothing that panics runs under the lock.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many of these bytes may pass now; none once the connection is cut.
    fn admit(&self, bytes: usize) -> usize {
        let mut shared = self.lock();
        let most = if shared.dribble { bytes.min(1) } else { bytes };
        let most = shared.left.map_or(most, |left| most.min(usize::try_from(left).unwrap_or(usize::MAX)));
        shared.left = shared.left.map(|left| left - most as u64);
        shared.passed += most as u64;
        most
    }

    /// Whether the connection is cut; if not, a change will wake the task.
    fn is_cut(&self, cx: &Context<'_>) -> bool {
        let mut shared = self.lock();
        if shared.left == Some(0) {
            return true;
        }
        if !shared.wakers.iter().any(|waker| waker.will_wake(cx.waker())) {
            shared.wakers.push(cx.waker().clone());
        }
        false
    }

    fn arrival(&self) -> Instant {
        let now = Instant::now();
        now.checked_add(self.lock().delay).unwrap_or(now)
    }
}

/// A transport under [`Conditions`].
pub struct Shaped<T> {
    /// `None` once it is cut: the other end sees that, too.
    io: Option<T>,
    conditions: Conditions,
    inward: Lane,
    outward: Lane,
    /// How reading ended.
    end: Option<Option<io::Error>>,
}

/// Bytes on their way in one direction.
#[derive(Default)]
struct Lane {
    bytes: VecDeque<(Instant, Bytes)>,
    len: usize,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Lane {
    fn push(&mut self, arrival: Instant, bytes: &[u8]) {
        self.len += bytes.len();
        self.bytes.push_back((arrival, Bytes::copy_from_slice(bytes)));
    }

    /// Waits until the first bytes have arrived; pending also if there are none.
    fn poll_arrived(&mut self, cx: &mut Context<'_>) -> Poll<&mut Bytes> {
        let Some((arrival, bytes)) = self.bytes.front_mut() else { return Poll::Pending };
        if *arrival > Instant::now() {
            let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(*arrival)));
            timer.as_mut().reset(*arrival);
            ready!(timer.as_mut().poll(cx));
        }
        Poll::Ready(bytes)
    }

    fn advance(&mut self, n: usize) {
        self.len -= n;
        if let Some((_, bytes)) = self.bytes.front_mut() {
            bytes.advance(n);
            if bytes.is_empty() {
                self.bytes.pop_front();
            }
        }
    }

    fn is_full(&self) -> bool {
        self.len >= MAX_ON_THE_WAY
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> Shaped<T> {
    /// Ends the transport if it is cut.
    fn check(&mut self, cx: &Context<'_>) -> io::Result<&mut T> {
        if self.conditions.is_cut(cx) {
            self.io = None;
        }
        self.io.as_mut().ok_or_else(|| io::ErrorKind::ConnectionReset.into())
    }

    /// Takes in what has come.
    fn pull(&mut self, cx: &mut Context<'_>) {
        let mut buf = [0; 4096];
        while self.end.is_none() && !self.inward.is_full() {
            let Some(io) = &mut self.io else { return };
            let mut read = ReadBuf::new(&mut buf);
            match Pin::new(io).poll_read(cx, &mut read) {
                Poll::Pending => return,
                Poll::Ready(Err(error)) => self.end = Some(Some(error)),
                Poll::Ready(Ok(())) if read.filled().is_empty() => self.end = Some(None),
                Poll::Ready(Ok(())) => self.inward.push(self.conditions.arrival(), read.filled()),
            }
        }
    }

    /// Hands on what has arrived at the other end. Ready when nothing is on its way.
    fn poll_push(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.outward.len > 0 {
            let bytes = ready!(self.outward.poll_arrived(cx));
            let Some(io) = &mut self.io else {
                return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
            };
            let n = ready!(Pin::new(io).poll_write(cx, bytes))?;
            self.outward.advance(n);
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncRead for Shaped<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        this.check(cx)?;
        this.pull(cx);
        // The reader is always there; a writer may have nothing more to say.
        if let Poll::Ready(Err(error)) = this.poll_push(cx) {
            return Poll::Ready(Err(error));
        }
        if this.inward.len == 0
            && let Some(end) = &mut this.end
        {
            return Poll::Ready(end.take().map_or(Ok(()), Err));
        }
        let bytes = ready!(this.inward.poll_arrived(cx));
        let n = this.conditions.admit(bytes.len().min(buf.remaining()));
        buf.put_slice(&bytes[..n]);
        this.inward.advance(n);
        // With the last byte that may pass the connection is cut: not read as an end.
        if n == 0 && buf.remaining() > 0 {
            Poll::Ready(this.check(cx).map(|_| ()))
        } else {
            Poll::Ready(Ok(()))
        }
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Shaped<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        this.check(cx)?;
        if let Poll::Ready(Err(error)) = this.poll_push(cx) {
            return Poll::Ready(Err(error));
        }
        if this.outward.is_full() {
            return Poll::Pending;
        }
        let n = this.conditions.admit(buf.len());
        this.outward.push(this.conditions.arrival(), &buf[..n]);
        if let Poll::Ready(Err(error)) = this.poll_push(cx) {
            return Poll::Ready(Err(error));
        }
        Poll::Ready(Ok(n))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        this.check(cx)?;
        // What is delayed is flushed as far as a sender can tell.
        let _ = this.poll_push(cx)?;
        match &mut this.io {
            Some(io) => Pin::new(io).poll_flush(cx),
            None => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        this.check(cx)?;
        ready!(this.poll_push(cx))?;
        match &mut this.io {
            Some(io) => Pin::new(io).poll_shutdown(cx),
            None => Poll::Ready(Ok(())),
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for Shaped<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shaped")
            .field("io", &self.io)
            .field("conditions", &self.conditions)
            .finish_non_exhaustive()
    }
}

/// Bytes on their way in one direction: more wait for room.
const MAX_ON_THE_WAY: usize = 1024 * 1024;
