//! Who is to be woken once the lock is released.

use std::task::Waker;

/// Wakers to be woken, or dropped, after the lock is released: either may run code of the user's. A few need no
/// allocation.
#[derive(Debug, Default)]
pub(crate) struct Wakes {
    few: [Option<Waker>; 4],
    len: usize,
    more: Vec<Waker>,
    replaced: Vec<Waker>,
}

impl Wakes {
    pub(super) fn push(&mut self, waker: Waker) {
        match self.few.get_mut(self.len) {
            Some(slot) => *slot = Some(waker),
            None => self.more.push(waker),
        }
        self.len += 1;
    }

    /// Takes over wakers that are not needed any more.
    pub(super) fn drop_later(&mut self, replaced: &mut Vec<Waker>) {
        self.replaced.append(replaced);
    }

    /// Wakes everybody; keeps the memory.
    pub(crate) fn fire(&mut self) {
        for slot in self.few.iter_mut().take(self.len) {
            if let Some(waker) = slot.take() {
                waker.wake();
            }
        }
        self.more.drain(..).for_each(Waker::wake);
        self.len = 0;
        self.replaced.clear();
    }

    /// Gives the memory back, if nobody is to be woken.
    pub(crate) fn shrink(&mut self) {
        if self.len == 0 {
            self.more = Vec::new();
            self.replaced = Vec::new();
        }
    }
}
