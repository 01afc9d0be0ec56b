//! The servers there are, those that take calls now, and the choice among them.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore, watch},
    time::Instant,
};

use super::{
    RetryBudget,
    budget::Budget,
    endpoint::{Endpoint, EndpointInfo, Member},
    outlier::{OutlierDetection, Verdict},
};
use crate::{
    Backoff, MethodInfo, Origin, Status,
    client::reconnect::Live,
    support::{log_limit::LogLimiter, random, truncate::Escaped},
};

/// What the builder was told.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) retry_backoff: Backoff,
    pub(super) attempts: u32,
    /// Calls that may wait for a server; `None` if they fail at once.
    pub(super) max_waiting: Option<usize>,
    pub(super) outliers: Option<OutlierDetection>,
    pub(super) budget: RetryBudget,
    pub(super) hedge_after: Option<Duration>,
}

/// What the clones of a client, its calls and its tasks share.
#[derive(Debug)]
pub(super) struct Set {
    pub(super) settings: Settings,
    pub(super) budget: Budget,
    /// All servers, whether they are connected or not.
    endpoints: Mutex<Vec<Arc<Endpoint>>>,
    ready: watch::Sender<Ready>,
    /// Why there are no servers, or none but those of the last set.
    source: Mutex<String>,
    places: Arc<Semaphore>,
    /// A connection has ended.
    pub(super) lost: Notify,
    /// When servers were last told to connect soon.
    hurried: Mutex<Option<Instant>>,
    pub(super) logs: LogLimiter,
}

/// The servers that are connected, the best first.
#[derive(Debug, Default)]
struct Ready {
    members: Vec<Arc<Member>>,
    /// How many of them take calls: those that are of the same class as the first.
    best: usize,
    /// Why there will be none any more.
    end: Option<End>,
}

/// Why there will be no server any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It was closed.
    Closed,
    /// Its task is gone: with its runtime, as a rule.
    Stopped,
}

impl End {
    pub(super) fn status_of(self, method: &MethodInfo) -> Status {
        Status::unavailable(format!("{method}: {}", self.reason())).not_executed()
    }

    pub(super) fn status(self) -> Status {
        Status::unavailable(self.reason()).not_executed()
    }

    const fn reason(self) -> &'static str {
        match self {
            Self::Closed => "the balanced client is closed",
            Self::Stopped => "the balanced client has stopped: the runtime that it was built in has ended",
        }
    }
}

/// What a call would have of its server.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Wish {
    /// Not this one, if there is another.
    pub(super) not: Option<u64>,
    /// A message of so many bytes is taken.
    pub(super) bytes: usize,
}

impl Wish {
    fn is_met_by(self, member: &Member) -> bool {
        self.not != Some(member.endpoint.id())
            && member.is_open()
            && member.live.peer.takes_message_of(self.bytes)
    }
}

impl Ready {
    /// The less loaded of two that are chosen at random, of those that take calls.
    fn pick(&self, wish: Wish, random: u64) -> Option<&Arc<Member>> {
        let best = &self.members[..self.best];
        let (first, second) = two_of(best.len(), random)?;
        let (first, second) = (&best[first], &best[second]);
        let chosen = if second.endpoint.pending() < first.endpoint.pending() { second } else { first };
        if wish.is_met_by(chosen) {
            return Some(chosen);
        }
        let other = if Arc::ptr_eq(chosen, first) { second } else { first };
        if wish.is_met_by(other) {
            return Some(other);
        }
        self.search(wish, random)
    }

    /// The least loaded that meets the wish; if none does, the best over which calls can go at all.
    fn search(&self, wish: Wish, random: u64) -> Option<&Arc<Member>> {
        let count = self.members.len();
        let start = below(count, random);
        let all = || (0..count).map(|step| &self.members[(start + step) % count]);
        let rank = |member: &&Arc<Member>| (member.class, member.endpoint.pending());
        all()
            .filter(|member| wish.is_met_by(member))
            .min_by_key(rank)
            .or_else(|| all().filter(|member| member.is_open()).min_by_key(rank))
    }

    /// Puts the best first again, after a change.
    fn sort(&mut self) {
        self.members.sort_by_key(|member| member.class);
        let best = self.members.first().map(|member| member.class);
        self.best = self.members.iter().take_while(|member| Some(member.class) == best).count();
    }
}

/// A number below `count`, which is not zero.
fn below(count: usize, random: u64) -> usize {
    // The upper half has all of its bits, and `count` is far below 2³².
    (((random >> 32) * count as u64) >> 32) as usize
}

/// Two different places of so many, each pair as likely as any other; the same one twice if there is only one.
fn two_of(count: usize, random: u64) -> Option<(usize, usize)> {
    match count {
        0 => None,
        1 => Some((0, 0)),
        _ => {
            let first = below(count, random);
            let second = below(count - 1, random << 32);
            Some((first, if second >= first { second + 1 } else { second }))
        }
    }
}

impl Set {
    pub(super) fn new(settings: Settings, source: String) -> Arc<Self> {
        let places = settings.max_waiting.unwrap_or(0).min(Semaphore::MAX_PERMITS);
        Arc::new(Self {
            budget: Budget::new(settings.budget),
            endpoints: Mutex::default(),
            ready: watch::Sender::new(Ready::default()),
            source: Mutex::new(source),
            places: Arc::new(Semaphore::new(places)),
            lost: Notify::new(),
            hurried: Mutex::default(),
            logs: LogLimiter::default(),
            settings,
        })
    }

    /// Adds a server; its connection is still to come.
    pub(super) fn add(&self, endpoint: Arc<Endpoint>) {
        self.lock().push(endpoint);
    }

    /// Takes a server out. Calls under way to it finish.
    pub(super) fn remove(&self, endpoint: &Arc<Endpoint>) {
        self.lock().retain(|known| !Arc::ptr_eq(known, endpoint));
        endpoint.retire();
        self.update(endpoint, None);
    }

    /// Notes the connection of a server, or that there is none, and whether the server is ejected.
    pub(super) fn update(&self, endpoint: &Arc<Endpoint>, live: Option<Arc<Live>>) {
        let class = endpoint.class();
        let mut member = live.map(|live| Arc::new(Member { endpoint: Arc::clone(endpoint), live, class }));
        let mut replaced = None;
        self.ready.send_modify(|ready| {
            let is_known = |known: &Arc<Member>| Arc::ptr_eq(&known.endpoint, endpoint);
            let at = ready.members.iter().position(is_known);
            replaced = at.map(|at| ready.members.remove(at));
            if ready.end.is_none() && !endpoint.is_removed() {
                ready.members.extend(member.take());
            }
            ready.sort();
        });
        // The last handle of a connection closes it, which is not to be under the lock.
        drop((replaced, member));
    }

    /// Has all servers that pause between attempts to connect try again soon, but for the one that is the reason. Once a
    /// second at most: connections that come and go are no reason to hurry for ever.
    pub(super) fn hurry(&self, but: Option<&Arc<Endpoint>>) {
        let now = Instant::now();
        {
            // Nothing that panics runs under the lock.
            let mut hurried = self.hurried.lock().unwrap_or_else(PoisonError::into_inner);
            if hurried.is_some_and(|last| now.saturating_duration_since(last) < HURRY_APART) {
                return;
            }
            *hurried = Some(now);
        }
        let others = |endpoint: &&Arc<Endpoint>| but.is_none_or(|but| !Arc::ptr_eq(but, endpoint));
        self.endpoints().iter().filter(others).for_each(|endpoint| endpoint.hurry());
    }

    /// Ends the set for good. Returns the members that were connected. The first end counts.
    pub(super) fn end_with(&self, end: End) -> Vec<Arc<Member>> {
        let mut last = Vec::new();
        self.ready.send_modify(|ready| {
            ready.end.get_or_insert(end);
            ready.best = 0;
            last = std::mem::take(&mut ready.members);
        });
        let endpoints = std::mem::take(&mut *self.lock());
        endpoints.iter().for_each(|endpoint| endpoint.retire());
        last
    }

    /// Why there will be no server any more, if there will be none.
    pub(super) fn end(&self) -> Option<End> {
        self.ready.borrow().end
    }

    /// Returns a server for a call.
    pub(super) fn pick(&self, wish: Wish) -> Option<Arc<Member>> {
        self.ready.borrow().pick(wish, random::next()).cloned()
    }

    /// Whether there is another server than this one.
    pub(super) fn has_other(&self, than: u64) -> bool {
        let ready = self.ready.borrow();
        ready.members.iter().any(|member| member.endpoint.id() != than && member.is_open())
    }

    /// Waits for a server that takes calls.
    pub(super) async fn wait(&self, wish: Wish) -> Result<Arc<Member>, End> {
        let mut ready = self.ready.subscribe();
        loop {
            if let Some(end) = ready.borrow_and_update().end {
                return Err(end);
            }
            // One that goes away is still there for a moment; its leaving is a change.
            if let Some(member) = self.pick(wish) {
                return Ok(member);
            }
            if ready.changed().await.is_err() {
                return Err(End::Closed);
            }
        }
    }

    /// Waits until so many servers take calls.
    pub(super) async fn wait_for(&self, servers: usize) -> Result<(), End> {
        let mut ready = self.ready.subscribe();
        loop {
            {
                let ready = ready.borrow_and_update();
                match ready.end {
                    Some(end) => return Err(end),
                    None if ready.best >= servers => return Ok(()),
                    None => {}
                }
            }
            if ready.changed().await.is_err() {
                return Err(End::Closed);
            }
        }
    }

    /// Returns how many servers take calls; `None` once there will be none any more.
    pub(super) fn count_ready(&self) -> Option<usize> {
        let ready = self.ready.borrow();
        if ready.end.is_none() { Some(ready.best) } else { None }
    }

    /// Notes what a call over a connection has shown.
    pub(super) fn note(&self, member: &Member, verdict: Verdict) {
        let Some(limits) = &self.settings.outliers else { return };
        // Who goes away is not called any more anyway, and will be another one when it is back.
        if verdict == Verdict::Fails && !member.is_open() {
            return;
        }
        if member.endpoint.health.note(verdict, limits) {
            self.eject(&member.endpoint, limits);
        }
    }

    fn eject(&self, endpoint: &Arc<Endpoint>, limits: &OutlierDetection) {
        let endpoints = self.lock();
        let ejected = endpoints.iter().filter(|known| known.health.is_ejected()).count();
        if endpoint.health.is_ejected() || !limits.may_eject(ejected, endpoints.len()) {
            endpoint.health.count_anew();
            return;
        }
        let time = endpoint.health.eject(limits);
        drop(endpoints);
        let is_of = |member: &&Arc<Member>| Arc::ptr_eq(&member.endpoint, endpoint);
        let live = self.ready.borrow().members.iter().find(is_of).map(|member| Arc::clone(&member.live));
        self.update(endpoint, live);
        // Who watches the connection knows better, should it have ended meanwhile.
        endpoint.health.announce();
        if let Some(line) = self.logs.admit() {
            let (server, suppressed) = (Escaped(endpoint.name()), line.suppressed);
            tracing::warn!(%server, ?time, suppressed, "a server is ejected, since its calls fail");
        }
    }

    /// A place among those who wait.
    pub(super) fn place(&self, method: &MethodInfo) -> Result<OwnedSemaphorePermit, Status> {
        let Some(limit) = self.settings.max_waiting else {
            return Err(self.not_connected(method));
        };
        Arc::clone(&self.places).try_acquire_owned().map_err(|_| {
            Status::unavailable(format!(
                "{method}: {limit} calls wait for a server already (BalancedBuilder::max_waiting): {}",
                self.why()
            ))
            .not_executed()
        })
    }

    pub(super) fn not_connected(&self, method: &MethodInfo) -> Status {
        let problem = format!("{method}: {}", self.why());
        Status::unavailable(problem).with_origin(Origin::Transport).not_executed()
    }

    /// Why no server takes calls.
    pub(super) fn why(&self) -> String {
        let endpoints = self.endpoints();
        if endpoints.is_empty() {
            return self.source().clone();
        }
        let problem = endpoints.iter().find_map(|endpoint| endpoint.problem());
        let problem = problem.unwrap_or_else(|| "connections are being made".to_owned());
        format!("none of {} servers is connected: {problem}", endpoints.len())
    }

    /// Sets what to say if there are no servers at all.
    pub(super) fn set_source(&self, problem: String) {
        *self.source() = problem;
    }

    fn source(&self) -> MutexGuard<'_, String> {
        // Nothing that panics runs under the lock.
        self.source.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn endpoints(&self) -> Vec<Arc<Endpoint>> {
        self.lock().clone()
    }

    pub(super) fn infos(&self) -> Vec<EndpointInfo> {
        self.endpoints().iter().map(|endpoint| endpoint.info()).collect()
    }

    /// Returns how many calls wait for a server.
    #[cfg(feature = "metrics")]
    pub(super) fn waiting(&self) -> usize {
        let places = self.settings.max_waiting.unwrap_or(0).min(Semaphore::MAX_PERMITS);
        places.saturating_sub(self.places.available_permits())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Endpoint>>> {
        // Nothing that panics runs under the lock.
        self.endpoints.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How often servers are told to connect soon.
const HURRY_APART: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::support::random::split_mix;

    #[test]
    fn every_pair_is_as_likely_as_any_other() {
        assert_eq!((two_of(0, 7), two_of(1, 7)), (None, Some((0, 0))));
        let (mut pairs, mut seed) = (BTreeMap::<_, u32>::new(), 1);
        for _ in 0..12_000 {
            let (first, second) = two_of(4, split_mix(&mut seed)).unwrap();
            assert!(first != second && first < 4 && second < 4);
            *pairs.entry((first, second)).or_default() += 1;
        }
        assert_eq!(pairs.len(), 12);
        assert!(pairs.values().all(|times| (850..1150).contains(times)), "{pairs:?}");
    }
}
