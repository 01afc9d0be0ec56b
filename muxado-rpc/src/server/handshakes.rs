//! The connections that are not through their handshake yet: how many there may be, and which has to go.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::addresses::owner;

/// The handshakes under way on a server, of which there are no more than a limit.
///
/// At the limit a new one takes the place of another:
///
/// - If one address has more than a quarter of them, its oldest goes, at once.
/// - Else the oldest of all goes, if it is old: who does his part needs a few round trips, so that those are the ones of
///   peers that do not. Before that new connections wait in the listener's backlog: many clients that come at once, after
///   a restart say, take nobody's place from each other.
#[derive(Debug)]
pub(super) struct Handshakes {
    limit: usize,
    /// From this age on one may have to go.
    old: Duration,
    inner: Mutex<Inner>,
    /// One has ended.
    ended: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    /// The number of the next one.
    next: u64,
    /// By their numbers, the oldest first.
    under_way: BTreeMap<u64, Entry>,
    /// How many each address has.
    addresses: HashMap<IpAddr, usize>,
}

#[derive(Debug)]
struct Entry {
    since: Instant,
    address: Option<IpAddr>,
    given_up: CancellationToken,
}

impl Handshakes {
    /// Those of a server that lets so many be under way, and each take so long.
    pub(super) fn new(limit: usize, timeout: Duration) -> Arc<Self> {
        let (inner, ended) = (Mutex::default(), Notify::new());
        Arc::new(Self { limit, old: timeout / 4, inner, ended })
    }

    /// Returns how many are under way.
    pub(super) fn count(&self) -> usize {
        self.lock().under_way.len()
    }

    /// Waits until another one may begin. Of several who wait at once only one may be woken.
    pub(super) async fn room(&self) {
        loop {
            let free_at = {
                let inner = self.lock();
                if inner.under_way.len() < self.limit || inner.find_to_go(self.limit, self.old).is_some() {
                    return;
                }
                inner.under_way.values().next().and_then(|oldest| oldest.since.checked_add(self.old))
            };
            // A time beyond the end of time never comes.
            let Some(free_at) = free_at else { return self.ended.notified().await };
            tokio::select! {
                () = self.ended.notified() => {}
                () = sleep_until(free_at) => {}
            }
        }
    }

    /// Begins one of a connection from this address, if that is known. At the limit another one is given up.
    pub(super) fn begin(self: &Arc<Self>, address: Option<IpAddr>) -> UnderWay {
        let (address, given_up) = (address.map(owner), CancellationToken::new());
        let entry = Entry { since: Instant::now(), address, given_up: given_up.clone() };
        let (number, gone) = {
            let mut inner = self.lock();
            let is_full = inner.under_way.len() >= self.limit;
            let goes = if is_full { inner.find_to_go(self.limit, self.old) } else { None };
            let gone = goes.and_then(|number| inner.remove(number));
            (inner.insert(entry), gone)
        };
        if let Some(gone) = gone {
            gone.given_up.cancel();
        }
        UnderWay { all: Arc::clone(self), number, given_up }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing that panics runs under the lock.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn insert(&mut self, entry: Entry) -> u64 {
        let number = self.next;
        self.next += 1;
        if let Some(address) = entry.address {
            *self.addresses.entry(address).or_default() += 1;
        }
        self.under_way.insert(number, entry);
        number
    }

    fn remove(&mut self, number: u64) -> Option<Entry> {
        let entry = self.under_way.remove(&number)?;
        if let Some(address) = entry.address
            && let Some(count) = self.addresses.get_mut(&address)
        {
            *count -= 1;
            if *count == 0 {
                self.addresses.remove(&address);
            }
        }
        Some(entry)
    }

    /// Returns the one that a new one may take the place of.
    fn find_to_go(&self, limit: usize, old: Duration) -> Option<u64> {
        let most = self.addresses.iter().max_by_key(|(_, count)| **count);
        if let Some((address, count)) = most
            && *count > limit / 4
        {
            let of_address = |entry: &Entry| entry.address == Some(*address);
            return self.under_way.iter().find(|(_, entry)| of_address(entry)).map(|(number, _)| *number);
        }
        let (number, oldest) = self.under_way.first_key_value()?;
        (oldest.since.elapsed() >= old).then_some(*number)
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
        self.all.limit
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let own = self.all.lock().remove(self.number);
        drop(own);
        self.all.ended.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{sleep, timeout};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn address(last: u8) -> Option<IpAddr> {
        Some(IpAddr::from([10, 0, 0, last]))
    }

    fn given_up(all: &[UnderWay]) -> Vec<usize> {
        (0..all.len()).filter(|index| all[*index].given_up.is_cancelled()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn of_an_address_with_more_than_its_share_the_oldest_goes_at_once() {
        let all = Handshakes::new(8, 10 * SECOND);
        let mut begun: Vec<_> = [1, 2, 1, 3, 1, 4, 5, 6].map(|last| all.begin(address(last))).into();
        let begin = Instant::now();
        all.room().await;
        begun.push(all.begin(address(7)));
        assert_eq!((given_up(&begun), all.count(), begin.elapsed()), (vec![0], 8, Duration::ZERO));
        // Three were more than a quarter; now each has two at most.
        timeout(SECOND, all.room()).await.unwrap_err();
        drop(begun);
        assert_eq!(all.count(), 0);
        assert!(all.lock().addresses.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn without_such_an_address_new_ones_wait_until_the_oldest_is_old_or_one_ends() {
        let all = Handshakes::new(4, 10 * SECOND);
        let mut begun: Vec<_> = [None, address(1), address(2), address(3)].map(|from| all.begin(from)).into();
        let begin = Instant::now();
        timeout(2 * SECOND, all.room()).await.unwrap_err();
        all.room().await;
        assert_eq!(begin.elapsed(), 10 * SECOND / 4);
        begun.push(all.begin(None));
        assert_eq!((given_up(&begun), all.count()), (vec![0], 4));
        // The next ones are as old.
        all.room().await;
        begun.push(all.begin(None));
        assert_eq!(given_up(&begun), [0, 1]);
        let waiting = {
            let all = Handshakes::new(1, 10 * SECOND);
            let only = all.begin(None);
            let waiting = tokio::spawn(async move { all.room().await });
            sleep(SECOND).await;
            assert!(!waiting.is_finished());
            drop(only);
            waiting
        };
        let begin = Instant::now();
        waiting.await.unwrap();
        assert_eq!(begin.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_was_given_up_makes_no_room_when_it_ends() {
        let all = Handshakes::new(1, 10 * SECOND);
        let first = all.begin(address(1));
        let second = all.begin(address(1));
        assert!(first.given_up.is_cancelled() && !second.given_up.is_cancelled());
        drop(first);
        assert_eq!(all.count(), 1);
        drop(second);
        assert_eq!(all.count(), 0);
    }
}
