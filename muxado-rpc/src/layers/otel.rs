//! Spans of `tracing` that OpenTelemetry records, and their place in a trace across connections.

use std::sync::Arc;

use opentelemetry::{
    Context,
    trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState},
};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

use super::TraceContext;

/// The contexts of the span of a call, and of its parent.
pub(super) struct Joined {
    pub(super) context: TraceContext,
    pub(super) parent: Option<TraceContext>,
}

/// Gives a new span its place in a trace of OpenTelemetry. `None` if no layer of `tracing-opentelemetry` sees it.
///
/// Its parent is the one that metadata name, else the span of the program that is current, else the call that this task
/// serves.
pub(super) fn join(
    span: &Span,
    named: Option<&TraceContext>,
    served: impl FnOnce() -> Option<TraceContext>,
) -> Option<Joined> {
    if span.is_disabled() {
        return None;
    }
    let parent = match named {
        Some(named) => Some(named.clone()),
        None => match current() {
            // The new span has it as its parent already.
            Some(current) => return Some(Joined { context: started(span)?, parent: Some(current) }),
            None => served(),
        },
    };
    if let Some(parent) = &parent {
        let remote = Context::new().with_remote_span_context(to_otel(parent));
        span.set_parent(remote).ok()?;
    }
    Some(Joined { context: started(span)?, parent })
}

/// Returns the context of the current span of the program, if OpenTelemetry records it.
fn current() -> Option<TraceContext> {
    from_otel(Span::current().context().span().span_context())
        .or_else(|| Context::map_current(|context| from_otel(context.span().span_context())))
}

/// Starts a span, and returns its context.
fn started(span: &Span) -> Option<TraceContext> {
    from_otel(span.context().span().span_context())
}

fn to_otel(context: &TraceContext) -> SpanContext {
    let (trace_id, span_id, flags) = context.ids();
    SpanContext::new(
        TraceId::from(trace_id),
        SpanId::from(span_id),
        TraceFlags::new(flags),
        true,
        // One that OpenTelemetry cannot read is not passed on.
        context.state().and_then(|state| state.parse::<TraceState>().ok()).unwrap_or_default(),
    )
}

fn from_otel(context: &SpanContext) -> Option<TraceContext> {
    let state = context.trace_state().header();
    let state = (!state.is_empty()).then(|| Arc::from(state));
    let trace_id = u128::from_be_bytes(context.trace_id().to_bytes());
    let span_id = u64::from_be_bytes(context.span_id().to_bytes());
    let flags = context.trace_flags().to_u8();
    context.is_valid().then(|| TraceContext::from_ids(trace_id, span_id, flags, state))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contexts_come_back_as_they_were() {
        let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let metadata = [("traceparent", parent), ("tracestate", "a=1,b=2")].into();
        let context = TraceContext::from_metadata(&metadata).unwrap();
        let otel = to_otel(&context);
        assert!(otel.is_remote() && otel.is_sampled());
        assert_eq!(from_otel(&otel), Some(context));
        assert_eq!(from_otel(&SpanContext::NONE), None);
    }

    #[test]
    fn a_span_that_nobody_records_joins_nothing() {
        assert!(join(&Span::none(), None, || None).is_none());
    }
}
