//! The serving end of calls: which service, how its handler runs, what the handler sees.

pub(crate) mod admission;
pub(crate) mod authorize;
pub(crate) mod call;
pub(crate) mod context;
pub(crate) mod health;
pub(crate) mod inline_policy;
mod reflection;
pub(crate) mod rooms;
pub(crate) mod router;
pub(crate) mod streamed;
