//! Messages on their way over a stream: readers, writers, and bodies of many items.

pub(crate) mod items;
pub(crate) mod streaming;
