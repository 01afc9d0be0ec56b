//! Pages on what needs more than a line: documentation only.

#[doc = include_str!("../docs/channels.md")]
pub mod channels {}

#[doc = include_str!("../docs/signatures.md")]
pub mod signatures {}

#[doc = include_str!("../docs/values.md")]
pub mod values {}
