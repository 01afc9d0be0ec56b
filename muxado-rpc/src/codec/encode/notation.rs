//! How the parts of a value are written in each codec.

use serde::Serialize;

use super::Encoder;
use crate::codec::{
    CodecError, base64,
    bounded::{Bounded, Text, Whole},
    json, msgpack,
    transcode::Transcode,
};

/// What has several parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Array,
    Map,
}

/// How values are written.
pub(crate) trait Notation: Sized {
    /// Keys of maps are texts, whatever their types are.
    const KEYS_ARE_TEXT: bool;
    /// There is no type for bytes.
    const BYTES_ARE_TEXT: bool;
    /// The decoder counts a variant without a value as a level.
    const UNIT_VARIANT_IS_LEVEL: bool;

    fn null(buf: &mut Vec<u8>);
    fn unit_struct(buf: &mut Vec<u8>);
    fn bool(buf: &mut Vec<u8>, value: bool);
    fn i64(buf: &mut Vec<u8>, value: i64);
    fn u64(buf: &mut Vec<u8>, value: u64);
    fn i128(buf: &mut Vec<u8>, value: i128);
    fn u128(buf: &mut Vec<u8>, value: u128);
    fn f32(buf: &mut Vec<u8>, value: f32) -> Result<(), CodecError>;
    fn f64(buf: &mut Vec<u8>, value: f64) -> Result<(), CodecError>;
    fn str(buf: &mut Vec<u8>, text: &str) -> Result<(), CodecError>;
    fn bytes(buf: &mut Vec<u8>, bytes: &[u8]) -> Result<(), CodecError>;
    /// Makes bytes of what is in the buffer from a place on.
    fn end_bytes(buf: &mut Vec<u8>, start: usize) -> Result<(), CodecError>;
    /// Bytes as an array of numbers.
    fn spell_bytes(buf: &mut Vec<u8>, bytes: &[u8]);
    /// The text of a number that may be one of any size.
    fn number(buf: &mut Vec<u8>, text: &str) -> Result<(), CodecError>;
    /// The JSON text of a value.
    fn raw_value(to: &mut Encoder<'_, Self>, text: &str) -> Result<(), CodecError>;
    /// An extension of MessagePack.
    fn extension<T: Serialize + ?Sized>(buf: &mut Vec<u8>, value: &T) -> Result<(), CodecError>;

    fn open(buf: &mut Vec<u8>, kind: Kind, len: Option<usize>) -> Result<(), CodecError>;
    /// In front of an element or a key.
    fn separate(buf: &mut Vec<u8>, is_first: bool);
    /// The name of a field, and what is between it and its value.
    fn name(buf: &mut Vec<u8>, name: &'static str);
    /// What is between a key and its value.
    fn name_end(buf: &mut Vec<u8>);
    fn close(
        buf: &mut Vec<u8>,
        kind: Kind,
        start: usize,
        len: Option<usize>,
        count: usize,
    ) -> Result<(), CodecError>;
    fn begin_variant(buf: &mut Vec<u8>, name: &'static str);
    fn end_variant(buf: &mut Vec<u8>);

    /// Bytes one after the other.
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn collect_bytes(buf: &mut Vec<u8>, bytes: impl Iterator<Item = u8>) -> Result<(), CodecError> {
        let start = buf.len();
        buf.extend(bytes);
        Self::end_bytes(buf, start)
    }
}

/// Compact JSON.
#[derive(Debug)]
pub(crate) struct Json;

impl Notation for Json {
    const KEYS_ARE_TEXT: bool = true;
    const BYTES_ARE_TEXT: bool = true;
    const UNIT_VARIANT_IS_LEVEL: bool = false;

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn null(buf: &mut Vec<u8>) {
        buf.extend_from_slice(b"null");
    }

    fn unit_struct(buf: &mut Vec<u8>) {
        Self::null(buf);
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn bool(buf: &mut Vec<u8>, value: bool) {
        buf.extend_from_slice(if value { b"true" } else { b"false" });
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn i64(buf: &mut Vec<u8>, value: i64) {
        push_number(buf, value);
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn u64(buf: &mut Vec<u8>, value: u64) {
        push_number(buf, value);
    }

    fn i128(buf: &mut Vec<u8>, value: i128) {
        push_number(buf, value);
    }

    fn u128(buf: &mut Vec<u8>, value: u128) {
        push_number(buf, value);
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn f32(buf: &mut Vec<u8>, value: f32) -> Result<(), CodecError> {
        if !value.is_finite() {
            return Err(not_finite(value.into()));
        }
        serde_json::to_writer(buf, &value).map_err(CodecError::new)
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn f64(buf: &mut Vec<u8>, value: f64) -> Result<(), CodecError> {
        if !value.is_finite() {
            return Err(not_finite(value));
        }
        serde_json::to_writer(buf, &value).map_err(CodecError::new)
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn str(buf: &mut Vec<u8>, text: &str) -> Result<(), CodecError> {
        serde_json::to_writer(buf, text).map_err(CodecError::new)
    }

    fn bytes(buf: &mut Vec<u8>, bytes: &[u8]) -> Result<(), CodecError> {
        buf.push(b'"');
        base64::push(buf, bytes);
        buf.push(b'"');
        Ok(())
    }

    fn end_bytes(buf: &mut Vec<u8>, start: usize) -> Result<(), CodecError> {
        let end = buf.len();
        buf.push(b'"');
        base64::push_part(buf, start..end);
        buf.push(b'"');
        buf.copy_within(end.., start);
        buf.truncate(buf.len() - (end - start));
        Ok(())
    }

    fn spell_bytes(buf: &mut Vec<u8>, bytes: &[u8]) {
        buf.push(b'[');
        for (index, byte) in bytes.iter().enumerate() {
            Self::separate(buf, index == 0);
            Self::u64(buf, u64::from(*byte));
        }
        buf.push(b']');
    }

    fn number(buf: &mut Vec<u8>, text: &str) -> Result<(), CodecError> {
        buf.extend_from_slice(text.as_bytes());
        Ok(())
    }

    /// A line feed can only be between the parts of the value, where a space means the same. It would end the message.
    fn raw_value(to: &mut Encoder<'_, Self>, text: &str) -> Result<(), CodecError> {
        let start = to.buf.len();
        to.buf.extend_from_slice(text.as_bytes());
        to.buf[start..].iter_mut().filter(|byte| **byte == b'\n').for_each(|byte| *byte = b' ');
        Ok(())
    }

    fn extension<T: Serialize + ?Sized>(_: &mut Vec<u8>, _: &T) -> Result<(), CodecError> {
        Err(CodecError::new("json has no extension types, as those of MessagePack"))
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn open(buf: &mut Vec<u8>, kind: Kind, _: Option<usize>) -> Result<(), CodecError> {
        buf.push(if kind == Kind::Array { b'[' } else { b'{' });
        Ok(())
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn separate(buf: &mut Vec<u8>, is_first: bool) {
        if !is_first {
            buf.push(b',');
        }
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn name(buf: &mut Vec<u8>, name: &'static str) {
        json::push_string(buf, name);
        buf.push(b':');
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn name_end(buf: &mut Vec<u8>) {
        buf.push(b':');
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn close(buf: &mut Vec<u8>, kind: Kind, _: usize, _: Option<usize>, _: usize) -> Result<(), CodecError> {
        buf.push(if kind == Kind::Array { b']' } else { b'}' });
        Ok(())
    }

    fn begin_variant(buf: &mut Vec<u8>, name: &'static str) {
        buf.push(b'{');
        Self::name(buf, name);
    }

    fn end_variant(buf: &mut Vec<u8>) {
        buf.push(b'}');
    }
}

/// Appends an integer, which can always be written to memory.
#[cfg_attr(not(debug_assertions), inline(always))]
fn push_number(buf: &mut Vec<u8>, number: impl Serialize) {
    let _ = serde_json::to_writer(buf, &number);
}

#[cold]
fn not_finite(value: f64) -> CodecError {
    CodecError::new(format_args!("{value} is no number in json"))
}

/// MessagePack, each value in its shortest form, structures as maps.
#[derive(Debug)]
pub(crate) struct MessagePack;

impl Notation for MessagePack {
    const KEYS_ARE_TEXT: bool = false;
    const BYTES_ARE_TEXT: bool = false;
    const UNIT_VARIANT_IS_LEVEL: bool = true;

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn null(buf: &mut Vec<u8>) {
        buf.push(0xC0);
    }

    /// An array of nothing, so that a structure without fields in an option is told from no structure.
    fn unit_struct(buf: &mut Vec<u8>) {
        buf.push(0x90);
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn bool(buf: &mut Vec<u8>, value: bool) {
        msgpack::push_bool(buf, value);
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn i64(buf: &mut Vec<u8>, value: i64) {
        msgpack::push_i64(buf, value);
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn u64(buf: &mut Vec<u8>, value: u64) {
        msgpack::push_u64(buf, value);
    }

    /// An integer if it is one of MessagePack, else its 16 bytes.
    fn i128(buf: &mut Vec<u8>, value: i128) {
        if let Ok(short) = u64::try_from(value) {
            Self::u64(buf, short);
        } else if let Ok(short) = i64::try_from(value) {
            Self::i64(buf, short);
        } else {
            msgpack::push_bytes_head(buf, 16);
            buf.extend_from_slice(&value.to_be_bytes());
        }
    }

    fn u128(buf: &mut Vec<u8>, value: u128) {
        if let Ok(short) = u64::try_from(value) {
            Self::u64(buf, short);
        } else {
            msgpack::push_bytes_head(buf, 16);
            buf.extend_from_slice(&value.to_be_bytes());
        }
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn f32(buf: &mut Vec<u8>, value: f32) -> Result<(), CodecError> {
        buf.extend_from_slice(&[0xCA]);
        buf.extend_from_slice(&value.to_be_bytes());
        Ok(())
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn f64(buf: &mut Vec<u8>, value: f64) -> Result<(), CodecError> {
        buf.extend_from_slice(&[0xCB]);
        buf.extend_from_slice(&value.to_be_bytes());
        Ok(())
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn str(buf: &mut Vec<u8>, text: &str) -> Result<(), CodecError> {
        check_len(text.len())?;
        msgpack::push_str(buf, text);
        Ok(())
    }

    fn bytes(buf: &mut Vec<u8>, bytes: &[u8]) -> Result<(), CodecError> {
        check_len(bytes.len())?;
        msgpack::push_bytes_head(buf, bytes.len());
        buf.extend_from_slice(bytes);
        Ok(())
    }

    fn end_bytes(buf: &mut Vec<u8>, start: usize) -> Result<(), CodecError> {
        let end = buf.len();
        check_len(end - start)?;
        msgpack::push_bytes_head(buf, end - start);
        let head = buf.len() - end;
        buf[start..].rotate_right(head);
        Ok(())
    }

    fn spell_bytes(buf: &mut Vec<u8>, bytes: &[u8]) {
        msgpack::push_array(buf, bytes.len());
        bytes.iter().for_each(|byte| Self::u64(buf, u64::from(*byte)));
    }

    fn number(buf: &mut Vec<u8>, text: &str) -> Result<(), CodecError> {
        if let Ok(number) = text.parse() {
            Self::u64(buf, number);
        } else if let Ok(number) = text.parse() {
            Self::i64(buf, number);
        } else if let Ok(number) = text.parse::<f64>() {
            Self::f64(buf, number)?;
        } else {
            return Err(CodecError::new("a number of serde_json's own is none"));
        }
        Ok(())
    }

    /// As the value that the text is.
    fn raw_value(to: &mut Encoder<'_, Self>, text: &str) -> Result<(), CodecError> {
        let mut decoder = serde_json::Deserializer::from_str(text);
        let whole = Whole::of_size(text.len());
        to.value(&Transcode::new(Bounded::<_, Text<CodecError>>::outermost(&mut decoder, &whole)))
    }

    fn extension<T: Serialize + ?Sized>(buf: &mut Vec<u8>, value: &T) -> Result<(), CodecError> {
        use serde::Serializer;

        let name = rmp_serde::MSGPACK_EXT_STRUCT_NAME;
        rmp_serde::Serializer::new(buf).serialize_newtype_struct(name, value).map_err(CodecError::new)
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn open(buf: &mut Vec<u8>, kind: Kind, len: Option<usize>) -> Result<(), CodecError> {
        let len = len.unwrap_or(0);
        check_len(len)?;
        match kind {
            Kind::Array => msgpack::push_array(buf, len),
            Kind::Map => msgpack::push_map(buf, len),
        }
        Ok(())
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn separate(_: &mut Vec<u8>, _: bool) {}

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn name(buf: &mut Vec<u8>, name: &'static str) {
        msgpack::push_str(buf, name);
    }

    fn name_end(_: &mut Vec<u8>) {}

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn close(
        buf: &mut Vec<u8>,
        kind: Kind,
        start: usize,
        len: Option<usize>,
        count: usize,
    ) -> Result<(), CodecError> {
        match len {
            Some(len) if len == count => Ok(()),
            Some(len) => Err(CodecError::new(format_args!("{count} elements where {len} were announced"))),
            None => {
                // The head of none is one byte; that of so many may be longer.
                let end = buf.len();
                Self::open(buf, kind, Some(count))?;
                let head = buf.len() - end;
                buf[start + 1..].rotate_right(head);
                buf.remove(start);
                Ok(())
            }
        }
    }

    fn begin_variant(buf: &mut Vec<u8>, name: &'static str) {
        msgpack::push_map(buf, 1);
        msgpack::push_str(buf, name);
    }

    fn end_variant(_: &mut Vec<u8>) {}

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn collect_bytes(buf: &mut Vec<u8>, bytes: impl Iterator<Item = u8>) -> Result<(), CodecError> {
        let (start, len) = (buf.len(), bytes.size_hint().0);
        check_len(len)?;
        msgpack::push_bytes_head(buf, len);
        let head = buf.len() - start;
        buf.extend(bytes);
        if buf.len() - start - head == len { Ok(()) } else { Err(CodecError::new("bytes were miscounted")) }
    }
}

/// MessagePack has lengths of 32 bits.
#[cfg_attr(not(debug_assertions), inline(always))]
fn check_len(len: usize) -> Result<(), CodecError> {
    if u32::try_from(len).is_ok() { Ok(()) } else { Err(too_long(len)) }
}

#[cold]
fn too_long(len: usize) -> CodecError {
    CodecError::new(format_args!("a length of {len} has no form in MessagePack"))
}
