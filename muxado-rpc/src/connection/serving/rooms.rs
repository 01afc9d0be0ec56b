//! How many calls of the peer may be served at a time, of each class.

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    task::Waker,
};

use crate::{Limits, Shape, support::depth::Depth};

/// What calls share their room with: those of the same depth that end in the same way.
///
/// A handler waits for calls of the next depth only. As each has room of its own, and the last refuses instead
/// of waiting, nothing waits in a circle. The room of a depth below the first is an eighth of a limit, at least
/// one call, so that all together are at most twice as many as the limit says, or 8 more.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Class {
    pub(crate) depth: Depth,
    /// Whether either side sends items: such a call may last as long as somebody listens.
    pub(crate) streams: bool,
}

impl Class {
    /// Most calls are of it.
    pub(crate) const FIRST: Self = Self { depth: Depth::ZERO, streams: false };

    pub(crate) fn new(shape: Shape, depth: Depth) -> Self {
        Self { depth, streams: shape != Shape::Unary }
    }

    const fn index(self) -> usize {
        let kind = if self.streams { DEPTHS } else { 0 };
        kind + self.depth.as_u8() as usize
    }

    /// Returns whether a call waits for room; if not, it is refused when the class is full.
    pub(crate) fn waits(self) -> bool {
        self.depth < Depth::LAST
    }

    /// Returns how many calls of the class are served at a time.
    pub(crate) fn limit(self, limits: &Limits) -> usize {
        let all = if self.streams { limits.max_streaming_calls } else { limits.max_in_flight };
        if self.depth.is_zero() { all } else { (all / DEEPER).max(1) }
    }

    /// What the error of a call says that found no room.
    pub(crate) fn describe_limit(self, limits: &Limits) -> String {
        let (kind, setting) = if self.streams {
            ("streaming calls", "max_streaming_calls")
        } else {
            ("calls", "max_in_flight")
        };
        let depth = match self.depth {
            Depth::ZERO => String::new(),
            depth => format!(" of depth {}", depth.as_u8()),
        };
        let limit = self.limit(limits);
        format!("the {kind}{depth} in flight, at the serving side's limit of {limit} (Limits::{setting})")
    }
}

/// Depths that are told apart.
const DEPTHS: usize = Depth::LAST.as_u8() as usize + 1;

/// The room of the first depth is so many times that of a deeper one.
const DEEPER: usize = 8;

/// The rooms of one connection.
#[derive(Debug)]
pub(crate) struct Rooms {
    /// Calls of each class that are served.
    taken: [AtomicU32; 2 * DEPTHS],
    limits: Arc<Limits>,
    /// Somebody waits for room in one of them.
    waits: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Rooms {
    pub(crate) fn new(limits: &Arc<Limits>) -> Arc<Self> {
        Arc::new(Self {
            taken: Default::default(),
            limits: Arc::clone(limits),
            waits: AtomicBool::new(false),
            waker: Mutex::default(),
        })
    }

    /// Takes a place, if there is one.
    pub(crate) fn take(self: &Arc<Self>, class: Class) -> Option<Permit> {
        self.enter(class).then(|| Permit { rooms: Arc::clone(self), class })
    }

    /// Returns whether there is room for a call of the first depth that streams.
    pub(crate) fn has_room_for_streams(&self) -> bool {
        let class = Class { streams: true, ..Class::FIRST };
        (self.taken[class.index()].load(Ordering::Relaxed) as usize) < class.limit(&self.limits)
    }

    fn enter(&self, class: Class) -> bool {
        let limit = class.limit(&self.limits);
        let enter = |taken: u32| taken.checked_add(1).filter(|taken| *taken as usize <= limit);
        self.taken[class.index()].fetch_update(Ordering::SeqCst, Ordering::SeqCst, enter).is_ok()
    }

    /// Has this task woken from now on when a place becomes free. It looks for one after that.
    pub(crate) fn wait(&self, waker: &Waker) {
        let mut slot = self.waker();
        let replaced = match &*slot {
            Some(known) if known.will_wake(waker) => None,
            _ => slot.replace(waker.clone()),
        };
        drop(slot);
        drop(replaced);
        self.waits.store(true, Ordering::SeqCst);
    }

    /// Nobody waits any more.
    pub(crate) fn stop_waiting(&self) {
        if self.waits.swap(false, Ordering::SeqCst) {
            let waker = self.waker().take();
            drop(waker);
        }
    }

    fn leave(&self, class: Class) {
        self.taken[class.index()].fetch_sub(1, Ordering::SeqCst);
        if self.waits.load(Ordering::SeqCst) {
            let waker = self.waker().clone();
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }

    fn waker(&self) -> std::sync::MutexGuard<'_, Option<Waker>> {
        self.waker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of a call among those that are served. It is given back when this is dropped.
pub(crate) struct Permit {
    rooms: Arc<Rooms>,
    class: Class,
}

impl Permit {
    pub(crate) const fn class(&self) -> Class {
        self.class
    }

    /// Returns whether it is a place for calls of the class that most are of.
    pub(crate) fn is_of_first_class(&self) -> bool {
        self.class == Class::FIRST
    }

    /// Exchanges the place for one among the calls that stream, which this turned out to be. False if there is
    /// none.
    pub(crate) fn turn_into_streaming(&mut self) -> bool {
        let class = Class { streams: true, ..self.class };
        if class == self.class {
            return true;
        }
        let entered = self.rooms.enter(class);
        if entered {
            self.rooms.leave(std::mem::replace(&mut self.class, class));
        }
        entered
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.rooms.leave(self.class);
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Permit").field(&self.class).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::atomic::AtomicUsize, task::Wake};

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn at(depth: u64, streams: bool) -> Class {
        Class { depth: Depth::from_wire(depth), streams }
    }

    #[test]
    fn each_class_has_its_own_room() {
        let rooms = Rooms::new(&Limits::default().max_in_flight(16).max_streaming_calls(3).into());
        let mut taken = Vec::new();
        for depth in 0..=8 {
            for streams in [false, true] {
                while let Some(permit) = rooms.take(at(depth, streams)) {
                    taken.push(permit);
                }
            }
        }
        // 16 and 8 × 2 calls that answer once; 3 and 8 × 1 that stream.
        assert_eq!(taken.len(), 16 + 8 * 2 + 3 + 8);
        taken.clear();
        assert!(rooms.take(Class::FIRST).is_some());
    }

    #[test]
    fn a_place_that_is_given_back_wakes_who_waits() {
        let rooms = Rooms::new(&Limits::default().max_in_flight(1).into());
        let woken = Arc::new(Woken::default());
        let count = || woken.0.load(Ordering::SeqCst);
        drop(rooms.take(Class::FIRST).unwrap());
        assert_eq!(count(), 0);
        rooms.wait(&Waker::from(Arc::clone(&woken)));
        drop(rooms.take(Class::FIRST).unwrap());
        assert_eq!(count(), 1);
        rooms.stop_waiting();
        drop(rooms.take(Class::FIRST).unwrap());
        assert_eq!((count(), Arc::strong_count(&woken)), (1, 1));
    }

    #[test]
    fn a_call_that_turns_out_to_stream_changes_its_place() {
        let rooms = Rooms::new(&Limits::default().max_in_flight(1).max_streaming_calls(1).into());
        let mut first = rooms.take(Class::FIRST).unwrap();
        assert!(first.turn_into_streaming());
        let mut second = rooms.take(Class::FIRST).unwrap();
        assert!(!second.turn_into_streaming());
        assert_eq!((first.class(), second.class()), (at(0, true), Class::FIRST));
        drop(first);
        assert!(second.turn_into_streaming());
    }
}
