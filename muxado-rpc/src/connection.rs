//! One connection: its task, the calls of both ends, and what all its handles share.

pub(crate) mod bounds;
pub(crate) mod capabilities;
pub(crate) mod channel;
pub(crate) mod metrics;
pub(crate) mod past_calls;
pub(crate) mod peer;
mod ping;
pub(crate) mod serving;
pub(crate) mod setup;
pub(crate) mod shared;
pub(crate) mod task;
#[cfg(feature = "metrics")]
pub(crate) mod totals;
