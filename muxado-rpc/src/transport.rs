//! What connections run over: addresses, sockets, connectors, TLS.

pub(crate) mod address;
pub(crate) mod connector;
pub(crate) mod identity;
pub(crate) mod security;
pub(crate) mod socket;
#[cfg(unix)]
pub(crate) mod socket_file;
#[cfg(feature = "__tls")]
pub(crate) mod tls;
