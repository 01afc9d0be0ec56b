//! Memory that the requests of one connection share.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// Bytes that may be held at a time, and those that are.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: usize,
    used: AtomicUsize,
}

impl Budget {
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, used: AtomicUsize::new(0) })
    }
}

/// A part of a budget, given back when dropped.
#[derive(Debug, Default)]
pub(crate) struct Reservation {
    /// Without one, what is reserved is not counted.
    budget: Option<Arc<Budget>>,
    bytes: usize,
}

/// There are not so many bytes left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "no room beside the requests being received and served, over the serving side's limit of {limit} bytes a \
     connection (Limits::max_request_memory)"
)]
pub(crate) struct Exhausted {
    /// The bytes of the whole budget.
    pub(crate) limit: usize,
}

impl Reservation {
    /// Nothing yet, of this budget.
    pub(crate) fn of(budget: Arc<Budget>) -> Self {
        Self { budget: Some(budget), bytes: 0 }
    }

    /// Makes it `bytes`, if these are more. If that is above the limit, it stays as it is.
    pub(crate) fn grow(&mut self, bytes: usize) -> Result<(), Exhausted> {
        let more = bytes.saturating_sub(self.bytes);
        let Some(budget) = self.budget.as_ref().filter(|_| more > 0) else { return Ok(()) };
        let limit = budget.limit;
        let fits = |used: usize| used.checked_add(more).filter(|used| *used <= limit);
        // The count orders nothing else.
        let taken = budget.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits);
        taken.map_err(|_| Exhausted { limit })?;
        self.bytes = bytes;
        Ok(())
    }

    /// What is reserved now, as one of its own.
    pub(crate) fn take(&mut self) -> Option<Self> {
        let bytes = std::mem::take(&mut self.bytes);
        (bytes > 0).then(|| Self { budget: self.budget.clone(), bytes })
    }

    /// Gives back what is reserved.
    #[inline]
    pub(crate) fn clear(&mut self) {
        if let Some(budget) = self.budget.as_ref().filter(|_| self.bytes > 0) {
            budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
            self.bytes = 0;
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
impl Budget {
    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reservations_of_one_budget_share_its_limit_to_the_byte() {
        let budget = Budget::new(100);
        let (mut a, mut b) = (Reservation::of(Arc::clone(&budget)), Reservation::of(Arc::clone(&budget)));
        assert_eq!((a.grow(60), b.grow(41)), (Ok(()), Err(Exhausted { limit: 100 })));
        assert_eq!((b.grow(40), budget.used()), (Ok(()), 100));
        assert_eq!((a.grow(50), a.grow(61)), (Ok(()), Err(Exhausted { limit: 100 })));
        drop(b);
        assert_eq!((a.grow(100), budget.used()), (Ok(()), 100));
        drop(a);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn what_is_taken_out_is_counted_once() {
        let budget = Budget::new(100);
        let mut reservation = Reservation::of(Arc::clone(&budget));
        reservation.grow(70).unwrap();
        let taken = reservation.take().unwrap();
        assert_eq!((budget.used(), reservation.take().is_none()), (70, true));
        reservation.grow(30).unwrap();
        drop(taken);
        assert_eq!(budget.used(), 30);
        reservation.clear();
        reservation.clear();
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn without_a_budget_nothing_is_counted() {
        let mut reservation = Reservation::default();
        assert_eq!(reservation.grow(usize::MAX), Ok(()));
        assert!(reservation.take().is_none());
    }
}
