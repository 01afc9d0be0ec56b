//! Who is to be woken once the lock is released.

use std::task::Waker;

/// Wakers to be woken, or dropped, after the lock is released: either may run code of the user's. A few need no
/// allocation.
#[derive(Debug, Default)]
pub(crate) struct Wakes {
    few: [Option<Waker>; 4],
    len: usize,
    more: Vec<Waker>,
    replaced: Replaced,
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
    pub(super) fn drop_later(&mut self, replaced: &mut Replaced) {
        if self.replaced.is_empty() {
            std::mem::swap(&mut self.replaced, replaced);
        } else {
            replaced.take().for_each(|waker| self.replaced.push(waker));
        }
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
        self.replaced.take().for_each(drop);
    }

    /// Gives the memory back, if nobody is to be woken.
    pub(crate) fn shrink(&mut self) {
        if self.len == 0 {
            self.more = Vec::new();
            self.replaced = Replaced::default();
        }
    }
}

/// Wakers that are not needed any more. One at a time is the rule, and needs no allocation.
#[derive(Debug, Default)]
pub(super) struct Replaced {
    one: Option<Waker>,
    more: Vec<Waker>,
}

impl Replaced {
    pub(super) fn is_empty(&self) -> bool {
        self.one.is_none()
    }

    pub(super) fn push(&mut self, waker: Waker) {
        match &self.one {
            None => self.one = Some(waker),
            Some(_) => self.more.push(waker),
        }
    }

    pub(super) fn extend(&mut self, waker: Option<Waker>) {
        waker.into_iter().for_each(|waker| self.push(waker));
    }

    fn take(&mut self) -> impl Iterator<Item = Waker> {
        self.one.take().into_iter().chain(self.more.drain(..))
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        usize::from(self.one.is_some()) + self.more.len()
    }
}
