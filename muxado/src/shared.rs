//! What the handles of a session and its driver share: the protocol state, and who waits for what.

mod flush;
mod openers;
mod reminders;
mod waiters;
mod wakes;

use std::{
    net::SocketAddr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Instant,
};

use bytes::Bytes;

pub(crate) use self::openers::OpenWait;
pub(crate) use self::reminders::Reminder;
use self::{
    flush::Flushes,
    openers::Openers,
    reminders::{Reminders, When},
    waiters::Waiters,
    wakes::Replaced,
};
pub(crate) use self::{
    waiters::{Signal, Wait, WaiterId},
    wakes::Wakes,
};
use crate::{
    config::Config,
    error::{ErrorCode, ReadError, WriteError},
    proto::{Event, Finish, Read, Session as Proto, Side, Source, StreamKey},
    sync::{Mutex, MutexGuard},
};

/// The state of a session, behind one lock. Nothing is awaited, read, written or woken while it is held.
#[derive(Debug)]
pub(crate) struct Shared {
    core: Mutex<Core>,
    /// When the session began, from which the times of [`Reminder`]s count.
    began: Instant,
    /// Whether the session has ended, for callers that need nothing else and so no lock.
    ended: AtomicBool,
    /// What the transport's two ends are called, if somebody said so.
    pub(crate) transport_addrs: OnceLock<Box<TransportAddrs>>,
}

/// The addresses of the transport's two ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TransportAddrs {
    pub(crate) local: SocketAddr,
    pub(crate) peer: SocketAddr,
}

#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) proto: Proto,
    /// The wakers of each stream, by [`StreamKey::index`].
    streams: Vec<StreamWakers>,
    openers: Openers,
    pub(crate) flushes: Flushes,
    pub(crate) reminders: Reminders,
    waiters: Waiters,
    next_waiter: u64,
    /// Wakers that are not needed any more, to be dropped after the unlock.
    replaced: Replaced,
    /// The driver's waker.
    driver: Option<Waker>,
    driver_state: DriverState,
    pub(crate) driver_done: bool,
    /// Handles that may open and accept.
    pub(crate) sessions: usize,
}

#[derive(Debug, Default)]
struct StreamWakers {
    read: Option<Waker>,
    write: Option<Waker>,
    /// When both are woken, whatever has become of the stream.
    reminder: When,
}

/// What the driver does next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum DriverState {
    /// It looks for output before it sleeps.
    Running,
    /// It sleeps until there is output.
    Parked,
    /// It may sleep until the transport takes more, whatever output there is.
    Blocked,
}

impl Shared {
    pub(crate) fn new(side: Side, config: Arc<Config>) -> Arc<Self> {
        Arc::new(Self {
            began: tokio::time::Instant::now().into_std(),
            ended: AtomicBool::new(false),
            transport_addrs: OnceLock::new(),
            core: Mutex::new(Core {
                proto: Proto::new(side, config),
                streams: Vec::new(),
                openers: Openers::default(),
                flushes: Flushes::default(),
                reminders: Reminders::default(),
                waiters: Waiters::default(),
                next_waiter: 0,
                replaced: Replaced::default(),
                driver: None,
                driver_state: DriverState::Running,
                driver_done: false,
                sessions: 1,
            }),
        })
    }

    /// Runs `f` under the lock, then wakes the tasks that it concerns, and the driver if there is output.
    #[inline]
    pub(crate) fn with<R>(&self, f: impl FnOnce(&mut Core) -> R) -> R {
        let mut core = self.core.lock();
        let result = f(&mut core);
        let concerns_driver = core.driver_state == DriverState::Parked && core.proto.wants_transmit();
        if concerns_driver || core.has_news() {
            self.wake_all_concerned(core, concerns_driver);
        }
        result
    }

    /// Returns whether the session has ended.
    #[inline]
    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Wakes the tasks that the events concern. Most of what is done under the lock concerns no other task, and does not
    /// come here.
    fn wake_all_concerned(&self, mut core: MutexGuard<'_, Core>, driver: bool) {
        let mut wakes = Wakes::default();
        self.collect(&mut core, &mut wakes);
        if driver {
            core.wake_driver(&mut wakes);
        }
        drop(core);
        wakes.fire();
    }

    /// Collects the wakers of the tasks that the protocol's events concern, and notes the session's end.
    fn collect(&self, core: &mut Core, wakes: &mut Wakes) {
        core.collect(wakes);
        if core.proto.has_ended() {
            self.ended.store(true, Ordering::Release);
        }
    }

    /// Runs `f` under the lock for the driver, which looks at output and timers itself; then wakes the tasks that it
    /// concerns.
    pub(crate) fn with_driver<R>(&self, wakes: &mut Wakes, f: impl FnOnce(&mut Core) -> R) -> R {
        let mut core = self.core.lock();
        let result = f(&mut core);
        if core.has_news() {
            self.collect(&mut core, wakes);
            drop(core);
            wakes.fire();
        }
        result
    }

    /// Runs `f` under the lock as [`with`](Self::with) does, and wakes the driver in any case: a timer may have changed.
    pub(crate) fn with_poke<R>(&self, f: impl FnOnce(&mut Core) -> R) -> R {
        let mut core = self.core.lock();
        let result = f(&mut core);
        self.wake_all_concerned(core, true);
        result
    }

    /// Gives a stream's handle back; the last handle of all closes the session.
    pub(crate) fn release(&self, key: StreamKey) {
        self.with_release(key, |_| ((), true));
    }

    /// Runs `f` under the lock, and gives a stream's handle back in the same step if `f` returns true for that. Returns
    /// what `f` returned.
    #[inline]
    pub(crate) fn with_release<R>(
        &self,
        key: StreamKey,
        f: impl FnOnce(&mut Core) -> (R, bool),
    ) -> (R, bool) {
        let (result, released, last) = self.with(|core| {
            let (result, release) = f(core);
            (result, release, release && core.release(key))
        });
        if last {
            self.close_abandoned();
        }
        (result, released)
    }

    /// Gives a session handle back. Without any, no stream can be accepted.
    pub(crate) fn release_session(&self, waiter: WaiterId) {
        let last = self.with(|core| {
            core.stop_waiting(Signal::Acceptable, waiter);
            core.sessions -= 1;
            if core.sessions == 0 {
                core.proto.refuse_streams();
            }
            core.sessions == 0 && core.proto.handles() == 0
        });
        if last {
            self.close_abandoned();
        }
    }

    /// Ends the session, whose driver is done or gone, and wakes those who wait for that.
    pub(crate) fn finish(&self) {
        let mut wakes = Wakes::default();
        {
            let mut locked = self.core.lock();
            let core = &mut *locked;
            core.driver_done = true;
            core.proto.handle_driver_dropped();
            self.collect(core, &mut wakes);
            core.shrink();
            core.replaced.extend(core.driver.take());
            core.waiters.drain_into(Signal::Closed, &mut wakes);
            wakes.drop_later(&mut core.replaced);
        }
        wakes.fire();
    }

    fn close_abandoned(&self) {
        let now = tokio::time::Instant::now().into_std();
        self.with_poke(|core| core.proto.close_when_sent(ErrorCode::NO_ERROR, now));
    }
}

impl Core {
    /// Returns whether there is something to be done after the unlock: an event that somebody may wait for, or wakers to
    /// be dropped.
    #[inline]
    fn has_news(&self) -> bool {
        let somebody_opens = !self.openers.is_empty() || self.waiters.awaits(Signal::GoingAway);
        self.proto.has_events()
            || !self.replaced.is_empty()
            || self.openers.wants_turn()
            || self.flushes.is_due()
            || self.reminders.has_news()
            || (somebody_opens && self.proto.has_capacity_event())
    }

    /// Gives back memory that nothing is in. Streams keep their places.
    pub(crate) fn shrink(&mut self) {
        self.proto.shrink();
        let nobody = |wakers: &StreamWakers| {
            wakers.read.is_none() && wakers.write.is_none() && wakers.reminder == When::Never
        };
        let used = self.streams.iter().rposition(|wakers| !nobody(wakers)).map_or(0, |last| last + 1);
        self.streams.truncate(used);
        self.streams.shrink_to_fit();
        self.openers.shrink();
        self.reminders.shrink();
        self.waiters.shrink();
    }

    /// Gives a stream's handle back; returns whether it was the last handle of all.
    fn release(&mut self, key: StreamKey) -> bool {
        if let Some(StreamWakers { read, write, reminder }) = self.streams.get_mut(key.index()) {
            *reminder = When::Never;
            self.replaced.extend(read.take());
            self.replaced.extend(write.take());
        }
        self.flushes.forget(key);
        self.proto.release(key);
        self.sessions == 0 && self.proto.handles() == 0
    }

    /// Collects the wakers of the tasks that the protocol's events concern.
    fn collect(&mut self, wakes: &mut Wakes) {
        while let Some(event) = self.proto.poll_event() {
            match event {
                Event::Readable(key) => self.wake_stream(key, Direction::Read, wakes),
                Event::Writable(key) => self.wake_stream(key, Direction::Write, wakes),
                Event::Acceptable => self.waiters.drain_into(Signal::Acceptable, wakes),
                Event::OpenCapacity => self.wake_openers(wakes),
                Event::Heartbeat => self.waiters.drain_into(Signal::Heartbeat, wakes),
                Event::Control => self.waiters.drain_into(Signal::Control, wakes),
                Event::Idle => self.waiters.drain_into(Signal::Idle, wakes),
                Event::Timer => self.wake_driver(wakes),
                Event::Ended => self.wake_all(wakes),
            }
        }
        if self.openers.take_turn_wanted() {
            self.wake_driver(wakes);
        }
        self.collect_reminders(wakes);
        self.wake_flushed(wakes);
        wakes.drop_later(&mut self.replaced);
    }

    fn wake_stream(&mut self, key: StreamKey, direction: Direction, wakes: &mut Wakes) {
        let Some(wakers) = self.streams.get_mut(key.index()) else { return };
        let waker = match direction {
            Direction::Read => wakers.read.take(),
            Direction::Write => wakers.write.take(),
        };
        if let Some(waker) = waker {
            wakes.push(waker);
        }
    }

    fn wake_openers(&mut self, wakes: &mut Wakes) {
        if self.proto.refuses_opens() {
            self.waiters.drain_into(Signal::GoingAway, wakes);
            self.openers.call_all(wakes);
        } else if !self.openers.is_empty() {
            self.openers.call(|level| self.proto.open_capacity_at(level), wakes);
        }
    }

    fn wake_all(&mut self, wakes: &mut Wakes) {
        for stream in &mut self.streams {
            [stream.read.take(), stream.write.take()].into_iter().flatten().for_each(|w| wakes.push(w));
        }
        self.openers.call_all(wakes);
        // Whoever waits for the driver, too, waits on.
        for signal in Signal::ALL.into_iter().filter(|signal| *signal != Signal::Closed) {
            self.waiters.drain_into(signal, wakes);
        }
        self.wake_driver(wakes);
    }

    fn wake_driver(&mut self, wakes: &mut Wakes) {
        if self.driver_state == DriverState::Parked {
            self.driver_state = DriverState::Running;
        }
        if let Some(waker) = &self.driver {
            wakes.push(waker.clone());
        }
    }

    /// Notes that the driver is awake, and what it does by itself needs no wake.
    pub(crate) fn wake_up(&mut self, cx: &Context<'_>) {
        self.register_driver(cx, DriverState::Running);
        self.begin_turn();
    }

    /// Notes that the driver sleeps until there is output.
    pub(crate) fn park_driver(&mut self, cx: &Context<'_>) {
        self.register_driver(cx, DriverState::Parked);
    }

    /// Notes that the driver may sleep until the transport takes more.
    pub(crate) const fn block_driver(&mut self) {
        self.driver_state = DriverState::Blocked;
    }

    fn register_driver(&mut self, cx: &Context<'_>, state: DriverState) {
        self.driver_state = state;
        register(&mut self.driver, cx, &mut self.replaced);
    }

    pub(crate) fn register_stream(&mut self, key: StreamKey, direction: Direction, cx: &Context<'_>) {
        self.wakers_mut(key);
        let wakers = &mut self.streams[key.index()];
        match direction {
            Direction::Read => register(&mut wakers.read, cx, &mut self.replaced),
            Direction::Write => register(&mut wakers.write, cx, &mut self.replaced),
        }
    }

    /// Returns the place for the wakers of a stream.
    #[inline]
    fn wakers_mut(&mut self, key: StreamKey) -> &mut StreamWakers {
        let index = key.index();
        if index >= self.streams.len() {
            self.streams.resize_with(index + 1, StreamWakers::default);
        }
        &mut self.streams[index]
    }

    /// Takes the next bytes of a stream. If there are none, the task is woken when they come.
    #[inline]
    pub(crate) fn poll_read_chunk(
        &mut self,
        key: StreamKey,
        cx: &Context<'_>,
        max: usize,
    ) -> Poll<Result<Option<Bytes>, ReadError>> {
        let mut chunk = None;
        self.poll_take_chunk(key, cx, max, &mut chunk).map_ok(|()| chunk)
    }

    /// Puts the next bytes of a stream into `chunk`, at its end nothing. If there are none yet, the task is woken when
    /// they come.
    #[inline]
    pub(crate) fn poll_take_chunk(
        &mut self,
        key: StreamKey,
        cx: &Context<'_>,
        max: usize,
        chunk: &mut Option<Bytes>,
    ) -> Poll<Result<(), ReadError>> {
        match self.proto.take_chunk(key, max, chunk)? {
            Read::Data(()) | Read::Finished => Poll::Ready(Ok(())),
            Read::Pending => {
                self.register_stream(key, Direction::Read, cx);
                Poll::Pending
            }
        }
    }

    /// Sends a FIN behind what was written to the stream, which is something new to be flushed.
    pub(crate) fn finish(&mut self, key: StreamKey) -> Result<(), WriteError> {
        self.flushes.forget(key);
        self.proto.finish(key)
    }

    /// Takes bytes for a stream, as many as there is room for, and its end if that is all. If some are left, the writer's
    /// task is woken when there is room for more.
    #[inline]
    pub(crate) fn write(
        &mut self,
        key: StreamKey,
        data: &mut impl Source,
        finish: Finish,
        cx: &Context<'_>,
    ) -> Result<usize, WriteError> {
        self.flushes.forget(key);
        let taken = self.proto.write_with(key, data, finish)?;
        if data.has_remaining() {
            self.register_stream(key, Direction::Write, cx);
        }
        Ok(taken)
    }
}

/// A stream's direction, as the application sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Direction {
    Read,
    Write,
}

fn register(slot: &mut Option<Waker>, cx: &Context<'_>, replaced: &mut Replaced) {
    match slot {
        Some(waker) if waker.will_wake(cx.waker()) => {}
        _ => replaced.extend(slot.replace(cx.waker().clone())),
    }
}
