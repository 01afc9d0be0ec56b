//! Finds the messages in the bytes of a stream, and bounds them before they are buffered.

use bytes::{Buf, Bytes, BytesMut};

use super::LENGTH_PREFIX;
use crate::Codec;

/// Collects one message. Its first byte tells the codec.
///
/// A message that comes in one piece is passed on without a copy.
#[derive(Debug)]
pub(crate) struct MessageReader {
    limit: usize,
    codec: Option<Codec>,
    buffered: BytesMut,
}

/// Why there is no message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum MessageError {
    /// It has, or is to have, more bytes than the limit.
    TooLarge {
        /// The bytes it has, if it said so beforehand.
        size: Option<usize>,
    },
    /// The stream ended inside it.
    CutShort,
    /// The stream ended before it.
    Missing,
}

impl MessageReader {
    /// A reader of a message of at most `limit` bytes.
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, codec: None, buffered: BytesMut::new() }
    }

    /// The codec, once the first byte is there.
    pub(crate) fn codec(&self) -> Option<Codec> {
        self.codec
    }

    /// Takes the next bytes of the stream; the message once it is whole. Bytes behind it are dropped.
    pub(crate) fn push(&mut self, chunk: Bytes) -> Result<Option<Bytes>, MessageError> {
        let Some(first) = chunk.first() else { return Ok(None) };
        let codec = *self.codec.get_or_insert_with(|| Codec::of_first_byte(*first));
        match codec {
            Codec::Json => self.push_json(chunk),
            Codec::MessagePack => self.push_packed(chunk),
        }
    }

    /// The message that the end of the stream ends.
    pub(crate) fn finish(&mut self) -> Result<Bytes, MessageError> {
        match self.codec {
            None => Err(MessageError::Missing),
            Some(Codec::Json) => Ok(self.buffered.split().freeze()),
            Some(Codec::MessagePack) => Err(MessageError::CutShort),
        }
    }

    fn push_json(&mut self, mut chunk: Bytes) -> Result<Option<Bytes>, MessageError> {
        let end = memchr::memchr(b'\n', &chunk);
        let size = self.buffered.len() + end.unwrap_or(chunk.len());
        if size > self.limit {
            return Err(MessageError::TooLarge { size: end.map(|_| size) });
        }
        let Some(end) = end else {
            self.buffered.extend_from_slice(&chunk);
            return Ok(None);
        };
        if end < chunk.len() {
            chunk.truncate(end);
        }
        Ok(Some(self.join(chunk)))
    }

    fn push_packed(&mut self, mut chunk: Bytes) -> Result<Option<Bytes>, MessageError> {
        let available = self.buffered.len() + chunk.len();
        let Some(length) = self.length(&chunk) else {
            self.buffered.extend_from_slice(&chunk);
            return Ok(None);
        };
        if length > self.limit {
            return Err(MessageError::TooLarge { size: Some(length) });
        }
        let whole = LENGTH_PREFIX + length;
        if available < whole {
            self.buffered.extend_from_slice(&chunk);
            return Ok(None);
        }
        if whole < available {
            chunk.truncate(whole - self.buffered.len());
        }
        let mut message = self.join(chunk);
        message.advance(LENGTH_PREFIX);
        Ok(Some(message))
    }

    /// The length in front of the message, once its bytes are there.
    fn length(&self, chunk: &[u8]) -> Option<usize> {
        let mut prefix = [0; LENGTH_PREFIX];
        let mut bytes = self.buffered.iter().chain(chunk);
        for byte in &mut prefix {
            *byte = *bytes.next()?;
        }
        Some(u32::from_be_bytes(prefix) as usize)
    }

    fn join(&mut self, chunk: Bytes) -> Bytes {
        if self.buffered.is_empty() {
            return chunk;
        }
        self.buffered.extend_from_slice(&chunk);
        self.buffered.split().freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `bytes` in pieces of `step`, then the end of the stream.
    fn read(bytes: &[u8], step: usize, limit: usize) -> Result<Bytes, MessageError> {
        let mut reader = MessageReader::new(limit);
        for piece in bytes.chunks(step) {
            if let Some(message) = reader.push(Bytes::copy_from_slice(piece))? {
                return Ok(message);
            }
        }
        reader.finish()
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
        assert!(reader.push(Bytes::from_static(b"\x10\0\0\0abc")).is_err());
        assert_eq!(reader.buffered.capacity(), 0);
        let mut reader = MessageReader::new(1024);
        let endless = vec![b'{'; 4096];
        assert_eq!(reader.push(endless.into()), Err(MessageError::TooLarge { size: None }));
        assert_eq!(reader.buffered.capacity(), 0);
    }

    #[test]
    fn a_message_in_one_piece_is_not_copied() {
        let chunk = Bytes::from(b"\0\0\0\x03abc".to_vec());
        let at = chunk[4..].as_ptr();
        assert_eq!(MessageReader::new(10).push(chunk).unwrap().unwrap().as_ptr(), at);
    }
}
