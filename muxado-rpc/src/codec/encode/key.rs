//! Keys of maps in JSON, which are texts.

use serde::{Serialize, Serializer, ser::Impossible};

use super::{CodecError, Encoder, Notation};

/// Where a key is written.
pub(super) struct Key<'e, 'b, N> {
    to: &'e mut Encoder<'b, N>,
}

impl<'e, 'b, N: Notation> Key<'e, 'b, N> {
    pub(super) fn new(to: &'e mut Encoder<'b, N>) -> Self {
        Self { to }
    }

    /// Writes what has a form without quotes between them.
    fn quote(self, write: impl FnOnce(&mut Vec<u8>) -> Result<(), CodecError>) -> Result<(), CodecError> {
        self.to.buf.push(b'"');
        write(self.to.buf)?;
        self.to.buf.push(b'"');
        Ok(())
    }
}

#[cold]
fn no_text(what: &str) -> CodecError {
    CodecError::new(format_args!("{what} cannot be the key of a map in json, where keys are texts"))
}

macro_rules! quoted {
    ($($method:ident: $type:ty => $as:ident: $wide:ty,)*) => {
        $(
            fn $method(self, value: $type) -> Result<(), CodecError> {
                self.quote(|buf| {
                    N::$as(buf, <$wide>::from(value));
                    Ok(())
                })
            }
        )*
    };
}

macro_rules! refused {
    ($($method:ident($($type:ty),*) -> $ok:ty = $what:literal,)*) => {
        $(
            fn $method(self, $(_: $type),*) -> Result<$ok, CodecError> {
                Err(no_text($what))
            }
        )*
    };
}

impl<N: Notation> Serializer for Key<'_, '_, N> {
    type Ok = ();
    type Error = CodecError;
    type SerializeSeq = Impossible<(), CodecError>;
    type SerializeTuple = Impossible<(), CodecError>;
    type SerializeTupleStruct = Impossible<(), CodecError>;
    type SerializeTupleVariant = Impossible<(), CodecError>;
    type SerializeMap = Impossible<(), CodecError>;
    type SerializeStruct = Impossible<(), CodecError>;
    type SerializeStructVariant = Impossible<(), CodecError>;

    quoted! {
        serialize_bool: bool => bool: bool,
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

    fn serialize_f32(self, value: f32) -> Result<(), CodecError> {
        self.quote(|buf| N::f32(buf, value))
    }

    fn serialize_f64(self, value: f64) -> Result<(), CodecError> {
        self.quote(|buf| N::f64(buf, value))
    }

    fn serialize_char(self, value: char) -> Result<(), CodecError> {
        self.serialize_str(value.encode_utf8(&mut [0; 4]))
    }

    #[inline]
    fn serialize_str(self, text: &str) -> Result<(), CodecError> {
        N::str(self.to.buf, text)
    }

    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
    ) -> Result<(), CodecError> {
        N::str(self.to.buf, variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), CodecError> {
        self.wrapped(value)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), CodecError> {
        self.wrapped(value)
    }

    refused! {
        serialize_bytes(&[u8]) -> () = "bytes",
        serialize_none() -> () = "an option without a value",
        serialize_unit() -> () = "a unit",
        serialize_unit_struct(&'static str) -> () = "a structure without fields",
        serialize_seq(Option<usize>) -> Self::SerializeSeq = "an array",
        serialize_tuple(usize) -> Self::SerializeTuple = "a tuple",
        serialize_tuple_struct(&'static str, usize) -> Self::SerializeTupleStruct = "a tuple",
        serialize_tuple_variant(&'static str, u32, &'static str, usize) -> Self::SerializeTupleVariant
            = "a variant with a value",
        serialize_map(Option<usize>) -> Self::SerializeMap = "a map",
        serialize_struct(&'static str, usize) -> Self::SerializeStruct = "a structure",
        serialize_struct_variant(&'static str, u32, &'static str, usize) -> Self::SerializeStructVariant
            = "a variant with a value",
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<(), CodecError> {
        Err(no_text("a variant with a value"))
    }

    fn is_human_readable(&self) -> bool {
        true
    }
}

impl<N: Notation> Key<'_, '_, N> {
    /// The key inside an option or a newtype.
    fn wrapped<T: Serialize + ?Sized>(self, value: &T) -> Result<(), CodecError> {
        if self.to.wrapped == 0 || !self.to.has_stack() {
            return Err(self.to.too_deep());
        }
        self.to.wrapped -= 1;
        let Self { to } = self;
        value.serialize(Key::new(to))?;
        to.wrapped += 1;
        Ok(())
    }
}
