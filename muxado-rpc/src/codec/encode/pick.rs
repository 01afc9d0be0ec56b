//! Taking a value as what it is, if it is a byte or a text.

use std::{fmt, marker::PhantomData};

use serde::{
    Serialize, Serializer,
    ser::{self, Impossible},
};

/// Takes a value of this type, and refuses all others.
pub(super) struct Picked<P>(PhantomData<P>);

impl<P> Picked<P> {
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(super) fn new() -> Self {
        Self(PhantomData)
    }
}

/// The byte that a value is; 0 if it is none, which its type has told before.
#[cfg_attr(not(debug_assertions), inline(always))]
pub(super) fn byte_of<T: Serialize + ?Sized>(value: &T) -> u8 {
    value.serialize(Picked::<u8>::new()).unwrap_or(0)
}

/// What a value may be taken as.
pub(super) trait Pick: Sized {
    fn of_byte(_: u8) -> Option<Self> {
        None
    }

    fn of_str(_: &str) -> Option<Self> {
        None
    }
}

impl Pick for u8 {
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn of_byte(byte: u8) -> Option<Self> {
        Some(byte)
    }
}

impl Pick for String {
    fn of_str(text: &str) -> Option<Self> {
        Some(text.to_owned())
    }
}

/// The value is another.
#[derive(Debug)]
pub(super) struct Another;

impl fmt::Display for Another {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("another value")
    }
}

impl std::error::Error for Another {}

impl ser::Error for Another {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self
    }
}

macro_rules! refused {
    ($($method:ident($($type:ty),*) -> $ok:ty,)*) => {
        $(
            fn $method(self, $(_: $type),*) -> Result<$ok, Another> {
                Err(Another)
            }
        )*
    };
}

impl<P: Pick> Serializer for Picked<P> {
    type Ok = P;
    type Error = Another;
    type SerializeSeq = Impossible<P, Another>;
    type SerializeTuple = Impossible<P, Another>;
    type SerializeTupleStruct = Impossible<P, Another>;
    type SerializeTupleVariant = Impossible<P, Another>;
    type SerializeMap = Impossible<P, Another>;
    type SerializeStruct = Impossible<P, Another>;
    type SerializeStructVariant = Impossible<P, Another>;

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn serialize_u8(self, value: u8) -> Result<P, Another> {
        P::of_byte(value).ok_or(Another)
    }

    fn serialize_str(self, text: &str) -> Result<P, Another> {
        P::of_str(text).ok_or(Another)
    }

    refused! {
        serialize_bool(bool) -> P,
        serialize_i8(i8) -> P,
        serialize_i16(i16) -> P,
        serialize_i32(i32) -> P,
        serialize_i64(i64) -> P,
        serialize_u16(u16) -> P,
        serialize_u32(u32) -> P,
        serialize_u64(u64) -> P,
        serialize_f32(f32) -> P,
        serialize_f64(f64) -> P,
        serialize_char(char) -> P,
        serialize_bytes(&[u8]) -> P,
        serialize_none() -> P,
        serialize_unit() -> P,
        serialize_unit_struct(&'static str) -> P,
        serialize_unit_variant(&'static str, u32, &'static str) -> P,
        serialize_seq(Option<usize>) -> Self::SerializeSeq,
        serialize_tuple(usize) -> Self::SerializeTuple,
        serialize_tuple_struct(&'static str, usize) -> Self::SerializeTupleStruct,
        serialize_tuple_variant(&'static str, u32, &'static str, usize) -> Self::SerializeTupleVariant,
        serialize_map(Option<usize>) -> Self::SerializeMap,
        serialize_struct(&'static str, usize) -> Self::SerializeStruct,
        serialize_struct_variant(&'static str, u32, &'static str, usize) -> Self::SerializeStructVariant,
    }

    fn serialize_some<T: Serialize + ?Sized>(self, _: &T) -> Result<P, Another> {
        Err(Another)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, _: &T) -> Result<P, Another> {
        Err(Another)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<P, Another> {
        Err(Another)
    }
}
