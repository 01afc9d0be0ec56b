//! What every room uses: caught panics, time, texts as they are shown, budgets.

pub(crate) mod budget;
pub(crate) mod deadline;
pub(crate) mod depth;
pub(crate) mod exclusive;
pub(crate) mod large_buffers;
pub(crate) mod log_limit;
pub(crate) mod panics;
pub(crate) mod random;
#[cfg(any(feature = "__tls", feature = "__ws"))]
pub(crate) mod sources;
pub(crate) mod timer;
pub(crate) mod truncate;
#[cfg(feature = "metrics")]
pub(crate) mod turn_clock;
