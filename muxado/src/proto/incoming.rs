//! Where received bytes are, and where the next ones belong.

use bytes::{Buf, Bytes, BytesMut};

use super::stream::StreamKey;

/// Where the next bytes belong.
#[derive(Clone, Copy, Debug)]
pub(super) enum Incoming {
    /// A frame header is next.
    Header,
    /// Payload of a stream.
    Data { key: StreamKey, left: u32, fin: bool, large: bool },
    /// Payload of nobody.
    Skip { left: u32 },
    /// The text of `Session::go_away_coming`, of which a part is kept.
    Debug { left: u32 },
    /// Everything: the session has ended.
    Discard,
}

impl Incoming {
    /// The session ends. If the peer broke no rule, its go-away may still come and is read for.
    pub(super) fn close(&mut self, in_step: bool) {
        *self = match *self {
            Self::Header if in_step => Self::Header,
            Self::Data { left, .. } | Self::Skip { left } | Self::Debug { left } if in_step => {
                Self::Skip { left }
            }
            _ => Self::Discard,
        };
    }

    /// What still comes for this stream is nobody's.
    pub(super) fn forget(&mut self, gone: StreamKey) {
        if let Self::Data { key, left, .. } = *self
            && key == gone
        {
            *self = Self::Skip { left };
        }
    }
}

/// Bytes from the transport. What is taken in leaves the buffer at the end, in one step: to cut off each
/// header and payload would cost more than to read it.
pub(super) struct Input<'a> {
    bytes: &'a mut BytesMut,
    taken: usize,
}

impl<'a> Input<'a> {
    pub(super) const fn new(bytes: &'a mut BytesMut) -> Self {
        Self { bytes, taken: 0 }
    }

    /// What is still to be taken in.
    pub(super) fn rest(&self) -> &[u8] {
        &self.bytes[self.taken..]
    }

    pub(super) fn advance(&mut self, n: usize) {
        self.taken += n;
    }

    /// The next `n` bytes, as a slice of the buffer.
    pub(super) fn split_to(&mut self, n: usize) -> Bytes {
        self.settle();
        self.bytes.split_to(n).freeze()
    }

    /// Gives up what was taken in.
    pub(super) fn settle(&mut self) {
        self.bytes.advance(std::mem::take(&mut self.taken));
    }
}
