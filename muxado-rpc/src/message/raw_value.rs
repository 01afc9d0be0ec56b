//! Values that an application has encoded itself.

use bytes::Bytes;
use serde::de::IgnoredAny;

use crate::{
    Codec,
    codec::{CodecError, msgpack::Cursor},
    message::payload::Payload,
};

/// Returns bytes as the one value that they are in this codec, in the form in which it is sent.
///
/// # Errors
///
/// Returns what is wrong with bytes that are not one value.
pub(crate) fn raw_value(codec: Codec, bytes: Bytes) -> Result<Payload, CodecError> {
    raw_bytes(codec, bytes).map(Payload::from)
}

/// The same as bytes.
pub(crate) fn raw_bytes(codec: Codec, bytes: Bytes) -> Result<Bytes, CodecError> {
    match codec {
        Codec::MessagePack => {
            let mut cursor = Cursor::new(&bytes);
            cursor.value()?;
            if cursor.is_empty() { Ok(bytes) } else { Err(CodecError::new("bytes follow the value")) }
        }
        Codec::Json => {
            codec.decode::<IgnoredAny>(&bytes)?;
            Ok(without_feeds(bytes))
        }
    }
}

/// Line feeds end messages. Those of a valid text are white space.
fn without_feeds(json: Bytes) -> Bytes {
    if memchr::memchr(b'\n', &json).is_none() {
        return json;
    }
    json.iter().map(|byte| if *byte == b'\n' { b' ' } else { *byte }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_whole_value_is_taken() {
        for (codec, bytes, taken) in [
            (Codec::Json, &b"{\"a\":[1,\n2]}\n"[..], Some(&b"{\"a\":[1, 2]} "[..])),
            (Codec::Json, b" 1 ", Some(b" 1 ")),
            (Codec::Json, b"", None),
            (Codec::Json, b"1 2", None),
            (Codec::Json, b"{\"a\":", None),
            (Codec::Json, b"1}\n{\"item\":2", None),
            (Codec::MessagePack, b"\x93\x01\x02\x03", Some(b"\x93\x01\x02\x03")),
            (Codec::MessagePack, b"", None),
            (Codec::MessagePack, b"\x01\x02", None),
            (Codec::MessagePack, b"\x93\x01", None),
        ] {
            let raw = raw_bytes(codec, Bytes::copy_from_slice(bytes)).ok();
            assert_eq!(raw.as_deref(), taken, "{codec} {bytes:02x?}");
        }
    }
}
