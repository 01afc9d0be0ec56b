//! Who waits for something that several may wait for, and who is to be woken.

use std::task::{Context, Waker};

/// Tasks that wait for the same thing.
#[derive(Debug, Default)]
pub(crate) struct WakerSet(Vec<Waker>);

impl WakerSet {
    pub(crate) fn register(&mut self, cx: &Context<'_>) {
        if !self.0.iter().any(|waker| waker.will_wake(cx.waker())) {
            self.0.push(cx.waker().clone());
        }
    }

    pub(super) fn drain_into(&mut self, wakes: &mut Wakes) {
        self.0.drain(..).for_each(|waker| wakes.push(waker));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn shrink(&mut self) {
        self.0.shrink_to_fit();
    }
}

/// Wakers to be woken after the lock is released. A few need no allocation.
#[derive(Debug, Default)]
pub(crate) struct Wakes {
    few: [Option<Waker>; 4],
    len: usize,
    more: Vec<Waker>,
}

impl Wakes {
    pub(super) fn push(&mut self, waker: Waker) {
        match self.few.get_mut(self.len) {
            Some(slot) => *slot = Some(waker),
            None => self.more.push(waker),
        }
        self.len += 1;
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
    }

    /// Gives the memory back, if nobody is to be woken.
    pub(crate) fn shrink(&mut self) {
        if self.len == 0 {
            self.more = Vec::new();
        }
    }
}
