//! A sequence of numbers that came as bytes.

use std::slice;

use castaway::cast;
use serde::{
    Deserializer,
    de::{DeserializeSeed, Error, SeqAccess, Unexpected, Visitor},
    forward_to_deserialize_any,
};

use super::{Form, Whole};

/// Decodes a sequence of bytes. It is a level, as any sequence.
#[cfg_attr(not(debug_assertions), inline(always))]
pub(super) fn decode<'de, F, V, X>(
    visitor: V,
    bytes: impl AsRef<[u8]> + Into<Vec<u8>>,
    whole: &Whole<F::Error>,
) -> Result<V::Value, X>
where
    F: Form,
    V: Visitor<'de>,
    X: Error,
{
    whole.nested(|| {
        // A visitor of a `Vec<u8>` would take them one by one, which is ten times as slow, and there is no other way
        // to say that two types are one where they may have lifetimes.
        let mut value: Option<V::Value> = None;
        if let Ok(value) = cast!(&mut value, &mut Option<Vec<u8>>) {
            *value = Some(bytes.into());
        } else {
            return one_by_one::<F, V>(visitor, bytes.as_ref());
        }
        value.ok_or_else(|| F::Error::custom("no bytes"))
    })
}

fn one_by_one<'de, F: Form, V: Visitor<'de>>(visitor: V, bytes: &[u8]) -> Result<V::Value, F::Error> {
    let mut elements = ByteElements::<F> { rest: bytes.iter(), form: std::marker::PhantomData };
    let value = visitor.visit_seq(&mut elements)?;
    match elements.rest.len() {
        0 => Ok(value),
        rest => Err(F::Error::invalid_length(bytes.len(), &&*format!("{} bytes", bytes.len() - rest))),
    }
}

struct ByteElements<'a, F> {
    rest: slice::Iter<'a, u8>,
    form: std::marker::PhantomData<F>,
}

impl<'de, F: Form> SeqAccess<'de> for ByteElements<'_, F> {
    type Error = F::Error;

    #[inline]
    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, F::Error> {
        let byte = self.rest.next().map(|byte| ByteElement::<F> { byte: *byte, form: self.form });
        byte.map(|byte| seed.deserialize(byte)).transpose()
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.rest.len())
    }
}

struct ByteElement<F> {
    byte: u8,
    form: std::marker::PhantomData<F>,
}

impl<'de, F: Form> Deserializer<'de> for ByteElement<F> {
    type Error = F::Error;

    /// A text in JSON is bytes only for who wants bytes: it is no sequence of other numbers.
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, F::Error> {
        if F::QUOTES {
            return Err(F::Error::invalid_type(Unexpected::Other("string"), &"a sequence"));
        }
        visitor.visit_u8(self.byte)
    }

    #[inline]
    fn deserialize_u8<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, F::Error> {
        visitor.visit_u8(self.byte)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, F::Error> {
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        seq tuple tuple_struct map struct enum identifier ignored_any
    }

    fn is_human_readable(&self) -> bool {
        true
    }
}
