//! Calls whose handlers wait, and that the task of their connection polls again once they are woken.
//!
//! Such a call costs no task: its waker notes its place in a list, and wakes the connection's task if that does not look
//! at the list anyway. Many that are woken at once wake it once.
//!
//! ```text
//!  Free ──place──▶ Out ──park──▶ Parked
//!    ▲              │ ▲            │ woken
//!    └─────free─────┘ └────next────┘
//! ```
//!
//! Whoever polls a call has taken it out, and holds no lock: if its handler holds the thread for too long, another task
//! goes on with the others.

use std::{
    mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU8, Ordering},
    },
    task::{Wake, Waker},
};

/// The calls of one connection that wait. `C` is a call.
#[derive(Debug)]
pub(super) struct Parked<C> {
    inner: Mutex<Inner<C>>,
    woken: Arc<Woken>,
}

#[derive(Debug)]
struct Inner<C> {
    slots: Vec<Slot<C>>,
    free: Vec<usize>,
    /// Places that were woken and are to be polled in this turn, the last one first.
    due: Vec<usize>,
    /// Nobody polls what waits any more.
    is_over: bool,
}

#[derive(Debug)]
struct Slot<C> {
    waker: Arc<PlaceWaker>,
    state: State<C>,
}

#[derive(Debug)]
enum State<C> {
    Free(Place),
    /// Somebody has the place, who polls what may be parked in it.
    Out {
        was_woken: bool,
    },
    Parked(Place, C),
}

/// A place for a call that may have to wait. It is given back with [`Parked::free`] or [`Parked::park`].
#[derive(Debug)]
pub(super) struct Place {
    index: usize,
    waker: Waker,
}

impl Place {
    /// Wakes the call that is polled with it.
    pub(super) const fn waker(&self) -> &Waker {
        &self.waker
    }
}

/// Which places were woken. It knows nothing of the calls, so that a waker keeps none of them alive.
#[derive(Debug, Default)]
struct Woken(Mutex<WokenPlaces>);

#[derive(Debug, Default)]
struct WokenPlaces {
    places: Vec<usize>,
    /// The connection's task; `None` before it has waited.
    task: Option<Waker>,
    /// That task looks here before it sleeps.
    is_awake: bool,
}

/// Wakes one place.
#[derive(Debug)]
struct PlaceWaker {
    index: usize,
    /// It is among those that were woken already.
    is_noted: AtomicBool,
    /// How often in a row what was polled with it was woken before it could be parked.
    restless: AtomicU8,
    woken: Arc<Woken>,
}

impl Wake for PlaceWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.is_noted.swap(true, Ordering::AcqRel) {
            self.woken.note(self.index);
        }
    }
}

impl PlaceWaker {
    /// Notes that what was polled with it is to be parked. Returns whether that never rests.
    fn note_parking(&self) -> bool {
        let is_woken = self.is_noted.load(Ordering::Relaxed);
        // Nobody else writes meanwhile: who parks has the place.
        let times = if is_woken { self.restless.load(Ordering::Relaxed).saturating_add(1) } else { 0 };
        self.restless.store(times, Ordering::Relaxed);
        times >= RESTLESS
    }
}

impl Woken {
    fn note(&self, index: usize) {
        let mut inner = self.lock();
        inner.places.push(index);
        let was_awake = mem::replace(&mut inner.is_awake, true);
        let task = if was_awake { None } else { inner.task.clone() };
        drop(inner);
        if let Some(task) = task {
            task.wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, WokenPlaces> {
        // Nothing that panics runs under the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<C> Parked<C> {
    pub(super) fn new() -> Self {
        let inner = Inner { slots: Vec::new(), free: Vec::new(), due: Vec::new(), is_over: false };
        Self { inner: Mutex::new(inner), woken: Arc::default() }
    }

    /// Takes a free place; `None` after [`end`](Self::end).
    pub(super) fn place(&self) -> Option<Place> {
        let mut inner = self.lock();
        if inner.is_over {
            return None;
        }
        if let Some(index) = inner.free.pop()
            && let Some(slot) = inner.slots.get_mut(index)
            && let State::Free(place) = mem::replace(&mut slot.state, State::Out { was_woken: false })
        {
            slot.waker.restless.store(0, Ordering::Relaxed);
            return Some(place);
        }
        let (index, woken) = (inner.slots.len(), Arc::clone(&self.woken));
        let waker = Arc::new(PlaceWaker {
            index,
            is_noted: AtomicBool::new(false),
            restless: AtomicU8::new(0),
            woken,
        });
        inner.slots.push(Slot { waker: Arc::clone(&waker), state: State::Out { was_woken: false } });
        Some(Place { index, waker: Waker::from(waker) })
    }

    /// Gives a place back in which nothing waits.
    pub(super) fn free(&self, place: Place) {
        let mut inner = self.lock();
        let index = place.index;
        if let Some(slot) = inner.slots.get_mut(index) {
            slot.state = State::Free(place);
            inner.free.push(index);
        }
    }

    /// Has a call that was polled with this place wait in it. Gives it back if nobody polls what waits any more, or if it
    /// wakes itself each time that it is polled: turns with many such calls would be long.
    pub(super) fn park(&self, place: Place, call: C) -> Option<C> {
        let mut inner = self.lock();
        let Inner { slots, free, .. } = &mut *inner;
        let index = place.index;
        let Some(slot) = slots.get_mut(index) else { return Some(call) };
        if slot.waker.note_parking() {
            slot.state = State::Free(place);
            free.push(index);
            return Some(call);
        }
        let last = mem::replace(&mut slot.state, State::Parked(place, call));
        drop(inner);
        if matches!(last, State::Out { was_woken: true }) {
            self.woken.note(index);
        }
        None
    }

    /// Begins a turn: what was woken is due.
    pub(super) fn begin_turn(&self) {
        let mut inner = self.lock();
        let mut woken = self.woken.lock();
        woken.is_awake = true;
        if inner.due.is_empty() {
            mem::swap(&mut inner.due, &mut woken.places);
            drop(woken);
            inner.due.reverse();
        }
    }

    /// Takes the next call that is due, to be polled.
    pub(super) fn next(&self) -> Option<(Place, C)> {
        let mut inner = self.lock();
        while let Some(index) = inner.due.pop() {
            let Some(slot) = inner.slots.get_mut(index) else { continue };
            // Before it is polled: what it is woken for from now on needs another poll.
            slot.waker.is_noted.swap(false, Ordering::AcqRel);
            match mem::replace(&mut slot.state, State::Out { was_woken: false }) {
                State::Parked(place, call) => return Some((place, call)),
                State::Out { .. } => slot.state = State::Out { was_woken: true },
                free @ State::Free(_) => slot.state = free,
            }
        }
        None
    }

    /// Ends a turn. Returns whether more is due; if not, `task` is woken once it is.
    pub(super) fn end_turn(&self, task: &Waker) -> bool {
        let has_due = !self.lock().due.is_empty();
        let mut woken = self.woken.lock();
        let last = match &woken.task {
            Some(known) if known.will_wake(task) => None,
            _ => woken.task.replace(task.clone()),
        };
        woken.is_awake = has_due || !woken.places.is_empty();
        let has_more = woken.is_awake;
        drop(woken);
        drop(last);
        has_more
    }

    /// Takes all calls that wait. From now on none can.
    pub(super) fn end(&self) -> Vec<C> {
        let mut inner = self.lock();
        inner.is_over = true;
        let slots = mem::take(&mut inner.slots);
        drop(inner);
        let calls = slots.into_iter().filter_map(|slot| match slot.state {
            State::Parked(_, call) => Some(call),
            State::Free(_) | State::Out { .. } => None,
        });
        calls.collect()
    }

    /// Gives the memory back of places that nobody has, behind the last one that somebody has.
    pub(super) fn shrink(&self) {
        let mut inner = self.lock();
        let Inner { slots, free, due, .. } = &mut *inner;
        let used =
            slots.iter().rposition(|slot| !matches!(slot.state, State::Free(_))).map_or(0, |last| last + 1);
        slots.truncate(used);
        slots.shrink_to_fit();
        free.retain(|index| *index < used);
        free.shrink_to_fit();
        // The first ones are taken first, so that few are kept by those who stay long.
        free.sort_unstable_by(|one, other| other.cmp(one));
        due.shrink_to_fit();
        self.woken.lock().places.shrink_to_fit();
    }

    fn lock(&self) -> MutexGuard<'_, Inner<C>> {
        // Nothing that panics runs under the lock.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Polls in a row after each of which a call was woken already, from which on it is not parked any more.
const RESTLESS: u8 = 32;

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    /// Counts how often the connection's task is woken.
    #[derive(Default)]
    struct Task(AtomicUsize);

    impl Wake for Task {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    struct Rig {
        parked: Parked<u32>,
        task: Arc<Task>,
    }

    impl Rig {
        fn new() -> Self {
            Self { parked: Parked::new(), task: Arc::default() }
        }

        /// Parks a call, and gives what wakes it.
        fn park(&self, call: u32) -> Waker {
            let place = self.parked.place().unwrap();
            let waker = place.waker().clone();
            assert_eq!(self.parked.park(place, call), None);
            waker
        }

        fn end_turn(&self) -> bool {
            self.parked.end_turn(&Waker::from(Arc::clone(&self.task)))
        }

        /// A turn in which all calls that are due are done.
        fn turn(&self) -> Vec<u32> {
            self.parked.begin_turn();
            let due = std::iter::from_fn(|| self.parked.next()).map(|(place, call)| {
                self.parked.free(place);
                call
            });
            let due = due.collect();
            assert!(!self.end_turn());
            due
        }

        fn wakes(&self) -> usize {
            self.task.0.load(Ordering::SeqCst)
        }
    }

    #[test]
    fn those_that_were_woken_are_due_in_their_order() {
        let rig = Rig::new();
        let wakers = [1, 2, 3].map(|call| rig.park(call));
        assert!(rig.turn().is_empty());
        wakers[2].wake_by_ref();
        wakers[0].wake_by_ref();
        assert_eq!(rig.turn(), [3, 1]);
        assert!(rig.turn().is_empty());
    }

    #[test]
    fn many_that_are_woken_wake_their_task_once() {
        let rig = Rig::new();
        let wakers: Vec<_> = (0..100).map(|call| rig.park(call)).collect();
        assert!(!rig.end_turn());
        for waker in &wakers {
            waker.wake_by_ref();
            waker.wake_by_ref();
        }
        assert_eq!(rig.wakes(), 1);
        assert_eq!(rig.turn().len(), 100);
        let waker = rig.park(7);
        waker.wake();
        assert_eq!(rig.wakes(), 2);
    }

    #[test]
    fn the_task_is_not_woken_by_what_it_does_itself() {
        let rig = Rig::new();
        let waker = rig.park(1);
        assert!(!rig.end_turn());
        rig.parked.begin_turn();
        waker.wake();
        assert_eq!(rig.wakes(), 0);
        assert!(rig.end_turn(), "more is due");
        assert_eq!(rig.turn(), [1]);
    }

    #[test]
    fn one_that_is_woken_while_it_is_polled_is_due_again() {
        let rig = Rig::new();
        rig.park(1).wake();
        rig.parked.begin_turn();
        let (place, call) = rig.parked.next().unwrap();
        place.waker().wake_by_ref();
        // Another task goes on meanwhile.
        assert!(rig.turn().is_empty());
        assert_eq!(rig.parked.park(place, call), None);
        assert_eq!(rig.wakes(), 1);
        assert_eq!(rig.turn(), [1]);
    }

    #[test]
    fn a_waker_that_is_kept_for_too_long_does_no_harm() {
        let rig = Rig::new();
        let old = rig.park(1);
        old.wake_by_ref();
        assert_eq!(rig.turn(), [1]);
        old.wake_by_ref();
        assert!(rig.turn().is_empty());
        let _new = rig.park(2);
        old.wake();
        assert_eq!(rig.turn(), [2], "polled once too often");
    }

    #[test]
    fn places_are_used_again_and_given_back() {
        let rig = Rig::new();
        for _ in 0..3 {
            let wakers: Vec<_> = (0..10).map(|call| rig.park(call)).collect();
            wakers.iter().for_each(Waker::wake_by_ref);
            assert_eq!(rig.turn().len(), 10);
        }
        let slots = || rig.parked.lock().slots.capacity();
        assert!((10..=16).contains(&slots()));
        let one = rig.park(1);
        rig.parked.shrink();
        one.wake();
        assert_eq!(rig.turn(), [1], "it waited still");
        rig.parked.shrink();
        assert_eq!(slots(), 0);
    }

    #[test]
    fn one_that_wakes_itself_again_and_again_is_given_back() {
        let rig = Rig::new();
        let polls = |most: usize, wakes: fn(usize) -> bool| {
            let mut place = rig.parked.place().unwrap();
            for poll in 0..most {
                if wakes(poll) {
                    place.waker().wake_by_ref();
                }
                let waker = place.waker().clone();
                if rig.parked.park(place, 1).is_some() {
                    return poll + 1;
                }
                waker.wake();
                rig.parked.begin_turn();
                place = rig.parked.next().unwrap().0;
            }
            rig.parked.free(place);
            most
        };
        assert_eq!(polls(1000, |_| true), usize::from(RESTLESS));
        assert_eq!(polls(1000, |_| true), usize::from(RESTLESS), "the next one in its place");
        assert_eq!(polls(1000, |poll| poll % 20 > 0), 1000, "it rests now and then");
        assert_eq!(polls(1000, |_| false), 1000);
    }

    #[test]
    fn places_behind_those_that_wait_are_given_back() {
        let rig = Rig::new();
        let wakers: Vec<_> = (0..100).map(|call| rig.park(call)).collect();
        wakers.iter().skip(1).for_each(Waker::wake_by_ref);
        assert_eq!(rig.turn().len(), 99);
        rig.parked.shrink();
        assert_eq!(rig.parked.lock().slots.capacity(), 1);
        wakers.iter().for_each(Waker::wake_by_ref);
        let next = rig.park(100);
        next.wake();
        assert_eq!(rig.turn(), [0, 100]);
        rig.parked.shrink();
        assert_eq!(rig.parked.lock().slots.capacity(), 0);
    }

    #[test]
    fn at_the_end_those_that_wait_are_given_back() {
        let rig = Rig::new();
        let place = rig.parked.place().unwrap();
        let (_waker, free) = (rig.park(1), rig.parked.place().unwrap());
        rig.parked.free(free);
        assert_eq!(rig.parked.end(), [1]);
        assert_eq!(rig.parked.park(place, 2), Some(2));
        assert!(rig.parked.place().is_none());
        assert!(rig.parked.end().is_empty());
    }
}
