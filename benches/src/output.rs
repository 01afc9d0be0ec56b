//! What is said of the results: lines of JSON, tables, a document, charts, the targets.

pub(crate) mod charts;
mod machine;
pub(crate) mod markdown;
pub(crate) mod report;
mod svg;
mod table;
pub(crate) mod targets;
