//! The histograms of durations of calls, and how they are rendered.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use metrics::{Key, SharedString, Unit};
use metrics_exporter_prometheus::{
    LabelSet,
    formatting::{sanitize_metric_name, write_help_line, write_metric_line, write_type_line},
};

use super::histogram::Histogram;

/// The metrics that are recorded here rather than by the exporter.
pub(super) const NAMES: [&str; 2] = ["rpc.server.call.duration", "rpc.client.call.duration"];

/// The durations of calls that a recorder has been told of.
pub(super) struct Durations {
    /// The labels that all have, beside their own.
    labels: Vec<(String, String)>,
    families: Mutex<[Family; NAMES.len()]>,
}

/// All that has one of the [`NAMES`].
#[derive(Default)]
struct Family {
    described: Option<(SharedString, Option<Unit>)>,
    /// In a fixed order, so that the text is.
    series: BTreeMap<Key, Series>,
}

struct Series {
    labels: LabelSet,
    histogram: Arc<Histogram>,
}

impl Durations {
    pub(super) fn new(labels: Vec<(String, String)>) -> Self {
        Self { labels, families: Mutex::default() }
    }

    fn families(&self) -> MutexGuard<'_, [Family; NAMES.len()]> {
        // Nothing that panics runs under the lock.
        self.families.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what a metric means, unless that is known. Returns false if the metric is another one.
    pub(super) fn describe(&self, name: &str, unit: Option<Unit>, meaning: &SharedString) -> bool {
        let Some(index) = index_of(name) else { return false };
        if let Some(family) = self.families().get_mut(index) {
            family.described.get_or_insert_with(|| (meaning.clone(), unit));
        }
        true
    }

    /// Returns the histogram with this name and these labels; `None` if the metric is another one.
    pub(super) fn histogram(&self, key: &Key) -> Option<Arc<Histogram>> {
        let index = index_of(key.name())?;
        let mut families = self.families();
        let series = families.get_mut(index)?.series.entry(key.clone()).or_insert_with(|| Series {
            labels: LabelSet::from_key_and_global(key, &self.labels.iter().cloned().collect()),
            histogram: Arc::new(Histogram::new()),
        });
        Some(Arc::clone(&series.histogram))
    }

    /// Appends all of it, as the exporter renders its own.
    pub(super) fn render(&self, text: &mut String) {
        for (name, family) in NAMES.iter().zip(self.families().iter()) {
            if !family.series.is_empty() {
                family.render(&sanitize_metric_name(name), text);
            }
        }
    }
}

impl Family {
    fn render(&self, name: &str, text: &mut String) {
        let unit = self.described.as_ref().and_then(|(_, unit)| *unit);
        if let Some((meaning, _)) = &self.described {
            write_help_line(text, name, unit, None, meaning);
        }
        write_type_line(text, name, unit, None, "histogram");
        for Series { labels, histogram } in self.series.values() {
            let total = histogram.total();
            for (bound, count) in total.buckets() {
                write_metric_line(text, name, Some("bucket"), labels, Some(("le", bound)), count, unit);
            }
            let count = total.count();
            write_metric_line(text, name, Some("bucket"), labels, Some(("le", "+Inf")), count, unit);
            write_metric_line::<&str, _>(text, name, Some("sum"), labels, None, total.sum, unit);
            write_metric_line::<&str, _>(text, name, Some("count"), labels, None, count, unit);
        }
        text.push('\n');
    }
}

fn index_of(name: &str) -> Option<usize> {
    NAMES.iter().position(|own| *own == name)
}
