//! WebSocket: a session as binary messages.
//!
//! | question | file |
//! |---|---|
//! | how do messages become a transport | `io`, over what `message` says of a library's messages |
//! | how is a connection made, and how is one accepted | `client`, `upgrade` |
//! | what was asked for, and with which headers | `request` |
//! | what went wrong, by name | `error` |
//! | what runs under a session | `socket` |

#[cfg(feature = "ws")]
mod client;
#[cfg(feature = "__ws")]
pub(crate) mod error;
#[cfg(feature = "__ws")]
pub(crate) mod io;
#[cfg(feature = "__ws")]
pub(crate) mod message;
#[cfg(feature = "__ws")]
pub(crate) mod request;
#[cfg(feature = "ws")]
pub(crate) mod socket;
#[cfg(feature = "ws")]
pub(crate) mod upgrade;

#[cfg(feature = "ws")]
use std::sync::Arc;

use super::{address::Address, connector::BoxIo};

/// How connections that are made are upgraded to WebSocket: nothing at all in a build without it.
#[derive(Clone, Debug, Default)]
pub(crate) struct ClientWebSocket {
    #[cfg(feature = "ws")]
    headers: Arc<client::Headers>,
}

impl ClientWebSocket {
    /// Adds a header to the request.
    #[cfg(feature = "ws")]
    pub(crate) fn add_header(&mut self, name: String, value: String) {
        Arc::make_mut(&mut self.headers).add(name, value);
    }

    /// Returns the transport over which the session runs: `io` itself unless the address is one of WebSocket.
    pub(crate) async fn upgrade(&self, address: &Address, io: BoxIo) -> std::io::Result<BoxIo> {
        match address.kind() {
            #[cfg(feature = "ws")]
            super::address::AddressKind::WebSocket(url) => {
                Ok(Box::new(client::connect(url, &self.headers, io).await?))
            }
            #[cfg(not(feature = "ws"))]
            super::address::AddressKind::WebSocket(_) => Err(no_websocket()),
            _ => Ok(io),
        }
    }
}

/// The error of an address of WebSocket in a build without it.
#[cfg(not(feature = "ws"))]
pub(crate) fn no_websocket() -> std::io::Error {
    let problem = "ws:// and wss:// need the feature `ws` of muxado-rpc";
    std::io::Error::new(std::io::ErrorKind::Unsupported, problem)
}

/// Bytes of a message that is received, and of a frame of it. The largest message that this side sends has 64 KiB.
#[cfg(feature = "__ws")]
pub(crate) const MAX_MESSAGE: usize = 1024 * 1024;

/// Bytes of written messages that wait for the transport: one message, and answers to pings.
#[cfg(feature = "__ws")]
pub(crate) const MAX_WRITE_BUFFER: usize = 256 * 1024;

/// Bytes that are read at once. Each connection has a buffer of this size.
#[cfg(feature = "__ws")]
pub(crate) const READ_BUFFER: usize = 16 * 1024;

/// The settings of a WebSocket.
#[cfg(feature = "ws")]
fn config() -> tokio_tungstenite::tungstenite::protocol::WebSocketConfig {
    tokio_tungstenite::tungstenite::protocol::WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        // A message is a batch already, and is written when it is sent.
        .write_buffer_size(0)
        .max_write_buffer_size(MAX_WRITE_BUFFER)
        .max_message_size(Some(MAX_MESSAGE))
        .max_frame_size(Some(MAX_MESSAGE))
}
