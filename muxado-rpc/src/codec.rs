//! The two encodings of values. A client chooses its codec at run time.

pub(crate) mod apart;
mod base64;
mod bounded;
mod encode;
mod error;
pub(crate) mod json;
mod kind;
pub(crate) mod msgpack;
pub mod shared_bytes;
mod transcode;

use std::{fmt, str::FromStr};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

pub(crate) use self::error::CodecError;
use self::{
    apart::Apart,
    bounded::{Bounded, Whole},
    transcode::Transcode,
};

/// The encoding of a call's values: JSON or MessagePack.
///
/// A server takes both on one connection and responds in the codec of the request. Both have the same data model, in
/// which structs are maps with field names as keys, so that `#[serde(default)]` lets a service evolve, and bytes are
/// bytes; see [`guide::values`](crate::guide::values).
///
/// The depth of values is limited: 126 nested arrays, maps and variants, and 255 nested options and newtypes. A deeper
/// value is an error of its call, on the sending side as on the receiving one; it cannot overflow the stack.
///
/// ```
/// use muxado_rpc::Codec;
///
/// assert_eq!(Codec::default(), Codec::MessagePack);
/// assert_eq!("json".parse(), Ok(Codec::Json));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Codec {
    /// JSON: one compact text and a line feed per message. Readable, and callable with any JSON library. Bytes are
    /// base64 text.
    Json,
    /// MessagePack: smaller and faster than JSON. Bytes are byte strings. The default.
    #[default]
    MessagePack,
}

impl Codec {
    /// Appends `value` to `buf`.
    #[inline]
    pub(crate) fn encode_into<T: Serialize + ?Sized>(
        self,
        value: &T,
        buf: &mut Vec<u8>,
    ) -> Result<(), CodecError> {
        match self {
            Self::Json => encode::encode::<encode::Json, T>(value, buf),
            Self::MessagePack => encode::encode::<encode::MessagePack, T>(value, buf),
        }
    }

    /// Decodes one value, which `bytes` holds exactly.
    pub(crate) fn decode<'de, T: Deserialize<'de>>(self, bytes: &'de [u8]) -> Result<T, CodecError> {
        match self {
            Self::Json => json::parse(bytes),
            Self::MessagePack => msgpack::decode_sound(bytes).map_or_else(|| decode_packed(bytes), Ok),
        }
    }

    /// Decodes one value of which a large string lies apart.
    ///
    /// # Errors
    ///
    /// Returns the value in one piece if it has to be decoded from that.
    pub(crate) fn decode_with<'de, T: Deserialize<'de>>(
        apart: Apart,
        message: &'de [u8],
    ) -> Result<Result<T, CodecError>, Bytes> {
        apart::decode(apart, message, || decode_packed(message))
    }

    /// The value in another codec, whatever it is. What has no form there is an error.
    pub(crate) fn transcode(self, bytes: &Bytes, to: Self) -> Result<Bytes, CodecError> {
        if self == to {
            return Ok(bytes.clone());
        }
        let mut buf = Vec::with_capacity(bytes.len());
        match self {
            Self::Json => {
                let mut decoder = serde_json::Deserializer::from_slice(bytes);
                let whole = Whole::of_size(bytes.len());
                let decoder = Bounded::<_, bounded::Text<CodecError>>::outermost(&mut decoder, &whole);
                to.encode_into(&Transcode::new(decoder), &mut buf)?;
            }
            Self::MessagePack => {
                let mut decoder = rmp_serde::Deserializer::from_read_ref(&**bytes);
                let whole = Whole::of_size(bytes.len());
                let decoder = Bounded::<_, bounded::Packed<CodecError>>::outermost(&mut decoder, &whole);
                to.encode_into(&Transcode::new(decoder), &mut buf)?;
            }
        }
        Ok(buf.into())
    }

    /// The encoding of a map without entries: what absent parameters stand for.
    pub(crate) fn empty_map(self) -> Bytes {
        match self {
            Self::Json => Bytes::from_static(b"{}"),
            Self::MessagePack => Bytes::from_static(&[0x80]),
        }
    }

    /// The codec that a message beginning with this byte is in.
    pub(crate) fn of_first_byte(byte: u8) -> Self {
        if byte == b'{' { Self::Json } else { Self::MessagePack }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::MessagePack => "messagepack",
        }
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Codec {
    type Err = UnknownCodec;

    fn from_str(name: &str) -> Result<Self, UnknownCodec> {
        [Self::Json, Self::MessagePack]
            .into_iter()
            .find(|codec| codec.name() == name)
            .ok_or_else(|| UnknownCodec(name.to_owned()))
    }
}

/// Decodes a value that is large, or as a rule not sound, and then says why.
#[cold]
fn decode_packed<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Result<T, CodecError> {
    let mut decoder = rmp_serde::Deserializer::from_read_ref(bytes);
    let value = bounded::decode::<bounded::Packed<CodecError>, _, _>(&mut decoder, bytes.len())?;
    if msgpack::is_at_end(&mut decoder) { Ok(value) } else { Err(CodecError::new("bytes follow the value")) }
}

/// Where the parts of an envelope are written.
pub(crate) trait Append {
    /// Writes behind what is there.
    fn append(&mut self, bytes: &[u8]);
}

impl Append for Vec<u8> {
    #[inline]
    fn append(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// The error of a text that does not name a [`Codec`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown codec {0:?}: known are json and messagepack")]
pub struct UnknownCodec(String);

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Point {
        x: i32,
        #[serde(default)]
        y: i32,
    }

    fn encode<T: Serialize>(codec: Codec, value: &T) -> Vec<u8> {
        let mut buf = Vec::new();
        codec.encode_into(value, &mut buf).unwrap();
        buf
    }

    #[test]
    fn structs_are_maps_with_names_in_both_codecs() {
        let point = Point { x: 1, y: 2 };
        assert_eq!(encode(Codec::Json, &point), br#"{"x":1,"y":2}"#);
        assert_eq!(encode(Codec::MessagePack, &point), b"\x82\xa1x\x01\xa1y\x02");
    }

    #[test]
    fn missing_fields_take_their_default_and_unknown_ones_are_ignored() {
        let json = Codec::Json.decode::<Point>(br#"{"z":[1,{}],"x":1}"#);
        assert_eq!(json, Ok(Point { x: 1, y: 0 }));
        let packed = Codec::MessagePack.decode::<Point>(b"\x82\xa1z\x91\x05\xa1x\x01");
        assert_eq!(packed, Ok(Point { x: 1, y: 0 }));
    }

    #[test]
    fn positional_values_decode_in_both_codecs() {
        assert_eq!(Codec::Json.decode::<Point>(b"[1,2]"), Ok(Point { x: 1, y: 2 }));
        assert_eq!(Codec::MessagePack.decode::<Point>(b"\x92\x01\x02"), Ok(Point { x: 1, y: 2 }));
        assert_eq!(Codec::Json.decode::<Point>(b"[1]"), Ok(Point { x: 1, y: 0 }));
        assert_eq!(Codec::MessagePack.decode::<Point>(b"\x91\x01"), Ok(Point { x: 1, y: 0 }));
    }

    #[test]
    fn what_follows_the_value_is_an_error() {
        for (codec, bytes) in [
            (Codec::Json, &b"1 1"[..]),
            (Codec::Json, b"[1,2,3]"),
            (Codec::MessagePack, b"\x01\x01"),
            (Codec::MessagePack, b"\x93\x01\x02\x03"),
        ] {
            assert!(codec.decode::<u8>(bytes).is_err(), "{codec}: {bytes:?}");
            assert!(codec.decode::<Point>(bytes).is_err(), "{codec}: {bytes:?}");
        }
    }

    #[test]
    fn values_survive_a_change_of_codec() {
        let json = Bytes::from_static(br#"{"x":1,"y":[null,"a"]}"#);
        let packed = Codec::Json.transcode(&json, Codec::MessagePack).unwrap();
        assert_eq!(Codec::MessagePack.transcode(&packed, Codec::Json), Ok(json));
    }

    #[test]
    fn names_parse_and_print() {
        for codec in [Codec::Json, Codec::MessagePack] {
            assert_eq!(codec.to_string().parse(), Ok(codec));
        }
        assert_eq!(
            "xml".parse::<Codec>().unwrap_err().to_string(),
            "unknown codec \"xml\": known are json and messagepack"
        );
    }

    #[test]
    fn deep_nesting_is_an_error_not_a_stack_overflow() {
        let deep = vec![b'['; 200_000];
        assert!(Codec::Json.decode::<serde_json::Value>(&deep).is_err());
        let deep = vec![0x91; 200_000];
        assert!(Codec::MessagePack.decode::<serde_json::Value>(&deep).is_err());
    }
}
