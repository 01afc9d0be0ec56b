//! What goes wrong with WebSocket, by name.

use std::{error::Error, fmt, io};

use super::MAX_MESSAGE;
use crate::support::{sources::find, truncate::Brief};

/// Why a connection over WebSocket could not be made, or has ended.
///
/// It lies in the `io::Error` of [`ConnectError::Io`](crate::ConnectError::Io) and of the end of a session;
/// [`WebSocketError::of`] finds it.
///
/// ```
/// use muxado_rpc::{ConnectError, WebSocketError};
///
/// fn advice(error: &ConnectError) -> &'static str {
///     match WebSocketError::of(error) {
///         Some(WebSocketError::Status { status: 401 | 403, .. }) => "the token is not accepted",
///         Some(WebSocketError::Status { status: 404, .. }) => "the path is another one",
///         Some(WebSocketError::NotHttp) => "the server speaks no WebSocket: try tcp://",
///         _ => "try again later",
///     }
/// }
/// # let _ = advice;
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WebSocketError {
    /// The server answers the upgrade with another status than 101. Redirects are not followed.
    #[error("the server answers the WebSocket upgrade with HTTP status {}{}", Status(*.status), To(.location))]
    Status {
        /// The status.
        status: u16,
        /// Where the server sends the client to.
        location: Option<String>,
    },
    /// What the peer sends is not HTTP.
    #[error("the peer does not speak HTTP, with which WebSocket begins, on this port")]
    NotHttp,
    /// What the client asks for is refused.
    #[error("the WebSocket upgrade is refused: {0}")]
    Refused(String),
    /// The peer sends a text message.
    #[error("the peer sends a WebSocket text message; sessions are made of binary ones")]
    Text,
    /// The peer sends a message or a frame that is too large.
    #[error("the peer sends a WebSocket message of more than {} bytes", MAX_MESSAGE)]
    TooLarge,
    /// The peer has closed the WebSocket because of an error.
    #[error("the peer has closed the WebSocket with code {code}: {}", Brief(.reason))]
    Closed {
        /// The code, as RFC 6455 §7.4.1 lists them.
        code: u16,
        /// What the peer says about it.
        reason: String,
    },
    /// The connection ended before the upgrade was done.
    #[error("the peer ended the connection in the WebSocket upgrade")]
    Cut,
    /// A header that was set for the request has a name or a value that is not valid.
    #[error("{} is no valid header (PeerBuilder::websocket_header)", Brief(.0))]
    InvalidHeader(String),
    /// Something else, in the words of the library.
    #[error("WebSocket failed: {0}")]
    Other(String),
}

struct Status(u16);

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        #[cfg(feature = "ws")]
        if let Ok(status) = tokio_tungstenite::tungstenite::http::StatusCode::from_u16(self.0) {
            // With its name.
            return status.fmt(f);
        }
        self.0.fmt(f)
    }
}

struct To<'a>(&'a Option<String>);

impl fmt::Display for To<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(location) => write!(f, ", to {}", Brief(location)),
            None => Ok(()),
        }
    }
}

impl WebSocketError {
    /// Returns the WebSocket error that lies in an error, or in one of its sources.
    pub fn of<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Self> {
        find(error)
    }

    /// Returns with which code a connection that ends by this is closed, and what is said.
    pub(super) const fn close_code(&self) -> (u16, &'static str) {
        match self {
            Self::Text => (1003, "binary messages only"),
            Self::TooLarge => (1009, "more than 1 MiB"),
            _ => (1002, "protocol error"),
        }
    }
}

impl From<WebSocketError> for io::Error {
    fn from(error: WebSocketError) -> Self {
        let kind = match error {
            WebSocketError::Cut => io::ErrorKind::UnexpectedEof,
            WebSocketError::InvalidHeader(_) => io::ErrorKind::InvalidInput,
            WebSocketError::Status { status: 401 | 403, .. } => io::ErrorKind::PermissionDenied,
            WebSocketError::Closed { .. } => io::ErrorKind::ConnectionAborted,
            _ => io::ErrorKind::InvalidData,
        };
        Self::new(kind, error)
    }
}

/// The error of a library, whatever it is.
pub(super) type LibraryError = Box<dyn Error + Send + Sync>;

/// Names the error of a library. `None` if the connection has ended, without a close message or behind one.
pub(super) fn of_library(error: LibraryError) -> Option<io::Error> {
    #[cfg(feature = "ws")]
    let error = match error.downcast::<tokio_tungstenite::tungstenite::Error>() {
        Ok(error) => return tungstenite::named(*error),
        Err(error) => error,
    };
    match error.downcast::<io::Error>() {
        Ok(error) => Some(*error),
        Err(error) => Some(io::Error::other(error)),
    }
}

#[cfg(feature = "ws")]
pub(super) mod tungstenite {
    use std::io;

    use tokio_tungstenite::tungstenite::{
        Error,
        error::{CapacityError, ProtocolError},
        http::header::LOCATION,
    };

    use super::WebSocketError;
    use crate::support::truncate::brief;

    /// Names the error of a message; `None` if the connection has ended.
    pub(super) fn named(error: Error) -> Option<io::Error> {
        match error {
            Error::ConnectionClosed
            | Error::AlreadyClosed
            | Error::Protocol(
                ProtocolError::ResetWithoutClosingHandshake | ProtocolError::SendAfterClosing,
            ) => None,
            Error::Io(error) => Some(error),
            Error::Capacity(CapacityError::MessageTooLong { .. }) => Some(WebSocketError::TooLarge.into()),
            other => Some(other_error(other).into()),
        }
    }

    /// Names the error of an upgrade on the side that connects.
    pub(in crate::transport::websocket) fn of_upgrade(error: Error) -> io::Error {
        let named = match error {
            Error::Io(error) => return error,
            Error::Http(response) => {
                let location = response.headers().get(LOCATION);
                let location = location.map(|value| brief(value.as_bytes().escape_ascii(), MAX_TEXT));
                WebSocketError::Status { status: response.status().as_u16(), location }
            }
            Error::Protocol(ProtocolError::HandshakeIncomplete) => WebSocketError::Cut,
            Error::Protocol(ProtocolError::HttparseError(_) | ProtocolError::WrongHttpVersion) => {
                WebSocketError::NotHttp
            }
            other => other_error(other),
        };
        named.into()
    }

    fn other_error(error: Error) -> WebSocketError {
        WebSocketError::Other(match error {
            Error::Protocol(error) => brief(error, MAX_TEXT),
            other => brief(other, MAX_TEXT),
        })
    }

    /// Bytes that are shown of what may be a peer's text.
    const MAX_TEXT: usize = 256;
}
