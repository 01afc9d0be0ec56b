//! Numbers of threads: small, and each that of one thread at a time.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Threads that have a number at a time. Further ones have none.
pub(super) const SLOTS: usize = 64;

thread_local! {
    static OWN: Slot = Slot::take();
}

/// The number of a thread, which the next one gets when it ends.
struct Slot(Option<usize>);

/// Numbers that nobody has.
struct Free {
    returned: Vec<usize>,
    /// All from here on were never taken.
    fresh: usize,
}

static FREE: Mutex<Free> = Mutex::new(Free { returned: Vec::new(), fresh: 0 });

fn free() -> MutexGuard<'static, Free> {
    // Nothing that panics runs under the lock.
    FREE.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Slot {
    fn take() -> Self {
        let mut free = free();
        if let Some(slot) = free.returned.pop() {
            return Self(Some(slot));
        }
        let fresh = (free.fresh < SLOTS).then_some(free.fresh);
        free.fresh += usize::from(fresh.is_some());
        Self(fresh)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(slot) = self.0 {
            free().returned.push(slot);
        }
    }
}

/// Returns the number of this thread, below [`SLOTS`]; `None` if it has none, or is about to end.
///
/// What the thread that had the number before wrote is visible to this one.
#[inline]
pub(super) fn current() -> Option<usize> {
    OWN.try_with(|own| own.0).ok().flatten()
}
