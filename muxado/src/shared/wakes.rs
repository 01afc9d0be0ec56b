//! Who is to be woken once the lock is released.

use std::{
    any::Any,
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
    task::Waker,
};

/// Wakers to be woken, or dropped, after the lock is released: either may run user code. A few need no
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
            mem::swap(&mut self.replaced, replaced);
        } else {
            replaced.take().for_each(|waker| self.replaced.push(waker));
        }
    }

    /// Wakes everybody; keeps the memory. Who cannot be woken, because that panics, keeps nobody else from it.
    pub(crate) fn fire(&mut self) {
        for waker in self.few.iter_mut().take(self.len) {
            if let Some(waker) = waker.take() {
                contain(|| waker.wake());
            }
        }
        self.len = 0;
        if !self.more.is_empty() {
            self.more.drain(..).for_each(|waker| contain(|| waker.wake()));
        }
        if !self.replaced.is_empty() {
            self.replaced.take().for_each(|waker| contain(|| drop(waker)));
        }
    }

    /// Gives the memory back, if nobody is to be woken.
    pub(crate) fn shrink(&mut self) {
        if self.len == 0 {
            self.more = Vec::new();
            self.replaced = Replaced::default();
        }
    }
}

/// Wakes or drops a user-supplied waker, and contains a panic. A waker may own the task that it wakes: dropping it
/// then drops the task's future, and its destructors may panic. That must not end the session, nor another's call.
#[inline]
fn contain(work: impl FnOnce()) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(work)) {
        discard(payload);
    }
}

#[cold]
fn discard(payload: Box<dyn Any + Send>) {
    tracing::debug!("a waker panicked");
    if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        forget(again);
    }
}

#[expect(clippy::mem_forget, reason = "dropping it may panic")]
fn forget(payload: Box<dyn Any + Send>) {
    mem::forget(payload);
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

#[cfg(test)]
mod tests {
    use std::{
        panic::panic_any,
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
        task::Wake,
    };

    use super::*;

    #[derive(Default)]
    struct Counted(AtomicUsize);

    impl Wake for Counted {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Panics when it is woken, or dropped otherwise, and leaves what panics again.
    struct Bad;

    impl Wake for Bad {
        fn wake(self: Arc<Self>) {
            panic_any(Self);
        }
    }

    impl Drop for Bad {
        fn drop(&mut self) {
            if !std::thread::panicking() {
                panic_any("again");
            }
        }
    }

    #[test]
    fn a_waker_that_panics_keeps_nobody_from_being_woken() {
        let counted = Arc::new(Counted::default());
        let mut wakes = Wakes::default();
        for _ in 0..4 {
            wakes.push(Waker::from(Arc::new(Bad)));
            wakes.push(Waker::from(Arc::clone(&counted)));
        }
        for _ in 0..2 {
            wakes.replaced.push(Waker::from(Arc::new(Bad)));
            wakes.replaced.push(Waker::from(Arc::clone(&counted)));
        }
        wakes.fire();
        assert_eq!((counted.0.load(Ordering::SeqCst), Arc::strong_count(&counted)), (4, 1));
        assert!(wakes.replaced.is_empty());
    }
}
