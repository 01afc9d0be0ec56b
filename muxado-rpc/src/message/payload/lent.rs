//! A value to be sent that ends with a large string, which is sent from where it is.

use std::{fmt, sync::OnceLock};

use bytes::{Buf, Bytes};

use super::HEADROOM;
use crate::{
    codec::{
        CodecError,
        msgpack::{push_bytes_head, push_str_head},
    },
    support::large_buffers,
};

/// A large string that was taken out of the value that it ends, in which an empty one is left.
#[doc(hidden)]
#[derive(Debug)]
pub struct LargeString {
    content: Bytes,
    is_text: bool,
}

impl LargeString {
    /// Takes a text, if it is large.
    #[inline]
    pub(crate) fn of_text(text: &mut String) -> Option<Self> {
        if !is_worth_it(text.len(), text.capacity()) {
            return None;
        }
        Some(Self { content: large_buffers::into_bytes(std::mem::take(text).into_bytes()), is_text: true })
    }

    /// Takes bytes, if they are many.
    #[inline]
    pub(crate) fn of_bytes(bytes: &mut Vec<u8>) -> Option<Self> {
        if !is_worth_it(bytes.len(), bytes.capacity()) {
            return None;
        }
        Some(Self { content: large_buffers::into_bytes(std::mem::take(bytes)), is_text: false })
    }

    /// Takes bytes that others have, too, if they are many.
    #[inline]
    pub(crate) fn of_shared(bytes: &mut Bytes) -> Option<Self> {
        if !is_worth_it(bytes.len(), bytes.len()) {
            return None;
        }
        Some(Self { content: std::mem::take(bytes), is_text: false })
    }
}

/// The parameters of a method, which generated code sends.
#[doc(hidden)]
pub trait TakeLarge {
    /// Takes the last one, if it is a large string.
    #[inline]
    fn take_large(&mut self) -> Option<LargeString> {
        None
    }
}

/// Bytes of the smallest string that is sent from where it is: below, that costs as much as a copy.
const LENT_FROM: usize = 32 * 1024;

/// A string that is large, has a length that MessagePack has room for, and does not keep much more memory than it needs.
#[inline]
const fn is_worth_it(len: usize, capacity: usize) -> bool {
    len >= LENT_FROM && len <= u32::MAX as usize && capacity / 2 <= len
}

/// The value in two pieces.
pub(crate) struct Lent {
    /// What is in front of the string, its head included, behind the room for an envelope.
    front: Vec<u8>,
    /// The same in its envelope, once that is around it.
    head: Bytes,
    content: Bytes,
    /// The value in one piece, once it was asked for.
    whole: OnceLock<Bytes>,
}

impl Lent {
    /// Puts the large string back behind the value that it was taken out of, which is in `front`.
    pub(super) fn new(mut front: Vec<u8>, large: LargeString) -> Result<Self, CodecError> {
        let LargeString { content, is_text } = large;
        let empty = match &front[HEADROOM..] {
            [.., 0xA0] if is_text => 1,
            [.., 0xC4, 0] if !is_text => 2,
            // An array of no bytes is one of nothing.
            [.., 0x90] if !is_text => 1,
            _ => return Err(CodecError::new("the value does not end with its last string")),
        };
        front.truncate(front.len() - empty);
        if is_text {
            push_str_head(&mut front, content.len());
        } else {
            push_bytes_head(&mut front, content.len());
        }
        Ok(Self { front, head: Bytes::new(), content, whole: OnceLock::new() })
    }

    pub(super) fn len(&self) -> usize {
        self.front.len() - HEADROOM + self.content.len()
    }

    pub(super) fn whole(&self) -> &Bytes {
        self.whole.get_or_init(|| {
            let mut whole = Vec::with_capacity(self.len());
            whole.extend_from_slice(&self.front[HEADROOM..]);
            whole.extend_from_slice(&self.content);
            whole.into()
        })
    }

    /// Takes what is in front of the string, to be put into its envelope.
    pub(super) fn take_front(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.front)
    }

    /// Sets what is sent in front of the string.
    pub(super) fn set_head(&mut self, head: &[u8]) {
        self.head = Bytes::copy_from_slice(head);
    }

    /// Returns how many bytes the string has.
    pub(crate) fn content_len(&self) -> usize {
        self.content.len()
    }

    /// Takes up to `n` bytes of what is to be sent, and at least one.
    pub(super) fn take_some(&mut self, n: usize) -> Bytes {
        let piece = if self.head.is_empty() { &mut self.content } else { &mut self.head };
        piece.split_to(n.min(piece.len()))
    }

    /// Returns what is to be sent next.
    pub(super) fn next(&self) -> &[u8] {
        if self.head.is_empty() { &self.content } else { &self.head }
    }

    /// Returns how many bytes are to be sent.
    pub(super) fn unsent(&self) -> usize {
        self.head.len() + self.content.len()
    }

    /// Passes over bytes that were sent.
    pub(super) fn advance(&mut self, n: usize) {
        let of_head = n.min(self.head.len());
        self.head.advance(of_head);
        self.content.advance(n - of_head);
    }

    /// Appends what is to be sent.
    pub(super) fn append_to(&self, buf: &mut Vec<u8>) {
        buf.extend_from_slice(&self.head);
        buf.extend_from_slice(&self.content);
    }
}

impl fmt::Debug for Lent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lent({} bytes)", self.content.len())
    }
}

/// A clone shares the string.
impl Clone for Lent {
    fn clone(&self) -> Self {
        let (front, head, content) = (self.front.clone(), self.head.clone(), self.content.clone());
        Self { front, head, content, whole: OnceLock::new() }
    }
}

#[cfg(test)]
mod tests {
    use serde::Serialize;

    use super::*;
    use crate::{Codec, message::payload::Payload};

    #[derive(Serialize)]
    struct Params<T> {
        name: &'static str,
        data: T,
    }

    /// What is encoded without a copy of its last string is what would be encoded of the whole.
    fn same_lent<T: Serialize + Clone>(data: &T, take: fn(&mut T) -> Option<LargeString>) {
        let mut params = Params { name: "a", data: data.clone() };
        let whole = Payload::encode(Codec::MessagePack, &params).unwrap();
        let large = take(&mut params.data).unwrap();
        let place = large.content.as_ptr();
        let mut lent = Payload::encode_lent(&params, large).unwrap();
        assert_eq!((&lent[..], lent.len()), (&whole[..], whole.len()));
        assert_eq!(lent.clone().into_bytes(), whole[..]);
        let head = lent.clone().framed(b"<", |_| ());
        assert_eq!(head.into_bytes()[1..], whole[..]);
        let end = lent.take_end().unwrap();
        assert_eq!(end.content.as_ptr(), place);
        assert_eq!([&lent[..], &end.content].concat(), whole[..]);
        assert!(lent.take_end().is_none());
    }

    #[test]
    fn a_large_string_at_the_end_is_sent_from_where_it_is() {
        for len in [LENT_FROM, 0xFFFF, 0x1_0000, 100_000] {
            same_lent(&"x".repeat(len), LargeString::of_text);
            same_lent(&vec![7; len], LargeString::of_bytes);
            same_lent(&Bytes::from(vec![7; len]), LargeString::of_shared);
        }
    }

    #[test]
    fn a_small_one_stays_and_so_does_one_in_much_more_memory() {
        let mut text = "x".repeat(LENT_FROM - 1);
        assert!(LargeString::of_text(&mut text).is_none());
        assert_eq!(text.len(), LENT_FROM - 1);
        let mut bytes = Vec::with_capacity(3 * LENT_FROM);
        bytes.resize(LENT_FROM, 7);
        assert!(LargeString::of_bytes(&mut bytes).is_none());
        assert_eq!(bytes.len(), LENT_FROM);
    }

    #[test]
    fn a_value_that_does_not_end_with_its_string_is_an_error() {
        let large = || LargeString::of_text(&mut "x".repeat(LENT_FROM)).unwrap();
        assert!(Payload::encode_lent(&("", 1), large()).is_err());
        assert!(Payload::encode_lent(&Bytes::new(), large()).is_err());
    }
}
