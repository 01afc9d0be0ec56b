//! One encoded value, with room in front of it for what the wire puts there.

mod buffer_pool;
mod lent;
mod parted;

use std::{fmt, ops::Deref};

use bytes::{Buf, Bytes};
use muxado::rpc::Source;
use serde::{Deserialize, Serialize};

pub(crate) use self::lent::Lent;
pub use self::lent::{LargeString, TakeLarge};
use self::parted::Parted;
use crate::codec::{Append, Codec, CodecError, apart::Apart, shared_bytes};

/// An encoded value: the parameters of a request, or the value of a response.
///
/// Cloning a received payload is cheap. Cloning one that was encoded on this side copies its bytes.
#[derive(Clone)]
pub struct Payload {
    bytes: Inner,
}

// Two variants, so that it takes no more room than the larger one.
#[derive(Clone)]
enum Inner {
    /// The value is all but the last `rest` bytes: to cut them off would cost a count of references.
    Received {
        bytes: Bytes,
        rest: usize,
    },
    Other(Other),
}

#[derive(Clone)]
enum Other {
    /// The value begins at [`HEADROOM`].
    Encoded(Vec<u8>),
    /// A value that was received, of which a large string lies apart.
    Parted(Box<Parted>),
    /// An encoded value in MessagePack that ends with a large string, which was not copied.
    Lent(Box<Lent>),
}

impl Payload {
    /// Encodes a value.
    #[inline]
    pub(crate) fn encode<T: Serialize + ?Sized>(codec: Codec, value: &T) -> Result<Self, CodecError> {
        let mut buf = buffer_pool::take();
        buf.resize(HEADROOM, 0);
        codec.encode_into(value, &mut buf)?;
        Ok(Self { bytes: Inner::Other(Other::Encoded(buf)) })
    }

    /// Encodes a value in MessagePack, at whose end a large string was.
    pub(crate) fn encode_lent<T: Serialize + ?Sized>(
        value: &T,
        large: LargeString,
    ) -> Result<Self, CodecError> {
        let mut front = buffer_pool::take();
        front.resize(HEADROOM, 0);
        Codec::MessagePack.encode_into(value, &mut front)?;
        Ok(Self { bytes: Inner::Other(Other::Lent(Box::new(Lent::new(front, large)?))) })
    }

    /// Takes the large string that the value ends with, if it lies apart: what is left is in front of it.
    #[inline]
    pub(crate) fn take_end(&mut self) -> Option<Box<Lent>> {
        if matches!(self.bytes, Inner::Other(Other::Lent(_))) { self.split_lent() } else { None }
    }

    #[cold]
    fn split_lent(&mut self) -> Option<Box<Lent>> {
        let Inner::Other(Other::Lent(mut lent)) =
            std::mem::replace(&mut self.bytes, Inner::Other(Other::Encoded(Vec::new())))
        else {
            return None;
        };
        self.bytes = Inner::Other(Other::Encoded(lent.take_front()));
        Some(lent)
    }

    /// Returns how many bytes the value has.
    pub(crate) fn len(&self) -> usize {
        match &self.bytes {
            Inner::Other(Other::Lent(lent)) => lent.len(),
            _ => self.deref().len(),
        }
    }

    /// A value that was received, in front of `rest` other bytes.
    #[inline]
    pub(crate) const fn before(rest: usize, bytes: Bytes) -> Self {
        Self { bytes: Inner::Received { bytes, rest } }
    }

    /// A value that was received and of which a large string lies apart, in front of `rest` other bytes.
    pub(crate) fn parted(rest: usize, mut bytes: Bytes, apart: Apart) -> Self {
        bytes.truncate(bytes.len() - rest);
        Self { bytes: Inner::Other(Other::Parted(Box::new(Parted::new(bytes, apart)))) }
    }

    /// The value between `head` and what `tail` appends, as one piece. Copies the value only if it
    /// was received, or if `head` is longer than the room in front of it.
    #[inline]
    pub(crate) fn framed(self, head: &[u8], tail: impl FnOnce(&mut Vec<u8>)) -> Framed {
        let mut framed = self.behind(head.len(), |room| room.copy_from_slice(head));
        tail(&mut framed.buf);
        framed
    }

    /// The value behind a head of `len` bytes, which `fill` writes: it is given as many, of any content. Copies the value as
    /// [`framed`](Self::framed) does.
    #[inline]
    pub(crate) fn behind(self, len: usize, fill: impl FnOnce(&mut [u8])) -> Framed {
        match self.bytes {
            Inner::Other(Other::Encoded(mut buf)) if len <= HEADROOM => {
                let start = HEADROOM - len;
                fill(&mut buf[start..HEADROOM]);
                Framed { buf, start }
            }
            bytes => {
                let value = Self { bytes };
                let mut buf = buffer_pool::take();
                buf.reserve(len + value.len() + TAILROOM);
                buf.resize(len, 0);
                fill(&mut buf);
                buf.extend_from_slice(&value);
                Framed { buf, start: 0 }
            }
        }
    }

    /// Decodes the value, of which large bytes may be parts of a buffer that was received.
    pub(crate) fn decode<'de, T: Deserialize<'de>>(&'de self, codec: Codec) -> Result<T, CodecError> {
        match &self.bytes {
            Inner::Received { bytes, .. } => shared_bytes::decoding(bytes, || codec.decode(self)),
            Inner::Other(Other::Encoded(_)) => codec.decode(self),
            Inner::Other(Other::Parted(parted)) => {
                let whole = parted.whole();
                shared_bytes::decoding(whole, || codec.decode(whole))
            }
            Inner::Other(Other::Lent(lent)) => codec.decode(lent.whole()),
        }
    }

    /// Decodes the value for the last time: of a large string that lies apart from it nothing is left.
    #[inline]
    pub(crate) fn decode_last<'de, T: Deserialize<'de>>(&'de self, codec: Codec) -> Result<T, CodecError> {
        match &self.bytes {
            Inner::Other(Other::Parted(parted)) => parted.decode_last(codec),
            _ => self.decode(codec),
        }
    }

    /// Returns the bytes without copying them.
    pub fn into_bytes(self) -> Bytes {
        match self.bytes {
            Inner::Received { mut bytes, rest } => {
                bytes.truncate(bytes.len() - rest);
                bytes
            }
            Inner::Other(Other::Encoded(buf)) => Framed { buf, start: HEADROOM }.into_bytes(),
            Inner::Other(Other::Parted(parted)) => parted.whole().clone(),
            Inner::Other(Other::Lent(lent)) => lent.whole().clone(),
        }
    }
}

/// What goes in front of a value: on the stack unless it is too long for the room there.
pub(crate) struct Head {
    short: [u8; HEADROOM],
    len: usize,
    long: Vec<u8>,
}

impl Head {
    #[inline]
    pub(crate) const fn new() -> Self {
        Self { short: [0; HEADROOM], len: 0, long: Vec::new() }
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        if self.long.is_empty() { &self.short[..self.len] } else { &self.long }
    }
}

impl Append for Head {
    // Most is a few bytes whose number is known where this is called.
    #[inline]
    fn append(&mut self, bytes: &[u8]) {
        match self.short.get_mut(self.len..self.len + bytes.len()) {
            Some(room) if self.long.is_empty() => {
                room.copy_from_slice(bytes);
                self.len += bytes.len();
            }
            _ => self.append_long(bytes),
        }
    }
}

impl Head {
    #[cold]
    fn append_long(&mut self, bytes: &[u8]) {
        if self.long.is_empty() {
            self.long.extend_from_slice(&self.short[..self.len]);
        }
        self.long.extend_from_slice(bytes);
    }
}

/// A buffer whose content begins at `start`: a message ready to be sent.
#[derive(Debug)]
pub(crate) struct Framed {
    pub(crate) buf: Vec<u8>,
    pub(crate) start: usize,
}

impl Framed {
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.buf.len() - self.start
    }

    #[inline]
    pub(crate) fn into_outbound(self) -> OutboundMessage {
        OutboundMessage(Message::Small(self))
    }

    /// The same in front of the `end` of the message, which is not in the buffer.
    #[inline]
    pub(crate) fn into_outbound_with(self, end: Option<Box<Lent>>) -> OutboundMessage {
        match end {
            None => self.into_outbound(),
            Some(end) => self.in_front_of(end),
        }
    }

    #[cold]
    fn in_front_of(self, mut end: Box<Lent>) -> OutboundMessage {
        end.set_head(&self.buf[self.start..]);
        buffer_pool::put(self.buf);
        OutboundMessage(Message::Lent(end))
    }

    pub(crate) fn into_bytes(self) -> Bytes {
        let mut bytes = Bytes::from(self.buf);
        bytes.advance(self.start);
        bytes
    }
}

/// A message on its way out: copied if it is small, shared if it is large.
#[derive(Debug)]
pub(crate) struct OutboundMessage(Message);

#[derive(Debug)]
enum Message {
    Small(Framed),
    Large(Bytes),
    /// Its end is sent from where it is.
    Lent(Box<Lent>),
}

impl OutboundMessage {
    /// What is ready to be sent as it is.
    #[inline]
    pub(crate) fn new(buf: Vec<u8>) -> Self {
        Self(Message::Small(Framed { buf, start: 0 }))
    }

    pub(crate) fn append_to(&self, buf: &mut Vec<u8>) {
        match &self.0 {
            Message::Lent(lent) => lent.append_to(buf),
            _ => buf.extend_from_slice(self.chunk()),
        }
    }

    /// What is not sent, in one piece.
    pub(crate) fn to_vec(&self) -> Vec<u8> {
        let mut buf = Vec::with_capacity(self.remaining());
        self.append_to(&mut buf);
        buf
    }

    /// The buffer, empty, once all is sent; a new one if it was passed on.
    pub(crate) fn reclaim(&mut self) -> Vec<u8> {
        match &mut self.0 {
            Message::Small(framed) => {
                let mut buf = std::mem::take(&mut framed.buf);
                framed.start = 0;
                buf.clear();
                buf
            }
            Message::Large(_) | Message::Lent(_) => Vec::new(),
        }
    }

    /// Gives the buffer of a message that was sent to the next one.
    #[inline]
    pub(crate) fn recycle(&mut self) {
        buffer_pool::put(self.reclaim());
    }

    #[cfg(test)]
    pub(crate) fn into_bytes(self) -> Bytes {
        match self.0 {
            Message::Small(framed) => framed.into_bytes(),
            Message::Large(bytes) => bytes,
            Message::Lent(lent) => {
                let mut buf = Vec::new();
                lent.append_to(&mut buf);
                buf.into()
            }
        }
    }
}

impl Buf for OutboundMessage {
    fn remaining(&self) -> usize {
        match &self.0 {
            Message::Small(framed) => framed.len(),
            Message::Large(bytes) => bytes.len(),
            Message::Lent(lent) => lent.unsent(),
        }
    }

    fn chunk(&self) -> &[u8] {
        match &self.0 {
            Message::Small(framed) => &framed.buf[framed.start..],
            Message::Large(bytes) => bytes,
            Message::Lent(lent) => lent.next(),
        }
    }

    fn advance(&mut self, n: usize) {
        match &mut self.0 {
            Message::Small(framed) => framed.start += n,
            Message::Large(bytes) => bytes.advance(n),
            Message::Lent(lent) => lent.advance(n),
        }
    }
}

impl Source for OutboundMessage {
    fn share(&mut self, n: usize) -> Option<Bytes> {
        if n < SHARE_FROM {
            return None;
        }
        if let Message::Small(framed) = &mut self.0 {
            let framed = Framed { buf: std::mem::take(&mut framed.buf), start: framed.start };
            self.0 = Message::Large(framed.into_bytes());
        }
        match &mut self.0 {
            Message::Large(bytes) => Some(bytes.split_to(n)),
            Message::Lent(lent) => Some(lent.take_some(n)),
            Message::Small(_) => None,
        }
    }
}

impl Deref for Payload {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.bytes {
            Inner::Received { bytes, rest } => &bytes[..bytes.len() - rest],
            Inner::Other(Other::Encoded(buf)) => &buf[HEADROOM..],
            Inner::Other(Other::Parted(parted)) => parted.whole(),
            Inner::Other(Other::Lent(lent)) => lent.whole(),
        }
    }
}

/// Nothing.
impl Default for OutboundMessage {
    fn default() -> Self {
        Self::new(Vec::new())
    }
}

/// Nothing.
impl Default for Payload {
    fn default() -> Self {
        Self::before(0, Bytes::new())
    }
}

impl From<Bytes> for Payload {
    fn from(bytes: Bytes) -> Self {
        Self::before(0, bytes)
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Payload({} bytes)", self.len())
    }
}

/// Bytes in front of a MessagePack message: its length.
pub(crate) const LENGTH_PREFIX: usize = 4;

/// Room for the envelope in front of an encoded value, in bytes: enough for a method name of 35
/// bytes in JSON; with a longer one, or metadata, the value is copied once.
const HEADROOM: usize = 64;

/// Pieces of a message from this size on are passed on without a copy.
const SHARE_FROM: usize = 4 * 1024;

/// Room for the end of an envelope, in bytes.
const TAILROOM: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(payload: Payload, head: &[u8]) -> Bytes {
        payload.framed(head, |buf| buf.push(b'>')).into_bytes()
    }

    #[test]
    fn an_envelope_goes_around_the_value_without_a_second_buffer() {
        let payload = Payload::encode(Codec::Json, &[1, 2]).unwrap();
        let before = payload.as_ptr();
        let message = framed(payload, b"<");
        assert_eq!(&message[..], b"<[1,2]>");
        assert_eq!(message[1..].as_ptr(), before);
    }

    #[test]
    fn a_head_may_outgrow_the_stack() {
        let long: Vec<u8> = (0..200).collect();
        for cut in [0, 1, HEADROOM - 1, HEADROOM, HEADROOM + 1, 150] {
            let mut head = Head::new();
            head.append(&long[..cut]);
            assert_eq!(head.as_slice(), &long[..cut]);
            head.append(&long[cut..]);
            assert_eq!(head.as_slice(), long);
        }
    }

    #[test]
    fn a_long_envelope_and_a_received_value_are_copied() {
        let head = [b'<'; HEADROOM + 1];
        let encoded = Payload::encode(Codec::Json, "v").unwrap();
        assert_eq!(framed(encoded, &head)[HEADROOM + 1..], b"\"v\">"[..]);
        let received = Payload::from(Bytes::from_static(b"v"));
        assert_eq!(&framed(received, b"<")[..], b"<v>");
    }
}
