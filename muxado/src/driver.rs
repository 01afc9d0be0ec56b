//! The one task of a session: it owns the transport, moves bytes and keeps time.

mod alarm;
mod closing;
mod input_budget;
mod large_blocks;
mod overdue;
mod read_buffer;
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
    time::Instant,
};
use tokio_util::io::poll_read_buf;

use self::{alarm::Alarm, input_budget::InputBudget, overdue::Overdue, read_buffer::ReadBuffer};
use crate::{
    config::Config,
    error::SessionError,
    proto::Outbox,
    shared::{Core, Reminder, Shared, Wakes},
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
    read_buffer: ReadBuffer,
    input_budget: InputBudget,
    /// There is more in `read_buffer` than was processed.
    has_more_input: bool,
    /// Most bytes that the next read should bring.
    expected: usize,
    /// A large frame is being read: one stream sends bulk.
    bulk: bool,
    outbox: Outbox,
    /// The transport has bytes that it was not asked to flush yet.
    unflushed: bool,
    /// Output waits one turn of the scheduler for more of it.
    gathering: bool,
    /// The session knows that its driver is awake, and looks at output and timers by itself.
    is_awake: bool,
    /// Turns that are left before other tasks get one.
    turns: usize,
    /// What the read of this turn came to.
    read: Poll<()>,
    frames_at_last_write: u64,
    last_batch: u64,
    touched: usize,
    /// When the session has something to do, as it was when the output of this turn was taken.
    due: Option<Due>,
    alarm: Alarm,
    /// When something was last read, or sent.
    now: Instant,
    /// Since then there is memory that may be given back.
    has_buffers: bool,
    /// Bytes that were read and written since memory was last given back.
    moved: usize,
    /// Since when the transport has taken nothing of what waits for it.
    blocked_since: Option<Instant>,
    /// Since when it has been flushing, without a sign that this gets on.
    flushing_since: Option<Instant>,
    overdue: Overdue,
    /// When closing is given up; of no meaning before.
    close_at: Instant,
    config: Arc<Config>,
    wakes: Wakes,
}

/// What comes next when a driver is polled together with other work.
#[doc(hidden)]
#[derive(Debug)]
pub enum Turn {
    /// The work, and then [`Driver::finish_turn`].
    Work,
    /// Nothing: this is what the poll comes to.
    Over(Poll<Result<(), SessionError>>),
}

/// When a session has something to do, if nothing happens before.
struct Due(Option<Instant>);

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

/// The same where only a little was read and written since that was last done: a heartbeat, or a call now and then.
const REST_AFTER_LITTLE: Duration = Duration::from_millis(100);

/// What a little is, in bytes.
const LITTLE: usize = 1024;

impl<T> Driver<T> {
    pub(crate) fn new(io: T, shared: Arc<Shared>, config: Arc<Config>) -> Self {
        Self {
            io,
            shared,
            phase: Phase::Running,
            read_buffer: ReadBuffer::new(),
            input_budget: InputBudget::default(),
            has_more_input: false,
            expected: usize::MAX,
            bulk: false,
            outbox: Outbox::default(),
            unflushed: false,
            gathering: false,
            is_awake: false,
            turns: 0,
            read: Poll::Pending,
            frames_at_last_write: 0,
            last_batch: 0,
            touched: 0,
            due: None,
            alarm: Alarm::default(),
            now: Instant::now(),
            has_buffers: false,
            moved: 0,
            blocked_since: None,
            flushing_since: None,
            overdue: Overdue::default(),
            close_at: Instant::now(),
            config,
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
        let mut turn = self.start_turn(cx);
        while let Turn::Work = turn {
            let worked = work(cx);
            turn = self.finish_turn(cx, worked);
        }
        match turn {
            Turn::Work => Poll::Pending,
            Turn::Over(polled) => polled,
        }
    }

    /// Starts a poll of the driver: reads, and processes a part of what came.
    ///
    /// Work is done between this and [`finish_turn`](Self::finish_turn), when nothing borrows the driver: meanwhile
    /// it may move to another task, which begins here again.
    #[doc(hidden)]
    pub fn start_turn(&mut self, cx: &mut Context<'_>) -> Turn {
        if self.phase != Phase::Running {
            return Turn::Over(self.poll_end(cx));
        }
        self.input_budget.begin_turn();
        (self.turns, self.is_awake) = (TURNS, false);
        self.poll_input(cx)
    }

    /// Writes what the work has left, keeps time, and goes on with the next turn if there is something to do.
    ///
    /// `worked` is ready if the work stopped before all was done.
    #[doc(hidden)]
    pub fn finish_turn(&mut self, cx: &mut Context<'_>, worked: Poll<()>) -> Turn {
        if self.should_gather(worked) {
            cx.waker().wake_by_ref();
            return Turn::Over(Poll::Pending);
        }
        let written = self.poll_write(cx);
        if self.shared.has_ended() {
            return self.end(cx);
        }
        // What could be read and written was: what is missing now is.
        if self.poll_timer(cx, self.read.is_pending()).is_ready() && self.shared.has_ended() {
            return self.end(cx);
        }
        // A transport that flushes may take more; one that takes nothing may not.
        let stuck = written.is_pending() && !self.outbox.is_empty();
        let mut idle = self.read.is_pending() && worked.is_pending();
        if !idle {
            if self.is_out_of_turns(cx) {
                return Turn::Over(Poll::Pending);
            }
            let next = self.poll_input(cx);
            // Where few streams are busy nothing has come since, mostly, and there is nothing to work on. Between the pieces
            // of a large frame other tasks still write: who sleeps then is woken at once.
            let is_busy = self.is_busy() || self.expects_bulk();
            let has_news = self.read.is_ready() || worked.is_ready() || is_busy;
            idle = !has_news && !self.overdue.is_waiting();
            if !idle || matches!(next, Turn::Over(_)) {
                return next;
            }
        }
        if stuck || self.poll_park(cx).is_pending() || self.is_out_of_turns(cx) {
            return Turn::Over(Poll::Pending);
        }
        self.poll_input(cx)
    }

    /// Returns whether this turn has brought input, or a part of it: what the peer opens comes with nothing else.
    #[doc(hidden)]
    pub const fn has_read(&self) -> bool {
        self.read.is_ready()
    }

    /// Returns whether nothing has come or gone for so long that all memory was given back that nothing is in.
    #[doc(hidden)]
    #[inline]
    pub const fn is_at_rest(&self) -> bool {
        !self.has_buffers
    }

    /// Whether other tasks get a turn now.
    fn is_out_of_turns(&mut self, cx: &Context<'_>) -> bool {
        self.turns = self.turns.saturating_sub(1);
        if self.turns == 0 {
            cx.waker().wake_by_ref();
        }
        self.turns == 0
    }

    fn poll_input(&mut self, cx: &mut Context<'_>) -> Turn {
        // What was gathered leaves before the next part of the input is processed.
        self.read = if self.gathering && self.has_more_input {
            self.wake_up(cx);
            Poll::Ready(())
        } else {
            self.poll_read(cx)
        };
        if self.shared.has_ended() { self.end(cx) } else { Turn::Work }
    }

    fn end(&mut self, cx: &mut Context<'_>) -> Turn {
        self.start_closing();
        Turn::Over(self.poll_end(cx))
    }

    /// Closes, once the session has ended; says why it has, if not in good order.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SessionError>> {
        if self.phase != Phase::Done {
            ready!(self.poll_closing(cx));
            self.phase = Phase::Done;
        }
        let end = self.shared.with_driver(&mut self.wakes, |core| core.proto.end());
        self.shared.finish();
        Poll::Ready(match end.map(|end| end.local) {
            Some(reason) if !reason.is_clean() => Err(reason),
            _ => Ok(()),
        })
    }

    /// One read, or what was left of the last, and what it does to the session. Pending once the
    /// transport has nothing.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.has_more_input {
            self.process_input(cx);
            return Poll::Ready(());
        }
        let mut buffer = self.read_buffer.room(self.expected);
        let room = buffer.remaining_mut();
        let Poll::Ready(result) = poll_read_buf(Pin::new(&mut self.io), cx, &mut buffer) else {
            if !self.has_buffers {
                self.read_buffer.shrink();
            }
            self.input_budget.note_read(false);
            self.wake_up(cx);
            return Poll::Pending;
        };
        match result {
            Ok(n) if n > 0 => {
                (self.now, self.has_buffers) = (Instant::now(), true);
                self.moved = self.moved.saturating_add(n);
                self.input_budget.note_read(true);
                self.process_input(cx);
                self.read_buffer.adapt(n, room);
            }
            end => {
                let left = self.read_buffer.bytes.len();
                let error = end.err();
                tracing::debug!(?error, left, "the transport ended");
                self.wake_up(cx);
                self.shared.with_driver(&mut self.wakes, |core| core.proto.handle_transport_end(error, left));
            }
        }
        Poll::Ready(())
    }

    /// Processes what was read, as far as the budget goes.
    fn process_input(&mut self, cx: &Context<'_>) {
        let (read_buffer, now, budget) =
            (&mut self.read_buffer.bytes, self.now.into_std(), &self.input_budget);
        let was_awake = std::mem::replace(&mut self.is_awake, true);
        (self.touched, self.has_more_input, self.expected) =
            self.shared.with_driver(&mut self.wakes, |core| {
                if !was_awake {
                    core.wake_up(cx);
                }
                let frames = budget.frames(core.proto.opened_since(read_buffer));
                let more = core.proto.receive_part(read_buffer, now, frames);
                (core.proto.frames_delivered(), more, core.proto.best_read())
            });
        self.bulk = self.expects_bulk();
        self.input_budget.note(self.touched, self.has_more_input);
    }

    /// Whether the rest of a large frame is what comes next.
    const fn expects_bulk(&self) -> bool {
        self.expected < usize::MAX
    }

    /// Tells the session that its driver is awake, unless it knows.
    fn wake_up(&mut self, cx: &Context<'_>) {
        if !std::mem::replace(&mut self.is_awake, true) {
            self.shared.with_driver(&mut self.wakes, |core| core.wake_up(cx));
        }
    }

    /// Does what is due, and sets the timer for what is next. `caught_up` says whether all that came was taken in.
    ///
    /// Pending if nothing was due.
    fn poll_timer(&mut self, cx: &mut Context<'_>, caught_up: bool) -> Poll<()> {
        let due = match self.due.take() {
            Some(Due(at)) => earliest(at, self.stall()),
            None => self.due(),
        };
        let next = earliest(due, self.rest());
        if let Some(deadline) = next
            && !self.overdue.is_waiting()
            && self.poll_sleep(cx, deadline).is_pending()
        {
            return Poll::Pending;
        }
        self.do_what_is_due(cx, caught_up);
        Poll::Ready(())
    }

    fn do_what_is_due(&mut self, cx: &mut Context<'_>, caught_up: bool) {
        for _ in 0..TURNS {
            let Some(deadline) = earliest(self.due(), self.rest()) else {
                self.overdue = Overdue::default();
                return;
            };
            let is_put_off = self.overdue.is_waiting() && Instant::now() >= deadline;
            if !is_put_off && self.poll_sleep(cx, deadline).is_pending() {
                return self.overdue.clear();
            }
            let now = Instant::now();
            if self.rest().is_some_and(|at| at <= now) {
                self.give_buffers_back();
            }
            self.shared.with_driver(&mut self.wakes, |core| core.proto.handle_tasks(now.into_std()));
            if self.due().is_none_or(|at| at > now) {
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
    fn due(&mut self) -> Option<Instant> {
        let shared = &self.shared;
        let (proto, reminder) = shared.with_driver(&mut self.wakes, |core| {
            if core.reminders.are_unstarted() {
                core.start_reminders(shared.reminder_now());
            }
            (core.proto.poll_timeout(), core.reminders.next())
        });
        earliest(self.earlier(proto, reminder), self.stall())
    }

    /// The earlier one of what the protocol and those who wait for streams have to be told.
    fn earlier(&self, proto: Option<std::time::Instant>, reminder: Option<Reminder>) -> Option<Instant> {
        let reminder = reminder.map(|reminder| self.shared.time_of(reminder));
        earliest(proto.map(Instant::from_std), reminder.map(Instant::from_std))
    }

    /// When buffers that nothing is in are given back.
    fn rest(&self) -> Option<Instant> {
        let after = if self.moved <= LITTLE { REST_AFTER_LITTLE } else { REST_AFTER };
        self.has_buffers.then(|| self.now + after)
    }

    /// When the transport will have taken nothing for too long.
    fn stall(&self) -> Option<Instant> {
        earliest(self.blocked_since, self.flushing_since)?.checked_add(self.config.write_timeout)
    }

    /// The limits that have passed have their effect.
    fn judge(&mut self, now: Instant) {
        let write_timeout = self.config.write_timeout;
        let stalled = self.stall().is_some_and(|at| at <= now);
        let until = self.shared.reminder_at(now.into_std());
        self.shared.with_driver(&mut self.wakes, |core| {
            core.proto.handle_timeout(now.into_std());
            core.remind(until);
            if stalled {
                core.proto.handle_write_stall(write_timeout);
            }
        });
        if stalled {
            self.phase = Phase::Done;
        }
    }

    /// Ready at `deadline`.
    #[inline]
    fn poll_sleep(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        if self.alarm.poll(cx, deadline).is_ready() {
            return Poll::Ready(());
        }
        self.overdue.expect(self.alarm.set_for());
        Poll::Pending
    }

    /// Gives the memory back that is not in use; a busy session soon has it again.
    fn give_buffers_back(&mut self) {
        (self.has_buffers, self.moved) = (false, 0);
        self.read_buffer.reset();
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
            core.park_driver(cx);
            Poll::Pending
        })
    }
}

fn earliest(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
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
