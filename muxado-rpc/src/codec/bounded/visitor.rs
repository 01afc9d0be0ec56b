//! What is made of a value. Here the levels are counted.

use std::fmt::{self, Display};

use serde::{
    Deserializer,
    de::{self, EnumAccess, Error, MapAccess, SeqAccess, Unexpected, Visitor},
};

use super::{Bounded, Elements, Failure, Form, LastName, Place, byte_elements};
use crate::codec::{
    apart::{self, Content},
    base64,
    kind::is_json_value,
};

impl<V, F: Form, P: Place> Bounded<'_, V, F, P> {
    /// Keeps a name, for the error of what it is the name of.
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn note(&self, name: &dyn Display) {
        if F::Error::IS_SHOWN && P::IS_NAME {
            self.whole.name.set(name);
        }
    }
}

/// What is made of bytes where something else was asked for; `None` if bytes were, or may come, too.
macro_rules! of_bytes {
    ($self:ident, $bytes:expr) => {
        if P::IS_SEQUENCE {
            return byte_elements::decode::<F, _, _>($self.inner, $bytes, $self.whole);
        }
        if is_json_value::<V::Value>() {
            let text = base64::text(&$bytes);
            return $self
                .inner
                .visit_string(text)
                .map_err(|failure: F::Error| $self.whole.hand_over(failure));
        }
    };
}

/// What is made of a text where bytes were asked for, in a codec whose bytes are texts.
macro_rules! of_text {
    ($self:ident, $text:expr) => {
        if F::QUOTES && (P::IS_SEQUENCE || P::IS_BYTES) {
            return match base64::bytes($text) {
                Some(bytes) if P::IS_BYTES => $self.inner.visit_byte_buf(bytes.into()),
                Some(bytes) => return byte_elements::decode::<F, _, _>($self.inner, bytes, $self.whole),
                None if P::IS_BYTES => {
                    Err(F::Error::invalid_value(Unexpected::Str($text), &"bytes as base64 with padding"))
                }
                None => Err(F::Error::invalid_type(Unexpected::Str($text), &$self.inner)),
            }
            .map_err(|failure: F::Error| $self.whole.hand_over(failure));
        }
        $self.note(&$text);
    };
}

macro_rules! visit_either {
    ($($either:ident: $method:ident($name:ident: $type:ty) as $as:expr,)*) => {
        $(
            #[cfg_attr(not(debug_assertions), inline(always))]
            fn $method<X: de::Error>(self, $name: $type) -> Result<V::Value, X> {
                $either!(self, $as);
                self.inner.$method($name).map_err(|failure: F::Error| self.whole.hand_over(failure))
            }
        )*
    };
}

/// What lies in the message. An empty one may stand for what lies apart, which is decoded by `Codec::decode_with` only:
/// with errors that are shown.
macro_rules! visit_in_message {
    ($($either:ident: $method:ident($name:ident: $type:ty),)*) => {
        $(
            #[cfg_attr(not(debug_assertions), inline(always))]
            fn $method<X: de::Error>(self, $name: $type) -> Result<V::Value, X> {
                if F::Error::IS_SHOWN && !F::QUOTES && $name.is_empty() {
                    match apart::take($name.as_ptr()) {
                        Some(Content::Text(text)) => return self.visit_string(text),
                        Some(Content::Bytes(bytes)) => return self.visit_byte_buf(bytes),
                        None => {}
                    }
                }
                $either!(self, $name);
                self.inner.$method($name).map_err(|failure: F::Error| self.whole.hand_over(failure))
            }
        )*
    };
}

impl<'de, V, F, P> Visitor<'de> for Bounded<'_, V, F, P>
where
    V: Visitor<'de>,
    F: Form,
    P: Place,
{
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.expecting(f)
    }

    visit_short! {
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
    }

    visit_text! {
        visit_char(value: char),
        visit_none(),
        visit_unit(),
    }

    visit_either! {
        of_bytes: visit_bytes(value: &[u8]) as value,
        of_bytes: visit_byte_buf(value: Vec<u8>) as value,
        of_text: visit_str(value: &str) as value,
        of_text: visit_string(value: String) as &*value,
    }

    visit_in_message! {
        of_bytes: visit_borrowed_bytes(value: &'de [u8]),
        of_text: visit_borrowed_str(value: &'de str),
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn visit_some<D: Deserializer<'de>>(self, decoder: D) -> Result<V::Value, D::Error> {
        let Self { inner, whole, .. } = self;
        whole.wrapped(|| inner.visit_some(Bounded::<D, F, P>::new(decoder, whole)))
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn visit_newtype_struct<D: Deserializer<'de>>(self, decoder: D) -> Result<V::Value, D::Error> {
        let Self { inner, whole, .. } = self;
        whole.wrapped(|| inner.visit_newtype_struct(Bounded::<D, F, P>::new(decoder, whole)))
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn visit_seq<A: SeqAccess<'de>>(self, elements: A) -> Result<V::Value, A::Error> {
        let Self { inner, whole, .. } = self;
        whole.nested(|| inner.visit_seq(Elements::<A, F>::new(elements, whole)))
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<V::Value, A::Error> {
        let Self { inner, whole, .. } = self;
        whole.nested(|| inner.visit_map(Bounded::<A, F>::new(entries, whole)))
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn visit_enum<A: EnumAccess<'de>>(self, variant: A) -> Result<V::Value, A::Error> {
        let Self { inner, whole, .. } = self;
        whole.nested(|| inner.visit_enum(Bounded::<A, F>::new(variant, whole)))
    }
}
