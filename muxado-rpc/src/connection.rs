//! One connection: its task, the calls of both ends, and what all its handles share.

pub(crate) mod channel;
pub(crate) mod control;
pub(crate) mod link;
pub(crate) mod peer;
pub(crate) mod serving;
pub(crate) mod setup;
pub(crate) mod tally;
pub(crate) mod task;
