//! What the calls of a measurement came to.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use hdrhistogram::Histogram;
use muxado_rpc::Code;
use tokio::time::Instant;

/// What a call has moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Moved {
    pub(crate) items_sent: u64,
    pub(crate) items_received: u64,
    /// Of encoded values and items that came.
    pub(crate) bytes_received: u64,
}

/// Why a call failed, and what it had moved by then.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) code: Code,
    pub(crate) message: String,
    pub(crate) moved: Moved,
}

/// All that is recorded of a measurement; shared by all who call.
#[derive(Debug)]
pub(crate) struct Recorder {
    start: Instant,
    /// What ends later does not count for the rate.
    end: Option<Instant>,
    /// How long each part of the course takes.
    step: Duration,
    totals: Mutex<Totals>,
}

/// The sums. Times are in nanoseconds.
#[derive(Clone)]
pub(crate) struct Totals {
    /// From when a call was to begin until its end.
    pub(crate) latency: Histogram<u64>,
    /// How much later than they were to calls began; of loads with a rate.
    pub(crate) lateness: Histogram<u64>,
    pub(crate) calls: u64,
    /// Those that ended by the end of the measurement.
    pub(crate) calls_in_time: u64,
    pub(crate) moved: Moved,
    /// By code.
    pub(crate) failures: BTreeMap<&'static str, Failures>,
    /// Calls that were given up at the end.
    pub(crate) unfinished: u64,
    /// Calls that were due, and had not begun at the end.
    pub(crate) not_begun: u64,
    /// How it went over time.
    pub(crate) course: Vec<Step>,
    /// When the last call ended.
    pub(crate) last: Option<Instant>,
}

/// The failures of one code.
#[derive(Clone, Debug)]
pub(crate) struct Failures {
    pub(crate) code: Code,
    pub(crate) count: u64,
    /// The message of the first.
    pub(crate) first: String,
}

/// A part of the time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) calls: u64,
    pub(crate) failures: u64,
    /// Of the slowest call that ended in it, in nanoseconds.
    pub(crate) max: u64,
}

impl Recorder {
    /// A recorder for a measurement that begins then, and ends then unless it is ended by something else.
    pub(crate) fn new(start: Instant, end: Option<Instant>) -> Arc<Self> {
        let step = end.map_or(MAX_STEP, |end| (end - start) / STEPS).clamp(MIN_STEP, MAX_STEP);
        let histogram = || Histogram::new(DIGITS).expect("3 digits are among those that there can be");
        let totals = Totals {
            latency: histogram(),
            lateness: histogram(),
            calls: 0,
            calls_in_time: 0,
            moved: Moved::default(),
            failures: BTreeMap::new(),
            unfinished: 0,
            not_begun: 0,
            course: Vec::new(),
            last: None,
        };
        Arc::new(Self { start, end, step, totals: Mutex::new(totals) })
    }

    fn totals(&self) -> MutexGuard<'_, Totals> {
        self.totals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns how many calls have ended, as far as those who call have said it.
    pub(crate) fn calls(&self) -> u64 {
        self.totals().calls
    }

    /// Returns the sums, as far as those who call have said it.
    pub(crate) fn snapshot(&self) -> Totals {
        self.totals().clone()
    }

    /// Returns how long each part of the course takes.
    pub(crate) fn step(&self) -> Duration {
        self.step
    }

    /// Notes calls that were due then and have not begun. They count with the time that they have waited, so that a
    /// measurement is no better for ending before them.
    pub(crate) fn not_begun(&self, due: &[Instant], now: Instant) {
        let mut totals = self.totals();
        totals.not_begun += due.len() as u64;
        for due in due {
            record(&mut totals.latency, nanos(now.saturating_duration_since(*due)));
        }
    }
}

impl fmt::Debug for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Totals").field("calls", &self.calls).finish_non_exhaustive()
    }
}

/// What one caller has recorded and not yet added to the sums: adding each call by itself would cost more than a part
/// of a fast call. Dropping it adds the rest.
#[derive(Debug)]
pub(crate) struct Samples {
    recorder: Arc<Recorder>,
    latencies: Vec<u64>,
    lateness: Vec<u64>,
    calls_in_time: u64,
    moved: Moved,
    /// When what is here is added at the latest.
    add_at: Instant,
    /// When the last call ended.
    last: Instant,
    /// When the call under way was to begin.
    under_way: Option<Instant>,
}

impl Samples {
    pub(crate) fn new(recorder: &Arc<Recorder>) -> Self {
        let start = recorder.start;
        Self {
            recorder: Arc::clone(recorder),
            latencies: Vec::with_capacity(BATCH),
            lateness: Vec::new(),
            calls_in_time: 0,
            moved: Moved::default(),
            add_at: start,
            last: start,
            under_way: None,
        }
    }

    /// Notes that a call begins, which was to begin at `due`.
    #[inline]
    pub(crate) fn begin(&mut self, due: Instant) {
        self.under_way = Some(due);
    }

    /// Notes how much later than it was to a call began.
    pub(crate) fn late(&mut self, late: Duration) {
        self.lateness.push(nanos(late));
    }

    /// Notes that the call has ended.
    #[inline]
    pub(crate) fn end(&mut self, now: Instant, outcome: Result<Moved, Failed>) {
        let Some(due) = self.under_way.take() else { return };
        if now >= self.add_at {
            self.flush();
            self.add_at = self.next_flush(now);
        }
        self.last = now;
        self.latencies.push(nanos(now.saturating_duration_since(due)));
        self.calls_in_time += u64::from(self.recorder.end.is_none_or(|end| now <= end));
        match outcome {
            Ok(moved) => self.moved.add(moved),
            Err(failed) => self.note_failure(failed),
        }
        if self.latencies.len() >= BATCH {
            self.flush();
        }
    }

    /// Parts of the course are exact, and what is shown meanwhile is not old.
    fn next_flush(&self, now: Instant) -> Instant {
        let Recorder { start, step, .. } = *self.recorder;
        let steps = now.saturating_duration_since(start).as_nanos() / step.as_nanos() + 1;
        let next_step = u32::try_from(steps).ok().and_then(|steps| step.checked_mul(steps));
        let soon = now + MIN_STEP;
        next_step.and_then(|next| start.checked_add(next)).map_or(soon, |next| next.min(soon))
    }

    #[cold]
    fn note_failure(&mut self, failed: Failed) {
        let Failed { code, message, moved } = failed;
        self.moved.add(moved);
        let at = self.index(self.last);
        let mut totals = self.recorder.totals();
        totals.step_mut(at).failures += 1;
        let failures = totals.failures.entry(code.as_str());
        failures.or_insert(Failures { code, count: 0, first: message }).count += 1;
    }

    /// Returns which part of the course a time is in.
    fn index(&self, at: Instant) -> usize {
        let steps =
            at.saturating_duration_since(self.recorder.start).as_nanos() / self.recorder.step.as_nanos();
        usize::try_from(steps).unwrap_or(usize::MAX).min(MAX_STEPS - 1)
    }

    /// Adds what is here to the sums.
    fn flush(&mut self) {
        if self.latencies.is_empty() && self.lateness.is_empty() {
            return;
        }
        let at = self.index(self.last);
        let mut totals = self.recorder.totals();
        totals.calls += self.latencies.len() as u64;
        totals.calls_in_time += std::mem::take(&mut self.calls_in_time);
        totals.moved.add(std::mem::take(&mut self.moved));
        totals.last = totals.last.max(Some(self.last));
        let step = totals.step_mut(at);
        step.calls += self.latencies.len() as u64;
        step.max = self.latencies.iter().copied().fold(step.max, u64::max);
        for latency in self.latencies.drain(..) {
            record(&mut totals.latency, latency);
        }
        for late in self.lateness.drain(..) {
            record(&mut totals.lateness, late);
        }
    }
}

/// A call that is under way is given up. It counts with the time that it has taken.
impl Drop for Samples {
    fn drop(&mut self) {
        self.flush();
        if let Some(due) = self.under_way {
            let mut totals = self.recorder.totals();
            totals.unfinished += 1;
            record(&mut totals.latency, nanos(Instant::now().saturating_duration_since(due)));
        }
    }
}

impl Moved {
    #[inline]
    fn add(&mut self, other: Self) {
        self.items_sent += other.items_sent;
        self.items_received += other.items_received;
        self.bytes_received += other.bytes_received;
    }
}

impl Totals {
    fn step_mut(&mut self, at: usize) -> &mut Step {
        if self.course.len() <= at {
            self.course.resize(at + 1, Step::default());
        }
        &mut self.course[at]
    }

    /// Returns how many calls failed.
    pub(crate) fn failed(&self) -> u64 {
        self.failures.values().map(|failures| failures.count).sum()
    }
}

/// Records a time. The histogram grows with the times in it.
#[inline]
fn record(histogram: &mut Histogram<u64>, nanos: u64) {
    if histogram.record(nanos).is_err() {
        histogram.saturating_record(nanos);
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Calls that are added to the sums at once.
const BATCH: usize = 128;

/// Digits of the times in a histogram.
const DIGITS: u8 = 3;

/// Parts of the course, if it is known how long it takes.
const STEPS: u32 = 100;
const MIN_STEP: Duration = Duration::from_millis(100);
const MAX_STEP: Duration = Duration::from_secs(1);

/// What comes later, a day after, is in the last one.
const MAX_STEPS: usize = 86_400;

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[tokio::test(start_paused = true)]
    async fn latency_counts_from_when_the_call_was_due() {
        let start = Instant::now();
        let recorder = Recorder::new(start, None);
        let mut samples = Samples::new(&recorder);
        samples.begin(start);
        samples.late(ms(40));
        samples.end(start + ms(50), Ok(Moved { items_received: 2, ..Moved::default() }));
        drop(samples);
        let totals = recorder.snapshot();
        assert!(totals.latency.equivalent(totals.latency.max(), 50_000_000));
        assert!(totals.lateness.equivalent(totals.lateness.max(), 40_000_000));
        assert_eq!((totals.calls, totals.moved.items_received, totals.failed()), (1, 2, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn failures_are_counted_by_code_with_the_first_message() {
        let start = Instant::now();
        let recorder = Recorder::new(start, None);
        let mut samples = Samples::new(&recorder);
        for (code, message) in [(Code::NotFound, "a"), (Code::Aborted, "b"), (Code::NotFound, "c")] {
            samples.begin(start);
            let failed = Failed { code, message: message.to_owned(), moved: Moved::default() };
            samples.end(start + ms(1), Err(failed));
        }
        drop(samples);
        let totals = recorder.snapshot();
        let failures: Vec<_> = totals
            .failures
            .values()
            .map(|failures| (failures.code, failures.count, &*failures.first))
            .collect();
        assert_eq!(failures, [(Code::Aborted, 1, "b"), (Code::NotFound, 2, "a")]);
        assert_eq!((totals.calls, totals.failed()), (3, 3));
    }

    #[tokio::test(start_paused = true)]
    async fn the_course_says_when_calls_ended() {
        let start = Instant::now();
        let recorder = Recorder::new(start, Some(start + ms(1000)));
        assert_eq!(recorder.step(), ms(100));
        let mut samples = Samples::new(&recorder);
        for end in [10, 20, 250, 1001] {
            samples.begin(start);
            samples.end(start + ms(end), Ok(Moved::default()));
        }
        drop(samples);
        let totals = recorder.snapshot();
        let calls: Vec<_> = totals.course.iter().map(|step| step.calls).collect();
        assert_eq!(calls, [2, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1]);
        // The last one ended after the end.
        assert_eq!((totals.calls, totals.calls_in_time), (4, 3));
    }

    #[tokio::test(start_paused = true)]
    async fn what_has_not_ended_or_begun_counts_with_the_time_that_it_took_so_far() {
        let start = Instant::now();
        let recorder = Recorder::new(start, None);
        let mut samples = Samples::new(&recorder);
        samples.begin(start);
        tokio::time::advance(ms(700)).await;
        drop(samples);
        recorder.not_begun(&[start + ms(200)], Instant::now());
        let totals = recorder.snapshot();
        assert_eq!((totals.calls, totals.unfinished, totals.not_begun), (0, 1, 1));
        let times: Vec<_> =
            totals.latency.iter_recorded().map(|value| value.value_iterated_to() / 1_000_000).collect();
        assert_eq!(times, [500, 700]);
    }
}
