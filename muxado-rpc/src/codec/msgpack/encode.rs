//! Encoding a value into a buffer: a string by itself at once, all else as `rmp_serde` does.

use serde::{Serialize, Serializer};

use super::push_str;

type General<'a> = rmp_serde::Serializer<
    &'a mut Vec<u8>,
    rmp_serde::config::StructMapConfig<rmp_serde::config::DefaultConfig>,
>;
type Error = rmp_serde::encode::Error;

/// Appends `value` to `buf`.
#[inline]
pub(crate) fn encode<T: Serialize + ?Sized>(value: &T, buf: &mut Vec<u8>) -> Result<(), Error> {
    value.serialize(Outermost(&mut rmp_serde::Serializer::new(buf).with_struct_map()))
}

/// What the outermost value is written to; those inside it go to the general one directly.
struct Outermost<'a, 'b>(&'a mut General<'b>);

macro_rules! plain {
    ($($method:ident: $type:ty,)*) => {
        $(
            #[inline]
            fn $method(self, value: $type) -> Result<(), Error> {
                self.0.$method(value)
            }
        )*
    };
}

/// As the general one has it.
type Of<'a, 'b> = &'a mut General<'b>;

impl<'a, 'b> Serializer for Outermost<'a, 'b> {
    type Ok = ();
    type Error = Error;
    type SerializeSeq = <Of<'a, 'b> as Serializer>::SerializeSeq;
    type SerializeTuple = <Of<'a, 'b> as Serializer>::SerializeTuple;
    type SerializeTupleStruct = <Of<'a, 'b> as Serializer>::SerializeTupleStruct;
    type SerializeTupleVariant = <Of<'a, 'b> as Serializer>::SerializeTupleVariant;
    type SerializeMap = <Of<'a, 'b> as Serializer>::SerializeMap;
    type SerializeStruct = <Of<'a, 'b> as Serializer>::SerializeStruct;
    type SerializeStructVariant = <Of<'a, 'b> as Serializer>::SerializeStructVariant;

    #[inline]
    fn serialize_str(self, text: &str) -> Result<(), Error> {
        push_str(*self.0.get_mut(), text);
        Ok(())
    }

    plain! {
        serialize_bool: bool,
        serialize_i8: i8,
        serialize_i16: i16,
        serialize_i32: i32,
        serialize_i64: i64,
        serialize_i128: i128,
        serialize_u8: u8,
        serialize_u16: u16,
        serialize_u32: u32,
        serialize_u64: u64,
        serialize_u128: u128,
        serialize_f32: f32,
        serialize_f64: f64,
        serialize_char: char,
        serialize_bytes: &[u8],
        serialize_unit_struct: &'static str,
    }

    fn serialize_none(self) -> Result<(), Error> {
        self.0.serialize_none()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Error> {
        self.0.serialize_some(value)
    }

    fn serialize_unit(self) -> Result<(), Error> {
        self.0.serialize_unit()
    }

    fn serialize_unit_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
    ) -> Result<(), Error> {
        self.0.serialize_unit_variant(name, index, variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        self.0.serialize_newtype_struct(name, value)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        self.0.serialize_newtype_variant(name, index, variant, value)
    }

    fn serialize_seq(self, len: Option<usize>) -> Result<Self::SerializeSeq, Error> {
        self.0.serialize_seq(len)
    }

    fn serialize_tuple(self, len: usize) -> Result<Self::SerializeTuple, Error> {
        self.0.serialize_tuple(len)
    }

    fn serialize_tuple_struct(
        self,
        name: &'static str,
        len: usize,
    ) -> Result<Self::SerializeTupleStruct, Error> {
        self.0.serialize_tuple_struct(name, len)
    }

    fn serialize_tuple_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Self::SerializeTupleVariant, Error> {
        self.0.serialize_tuple_variant(name, index, variant, len)
    }

    fn serialize_map(self, len: Option<usize>) -> Result<Self::SerializeMap, Error> {
        self.0.serialize_map(len)
    }

    fn serialize_struct(self, name: &'static str, len: usize) -> Result<Self::SerializeStruct, Error> {
        self.0.serialize_struct(name, len)
    }

    fn serialize_struct_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Self::SerializeStructVariant, Error> {
        self.0.serialize_struct_variant(name, index, variant, len)
    }

    fn collect_seq<I: IntoIterator<Item: Serialize>>(self, values: I) -> Result<(), Error> {
        self.0.collect_seq(values)
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}
