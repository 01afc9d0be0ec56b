//! The envelope of a MessagePack message: a cursor that reads heads and skips values, and writers.
//!
//! serde cannot hand out a value undecoded here (there is no `RawValue` for MessagePack), and the
//! values inside an envelope are decoded on another task with types only known there.

mod decode;
mod entries;
mod large;
#[cfg(test)]
mod values;

pub(crate) use self::{
    decode::{decode_sound, is_at_end},
    large::{LargePlace, find_large},
};
use super::{Append, CodecError};

/// Reads an envelope from the front. Never allocates, never recurses.
#[derive(Clone, Debug)]
pub(crate) struct Cursor<'a> {
    bytes: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Whether the next value is an array.
    pub(crate) fn at_array(&self) -> bool {
        matches!(self.bytes.first(), Some(0x90..=0x9F | 0xDC | 0xDD))
    }

    /// The number of elements of the array that begins here.
    pub(crate) fn array(&mut self) -> Result<usize, CodecError> {
        match self.byte()? {
            head @ 0x90..=0x9F => Ok(usize::from(head & 0x0F)),
            0xDC => self.uint(2),
            0xDD => self.uint(4),
            head => Err(unexpected("an array", head)),
        }
    }

    /// The number of entries of the map that begins here.
    pub(crate) fn map(&mut self) -> Result<usize, CodecError> {
        match self.byte()? {
            head @ 0x80..=0x8F => Ok(usize::from(head & 0x0F)),
            0xDE => self.uint(2),
            0xDF => self.uint(4),
            head => Err(unexpected("a map", head)),
        }
    }

    pub(crate) fn string(&mut self) -> Result<&'a str, CodecError> {
        let len = match self.byte()? {
            head @ 0xA0..=0xBF => usize::from(head & 0x1F),
            0xD9 => self.uint(1)?,
            0xDA => self.uint(2)?,
            0xDB => self.uint(4)?,
            head => return Err(unexpected("a string", head)),
        };
        std::str::from_utf8(self.take(len)?).map_err(CodecError::new)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, CodecError> {
        let head = self.byte()?;
        let width = match head {
            0..=0x7F => return Ok(u64::from(head)),
            0xCC | 0xD0 => 1,
            0xCD | 0xD1 => 2,
            0xCE | 0xD2 => 4,
            0xCF | 0xD3 => 8,
            _ => return Err(unexpected("a non-negative integer", head)),
        };
        let value = self.take(width)?.iter().fold(0, |value, byte| value << 8 | u64::from(*byte));
        let negative = head >= 0xD0 && value >> (8 * width - 1) == 1;
        if negative { Err(unexpected("a non-negative integer", head)) } else { Ok(value) }
    }

    pub(crate) fn bool(&mut self) -> Result<bool, CodecError> {
        match self.byte()? {
            0xC2 => Ok(false),
            0xC3 => Ok(true),
            head => Err(unexpected("a boolean", head)),
        }
    }

    /// Passes over a nil, if one is next.
    pub(crate) fn nil(&mut self) -> bool {
        let found = self.bytes.first() == Some(&0xC0);
        if found {
            self.bytes = &self.bytes[1..];
        }
        found
    }

    /// The bytes of the next value, whatever it is.
    pub(crate) fn value(&mut self) -> Result<&'a [u8], CodecError> {
        let from = self.bytes;
        let mut values_left = 1usize;
        while values_left > 0 {
            let inside = self.head_and_scalar()?;
            values_left = (values_left - 1).saturating_add(inside);
        }
        Ok(&from[..from.len() - self.bytes.len()])
    }

    /// Passes over one head and what it alone stands for; the number of values inside it.
    fn head_and_scalar(&mut self) -> Result<usize, CodecError> {
        let head = self.byte()?;
        let skip = match head {
            0x80..=0x8F => return Ok(usize::from(head & 0x0F) * 2),
            0x90..=0x9F => return Ok(usize::from(head & 0x0F)),
            0xDC => return self.uint(2),
            0xDD => return self.uint(4),
            0xDE => return Ok(self.uint(2)? * 2),
            0xDF => return Ok(self.uint(4)?.saturating_mul(2)),
            0x00..=0x7F | 0xC0 | 0xC2 | 0xC3 | 0xE0..=0xFF => 0,
            0xA0..=0xBF => usize::from(head & 0x1F),
            0xC4 | 0xD9 => self.uint(1)?,
            0xC5 | 0xDA => self.uint(2)?,
            0xC6 | 0xDB => self.uint(4)?,
            // An extension has one more byte, its type.
            0xC7 => self.uint(1)? + 1,
            0xC8 => self.uint(2)? + 1,
            0xC9 => self.uint(4)?.saturating_add(1),
            0xD4..=0xD8 => (1 << (head - 0xD4)) + 1,
            0xCC | 0xD0 => 1,
            0xCD | 0xD1 => 2,
            0xCA | 0xCE | 0xD2 => 4,
            0xCB | 0xCF | 0xD3 => 8,
            0xC1 => return Err(unexpected("a value", head)),
        };
        self.take(skip).map(|_| 0)
    }

    fn byte(&mut self) -> Result<u8, CodecError> {
        Ok(self.take(1)?[0])
    }

    /// A big-endian number of at most four bytes.
    fn uint(&mut self, width: usize) -> Result<usize, CodecError> {
        Ok(self.take(width)?.iter().fold(0, |value, byte| value << 8 | usize::from(*byte)))
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], CodecError> {
        let (taken, rest) =
            self.bytes.split_at_checked(len).ok_or_else(|| CodecError::new("the message is cut short"))?;
        self.bytes = rest;
        Ok(taken)
    }
}

/// Appends the head of a map.
pub(crate) fn push_map(buf: &mut impl Append, entries: usize) {
    push_head(buf, entries, 0x80, 0xDE);
}

/// Appends the head of an array.
pub(crate) fn push_array(buf: &mut impl Append, elements: usize) {
    push_head(buf, elements, 0x90, 0xDC);
}

/// Appends a string.
#[inline]
pub(crate) fn push_str(buf: &mut impl Append, text: &str) {
    push_str_head(buf, text.len());
    buf.append(text.as_bytes());
}

/// Appends the head of a string.
#[inline]
pub(crate) fn push_str_head(buf: &mut impl Append, len: usize) {
    match len {
        len @ 0..32 => buf.append(&[0xA0 | len as u8]),
        len @ 32..0x100 => buf.append(&[0xD9, len as u8]),
        len @ 0x100..0x1_0000 => push_number(buf, 0xDA, &(len as u16).to_be_bytes()),
        len => push_number(buf, 0xDB, &(len as u32).to_be_bytes()),
    }
}

/// Appends a non-negative integer in its shortest form.
pub(crate) fn push_u64(buf: &mut impl Append, value: u64) {
    match value {
        0..0x80 => buf.append(&[value as u8]),
        0x80..0x100 => buf.append(&[0xCC, value as u8]),
        0x100..0x1_0000 => push_number(buf, 0xCD, &(value as u16).to_be_bytes()),
        0x1_0000..0x1_0000_0000 => push_number(buf, 0xCE, &(value as u32).to_be_bytes()),
        _ => push_number(buf, 0xCF, &value.to_be_bytes()),
    }
}

/// Returns how many bytes [`push_u64`] appends.
pub(crate) const fn len_u64(value: u64) -> usize {
    match value {
        0..0x80 => 1,
        0x80..0x100 => 2,
        0x100..0x1_0000 => 3,
        0x1_0000..0x1_0000_0000 => 5,
        _ => 9,
    }
}

/// Appends an integer in its shortest form.
pub(crate) fn push_i64(buf: &mut impl Append, value: i64) {
    match value {
        0.. => push_u64(buf, value.unsigned_abs()),
        -0x20..0 => buf.append(&[value as u8]),
        -0x80..-0x20 => buf.append(&[0xD0, value as u8]),
        -0x8000..-0x80 => push_number(buf, 0xD1, &(value as i16).to_be_bytes()),
        -0x8000_0000..-0x8000 => push_number(buf, 0xD2, &(value as i32).to_be_bytes()),
        _ => push_number(buf, 0xD3, &value.to_be_bytes()),
    }
}

/// Appends the head of a byte string.
pub(crate) fn push_bytes_head(buf: &mut impl Append, len: usize) {
    match len {
        0..0x100 => buf.append(&[0xC4, len as u8]),
        0x100..0x1_0000 => push_number(buf, 0xC5, &(len as u16).to_be_bytes()),
        _ => push_number(buf, 0xC6, &(len as u32).to_be_bytes()),
    }
}

/// Appends `true` or `false`.
pub(crate) fn push_bool(buf: &mut impl Append, value: bool) {
    buf.append(&[0xC2 | u8::from(value)]);
}

fn push_head(buf: &mut impl Append, count: usize, short: u8, long: u8) {
    match count {
        0..16 => buf.append(&[short | count as u8]),
        16..0x1_0000 => push_number(buf, long, &(count as u16).to_be_bytes()),
        _ => push_number(buf, long + 1, &(count as u32).to_be_bytes()),
    }
}

fn push_number(buf: &mut impl Append, head: u8, number: &[u8]) {
    buf.append(&[head]);
    buf.append(number);
}

fn unexpected(wanted: &str, head: u8) -> CodecError {
    CodecError::new(format_args!("expected {wanted}, found a value beginning with {head:#04x}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn any_value_is_passed_over_exactly() {
        let long = "x".repeat(70_000);
        let many: Vec<u32> = (0..70_000).collect();
        let map: std::collections::BTreeMap<u32, Vec<u8>> = (0..300).map(|n| (n, vec![1; 3])).collect();
        let values = [
            rmp_serde::to_vec(&json!({"a": [1, -1, 300, -300, 70000, 5_000_000_000_u64, 1.5, null, true]})),
            rmp_serde::to_vec(&(long, many, map)),
            rmp_serde::to_vec(&(i64::MIN, f32::MAX, "ü".repeat(20), "y".repeat(300))),
        ];
        for value in values {
            let mut bytes = value.unwrap();
            bytes.push(0x2A);
            let mut cursor = Cursor::new(&bytes);
            assert_eq!(cursor.value().unwrap().len(), bytes.len() - 1);
            assert_eq!(cursor.u64(), Ok(42));
            assert!(cursor.is_empty());
        }
    }

    #[test]
    fn extensions_and_byte_strings_are_passed_over() {
        for bytes in [&b"\xd4\x01a"[..], b"\xd8\x01aaaaaaaaaaaaaaaa", b"\xc7\x02\x01ab", b"\xc4\x03abc"] {
            assert_eq!(Cursor::new(bytes).value(), Ok(bytes));
        }
    }

    #[test]
    fn every_cut_is_an_error() {
        let whole =
            rmp_serde::to_vec(&json!({"a": [1, "two", {"b": 3.5}], "c": "long enough to need it"})).unwrap();
        for len in 0..whole.len() {
            assert!(Cursor::new(&whole[..len]).value().is_err(), "{len} bytes");
        }
    }

    #[test]
    fn a_huge_count_costs_nothing() {
        let mut nested = b"\xdd\xff\xff\xff\xff".repeat(1000);
        assert!(Cursor::new(&nested).value().is_err());
        nested.truncate(5);
        assert!(Cursor::new(&nested).value().is_err());
    }

    #[test]
    fn writers_agree_with_the_codec() {
        for value in [0, 127, 128, 255, 256, 65_535, 65_536, u64::from(u32::MAX), u64::MAX] {
            let mut buf = Vec::new();
            push_u64(&mut buf, value);
            assert_eq!(buf, rmp_serde::to_vec(&value).unwrap());
            assert_eq!(buf.len(), len_u64(value));
            assert_eq!(Cursor::new(&buf).u64(), Ok(value));
        }
        for value in [0, -1, -32, -33, -128, -129, -32_768, -32_769, i64::from(i32::MIN), i64::MIN, i64::MAX]
        {
            let mut buf = Vec::new();
            push_i64(&mut buf, value);
            assert_eq!(buf, rmp_serde::to_vec(&value).unwrap());
        }
        for len in [0, 255, 256, 65_535, 65_536] {
            let (mut buf, mut general) = (Vec::new(), rmp_serde::Serializer::new(Vec::new()));
            push_bytes_head(&mut buf, len);
            serde::Serializer::serialize_bytes(&mut general, &vec![0; len]).unwrap();
            assert!(general.get_ref().starts_with(&buf) && general.get_ref().len() == buf.len() + len);
        }
        for len in [0, 31, 32, 255, 256, 65_535, 65_536] {
            let text = "x".repeat(len);
            let mut buf = Vec::new();
            push_str(&mut buf, &text);
            assert_eq!(buf, rmp_serde::to_vec(&text).unwrap());
            assert_eq!(Cursor::new(&buf).string(), Ok(&*text));
        }
        for count in [0, 15, 16, 65_535, 65_536] {
            let (mut array, mut map) = (Vec::new(), Vec::new());
            push_array(&mut array, count);
            push_map(&mut map, count);
            assert_eq!(Cursor::new(&array).array(), Ok(count));
            assert_eq!(Cursor::new(&map).map(), Ok(count));
        }
    }

    #[test]
    fn negative_numbers_are_no_timeouts() {
        for bytes in [&b"\xff"[..], b"\xd0\x80", b"\xd3\x80\0\0\0\0\0\0\0"] {
            assert!(Cursor::new(bytes).u64().is_err());
        }
        assert_eq!(Cursor::new(b"\xd1\x01\x00").u64(), Ok(256));
    }
}
