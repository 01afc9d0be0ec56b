//! Which handlers run in the task of their connection, and which get tasks of their own.

use std::{
    fmt,
    sync::{
        OnceLock,
        atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use crate::{MethodInfo, Router, ServiceId};

/// Says whether handlers may run in the task of their connection, or each gets a task of its own.
///
/// In the task of its connection a handler costs no task and no hand-over to another thread, whether it waits or not, but
/// while it computes, the connection's other calls wait. On a runtime of several threads they do not wait for long: if a
/// handler holds its thread for more than some 20 milliseconds, by computing or by blocking, another thread goes on with
/// the connection. On a runtime of one thread nothing can.
///
/// Calls whose parameters or results are streams get tasks, and so do handlers that never rest while they wait: that wake
/// themselves whenever they are polled, or use up what tokio lets a task do in a row (`tokio::task::coop`).
///
/// Set by [`ServerBuilder::inline`](crate::ServerBuilder::inline) and
/// [`PeerBuilder::inline`](crate::PeerBuilder::inline).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Inline {
    /// Learns, per connection and method, which handlers are quick each time they go on. Those run in the task of the
    /// connection, others get tasks, and are tried again now and then.
    #[default]
    Adaptive,
    /// Gives every handler a task.
    Never,
    /// Runs every handler in the task of its connection.
    Always,
}

/// What one connection has learnt about the methods that it serves.
///
/// Whoever runs handlers of the connection uses it, at times two threads at once. What they write at the same time may
/// get lost, which does no harm.
pub(crate) struct InlinePolicy {
    mode: Inline,
    services: OnceLock<Box<Service>>,
    /// Calls that are timed one by one, since something was slow.
    timed: AtomicU32,
    /// The address of the method whose handler was begun last.
    running: AtomicUsize,
}

/// The methods of a service, and the next service that was called.
struct Service {
    id: ServiceId,
    methods: Box<[AtomicU64]>,
    next: OnceLock<Box<Self>>,
}

impl InlinePolicy {
    pub(crate) fn new(mode: Inline) -> Self {
        Self { mode, services: OnceLock::new(), timed: AtomicU32::new(0), running: AtomicUsize::new(0) }
    }

    /// Begins with calls that came together.
    pub(crate) fn batch(&self) -> Batch<'_> {
        Batch { policy: self, clock: None, since: 0, is_long: false, current: None }
    }

    /// Notes that the handler that was begun last holds its thread for too long.
    pub(crate) fn note_late(&self, router: &Router) {
        let running = self.running.load(Ordering::Relaxed);
        let mut methods = router.services().flat_map(|service| service.methods());
        if let Some(method) = methods.find(|method| address(method) == running)
            && let Some(place) = self.place(method, router)
        {
            Record::load(place).apart().store(place);
        }
    }

    /// Where it is kept what was learnt about a method; `None` for one that the router does not know.
    fn place(&self, method: &MethodInfo, router: &Router) -> Option<&AtomicU64> {
        let id = method.service_id();
        let mut next = &self.services;
        loop {
            let service = next.get_or_init(|| Box::new(Service::new(id, router)));
            if service.id == id {
                return service.methods.get(method.index());
            }
            next = &service.next;
        }
    }
}

impl fmt::Debug for InlinePolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InlinePolicy").field("mode", &self.mode).finish_non_exhaustive()
    }
}

impl Service {
    fn new(id: ServiceId, router: &Router) -> Self {
        let count = router.service(id).map_or(0, |service| service.methods().len());
        let methods = (0..count).map(|_| AtomicU64::new(Record::NEW.into_bits())).collect();
        Self { id, methods, next: OnceLock::new() }
    }
}

fn address(method: &MethodInfo) -> usize {
    std::ptr::from_ref(method).addr()
}

/// Calls that came together.
pub(crate) struct Batch<'a> {
    policy: &'a InlinePolicy,
    /// When it began, and when the clock was last looked at; `None` before the first handler.
    clock: Option<(Instant, Instant)>,
    /// Handlers since that look.
    since: u32,
    is_long: bool,
    current: Option<Current<'a>>,
}

/// A handler that runs.
#[derive(Clone, Copy)]
struct Current<'a> {
    place: Option<&'a AtomicU64>,
    before: Record,
    is_timed: bool,
    /// What it may take, if it is timed.
    allowed: Duration,
    /// It goes on after it waited: that is no news of what it does first.
    is_resumed: bool,
}

impl<'a> Batch<'a> {
    /// Whether the time of a call that ends at `deadline` is over.
    ///
    /// If that is far away, the last look at the clock is near enough: only a few quick handlers have run since.
    #[inline]
    pub(crate) fn is_too_late(&mut self, deadline: Instant) -> bool {
        if self.clock.is_none() {
            self.look();
        }
        let far = |(_, last): (Instant, Instant)| deadline.saturating_duration_since(last) > FAR;
        !self.clock.is_some_and(far) && deadline <= Instant::now()
    }

    /// Whether the handler of a call that waited goes on here. A call without a method has none.
    pub(crate) fn resumes_here(&mut self, method: Option<&MethodInfo>, router: &Router) -> bool {
        self.current = None;
        let Some(method) = method else { return true };
        self.runs(method, router, true)
    }

    /// Whether the handler of the next call runs here.
    pub(crate) fn runs_here(&mut self, method: &MethodInfo, router: &Router) -> bool {
        self.runs(method, router, false)
    }

    #[inline]
    fn runs(&mut self, method: &MethodInfo, router: &Router, is_resumed: bool) -> bool {
        self.current = None;
        let policy = self.policy;
        // Nothing can be learnt of a method that is known only at run time.
        if method.index() == usize::MAX {
            return policy.mode == Inline::Always;
        }
        let place = match policy.mode {
            Inline::Adaptive => policy.place(method, router),
            Inline::Never => return false,
            Inline::Always => None,
        };
        let mut before = place.map_or(Record::PROVED, Record::load);
        if before.apart > 0 {
            before.apart -= 1;
            place.into_iter().for_each(|place| before.store(place));
            return false;
        }
        policy.running.store(address(method), Ordering::Relaxed);
        let is_timed = place.is_some() && (!before.is_proved() || policy.takes_time());
        if self.clock.is_none() {
            self.look();
        } else if is_timed && self.since > 0 {
            self.look_at_group();
        }
        let allowed = if is_resumed { ONE_RESUMED } else { ONE_QUICK };
        self.current = Some(Current { place, before, is_timed, allowed, is_resumed });
        true
    }

    /// Whether the handler that is about to begin here waits, as far as is known: the last one of its method did.
    pub(crate) fn is_to_wait(&self) -> bool {
        self.current.is_some_and(|current| current.before.waits && !current.is_resumed)
    }

    /// Notes that the handler has run here, if one has, and whether it waits now.
    pub(crate) fn note(&mut self, waits: bool) {
        let Some(Current { place, before, is_timed, allowed, is_resumed }) = self.current.take() else {
            return;
        };
        self.since += 1;
        let mut is_slow = false;
        if is_timed {
            is_slow = self.look() > allowed;
        } else if self.since >= GROUP {
            self.look_at_group();
        }
        let Some(place) = place else { return };
        let waits = if is_resumed { before.waits } else { waits };
        let after = Record { waits, ..before.after(is_slow) };
        if after != before {
            after.store(place);
        }
    }

    /// Whether what is done already should leave before more is begun.
    pub(crate) const fn is_long(&self) -> bool {
        self.is_long
    }

    /// Looks at the clock; says how long it is since the last look.
    fn look(&mut self) -> Duration {
        let now = Instant::now();
        let (begin, last) = *self.clock.get_or_insert((now, now));
        self.clock = Some((begin, now));
        self.since = 0;
        self.is_long = now - begin > LONG;
        now - last
    }

    /// Whether any of a few was slow is seen from all of them; which one, from the next.
    fn look_at_group(&mut self) {
        let allowed = QUICK * self.since + SLACK;
        if self.look() > allowed {
            self.policy.timed.store(TIMED, Ordering::Relaxed);
        }
    }
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        if self.since > 0 && self.policy.mode == Inline::Adaptive {
            self.look_at_group();
        }
    }
}

impl InlinePolicy {
    /// Whether the next call is timed by itself, since calls were slow.
    fn takes_time(&self) -> bool {
        let left = self.timed.load(Ordering::Relaxed);
        if left > 0 {
            self.timed.store(left - 1, Ordering::Relaxed);
        }
        left > 0
    }
}

/// What is known of a method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Record {
    /// Calls that get tasks before the next one is tried here.
    apart: u16,
    /// How many that were the last time.
    penalty: u16,
    /// Handlers in a row that were quick, as far as they are counted.
    quick: u8,
    /// The last one waited when it had begun.
    waits: bool,
}

impl Record {
    const NEW: Self = Self { apart: 0, penalty: 0, quick: 0, waits: false };
    const PROVED: Self = Self { quick: PROOFS, ..Self::NEW };

    fn load(place: &AtomicU64) -> Self {
        let [a, b, c, d, quick, waits, ..] = place.load(Ordering::Relaxed).to_le_bytes();
        Self {
            apart: u16::from_le_bytes([a, b]),
            penalty: u16::from_le_bytes([c, d]),
            quick,
            waits: waits != 0,
        }
    }

    const fn into_bits(self) -> u64 {
        let ([a, b], [c, d]) = (self.apart.to_le_bytes(), self.penalty.to_le_bytes());
        u64::from_le_bytes([a, b, c, d, self.quick, self.waits as u8, 0, 0])
    }

    fn store(self, place: &AtomicU64) {
        place.store(self.into_bits(), Ordering::Relaxed);
    }

    const fn is_proved(self) -> bool {
        self.quick >= PROOFS && self.penalty == 0
    }

    /// After a handler that ran here.
    fn after(self, is_slow: bool) -> Self {
        if is_slow {
            return self.apart();
        }
        Self { penalty: self.penalty / 2, quick: (self.quick + 1).min(PROOFS), ..self }
    }

    /// The next calls get tasks: twice as many each time.
    fn apart(self) -> Self {
        let penalty = self.penalty.saturating_mul(2).clamp(MIN_PENALTY, MAX_PENALTY);
        Self { apart: penalty, penalty, quick: 0, ..self }
    }
}

/// What a handler may take on the average, its decoding and encoding included.
const QUICK: Duration = Duration::from_micros(20);

/// What several may take together beyond that: the scheduler of the system may have had other plans.
const SLACK: Duration = Duration::from_micros(50);

/// What one may take.
const ONE_QUICK: Duration = Duration::from_micros(70);

/// What one may take that goes on after it waited, where a task of its own costs less in comparison.
const ONE_RESUMED: Duration = Duration::from_micros(30);

/// Handlers between two looks at the clock, while all goes well.
const GROUP: u32 = 4;

/// A deadline for which it does not matter how long a few handlers may have taken.
const FAR: Duration = Duration::from_secs(1);

/// What a batch may take before its answers are sent.
const LONG: Duration = Duration::from_millis(1);

/// Calls that are timed one by one after some were slow.
const TIMED: u32 = 64;

/// Quick handlers by which a method has proved quick. Until then they are timed one by one.
const PROOFS: u8 = 4;

/// Calls with tasks of their own after one that was slow: at first and at most.
const MIN_PENALTY: u16 = 64;
const MAX_PENALTY: u16 = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of `calls` run here, each of which is slow.
    fn run(record: &mut Record, calls: u32, slow: bool) -> u32 {
        let mut here = 0;
        for _ in 0..calls {
            if record.apart > 0 {
                record.apart -= 1;
            } else {
                here += 1;
                *record = record.after(slow);
            }
        }
        here
    }

    #[test]
    fn handlers_that_are_quick_run_here() {
        let mut record = Record::NEW;
        assert_eq!(run(&mut record, 1000, false), 1000);
        assert_eq!(record, Record::PROVED);
    }

    #[test]
    fn after_a_slow_handler_the_next_get_tasks() {
        let mut record = Record::PROVED;
        assert_eq!(run(&mut record, 1, true), 1);
        assert_eq!(run(&mut record, 64, true), 0);
        // It is tried again, and less often if it is still slow.
        assert_eq!(run(&mut record, 129, true), 1);
        assert_eq!(run(&mut record, 1_000_000, true), 248);
    }

    #[test]
    fn a_method_that_became_quick_is_taken_back() {
        let mut record = Record::NEW;
        run(&mut record, 10_000, true);
        run(&mut record, 5_000, false);
        assert_eq!(run(&mut record, 1000, false), 1000);
        assert!(record.is_proved());
    }

    #[test]
    fn records_are_kept_as_they_are() {
        let record = Record { apart: 300, penalty: 4096, quick: 3, waits: true };
        let place = AtomicU64::new(0);
        record.store(&place);
        assert_eq!(Record::load(&place), record);
    }
}
