//! What connections run over: addresses, sockets, connectors.

pub(crate) mod address;
pub(crate) mod connector;
pub(crate) mod socket;
#[cfg(unix)]
pub(crate) mod socket_file;
