//! Messages on their way over a stream: one reader, one writer, one deadline, and bodies of many items.

pub(crate) mod body;
pub(crate) mod deadline;
pub(crate) mod half;
pub(crate) mod reader;
pub(crate) mod streaming;
pub(crate) mod writer;
