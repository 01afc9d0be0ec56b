//! Finds the messages in the bytes of a stream, and bounds them before they are buffered.

use std::sync::Arc;

use bytes::{Buf, Bytes};

use super::LENGTH_PREFIX;
use crate::{
    Codec,
    budget::{Budget, Exhausted, Reservation},
};

/// Cuts the bytes of a stream into messages. The first byte of all tells the codec.
///
/// A message that comes in one piece is passed on without a copy.
#[derive(Debug)]
pub(crate) struct MessageReader {
    limit: usize,
    codec: Option<Codec>,
    /// What was received and not looked at.
    chunk: Bytes,
    /// The beginning of a message that is not whole.
    partial: Vec<u8>,
    /// The room of that, and then of the last message until the next is asked for.
    reserved: Reservation,
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

impl MessageReader {
    /// A reader of messages of at most `limit` bytes each.
    pub(crate) fn new(limit: usize) -> Self {
        let reserved = Reservation::default();
        Self { limit, codec: None, chunk: Bytes::new(), partial: Vec::new(), reserved }
    }

    /// The same; what it buffers is counted in this budget.
    pub(crate) fn counted(mut self, budget: &Arc<Budget>) -> Self {
        self.reserved = Reservation::of(Arc::clone(budget));
        self
    }

    /// The part of the budget that holds the last message, if that was buffered. Without this it is
    /// given back with the next message.
    pub(crate) fn take_reserved(&mut self) -> Option<Reservation> {
        self.reserved.take()
    }

    /// The codec, once the first byte is there.
    pub(crate) fn codec(&self) -> Option<Codec> {
        self.codec
    }

    /// Takes the next bytes of the stream, once [`pop`](Self::pop) has no message left.
    pub(crate) fn push(&mut self, chunk: Bytes) {
        debug_assert!(self.chunk.is_empty(), "bytes were not looked at");
        if self.codec.is_none() {
            self.codec = chunk.first().map(|first| Codec::of_first_byte(*first));
        }
        self.chunk = chunk;
    }

    /// The next message, if it is whole.
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
            self.partial = Vec::new();
            self.reserved.clear();
        }
        next
    }

    /// The next message where it lies, without a count of references, if it is whole in one piece
    /// and `take` makes something of it. Otherwise it is left for [`pop`](Self::pop).
    pub(crate) fn pop_with<R>(&mut self, take: impl FnOnce(&[u8]) -> Option<R>) -> Option<R> {
        if !self.partial.is_empty() {
            return None;
        }
        let (message, end) = match self.codec? {
            Codec::MessagePack => {
                let (prefix, rest) = self.chunk.split_first_chunk()?;
                let length = u32::from_be_bytes(*prefix) as usize;
                (rest.get(..length)?, LENGTH_PREFIX + length)
            }
            Codec::Json => {
                let length = memchr::memchr(b'\n', &self.chunk)?;
                (&self.chunk[..length], length + 1)
            }
        };
        if message.len() > self.limit {
            return None;
        }
        let taken = take(message)?;
        if end == self.chunk.len() {
            // Its memory is not kept until the next chunk.
            self.chunk = Bytes::new();
        } else {
            self.chunk.advance(end);
        }
        self.reserved.clear();
        Some(taken)
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
            if size > self.limit {
                return Err(MessageError::TooLarge { size: end.map(|_| size) });
            }
            let Some(end) = end else {
                // Unlike a packed one it does not tell its size; doubling copies each byte once or twice.
                let whole = size.max(self.limit.min(self.partial.capacity().saturating_mul(2)));
                let rest = std::mem::take(&mut self.chunk);
                return self.keep(&rest, whole).map(|()| None);
            };
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
        let available = self.partial.len() + self.chunk.len();
        let Some(length) = self.length() else {
            let rest = std::mem::take(&mut self.chunk);
            return self.keep(&rest, LENGTH_PREFIX).map(|()| None);
        };
        if length > self.limit {
            return Err(MessageError::TooLarge { size: Some(length) });
        }
        let whole = LENGTH_PREFIX + length;
        if available < whole {
            let rest = std::mem::take(&mut self.chunk);
            return self.keep(&rest, whole).map(|()| None);
        }
        let rest = self.chunk.split_to(whole - self.partial.len());
        let mut message = self.join(rest)?;
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

/// A message that is not whole has a buffer of at most this many times its bytes. One of 64 KiB has its whole
/// buffer from its first frame on, which has 16 KiB where several streams are busy.
const GROWTH: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `bytes` in pieces of `step`, then the end of the stream.
    fn read(bytes: &[u8], step: usize, limit: usize) -> Result<Bytes, MessageError> {
        let mut reader = MessageReader::new(limit);
        for piece in bytes.chunks(step) {
            reader.push(Bytes::copy_from_slice(piece));
            if let Some(message) = reader.pop()? {
                return Ok(message);
            }
        }
        reader.finish()
    }

    /// All messages of `bytes`, which come in pieces of `step`.
    fn read_all(bytes: &[u8], step: usize) -> Vec<Bytes> {
        let mut reader = MessageReader::new(100);
        let mut messages = Vec::new();
        for piece in bytes.chunks(step) {
            reader.push(Bytes::copy_from_slice(piece));
            while let Some(message) = reader.pop().unwrap() {
                messages.push(message);
            }
        }
        assert_eq!(reader.finish(), Err(MessageError::Missing));
        messages
    }

    #[test]
    fn any_number_of_messages_follow_one_another() {
        for step in 1..20 {
            let text = read_all(b"{\"a\":1}\n\n{}\n\n\n[2]\n", step);
            assert_eq!(text, [&b"{\"a\":1}"[..], b"{}", b"[2]"]);
            let packed = read_all(b"\0\0\0\x03abc\0\0\0\0\0\0\0\x01d", step);
            assert_eq!(packed, [&b"abc"[..], b"", b"d"]);
        }
    }

    #[test]
    fn messages_are_found_however_they_are_cut() {
        for step in 1..12 {
            assert_eq!(read(b"{\"a\":1}\nrest", step, 100).unwrap(), &b"{\"a\":1}"[..]);
            assert_eq!(read(b"\0\0\0\x03abcrest", step, 100).unwrap(), &b"abc"[..]);
        }
    }

    #[test]
    fn the_end_of_the_stream_ends_a_json_message_only() {
        assert_eq!(read(b"{\"a\":1}", 3, 100).unwrap(), &b"{\"a\":1}"[..]);
        assert_eq!(read(b"\0\0\0\x03ab", 3, 100), Err(MessageError::CutShort));
        assert_eq!(read(b"\0", 3, 100), Err(MessageError::CutShort));
        assert_eq!(read(b"", 1, 100), Err(MessageError::Missing));
    }

    #[test]
    fn a_message_of_the_limit_passes_and_one_more_byte_does_not() {
        let (text, packed) = (b"{23456789}\n", b"\0\0\0\x0a0123456789");
        for step in [1, 4, 100] {
            assert_eq!(read(text, step, 10).unwrap().len(), 10);
            assert!(matches!(read(text, step, 9), Err(MessageError::TooLarge { .. })));
            assert_eq!(read(packed, step, 10).unwrap().len(), 10);
            assert_eq!(read(packed, step, 9), Err(MessageError::TooLarge { size: Some(10) }));
        }
    }

    #[test]
    fn what_is_too_large_is_never_buffered() {
        let mut reader = MessageReader::new(1024);
        reader.push(Bytes::from_static(b"\x10\0\0\0abc"));
        assert!(reader.pop().is_err());
        assert_eq!(reader.partial.capacity(), 0);
        let mut reader = MessageReader::new(1024);
        reader.push(vec![b'{'; 4096].into());
        assert_eq!(reader.pop(), Err(MessageError::TooLarge { size: None }));
        assert_eq!(reader.partial.capacity(), 0);
    }

    #[test]
    fn what_is_announced_is_not_allocated_at_once() {
        let mut reader = MessageReader::new(1 << 30);
        let mut chunk = vec![0; 1000];
        chunk[0] = 0x10;
        reader.push(chunk.into());
        assert_eq!(reader.pop(), Ok(None));
        assert!(reader.partial.capacity() <= GROWTH * 1000, "{}", reader.partial.capacity());
    }

    #[test]
    fn a_message_in_one_piece_is_not_copied() {
        let chunk = Bytes::from(b"\0\0\0\x03abc".to_vec());
        let at = chunk[4..].as_ptr();
        let mut reader = MessageReader::new(10);
        reader.push(chunk);
        assert_eq!(reader.pop().unwrap().unwrap().as_ptr(), at);
    }

    #[test]
    fn what_is_taken_where_it_lies_is_what_would_be_popped() {
        for (bytes, messages) in [
            (&b"\0\0\0\x03abc\0\0\0\0\0\0\0\x01d\0\0\0\x02e"[..], [&b"abc"[..], b"", b"d"]),
            (b"{abc\n\nd\ne", [b"{abc", b"", b"d"]),
        ] {
            let mut reader = MessageReader::new(10);
            reader.push(Bytes::from_static(bytes));
            assert_eq!(reader.pop_with(|_| None::<()>), None);
            for message in messages {
                assert_eq!(reader.pop_with(|bytes| Some(bytes.to_vec())).as_deref(), Some(message));
            }
            assert_eq!(reader.pop_with(|_| Some(())), None);
            assert_eq!(reader.pop(), Ok(None));
        }
    }

    #[test]
    fn what_is_not_whole_or_too_large_is_not_taken() {
        for bytes in [&b"\0\0\0\x03ab"[..], b"\0\0", b"{", b"\0\0\0\x0412345", b"{234\n", b""] {
            let mut reader = MessageReader::new(3);
            reader.push(Bytes::copy_from_slice(bytes));
            assert_eq!(reader.pop_with(|_| Some(())), None, "{bytes:?}");
        }
        let mut reader = MessageReader::new(3);
        reader.push(Bytes::from_static(b"\0\0\0\x02a"));
        assert_eq!(reader.pop(), Ok(None));
        reader.push(Bytes::from_static(b"b\0\0\0\x01c"));
        assert_eq!(reader.pop_with(|_| Some(())), None);
        assert_eq!(reader.pop().unwrap().as_deref(), Some(&b"ab"[..]));
        assert_eq!(reader.pop_with(|bytes| Some(bytes[0])), Some(b'c'));
    }

    /// A reader of messages of at most 1 000 bytes, which shares a budget.
    fn counted(budget: &Arc<Budget>) -> MessageReader {
        MessageReader::new(1000).counted(budget)
    }

    #[test]
    fn the_room_of_what_is_buffered_is_counted_to_the_byte() {
        let budget = Budget::new(10_000);
        for (first, rest, rooms) in [
            (&b"\0\0\0\x64abc"[..], vec![b'x'; 97], [GROWTH * 7, 104]),
            (b"{23456789", b"}123\n".to_vec(), [9, 13]),
        ] {
            let mut reader = counted(&budget);
            reader.push(Bytes::from_static(first));
            assert_eq!((reader.pop(), budget.used()), (Ok(None), rooms[0]));
            assert_eq!(reader.partial.capacity(), rooms[0]);
            reader.push(rest.into());
            let message = reader.pop().unwrap().unwrap();
            assert_eq!((reader.partial.capacity(), budget.used()), (0, rooms[1]));
            let reserved = reader.take_reserved();
            assert_eq!((reader.pop(), budget.used()), (Ok(None), rooms[1]));
            drop((message, reserved));
            assert_eq!(budget.used(), 0);
        }
    }

    #[test]
    fn buffers_grow_to_the_limit_and_never_above() {
        let budget = Budget::new(1000);
        let mut reader = counted(&budget);
        for (len, room) in [(300, 300), (1, 600), (299, 600), (1, 1000), (399, 1000)] {
            reader.push(vec![b'{'; len].into());
            assert_eq!((reader.pop(), budget.used()), (Ok(None), room));
            assert_eq!(reader.partial.capacity(), room);
        }
        assert_eq!(reader.finish().unwrap().len(), 1000);
        drop(reader);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn what_has_no_room_gives_back_what_it_had() {
        let budget = Budget::new(100);
        let mut other = counted(&budget);
        other.push(vec![b'{'; 40].into());
        assert_eq!(other.pop(), Ok(None));
        let mut reader = counted(&budget);
        reader.push(vec![b'{'; 60].into());
        assert_eq!((reader.pop(), budget.used()), (Ok(None), 100));
        reader.push(Bytes::from_static(b"x"));
        assert_eq!(reader.pop(), Err(MessageError::NoRoom(Exhausted { limit: 100 })));
        assert_eq!((reader.partial.capacity(), budget.used()), (0, 40));
    }

    #[test]
    fn an_item_is_counted_until_the_next_is_asked_for() {
        let budget = Budget::new(100);
        let mut reader = counted(&budget);
        reader.push(Bytes::from_static(b"\0\0\0\x02a"));
        assert_eq!(reader.pop(), Ok(None));
        reader.push(Bytes::from_static(b"b\0\0\0\x01c"));
        assert_eq!((reader.pop().unwrap().unwrap(), budget.used()), (Bytes::from_static(b"ab"), 6));
        assert_eq!((reader.pop().unwrap().unwrap(), budget.used()), (Bytes::from_static(b"c"), 0));
    }
}
