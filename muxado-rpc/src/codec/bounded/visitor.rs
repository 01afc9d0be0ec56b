//! What is made of a value. Here the levels are counted.

use std::fmt;

use serde::{
    Deserializer,
    de::{self, EnumAccess, MapAccess, SeqAccess, Visitor},
};

use super::{Bounded, Form, Place};

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
        visit_bytes(value: &[u8]),
        visit_borrowed_bytes(value: &'de [u8]),
        visit_byte_buf(value: Vec<u8>),
        visit_str(value: &str),
        visit_borrowed_str(value: &'de str),
        visit_string(value: String),
        visit_none(),
        visit_unit(),
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
        whole.nested(|| inner.visit_seq(Bounded::<A, F>::new(elements, whole)))
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
