//! Memory that calls hold: what bounds it, for one connection and for all connections of a server, and which call
//! loses its memory when there is none left.

use std::{
    cmp::Reverse,
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use tokio::time::Instant;

/// What the connections of one server hold together.
#[derive(Debug)]
pub(crate) struct ServerMemory {
    pool: Pool,
    connections: Mutex<Connections>,
}

/// The connections of a server that have held something.
#[derive(Debug, Default)]
struct Connections {
    list: Vec<Weak<CallMemory>>,
    /// The length at which those that have ended are taken out.
    sweep_at: usize,
    /// The one that held most when all were last looked at, and when that was.
    worst: Weak<CallMemory>,
    looked: Option<Instant>,
}

/// What the calls of one connection hold.
#[derive(Debug)]
pub(crate) struct CallMemory {
    requests: Pool,
    /// The part of `requests` that nobody has authorised yet.
    unauthorised: Pool,
    responses: Pool,
    server: Option<Arc<ServerMemory>>,
    holders: Mutex<Holders>,
    /// Further calls are refused; `holders` says why.
    is_refusing: AtomicBool,
}

/// The bounds of one connection, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MemoryLimits {
    pub(crate) requests: usize,
    pub(crate) unauthorised: usize,
    pub(crate) responses: usize,
}

/// Bytes that may be held at a time, and those that are.
#[derive(Debug)]
struct Pool {
    limit: usize,
    used: AtomicUsize,
}

/// What memory is held for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Requests and items that are received, and requests that are served.
    #[default]
    Request,
    /// A request that was not authorised yet.
    Unauthorised,
    /// Responses that wait for their callers.
    Response,
}

/// The calls of a connection that hold something, the oldest first.
#[derive(Debug, Default)]
struct Holders {
    list: BTreeMap<u64, Holder>,
    last_key: u64,
    refusal: Option<Box<Refusal>>,
}

#[derive(Debug)]
struct Holder {
    purpose: Purpose,
    bytes: usize,
    /// When it began to hold them.
    since: Instant,
    /// Wakes the call to give its memory up. Without one it cannot.
    waker: Option<Waker>,
    waits_for_peer: bool,
    evicted: Option<Exhausted>,
}

/// Why further calls are refused, and until how few bytes of responses wait.
#[derive(Debug)]
struct Refusal {
    reason: Exhausted,
    until: usize,
}

/// There are not so many bytes left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) struct Exhausted {
    /// The bytes of the whole budget.
    pub(crate) limit: usize,
    pub(crate) bound: Bound,
}

/// Which budget has no bytes left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bound {
    Requests,
    Unauthorised,
    Responses,
    Server,
}

impl fmt::Display for Exhausted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (beside, of, setting) = match self.bound {
            Bound::Requests => {
                ("the requests being received and served", "a connection", "Limits::max_request_memory")
            }
            Bound::Unauthorised => (
                "the requests that are not authorised yet",
                "a connection",
                "a quarter of Limits::max_request_memory",
            ),
            Bound::Responses => {
                ("the responses that wait for their callers", "a connection", "Limits::max_response_memory")
            }
            Bound::Server => {
                ("what other calls hold", "for all connections together", "ServerBuilder::max_memory")
            }
        };
        let limit = self.limit;
        write!(f, "no room beside {beside}, over the serving side's limit of {limit} bytes {of} ({setting})")
    }
}

impl Pool {
    const fn new(limit: usize) -> Self {
        Self { limit, used: AtomicUsize::new(0) }
    }

    fn try_take(&self, bytes: usize) -> bool {
        let fits = |used: usize| used.checked_add(bytes).filter(|used| *used <= self.limit);
        // The count orders nothing else.
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_ok()
    }

    fn give_back(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }

    fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }
}

impl ServerMemory {
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { pool: Pool::new(limit), connections: Mutex::default() })
    }

    /// Returns the bytes that all connections hold together.
    pub(crate) fn used(&self) -> usize {
        self.pool.used()
    }

    /// Returns the bytes that all connections may hold together.
    #[cfg(feature = "metrics")]
    pub(crate) const fn limit(&self) -> usize {
        self.pool.limit
    }

    const fn exhausted(&self) -> Exhausted {
        Exhausted { limit: self.pool.limit, bound: Bound::Server }
    }

    fn register(&self, memory: &Arc<CallMemory>) {
        let mut connections = self.lock();
        if connections.list.len() >= connections.sweep_at {
            connections.list.retain(|known| known.strong_count() > 0);
            connections.sweep_at = 2 * connections.list.len() + 1;
        }
        connections.list.push(Arc::downgrade(memory));
    }

    /// Has the connection that holds most give up the memory of one call, on behalf of `asking`. Returns whether
    /// it did: not where that connection is the one that asks, for the memory of a request.
    fn make_room(&self, asking: &Arc<CallMemory>, purpose: Purpose) -> bool {
        let worst = self.lock().worst_beside(asking);
        match worst {
            Some(worst) => worst.evict(self.exhausted(), None),
            None => purpose == Purpose::Response && asking.evict(self.exhausted(), Some(purpose)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Connections> {
        // Nothing that panics runs under the lock.
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connections {
    /// Returns the connection that holds most, if that is not the one that asks.
    ///
    /// To look at all of them for every call that finds no room would cost more than the call. So the one found
    /// last is taken as long as it holds more than who asks, and who was found itself is told so for a moment.
    fn worst_beside(&mut self, asking: &Arc<CallMemory>) -> Option<Arc<CallMemory>> {
        let (now, own) = (Instant::now(), asking.used());
        if let Some(worst) = self.worst.upgrade() {
            let is_asking = Arc::ptr_eq(&worst, asking);
            let is_recent = self.looked.is_some_and(|looked| now < looked + LOOK_AGAIN_AFTER);
            if (is_asking && is_recent) || worst.used() > own {
                return Some(worst).filter(|_| !is_asking);
            }
        }
        let worst = self.list.iter().filter_map(Weak::upgrade).max_by_key(|memory| memory.used());
        let worst = worst.filter(|worst| worst.used() > own);
        self.worst = Arc::downgrade(worst.as_ref().unwrap_or(asking));
        self.looked = Some(now);
        worst
    }
}

impl CallMemory {
    /// Returns the memory of one connection, which is part of the server's if there is one.
    pub(crate) fn new(limits: MemoryLimits, server: Option<Arc<ServerMemory>>) -> Arc<Self> {
        Arc::new(Self {
            requests: Pool::new(limits.requests),
            unauthorised: Pool::new(limits.unauthorised),
            responses: Pool::new(limits.responses),
            server,
            holders: Mutex::default(),
            is_refusing: AtomicBool::new(false),
        })
    }

    /// Returns the bytes that are held for requests.
    pub(crate) fn request_bytes(&self) -> usize {
        self.requests.used()
    }

    /// Returns the bytes of responses that wait for their callers.
    pub(crate) fn response_bytes(&self) -> usize {
        self.responses.used()
    }

    /// Returns why no further call is to begin, if so it is: responses had to be thrown away, and those that are
    /// left have not shrunk to the half since.
    #[inline]
    pub(crate) fn refusal(&self) -> Option<Exhausted> {
        if !self.is_refusing.load(Ordering::Relaxed) {
            return None;
        }
        let mut holders = self.lock();
        holders.refusal.take_if(|refusal| self.response_bytes() <= refusal.until);
        self.is_refusing.store(holders.refusal.is_some(), Ordering::Relaxed);
        holders.refusal.as_ref().map(|refusal| refusal.reason)
    }

    /// Frees the memory of the list of calls, if there are none.
    pub(crate) fn shrink(&self) {
        let mut holders = self.lock();
        if holders.list.is_empty() {
            // An empty one has none.
            holders.list = BTreeMap::new();
        }
    }

    fn used(&self) -> usize {
        self.request_bytes() + self.response_bytes()
    }

    fn pool(&self, purpose: Purpose) -> &Pool {
        if purpose == Purpose::Response { &self.responses } else { &self.requests }
    }

    fn take(self: &Arc<Self>, purpose: Purpose, bytes: usize) -> Result<(), Exhausted> {
        self.take_own(purpose, bytes)?;
        let Some(server) = &self.server else { return Ok(()) };
        while !server.pool.try_take(bytes) {
            if !server.make_room(self, purpose) {
                self.give_back_own(purpose, bytes);
                return Err(server.exhausted());
            }
        }
        Ok(())
    }

    /// Takes what the connection's own limits allow.
    fn take_own(&self, purpose: Purpose, bytes: usize) -> Result<(), Exhausted> {
        let (pool, bound) = match purpose {
            Purpose::Response => (&self.responses, Bound::Responses),
            _ => (&self.requests, Bound::Requests),
        };
        let exhausted = Exhausted { limit: pool.limit, bound };
        while !pool.try_take(bytes) {
            let can_make_room = purpose == Purpose::Response && bytes <= pool.limit;
            if !can_make_room || !self.evict(exhausted, Some(purpose)) {
                return Err(exhausted);
            }
        }
        if purpose == Purpose::Unauthorised && !self.unauthorised.try_take(bytes) {
            pool.give_back(bytes);
            return Err(Exhausted { limit: self.unauthorised.limit, bound: Bound::Unauthorised });
        }
        Ok(())
    }

    fn give_back_own(&self, purpose: Purpose, bytes: usize) {
        self.pool(purpose).give_back(bytes);
        if purpose == Purpose::Unauthorised {
            self.unauthorised.give_back(bytes);
        }
    }

    fn give_back(&self, purpose: Purpose, bytes: usize) {
        self.give_back_own(purpose, bytes);
        if let Some(server) = &self.server {
            server.pool.give_back(bytes);
        }
    }

    /// Takes the memory of the call that has had most for longest; those that wait for the peer come before those
    /// whose handler runs. Its bytes count as free at once, and are when the call next runs. Returns whether there
    /// was one.
    fn evict(&self, reason: Exhausted, only: Option<Purpose>) -> bool {
        let now = Instant::now();
        let mut holders = self.lock();
        let can_go = |holder: &Holder| {
            holder.waker.is_some() && holder.bytes > 0 && only.is_none_or(|only| only == holder.purpose)
        };
        let weigh = |key: u64, holder: &Holder| {
            let age = now.saturating_duration_since(holder.since).as_millis() + 1;
            let weight = age.saturating_mul(holder.bytes as u128);
            (holder.waits_for_peer, weight, Reverse(key))
        };
        let listed = holders.list.iter_mut().filter(|(_, holder)| can_go(holder));
        let Some((_, worst)) = listed.max_by_key(|(key, holder)| weigh(**key, holder)) else { return false };
        worst.evicted = Some(reason);
        let (purpose, bytes) = (worst.purpose, std::mem::take(&mut worst.bytes));
        let waker = worst.waker.take();
        if purpose == Purpose::Response {
            let until = self.response_bytes() / 2;
            holders.refusal = Some(Box::new(Refusal { reason, until }));
            self.is_refusing.store(true, Ordering::Relaxed);
        }
        drop(holders);
        self.give_back(purpose, bytes);
        if let Some(waker) = waker {
            waker.wake();
        }
        true
    }

    fn lock(&self) -> MutexGuard<'_, Holders> {
        // Nothing that panics runs under the lock.
        self.holders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Memory that a call holds, given back when dropped.
#[derive(Debug, Default)]
pub(crate) struct Reservation {
    /// Without one, what is reserved is not counted.
    memory: Option<Arc<CallMemory>>,
    purpose: Purpose,
    /// Its place among the holders; 0 before it has one.
    key: u64,
    bytes: usize,
}

impl Reservation {
    /// Returns a reservation of nothing yet.
    pub(crate) fn of(memory: &Arc<CallMemory>, purpose: Purpose) -> Self {
        Self { memory: Some(Arc::clone(memory)), purpose, key: 0, bytes: 0 }
    }

    /// Makes it `bytes`, if these are more. If that is above a limit, it stays as it is.
    pub(crate) fn grow(&mut self, bytes: usize) -> Result<(), Exhausted> {
        let more = bytes.saturating_sub(self.bytes);
        let Some(memory) = self.memory.as_ref().filter(|_| more > 0) else { return Ok(()) };
        memory.take(self.purpose, more)?;
        let mut holders = memory.lock();
        if self.key == 0 {
            holders.last_key += 1;
            self.key = holders.last_key;
        }
        let begin = || Holder {
            purpose: self.purpose,
            bytes: 0,
            since: Instant::now(),
            waker: None,
            waits_for_peer: false,
            evicted: None,
        };
        let is_first = self.key == 1 && holders.list.is_empty();
        let holder = holders.list.entry(self.key).or_insert_with(begin);
        if let Some(reason) = holder.evicted {
            drop(holders);
            memory.give_back(self.purpose, more);
            return Err(reason);
        }
        if holder.bytes == 0 {
            holder.since = Instant::now();
        }
        holder.bytes += more;
        drop(holders);
        self.bytes = bytes;
        if is_first && let Some(server) = &memory.server {
            server.register(memory);
        }
        Ok(())
    }

    /// Holds `bytes` of what is to be sent, if they are worth counting, and waits for the peer with them.
    /// Ready if they are to be given up.
    pub(crate) fn poll_hold(&mut self, cx: &mut Context<'_>, bytes: usize) -> Poll<Exhausted> {
        if bytes < MIN_COUNTED && self.key == 0 {
            return Poll::Pending;
        }
        match self.grow(bytes) {
            Ok(()) => self.poll_evicted(cx, true),
            Err(exhausted) => Poll::Ready(exhausted),
        }
    }

    /// Ready if its memory is to be given up: from now on `cx` can be woken for that.
    pub(crate) fn poll_evicted(&self, cx: &mut Context<'_>, waits_for_peer: bool) -> Poll<Exhausted> {
        let Some(memory) = self.memory.as_ref().filter(|_| self.key != 0) else { return Poll::Pending };
        let mut holders = memory.lock();
        let Some(holder) = holders.list.get_mut(&self.key) else { return Poll::Pending };
        if let Some(reason) = holder.evicted {
            return Poll::Ready(reason);
        }
        holder.waits_for_peer = waits_for_peer;
        if holder.waker.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
            return Poll::Pending;
        }
        let previous = holder.waker.replace(cx.waker().clone());
        drop(holders);
        drop(previous);
        Poll::Pending
    }

    /// Counts it as that of a request that was authorised.
    pub(crate) fn authorise(&mut self) {
        let authorised = std::mem::take(&mut self.purpose) == Purpose::Unauthorised;
        let Some(memory) = self.memory.as_ref().filter(|_| authorised && self.key != 0) else { return };
        if let Some(holder) = memory.lock().list.get_mut(&self.key) {
            holder.purpose = Purpose::Request;
            memory.unauthorised.give_back(holder.bytes);
        }
    }

    /// Returns what is reserved now, as one of its own.
    pub(crate) fn take(&mut self) -> Option<Self> {
        if self.bytes == 0 {
            return None;
        }
        let rest = Self { memory: self.memory.clone(), purpose: self.purpose, key: 0, bytes: 0 };
        Some(std::mem::replace(self, rest))
    }

    /// Gives back what is reserved.
    #[inline]
    pub(crate) fn clear(&mut self) {
        if self.bytes > 0 {
            self.bytes = 0;
            self.give_back(false);
        }
    }

    fn give_back(&self, is_end: bool) {
        let Some(memory) = &self.memory else { return };
        let mut holders = memory.lock();
        let Some(holder) = holders.list.get_mut(&self.key) else { return };
        let (bytes, waker) = (std::mem::take(&mut holder.bytes), holder.waker.take());
        if is_end {
            holders.list.remove(&self.key);
        }
        drop(holders);
        memory.give_back(self.purpose, bytes);
        drop(waker);
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if self.key != 0 {
            self.give_back(true);
        }
    }
}

/// Bytes of a response that waits, from which on it is counted: a status, say, takes less.
pub(crate) const MIN_COUNTED: usize = 1024;

/// How long the connection that was found to hold most is taken to be that.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(10);

#[cfg(test)]
impl CallMemory {
    /// Returns a memory in which everything has so much room, without a server.
    pub(crate) fn of_each(limit: usize) -> Arc<Self> {
        Self::new(MemoryLimits { requests: limit, unauthorised: limit, responses: limit }, None)
    }
}

#[cfg(test)]
mod tests;
