//! [`Bytes`] that share the buffer of the message that they come in, for `#[serde(with)]`.
//!
//! A field of the type `Bytes` is copied out of its message when it is decoded, which is the right thing for small ones.
//! With this module it is a part of the message, without a copy, if it has 4 096 bytes or more and comes as a byte
//! string of MessagePack. As long as it is there, so is the whole message.
//!
//! ```
//! use bytes::Bytes;
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Serialize, Deserialize)]
//! pub struct Chunk {
//!     pub offset: u64,
//!     #[serde(with = "muxado_rpc::shared_bytes")]
//!     pub data: Bytes,
//! }
//!
//! #[muxado_rpc::service]
//! pub trait Store {
//!     async fn put(&self, name: String, #[serde(with = "muxado_rpc::shared_bytes")] data: Bytes) -> u64;
//!     async fn append(&self, name: String, chunk: Chunk) -> u64;
//! }
//! ```

use std::fmt;

use bytes::Bytes;
use scoped_tls::scoped_thread_local;
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, SeqAccess, Visitor, value::SeqAccessDeserializer},
};

/// Bytes of the smallest part that is shared; smaller ones are copied sooner than they are counted.
const SHARE_FROM: usize = 4 * 1024;

scoped_thread_local! {
    /// The message that is decoded on this thread, if it is large enough.
    static MESSAGE: Bytes
}

/// Encodes bytes, as they are encoded without this module.
///
/// # Errors
///
/// What the encoder says.
pub fn serialize<S: Serializer>(bytes: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
    bytes.serialize(serializer)
}

/// Decodes bytes, as a part of the message if they are one.
///
/// # Errors
///
/// What the decoder says, such as that there is something other than bytes.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
    deserializer.deserialize_byte_buf(Part)
}

/// Decodes a message, of which large bytes may become parts.
pub(crate) fn decoding<T>(message: &Bytes, decode: impl FnOnce() -> T) -> T {
    if message.len() < SHARE_FROM {
        return decode();
    }
    MESSAGE.set(message, decode)
}

/// The part of the message that these bytes are; `None` if they are not.
fn part(bytes: &[u8]) -> Option<Bytes> {
    if bytes.len() < SHARE_FROM || !MESSAGE.is_set() {
        return None;
    }
    MESSAGE.with(|message| {
        let start = bytes.as_ptr().addr().checked_sub(message.as_ptr().addr())?;
        let end = start.checked_add(bytes.len())?;
        (end <= message.len()).then(|| message.slice(start..end))
    })
}

struct Part;

impl<'de> Visitor<'de> for Part {
    type Value = Bytes;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes")
    }

    fn visit_borrowed_bytes<E: Error>(self, bytes: &'de [u8]) -> Result<Bytes, E> {
        Ok(part(bytes).unwrap_or_else(|| Bytes::copy_from_slice(bytes)))
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Bytes, E> {
        Ok(Bytes::copy_from_slice(bytes))
    }

    fn visit_byte_buf<E: Error>(self, bytes: Vec<u8>) -> Result<Bytes, E> {
        Ok(bytes.into())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Bytes, E> {
        self.visit_bytes(text.as_bytes())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, elements: A) -> Result<Bytes, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(elements)).map(Bytes::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Codec;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Chunk {
        offset: u64,
        #[serde(with = "super")]
        data: Bytes,
    }

    fn message(codec: Codec, len: usize) -> (Chunk, Bytes) {
        let chunk = Chunk { offset: 7, data: vec![7; len].into() };
        let mut buf = Vec::new();
        codec.encode_into(&chunk, &mut buf).unwrap();
        (chunk, buf.into())
    }

    #[test]
    fn large_bytes_are_a_part_of_their_message() {
        for (len, is_part) in [(0, false), (SHARE_FROM - 1, false), (SHARE_FROM, true), (100_000, true)] {
            let (chunk, bytes) = message(Codec::MessagePack, len);
            let back: Chunk = decoding(&bytes, || Codec::MessagePack.decode(&bytes)).unwrap();
            assert_eq!(back, chunk);
            assert_eq!(bytes.as_ptr_range().contains(&back.data.as_ptr()), is_part, "{len}");
            // Of another message it is no part.
            let back: Chunk = Codec::MessagePack.decode(&bytes).unwrap();
            assert!(!bytes.as_ptr_range().contains(&back.data.as_ptr()), "{len}");
        }
    }

    #[test]
    fn other_forms_are_copied() {
        for len in [0, 10, 100_000] {
            let (chunk, bytes) = message(Codec::Json, len);
            assert_eq!(decoding(&bytes, || Codec::Json.decode(&bytes)), Ok(chunk));
        }
        let array = Bytes::from([&b"{\"offset\":7,\"data\":["[..], &b"7,".repeat(9999), b"7]}"].concat());
        let (chunk, _) = message(Codec::Json, 10_000);
        assert_eq!(decoding(&array, || Codec::Json.decode(&array)), Ok(chunk));
    }
}
