//! What makes calls: what generated clients share, and connections that are replaced.

pub(crate) mod backoff;
pub mod balanced;
pub(crate) mod box_channel;
pub(crate) mod call;
pub(crate) mod core;
pub(crate) mod health;
pub(crate) mod in_process;
pub(crate) mod raw_call;
pub mod reconnect;
pub(crate) mod reflection;
pub(crate) mod resolver;
