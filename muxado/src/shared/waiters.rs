//! Who waits for something that concerns the whole session, and how a waiter leaves.

use std::{
    collections::VecDeque,
    future::Future,
    ops::Range,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use super::{Core, Shared, Wakes};

/// What several tasks may wait for at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Signal {
    /// A stream of the peer waits to be accepted.
    Acceptable,
    /// The driver is done.
    Closed,
    /// No stream is open any more.
    Idle,
    /// No stream can be opened any more.
    GoingAway,
    /// There is a new result of a heartbeat.
    Heartbeat,
    /// The peer's control stream, or the first sign of its extensions.
    Control,
}

impl Signal {
    pub(super) const ALL: [Self; 6] =
        [Self::Acceptable, Self::Closed, Self::Idle, Self::GoingAway, Self::Heartbeat, Self::Control];

    /// The names of all who may wait for it.
    fn names(self) -> Range<WaiterName> {
        let of = |signal| WaiterName(signal, WaiterId(0));
        of(self as u8)..of(self as u8 + 1)
    }
}

/// Names a waiter: a future, or a handle whose `poll_*` methods are used.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct WaiterId(u64);

/// What a waiter waits for, and its name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct WaiterName(u8, WaiterId);

/// The wakers of those who wait, by the signal and by rising names: few as a rule, and so in one list. A waiter has one
/// entry for a signal, however often it is polled.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    list: VecDeque<(WaiterName, Waker)>,
    /// How many wait for each signal.
    counts: [u32; Signal::ALL.len()],
}

impl Waiters {
    #[inline]
    pub(super) fn awaits(&self, signal: Signal) -> bool {
        self.counts[signal as usize] > 0
    }

    pub(super) fn drain_into(&mut self, signal: Signal, wakes: &mut Wakes) {
        if std::mem::take(&mut self.counts[signal as usize]) > 0 {
            let Range { start, end } = signal.names();
            let place = |name| self.list.partition_point(|(other, _)| *other < name);
            let drained = place(start)..place(end);
            self.list.drain(drained).for_each(|(_, waker)| wakes.push(waker));
        }
    }

    pub(super) fn shrink(&mut self) {
        self.list.shrink_to_fit();
    }

    /// Returns the place of a waiter, or where it belongs.
    fn place(&self, name: WaiterName) -> Result<usize, usize> {
        match self.list.back() {
            Some((last, _)) if *last >= name => self.list.binary_search_by_key(&name, |(name, _)| *name),
            _ => Err(self.list.len()),
        }
    }
}

impl Core {
    /// Returns a new name, for a future or a handle that may come to wait.
    pub(crate) fn new_waiter(&mut self) -> WaiterId {
        self.next_waiter += 1;
        WaiterId(self.next_waiter)
    }

    /// Has the task of `cx` woken by the next `signal`.
    pub(crate) fn wait(&mut self, signal: Signal, id: WaiterId, cx: &Context<'_>) {
        let (waiters, name) = (&mut self.waiters, WaiterName(signal as u8, id));
        match waiters.place(name) {
            Ok(place) => {
                let waker = &mut waiters.list[place].1;
                if !waker.will_wake(cx.waker()) {
                    self.replaced.push(std::mem::replace(waker, cx.waker().clone()));
                }
            }
            Err(place) => {
                waiters.list.insert(place, (name, cx.waker().clone()));
                waiters.counts[signal as usize] += 1;
            }
        }
    }

    /// Takes a waiter out of the list.
    pub(crate) fn stop_waiting(&mut self, signal: Signal, id: WaiterId) {
        let waiters = &mut self.waiters;
        if let Ok(place) = waiters.place(WaiterName(signal as u8, id)) {
            waiters.counts[signal as usize] -= 1;
            self.replaced.extend(waiters.list.remove(place).map(|(_, waker)| waker));
        }
    }

    /// Returns how many wait for any signal, and how many of their wakers are still to be dropped.
    #[cfg(test)]
    pub(crate) fn count_waiters(&self) -> usize {
        self.waiters.list.len() + self.replaced.len()
    }
}

/// Waits until `ready` returns ready; it is called at each poll, and `signal` tells when its result may have changed.
/// The future leaves the list of waiters when it is dropped.
#[must_use = "futures do nothing unless polled"]
pub(crate) struct Wait<'a, F> {
    shared: &'a Shared,
    signal: Signal,
    id: Option<WaiterId>,
    ready: F,
}

impl<'a, F> Wait<'a, F> {
    pub(crate) fn new(shared: &'a Shared, signal: Signal, ready: F) -> Self {
        Self { shared, signal, id: None, ready }
    }
}

impl<T, F: FnMut(&mut Core) -> Poll<T> + Unpin> Future for Wait<'_, F> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let Self { shared, signal, id, ready } = self.get_mut();
        shared.with(|core| {
            let polled = ready(core);
            if polled.is_pending() {
                let id = *id.get_or_insert_with(|| core.new_waiter());
                core.wait(*signal, id, cx);
            }
            polled
        })
    }
}

impl<F> Drop for Wait<'_, F> {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.shared.with(|core| core.stop_waiting(self.signal, id));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        pin::pin,
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
        task::Wake,
    };

    use super::*;
    use crate::{Config, ControlStreams, Heartbeat, HeartbeatConfig, Session, StreamType, TypedSession};

    /// A session to which nothing happens: its driver is not polled.
    fn session() -> (Session, impl Drop) {
        let clock = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let _entered = clock.enter();
        Session::client(tokio::io::duplex(64).0, Config::default())
    }

    /// Polls a future once and drops it.
    fn touch(future: impl Future) {
        assert!(pin!(future).poll(&mut Context::from_waker(Waker::noop())).is_pending());
    }

    fn waiting(session: &Session) -> usize {
        session.shared.with(|core| core.count_waiters())
    }

    #[test]
    fn futures_that_are_dropped_leave_nothing_behind() {
        let (session, _driver) = session();
        let typed = TypedSession::new(session.clone());
        let control = ControlStreams::start(&typed, StreamType::CONTROL);
        let mut heartbeat = Heartbeat::start(&typed, HeartbeatConfig::default());
        for _ in 0..100 {
            touch(session.closed());
            touch(session.going_away());
            touch(session.accept());
            touch(typed.accept_typed());
            touch(control.accept());
            touch(heartbeat.changed());
            touch(heartbeat.ping());
        }
        assert_eq!(waiting(&session), 0);
    }

    #[test]
    fn handle_that_is_polled_has_one_waker_until_it_is_dropped() {
        let (session, _driver) = session();
        for _ in 0..100 {
            let handle = session.clone();
            for _ in 0..3 {
                let waker = Waker::from(Arc::new(Counted::default()));
                assert!(handle.poll_accept(&mut Context::from_waker(&waker)).is_pending());
                assert_eq!(waiting(&session), 1);
            }
        }
        assert_eq!(waiting(&session), 0);
    }

    /// A task that uses the session when its last waker is dropped, as one does that owns a stream.
    #[derive(Default)]
    struct Counted {
        session: Option<Session>,
        dropped: Option<Arc<AtomicUsize>>,
    }

    impl Wake for Counted {
        fn wake(self: Arc<Self>) {}
    }

    impl Drop for Counted {
        fn drop(&mut self) {
            if let (Some(session), Some(dropped)) = (&self.session, &self.dropped) {
                session.stats();
                dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    #[test]
    fn wakers_are_dropped_outside_of_the_lock() {
        let (session, _driver) = session();
        let dropped = Arc::new(AtomicUsize::new(0));
        let waker = || {
            let (session, dropped) = (Some(session.clone()), Some(Arc::clone(&dropped)));
            Waker::from(Arc::new(Counted { session, dropped }))
        };
        let mut stream = now(session.open());
        let mut polls = 0;
        let mut poll = |f: &mut dyn FnMut(&mut Context<'_>)| {
            f(&mut Context::from_waker(&waker()));
            polls += 1;
        };
        for _ in 0..2 {
            poll(&mut |cx| assert!(stream.poll_read_chunk(cx, 1).is_pending()));
            poll(&mut |cx| assert!(stream.poll_reset(cx).is_pending()));
            poll(&mut |cx| assert!(session.poll_accept(cx).is_pending()));
            poll(&mut |cx| assert!(pin!(session.closed()).poll(cx).is_pending()));
        }
        drop(stream);
        session.close(crate::ErrorCode::NO_ERROR, "");
        assert_eq!(dropped.load(Ordering::Relaxed), polls);
    }

    fn now<T, E: std::fmt::Debug>(future: impl Future<Output = Result<T, E>>) -> T {
        match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(output) => output.unwrap(),
            Poll::Pending => panic!("the future waits"),
        }
    }
}
