//! Decoding one value that is expected to be sound: a string by itself and a struct at once, all else as `rmp_serde`
//! does.

use serde::{Deserialize, Deserializer, de::Visitor};

use super::entries::Entries;
use crate::codec::{
    bounded::{Bounded, Packed, Whole},
    error::Unsound,
};

/// The value that `bytes` holds exactly; `None` if it does not, or why ever it cannot be decoded. What
/// is wrong [`Codec::decode`](crate::Codec) tells.
// Always, as here and where it is called from, since a call for each part of an item costs as much as the part.
#[inline(always)]
pub(crate) fn decode_sound<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Option<T> {
    let mut read = false;
    let value = T::deserialize(Outermost { bytes, read: &mut read }).ok()?;
    (read || bytes.is_empty()).then_some(value)
}

/// What the outermost value is read from; those inside it come from `rmp_serde`.
struct Outermost<'a, 'de> {
    bytes: &'de [u8],
    /// The value was asked for: one that asks for nothing does not tell what is there.
    read: &'a mut bool,
}

pub(super) type General<'de> = rmp_serde::Deserializer<rmp_serde::decode::ReadRefReader<'de, [u8]>>;
type GeneralError = rmp_serde::decode::Error;

impl<'de> Outermost<'_, 'de> {
    /// Reads as `rmp_serde` does, up to the end.
    #[inline(never)]
    fn generally<T>(
        self,
        read: impl FnOnce(Bounded<'_, &mut General<'de>, Packed<Unsound>>) -> Result<T, Unsound>,
    ) -> Result<T, Unsound> {
        *self.read = true;
        let mut general = rmp_serde::Deserializer::from_read_ref(self.bytes);
        let whole = Whole::of_size(self.bytes.len());
        let value = read(Bounded::outermost(&mut general, &whole))?;
        if is_at_end(&mut general) { Ok(value) } else { Err(Unsound) }
    }
}

/// Whether the decoder has nothing left, which it does not say: not even a marker comes. It is asked for a boolean,
/// because of that it neither goes into nor quotes what else is there.
pub(crate) fn is_at_end(general: &mut General<'_>) -> bool {
    matches!(bool::deserialize(general), Err(GeneralError::InvalidMarkerRead(_)))
}

macro_rules! generally {
    ($($method:ident($($name:ident: $type:ty),*),)*) => {
        $(
            #[inline]
            fn $method<V: Visitor<'de>>(self, $($name: $type,)* visitor: V) -> Result<V::Value, Unsound> {
                self.generally(|general| general.$method($($name,)* visitor))
            }
        )*
    };
}

impl<'de> Deserializer<'de> for Outermost<'_, 'de> {
    type Error = Unsound;

    #[inline]
    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unsound> {
        match short_string(self.bytes).map(str::from_utf8) {
            Some(Ok(text)) => {
                *self.read = true;
                visitor.visit_borrowed_str(text)
            }
            _ => self.generally(|general| general.deserialize_str(visitor)),
        }
    }

    #[inline]
    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unsound> {
        // A copy is aligned, and so sooner checked than what lies anywhere in a message.
        match short_string(self.bytes).map(|text| String::from_utf8(text.to_vec())) {
            Some(Ok(text)) => {
                *self.read = true;
                visitor.visit_string(text)
            }
            _ => self.generally(|general| general.deserialize_string(visitor)),
        }
    }

    #[inline]
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Unsound> {
        let [head @ 0x80..=0x8F, rest @ ..] = self.bytes else {
            return self.generally(|general| general.deserialize_struct(name, fields, visitor));
        };
        *self.read = true;
        let whole = Whole::one_level_down(self.bytes.len());
        let mut entries = Entries::new(rest, head & 0x0F, &whole);
        let value = visitor.visit_map(&mut entries)?;
        if entries.is_at_end() { Ok(value) } else { Err(Unsound) }
    }

    generally! {
        deserialize_any(),
        deserialize_bool(),
        deserialize_i8(),
        deserialize_i16(),
        deserialize_i32(),
        deserialize_i64(),
        deserialize_i128(),
        deserialize_u8(),
        deserialize_u16(),
        deserialize_u32(),
        deserialize_u64(),
        deserialize_u128(),
        deserialize_f32(),
        deserialize_f64(),
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
        deserialize_enum(name: &'static str, variants: &'static [&'static str]),
        deserialize_identifier(),
        deserialize_ignored_any(),
    }

    fn is_human_readable(&self) -> bool {
        true
    }
}

/// The bytes of the string that `value` is and that nothing follows, unless it is one of 256 bytes or more,
/// for which the general way is no detour.
#[inline]
fn short_string(value: &[u8]) -> Option<&[u8]> {
    let (len, text) = match value {
        [head @ 0xA0..=0xBF, text @ ..] => (head & 0x1F, text),
        [0xD9, len, text @ ..] => (*len, text),
        _ => return None,
    };
    (usize::from(len) == text.len()).then_some(text)
}

/// The bytes of the string that is in front, if it is one of fewer than 256 bytes, and those behind it.
#[inline]
pub(super) fn short_string_in(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    match bytes {
        [head @ 0xA0..=0xBF, rest @ ..] => rest.split_at_checked(usize::from(head & 0x1F)),
        [0xD9, len, rest @ ..] => rest.split_at_checked(usize::from(*len)),
        _ => None,
    }
}
