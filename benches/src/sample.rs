//! The numbers of one measurement.

use serde::{Deserialize, Serialize};

use crate::stats;

/// What one measurement gave. Goes from the process that measured to the one that asked, as JSON.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Sample {
    /// In the unit of the workload.
    pub(crate) rate: f64,
    /// Half of the exchanges took at most this, in microseconds.
    pub(crate) p50_us: Option<f64>,
    pub(crate) p99_us: Option<f64>,
    pub(crate) p999_us: Option<f64>,
    /// Processor seconds, of both sides, for a million exchanges.
    pub(crate) cpu_s_per_m: Option<f64>,
    /// The payload of the exchanges, in MB/s each way.
    pub(crate) mb_s: Option<f64>,
    /// What the streams beside it moved, in MB/s each way.
    pub(crate) bulk_mb_s: Option<f64>,
    /// How many connections were open, where that is not always one.
    pub(crate) connections: Option<f64>,
    /// Of 100 calls that were due, how many were answered meanwhile, where calls do not wait for each other.
    pub(crate) answered_percent: Option<f64>,
}

impl Sample {
    /// The medians of several, each number for itself.
    pub(crate) fn median(samples: &[Self]) -> Self {
        let of = |number: fn(&Self) -> Option<f64>| {
            stats::median(&samples.iter().filter_map(number).collect::<Vec<_>>())
        };
        Self {
            rate: of(|sample| Some(sample.rate)).unwrap_or_default(),
            p50_us: of(|sample| sample.p50_us),
            p99_us: of(|sample| sample.p99_us),
            p999_us: of(|sample| sample.p999_us),
            cpu_s_per_m: of(|sample| sample.cpu_s_per_m),
            mb_s: of(|sample| sample.mb_s),
            bulk_mb_s: of(|sample| sample.bulk_mb_s),
            connections: of(|sample| sample.connections),
            answered_percent: of(|sample| sample.answered_percent),
        }
    }

    /// Sets the percentiles from times in nanoseconds.
    pub(crate) fn with_times(mut self, mut nanos: Vec<u32>) -> Self {
        nanos.sort_unstable();
        let at = |share| stats::percentile(&nanos, share).map(|nanos| f64::from(nanos) / 1e3);
        (self.p50_us, self.p99_us, self.p999_us) = (at(0.5), at(0.99), at(0.999));
        self
    }
}
