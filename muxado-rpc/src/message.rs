//! What a Tower layer sees of a call: requests, responses, metadata, statuses.

pub(crate) mod app_error;
pub(crate) mod body;
pub(crate) mod call_error;
pub(crate) mod extensions;
pub(crate) mod health;
pub(crate) mod layered;
pub(crate) mod limits;
pub(crate) mod metadata;
pub(crate) mod method;
pub(crate) mod method_ref;
pub(crate) mod payload;
pub(crate) mod peer_id;
pub(crate) mod peer_info;
pub(crate) mod raw_error;
pub(crate) mod raw_value;
pub(crate) mod reflection;
pub(crate) mod request;
pub(crate) mod response;
pub(crate) mod scope;
pub(crate) mod service_schema;
pub(crate) mod status;
pub(crate) mod trace_context;

/// The boxed error of Tower layers and handshakes.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
