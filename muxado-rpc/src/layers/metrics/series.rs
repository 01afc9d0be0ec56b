//! The histograms of a layer, found by method and outcome without a lock or a name.

use std::{
    collections::HashMap,
    fmt, ptr,
    sync::{Arc, OnceLock, PoisonError, RwLock},
};

use metrics::{Histogram, Key, Label, Level, Metadata, SharedString, Unit};
use quanta::Clock;

use super::super::convention::{MethodName, Side};
use crate::{Code, MethodInfo, Request, support::turn_clock};

/// The histograms of one layer.
pub(super) struct Series {
    origin: Arc<Origin>,
    /// Those of methods of generated services, by the addresses of their descriptions.
    known: [Slot; SLOTS],
    /// Those of methods that were described at run time, by their names.
    described: RwLock<HashMap<(String, String), Arc<MethodSeries>>>,
    /// That of all others.
    other: Arc<MethodSeries>,
}

/// What all histograms of a layer have in common.
struct Origin {
    side: Side,
    labels: Vec<Label>,
    clock: Clock,
}

/// Methods whose addresses fall into the same place, each behind the one before.
type Slot = OnceLock<Box<Node>>;

struct Node {
    method: &'static MethodInfo,
    series: Arc<MethodSeries>,
    next: Slot,
}

impl Series {
    pub(super) fn new(side: Side) -> Self {
        let labels = vec![Label::from_static_parts("rpc.system.name", "muxado")];
        Self::of_origin(Origin { side, labels, clock: Clock::new() })
    }

    pub(super) fn with_clock(&self, clock: Clock) -> Self {
        let Origin { side, labels, .. } = &*self.origin;
        Self::of_origin(Origin { side: *side, labels: labels.clone(), clock })
    }

    pub(super) fn with_label(&self, name: String, value: String) -> Self {
        let mut labels = self.origin.labels.clone();
        labels.retain(|label| label.key() != name);
        labels.push(Label::new(name, value));
        Self::of_origin(Origin { side: self.origin.side, labels, clock: self.origin.clock.clone() })
    }

    fn of_origin(origin: Origin) -> Self {
        let origin = Arc::new(origin);
        let other = MethodSeries::new(&origin, SharedString::const_str("_OTHER"));
        Self { origin, known: [const { OnceLock::new() }; SLOTS], described: RwLock::default(), other }
    }

    /// Returns the histograms of the method of a request.
    #[inline]
    pub(super) fn of(&self, request: &Request) -> Arc<MethodSeries> {
        match request.static_method() {
            Some(method) => Arc::clone(self.of_known(method)),
            None => self.of_described(request.method()),
        }
    }

    #[inline]
    fn of_known(&self, method: &'static MethodInfo) -> &Arc<MethodSeries> {
        let mut slot = &self.known[slot_of(method)];
        loop {
            let node = slot.get_or_init(|| {
                let name = MethodName(method).to_string().into();
                let series = MethodSeries::new(&self.origin, name);
                Box::new(Node { method, series, next: OnceLock::new() })
            });
            if ptr::eq(node.method, method) {
                return &node.series;
            }
            slot = &node.next;
        }
    }

    /// Calls of such methods look their names up.
    fn of_described(&self, method: &MethodInfo) -> Arc<MethodSeries> {
        let name = MethodName(method);
        if !name.is_recognized() {
            return Arc::clone(&self.other);
        }
        let key = (method.service().to_owned(), method.name().to_owned());
        // Nothing that panics runs under the lock.
        if let Some(series) = self.described.read().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Arc::clone(series);
        }
        let mut described = self.described.write().unwrap_or_else(PoisonError::into_inner);
        if described.len() >= MAX_DESCRIBED && !described.contains_key(&key) {
            return Arc::clone(&self.other);
        }
        let new = || MethodSeries::new(&self.origin, name.to_string().into());
        Arc::clone(described.entry(key).or_insert_with(new))
    }
}

impl fmt::Debug for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Series")
            .field("name", &self.origin.name())
            .field("labels", &self.origin.labels)
            .finish()
    }
}

impl Origin {
    const fn name(&self) -> &'static str {
        match self.side {
            Side::Client => "rpc.client.call.duration",
            Side::Server => "rpc.server.call.duration",
        }
    }

    const fn meaning(&self) -> &'static str {
        match self.side {
            Side::Client => "Duration of calls that this process made, to the end of their streams.",
            Side::Server => "Duration of calls that this process served, to the end of their streams.",
        }
    }

    /// Has the recorder of now make a histogram.
    fn register(&self, method: &SharedString, outcome: Outcome) -> Histogram {
        let mut labels = self.labels.clone();
        labels.push(Label::new("rpc.method", method.clone()));
        labels.push(Label::from_static_parts("rpc.response.status_code", outcome.as_str()));
        if outcome != Outcome::OK {
            labels.push(Label::from_static_parts("error.type", outcome.as_str()));
        }
        let key = Key::from_parts(self.name(), labels);
        metrics::with_recorder(|recorder| {
            recorder.describe_histogram(self.name().into(), Some(Unit::Seconds), self.meaning().into());
            recorder.register_histogram(&key, &METADATA)
        })
    }
}

/// The histograms of one method, and the clock of its calls.
pub(super) struct MethodSeries {
    clock: Clock,
    /// One for each way in which a call can end, once one has.
    outcomes: [OnceLock<Histogram>; OUTCOMES],
    origin: Arc<Origin>,
    name: SharedString,
}

impl MethodSeries {
    fn new(origin: &Arc<Origin>, name: SharedString) -> Arc<Self> {
        let outcomes = [const { OnceLock::new() }; OUTCOMES];
        Arc::new(Self { clock: origin.clock.clone(), outcomes, origin: Arc::clone(origin), name })
    }

    /// Returns when a call begins, as the clock has it: now, or when its connection turned to it, which is when the call
    /// before it has ended.
    #[inline]
    pub(super) fn begin(&self, request: &Request) -> u64 {
        let ended = match self.origin.side {
            Side::Server if request.came_by_connection() => turn_clock::take_end(self.owner()),
            Side::Server | Side::Client => None,
        };
        ended.unwrap_or_else(|| self.clock.raw())
    }

    /// Counts a call that ends now.
    #[inline]
    pub(super) fn record(&self, outcome: Outcome, begun: u64) {
        let now = self.clock.raw();
        if self.origin.side == Side::Server {
            turn_clock::note_end(self.owner(), now);
        }
        let nanos = self.clock.delta_as_nanos(begun, now);
        let place = &self.outcomes[outcome.index()];
        // Divided, so that a duration that is a bound of a bucket is in it.
        place
            .get_or_init(|| self.origin.register(&self.name, outcome))
            .record(nanos as f64 / NANOS_PER_SECOND);
    }

    #[inline]
    fn owner(&self) -> usize {
        Arc::as_ptr(&self.origin).addr()
    }
}

/// How a call ended: the code of its failure, if it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Outcome(Option<Code>);

impl Outcome {
    const OK: Self = Self(None);

    /// Nobody waited for the end.
    pub(super) const DROPPED: Self = Self(Some(Code::Cancelled));

    /// What is left of a call whose service panics.
    pub(super) const PANICKED: Self = Self(Some(Code::Internal));

    pub(super) const fn of(failed: Option<Code>) -> Self {
        Self(failed)
    }

    const fn index(self) -> usize {
        match self.0 {
            None => 0,
            Some(code) => code as usize + 1,
        }
    }

    const fn as_str(self) -> &'static str {
        match self.0 {
            None => "ok",
            Some(code) => code.as_str(),
        }
    }
}

const NANOS_PER_SECOND: f64 = 1e9;

/// The last of the codes is the largest.
const OUTCOMES: usize = Code::Unauthenticated as usize + 2;

/// Places for methods. More methods than places share them.
const SLOTS: usize = 128;

/// Methods described at run time that have histograms of their own.
const MAX_DESCRIBED: usize = 1000;

static METADATA: Metadata<'static> =
    Metadata::new("muxado_rpc", Level::INFO, Some("muxado_rpc::layers::metrics"));

/// The descriptions of a service lie one after the other.
#[inline]
fn slot_of(method: &'static MethodInfo) -> usize {
    (ptr::from_ref(method).addr() / size_of::<MethodInfo>()) % SLOTS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_that_share_a_place_are_told_apart() {
        let methods: Vec<&'static MethodInfo> =
            (0..300).map(|_| &*Box::leak(Box::new(MethodInfo::new("S", 1, "m", 0)))).collect();
        let series = Series::new(Side::Server);
        let first: Vec<_> = methods.iter().map(|method| Arc::as_ptr(series.of_known(method))).collect();
        let again: Vec<_> = methods.iter().map(|method| Arc::as_ptr(series.of_known(method))).collect();
        assert_eq!(first, again);
        let mut different = first;
        different.sort_unstable();
        different.dedup();
        assert_eq!(different.len(), 300);
    }

    #[test]
    fn every_outcome_has_a_place_of_its_own() {
        assert_eq!(Outcome::OK.index(), 0);
        assert_eq!(Outcome::of(Some(Code::Cancelled)).index(), 1);
        assert_eq!(Outcome::of(Some(Code::Unauthenticated)).index(), OUTCOMES - 1);
    }

    #[test]
    fn methods_described_at_run_time_have_a_bound() {
        use crate::Shape;

        let series = Series::new(Side::Client);
        let of = |number: usize| {
            series.of_described(&MethodInfo::dynamic("S", format!("m{number}")).with_shape(Shape::Unary))
        };
        let all: Vec<_> = (0..MAX_DESCRIBED).map(of).collect();
        assert!(all.iter().all(|one| !Arc::ptr_eq(one, &series.other)));
        assert!(Arc::ptr_eq(&of(MAX_DESCRIBED), &series.other) && Arc::ptr_eq(&of(0), &all[0]));
        assert!(Arc::ptr_eq(&series.of_described(&MethodInfo::dynamic("S", "m0")), &series.other));
    }
}
