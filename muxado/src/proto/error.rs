//! What a peer can do wrong.

use super::frame::{FrameType, StreamId};
use crate::error::ErrorCode;

/// A rule of the protocol that the peer broke; the session cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// The bytes are those of another protocol.
    #[error("the other side does not speak muxado: this looks like {0}")]
    Foreign(&'static str),
    /// A frame's length does not fit its type.
    #[error("a {frame_type} frame of {length} bytes on stream {stream_id}: it must have {expected}")]
    FrameSize {
        /// The frame's type.
        frame_type: FrameType,
        /// Its length.
        length: u32,
        /// The id field of its header.
        stream_id: u32,
        /// The length it must have, in words.
        expected: &'static str,
    },
    /// An id of 0, or above 2³¹ − 1, where a stream was to be named.
    #[error("a {frame_type} frame names stream {stream_id}, which cannot be")]
    StreamIdOutOfRange {
        /// The frame's type.
        frame_type: FrameType,
        /// The id field of its header.
        stream_id: u32,
    },
    /// The peer opened a stream with an id of this side's parity.
    #[error("the peer opened stream {0}, an id that only this side may use")]
    WrongParity(StreamId),
    /// The peer opened a stream that is open already.
    #[error("the peer opened stream {0} a second time")]
    DuplicateSyn(StreamId),
    /// The peer caused more answers than it reads, or more useless frames than it has earned.
    #[error("the peer makes too much useless work: {0}")]
    Excessive(&'static str),
}

impl ProtocolError {
    /// The code that the go-away carries.
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::FrameSize { .. } => ErrorCode::FRAME_SIZE_ERROR,
            Self::Excessive(_) => ErrorCode::ENHANCE_YOUR_CALM,
            Self::Foreign(_)
            | Self::StreamIdOutOfRange { .. }
            | Self::WrongParity(_)
            | Self::DuplicateSyn(_) => ErrorCode::PROTOCOL_ERROR,
        }
    }
}
