//! What may be a parameter, an item, a returned value or an error, and what is said of types that may not.

use std::{
    borrow::{Borrow, Cow},
    ffi::{CStr, CString, OsStr, OsString},
    fmt,
    path::{Path, PathBuf},
};

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, DeserializeOwned, SeqAccess, Visitor},
    ser::SerializeStruct,
};

/// A parameter by value.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a parameter of a service method",
    label = "not `Serialize` and `DeserializeOwned`",
    note = "derive `serde::Serialize` and `serde::Deserialize` for it, or turn on the `serde` feature of its crate",
    note = "the context of the call is taken as `&Context` and a stream of items as `Streaming<T>`, under these names: \
            write `&muxado_rpc::Context` or `muxado_rpc::Streaming<T>` if they are imported under others"
)]
pub trait Parameter: Serialize + DeserializeOwned {}

#[diagnostic::do_not_recommend]
impl<T: Serialize + DeserializeOwned> Parameter for T {}

/// An item of a stream.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an item of a stream",
    label = "not `Serialize` and `DeserializeOwned`",
    note = "derive `serde::Serialize` and `serde::Deserialize` for it, or turn on the `serde` feature of its crate"
)]
pub trait ItemValue: Serialize + DeserializeOwned {}

#[diagnostic::do_not_recommend]
impl<T: Serialize + DeserializeOwned> ItemValue for T {}

/// What a method returns.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be returned by a service method",
    label = "not `Serialize` and `DeserializeOwned`",
    note = "derive `serde::Serialize` and `serde::Deserialize` for it, or turn on the `serde` feature of its crate",
    note = "a stream is returned as `impl Stream<Item = T>`; a boxed one stands behind it as `stream.boxed()`"
)]
pub trait Answer: Serialize + DeserializeOwned {}

#[diagnostic::do_not_recommend]
impl<T: Serialize + DeserializeOwned> Answer for T {}

/// The error of a method.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the error of a service method",
    label = "not `Serialize` and `DeserializeOwned`, as an error that is sent has to be",
    note = "return `Result<T, muxado_rpc::Status>`, or an error type of your own with `serde::Serialize`, \
            `serde::Deserialize` and, for its code, `muxado_rpc::AppError`",
    note = "`anyhow::Error`, `std::io::Error` and `Box<dyn Error>` cannot be sent: convert them, as in \
            `.map_err(|error| Status::internal(error.to_string()))`"
)]
pub trait ErrorValue: Serialize + DeserializeOwned + 'static {}

#[diagnostic::do_not_recommend]
impl<T: Serialize + DeserializeOwned + 'static> ErrorValue for T {}

/// A parameter by reference: the client encodes what it is lent, and the server lends what it has decoded.
#[diagnostic::on_unimplemented(
    message = "a service method cannot take a reference to `{Self}`",
    label = "not a reference to what is `Serialize` and `DeserializeOwned`",
    note = "parameters by reference are `&str`, `&[T]`, `&Path` and `&T`, where `T` is `Serialize` and `DeserializeOwned`",
    note = "the context of the call is taken as `&Context`, under this name: write `&muxado_rpc::Context` if it is \
            imported under another"
)]
pub trait Lend {
    /// What the server decodes, in place where it can.
    type Held<'de>: Deserialize<'de>;
    /// What it decodes where serde attributes or a `cfg` are in the way of that.
    type Owned: DeserializeOwned + Borrow<Self>;

    /// The reference that the method gets.
    fn lend<'a>(held: &'a Self::Held<'_>) -> &'a Self;

    /// Serializes it as a parameter.
    ///
    /// # Errors
    ///
    /// Those of the serializer.
    fn serialize_field<S: SerializeStruct>(
        &self,
        serializer: &mut S,
        name: &'static str,
    ) -> Result<(), S::Error>;

    /// Serializes it as an optional parameter.
    ///
    /// # Errors
    ///
    /// Those of the serializer.
    fn serialize_some<S: SerializeStruct>(
        value: Option<&Self>,
        serializer: &mut S,
        name: &'static str,
    ) -> Result<(), S::Error>;
}

/// The two functions that are the same for all that can be serialized.
macro_rules! serialize_lent {
    () => {
        fn serialize_field<S: SerializeStruct>(
            &self,
            serializer: &mut S,
            name: &'static str,
        ) -> Result<(), S::Error> {
            serializer.serialize_field(name, self)
        }

        fn serialize_some<S: SerializeStruct>(
            value: Option<&Self>,
            serializer: &mut S,
            name: &'static str,
        ) -> Result<(), S::Error> {
            serializer.serialize_field(name, &value)
        }
    };
}

#[diagnostic::do_not_recommend]
impl<T: Serialize + DeserializeOwned> Lend for T {
    type Held<'de> = T;
    type Owned = T;

    fn lend(held: &T) -> &T {
        held
    }

    serialize_lent!();
}

impl<T: Serialize + DeserializeOwned> Lend for [T] {
    type Held<'de> = Vec<T>;
    type Owned = Vec<T>;

    fn lend(held: &Vec<T>) -> &[T] {
        held
    }

    serialize_lent!();
}

impl Lend for str {
    type Held<'de> = HeldStr<'de>;
    type Owned = String;

    fn lend<'a>(held: &'a HeldStr<'_>) -> &'a Self {
        &held.0
    }

    serialize_lent!();
}

macro_rules! lend_owned {
    ($($borrowed:ty: $owned:ty),*) => {
        $(
            impl Lend for $borrowed {
                type Held<'de> = $owned;
                type Owned = $owned;

                fn lend(held: &$owned) -> &Self {
                    held
                }

                serialize_lent!();
            }
        )*
    };
}

lend_owned!(Path: PathBuf, OsStr: OsString, CStr: CString);

/// Lends the value of an optional parameter.
pub fn lend_some<'a, T: Lend + ?Sized>(held: &'a Option<T::Held<'_>>) -> Option<&'a T> {
    held.as_ref().map(T::lend)
}

/// Text, in place unless it has to be unescaped.
#[derive(Debug)]
pub struct HeldStr<'de>(Cow<'de, str>);

impl<'de: 'a, 'a> Deserialize<'de> for HeldStr<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(TextVisitor).map(Self)
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text.to_owned()))
    }

    fn visit_string<E: de::Error>(self, text: String) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text))
    }

    fn visit_borrowed_bytes<E: de::Error>(self, bytes: &'de [u8]) -> Result<Self::Value, E> {
        match str::from_utf8(bytes) {
            Ok(text) => Ok(Cow::Borrowed(text)),
            Err(_) => Err(E::invalid_value(de::Unexpected::Bytes(bytes), &self)),
        }
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Self::Value, E> {
        match str::from_utf8(bytes) {
            Ok(text) => Ok(Cow::Owned(text.to_owned())),
            Err(_) => Err(E::invalid_value(de::Unexpected::Bytes(bytes), &self)),
        }
    }
}

/// A byte string, in place where it is one.
#[derive(Debug)]
pub struct HeldBytes<'de>(Cow<'de, [u8]>);

impl HeldBytes<'_> {
    /// The reference that the method gets.
    pub fn lend(&self) -> &[u8] {
        &self.0
    }

    /// That of an optional parameter.
    pub fn lend_some<'a>(held: &'a Option<HeldBytes<'_>>) -> Option<&'a [u8]> {
        held.as_ref().map(HeldBytes::lend)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for HeldBytes<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_bytes(BytesVisitor).map(Self)
    }
}

struct BytesVisitor;

impl<'de> Visitor<'de> for BytesVisitor {
    type Value = Cow<'de, [u8]>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes")
    }

    fn visit_borrowed_bytes<E: de::Error>(self, bytes: &'de [u8]) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(bytes))
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Self::Value, E> {
        Ok(Cow::Owned(bytes.to_owned()))
    }

    fn visit_byte_buf<E: de::Error>(self, bytes: Vec<u8>) -> Result<Self::Value, E> {
        Ok(Cow::Owned(bytes))
    }

    /// An array of numbers, as callers without byte strings send them.
    fn visit_seq<A: SeqAccess<'de>>(self, mut numbers: A) -> Result<Self::Value, A::Error> {
        // What a peer says of the number is no reason to make room for so many.
        let mut bytes = Vec::with_capacity(numbers.size_hint().unwrap_or(0).min(MAX_RESERVED));
        while let Some(byte) = numbers.next_element()? {
            bytes.push(byte);
        }
        Ok(Cow::Owned(bytes))
    }
}

/// Bytes that an array of numbers gets room for before they are there.
const MAX_RESERVED: usize = 4096;

/// Serializes a parameter by value.
pub fn field<S, T>(serializer: &mut S, name: &'static str, value: &T) -> Result<(), S::Error>
where
    S: SerializeStruct,
    T: Parameter,
{
    serializer.serialize_field(name, value)
}

/// Serializes a parameter by reference.
pub fn lent_field<S, T>(serializer: &mut S, name: &'static str, value: &T) -> Result<(), S::Error>
where
    S: SerializeStruct,
    T: Lend + ?Sized,
{
    value.serialize_field(serializer, name)
}

/// Serializes an optional parameter by reference.
pub fn lent_some_field<S, T>(
    serializer: &mut S,
    name: &'static str,
    value: Option<&T>,
) -> Result<(), S::Error>
where
    S: SerializeStruct,
    T: Lend + ?Sized,
{
    T::serialize_some(value, serializer, name)
}

/// Serializes a parameter that is a byte string.
pub fn bytes_field<S>(serializer: &mut S, name: &'static str, value: &[u8]) -> Result<(), S::Error>
where
    S: SerializeStruct,
{
    serializer.serialize_field(name, &ByteString(value))
}

/// Serializes an optional parameter that is a byte string.
pub fn bytes_some_field<S>(
    serializer: &mut S,
    name: &'static str,
    value: Option<&[u8]>,
) -> Result<(), S::Error>
where
    S: SerializeStruct,
{
    serializer.serialize_field(name, &value.map(ByteString))
}

struct ByteString<'a>(&'a [u8]);

impl Serialize for ByteString<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}
