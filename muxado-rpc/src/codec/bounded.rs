//! The decoder around those of the codecs. It bounds how deep values are nested before it goes a level deeper, what
//! is allocated for a number of elements, and what is quoted in an error.
//!
//! Whatever is decoded recursively passes through one of five methods of a [`Visitor`]: those that get a further
//! decoder. There the levels are counted, also those that have no bytes of their own, such as options.

// Its methods are steps between a codec's decoder and a visitor, for every value inside a value, and a step that is
// called copies what it passes on: with optimisation they are always inlined. Without it that would only make one
// large frame of many small ones.

/// What has no text and nothing inside: an error of it is as short as it is, so that it needs no other.
macro_rules! visit_short {
    ($($method:ident: $type:ty,)*) => {
        $(
            #[cfg_attr(not(debug_assertions), inline(always))]
            fn $method<X: de::Error>(self, value: $type) -> Result<V::Value, X> {
                self.note(&value);
                self.inner.$method(value)
            }
        )*
    };
}

/// What an error could quote.
macro_rules! visit_text {
    ($($method:ident($($name:ident: $type:ty)?),)*) => {
        $(
            #[cfg_attr(not(debug_assertions), inline(always))]
            fn $method<X: de::Error>(self, $($name: $type)?) -> Result<V::Value, X> {
                self.inner.$method($($name)?).map_err(|failure: F::Error| self.whole.hand_over(failure))
            }
        )*
    };
}

mod access;
mod asked;
mod byte_elements;
mod raw_value;
#[cfg(test)]
mod tests;
mod visitor;

use std::{cell::Cell, fmt::Display, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{self, Visitor},
};

use self::{
    access::Elements,
    asked::{BoolKey, Scalar, Variant},
};
use super::{
    error::MAX_NAME,
    kind::{RAW_VALUE, is_kept},
};
use crate::support::truncate::{MAX_SHOWN, brief};

/// How many arrays, maps and variants may be inside one another in a value. Each is some frames on the stack, and an
/// application without optimisation has large ones: the deepest values take less than half of the 2 MiB that threads
/// have by default, see [`MAX_STACK`]. `serde_json` has a limit of its own, which is one more, so that both codecs
/// have the same.
pub(crate) const MAX_NESTED: u8 = 126;

/// How many options and newtypes may be around the values on the way to the innermost one, in all. They have no
/// bytes of their own, so that their number does not depend on the size of the message.
pub(crate) const MAX_WRAPPED: u8 = 255;

/// How many bytes of the stack the decoding of a value may take. Values of usual types reach [`MAX_NESTED`] before.
/// A frame holds what is being decoded in it, so that large types without optimisation do not.
pub(crate) const MAX_STACK: usize = 1 << 20;

/// An error of this decoder.
pub(crate) trait Failure: de::Error {
    /// It is shown to somebody, so that it says where in the value it is.
    const IS_SHOWN: bool;

    /// What is known of that while the value is decoded.
    type Place: LastName;

    /// What the codec's decoder says.
    fn of_codec(cause: &dyn Display) -> Self;

    /// Adds where in the message it was, as the codec's decoder says it.
    #[must_use]
    fn at(self, location: &str) -> Self;

    /// Adds in which part of a value it was.
    #[must_use]
    fn inside(self, step: Step<'_>) -> Self;

    /// Marks it as one of the whole value, whatever part it was found in.
    #[must_use]
    fn of_whole(self) -> Self;
}

/// The name that was read last: of what is decoded next.
pub(crate) trait LastName: Default {
    fn set(&self, name: &dyn Display);

    fn take(&self) -> Option<Box<str>>;
}

/// Of an error that nobody is shown.
impl LastName for () {
    fn set(&self, _: &dyn Display) {}

    #[inline]
    fn take(&self) -> Option<Box<str>> {
        None
    }
}

impl LastName for Cell<Option<Box<str>>> {
    fn set(&self, name: &dyn Display) {
        Self::set(self, Some(brief(name, MAX_NAME).into()));
    }

    fn take(&self) -> Option<Box<str>> {
        Self::take(self)
    }
}

/// A step on the way to a part of a value.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step<'a> {
    /// A field, a variant, or an entry by its key.
    Name(&'a str),
    /// An element.
    Index(usize),
}

/// The error of what is nested too deep.
pub(crate) fn too_deep<E: Failure>(has_stack: bool, is_nested: bool) -> E {
    let failure = if !has_stack {
        E::custom(format_args!("nested too deep: it takes more than {MAX_STACK} bytes of the stack"))
    } else if is_nested {
        E::custom(format_args!(
            "nested too deep: over the limit of {MAX_NESTED} arrays, maps and variants inside one another"
        ))
    } else {
        E::custom(format_args!(
            "nested too deep: over the limit of {MAX_WRAPPED} options and newtypes around a value"
        ))
    };
    failure.of_whole()
}

/// How values of a codec are decoded.
pub(crate) trait Form {
    /// The errors of decoding.
    type Error: Failure;
    /// The keys of maps.
    type Key: Place;

    /// Whether the codec's decoder, asked for a kind of value, quotes a string that it finds instead, however long it
    /// is. Asked for anything, it leaves that to the visitor, which then says what it did expect.
    const QUOTES: bool;
}

/// JSON.
pub(crate) struct Text<E>(PhantomData<E>);

impl<E: Failure> Form for Text<E> {
    type Error = E;
    type Key = Key;

    const QUOTES: bool = true;
}

/// MessagePack.
pub(crate) struct Packed<E>(PhantomData<E>);

impl<E: Failure> Form for Packed<E> {
    type Error = E;
    type Key = Name;

    const QUOTES: bool = false;
}

/// What is decoded.
pub(crate) trait Place {
    /// It is the key of a map in JSON, which is a string whatever its type is.
    const IS_KEY: bool = false;
    /// It tells where in a value the next part of it is.
    const IS_NAME: bool = false;
    /// A sequence was asked for, which bytes are as well.
    const IS_SEQUENCE: bool = false;
    /// Bytes were asked for.
    const IS_BYTES: bool = false;
}

/// A value.
pub(crate) struct Value;

impl Place for Value {}

/// The key of a map in JSON.
pub(crate) struct Key;

impl Place for Key {
    const IS_KEY: bool = true;
    const IS_NAME: bool = true;
}

/// A key that is like any value, or the name of a variant.
pub(crate) struct Name;

impl Place for Name {
    const IS_NAME: bool = true;
}

/// A value of which a sequence is wanted.
pub(crate) struct Sequence;

impl Place for Sequence {
    const IS_SEQUENCE: bool = true;
}

/// A value of which bytes are wanted.
pub(crate) struct Blob;

impl Place for Blob {
    const IS_BYTES: bool = true;
}

/// Decodes a value by a codec's decoder, of a message of so many bytes.
#[cfg_attr(not(debug_assertions), inline(always))]
pub(crate) fn decode<'de, F, T, D>(decoder: D, size: usize) -> Result<T, F::Error>
where
    F: Form,
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    let whole = Whole::of_size(size);
    T::deserialize(Bounded::<D, F>::outermost(decoder, &whole))
}

/// A decoder, or a part of one, within the bounds. It is copied at every step, so that it holds no more than a pointer
/// besides: what is known before is in the types.
pub(crate) struct Bounded<'c, T, F: Form, P = Value> {
    inner: T,
    whole: &'c Whole<F::Error>,
    place: PhantomData<P>,
}

impl<'c, T, F: Form> Bounded<'c, T, F> {
    /// Around what decodes the outermost value.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn outermost(inner: T, whole: &'c Whole<F::Error>) -> Self {
        Self::new(inner, whole)
    }
}

impl<'c, T, F: Form, P> Bounded<'c, T, F, P> {
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn new(inner: T, whole: &'c Whole<F::Error>) -> Self {
        Self { inner, whole, place: PhantomData }
    }
}

/// What is known of the outermost value, and what is left at the one that is decoded. It lies on the stack where the
/// decoding began.
pub(crate) struct Whole<E: Failure> {
    /// The error on its way out. The codec's decoder has errors of its own, which would quote without a bound.
    failure: Cell<Option<E>>,
    /// Bytes of the message: no array in it has more elements.
    size: usize,
    /// How many arrays, maps and variants may be inside.
    nested: Cell<u8>,
    /// How many options and newtypes may be inside.
    wrapped: Cell<u8>,
    /// Where in the value it is decoded.
    name: E::Place,
}

impl<E: Failure> Whole<E> {
    /// Of a message of so many bytes.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn of_size(size: usize) -> Self {
        Self {
            failure: Cell::new(None),
            size,
            nested: Cell::new(MAX_NESTED),
            wrapped: Cell::new(MAX_WRAPPED),
            name: E::Place::default(),
        }
    }

    /// Of a message of so many bytes that is one array or map, for what is inside that.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn one_level_down(size: usize) -> Self {
        Self { nested: Cell::new(MAX_NESTED - 1), ..Self::of_size(size) }
    }
}

impl<E: Failure> Whole<E> {
    /// Decodes what is inside an array, a map or a variant.
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn nested<T, X: de::Error>(&self, decode: impl FnOnce() -> Result<T, E>) -> Result<T, X> {
        self.inside(&self.nested, decode)
    }

    /// Decodes what is inside an option or a newtype.
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn wrapped<T, X: de::Error>(&self, decode: impl FnOnce() -> Result<T, E>) -> Result<T, X> {
        self.inside(&self.wrapped, decode)
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn inside<T, X: de::Error>(
        &self,
        left: &Cell<u8>,
        decode: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, X> {
        match left.get().checked_sub(1) {
            Some(less) if self.has_stack() => left.set(less),
            _ => return Err(self.too_deep()),
        }
        let value = decode();
        left.set(left.get() + 1);
        value.map_err(|failure| self.hand_over(failure))
    }

    /// The name that was read last, in front of what it is the name of.
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn take_name(&self) -> Option<Box<str>> {
        self.name.take()
    }

    /// Converts an error in the part of this name.
    #[cold]
    #[inline(never)]
    fn take_over_inside<X: Display>(&self, cause: X, name: Option<&str>) -> E {
        let failure = self.take_over(cause);
        match name {
            Some(name) => failure.inside(Step::Name(name)),
            None => failure,
        }
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn has_stack(&self) -> bool {
        let here = 0_u8;
        (&raw const here).addr().abs_diff((&raw const *self).addr()) < MAX_STACK
    }

    #[cold]
    #[inline(never)]
    fn too_deep<X: de::Error>(&self) -> X {
        self.hand_over(too_deep(self.has_stack(), self.nested.get() == 0))
    }

    /// Stores an error of this wrapper, and returns a marker for the codec's decoder to pass on.
    #[cold]
    #[inline(never)]
    fn hand_over<X: de::Error>(&self, failure: E) -> X {
        self.failure.set(Some(failure));
        X::custom(HANDED_OVER)
    }

    /// Converts an error of the codec's decoder; a marker becomes the error that was stored.
    #[cold]
    #[inline(never)]
    fn take_over<X: Display>(&self, cause: X) -> E {
        match self.failure.take() {
            None => E::of_codec(&cause),
            Some(ours) => {
                let text = brief(&cause, MAX_SHOWN);
                // It adds the place in the message. Some errors it does not pass on, but has one of its own.
                match text.strip_prefix(HANDED_OVER) {
                    Some(location) => ours.at(location),
                    None => E::of_codec(&cause),
                }
            }
        }
    }
}

/// The text of the marker that stands for a stored error.
const HANDED_OVER: &str = "see above";

macro_rules! forward {
    ($($method:ident($($name:ident: $type:ty),*),)*) => {
        $(
            #[cfg_attr(not(debug_assertions), inline(always))]
            fn $method<V: Visitor<'de>>(self, $($name: $type,)* visitor: V) -> Result<V::Value, F::Error> {
                let whole = self.whole;
                let visitor = Bounded::<V, F, P>::new(visitor, whole);
                self.inner.$method($($name,)* visitor).map_err(|cause| whole.take_over(cause))
            }
        )*
    };
}

/// Values that have others inside. Where a decoder quotes, it is asked for anything; keys of maps it decodes otherwise.
macro_rules! forward_compound {
    ($($method:ident($($name:ident: $type:ty),*),)*) => {
        $(
            #[cfg_attr(not(debug_assertions), inline(always))]
            fn $method<V: Visitor<'de>>(self, $($name: $type,)* visitor: V) -> Result<V::Value, F::Error> {
                let whole = self.whole;
                let visitor = Bounded::<V, F, P>::new(visitor, whole);
                if F::QUOTES && !P::IS_KEY {
                    self.inner.deserialize_any(visitor)
                } else {
                    self.inner.$method($($name,)* visitor)
                }
                .map_err(|cause| whole.take_over(cause))
            }
        )*
    };
}

/// Sequences and bytes, each of which may come as the other. A decoder of JSON has neither of a text that is bytes.
macro_rules! forward_bytes {
    ($place:ident: $($method:ident($($name:ident: $type:ty),*),)*) => {
        $(
            #[cfg_attr(not(debug_assertions), inline(always))]
            fn $method<V: Visitor<'de>>(self, $($name: $type,)* visitor: V) -> Result<V::Value, F::Error> {
                let whole = self.whole;
                if P::IS_KEY {
                    self.inner.$method($($name,)* Bounded::<V, F, P>::new(visitor, whole))
                } else {
                    self.inner.deserialize_any(Bounded::<V, F, $place>::new(visitor, whole))
                }
                .map_err(|cause| whole.take_over(cause))
            }
        )*
    };
}

/// Numbers. A decoder that does not quote gives the visitor nothing but numbers and the like, so that it needs no
/// bounds; but it says less of what else it finds.
macro_rules! forward_number {
    ($($method:ident,)*) => {
        $(
            #[cfg_attr(not(debug_assertions), inline(always))]
            fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, F::Error> {
                let whole = self.whole;
                if (F::QUOTES || F::Error::IS_SHOWN) && !P::IS_KEY {
                    self.inner.deserialize_any(Scalar::<V, F, P>::new(visitor, whole))
                } else if F::Error::IS_SHOWN {
                    self.inner.$method(Bounded::<V, F, P>::new(visitor, whole))
                } else {
                    self.inner.$method(visitor)
                }
                .map_err(|cause| whole.take_over(cause))
            }
        )*
    };
}

impl<'de, D, F, P> Deserializer<'de> for Bounded<'_, D, F, P>
where
    D: Deserializer<'de>,
    F: Form,
    P: Place,
{
    type Error = F::Error;

    forward! {
        deserialize_i128(),
        deserialize_u128(),
        deserialize_char(),
        deserialize_str(),
        deserialize_string(),
        deserialize_option(),
        deserialize_identifier(),
        deserialize_ignored_any(),
    }

    forward_compound! {
        deserialize_unit(),
        deserialize_unit_struct(name: &'static str),
        deserialize_tuple_struct(name: &'static str, len: usize),
        deserialize_map(),
        deserialize_struct(name: &'static str, fields: &'static [&'static str]),
    }

    forward_number! {
        deserialize_i8,
        deserialize_i16,
        deserialize_i32,
        deserialize_i64,
        deserialize_u8,
        deserialize_u16,
        deserialize_u32,
        deserialize_u64,
        deserialize_f32,
        deserialize_f64,
    }

    forward_bytes! {
        Sequence:
        deserialize_seq(),
        deserialize_tuple(len: usize),
    }

    forward_bytes! {
        Blob:
        deserialize_bytes(),
        deserialize_byte_buf(),
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, F::Error> {
        let whole = self.whole;
        let visitor = Bounded::<V, F, P>::new(visitor, whole);
        if !F::QUOTES && is_kept::<V::Value>() {
            // What serde keeps until it knows what it is to be can become bytes from numbers, but no array from bytes.
            self.inner.deserialize_seq(visitor)
        } else {
            self.inner.deserialize_any(visitor)
        }
        .map_err(|cause| whole.take_over(cause))
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, F::Error> {
        if !F::QUOTES && name == RAW_VALUE {
            return raw_value::decode(self, visitor);
        }
        let whole = self.whole;
        let visitor = Bounded::<V, F, P>::new(visitor, whole);
        self.inner.deserialize_newtype_struct(name, visitor).map_err(|cause| whole.take_over(cause))
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, F::Error> {
        let whole = self.whole;
        if P::IS_KEY {
            self.inner.deserialize_str(BoolKey::<V, F>::new(visitor, whole))
        } else if F::QUOTES || F::Error::IS_SHOWN {
            self.inner.deserialize_any(Scalar::<V, F, P>::new(visitor, whole))
        } else {
            self.inner.deserialize_bool(visitor)
        }
        .map_err(|cause| whole.take_over(cause))
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, F::Error> {
        let whole = self.whole;
        if F::QUOTES && !P::IS_KEY {
            self.inner.deserialize_any(Variant::<V, F>::new(visitor, whole))
        } else {
            self.inner.deserialize_enum(name, variants, Bounded::<V, F, P>::new(visitor, whole))
        }
        .map_err(|cause| whole.take_over(cause))
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn is_human_readable(&self) -> bool {
        true
    }
}
