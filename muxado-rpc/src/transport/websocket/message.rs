//! What is known of the messages of a WebSocket library.

use bytes::Bytes;

/// A message of a WebSocket library, for [`WebSocketIo`](crate::WebSocketIo).
///
/// Implemented for the messages of tokio-tungstenite (feature `ws`) and of axum (feature `axum`). Messages of another
/// library are mapped to and from [`WebSocketFrame`], which is one, too.
pub trait WebSocketMessage {
    /// Creates a binary message.
    fn binary(data: Bytes) -> Self;

    /// Creates a close message with a code of RFC 6455 §7.4.1 and a reason of up to 123 bytes.
    fn close(code: u16, reason: &'static str) -> Self;

    /// Returns what the message is.
    fn into_frame(self) -> WebSocketFrame;
}

/// What a message of a WebSocket is.
///
/// ```
/// use futures_util::{SinkExt, StreamExt};
/// use muxado_rpc::{WebSocketFrame, WebSocketIo};
///
/// // The messages of a library that has only binary ones.
/// # fn wrap<S>(socket: S) -> impl tokio::io::AsyncRead + tokio::io::AsyncWrite
/// # where
/// #     S: futures_core::Stream<Item = std::io::Result<Vec<u8>>>
/// #         + futures_util::Sink<Vec<u8>, Error = std::io::Error>
/// #         + Unpin,
/// # {
/// let messages = socket
///     .map(|message| message.map(|bytes| WebSocketFrame::Binary(bytes.into())))
///     .with(|frame| async move {
///         match frame {
///             WebSocketFrame::Binary(bytes) => Ok(bytes.to_vec()),
///             _ => Err(std::io::Error::other("this library has no close messages")),
///         }
///     });
/// WebSocketIo::new(Box::pin(messages))
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WebSocketFrame {
    /// A whole binary message.
    Binary(Bytes),
    /// A text message, which no session sends.
    Text,
    /// A ping. The library answers it.
    Ping,
    /// An answer to a ping, or anything else without a meaning here.
    Pong,
    /// The end, with code and reason if there are any.
    Close(Option<(u16, String)>),
}

impl WebSocketMessage for WebSocketFrame {
    fn binary(data: Bytes) -> Self {
        Self::Binary(data)
    }

    fn close(code: u16, reason: &'static str) -> Self {
        Self::Close(Some((code, reason.to_owned())))
    }

    fn into_frame(self) -> WebSocketFrame {
        self
    }
}

#[cfg(feature = "ws")]
mod tungstenite {
    use bytes::Bytes;
    use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Message};

    use super::{WebSocketFrame, WebSocketMessage};

    impl WebSocketMessage for Message {
        fn binary(data: Bytes) -> Self {
            Self::Binary(data)
        }

        fn close(code: u16, reason: &'static str) -> Self {
            Self::Close(Some(CloseFrame { code: code.into(), reason: reason.into() }))
        }

        fn into_frame(self) -> WebSocketFrame {
            match self {
                Self::Binary(data) => WebSocketFrame::Binary(data),
                Self::Text(_) => WebSocketFrame::Text,
                Self::Ping(_) => WebSocketFrame::Ping,
                Self::Pong(_) | Self::Frame(_) => WebSocketFrame::Pong,
                Self::Close(close) => {
                    WebSocketFrame::Close(close.map(|close| (close.code.into(), close.reason.to_string())))
                }
            }
        }
    }
}

#[cfg(feature = "axum")]
mod axum {
    use axum::extract::ws::{CloseFrame, Message};
    use bytes::Bytes;

    use super::{WebSocketFrame, WebSocketMessage};

    impl WebSocketMessage for Message {
        fn binary(data: Bytes) -> Self {
            Self::Binary(data)
        }

        fn close(code: u16, reason: &'static str) -> Self {
            Self::Close(Some(CloseFrame { code, reason: reason.into() }))
        }

        fn into_frame(self) -> WebSocketFrame {
            match self {
                Self::Binary(data) => WebSocketFrame::Binary(data),
                Self::Text(_) => WebSocketFrame::Text,
                Self::Ping(_) => WebSocketFrame::Ping,
                Self::Pong(_) => WebSocketFrame::Pong,
                Self::Close(close) => {
                    WebSocketFrame::Close(close.map(|close| (close.code, close.reason.to_string())))
                }
            }
        }
    }
}
