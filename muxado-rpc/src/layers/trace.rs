//! A span per call, and the context of its trace across connections.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project::pin_project;
use tower_layer::Layer;
use tower_service::Service;
use tracing::{Span, field, level_filters::LevelFilter};

#[cfg(feature = "otel")]
use super::otel::{self, Joined};
use super::{
    TraceContext,
    convention::{MethodName, OriginalName, Side},
};
use crate::{
    Body, BodyEnd, BoxError, Code, PeerInfo, Request, Response, Status,
    message::{limits::SendLimit, status},
    stream::body::{BodySource, BodyStream, BoxBodySource, Step},
};

/// Creates a `tracing` span for each call and passes W3C trace context on in its metadata.
///
/// The span is named `rpc`, has level `INFO`, and these fields, as OpenTelemetry's [conventions for RPC spans] have them
/// where they have any:
///
/// | field | value |
/// |---|---|
/// | `otel.name` | the same as `rpc.method`; `tracing-opentelemetry` makes it the span's name |
/// | `otel.kind` | `client` or `server` |
/// | `otel.status_code` | `ERROR` if the call failed: on the serving side only with `unknown`, `deadline_exceeded`, `unimplemented`, `internal`, `unavailable` or `data_loss`, which are not the caller's fault |
/// | `rpc.system.name` | `muxado` |
/// | `rpc.method` | `Service/method`; `_OTHER` for a method of [unknown shape](crate::Shape::Unknown), whose name is the caller's |
/// | `rpc.method_original` | the name of such a method |
/// | `rpc.response.status_code` | `ok`, or the [`Code`] of the status or of the [application's error](crate::AppError); `cancelled` for a call that is dropped and a stream that is not read to its end |
/// | `error.type` | the code of a call that failed |
/// | `peer` | who is at the other end, if known |
/// | `trace_id`, `span_id` | the ids of the trace context |
/// | `parent_id` | the parent's span id; empty for the first span of a trace |
///
/// On the calling side the call belongs to the trace that its metadata names, or else to the trace of the call that
/// this task serves, or else to a new trace. On the serving side it belongs to the trace that came with it, or else
/// to a new one. No new trace begins with a call whose span nobody records: without a subscriber, a trace that came from
/// elsewhere is passed on, and calls that belong to none cost next to nothing. The handler runs inside the span, and so do the calls it makes and the tasks it spawns with
/// [`Context::spawn`](crate::Context::spawn). Other tasks belong to the trace only inside [`TraceContext::scope`].
///
/// With the feature `otel` the span joins OpenTelemetry: if a layer of `tracing-opentelemetry` 0.34 records it, the trace
/// context that travels is the span's own, its parent on the serving side is the span of the caller, and on the calling side
/// the current span of the program, unless metadata name another. The calls of a request through any number of servers
/// are then one tree of spans.
///
/// The span of a streaming call lasts until the stream has ended, and the stream of the handler is polled inside it.
/// On the serving side the [`TraceContext`] is one of the [extensions](Request::extensions) of the request.
///
/// [conventions for RPC spans]: https://opentelemetry.io/docs/specs/semconv/rpc/rpc-spans/
///
/// ```
/// use muxado_rpc::{Peer, layers::TraceLayer};
///
/// let builder = Peer::builder().layer(TraceLayer::server());
/// ```
#[derive(Clone, Debug)]
pub struct TraceLayer {
    side: Side,
    peer: Option<PeerInfo>,
}

impl TraceLayer {
    /// Creates a layer for the calling side, to be put around a channel.
    pub fn client() -> Self {
        Self { side: Side::Client, peer: None }
    }

    /// Creates a layer for the serving side, for `layer` of a builder or around one service.
    pub fn server() -> Self {
        Self { side: Side::Server, peer: None }
    }

    /// Sets the field `peer` of spans on the calling side. On the serving side the connection says who calls.
    #[must_use]
    pub fn peer_info(mut self, peer: PeerInfo) -> Self {
        self.peer = Some(peer);
        self
    }

    /// The former name of [`peer_info`](Self::peer_info).
    #[deprecated(note = "renamed to `peer_info`")]
    #[must_use]
    pub fn peer(self, peer: PeerInfo) -> Self {
        self.peer_info(peer)
    }

    fn span(&self, request: &Request) -> Span {
        let name = MethodName(request.method());
        let span = tracing::info_span!(
            "rpc",
            otel.name = %name,
            otel.kind = if self.side == Side::Client { "client" } else { "server" },
            otel.status_code = field::Empty,
            rpc.system.name = "muxado",
            rpc.method = %name,
            rpc.method_original = field::Empty,
            rpc.response.status_code = field::Empty,
            error.type = field::Empty,
            peer = field::Empty,
            trace_id = field::Empty,
            span_id = field::Empty,
            parent_id = field::Empty,
        );
        if !span.is_disabled() {
            if !name.is_recognized() {
                span.record("rpc.method_original", field::display(OriginalName(name.0)));
            }
            if let Some(peer) = request.peer_info().or(self.peer.as_ref()) {
                span.record("peer", field::display(peer));
            }
        }
        span
    }
}

impl<S> Layer<S> for TraceLayer {
    type Service = Trace<S>;

    fn layer(&self, inner: S) -> Trace<S> {
        Trace { inner, layer: self.clone() }
    }
}

/// A service inside a [`TraceLayer`].
#[derive(Clone, Debug)]
pub struct Trace<S> {
    inner: S,
    layer: TraceLayer,
}

accessors!(Trace<S>);

impl<S> Service<Request> for Trace<S>
where
    S: Service<Request, Response = Response, Error: Into<BoxError>>,
{
    type Response = Response;
    type Error = Status;
    type Future = TraceFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        self.inner.poll_ready(cx).map_err(to_status)
    }

    fn call(&mut self, mut request: Request) -> TraceFuture<S::Future> {
        let is_client = self.layer.side == Side::Client;
        let named = TraceContext::from_metadata(request.metadata());
        if named.is_none() && nobody_records() && !(is_client && TraceContext::is_current()) {
            return TraceFuture { call: self.inner.call(request), traced: None };
        }
        let span = self.layer.span(&request);
        let context = place_in_trace(&span, named, is_client);
        let inner = &mut self.inner;
        let call = match &context {
            Some(context) => {
                if is_client {
                    context.insert_into(request.metadata_mut());
                } else {
                    request.extensions_mut().insert(context.clone());
                }
                span.in_scope(|| context.sync_scope(|| inner.call(request)))
            }
            None => inner.call(request),
        };
        // On the calling side other calls of the same task do not belong to this one.
        let context = context.filter(|_| !is_client);
        TraceFuture {
            call,
            traced: Some(Box::new(Traced { span, side: self.layer.side, context, ended: false })),
        }
    }
}

/// Whether no subscriber takes spans of this level, which is known without asking it.
fn nobody_records() -> bool {
    LevelFilter::current() < LevelFilter::INFO
}

/// Returns the context of the call of a span, whose metadata name this parent. `None` if it belongs to no trace, and
/// nobody would learn of a new one.
fn place_in_trace(span: &Span, named: Option<TraceContext>, is_client: bool) -> Option<TraceContext> {
    let served = || if is_client { TraceContext::current() } else { None };
    #[cfg(feature = "otel")]
    if let Some(Joined { context, parent }) = otel::join(span, named.as_ref(), served) {
        note_ids(span, &context, parent.as_ref());
        return Some(context);
    }
    let parent = named.or_else(served);
    if parent.is_none() && span.is_disabled() {
        return None;
    }
    let context = parent.as_ref().map_or_else(TraceContext::root, TraceContext::child);
    note_ids(span, &context, parent.as_ref());
    Some(context)
}

fn note_ids(span: &Span, context: &TraceContext, parent: Option<&TraceContext>) {
    if span.is_disabled() {
        return;
    }
    span.record("trace_id", context.trace_id()).record("span_id", context.span_id());
    if let Some(parent) = parent {
        span.record("parent_id", parent.span_id());
    }
}

/// A call through a [`Trace`].
#[pin_project]
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct TraceFuture<F> {
    #[pin]
    call: F,
    /// `None` if nobody learns of the call. Apart, because futures are moved.
    traced: Option<Box<Traced>>,
}

/// What there is of a call that somebody may learn of.
#[derive(Debug)]
struct Traced {
    span: Span,
    side: Side,
    /// The context of a call that is being served.
    context: Option<TraceContext>,
    /// The outcome is recorded, or will be by the items.
    ended: bool,
}

impl<F, E> Future for TraceFuture<F>
where
    F: Future<Output = Result<Response, E>>,
    E: Into<BoxError>,
{
    type Output = Result<Response, Status>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        match this.traced {
            None => this.call.poll(cx).map_err(to_status),
            Some(traced) => traced.poll(this.call, cx),
        }
    }
}

impl Traced {
    fn poll<F, E>(&mut self, call: Pin<&mut F>, cx: &mut Context<'_>) -> Poll<Result<Response, Status>>
    where
        F: Future<Output = Result<Response, E>>,
        E: Into<BoxError>,
    {
        let _entered = self.span.enter();
        let polled = match &self.context {
            Some(context) => context.sync_scope(|| call.poll(cx)),
            None => call.poll(cx),
        };
        let mut result = ready!(polled).map_err(to_status);
        self.ended = true;
        match &mut result {
            Ok(response) => {
                let failed = response.error_code();
                match response.body_mut() {
                    Some(items) => trace_items(items, &self.span, self.side, self.context.as_ref()),
                    None => record(&self.span, self.side, failed),
                }
            }
            Err(status) => record(&self.span, self.side, Some(status.code())),
        }
        Poll::Ready(result)
    }
}

impl Drop for Traced {
    fn drop(&mut self) {
        if !self.ended {
            record(&self.span, self.side, Some(Code::Cancelled));
        }
    }
}

/// Notes how a call ended.
fn record(span: &Span, side: Side, failed: Option<Code>) {
    let Some(code) = failed else {
        span.record("rpc.response.status_code", "ok");
        return;
    };
    span.record("rpc.response.status_code", code.as_str()).record("error.type", code.as_str());
    if side.blames(code) {
        span.record("otel.status_code", "ERROR");
    }
}

/// Keeps the span for as long as there are items.
fn trace_items(items: &mut Body, span: &Span, side: Side, context: Option<&TraceContext>) {
    if !span.is_disabled() || context.is_some() {
        let (span, context) = (span.clone(), context.cloned());
        BodyStream::wrap(items, |items| Box::pin(TracedItems { items, span, context }));
    }
    if !span.is_disabled() {
        let span = span.clone();
        items.on_end(move |end| match end {
            BodyEnd::Complete => record(&span, side, None),
            BodyEnd::Failed(code) => record(&span, side, Some(code)),
            BodyEnd::Dropped => record(&span, side, Some(Code::Cancelled)),
        });
    }
}

/// Items that are made inside a span.
struct TracedItems {
    items: BoxBodySource,
    span: Span,
    context: Option<TraceContext>,
}

impl BodySource for TracedItems {
    fn poll_fill(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        limit: SendLimit,
        buf: &mut Vec<u8>,
    ) -> Poll<Step> {
        let this = self.get_mut();
        let _entered = this.span.enter();
        match &this.context {
            Some(context) => context.sync_scope(|| this.items.as_mut().poll_fill(cx, limit, buf)),
            None => this.items.as_mut().poll_fill(cx, limit, buf),
        }
    }

    fn is_absent(&self) -> bool {
        self.items.is_absent()
    }
}

fn to_status(error: impl Into<BoxError>) -> Status {
    status::from_box_error(error.into())
}
