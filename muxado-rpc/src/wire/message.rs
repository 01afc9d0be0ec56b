//! Finds the messages in the bytes of a stream, and bounds them before they are buffered.

mod gather;

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use bytes::{Buf, Bytes};

use self::gather::Gather;
use super::LENGTH_PREFIX;
use crate::{
    Codec,
    codec::apart::Apart,
    support::budget::{CallMemory, Exhausted, Purpose, Reservation},
};

/// Cuts the bytes of a stream into messages. The first byte of all tells the codec.
///
/// A message that comes in one piece is passed on without a copy.
#[derive(Debug)]
pub(crate) struct MessageDecoder {
    /// Bytes of a message at most. Limits are far below what has no room here.
    limit: u32,
    codec: Option<Codec>,
    /// What was received and not looked at.
    chunk: Bytes,
    /// The beginning of a message that is not whole.
    partial: Vec<u8>,
    /// The room of that, and then of the last message until the next is asked for.
    reserved: Reservation,
    /// A message was taken where it lay.
    has_taken: bool,
    /// A large string of the first message is gathered apart from it.
    gathers: bool,
    /// That string, of the message that is not whole, and then of the last one until it is taken.
    gather: Option<Box<Gather>>,
}

/// Why there is no message. After that there is no other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum MessageError {
    /// It has, or is to have, more bytes than the limit.
    TooLarge {
        /// The bytes it has, if it said so beforehand.
        size: Option<usize>,
    },
    /// There is no room for it among those that share a budget.
    NoRoom(Exhausted),
    /// The stream ended inside it.
    CutShort,
    /// The stream ended before it.
    Missing,
}

impl MessageDecoder {
    /// A reader of messages of at most `limit` bytes each.
    pub(crate) fn new(limit: usize) -> Self {
        let reserved = Reservation::default();
        Self {
            limit: u32::try_from(limit).unwrap_or(u32::MAX),
            codec: None,
            chunk: Bytes::new(),
            partial: Vec::new(),
            reserved,
            has_taken: false,
            gathers: false,
            gather: None,
        }
    }

    const fn limit(&self) -> usize {
        self.limit as usize
    }

    /// Gathers a large string of the first message apart from it, for who then [takes](Self::take_apart) it.
    pub(crate) const fn gathering(mut self) -> Self {
        self.gathers = true;
        self
    }

    /// Takes the large string of the message that was popped, which has a stand-in for it.
    pub(crate) fn take_apart(&mut self) -> Option<Apart> {
        Some(self.gather.take()?.into_apart())
    }

    /// Counts what the decoder buffers as part of this.
    pub(crate) fn counted(mut self, memory: &Arc<CallMemory>, purpose: Purpose) -> Self {
        self.reserved = Reservation::of(memory, purpose);
        self
    }

    /// Returns the beginning of the next message: what was kept of it, or what came first. In MessagePack its length is
    /// in front.
    pub(crate) fn beginning(&self) -> &[u8] {
        if self.partial.is_empty() { &self.chunk } else { &self.partial }
    }

    /// Counts what is buffered as that of a call that was authorised.
    pub(crate) fn authorise(&mut self) {
        self.reserved.authorise();
    }

    /// Ready if what is buffered has to go, while the rest of it is waited for.
    pub(crate) fn poll_evicted(&mut self, cx: &mut Context<'_>) -> Poll<MessageError> {
        self.reserved.poll_evicted(cx, true).map(MessageError::NoRoom)
    }

    /// Sets the codec, where it is known before the first byte.
    pub(crate) const fn in_codec(mut self, codec: Option<Codec>) -> Self {
        self.codec = codec;
        self
    }

    /// The part of the budget that holds the last message, if that was buffered. Without this it is
    /// given back with the next message.
    pub(crate) fn take_reserved(&mut self) -> Option<Reservation> {
        self.reserved.take()
    }

    /// The codec, once the first byte is there.
    #[cfg(test)]
    pub(crate) fn codec(&self) -> Option<Codec> {
        self.codec
    }

    /// Whether a message has begun of which the rest is missing.
    pub(crate) fn is_midway(&self) -> bool {
        !self.partial.is_empty()
    }

    /// Takes the next bytes of the stream, once [`pop`](Self::pop) has no message left.
    pub(crate) fn push(&mut self, chunk: Bytes) {
        debug_assert!(self.chunk.is_empty(), "bytes were not looked at");
        if self.codec.is_none() {
            self.codec = chunk.first().map(|first| Codec::of_first_byte(*first));
        }
        self.chunk = chunk;
    }

    /// The next message, if it is whole. In JSON it may have its line feed behind it, which is white
    /// space to every parser.
    pub(crate) fn pop(&mut self) -> Result<Option<Bytes>, MessageError> {
        if self.partial.is_empty() {
            self.reserved.clear();
        }
        if self.chunk.is_empty() {
            return Ok(None);
        }
        let next = match self.codec {
            Some(Codec::MessagePack) => self.next_packed(),
            _ => self.next_json(),
        };
        if next.is_err() {
            (self.partial, self.gather) = (Vec::new(), None);
            self.reserved.clear();
        }
        self.gathers &= !matches!(next, Ok(Some(_)));
        next
    }

    /// The next message where it lies, without a count of references, if it is whole in one piece
    /// and `take` makes something of it. Otherwise it is left for [`pop`](Self::pop).
    #[inline(always)]
    pub(crate) fn pop_packed<R>(&mut self, take: impl FnOnce(&[u8]) -> Option<R>) -> Option<R> {
        if !self.partial.is_empty() || self.codec != Some(Codec::MessagePack) {
            return None;
        }
        let (prefix, rest) = self.chunk.split_first_chunk()?;
        let length = u32::from_be_bytes(*prefix) as usize;
        let message = rest.get(..length).filter(|_| length <= self.limit())?;
        let taken = take(message)?;
        self.pass(LENGTH_PREFIX + length);
        Some(taken)
    }

    /// The same of messages in JSON.
    #[inline]
    pub(crate) fn pop_json<R>(&mut self, take: impl FnOnce(&[u8]) -> Option<R>) -> Option<R> {
        if !self.partial.is_empty() || self.codec != Some(Codec::Json) {
            return None;
        }
        let length = memchr::memchr(b'\n', &self.chunk).filter(|length| *length <= self.limit())?;
        let taken = take(&self.chunk[..length])?;
        self.pass(length + 1);
        Some(taken)
    }

    /// Has done with the message at the front of the chunk.
    #[inline(always)]
    fn pass(&mut self, len: usize) {
        if len == self.chunk.len() {
            // Its memory is not kept until the next chunk.
            self.chunk = Bytes::new();
        } else {
            self.chunk.advance(len);
        }
        self.reserved.clear();
        self.has_taken = true;
    }

    /// Whether a message was taken where it lay, and not popped.
    pub(crate) fn has_taken(&self) -> bool {
        self.has_taken
    }

    /// The message that the end of the stream ends.
    pub(crate) fn finish(&mut self) -> Result<Bytes, MessageError> {
        if self.partial.is_empty() {
            return Err(MessageError::Missing);
        }
        match self.codec {
            Some(Codec::MessagePack) => Err(MessageError::CutShort),
            _ => Ok(std::mem::take(&mut self.partial).into()),
        }
    }

    /// Empty lines are passed over.
    fn next_json(&mut self) -> Result<Option<Bytes>, MessageError> {
        while !self.chunk.is_empty() {
            let end = memchr::memchr(b'\n', &self.chunk);
            let size = self.partial.len() + end.unwrap_or(self.chunk.len());
            if size > self.limit() {
                return Err(MessageError::TooLarge { size: end.map(|_| size) });
            }
            let Some(end) = end else {
                // Unlike a packed one it does not tell its size; doubling copies each byte once or twice.
                let whole = size.max(self.limit().min(self.partial.capacity().saturating_mul(2)));
                let rest = std::mem::take(&mut self.chunk);
                return self.keep(&rest, whole).map(|()| None);
            };
            if end + 1 == self.chunk.len() && end > 0 && self.partial.is_empty() {
                // All of the chunk: to cut it would cost a count of references.
                return Ok(Some(std::mem::take(&mut self.chunk)));
            }
            let line = self.chunk.split_to(end);
            self.chunk.advance(1);
            let message = self.join(line)?;
            if !message.is_empty() {
                return Ok(Some(message));
            }
        }
        Ok(None)
    }

    fn next_packed(&mut self) -> Result<Option<Bytes>, MessageError> {
        if self.gather.is_some() {
            return self.gather();
        }
        let available = self.partial.len() + self.chunk.len();
        let Some(length) = self.length() else {
            let rest = std::mem::take(&mut self.chunk);
            return self.keep(&rest, LENGTH_PREFIX).map(|()| None);
        };
        if length > self.limit() {
            return Err(MessageError::TooLarge { size: Some(length) });
        }
        let whole = LENGTH_PREFIX + length;
        if available < whole {
            if self.gathers && self.partial.is_empty() {
                self.gather = Gather::begin(&mut self.chunk, length, &mut self.partial).map(Box::new);
                if self.gather.is_some() {
                    return self.gather();
                }
            }
            let rest = std::mem::take(&mut self.chunk);
            return self.keep(&rest, whole).map(|()| None);
        }
        let rest = self.chunk.split_to(whole - self.partial.len());
        let mut message = self.join(rest)?;
        message.advance(LENGTH_PREFIX);
        Ok(Some(message))
    }

    /// Goes on with a message of which a large string is gathered apart.
    fn gather(&mut self) -> Result<Option<Bytes>, MessageError> {
        let Some(gather) = &mut self.gather else { return Ok(None) };
        let added = gather.add(&mut self.chunk, &mut self.partial, &mut self.reserved);
        if !added.map_err(MessageError::NoRoom)? {
            self.chunk = Bytes::new();
            return Ok(None);
        }
        let mut message = Bytes::from(std::mem::take(&mut self.partial));
        message.advance(LENGTH_PREFIX);
        Ok(Some(message))
    }

    /// The length in front of the message, once its bytes are there.
    fn length(&self) -> Option<usize> {
        let mut prefix = [0; LENGTH_PREFIX];
        let mut bytes = self.partial.iter().chain(&self.chunk);
        for byte in &mut prefix {
            *byte = *bytes.next()?;
        }
        Some(u32::from_be_bytes(prefix) as usize)
    }

    /// Adds `bytes` to the message that is not whole and will have `whole` bytes. What a peer
    /// announces is not allocated before a good part of it has come.
    fn keep(&mut self, bytes: &[u8], whole: usize) -> Result<(), MessageError> {
        let have = self.partial.len() + bytes.len();
        if self.partial.capacity() < have {
            let room = whole.clamp(have, have.saturating_mul(GROWTH));
            self.reserved.grow(room).map_err(MessageError::NoRoom)?;
            self.partial.reserve_exact(room - self.partial.len());
        }
        self.partial.extend_from_slice(bytes);
        Ok(())
    }

    fn join(&mut self, chunk: Bytes) -> Result<Bytes, MessageError> {
        if self.partial.is_empty() {
            return Ok(chunk);
        }
        self.keep(&chunk, 0)?;
        Ok(std::mem::take(&mut self.partial).into())
    }
}

/// Makes the first bytes of a stream a message and returns its codec, if they are one of at most `limit` bytes and
/// nothing else; otherwise they stay as they are.
#[inline]
pub(crate) fn whole_message(chunk: &mut Bytes, limit: usize) -> Option<Codec> {
    let codec = Codec::of_first_byte(*chunk.first()?);
    match codec {
        Codec::MessagePack => {
            let (prefix, rest) = chunk.split_first_chunk::<LENGTH_PREFIX>()?;
            let length = u32::from_be_bytes(*prefix) as usize;
            if length != rest.len() || length > limit {
                return None;
            }
            chunk.advance(LENGTH_PREFIX);
        }
        Codec::Json => {
            // Empty lines are passed over, so one is no message. To cut the line feed off would cost a count of references.
            let end = memchr::memchr(b'\n', chunk);
            if end.is_none_or(|end| end == 0 || end + 1 != chunk.len() || end > limit) {
                return None;
            }
        }
    }
    Some(codec)
}

/// A message that is not whole has a buffer of at most this many times its bytes. One of 64 KiB has its whole
/// buffer from its first frame on, which may have 16 KiB.
const GROWTH: usize = 5;

#[cfg(test)]
mod tests;
