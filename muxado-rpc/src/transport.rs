//! What connections run over: addresses, sockets, child processes, connectors.

#[cfg(all(unix, feature = "socket-activation"))]
pub(crate) mod activation;
pub(crate) mod address;
pub(crate) mod child;
pub(crate) mod connector;
pub(crate) mod credentials;
pub(crate) mod dial;
mod race;
pub(crate) mod socket;
#[cfg(unix)]
pub(crate) mod socket_file;
#[cfg(unix)]
pub(crate) mod stdio;
pub(crate) mod target;
pub(crate) mod tcp;
mod words;
