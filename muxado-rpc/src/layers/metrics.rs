//! How long calls take, and how they end: a histogram for each method.

mod series;

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use pin_project::pin_project;
use quanta::Clock;
use tokio::time::Instant;
use tower_layer::Layer;
use tower_service::Service;

use self::series::{MethodSeries, Outcome, Series};
use super::convention::Side;
use crate::{BodyEnd, BoxError, Code, Request, Response, Status, message::status::from_box_error};

/// The upper bounds of the buckets of `rpc.server.call.duration` and `rpc.client.call.duration`, in seconds, as
/// OpenTelemetry's conventions have them. An exporter that makes histograms needs them.
///
/// `telemetry::Prometheus` (feature `prometheus`) sets them by itself.
pub const DURATION_BUCKETS: [f64; 14] =
    [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

/// Records the duration of each call and how it ended, by the facade [`metrics`](https://docs.rs/metrics/0.24).
///
/// On the serving side it records the histogram `rpc.server.call.duration`, on the calling side
/// `rpc.client.call.duration`, both in seconds. Their labels are those of OpenTelemetry's [conventions for RPC metrics]:
///
/// | label | value |
/// |---|---|
/// | `rpc.system.name` | `muxado` |
/// | `rpc.method` | `Service/method`; `_OTHER` for a method of [unknown shape](crate::Shape::Unknown), whose name is the caller's |
/// | `rpc.response.status_code` | `ok`, or the [`Code`] of the status or of the [application's error](crate::AppError) |
/// | `error.type` | the same code, of a call that failed |
///
/// A call that is made begins when it is handed to the channel. A served one begins when its connection turns to it: its
/// request has been read, and the call before it in the same turn is done.
///
/// Each call is counted once. A streaming call lasts until its stream has ended. One that is dropped, and a stream that
/// is not read to its end, count as `cancelled`, or as `deadline_exceeded` if the call's time limit has passed; a
/// handler that panics counts as `internal`. Calls that are refused before any layer sees them, such as those of a
/// service that is not served, are not recorded here; [`CallStats::failed`](crate::CallStats::failed) counts them.
///
/// However many names callers make up, they are one method, `_OTHER`. Of methods that were [described at run
/// time](crate::MethodInfo::dynamic) with their shape, the first 1 000 have series of their own, and further ones count as
/// `_OTHER` as well.
///
/// What is recorded goes to the recorder that is installed when a method first ends in some way. **Install the recorder
/// before the first call**: until then nothing is recorded, and series that were looked for then stay silent. No call
/// allocates or looks for a name: a handle of each method and outcome is kept by the layer. Clones of a layer and its
/// services share them.
///
/// ```
/// use muxado_rpc::{Peer, Server, layers::MetricsLayer};
/// use tower::ServiceBuilder;
///
/// # fn example(peer: &Peer) {
/// let server = Server::builder().layer(MetricsLayer::server());
/// let channel = ServiceBuilder::new()
///     .layer(MetricsLayer::client().label("server.address", "backend.internal"))
///     .service(peer.channel());
/// # let _ = (server, channel);
/// # }
/// ```
///
/// [conventions for RPC metrics]: https://opentelemetry.io/docs/specs/semconv/rpc/rpc-metrics/
#[derive(Clone)]
pub struct MetricsLayer {
    series: Arc<Series>,
}

impl MetricsLayer {
    /// Creates a layer for the calling side, to be put around a channel.
    ///
    /// The first layer of a process may take up to 200 ms, to learn how fast the processor's clock runs.
    pub fn client() -> Self {
        Self { series: Arc::new(Series::new(Side::Client)) }
    }

    /// Creates a layer for the serving side, for `layer` of a builder or around one service.
    ///
    /// The first layer of a process may take up to 200 ms, to learn how fast the processor's clock runs.
    pub fn server() -> Self {
        Self { series: Arc::new(Series::new(Side::Server)) }
    }

    /// Adds a label that all series of this layer have, such as the name of the server that is called.
    ///
    /// Services that were made by the layer before go on without it.
    #[must_use]
    pub fn label(self, name: impl Into<String>, value: impl Into<String>) -> Self {
        Self { series: Arc::new(self.series.with_label(name.into(), value.into())) }
    }

    /// Measures by this clock: for tests, whose time is not that of the system.
    #[doc(hidden)]
    #[must_use]
    pub fn clock(self, clock: Clock) -> Self {
        Self { series: Arc::new(self.series.with_clock(clock)) }
    }
}

impl fmt::Debug for MetricsLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("MetricsLayer").field(&self.series).finish()
    }
}

impl<S> Layer<S> for MetricsLayer {
    type Service = Metrics<S>;

    fn layer(&self, inner: S) -> Metrics<S> {
        Metrics { inner, layer: self.clone() }
    }
}

/// A service inside a [`MetricsLayer`].
#[derive(Clone, Debug)]
pub struct Metrics<S> {
    inner: S,
    layer: MetricsLayer,
}

accessors!(Metrics<S>);

impl<S> Service<Request> for Metrics<S>
where
    S: Service<Request, Response = Response, Error: Into<BoxError>>,
{
    type Response = Response;
    type Error = Status;
    type Future = MetricsFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        self.inner.poll_ready(cx).map_err(|error| from_box_error(error.into()))
    }

    // Not inlined: the request is passed on where it lies, and the future made where it goes.
    #[inline(never)]
    fn call(&mut self, request: Request) -> MetricsFuture<S::Future> {
        let mut timing = Timing::begin(&self.layer.series, &request);
        // What is left if the service panics.
        timing.outcome = Outcome::PANICKED;
        let call = self.inner.call(request);
        timing.outcome = Outcome::DROPPED;
        MetricsFuture { call, timing }
    }
}

/// A call through [`Metrics`].
#[pin_project]
#[must_use = "futures do nothing unless polled"]
#[expect(missing_debug_implementations, reason = "futures on their way have no more to show")]
pub struct MetricsFuture<F> {
    #[pin]
    call: F,
    timing: Timing,
}

impl<F, E> Future for MetricsFuture<F>
where
    F: Future<Output = Result<Response, E>>,
    E: Into<BoxError>,
{
    type Output = Result<Response, Status>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        this.timing.outcome = Outcome::PANICKED;
        let mut polled = this.call.poll(cx);
        // Looked at where it lies, before it is moved.
        match &mut polled {
            Poll::Pending => this.timing.outcome = Outcome::DROPPED,
            Poll::Ready(Ok(response)) => this.timing.end(response),
            Poll::Ready(Err(_)) => {}
        }
        polled.map_err(|error| {
            let status = from_box_error(error.into());
            this.timing.record(Outcome::of(Some(status.code())));
            status
        })
    }
}

/// A call that is recorded when this is dropped, unless it was before.
struct Timing {
    /// `None` once it is recorded.
    method: Option<Arc<MethodSeries>>,
    /// When it began, as the clock of the method has it.
    begun: u64,
    /// When the call's time is over, where that is known.
    deadline: Option<Instant>,
    outcome: Outcome,
}

impl Timing {
    #[inline]
    fn begin(series: &Series, request: &Request) -> Self {
        let method = series.of(request);
        let begun = method.begin(request);
        Self { method: Some(method), begun, deadline: request.deadline(), outcome: Outcome::DROPPED }
    }

    /// Notes the end of a call, or waits for that of its stream.
    #[inline]
    fn end(&mut self, response: &mut Response) {
        if response.body_mut().is_some() {
            self.hand_on(response);
        } else {
            self.record(Outcome::of(response.error_code()));
        }
    }

    /// Leaves the call to the end of its stream.
    #[cold]
    fn hand_on(&mut self, response: &mut Response) {
        let mut rest = Self { method: self.method.take(), outcome: Outcome::DROPPED, ..*self };
        if let Some(body) = response.body_mut() {
            body.on_end(move |end| match end {
                BodyEnd::Complete => rest.record(Outcome::of(None)),
                BodyEnd::Failed(code) => rest.record(Outcome::of(Some(code))),
                BodyEnd::Dropped => drop(rest),
            });
        }
    }

    /// Counts the call, once.
    #[inline]
    fn record(&mut self, outcome: Outcome) {
        if let Some(method) = self.method.take() {
            method.record(outcome, self.begun);
        }
    }

    /// Counts a call that nobody saw the end of.
    #[cold]
    fn abandon(&mut self) {
        let mut outcome = self.outcome;
        if outcome == Outcome::DROPPED && self.deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            outcome = Outcome::of(Some(Code::DeadlineExceeded));
        }
        self.record(outcome);
    }
}

impl Drop for Timing {
    #[inline]
    fn drop(&mut self) {
        if self.method.is_some() {
            self.abandon();
        }
    }
}
