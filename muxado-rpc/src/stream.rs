//! Messages on their way over a stream: readers, writers, and bodies of many items.

pub(crate) mod body;
pub(crate) mod streaming;
