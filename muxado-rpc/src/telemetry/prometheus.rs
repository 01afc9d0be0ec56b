//! A recorder whose metrics Prometheus reads.

mod durations;
mod histogram;
mod recorder;
mod thread_slot;

use std::{fmt, sync::Arc};

use metrics_exporter_prometheus::{PrometheusBuilder as Exporter, PrometheusHandle};

use self::durations::Durations;
pub use self::recorder::PrometheusRecorder;
use super::Sampler;

/// The metrics of the process, in the text format of Prometheus.
///
/// Names and units are as Prometheus has them: `rpc.server.call.duration` is `rpc_server_call_duration_seconds`, a
/// histogram with the [buckets](crate::layers::DURATION_BUCKETS) of OpenTelemetry's conventions, and a counter such as
/// `muxado.frames` is `muxado_frames_total`.
///
/// Clones are the same. See the [module](super) for an example.
#[derive(Clone)]
pub struct Prometheus {
    handle: PrometheusHandle,
    /// `None` if the exporter records them.
    durations: Option<Arc<Durations>>,
    sampler: Sampler,
}

/// Configures a [`Prometheus`] and its recorder. It comes from [`Prometheus::builder`].
#[must_use = "nothing is recorded before it is installed"]
pub struct PrometheusBuilder {
    exporter: Exporter,
    labels: Vec<(String, String)>,
}

/// The error of [`Prometheus::install`] and [`PrometheusBuilder::install`]: the process has a recorder already.
#[derive(Debug, thiserror::Error)]
#[error("no metrics for Prometheus: the process has a recorder already")]
pub struct PrometheusError(());

impl Prometheus {
    /// Installs a recorder for all metrics of the process. To be called first: what was recorded before is lost, and a
    /// `MetricsLayer` that has seen a call goes on without it.
    ///
    /// # Errors
    ///
    /// Returns an error if the process has a recorder already.
    pub fn install() -> Result<Self, PrometheusError> {
        Self::builder().install()
    }

    /// Returns a builder, for those who set more than [`install`](Self::install) does.
    ///
    /// ```
    /// use muxado_rpc::telemetry::Prometheus;
    ///
    /// let recorder = Prometheus::builder().label("zone", "b").build();
    /// let prometheus = recorder.prometheus();
    /// metrics::with_local_recorder(&recorder, || metrics::counter!("orders").increment(2));
    /// assert!(prometheus.render().contains(r#"orders_total{zone="b"} 2"#));
    /// ```
    pub fn builder() -> PrometheusBuilder {
        PrometheusBuilder { exporter: Exporter::new(), labels: Vec::new() }
    }

    /// Creates it from the handle of an exporter's recorder that was built and installed otherwise.
    ///
    /// The durations of calls are the exporter's then: it makes histograms of them only if it is given the
    /// [buckets](crate::layers::DURATION_BUCKETS), keeps each until [`render`](Self::render) or [`upkeep`](Self::upkeep) is
    /// called, and takes longer to record one.
    pub fn new(handle: PrometheusHandle) -> Self {
        Self::of(handle, None)
    }

    fn of(handle: PrometheusHandle, durations: Option<Arc<Durations>>) -> Self {
        Self { handle, durations, sampler: Sampler::new() }
    }

    /// Returns the sampler that publishes its numbers whenever the metrics are rendered.
    pub fn sampler(&self) -> &Sampler {
        &self.sampler
    }

    /// Returns all metrics as text, after the [sampler](Self::sampler) has published its numbers.
    pub fn render(&self) -> String {
        self.sampler.sample();
        let mut text = self.handle.render();
        if let Some(durations) = &self.durations {
            durations.render(&mut text);
        }
        text
    }

    /// Puts the values of other histograms, such as the application's, into their buckets: the exporter keeps each until
    /// this is called or they are [rendered](Self::render). To be called every few seconds if there are any; an
    /// `HttpEndpoint` does so. Durations of calls need none of it.
    pub fn upkeep(&self) {
        self.handle.run_upkeep();
    }
}

impl fmt::Debug for Prometheus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prometheus").field("sampler", &self.sampler).finish_non_exhaustive()
    }
}

impl PrometheusBuilder {
    /// Adds a label that all metrics have. One of the same name that a metric has itself goes before.
    pub fn label(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        let (name, value) = (name.into(), value.into());
        self.labels.retain(|(other, _)| *other != name);
        self.labels.push((name, value));
        self
    }

    /// Sets the builder of the exporter, which records all but the durations of calls: the buckets of the application's
    /// histograms, and after which time metrics that do not change are forgotten. Names are always those that Prometheus
    /// recommends; labels are to be set by [`label`](Self::label).
    pub fn exporter(mut self, exporter: Exporter) -> Self {
        self.exporter = exporter;
        self
    }

    /// Creates a recorder, to be installed by `metrics::set_global_recorder`, alone or as one of several, or to be used
    /// for a while by `metrics::with_local_recorder`.
    pub fn build(self) -> PrometheusRecorder {
        let mut exporter = self.exporter.with_recommended_naming(true);
        for (name, value) in &self.labels {
            exporter = exporter.add_global_label(name, value);
        }
        PrometheusRecorder::new(exporter.build_recorder(), Durations::new(self.labels))
    }

    /// Creates a recorder and installs it for the process; see [`Prometheus::install`].
    ///
    /// # Errors
    ///
    /// Returns an error if the process has a recorder already.
    pub fn install(self) -> Result<Prometheus, PrometheusError> {
        let recorder = self.build();
        let prometheus = recorder.prometheus();
        metrics::set_global_recorder(recorder).map_err(|_| PrometheusError(()))?;
        Ok(prometheus)
    }
}

impl fmt::Debug for PrometheusBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrometheusBuilder").field("labels", &self.labels).finish_non_exhaustive()
    }
}
