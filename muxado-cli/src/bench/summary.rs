//! What a measurement has found: the figures of all its forms, and the JSON of `--json`.

use std::{collections::BTreeMap, time::Duration};

use hdrhistogram::Histogram;
use serde::Serialize;

use super::{
    arrivals::{Arrivals, Rate},
    bins::{Bin, bins},
    load::{Ended, Phase},
    recorder::Totals,
};

/// What was measured, and how.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Setup {
    pub(crate) address: String,
    /// `Service/method`.
    pub(crate) method: String,
    pub(crate) shape: String,
    pub(crate) codec: String,
    pub(crate) connections: usize,
    pub(crate) in_flight: usize,
    pub(crate) threads: usize,
    #[serde(rename = "warm_up_s", serialize_with = "seconds")]
    pub(crate) warm_up: Duration,
    #[serde(skip)]
    pub(crate) rate: Option<Rate>,
}

/// The figures of a measurement.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Summary {
    #[serde(flatten)]
    pub(crate) setup: Setup,
    /// `time`, `calls`, `disconnected` or `interrupted`.
    pub(crate) ended_by: &'static str,
    #[serde(rename = "elapsed_s", serialize_with = "seconds")]
    pub(crate) elapsed: Duration,
    /// Calls that ended, failed ones as well.
    pub(crate) calls: u64,
    pub(crate) failed: u64,
    pub(crate) unfinished: u64,
    pub(crate) calls_per_s: f64,
    pub(crate) items_sent: u64,
    pub(crate) items_received: u64,
    pub(crate) items_received_per_s: f64,
    pub(crate) bytes_received: u64,
    /// Calls by status.
    pub(crate) statuses: BTreeMap<String, u64>,
    pub(crate) failures: Vec<FailureSummary>,
    /// `null` for a closed loop.
    pub(crate) rate: Option<RateSummary>,
    /// `null` if there was no call.
    pub(crate) latency_us: Option<Times>,
    pub(crate) histogram: Vec<Bin>,
    pub(crate) course: Vec<CoursePart>,
    /// For the curve of a report.
    #[serde(skip)]
    pub(crate) quantiles: Vec<(f64, f64)>,
}

/// The failures of one code.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct FailureSummary {
    pub(crate) status: String,
    pub(crate) calls: u64,
    /// The message of the first.
    pub(crate) message: String,
}

/// What became of a rate.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct RateSummary {
    pub(crate) asked_per_s: f64,
    pub(crate) arrivals: Arrivals,
    pub(crate) begun_per_s: f64,
    /// Whether calls were begun at the rate that was asked for.
    pub(crate) held: bool,
    /// Calls that were due at the end and had not begun.
    pub(crate) not_begun: u64,
    /// How much later than they were due calls began. `null` if none did.
    pub(crate) late_us: Option<Times>,
}

/// A distribution of times, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Times {
    pub(crate) min: f64,
    pub(crate) mean: f64,
    pub(crate) deviation: f64,
    pub(crate) p50: f64,
    pub(crate) p75: f64,
    pub(crate) p90: f64,
    pub(crate) p95: f64,
    pub(crate) p99: f64,
    #[serde(rename = "p99.9")]
    pub(crate) p999: f64,
    #[serde(rename = "p99.99")]
    pub(crate) p9999: f64,
    pub(crate) max: f64,
}

/// What happened in a part of the time.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct CoursePart {
    /// When it begins.
    pub(crate) at_s: f64,
    pub(crate) calls_per_s: f64,
    pub(crate) failed: u64,
    /// The slowest call that ended in it.
    pub(crate) max_us: f64,
}

impl Summary {
    pub(crate) fn new(setup: Setup, phase: &Phase) -> Self {
        let totals = phase.recorder.snapshot();
        let elapsed = phase.elapsed;
        let failures: Vec<_> = totals.failures.values().map(FailureSummary::of).collect();
        let failed = totals.failed();
        let mut statuses: BTreeMap<_, _> =
            failures.iter().map(|failures| (failures.status.clone(), failures.calls)).collect();
        if totals.calls > failed {
            statuses.insert("ok".to_owned(), totals.calls - failed);
        }
        Self {
            ended_by: match phase.ended {
                Ended::Time => "time",
                Ended::Calls => "calls",
                Ended::Disconnected => "disconnected",
                Ended::Interrupted => "interrupted",
            },
            elapsed,
            calls: totals.calls,
            failed,
            unfinished: totals.unfinished,
            calls_per_s: per_second(totals.calls_in_time, elapsed),
            items_sent: totals.moved.items_sent,
            items_received: totals.moved.items_received,
            items_received_per_s: per_second(totals.moved.items_received, elapsed),
            bytes_received: totals.moved.bytes_received,
            statuses,
            failures,
            rate: setup.rate.map(|rate| RateSummary::new(rate, &totals, elapsed)),
            latency_us: Times::of(&totals.latency),
            histogram: bins(&totals.latency),
            course: course(&totals, phase.recorder.step(), elapsed),
            quantiles: quantiles(&totals.latency),
            setup,
        }
    }
}

impl FailureSummary {
    fn of(failures: &super::recorder::Failures) -> Self {
        Self { status: failures.code.to_string(), calls: failures.count, message: failures.first.clone() }
    }
}

impl RateSummary {
    fn new(rate: Rate, totals: &Totals, elapsed: Duration) -> Self {
        let begun = totals.lateness.len();
        let expected = rate.per_second * elapsed.as_secs_f64();
        // Three standard deviations of what is due at random.
        let least = expected * HELD_FROM - 3.0 * expected.sqrt();
        Self {
            asked_per_s: rate.per_second,
            arrivals: rate.arrivals,
            begun_per_s: per_second(begun, elapsed),
            held: begun as f64 >= least && totals.not_begun as f64 <= expected * (1.0 - HELD_FROM) + 1.0,
            not_begun: totals.not_begun,
            late_us: Times::of(&totals.lateness),
        }
    }
}

impl Times {
    /// The distribution in a histogram of nanoseconds; `None` if it is empty.
    pub(crate) fn of(histogram: &Histogram<u64>) -> Option<Self> {
        if histogram.is_empty() {
            return None;
        }
        let at = |quantile| micros(histogram.value_at_quantile(quantile).min(histogram.max()));
        Some(Self {
            min: micros(histogram.min()),
            mean: round(histogram.mean() / 1e3),
            deviation: round(histogram.stdev() / 1e3),
            p50: at(0.5),
            p75: at(0.75),
            p90: at(0.9),
            p95: at(0.95),
            p99: at(0.99),
            p999: at(0.999),
            p9999: at(0.9999),
            max: micros(histogram.max()),
        })
    }

    /// Returns the quantiles with their names.
    pub(crate) fn quantiles(&self) -> [(&'static str, f64); 7] {
        [
            ("50 %", self.p50),
            ("75 %", self.p75),
            ("90 %", self.p90),
            ("95 %", self.p95),
            ("99 %", self.p99),
            ("99.9 %", self.p999),
            ("99.99 %", self.p9999),
        ]
    }
}

/// How it went, without what came after the end.
fn course(totals: &Totals, step: Duration, elapsed: Duration) -> Vec<CoursePart> {
    let parts = totals.course.iter().enumerate().map(|(index, part)| {
        let at = step.as_secs_f64() * index as f64;
        // The last part may be shorter.
        let length = (elapsed.as_secs_f64() - at).min(step.as_secs_f64());
        (part, at, length)
    });
    let within = parts.filter(|(_, _, length)| *length > step.as_secs_f64() / 10.0);
    within
        .map(|(part, at, length)| CoursePart {
            at_s: (at * 1e3).round() / 1e3,
            calls_per_s: round(part.calls as f64 / length),
            failed: part.failures,
            max_us: micros(part.max),
        })
        .collect()
}

/// Returns pairs of a quantile and its microseconds: each time, half of what is left.
fn quantiles(histogram: &Histogram<u64>) -> Vec<(f64, f64)> {
    if histogram.is_empty() {
        return Vec::new();
    }
    let iterated = histogram.iter_quantiles(4);
    iterated.map(|value| (value.quantile_iterated_to(), micros(value.value_iterated_to()))).collect()
}

fn per_second(count: u64, time: Duration) -> f64 {
    if time.is_zero() { 0.0 } else { round(count as f64 / time.as_secs_f64()) }
}

fn micros(nanos: u64) -> f64 {
    nanos as f64 / 1e3
}

/// To a thousandth.
fn round(number: f64) -> f64 {
    (number * 1e3).round() / 1e3
}

fn seconds<S: serde::Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(round(time.as_secs_f64()))
}

/// The part of a rate that has to be reached for it to be held.
const HELD_FROM: f64 = 0.99;
