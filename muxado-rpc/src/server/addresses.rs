//! How many connections each address has.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::task::Id;

/// The connections of a server by the address that they come from, and the limit for each. Shared with the tasks of
/// connections whose address is known only later.
#[derive(Debug)]
pub(super) struct Addresses {
    limit: usize,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    counts: HashMap<IpAddr, usize>,
    /// Where the connection of a task comes from.
    tasks: HashMap<Id, IpAddr>,
}

impl Addresses {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, known: Mutex::default() }
    }

    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// Whether there may be a further connection from this address. One without an address has no limit.
    pub(super) fn has_room(&self, address: Option<IpAddr>) -> bool {
        address.is_none_or(|address| self.lock().count(owner(address)) < self.limit)
    }

    /// Counts a connection until its task has ended.
    pub(super) fn insert(&self, task: Id, address: Option<IpAddr>) {
        if let Some(address) = address {
            self.lock().insert(task, owner(address));
        }
    }

    /// Counts a connection until its task has ended, if its address has room for it. Returns whether it has.
    pub(super) fn try_insert(&self, task: Id, address: IpAddr) -> bool {
        let (mut known, address) = (self.lock(), owner(address));
        let has_room = known.count(address) < self.limit;
        if has_room {
            known.insert(task, address);
        }
        has_room
    }

    pub(super) fn remove(&self, task: Id) {
        self.lock().remove(task);
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        // Nothing that panics runs under the lock.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn count(&self, address: IpAddr) -> usize {
        self.counts.get(&address).copied().unwrap_or(0)
    }

    fn insert(&mut self, task: Id, address: IpAddr) {
        *self.counts.entry(address).or_default() += 1;
        self.tasks.insert(task, address);
    }

    fn remove(&mut self, task: Id) {
        let Some(address) = self.tasks.remove(&task) else { return };
        if let Some(count) = self.counts.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&address);
            }
        }
    }
}

/// Returns what stands for all addresses that have the owner of this one: an address of IPv4 for itself, one of IPv6
/// for its network, of whose 2⁶⁴ addresses a host may use any.
pub(super) fn owner(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_address_has_its_own_connections() {
        let address = |text: &str| Some(text.parse().unwrap());
        let task = || tokio::spawn(async {}).id();
        let addresses = Addresses::new(2);
        let (one, other) = (task(), task());
        addresses.insert(one, address("10.0.0.1"));
        addresses.insert(other, address("::ffff:10.0.0.1"));
        assert!(!addresses.has_room(address("10.0.0.1")) && addresses.has_room(address("10.0.0.2")));
        addresses.remove(one);
        addresses.remove(one);
        assert!(addresses.has_room(address("10.0.0.1")));
        addresses.remove(other);
        let known = addresses.lock();
        assert!(known.counts.is_empty() && known.tasks.is_empty());
    }

    #[tokio::test]
    async fn a_network_of_ipv6_counts_as_one_address() {
        let address = |text: &str| Some(text.parse().unwrap());
        let addresses = Addresses::new(1);
        addresses.insert(tokio::spawn(async {}).id(), address("2001:db8:0:1::1"));
        assert!(!addresses.has_room(address("2001:db8:0:1:ffff::2")));
        assert!(addresses.has_room(address("2001:db8:0:2::1")));
    }

    #[tokio::test]
    async fn connections_without_an_address_have_no_limit() {
        let addresses = Addresses::new(1);
        for _ in 0..3 {
            addresses.insert(tokio::spawn(async {}).id(), None);
        }
        assert!(addresses.has_room(None));
    }
}
