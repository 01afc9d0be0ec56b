//! The one task of a session: it owns the transport, moves bytes and keeps time.

mod closing;
mod inbox;
mod overdue;
mod portion;
mod writing;

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::BufMut;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, Sleep},
};
use tokio_util::io::poll_read_buf;

use self::{inbox::Inbox, overdue::Overdue, portion::Portion};
use crate::{
    config::Config,
    error::SessionError,
    proto::Outbox,
    shared::{Core, Shared, Wakes},
};

/// Moves a session's bytes; the session lives as long as this future is polled.
///
/// Spawn it, or poll it beside what uses the session. It ends when the session does: with `Ok` if
/// the session was closed in good order by either side, else with the reason. Dropping it ends the
/// session at once, without a go-away.
///
/// ```
/// # async fn example(io: tokio::net::TcpStream) {
/// let (session, driver) = muxado::Session::client(io, muxado::Config::default());
/// let driver = tokio::spawn(driver);
/// # drop(session);
/// # let _ = driver.await;
/// # }
/// ```
#[must_use = "a session does nothing unless its driver is spawned or polled"]
pub struct Driver<T> {
    io: T,
    shared: Arc<Shared>,
    phase: Phase,
    inbox: Inbox,
    portion: Portion,
    /// There is more in `inbox` than was taken in.
    undigested: bool,
    /// Most bytes that the next read should bring.
    expected: usize,
    /// A large frame is being read: one stream sends bulk.
    bulk: bool,
    outbox: Outbox,
    /// The transport has bytes that it was not asked to flush yet.
    unflushed: bool,
    /// Output waits one turn of the scheduler for more of it.
    gathering: bool,
    frames_at_last_write: u64,
    last_batch: u64,
    touched: usize,
    /// Set for what is due next, or earlier: most of that moves away again before its time.
    timer: Option<Pin<Box<Sleep>>>,
    /// When something was last read, or sent.
    now: Instant,
    /// Since then there is memory that may be given back.
    has_buffers: bool,
    /// Since when the transport has taken nothing of what waits for it.
    blocked_since: Option<Instant>,
    /// Since when it has been flushing, without a sign that this gets on.
    flushing_since: Option<Instant>,
    overdue: Overdue,
    /// When closing is given up; of no meaning before.
    close_at: Instant,
    write_timeout: Duration,
    close_timeout: Duration,
    wakes: Wakes,
}

/// What is left to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// The session runs.
    Running,
    /// It has ended; the last frames are being sent.
    Flushing,
    /// Our end of the transport is being closed.
    ShuttingDown,
    /// The peer's last bytes are read and dropped: closing a TCP socket with unread bytes would
    /// destroy what was just sent.
    Lingering,
    Done,
}

/// Reads or writes that bring or take nothing new before other tasks get a turn.
const TURNS: usize = 16;

/// Time without traffic after which a session gives its buffers back: an idle one holds none.
const REST_AFTER: Duration = Duration::from_secs(1);

impl<T> Driver<T> {
    pub(crate) fn new(io: T, shared: Arc<Shared>, config: &Config) -> Self {
        Self {
            io,
            shared,
            phase: Phase::Running,
            inbox: Inbox::new(),
            portion: Portion::default(),
            undigested: false,
            expected: usize::MAX,
            bulk: false,
            outbox: Outbox::default(),
            unflushed: false,
            gathering: false,
            frames_at_last_write: 0,
            last_batch: 0,
            touched: 0,
            timer: None,
            now: Instant::now(),
            has_buffers: false,
            blocked_since: None,
            flushing_since: None,
            overdue: Overdue::default(),
            close_at: Instant::now(),
            write_timeout: config.write_timeout,
            close_timeout: config.close_timeout,
            wakes: Wakes::default(),
        }
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> Driver<T> {
    /// Polls the driver, and `work` in the same task: after reading, before writing.
    ///
    /// What `work` writes to streams leaves in the write that follows, and costs no wake. It takes
    /// what the peer has opened by [`Session::try_accept`](crate::Session::try_accept) or
    /// [`TypedSession::try_accept_typed`](crate::TypedSession::try_accept_typed), with what it is
    /// given as [`Context`] for everything it waits for. It is ready if it stopped before all was
    /// done: then it is polled again after the output was written. It is polled at least once
    /// whenever this is polled, until the session ends.
    ///
    /// # Errors
    ///
    /// As the future's: why the session ended, if not in good order.
    ///
    /// ```
    /// # use std::{future::poll_fn, pin::pin, task::Poll};
    /// # async fn example(io: tokio::net::TcpStream) -> Result<(), muxado::SessionError> {
    /// let (session, driver) = muxado::Session::server(io, muxado::Config::default());
    /// let mut driver = pin!(driver);
    /// poll_fn(|cx| {
    ///     driver.as_mut().poll_with(cx, |_| {
    ///         while let Some(mut stream) = session.try_accept() {
    ///             stream.reset(muxado::ErrorCode::STREAM_REFUSED);
    ///         }
    ///         Poll::Pending
    ///     })
    /// })
    /// .await
    /// # }
    /// ```
    pub fn poll_with(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut work: impl FnMut(&mut Context<'_>) -> Poll<()>,
    ) -> Poll<Result<(), SessionError>> {
        let this = &mut *self;
        if this.phase == Phase::Running {
            let shared = &this.shared;
            shared.with_driver(&mut this.wakes, |core| {
                core.park_driver(cx, false);
                core.begin_turn();
            });
            ready!(this.poll_running(cx, &mut work));
            this.start_closing();
        }
        if this.phase != Phase::Done {
            ready!(this.poll_closing(cx));
            this.phase = Phase::Done;
        }
        let end = this.shared.with_driver(&mut this.wakes, |core| core.proto.end());
        this.shared.finish();
        Poll::Ready(match end.map(|end| end.local) {
            Some(reason) if !reason.is_clean() => Err(reason),
            _ => Ok(()),
        })
    }

    /// Reads, keeps time, works and writes until nothing is left to do, or the session has ended.
    fn poll_running(
        &mut self,
        cx: &mut Context<'_>,
        work: &mut impl FnMut(&mut Context<'_>) -> Poll<()>,
    ) -> Poll<()> {
        for _ in 0..TURNS {
            // What was gathered leaves before the next portion is taken in.
            let read = if self.gathering && self.undigested { Poll::Ready(()) } else { self.poll_read(cx) };
            if self.has_ended() {
                return Poll::Ready(());
            }
            let worked = work(cx);
            if self.should_gather(worked) {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let written = self.poll_write(cx);
            if self.has_ended() {
                return Poll::Ready(());
            }
            // What could be read and written was: what is missing now is.
            self.poll_timer(cx, read.is_pending());
            if self.has_ended() {
                return Poll::Ready(());
            }
            // A transport that flushes may take more; one that takes nothing may not.
            let stuck = written.is_pending() && !self.outbox.is_empty();
            let idle = read.is_pending() && worked.is_pending();
            if idle && (stuck || self.poll_park(cx).is_pending()) {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// One read, or what was left of the last, and what it does to the session. Pending once the
    /// transport has nothing.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.undigested {
            self.digest();
            return Poll::Ready(());
        }
        let mut buffer = self.inbox.room(self.expected);
        let room = buffer.remaining_mut();
        let Poll::Ready(result) = poll_read_buf(Pin::new(&mut self.io), cx, &mut buffer) else {
            if !self.has_buffers {
                self.inbox.shrink();
            }
            return Poll::Pending;
        };
        match result {
            Ok(n) if n > 0 => {
                (self.now, self.has_buffers) = (Instant::now(), true);
                self.digest();
                self.inbox.adapt(n, room);
            }
            end => {
                let left = self.inbox.bytes.len();
                let error = end.err();
                tracing::debug!(?error, left, "the transport ended");
                self.shared.with_driver(&mut self.wakes, |core| core.proto.handle_transport_end(error, left));
            }
        }
        Poll::Ready(())
    }

    /// Takes in a portion of what was read.
    fn digest(&mut self) {
        let (inbox, now, frames) = (&mut self.inbox.bytes, self.now.into_std(), self.portion.size());
        (self.touched, self.undigested, self.expected) = self.shared.with_driver(&mut self.wakes, |core| {
            let more = core.proto.receive_part(inbox, now, frames);
            (core.proto.frames_delivered(), more, core.proto.best_read())
        });
        self.bulk = self.expected < usize::MAX;
        self.portion.note(self.touched, self.undigested);
    }

    /// Does what is due, and sets the timer for what is next. `caught_up` says whether all that came was taken in.
    fn poll_timer(&mut self, cx: &mut Context<'_>, caught_up: bool) {
        for _ in 0..TURNS {
            let rest = self.has_buffers.then(|| self.now + REST_AFTER);
            let Some(deadline) = [self.limit(), rest].into_iter().flatten().min() else {
                self.overdue = Overdue::default();
                return;
            };
            let is_put_off = self.overdue.is_waiting() && Instant::now() >= deadline;
            if !is_put_off && self.poll_sleep(cx, deadline).is_pending() {
                return self.overdue.clear();
            }
            let now = Instant::now();
            if rest.is_some_and(|at| at <= now) {
                self.give_buffers_back();
            }
            self.shared.with_driver(&mut self.wakes, |core| core.proto.handle_tasks(now.into_std()));
            if self.limit().is_none_or(|at| at > now) {
                continue;
            }
            if let Some(until) = self.overdue.put_off(now, caught_up) {
                if self.poll_sleep(cx, until).is_ready() {
                    cx.waker().wake_by_ref();
                }
                return;
            }
            self.judge(now);
            if self.phase == Phase::Done {
                return;
            }
        }
        cx.waker().wake_by_ref();
    }

    /// When the next time limit passes, or the session has something to do.
    fn limit(&mut self) -> Option<Instant> {
        let proto = self.shared.with_driver(&mut self.wakes, |core| core.proto.poll_timeout());
        [proto.map(Instant::from_std), self.stall()].into_iter().flatten().min()
    }

    /// When the transport will have taken nothing for too long.
    fn stall(&self) -> Option<Instant> {
        let since = [self.blocked_since, self.flushing_since].into_iter().flatten().min()?;
        since.checked_add(self.write_timeout)
    }

    /// The limits that have passed have their effect.
    fn judge(&mut self, now: Instant) {
        let write_timeout = self.write_timeout;
        let stalled = self.stall().is_some_and(|at| at <= now);
        self.shared.with_driver(&mut self.wakes, |core| {
            core.proto.handle_timeout(now.into_std());
            if stalled {
                core.proto.handle_write_stall(write_timeout);
            }
        });
        if stalled {
            self.phase = Phase::Done;
        }
    }

    /// Ready at `deadline`. The timer may be set for an earlier time that has moved away since.
    fn poll_sleep(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        // To set it costs more than to find out then that it is too early.
        if timer.deadline() > deadline {
            timer.as_mut().reset(deadline);
        }
        if timer.as_mut().poll(cx).is_ready() {
            if Instant::now() >= deadline {
                return Poll::Ready(());
            }
            timer.as_mut().reset(deadline);
            if timer.as_mut().poll(cx).is_ready() {
                return Poll::Ready(());
            }
        }
        self.overdue.expect(timer.deadline());
        Poll::Pending
    }

    /// Gives the memory back that is not in use; a busy session soon has it again.
    fn give_buffers_back(&mut self) {
        self.has_buffers = false;
        self.inbox.reset();
        self.outbox.shrink();
        self.wakes.shrink();
        self.shared.with_driver(&mut self.wakes, Core::shrink);
    }

    /// Goes to sleep, unless output came up meanwhile.
    fn poll_park(&mut self, cx: &Context<'_>) -> Poll<()> {
        let flushed = !self.unflushed;
        self.shared.with_driver(&mut self.wakes, |core| {
            if flushed {
                core.note_flushed();
            }
            if core.proto.wants_transmit() {
                return Poll::Ready(());
            }
            core.park_driver(cx, true);
            Poll::Pending
        })
    }

    fn has_ended(&mut self) -> bool {
        self.shared.with_driver(&mut self.wakes, |core| core.proto.has_ended())
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> Future for Driver<T> {
    type Output = Result<(), SessionError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.poll_with(cx, |_| Poll::Pending)
    }
}

impl<T> Drop for Driver<T> {
    fn drop(&mut self) {
        self.shared.finish();
    }
}

impl<T> fmt::Debug for Driver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver").field("phase", &self.phase).finish_non_exhaustive()
    }
}
