//! The encoder of values, of which both codecs make their bytes: what is a level, what is bytes, and what cannot be
//! carried is decided here once, how it is written in [`notation`].
//!
//! Nothing is written that the decoder of this crate would refuse for its depth: the levels are counted as
//! [`bounded`](super::bounded) counts them, before the encoder goes into a value.

mod compound;
mod key;
mod notation;
mod pick;

#[cfg(test)]
mod tests;

use std::marker::PhantomData;

use serde::{Serialize, Serializer};

pub(super) use self::notation::{Json, Kind, MessagePack, Notation};
use self::{
    compound::{Compound, StructOf, TupleOf},
    pick::{Picked, byte_of},
};
use super::{
    CodecError,
    bounded::{MAX_NESTED, MAX_STACK, MAX_WRAPPED},
    kind::{is_byte, is_tuple},
};

/// Appends a value to a buffer. After an error there may be a part of it.
#[cfg_attr(not(debug_assertions), inline(always))]
pub(super) fn encode<N: Notation, T: Serialize + ?Sized>(
    value: &T,
    buf: &mut Vec<u8>,
) -> Result<(), CodecError> {
    Encoder::<N>::new(buf).value(value)
}

/// The buffer, and how much deeper the values may be nested. It lies on the stack where the encoding began.
#[derive(Debug)]
pub(super) struct Encoder<'b, N> {
    buf: &'b mut Vec<u8>,
    /// How many arrays, maps and variants may be inside.
    nested: u8,
    /// How many options and newtypes may be inside.
    wrapped: u8,
    /// Bytes are arrays of numbers here, whatever the notation has for them.
    spells_bytes: bool,
    notation: PhantomData<N>,
}

impl<'b, N: Notation> Encoder<'b, N> {
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(super) fn new(buf: &'b mut Vec<u8>) -> Self {
        Self { buf, nested: MAX_NESTED, wrapped: MAX_WRAPPED, spells_bytes: false, notation: PhantomData }
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), CodecError> {
        value.serialize(Value { to: self, is_tuple: is_tuple::<T>() })
    }

    /// Goes into an array, a map or a variant.
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn enter(&mut self) -> Result<(), CodecError> {
        if self.nested == 0 || !self.has_stack() {
            return Err(self.too_deep());
        }
        self.nested -= 1;
        Ok(())
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn leave(&mut self) {
        self.nested += 1;
    }

    /// Encodes what is inside an option or a newtype.
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn wrapped<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), CodecError> {
        if self.wrapped == 0 || !self.has_stack() {
            return Err(self.too_deep());
        }
        self.wrapped -= 1;
        self.value(value)?;
        self.wrapped += 1;
        Ok(())
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn has_stack(&self) -> bool {
        let here = 0_u8;
        (&raw const here).addr().abs_diff((&raw const *self).addr()) < MAX_STACK
    }

    #[cold]
    #[inline(never)]
    fn too_deep(&self) -> CodecError {
        super::bounded::too_deep(self.has_stack(), self.nested == 0)
    }

    /// Writes bytes as the notation has them, or as an array of numbers.
    fn bytes(&mut self, bytes: &[u8]) -> Result<(), CodecError> {
        if self.spells_bytes {
            self.enter()?;
            N::spell_bytes(self.buf, bytes);
            self.leave();
        } else {
            N::bytes(self.buf, bytes)?;
        }
        Ok(())
    }

    /// Opens a value of several parts, `levels` deep.
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn open(&mut self, kind: Kind, len: Option<usize>) -> Result<Compound<'_, 'b, N>, CodecError> {
        self.enter()?;
        Compound::open(self, kind, len, 1)
    }

    /// The same behind the name of a variant, which is a level itself.
    fn open_variant(
        &mut self,
        variant: &'static str,
        kind: Kind,
        len: usize,
    ) -> Result<Compound<'_, 'b, N>, CodecError> {
        self.enter()?;
        self.enter()?;
        N::begin_variant(self.buf, variant);
        Compound::open(self, kind, Some(len), 2)
    }
}

/// Where one value is written.
#[derive(Debug)]
pub(super) struct Value<'e, 'b, N> {
    to: &'e mut Encoder<'b, N>,
    /// The value is a tuple by its type, so that no bytes are made of it.
    is_tuple: bool,
}

macro_rules! integers {
    ($($method:ident: $type:ty => $as:ident: $wide:ty,)*) => {
        $(
            #[cfg_attr(not(debug_assertions), inline(always))]
            fn $method(self, value: $type) -> Result<(), CodecError> {
                N::$as(self.to.buf, <$wide>::from(value));
                Ok(())
            }
        )*
    };
}

impl<'e, 'b, N: Notation> Serializer for Value<'e, 'b, N> {
    type Ok = ();
    type Error = CodecError;
    type SerializeSeq = Compound<'e, 'b, N>;
    type SerializeTuple = TupleOf<'e, 'b, N>;
    type SerializeTupleStruct = Compound<'e, 'b, N>;
    type SerializeTupleVariant = Compound<'e, 'b, N>;
    type SerializeMap = Compound<'e, 'b, N>;
    type SerializeStruct = StructOf<'e, 'b, N>;
    type SerializeStructVariant = Compound<'e, 'b, N>;

    integers! {
        serialize_i8: i8 => i64: i64,
        serialize_i16: i16 => i64: i64,
        serialize_i32: i32 => i64: i64,
        serialize_i64: i64 => i64: i64,
        serialize_i128: i128 => i128: i128,
        serialize_u8: u8 => u64: u64,
        serialize_u16: u16 => u64: u64,
        serialize_u32: u32 => u64: u64,
        serialize_u64: u64 => u64: u64,
        serialize_u128: u128 => u128: u128,
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn serialize_bool(self, value: bool) -> Result<(), CodecError> {
        N::bool(self.to.buf, value);
        Ok(())
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn serialize_f32(self, value: f32) -> Result<(), CodecError> {
        N::f32(self.to.buf, value)
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn serialize_f64(self, value: f64) -> Result<(), CodecError> {
        N::f64(self.to.buf, value)
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn serialize_char(self, value: char) -> Result<(), CodecError> {
        self.serialize_str(value.encode_utf8(&mut [0; 4]))
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn serialize_str(self, text: &str) -> Result<(), CodecError> {
        N::str(self.to.buf, text)
    }

    fn serialize_bytes(self, bytes: &[u8]) -> Result<(), CodecError> {
        self.to.bytes(bytes)
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn serialize_none(self) -> Result<(), CodecError> {
        self.serialize_unit()
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), CodecError> {
        self.to.wrapped(value)
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn serialize_unit(self) -> Result<(), CodecError> {
        N::null(self.to.buf);
        Ok(())
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), CodecError> {
        N::unit_struct(self.to.buf);
        Ok(())
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
    ) -> Result<(), CodecError> {
        if N::UNIT_VARIANT_IS_LEVEL {
            self.to.enter()?;
            self.to.leave();
        }
        N::str(self.to.buf, variant)
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<(), CodecError> {
        if name == rmp_serde::MSGPACK_EXT_STRUCT_NAME {
            return N::extension(self.to.buf, value);
        }
        self.to.wrapped(value)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), CodecError> {
        self.to.enter()?;
        N::begin_variant(self.to.buf, variant);
        self.to.value(value).map_err(|error| error.inside_field(variant))?;
        N::end_variant(self.to.buf);
        self.to.leave();
        Ok(())
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn serialize_seq(self, len: Option<usize>) -> Result<Self::SerializeSeq, CodecError> {
        self.to.open(Kind::Array, len)
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn serialize_tuple(self, len: usize) -> Result<Self::SerializeTuple, CodecError> {
        TupleOf::open(self.to, len, !self.is_tuple)
    }

    fn serialize_tuple_struct(
        self,
        _: &'static str,
        len: usize,
    ) -> Result<Self::SerializeTupleStruct, CodecError> {
        self.to.open(Kind::Array, Some(len))
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Self::SerializeTupleVariant, CodecError> {
        self.to.open_variant(variant, Kind::Array, len)
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn serialize_map(self, len: Option<usize>) -> Result<Self::SerializeMap, CodecError> {
        let mut map = self.to.open(Kind::Map, len)?;
        if len.is_none() {
            // As of a structure with a flattened part, which its reader keeps until it knows what is in it.
            map.spell_bytes();
        }
        Ok(map)
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn serialize_struct(self, name: &'static str, len: usize) -> Result<Self::SerializeStruct, CodecError> {
        // Most names are short, these are not.
        if name.starts_with("$serde_json") {
            return Ok(StructOf::special(self.to, name));
        }
        let fields = self.to.open(Kind::Map, Some(len))?;
        Ok(StructOf::Fields(if name == PARAMETERS { fields.untagged() } else { fields }))
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Self::SerializeStructVariant, CodecError> {
        self.to.open_variant(variant, Kind::Map, len)
    }

    /// What lies in memory as a slice of bytes is bytes; other collections of small numbers are arrays.
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn collect_seq<I: IntoIterator<Item: Serialize>>(self, elements: I) -> Result<(), CodecError> {
        let mut elements = elements.into_iter();
        let len = match elements.size_hint() {
            (least, Some(most)) if least == most => Some(least),
            _ => None,
        };
        let is_slice = size_of::<I::IntoIter>() == size_of::<std::slice::Iter<'_, u8>>() && len.is_some();
        if is_slice && is_byte::<I::Item>() && !self.to.spells_bytes {
            self.to.enter()?;
            N::collect_bytes(self.to.buf, elements.map(|byte| byte_of(&byte)))?;
            self.to.leave();
            return Ok(());
        }
        let mut array = self.to.open(Kind::Array, len)?;
        elements.try_for_each(|element| array.element(&element))?;
        array.close()
    }

    fn is_human_readable(&self) -> bool {
        true
    }
}

/// What generated code calls the parameters of a method, of which the first may be a `str` by itself.
const PARAMETERS: &str = "params";

/// The text that a value is.
fn text_of<T: Serialize + ?Sized>(value: &T) -> Result<String, CodecError> {
    match value.serialize(Picked::<String>::new()) {
        Ok(text) => Ok(text),
        Err(_) => Err(CodecError::new("a text of serde_json's own is none")),
    }
}
