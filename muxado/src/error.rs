//! Error codes of the wire and one error enum per operation.

use std::{fmt, io, sync::Arc, time::Duration};

use bytes::Bytes;

use crate::proto::ProtocolError;

/// The reason of a reset or a go-away, as it is sent in RST and GOAWAY frames (`PROTOCOL §6`).
///
/// Any 32-bit value may arrive; those without a name are kept as they are.
///
/// ```
/// use muxado::ErrorCode;
///
/// assert_eq!(ErrorCode::CANCELLED.to_string(), "cancelled (6)");
/// assert_eq!(ErrorCode::new(77).to_string(), "code 77");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ErrorCode(u32);

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $value:literal, $text:literal;)*) => {
        impl ErrorCode {
            $($(#[$doc])* pub const $name: Self = Self($value);)*

            /// Returns the name of the code in words, if it has one.
            pub const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($value => Some($text),)*
                    _ => None,
                }
            }
        }
    };
}

codes! {
    /// An orderly end: nothing went wrong.
    NO_ERROR = 0, "no error";
    /// The peer broke a rule of the protocol.
    PROTOCOL_ERROR = 1, "protocol error";
    /// The sender failed for a reason of its own.
    INTERNAL_ERROR = 2, "internal error";
    /// More data arrived than the stream's window allowed.
    FLOW_CONTROL_ERROR = 3, "flow control error";
    /// Data arrived for a stream that no longer takes any.
    STREAM_CLOSED = 4, "stream closed";
    /// The stream was refused; nothing of it was looked at.
    STREAM_REFUSED = 5, "stream refused";
    /// The user of the stream is no longer interested in it.
    CANCELLED = 6, "cancelled";
    /// The stream was reset.
    STREAM_RESET = 7, "stream reset";
    /// A frame's length did not fit its type.
    FRAME_SIZE_ERROR = 8, "frame size error";
    /// The backlog of streams waiting to be accepted was full.
    ACCEPT_QUEUE_FULL = 9, "accept queue full";
    /// The peer made too much work for too little use.
    ENHANCE_YOUR_CALM = 10, "enhance your calm";
    /// The peer had sent a go-away before.
    REMOTE_GONE_AWAY = 11, "remote gone away";
    /// No stream id was left.
    STREAMS_EXHAUSTED = 12, "streams exhausted";
    /// A write took too long.
    WRITE_TIMEOUT = 13, "write timeout";
    /// The session was closed.
    SESSION_CLOSED = 14, "session closed";
    /// The transport ended.
    PEER_EOF = 15, "peer eof";
    /// A reason that has no code of its own.
    UNKNOWN = 0xFF, "unknown";
}

impl ErrorCode {
    /// Returns the code with this value, named or not.
    pub const fn new(value: u32) -> Self {
        Self(value)
    }

    /// Returns the value on the wire.
    pub const fn as_u32(self) -> u32 {
        self.0
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "{name} ({})", self.0),
            None => write!(f, "code {}", self.0),
        }
    }
}

impl fmt::Debug for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ErrorCode({self})")
    }
}

/// The content of a GOAWAY frame (`PROTOCOL §3.4`).
///
/// `Display` and `Debug` show at most 256 bytes of the text, escaped.
#[derive(Clone, PartialEq, Eq)]
pub struct GoAway {
    /// The reason.
    pub code: ErrorCode,
    /// The last stream of the receiver that the sender has looked at; later ones may be retried.
    pub last_stream_id: u32,
    /// A text for people, of which at most 4096 bytes are kept.
    pub debug: Bytes,
}

impl fmt::Display for GoAway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        if !self.debug.is_empty() {
            write!(f, ": {}", self.shown_debug())?;
        }
        Ok(())
    }
}

impl fmt::Debug for GoAway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GoAway")
            .field("code", &self.code)
            .field("last_stream_id", &self.last_stream_id)
            .field("debug", &format_args!("\"{}\"", self.shown_debug()))
            .finish()
    }
}

impl GoAway {
    /// Returns the beginning of the text, escaped.
    fn shown_debug(&self) -> String {
        shown(&self.debug, |char| char.escape_debug().to_string())
    }
}

/// Returns the beginning of a text, escaped by `escape`.
fn shown(text: &[u8], escape: impl Fn(char) -> String) -> String {
    let beginning = &text[..text.len().min(MAX_SHOWN)];
    let mut shown = String::new();
    for char in String::from_utf8_lossy(beginning).chars() {
        let char = escape(char);
        if shown.len() + char.len() + REST.len() > MAX_SHOWN {
            return shown + REST;
        }
        shown += &char;
    }
    shown
}

/// Escapes a character of a text that is shown without quotes around it.
fn escaped_in_text(char: char) -> String {
    if matches!(char, '"' | '\'' | '\\') { char.to_string() } else { char.escape_debug().to_string() }
}

/// Stands for the rest of a text that was cut.
const REST: &str = "…";

/// Most bytes that are shown of a text which the peer sent.
const MAX_SHOWN: usize = 256;

/// Why a session ended, as seen from this side.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// This side closed it: by `close`, or by dropping its last handle.
    #[error("session closed by this side: {0}")]
    Closed(ErrorCode),
    /// The peer sent a go-away and ended the session.
    #[error("session closed by the peer: {0}")]
    ClosedByPeer(GoAway),
    /// The peer violated the protocol or does not speak it.
    #[error("the peer broke the protocol: {0}")]
    Protocol(ProtocolError),
    /// The transport ended without a go-away: the peer is gone.
    #[error("the transport ended {}", if *.mid_frame { "in the middle of a frame" } else { "without a go-away" })]
    PeerEof {
        /// The end came inside a frame.
        mid_frame: bool,
    },
    /// The transport failed.
    #[error("the transport failed: {}", shown(message.as_bytes(), escaped_in_text))]
    Transport {
        /// The transport's own classification.
        kind: io::ErrorKind,
        /// The transport's own message. At most 256 bytes of it are shown, escaped: it may quote a peer.
        message: Arc<str>,
    },
    /// No heartbeat came back in time.
    #[error("no heartbeat answer within the tolerance of {0:?} (HeartbeatConfig::tolerance)")]
    HeartbeatTimeout(Duration),
    /// The transport took no byte for this long: the peer has stopped reading.
    #[error("the transport took no byte for {0:?} (Config::write_timeout)")]
    WriteTimeout(Duration),
    /// The session was unused for this long: it had no open stream, and no frame came or went.
    #[error("no stream was open and no frame came or went for {0:?} (Config::idle_timeout)")]
    IdleTimeout(Duration),
    /// The driver was dropped before the session had ended.
    #[error("the session's driver was dropped")]
    DriverDropped,
}

impl SessionError {
    /// Returns the code that this reason has, or would have, on the wire.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Closed(code) => *code,
            Self::ClosedByPeer(go_away) => go_away.code,
            Self::Protocol(error) => error.code(),
            Self::IdleTimeout(_) => ErrorCode::NO_ERROR,
            Self::PeerEof { .. } => ErrorCode::PEER_EOF,
            Self::Transport { .. } | Self::HeartbeatTimeout(_) => ErrorCode::UNKNOWN,
            Self::WriteTimeout(_) => ErrorCode::WRITE_TIMEOUT,
            Self::DriverDropped => ErrorCode::SESSION_CLOSED,
        }
    }

    /// Returns whether the session ended in good order, with [`ErrorCode::NO_ERROR`]: nothing was cut.
    pub fn is_clean(&self) -> bool {
        match self {
            Self::Closed(code) => *code == ErrorCode::NO_ERROR,
            Self::ClosedByPeer(go_away) => go_away.code == ErrorCode::NO_ERROR,
            Self::IdleTimeout(_) => true,
            _ => false,
        }
    }

    fn io_kind(&self) -> io::ErrorKind {
        match self {
            Self::Closed(_) | Self::IdleTimeout(_) | Self::DriverDropped => io::ErrorKind::NotConnected,
            Self::ClosedByPeer(_) => io::ErrorKind::ConnectionAborted,
            Self::Protocol(_) => io::ErrorKind::InvalidData,
            Self::PeerEof { .. } => io::ErrorKind::UnexpectedEof,
            Self::Transport { kind, .. } => *kind,
            Self::HeartbeatTimeout(_) | Self::WriteTimeout(_) => io::ErrorKind::TimedOut,
        }
    }
}

impl From<io::Error> for SessionError {
    fn from(error: io::Error) -> Self {
        Self::Transport { kind: error.kind(), message: error.to_string().into() }
    }
}

/// The end of a session, with both sides' reasons.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionEnd {
    /// This side's reason.
    pub local: SessionError,
    /// The peer's go-away, if one arrived.
    pub remote: Option<GoAway>,
}

impl fmt::Display for SessionEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.local)?;
        match (&self.local, &self.remote) {
            (SessionError::ClosedByPeer(_), _) | (_, None) => Ok(()),
            (_, Some(go_away)) => write!(f, "; the peer's go-away: {go_away}"),
        }
    }
}

/// Why a stream could not be opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The peer takes no new streams; those that are open run on.
    #[error("the peer is going away: {0}")]
    PeerGoingAway(GoAway),
    /// This side called `go_away` or `shutdown`.
    #[error("this side is going away")]
    GoingAway,
    /// The session has ended.
    #[error(transparent)]
    SessionClosed(SessionError),
}

/// Why nothing more can be read from a stream.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The peer reset the stream.
    #[error("stream reset by the peer: {0}")]
    Reset(ErrorCode),
    /// This side reset the stream: the application, or the session because the peer broke a rule.
    #[error("stream reset by this side: {0}{limit}", limit = which_limit(*.0))]
    ResetLocally(ErrorCode),
    /// The session ended before the stream did.
    #[error(transparent)]
    SessionClosed(SessionError),
}

/// Why nothing more can be written to a stream.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The peer reset the stream.
    #[error("stream reset by the peer: {0}")]
    Reset(ErrorCode),
    /// This side reset the stream: the application, or the session because the peer broke a rule.
    #[error("stream reset by this side: {0}{limit}", limit = which_limit(*.0))]
    ResetLocally(ErrorCode),
    /// The stream's sending side was finished before.
    #[error("the stream's sending side is finished")]
    Finished,
    /// The session ended before the stream did.
    #[error(transparent)]
    SessionClosed(SessionError),
}

/// The setting behind a reset by the session itself.
const fn which_limit(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::WRITE_TIMEOUT => ": nothing moved on it for too long (Config::stall_timeout)",
        ErrorCode::ENHANCE_YOUR_CALM => ": too much was unread (Config::session_receive_memory)",
        _ => "",
    }
}

impl From<OpenError> for io::Error {
    fn from(error: OpenError) -> Self {
        let kind = match &error {
            OpenError::PeerGoingAway(_) | OpenError::GoingAway => io::ErrorKind::ConnectionRefused,
            OpenError::SessionClosed(session) => session.io_kind(),
        };
        Self::new(kind, error)
    }
}

impl From<ReadError> for io::Error {
    fn from(error: ReadError) -> Self {
        let kind = match &error {
            ReadError::Reset(_) => io::ErrorKind::ConnectionReset,
            ReadError::ResetLocally(_) => io::ErrorKind::ConnectionAborted,
            ReadError::SessionClosed(session) => session.io_kind(),
        };
        Self::new(kind, error)
    }
}

impl From<WriteError> for io::Error {
    fn from(error: WriteError) -> Self {
        let kind = match &error {
            WriteError::Reset(_) => io::ErrorKind::ConnectionReset,
            WriteError::ResetLocally(_) => io::ErrorKind::ConnectionAborted,
            WriteError::Finished => io::ErrorKind::BrokenPipe,
            WriteError::SessionClosed(session) => session.io_kind(),
        };
        Self::new(kind, error)
    }
}

/// Why a heartbeat sent by [`Heartbeat::ping`](crate::Heartbeat::ping) has no round-trip time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PingError {
    /// No answer came within the tolerance.
    #[error("no heartbeat answer within the tolerance of {0:?} (HeartbeatConfig::tolerance)")]
    TimedOut(Duration),
    /// The peer refuses heartbeat streams.
    #[error("the peer does not answer heartbeats: it closed the heartbeat stream")]
    Unsupported,
    /// The session has ended.
    #[error(transparent)]
    SessionClosed(SessionError),
}

/// Why a heartbeat has no round-trip time.
#[deprecated(note = "it is called `PingError` now")]
pub type BeatError = PingError;
