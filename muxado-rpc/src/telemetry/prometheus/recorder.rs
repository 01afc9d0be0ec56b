//! The recorder: the exporter's, but for the durations of calls.

use std::{fmt, sync::Arc};

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use metrics_exporter_prometheus::PrometheusRecorder as Exporter;

use super::{Prometheus, durations::Durations};

/// A recorder of the facade `metrics`, whose metrics are those of a [`Prometheus`].
///
/// It comes from [`PrometheusBuilder::build`](super::PrometheusBuilder::build), whose example shows it. Counters, gauges
/// and histograms are those of the exporter, except for the durations of calls: these are counted where they are
/// recorded, in memory of the recording thread, and added up when they are rendered.
pub struct PrometheusRecorder {
    exporter: Exporter,
    durations: Arc<Durations>,
}

impl PrometheusRecorder {
    pub(super) fn new(exporter: Exporter, durations: Durations) -> Self {
        Self { exporter, durations: Arc::new(durations) }
    }

    /// Returns what is recorded here, to be rendered. Each has a [sampler](Prometheus::sampler) of its own.
    pub fn prometheus(&self) -> Prometheus {
        Prometheus::of(self.exporter.handle(), Some(Arc::clone(&self.durations)))
    }
}

impl Recorder for PrometheusRecorder {
    fn describe_counter(&self, name: KeyName, unit: Option<Unit>, description: SharedString) {
        self.exporter.describe_counter(name, unit, description);
    }

    fn describe_gauge(&self, name: KeyName, unit: Option<Unit>, description: SharedString) {
        self.exporter.describe_gauge(name, unit, description);
    }

    fn describe_histogram(&self, name: KeyName, unit: Option<Unit>, description: SharedString) {
        if !self.durations.describe(name.as_str(), unit, &description) {
            self.exporter.describe_histogram(name, unit, description);
        }
    }

    fn register_counter(&self, key: &Key, metadata: &Metadata<'_>) -> Counter {
        self.exporter.register_counter(key, metadata)
    }

    fn register_gauge(&self, key: &Key, metadata: &Metadata<'_>) -> Gauge {
        self.exporter.register_gauge(key, metadata)
    }

    fn register_histogram(&self, key: &Key, metadata: &Metadata<'_>) -> Histogram {
        match self.durations.histogram(key) {
            Some(histogram) => Histogram::from_arc(histogram),
            None => self.exporter.register_histogram(key, metadata),
        }
    }
}

impl fmt::Debug for PrometheusRecorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrometheusRecorder").finish_non_exhaustive()
    }
}
