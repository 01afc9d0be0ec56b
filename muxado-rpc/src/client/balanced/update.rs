//! The task that keeps the set of servers: asks where they are, connects to them, and lets go of them.

use std::{
    collections::{HashMap, HashSet},
    future::{pending, poll_fn},
    pin::Pin,
    sync::{Arc, Weak},
    time::Duration,
};

use futures_core::Stream;
use tokio::{
    task::{AbortHandle, JoinSet},
    time::{Instant, sleep_until},
};

use super::{
    endpoint::Endpoint,
    set::{End, Set},
};
use crate::{
    Address, BoxError, CallService,
    client::{
        reconnect::{Live, Starter},
        resolver::{Resolved, Resolver, Server},
    },
    support::{
        panics::{self, CatchUnwind},
        timer,
        truncate::brief,
    },
    transport::target::Target,
};

/// Where addresses come from, beside those that are fixed.
pub(super) enum Source {
    Fixed,
    Resolver(Box<dyn Resolver>),
    Updates(Updates),
}

pub(super) type Updates = Pin<Box<dyn Stream<Item = Vec<Address>> + Send>>;

/// How often a resolver is asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    pub(super) every: Duration,
    pub(super) apart: Duration,
}

impl Source {
    /// What to say of an empty set before anything was found.
    pub(super) fn nothing_yet(&self) -> String {
        match self {
            Self::Fixed => "there are no servers".to_owned(),
            Self::Resolver(_) => format!("{} has found no servers yet", self.name()),
            Self::Updates(_) => format!("{} has named no servers yet", self.name()),
        }
    }

    fn name(&self) -> String {
        match self {
            Self::Fixed => "the list of addresses".to_owned(),
            Self::Resolver(resolver) => {
                panics::catch(|| resolver.name()).unwrap_or_else(|_| "the resolver".to_owned())
            }
            Self::Updates(_) => "the stream of addresses (BalancedBuilder::updates)".to_owned(),
        }
    }
}

/// What tells one server from another.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    Server(Server),
    /// A connector, by its place in the list.
    Connector(usize),
}

/// The work of the task. Dropping it ends the set.
pub(super) struct Updater<S> {
    set: Arc<Set>,
    starter: Starter<S>,
    source: Source,
    times: Times,
    fixed: Vec<(Key, Target)>,
    kept: HashMap<Key, Kept>,
    keepers: JoinSet<()>,
    next_id: u64,
}

/// A server of the set, and the task that watches its connection.
struct Kept {
    endpoint: Arc<Endpoint>,
    keeper: AbortHandle,
}

impl<S: CallService> Updater<S> {
    pub(super) fn new(
        set: Arc<Set>,
        starter: Starter<S>,
        source: Source,
        times: Times,
        targets: Vec<Target>,
    ) -> Self {
        let fixed = targets.into_iter().enumerate().map(|(at, target)| {
            let key = match &target {
                Target::Address(address) => Key::Server(Resolved::server(address.clone())),
                Target::Resolved(..) | Target::Connector(_) => Key::Connector(at),
            };
            (key, target)
        });
        let fixed = fixed.collect();
        let (kept, keepers) = (HashMap::new(), JoinSet::new());
        Self { set, starter, source, times, fixed, kept, keepers, next_id: 0 }
    }

    /// Adds the servers that are fixed.
    pub(super) fn begin(&mut self) {
        self.apply(Vec::new());
    }

    /// Keeps the set until there is to be none any more.
    pub(super) async fn run(mut self) {
        while self.set.end().is_none() {
            match &mut self.source {
                Source::Fixed => pending().await,
                Source::Updates(updates) => match next(updates).await {
                    Some(addresses) => {
                        let name = self.source.name();
                        self.set.set_source(format!("{name} names no servers"));
                        self.apply(addresses.into_iter().map(Resolved::server).collect());
                    }
                    None => {
                        // The last set stays.
                        tracing::debug!("the stream of addresses has ended");
                        self.source = Source::Fixed;
                    }
                },
                Source::Resolver(_) => self.resolve().await,
            }
        }
    }

    /// Asks the resolver once, and waits until it is to be asked again.
    async fn resolve(&mut self) {
        let Source::Resolver(resolver) = &mut self.source else { return };
        let asking = CatchUnwind::new(None, resolver.resolve());
        let answer: Result<Resolved, BoxError> = match timer::within(RESOLVE_TIMEOUT, asking).await {
            Some(Ok(answer)) => answer,
            Some(Err(_)) => Err("it panicked".into()),
            None => Err(format!("no answer within {RESOLVE_TIMEOUT:?}").into()),
        };
        let asked = Instant::now();
        let name = self.source.name();
        let valid_for = match answer {
            Ok(resolved) => {
                self.set.set_source(format!("{name} finds no servers"));
                let (servers, valid_for) = resolved.into_parts();
                self.apply(servers);
                valid_for
            }
            Err(error) => {
                let problem = brief(&error, MAX_SHOWN);
                panics::discard(error);
                if let Some(line) = self.set.logs.admit() {
                    let suppressed = line.suppressed;
                    tracing::warn!(suppressed, "{name} fails, the servers stay as they are: {problem}");
                }
                self.set.set_source(format!("{name} fails: {problem}"));
                Some(Duration::ZERO)
            }
        };
        self.pause(asked, valid_for).await;
    }

    /// Waits until the resolver is to be asked again.
    async fn pause(&mut self, asked: Instant, valid_for: Option<Duration>) {
        let Times { every, apart } = self.times;
        let after = |time: Duration| asked.checked_add(time.min(LONGEST)).unwrap_or(asked);
        let has_servers = self.set.count_ready().is_some_and(|ready| ready > 0);
        // Without any, there is nothing to lose.
        let every = if has_servers { every } else { Duration::ZERO };
        let time = valid_for.map_or(every, |valid| valid.min(every));
        tokio::select! {
            () = sleep_until(after(time.max(apart))) => {}
            () = self.set.lost.notified() => sleep_until(after(apart)).await,
        }
    }

    /// Makes these servers, and those that are fixed, the set.
    fn apply(&mut self, servers: Vec<Server>) {
        let found = servers.into_iter().map(|server| {
            let target = server.target();
            (Key::Server(server), target)
        });
        let mut wanted = HashSet::new();
        let all = self.fixed.iter().cloned().chain(found);
        let mut all: Vec<_> = all.filter(|(key, _)| wanted.insert(key.clone())).collect();
        if all.len() > MAX_SERVERS {
            if let Some(line) = self.set.logs.admit() {
                let (servers, suppressed) = (all.len(), line.suppressed);
                tracing::warn!(servers, suppressed, "of so many servers the first {MAX_SERVERS} are used");
            }
            all.truncate(MAX_SERVERS);
            wanted = all.iter().map(|(key, _)| key.clone()).collect();
        }
        let mut has_changed = false;
        // First those that are new, so that there are always some.
        for (key, target) in all {
            if !self.kept.contains_key(&key) {
                self.add(key, target);
                has_changed = true;
            }
        }
        let gone: Vec<_> = self.kept.keys().filter(|key| !wanted.contains(key)).cloned().collect();
        for key in gone {
            if let Some(Kept { endpoint, keeper }) = self.kept.remove(&key) {
                keeper.abort();
                self.set.remove(&endpoint);
                has_changed = true;
            }
        }
        while self.keepers.try_join_next().is_some() {}
        if has_changed {
            tracing::debug!(servers = self.kept.len(), "the set of servers has changed");
            self.set.hurry(None);
        }
    }

    fn add(&mut self, key: Key, target: Target) {
        let priority = match &key {
            Key::Server(server) => server.priority,
            Key::Connector(_) => 0,
        };
        let name = match (&key, target.address()) {
            (Key::Connector(at), None) => format!("connector {}", at + 1),
            (_, address) => address.unwrap_or_else(|| target.name()),
        };
        let connection = self.starter.start(&Arc::from([target]));
        let endpoint = Arc::new(Endpoint::new(self.next_id, name, priority, connection));
        self.next_id += 1;
        self.set.add(Arc::clone(&endpoint));
        let keeper = self.keepers.spawn(keep(Arc::clone(&self.set), Arc::clone(&endpoint)));
        self.kept.insert(key, Kept { endpoint, keeper });
    }
}

impl<S> Drop for Updater<S> {
    /// Wherever the task ends, calls must not wait for it: its runtime has ended, or it has panicked.
    fn drop(&mut self) {
        drop(self.set.end_with(End::Stopped));
    }
}

/// Watches the connection of one server.
async fn keep(set: Arc<Set>, endpoint: Arc<Endpoint>) {
    let mut connections = endpoint.connections();
    let mut last = None;
    loop {
        let live = connections.current();
        note_connection(&set, &endpoint, &mut last, live);
        let ejected_until = endpoint.health.ejected_until();
        let readmission = async {
            match ejected_until {
                Some(until) => sleep_until(until).await,
                None => pending().await,
            }
        };
        tokio::select! {
            goes_on = connections.changed() => if !goes_on { return },
            () = endpoint.health.ejected() => {}
            () = readmission => {
                tracing::debug!(server = endpoint.name(), "a server that was ejected is taken back");
                endpoint.health.readmit();
            }
        }
    }
}

/// Notes the connection that a server has now; `last` is the one that it had before.
fn note_connection(
    set: &Set,
    endpoint: &Arc<Endpoint>,
    last: &mut Option<Weak<Live>>,
    live: Option<Arc<Live>>,
) {
    let is_same = |live: &Arc<Live>| last.as_ref().is_some_and(|last| last.as_ptr() == Arc::as_ptr(live));
    let is_new = live.as_ref().is_some_and(|live| !is_same(live));
    let is_lost = live.is_none() && last.is_some();
    *last = live.as_ref().map(Arc::downgrade);
    if is_new {
        // A server that was started again is another one.
        endpoint.health.readmit();
    }
    set.update(endpoint, live);
    if is_new {
        // Where one is back, others may be.
        set.hurry(Some(endpoint));
    }
    if is_lost {
        set.lost.notify_one();
    }
}

async fn next(updates: &mut Updates) -> Option<Vec<Address>> {
    let next = CatchUnwind::new(None, poll_fn(|cx| updates.as_mut().poll_next(cx)));
    // A stream that panics has ended.
    next.await.ok().flatten()
}

/// How long a resolver may take.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(30);

/// A time that every clock can tell.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// Servers that one client is connected to.
const MAX_SERVERS: usize = 1024;

/// Bytes that are shown of the error of a resolver.
const MAX_SHOWN: usize = 512;
