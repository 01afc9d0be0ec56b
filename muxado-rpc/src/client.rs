//! What makes calls: what generated clients share, and connections that are replaced.

pub(crate) mod backoff;
pub(crate) mod call;
pub(crate) mod core;
pub(crate) mod in_process;
pub mod reconnect;
