//! A recorder whose metrics Prometheus reads.

use std::fmt;

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

use super::Sampler;
use crate::layers::DURATION_BUCKETS;

/// The metrics of the process, in the text format of Prometheus.
///
/// Names and units are as Prometheus has them: `rpc.server.call.duration` is `rpc_server_call_duration_seconds`, a
/// histogram with the [buckets](DURATION_BUCKETS) of OpenTelemetry's conventions, and a counter such as `muxado.frames`
/// is `muxado_frames_total`.
///
/// Clones are the same. See the [module](super) for an example.
#[derive(Clone)]
pub struct Prometheus {
    handle: PrometheusHandle,
    sampler: Sampler,
}

/// The error of [`Prometheus::install`].
#[derive(Debug, thiserror::Error)]
#[error("no metrics for Prometheus: {0}")]
pub struct PrometheusError(#[source] BuildError);

impl Prometheus {
    /// Installs a recorder for all metrics of the process. To be called first: what was recorded before is lost, and a
    /// `MetricsLayer` that has seen a call goes on without it.
    ///
    /// Recorded durations are kept until they are [rendered](Self::render), so it has to be rendered, or
    /// [`upkeep`](Self::upkeep) called, every few seconds. An `HttpEndpoint` does so.
    ///
    /// # Errors
    ///
    /// Returns an error if the process has a recorder already.
    pub fn install() -> Result<Self, PrometheusError> {
        Self::builder()?.install_recorder().map(Self::new).map_err(PrometheusError)
    }

    /// Returns a builder of a recorder with names and buckets as [`install`](Self::install) sets them, for those who set
    /// more, such as global labels.
    ///
    /// ```
    /// use muxado_rpc::telemetry::Prometheus;
    ///
    /// let recorder = Prometheus::builder()?.add_global_label("zone", "b").build_recorder();
    /// let prometheus = Prometheus::new(recorder.handle());
    /// metrics::with_local_recorder(&recorder, || metrics::counter!("orders").increment(2));
    /// assert!(prometheus.render().contains(r#"orders_total{zone="b"} 2"#));
    /// # Ok::<_, muxado_rpc::telemetry::PrometheusError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Returns none today; the builder may in a later version.
    pub fn builder() -> Result<PrometheusBuilder, PrometheusError> {
        let mut builder = PrometheusBuilder::new().with_recommended_naming(true);
        for side in ["server", "client"] {
            let name = Matcher::Full(format!("rpc.{side}.call.duration"));
            builder = builder.set_buckets_for_metric(name, &DURATION_BUCKETS).map_err(PrometheusError)?;
        }
        Ok(builder)
    }

    /// Creates it from the handle of a recorder that was built otherwise.
    pub fn new(handle: PrometheusHandle) -> Self {
        Self { handle, sampler: Sampler::new() }
    }

    /// Returns the sampler that publishes its numbers whenever the metrics are rendered.
    pub fn sampler(&self) -> &Sampler {
        &self.sampler
    }

    /// Returns all metrics as text, after the [sampler](Self::sampler) has published its numbers.
    pub fn render(&self) -> String {
        self.sampler.sample();
        self.handle.render()
    }

    /// Puts the durations that were recorded into their buckets, so that they take no memory of their own.
    pub fn upkeep(&self) {
        self.handle.run_upkeep();
    }
}

impl fmt::Debug for Prometheus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prometheus").field("sampler", &self.sampler).finish_non_exhaustive()
    }
}
