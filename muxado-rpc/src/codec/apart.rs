//! A large string that lies apart from the message that it is part of, so that whoever decodes the message gets it
//! without a copy.
//!
//! In the message an empty one of its kind, its stand-in, holds its place. The decoder of values knows it by where it
//! lies, and hands over the large one instead.

use std::{cell::Cell, ops::Range};

use bytes::Bytes;
use scoped_tls::scoped_thread_local;

use super::msgpack::LargePlace;

/// The bytes of a large string, and where in its message its stand-in is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Apart {
    at: usize,
    is_text: bool,
    /// Its head, as it was sent, and how many bytes that has.
    head: ([u8; 5], u8),
    content: Vec<u8>,
}

/// What is handed over in place of a stand-in.
pub(super) enum Content {
    Text(String),
    Bytes(Vec<u8>),
}

impl Apart {
    /// Puts the stand-in into a message of which everything in front of it is there. The string has no bytes yet.
    pub(crate) fn begin(place: LargePlace, head: &[u8], message: &mut Vec<u8>) -> Self {
        message.extend_from_slice(stand_in(place.is_text));
        let mut kept = [0; 5];
        let len = head.len().min(kept.len());
        kept[..len].copy_from_slice(&head[..len]);
        Self { at: place.head, is_text: place.is_text, head: (kept, len as u8), content: Vec::new() }
    }

    /// Returns the bytes of the string, to be filled.
    pub(crate) const fn content_mut(&mut self) -> &mut Vec<u8> {
        &mut self.content
    }

    /// Returns how many bytes more the message has as it was sent.
    pub(crate) fn extra_len(&self) -> usize {
        usize::from(self.head.1) + self.content.len() - stand_in(self.is_text).len()
    }

    /// Returns whether the stand-in is in this part of the message.
    pub(crate) fn is_in(&self, part: &Range<usize>) -> bool {
        part.contains(&self.at)
    }

    /// Returns the same, of a part of the message that begins at `start`.
    #[must_use]
    pub(crate) fn of_part_from(self, start: usize) -> Self {
        Self { at: self.at - start, ..self }
    }

    /// Makes one piece of the message, as it was sent.
    pub(crate) fn join(self, message: &[u8]) -> Bytes {
        let mut whole = Vec::with_capacity(message.len() + self.extra_len());
        whole.extend_from_slice(&message[..self.at]);
        whole.extend_from_slice(&self.head.0[..usize::from(self.head.1)]);
        whole.extend_from_slice(&self.content);
        whole.extend_from_slice(&message[self.at + stand_in(self.is_text).len()..]);
        whole.into()
    }
}

const fn stand_in(is_text: bool) -> &'static [u8] {
    if is_text { &[0xA0] } else { &[0xC4, 0] }
}

/// What is handed over to the decoder of the message that has a stand-in at an address.
struct HandOver {
    address: usize,
    content: Cell<Option<Content>>,
}

scoped_thread_local! {
    static HAND_OVER: HandOver
}

/// Decodes `message` with what lies apart from it.
///
/// # Errors
///
/// Returns the message as one piece if that has to be decoded: the text is not valid, or nobody has asked for it, or not
/// as what it is.
pub(crate) fn decode<T, E>(
    apart: Apart,
    message: &[u8],
    decode: impl FnOnce() -> Result<T, E>,
) -> Result<Result<T, E>, Bytes> {
    let Apart { at, is_text, head, content } = apart;
    let address = message.as_ptr().addr() + at + stand_in(is_text).len();
    let content = if is_text {
        match String::from_utf8(content) {
            Ok(text) => Content::Text(text),
            Err(invalid) => {
                return Err(Apart { at, is_text, head, content: invalid.into_bytes() }.join(message));
            }
        }
    } else {
        Content::Bytes(content)
    };
    let hand_over = HandOver { address, content: Cell::new(Some(content)) };
    let result = HAND_OVER.set(&hand_over, decode);
    let content = match hand_over.content.into_inner() {
        None => return Ok(result),
        Some(Content::Text(text)) => text.into_bytes(),
        Some(Content::Bytes(bytes)) => bytes,
    };
    Err(Apart { at, is_text, head, content }.join(message))
}

/// Takes what stands apart for the empty string at `empty`, if that is a stand-in of the message that is being decoded.
#[cold]
#[inline(never)]
pub(super) fn take(empty: *const u8) -> Option<Content> {
    if !HAND_OVER.is_set() {
        return None;
    }
    HAND_OVER.with(
        |hand_over| {
            if hand_over.address == empty.addr() { hand_over.content.take() } else { None }
        },
    )
}
