//! Where the work of a connection lies while its handlers run, and who goes on with it.
//!
//! ```text
//!            lend                      take back
//!  holder ─────────▶ lies here ─────────────────────▶ holder
//!                        │ the handlers are late
//!                        └─ take over ─▶ deputy, the holder from now on
//! ```

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
};

use tokio::task::AbortHandle;

/// The place of one connection's work.
///
/// The task that holds the work lends it to this place while handlers run. If they run for too long, a deputy, which is
/// another task, takes it over and goes on; then the late one finds that it is no longer the holder. The first holder,
/// the owner, stands for the connection all the time: it ends with it, and the connection ends when it is dropped.
#[derive(Debug)]
pub(super) struct Handover<W> {
    /// The number of the holder: how often the work was taken over.
    holder: AtomicU64,
    inner: Mutex<Inner<W>>,
}

#[derive(Debug)]
struct Inner<W> {
    /// The work, while it is lent.
    lent: Option<Box<W>>,
    /// How often it was lent.
    times: u64,
    /// The owner is gone: nobody goes on.
    is_abandoned: bool,
    /// The work is done.
    is_over: bool,
    /// Waits for the end of the work.
    owner: Option<Waker>,
    /// Tasks that were to take it over, and did not end yet.
    deputies: Vec<AbortHandle>,
}

/// Which holder one is; the owner is the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Holder(u64);

impl Holder {
    pub(super) const OWNER: Self = Self(0);
}

impl<W> Handover<W> {
    pub(super) fn new() -> Self {
        let inner = Inner {
            lent: None,
            times: 0,
            is_abandoned: false,
            is_over: false,
            owner: None,
            deputies: Vec::new(),
        };
        Self { holder: AtomicU64::new(0), inner: Mutex::new(inner) }
    }

    /// Lends the work to whoever takes it over. The number says which time it is, from 1 on.
    pub(super) fn lend(&self, work: Box<W>) -> u64 {
        let mut inner = self.lock();
        inner.lent = Some(work);
        inner.times += 1;
        inner.times
    }

    /// Takes the work back; `None` if somebody else has taken it over, or nobody is to go on with it.
    pub(super) fn take_back(&self, holder: Holder) -> Option<Box<W>> {
        let mut inner = self.lock();
        if self.is_holder(holder) { inner.lent.take() } else { None }
    }

    /// Whether the work is this holder's still.
    pub(super) fn is_holder(&self, holder: Holder) -> bool {
        self.holder.load(Ordering::Acquire) == holder.0
    }

    /// Takes the work over, if it is lent for the same time still.
    pub(super) fn take_over(&self, time: u64) -> Option<(Box<W>, Holder)> {
        let mut inner = self.lock();
        if inner.times != time || inner.is_abandoned {
            return None;
        }
        let work = inner.lent.take()?;
        let holder = self.holder.fetch_add(1, Ordering::AcqRel) + 1;
        drop(inner);
        Some((work, Holder(holder)))
    }

    /// Adds a task that is to take the work over, and ends with the owner.
    pub(super) fn add_deputy(&self, deputy: AbortHandle) {
        let mut inner = self.lock();
        if inner.is_abandoned {
            drop(inner);
            deputy.abort();
        } else {
            inner.deputies.retain(|deputy| !deputy.is_finished());
            inner.deputies.push(deputy);
        }
    }

    /// The work is done: the owner may end, too.
    pub(super) fn finish(&self) {
        let mut inner = self.lock();
        inner.is_over = true;
        let owner = inner.owner.take();
        drop(inner);
        if let Some(owner) = owner {
            owner.wake();
        }
    }

    /// Ready once the work is done, whoever does it.
    pub(super) fn poll_finished(&self, cx: &Context<'_>) -> Poll<()> {
        let waker = cx.waker().clone();
        let mut inner = self.lock();
        if inner.is_over {
            return Poll::Ready(());
        }
        let last = inner.owner.replace(waker);
        drop(inner);
        drop(last);
        Poll::Pending
    }

    /// The owner is gone: whoever holds the work ends. Gives the work, if it is lent, to be dropped.
    pub(super) fn abandon(&self) -> Option<Box<W>> {
        let mut inner = self.lock();
        inner.is_abandoned = true;
        let (work, owner) = (inner.lent.take(), inner.owner.take());
        let deputies = std::mem::take(&mut inner.deputies);
        drop(inner);
        drop(owner);
        deputies.iter().for_each(AbortHandle::abort);
        work
    }

    fn lock(&self) -> MutexGuard<'_, Inner<W>> {
        // Nothing that panics runs under the lock.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lent_is_taken_back() {
        let place = Handover::new();
        place.lend(Box::new(7));
        assert!(place.is_holder(Holder::OWNER));
        assert_eq!(place.take_back(Holder::OWNER), Some(Box::new(7)));
        assert_eq!(place.take_back(Holder::OWNER), None);
    }

    #[test]
    fn who_is_late_finds_that_another_goes_on() {
        let place = Handover::new();
        let time = place.lend(Box::new(7));
        let (work, deputy) = place.take_over(time).unwrap();
        assert!(!place.is_holder(Holder::OWNER) && place.is_holder(deputy));
        assert_eq!(place.take_back(Holder::OWNER), None);
        // The deputy lends it again, and is late itself.
        let time = place.lend(work);
        assert_eq!(place.take_back(Holder::OWNER), None);
        let (_, second) = place.take_over(time).unwrap();
        assert!(!place.is_holder(deputy) && place.is_holder(second));
    }

    #[test]
    fn who_comes_too_late_takes_nothing_over() {
        let place = Handover::new();
        let time = place.lend(Box::new(7));
        let work = place.take_back(Holder::OWNER).unwrap();
        assert!(place.take_over(time).is_none());
        let next = place.lend(work);
        assert!(place.take_over(time).is_none());
        assert!(place.take_over(next).is_some());
        assert!(place.take_over(next).is_none());
    }

    #[test]
    fn nobody_goes_on_without_the_owner() {
        let place = Handover::new();
        let time = place.lend(Box::new(7));
        assert_eq!(place.abandon(), Some(Box::new(7)));
        assert!(place.take_over(time).is_none());
        assert_eq!(place.take_back(Holder::OWNER), None);
    }

    #[test]
    fn the_owner_waits_until_the_work_is_done() {
        let place = Handover::<u8>::new();
        let cx = Context::from_waker(Waker::noop());
        assert!(place.poll_finished(&cx).is_pending());
        place.finish();
        assert!(place.poll_finished(&cx).is_ready());
    }
}
