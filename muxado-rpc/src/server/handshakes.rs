//! The connections that are not through their handshake yet: how many there may be.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio_util::sync::CancellationToken;

/// The handshakes under way on a server. Above the limit the oldest gives way to a new one: who does his part needs a few
/// round trips, so that the oldest ones are those of peers that do not.
#[derive(Debug)]
pub(super) struct Handshakes {
    limit: usize,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// The number of the next one.
    next: u64,
    /// By their numbers, the oldest first.
    under_way: BTreeMap<u64, CancellationToken>,
}

impl Handshakes {
    pub(super) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, inner: Mutex::default() })
    }

    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// Returns how many are under way.
    pub(super) fn count(&self) -> usize {
        self.lock().under_way.len()
    }

    /// Begins one. If there are too many, the oldest is given up.
    pub(super) fn begin(self: &Arc<Self>) -> UnderWay {
        let given_up = CancellationToken::new();
        let (number, oldest) = {
            let mut inner = self.lock();
            let is_full = inner.under_way.len() >= self.limit;
            let oldest = if is_full { inner.under_way.pop_first() } else { None };
            let number = inner.next;
            inner.next += 1;
            inner.under_way.insert(number, given_up.clone());
            (number, oldest)
        };
        if let Some((_, oldest)) = oldest {
            oldest.cancel();
        }
        UnderWay { all: Arc::clone(self), number, given_up }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing that panics runs under the lock.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One handshake, which counts until this is dropped.
#[derive(Debug)]
pub(super) struct UnderWay {
    all: Arc<Handshakes>,
    number: u64,
    given_up: CancellationToken,
}

impl UnderWay {
    /// Waits until the handshake has to give way to another one.
    pub(super) async fn given_up(&self) {
        self.given_up.cancelled().await;
    }

    /// Returns how many there may be.
    pub(super) fn limit(&self) -> usize {
        self.all.limit()
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let own = self.all.lock().under_way.remove(&self.number);
        drop(own);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        pin::pin,
        task::{Context, Waker},
    };

    use super::*;

    fn is_given_up(one: &UnderWay) -> bool {
        pin!(one.given_up()).poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn the_oldest_gives_way_and_one_that_is_over_makes_room() {
        let all = Handshakes::new(2);
        let (first, second) = (all.begin(), all.begin());
        assert!(!is_given_up(&first) && !is_given_up(&second));
        let third = all.begin();
        assert!(is_given_up(&first) && !is_given_up(&second) && all.count() == 2);
        // It is no longer counted, and its end makes no room.
        drop(first);
        assert_eq!(all.count(), 2);
        drop(second);
        let _fourth = all.begin();
        assert!(!is_given_up(&third) && all.count() == 2);
    }
}
