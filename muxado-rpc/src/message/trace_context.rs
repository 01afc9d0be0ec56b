//! The trace that a call belongs to: W3C Trace Context, level 1.

use std::{fmt, future::Future, sync::Arc};

use crate::{Metadata, support::random};

/// The trace that a call belongs to, in [W3C Trace Context](https://www.w3.org/TR/trace-context/) form.
///
/// It travels in the metadata of a request, as `traceparent` and `tracestate`. In a handler inside a
/// [`TraceLayer`](crate::layers::TraceLayer), [`current`](Self::current) returns the context of the call being served.
///
/// ```
/// use muxado_rpc::{Metadata, layers::TraceContext};
///
/// let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
/// let context = TraceContext::from_metadata(&[("traceparent", parent)].into()).unwrap();
/// assert_eq!(context.trace_id(), "0af7651916cd43dd8448eb211c80319c");
/// assert_eq!(context.to_string(), parent);
/// assert_ne!(context.child().span_id(), context.span_id());
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct TraceContext {
    trace_id: u128,
    span_id: u64,
    flags: u8,
    state: Option<Arc<str>>,
}

tokio::task_local! {
    static CURRENT: TraceContext;
}

impl TraceContext {
    /// Creates the context of a new trace, with random ids and the sampled flag set.
    pub fn root() -> Self {
        let trace_id = u128::from(random::next()) << 64 | u128::from(nonzero());
        Self { trace_id, span_id: nonzero(), flags: SAMPLED, state: None }
    }

    /// Returns the context that metadata carries. `None` if there is none or it is not valid.
    ///
    /// A `tracestate` that is not valid or longer than 512 bytes is left out.
    pub fn from_metadata(metadata: &Metadata) -> Option<Self> {
        let mut context = Self::parse(metadata.get(TRACEPARENT)?)?;
        let is_valid =
            |state: &&str| state.len() <= MAX_STATE && state.bytes().all(|b| (0x20..0x7F).contains(&b));
        context.state = metadata.get(TRACESTATE).filter(is_valid).map(Into::into);
        Some(context)
    }

    /// Returns the context of the call that this task serves.
    pub fn current() -> Option<Self> {
        CURRENT.try_with(Clone::clone).ok()
    }

    /// Returns whether this task serves a call that belongs to a trace.
    pub(crate) fn is_current() -> bool {
        CURRENT.try_with(|_| ()).is_ok()
    }

    /// Returns a context of the same trace with a new span id.
    #[must_use]
    pub fn child(&self) -> Self {
        Self { span_id: nonzero(), ..self.clone() }
    }

    /// Runs a future in this context. A task that a handler spawns has no context without it.
    pub async fn scope<F: Future>(self, future: F) -> F::Output {
        CURRENT.scope(self, future).await
    }

    /// Returns a future that runs in the current context, if there is one.
    pub(crate) fn inherit<F: Future>(future: F) -> impl Future<Output = F::Output> {
        let current = Self::current();
        async move {
            match current {
                Some(context) => context.scope(future).await,
                None => future.await,
            }
        }
    }

    /// Runs a closure in this context.
    pub(crate) fn sync_scope<T>(&self, run: impl FnOnce() -> T) -> T {
        CURRENT.sync_scope(self.clone(), run)
    }

    /// Inserts the context into metadata, in place of an earlier one.
    pub fn insert_into(&self, metadata: &mut Metadata) {
        metadata.insert(TRACEPARENT, self.to_string());
        match &self.state {
            Some(state) => metadata.insert(TRACESTATE, &**state),
            None => metadata.remove(TRACESTATE),
        };
    }

    /// Puts a context together that another library has made.
    #[cfg(feature = "otel")]
    pub(crate) fn from_ids(trace_id: u128, span_id: u64, flags: u8, state: Option<Arc<str>>) -> Self {
        Self { trace_id, span_id, flags, state: state.filter(|state| state.len() <= MAX_STATE) }
    }

    /// Returns the ids of trace and span, and the flags.
    #[cfg(feature = "otel")]
    pub(crate) const fn ids(&self) -> (u128, u64, u8) {
        (self.trace_id, self.span_id, self.flags)
    }

    /// Returns the id of the trace as 32 hexadecimal digits.
    pub fn trace_id(&self) -> String {
        format!("{:032x}", self.trace_id)
    }

    /// Returns the id of the span as 16 hexadecimal digits.
    pub fn span_id(&self) -> String {
        format!("{:016x}", self.span_id)
    }

    /// Returns whether the sampled flag is set: the caller may have recorded the trace.
    pub fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// Returns the `tracestate`: what tracing systems add of their own.
    pub fn state(&self) -> Option<&str> {
        self.state.as_deref()
    }

    /// `version-trace-span-flags`. Later versions may add fields behind these.
    fn parse(text: &str) -> Option<Self> {
        let mut fields = text.split('-');
        let version = hex::<2>(fields.next()?)?;
        let trace_id = hex::<32>(fields.next()?)?;
        let span_id = hex::<16>(fields.next()?)? as u64;
        let flags = hex::<2>(fields.next()?)? as u8;
        let is_later = version > 0;
        if version == 0xFF || trace_id == 0 || span_id == 0 || (fields.next().is_some() && !is_later) {
            return None;
        }
        // Flags of later versions are not known here.
        let flags = if is_later { flags & SAMPLED } else { flags };
        Some(Self { trace_id, span_id, flags, state: None })
    }
}

/// Prints the `traceparent` text, in version 00.
impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace_id, self.span_id, self.flags)
    }
}

/// Leaves the `tracestate` out, which may be confidential.
impl fmt::Debug for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TraceContext").field(&format_args!("{self}")).finish()
    }
}

/// Lower-case digits, exactly so many.
fn hex<const DIGITS: usize>(text: &str) -> Option<u128> {
    let is_digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    if text.len() != DIGITS || !text.bytes().all(is_digit) {
        return None;
    }
    u128::from_str_radix(text, 16).ok()
}

fn nonzero() -> u64 {
    random::next().max(1)
}

const TRACEPARENT: &str = "traceparent";
const TRACESTATE: &str = "tracestate";

/// The flag of traces that are recorded.
const SAMPLED: u8 = 1;

/// Bytes of `tracestate` that are passed on: those that the specification asks for.
const MAX_STATE: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    const VALID: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn valid_contexts_come_back_as_they_were() {
        for flags in ["00", "01", "ff"] {
            let text = format!("{}{flags}", &VALID[..53]);
            let context = TraceContext::parse(&text).unwrap();
            assert_eq!(context.to_string(), text);
            assert_eq!(context.is_sampled(), flags != "00");
        }
        let later = TraceContext::parse(&format!("cc{}-what-follows", &VALID[2..])).unwrap();
        assert_eq!(later.to_string(), VALID);
    }

    #[test]
    fn what_the_specification_forbids_is_no_context() {
        let zeros = |from: usize, to: usize| {
            let mut text = VALID.to_owned();
            text.replace_range(from..to, &"0".repeat(to - from));
            text
        };
        let invalid = [
            String::new(),
            VALID.to_uppercase(),
            VALID[..54].to_owned(),
            format!("{VALID}-00"),
            format!("{VALID}0"),
            format!(" {VALID}"),
            format!("ff{}", &VALID[2..]),
            VALID.replace('-', "_"),
            VALID.replace("0af7", "+af7"),
            zeros(3, 35),
            zeros(36, 52),
        ];
        for text in invalid {
            assert_eq!(TraceContext::parse(&text), None, "{text}");
        }
    }

    #[test]
    fn a_state_goes_along_if_it_is_valid() {
        let state = |state: &str| {
            let metadata = Metadata::from([(TRACEPARENT, VALID), (TRACESTATE, state)]);
            let child = TraceContext::from_metadata(&metadata).unwrap().child();
            let mut sent = Metadata::from([(TRACESTATE, "old")]);
            child.insert_into(&mut sent);
            sent.get(TRACESTATE).map(str::to_owned)
        };
        assert_eq!(state("a=1,b=2").as_deref(), Some("a=1,b=2"));
        assert_eq!(state(&"x".repeat(512)).map(|state| state.len()), Some(512));
        assert_eq!(state(&"x".repeat(513)), None);
        assert_eq!(state("a=\n"), None);
    }

    #[test]
    fn ids_are_new_and_valid() {
        let (first, second) = (TraceContext::root(), TraceContext::root());
        assert_ne!(first.trace_id(), second.trace_id());
        assert_eq!(TraceContext::parse(&first.to_string()).as_ref(), Some(&first));
        let child = first.child();
        assert_eq!((child.trace_id(), child.flags), (first.trace_id(), first.flags));
        assert_ne!(child.span_id(), first.span_id());
    }
}
