//! What is made of a value. Here the levels are counted.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{
        self, EnumAccess, IntoDeserializer, MapAccess, SeqAccess, Unexpected, Visitor,
        value::MapAccessDeserializer,
    },
};

use super::{Bounded, Failure, Place};

macro_rules! forward {
    ($($method:ident: $type:ty,)*) => {
        $(
            #[cfg_attr(not(debug_assertions), inline(always))]
            fn $method<X: de::Error>(self, value: $type) -> Result<V::Value, X> {
                self.inner.$method(value).map_err(|failure: E| self.bounds.hand_over(failure))
            }
        )*
    };
}

/// Strings are names of variants where one is asked for.
macro_rules! forward_string {
    ($($method:ident: $type:ty,)*) => {
        $(
            #[cfg_attr(not(debug_assertions), inline(always))]
            fn $method<X: de::Error>(self, text: $type) -> Result<V::Value, X> {
                if self.bounds.place == Place::Variant {
                    return self.visit_name(&text);
                }
                self.inner.$method(text).map_err(|failure: E| self.bounds.hand_over(failure))
            }
        )*
    };
}

impl<'de, V, E> Visitor<'de> for Bounded<'_, V, E>
where
    V: Visitor<'de>,
    E: Failure,
{
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.expecting(f)
    }

    forward! {
        visit_bool: bool,
        visit_i8: i8,
        visit_i16: i16,
        visit_i32: i32,
        visit_i64: i64,
        visit_i128: i128,
        visit_u8: u8,
        visit_u16: u16,
        visit_u32: u32,
        visit_u64: u64,
        visit_u128: u128,
        visit_f32: f32,
        visit_f64: f64,
        visit_char: char,
        visit_bytes: &[u8],
        visit_borrowed_bytes: &'de [u8],
        visit_byte_buf: Vec<u8>,
    }

    forward_string! {
        visit_str: &str,
        visit_borrowed_str: &'de str,
        visit_string: String,
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn visit_none<X: de::Error>(self) -> Result<V::Value, X> {
        self.inner.visit_none().map_err(|failure: E| self.bounds.hand_over(failure))
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn visit_unit<X: de::Error>(self) -> Result<V::Value, X> {
        self.inner.visit_unit().map_err(|failure: E| self.bounds.hand_over(failure))
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn visit_some<D: Deserializer<'de>>(self, decoder: D) -> Result<V::Value, D::Error> {
        let bounds = self.bounds.wrapped()?;
        self.inner.visit_some(Bounded { inner: decoder, bounds }).map_err(|failure| bounds.hand_over(failure))
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn visit_newtype_struct<D: Deserializer<'de>>(self, decoder: D) -> Result<V::Value, D::Error> {
        let bounds = self.bounds.wrapped()?;
        self.inner
            .visit_newtype_struct(Bounded { inner: decoder, bounds })
            .map_err(|failure| bounds.hand_over(failure))
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn visit_seq<A: SeqAccess<'de>>(self, elements: A) -> Result<V::Value, A::Error> {
        let bounds = self.bounds.nested()?;
        self.inner.visit_seq(Bounded { inner: elements, bounds }).map_err(|failure| bounds.hand_over(failure))
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<V::Value, A::Error> {
        let place = self.bounds.place;
        let bounds = self.bounds.nested()?;
        let entries = Bounded { inner: entries, bounds };
        match place {
            Place::Value | Place::Key => self.inner.visit_map(entries),
            Place::Variant => self.inner.visit_enum(MapAccessDeserializer::new(entries)),
            Place::Number => visit_number(self.inner, entries),
        }
        .map_err(|failure| bounds.hand_over(failure))
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn visit_enum<A: EnumAccess<'de>>(self, variant: A) -> Result<V::Value, A::Error> {
        let bounds = self.bounds.nested()?;
        self.inner.visit_enum(Bounded { inner: variant, bounds }).map_err(|failure| bounds.hand_over(failure))
    }
}

impl<'de, V, E> Bounded<'_, V, E>
where
    V: Visitor<'de>,
    E: Failure,
{
    /// The name of a variant without a value.
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn visit_name<X: de::Error>(self, name: &str) -> Result<V::Value, X> {
        let bounds = self.bounds;
        let name: de::value::StrDeserializer<'_, E> = name.into_deserializer();
        self.inner.visit_enum(name).map_err(|failure| bounds.hand_over(failure))
    }
}

/// A number as the decoder of JSON has it when its feature `arbitrary_precision` is on, which any crate of a program
/// may want: a map of one entry, the text of the number.
#[cold]
fn visit_number<'de, V, A>(visitor: V, mut entries: A) -> Result<V::Value, A::Error>
where
    V: Visitor<'de>,
    A: MapAccess<'de>,
{
    if !matches!(entries.next_key()?, Some(IsNumber(true))) {
        return Err(de::Error::invalid_type(Unexpected::Map, &visitor));
    }
    let text: String = entries.next_value()?;
    if let Ok(number) = text.parse() {
        visitor.visit_u64(number)
    } else if let Ok(number) = text.parse() {
        visitor.visit_i64(number)
    } else if let Ok(number) = text.parse() {
        visitor.visit_f64(number)
    } else {
        Err(de::Error::invalid_type(Unexpected::Other("number"), &visitor))
    }
}

/// Whether a key says that its value is the text of a number.
struct IsNumber(bool);

impl<'de> Deserialize<'de> for IsNumber {
    fn deserialize<D: Deserializer<'de>>(decoder: D) -> Result<Self, D::Error> {
        decoder.deserialize_identifier(Self(false))
    }
}

impl Visitor<'_> for IsNumber {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<X: de::Error>(self, key: &str) -> Result<Self, X> {
        Ok(Self(key == "$serde_json::private::Number"))
    }
}

/// A boolean as the key of a map, which is a string in JSON.
pub(super) struct BoolKey<V>(pub(super) V);

impl<'de, V: Visitor<'de>> Visitor<'de> for BoolKey<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(f)
    }

    fn visit_str<X: de::Error>(self, key: &str) -> Result<V::Value, X> {
        match key {
            "true" => self.0.visit_bool(true),
            "false" => self.0.visit_bool(false),
            // Another than a boolean is for the visitor to refuse.
            other => self.0.visit_str(other),
        }
    }
}
