//! What connections run over: addresses, sockets, child processes, connectors, TLS, WebSocket.

#[cfg(all(unix, feature = "socket-activation"))]
pub(crate) mod activation;
pub(crate) mod address;
pub(crate) mod child;
pub(crate) mod connector;
pub(crate) mod credentials;
pub(crate) mod dial;
pub(crate) mod identity;
#[cfg(any(feature = "__tls", feature = "ws"))]
mod linger;
mod race;
pub(crate) mod security;
pub(crate) mod socket;
#[cfg(unix)]
pub(crate) mod socket_file;
#[cfg(unix)]
pub(crate) mod stdio;
pub(crate) mod target;
pub(crate) mod tcp;
#[cfg(feature = "__tls")]
pub(crate) mod tls;
pub(crate) mod websocket;
mod words;
mod wrap;
