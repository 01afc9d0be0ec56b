//! What a type is, as far as serde does not say it: by its name, of which only what the standard library, serde and
//! `serde_json` call their own is looked for. A type that is called otherwise in a later version of theirs is treated
//! as any other, which both sides understand.

use std::any::type_name;

/// The name under which `serde_json` has its raw values encoded and decoded.
pub(crate) const RAW_VALUE: &str = "$serde_json::private::RawValue";

/// Whether this is `u8`, or a reference to one.
// Patterns of bytes are known when it is compiled, which a loop over characters is not.
#[cfg_attr(not(debug_assertions), inline(always))]
pub(crate) fn is_byte<T: ?Sized>() -> bool {
    matches!(type_name::<T>().as_bytes(), b"u8" | b"&u8" | b"&&u8")
}

/// Whether this is `str` itself, and not a reference to one.
#[cfg_attr(not(debug_assertions), inline(always))]
pub(crate) fn is_str<T: ?Sized>() -> bool {
    type_name::<T>() == "str"
}

/// Whether this is a tuple, or a reference to one, and not an array.
#[cfg_attr(not(debug_assertions), inline(always))]
pub(crate) fn is_tuple<T: ?Sized>() -> bool {
    matches!(type_name::<T>().as_bytes(), [b'(', ..] | [b'&', b'(', ..] | [b'&', b'&', b'(', ..])
}

/// Whether this is what serde keeps a value as until it is known what it is to be. It does not make arrays of bytes.
#[cfg_attr(not(debug_assertions), inline(always))]
pub(crate) fn is_kept<T: ?Sized>() -> bool {
    let name = type_name::<T>();
    matches!(name.as_bytes(), [b's', b'e', b'r', b'd', b'e', ..]) && is_content(name)
}

/// Whether this is any value of JSON, which has no bytes.
#[cfg_attr(not(debug_assertions), inline(always))]
pub(crate) fn is_json_value<T: ?Sized>() -> bool {
    type_name::<T>() == "serde_json::value::Value"
}

fn is_content(name: &str) -> bool {
    name.ends_with("::Content") || name.contains("::Content<")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_told_by_their_names() {
        assert!(is_byte::<u8>() && is_byte::<&u8>() && is_byte::<&&u8>());
        assert!(!is_byte::<i8>() && !is_byte::<Option<u8>>() && !is_byte::<[u8; 1]>());
        assert!(is_str::<str>() && !is_str::<&str>() && !is_str::<String>());
        assert!(is_tuple::<(u8, u8)>() && is_tuple::<&(u8,)>() && !is_tuple::<[u8; 2]>());
        assert!(is_json_value::<serde_json::Value>() && !is_json_value::<Vec<serde_json::Value>>());
    }

    #[test]
    fn what_serde_keeps_is_told_by_its_name() {
        use serde::{Deserialize, Deserializer, de::Visitor};

        /// Says whether it was asked for what serde keeps.
        struct Asked;
        #[derive(Debug, thiserror::Error)]
        #[error("kept: {0}")]
        struct Kept(bool);
        impl serde::de::Error for Kept {
            fn custom<T: std::fmt::Display>(_: T) -> Self {
                Self(false)
            }
        }
        impl<'de> Deserializer<'de> for Asked {
            type Error = Kept;
            fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Kept> {
                Err(Kept(is_kept::<V::Value>()))
            }
            serde::forward_to_deserialize_any! {
                bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit
                unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
            }
        }
        #[derive(Debug, Deserialize)]
        #[serde(untagged)]
        enum Untagged {
            #[expect(dead_code, reason = "only its type matters")]
            One(u8),
        }
        assert!(Untagged::deserialize(Asked).unwrap_err().0);
        assert!(!serde_json::Value::deserialize(Asked).unwrap_err().0);
    }
}
