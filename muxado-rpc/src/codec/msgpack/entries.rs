//! The entries of a small map, as structs and parameters are: texts and numbers are read where they lie, and from the
//! first other value on all is read as `rmp_serde` does.

use serde::{
    Deserializer,
    de::{DeserializeSeed, MapAccess, Visitor},
};

use super::decode::{General, is_at_end, short_string_in};
use crate::codec::{
    bounded::{Bounded, Packed, Whole},
    error::Unsound,
};

/// What is left of a map of fewer than 16 entries.
pub(super) struct Entries<'a, 'de> {
    rest: Rest<'de>,
    left: u8,
    whole: &'a Whole<Unsound>,
}

/// Where the next key or value is read from.
enum Rest<'de> {
    Here(&'de [u8]),
    Generally(General<'de>),
}

impl<'a, 'de> Entries<'a, 'de> {
    #[inline]
    pub(super) fn new(bytes: &'de [u8], left: u8, whole: &'a Whole<Unsound>) -> Self {
        Self { rest: Rest::Here(bytes), left, whole }
    }

    /// Whether all entries were read, and nothing follows.
    #[inline]
    pub(super) fn is_at_end(&mut self) -> bool {
        self.left == 0
            && match &mut self.rest {
                Rest::Here(rest) => rest.is_empty(),
                Rest::Generally(general) => is_at_end(general),
            }
    }

    /// Reads what is next where it lies. Without `read` it stays there.
    #[inline]
    fn take<T>(&mut self, read: impl FnOnce(&'de [u8]) -> Option<(T, &'de [u8])>) -> Option<T> {
        let Rest::Here(bytes) = self.rest else { return None };
        let (value, rest) = read(bytes)?;
        self.rest = Rest::Here(rest);
        Some(value)
    }

    /// Reads all from here on as `rmp_serde` does.
    fn general<'p>(&'p mut self) -> Bounded<'a, &'p mut General<'de>, Packed<Unsound>> {
        if let Rest::Here(bytes) = self.rest {
            self.rest = Rest::Generally(General::from_read_ref(bytes));
        }
        match &mut self.rest {
            Rest::Generally(general) => Bounded::outermost(general, self.whole),
            Rest::Here(_) => unreachable!("it was replaced"),
        }
    }
}

impl<'de> MapAccess<'de> for Entries<'_, 'de> {
    type Error = Unsound;

    #[inline]
    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Unsound> {
        let Some(left) = self.left.checked_sub(1) else { return Ok(None) };
        self.left = left;
        seed.deserialize(Part { of: self }).map(Some)
    }

    #[inline]
    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Unsound> {
        seed.deserialize(Part { of: self })
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        Some(self.left.into())
    }
}

/// The next key or value.
struct Part<'p, 'a, 'de> {
    of: &'p mut Entries<'a, 'de>,
}

macro_rules! generally {
    ($($method:ident($($name:ident: $type:ty),*),)*) => {
        $(
            #[inline]
            fn $method<V: Visitor<'de>>(self, $($name: $type,)* visitor: V) -> Result<V::Value, Unsound> {
                self.of.general().$method($($name,)* visitor)
            }
        )*
    };
}

macro_rules! read_here {
    ($($method:ident: $read:ident, $visit:ident;)*) => {
        $(
            #[inline]
            fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unsound> {
                match self.of.take($read) {
                    Some(value) => visitor.$visit(value),
                    None => self.of.general().$method(visitor),
                }
            }
        )*
    };
}

impl<'de> Deserializer<'de> for Part<'_, '_, 'de> {
    type Error = Unsound;

    read_here! {
        deserialize_str: text, visit_borrowed_str;
        deserialize_identifier: text, visit_borrowed_str;
        deserialize_string: copied_text, visit_string;
        deserialize_bool: boolean, visit_bool;
        deserialize_u8: unsigned, visit_u64;
        deserialize_u16: unsigned, visit_u64;
        deserialize_u32: unsigned, visit_u64;
        deserialize_u64: unsigned, visit_u64;
        deserialize_i8: signed, visit_i64;
        deserialize_i16: signed, visit_i64;
        deserialize_i32: signed, visit_i64;
        deserialize_i64: signed, visit_i64;
        deserialize_f64: float, visit_f64;
    }

    generally! {
        deserialize_any(),
        deserialize_i128(),
        deserialize_u128(),
        deserialize_f32(),
        deserialize_char(),
        deserialize_bytes(),
        deserialize_byte_buf(),
        deserialize_option(),
        deserialize_unit(),
        deserialize_unit_struct(name: &'static str),
        deserialize_newtype_struct(name: &'static str),
        deserialize_seq(),
        deserialize_tuple(len: usize),
        deserialize_tuple_struct(name: &'static str, len: usize),
        deserialize_map(),
        deserialize_struct(name: &'static str, fields: &'static [&'static str]),
        deserialize_enum(name: &'static str, variants: &'static [&'static str]),
        deserialize_ignored_any(),
    }

    fn is_human_readable(&self) -> bool {
        true
    }
}

#[inline]
fn text(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let (text, rest) = short_string_in(bytes)?;
    Some((str::from_utf8(text).ok()?, rest))
}

#[inline]
fn copied_text(bytes: &[u8]) -> Option<(String, &[u8])> {
    let (text, rest) = short_string_in(bytes)?;
    // A copy is aligned, and so sooner checked than what lies anywhere in a message.
    Some((String::from_utf8(text.to_vec()).ok()?, rest))
}

#[inline]
fn boolean(bytes: &[u8]) -> Option<(bool, &[u8])> {
    match bytes {
        [0xC2, rest @ ..] => Some((false, rest)),
        [0xC3, rest @ ..] => Some((true, rest)),
        _ => None,
    }
}

/// A number without a sign in the shortest form, which is how it is written.
#[inline]
fn unsigned(bytes: &[u8]) -> Option<(u64, &[u8])> {
    match bytes {
        [value @ 0..=0x7F, rest @ ..] => Some((u64::from(*value), rest)),
        [0xCC, value, rest @ ..] => Some((u64::from(*value), rest)),
        [0xCD, a, b, rest @ ..] => Some((u16::from_be_bytes([*a, *b]).into(), rest)),
        [0xCE, rest @ ..] => {
            rest.split_first_chunk().map(|(value, rest)| (u32::from_be_bytes(*value).into(), rest))
        }
        [0xCF, rest @ ..] => rest.split_first_chunk().map(|(value, rest)| (u64::from_be_bytes(*value), rest)),
        _ => None,
    }
}

#[inline]
fn signed(bytes: &[u8]) -> Option<(i64, &[u8])> {
    match bytes {
        [value @ 0xE0..=0xFF, rest @ ..] => Some((i64::from(*value as i8), rest)),
        [0xD0, value, rest @ ..] => Some((i64::from(*value as i8), rest)),
        [0xD1, a, b, rest @ ..] => Some((i16::from_be_bytes([*a, *b]).into(), rest)),
        [0xD2, rest @ ..] => {
            rest.split_first_chunk().map(|(value, rest)| (i32::from_be_bytes(*value).into(), rest))
        }
        [0xD3, rest @ ..] => rest.split_first_chunk().map(|(value, rest)| (i64::from_be_bytes(*value), rest)),
        _ => unsigned(bytes).and_then(|(value, rest)| Some((i64::try_from(value).ok()?, rest))),
    }
}

#[inline]
fn float(bytes: &[u8]) -> Option<(f64, &[u8])> {
    match bytes {
        [0xCB, rest @ ..] => rest.split_first_chunk().map(|(value, rest)| (f64::from_be_bytes(*value), rest)),
        _ => None,
    }
}
