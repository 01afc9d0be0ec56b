//! The decoder around those of the codecs. It bounds how deep values are nested before it goes a level deeper, what
//! is allocated for a number of elements, and what is quoted in an error.
//!
//! Whatever is decoded recursively passes through one of five methods of a [`Visitor`]: those that get a further
//! decoder. There the levels are counted, also those that have no bytes of their own, such as options.

// Its methods are steps between a codec's decoder and a visitor, for every value inside a value, and a step that is
// called copies what it passes on: with optimisation they are always inlined. Without it that would only make one
// large frame of many small ones.

mod access;
#[cfg(test)]
mod tests;
mod visitor;

use std::{cell::Cell, fmt::Display};

use serde::{
    Deserialize, Deserializer,
    de::{self, Visitor},
};

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
    /// What the codec's decoder says.
    fn of_codec(cause: &dyn Display) -> Self;

    /// Adds where in the message it was, as the codec's decoder says it.
    #[must_use]
    fn at(self, location: &str) -> Self;
}

/// Decodes a value by a codec's decoder, of a message of so many bytes.
#[cfg_attr(not(debug_assertions), inline(always))]
pub(crate) fn decode<'de, T, D, E>(decoder: D, size: usize) -> Result<T, E>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
    E: Failure,
{
    let whole = Whole::of_size(size);
    T::deserialize(Bounded::outermost(decoder, &whole))
}

/// A decoder, or a part of one, and what is left for it.
pub(crate) struct Bounded<'c, T, E> {
    inner: T,
    bounds: Bounds<'c, E>,
}

impl<'c, T, E> Bounded<'c, T, E> {
    /// Around what decodes the outermost value.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn outermost(inner: T, whole: &'c Whole<E>) -> Self {
        let bounds = Bounds { whole, nested: MAX_NESTED, wrapped: MAX_WRAPPED, place: Place::Value };
        Self { inner, bounds }
    }
}

/// What is known of the outermost value. It lies on the stack where the decoding began.
pub(crate) struct Whole<E> {
    /// The error on its way out. The codec's decoder has errors of its own, which would quote without a bound.
    failure: Cell<Option<E>>,
    /// Bytes of the message: no array in it has more elements.
    size: usize,
}

impl<E> Whole<E> {
    /// Of a message of so many bytes.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) const fn of_size(size: usize) -> Self {
        Self { failure: Cell::new(None), size }
    }
}

/// What is left for a value and those inside it.
struct Bounds<'c, E> {
    whole: &'c Whole<E>,
    nested: u8,
    wrapped: u8,
    place: Place,
}

/// What is asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Value,
    /// A number, by a decoder that is asked for anything.
    Number,
    /// A variant, by a decoder that is asked for anything.
    Variant,
    /// The key of a map.
    Key,
}

impl<E> Clone for Bounds<'_, E> {
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn clone(&self) -> Self {
        *self
    }
}

impl<E> Copy for Bounds<'_, E> {}

impl<E: Failure> Bounds<'_, E> {
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn place(self, place: Place) -> Self {
        Self { place, ..self }
    }

    /// Inside an array, a map or a variant.
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn nested<X: de::Error>(self) -> Result<Self, X> {
        match self.nested.checked_sub(1) {
            Some(nested) if self.has_stack() => Ok(Self { nested, place: Place::Value, ..self }),
            _ => Err(self.too_deep()),
        }
    }

    /// Inside an option or a newtype.
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn wrapped<X: de::Error>(self) -> Result<Self, X> {
        match self.wrapped.checked_sub(1) {
            Some(wrapped) if self.has_stack() => Ok(Self { wrapped, ..self }),
            _ => Err(self.too_deep()),
        }
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn has_stack(self) -> bool {
        let here = 0_u8;
        (&raw const here).addr().abs_diff((&raw const *self.whole).addr()) < MAX_STACK
    }

    #[cold]
    #[inline(never)]
    fn too_deep<X: de::Error>(self) -> X {
        self.hand_over(if !self.has_stack() {
            E::custom(format_args!("nested too deep: it takes more than {MAX_STACK} bytes of the stack"))
        } else if self.nested == 0 {
            E::custom(format_args!(
                "nested too deep: over the limit of {MAX_NESTED} arrays, maps and variants inside one another"
            ))
        } else {
            E::custom(format_args!(
                "nested too deep: over the limit of {MAX_WRAPPED} options and newtypes around a value"
            ))
        })
    }

    /// An error of ours, for the codec's decoder to pass on.
    #[cold]
    #[inline(never)]
    fn hand_over<X: de::Error>(self, failure: E) -> X {
        self.whole.failure.set(Some(failure));
        X::custom(HANDED_OVER)
    }

    /// An error of the codec's decoder, or the one of ours that it passes on.
    #[cold]
    #[inline(never)]
    fn take_over<X: Display>(self, cause: X) -> E {
        match self.whole.failure.take() {
            None => E::of_codec(&cause),
            Some(ours) => {
                let text = crate::text::brief(&cause, crate::text::MAX_SHOWN);
                // It adds the place in the message. Some errors it does not pass on, but has one of its own.
                match text.strip_prefix(HANDED_OVER) {
                    Some(location) => ours.at(location),
                    None => E::of_codec(&cause),
                }
            }
        }
    }
}

/// The text of an error which stands for one of ours.
const HANDED_OVER: &str = "see above";

macro_rules! forward {
    ($($method:ident($($name:ident: $type:ty),*),)*) => {
        $(
            #[cfg_attr(not(debug_assertions), inline(always))]
            fn $method<V: Visitor<'de>>(self, $($name: $type,)* visitor: V) -> Result<V::Value, E> {
                let bounds = self.bounds;
                let visitor = Bounded { inner: visitor, bounds };
                self.inner.$method($($name,)* visitor).map_err(|cause| bounds.take_over(cause))
            }
        )*
    };
}

/// Asked for this, the decoder of JSON quotes a string that it finds instead, however long it is. Asked for anything,
/// it leaves that to the visitor, which then says what it did expect. Keys of maps it decodes otherwise.
macro_rules! forward_as_any {
    ($($method:ident($($name:ident: $type:ty),*): $place:ident,)*) => {
        $(
            #[cfg_attr(not(debug_assertions), inline(always))]
            fn $method<V: Visitor<'de>>(self, $($name: $type,)* visitor: V) -> Result<V::Value, E> {
                let bounds = self.bounds;
                if self.inner.is_human_readable() && bounds.place != Place::Key {
                    let visitor = Bounded { inner: visitor, bounds: bounds.place(Place::$place) };
                    self.inner.deserialize_any(visitor).map_err(|cause| bounds.take_over(cause))
                } else {
                    let visitor = Bounded { inner: visitor, bounds };
                    self.inner.$method($($name,)* visitor).map_err(|cause| bounds.take_over(cause))
                }
            }
        )*
    };
}

impl<'de, D, E> Deserializer<'de> for Bounded<'_, D, E>
where
    D: Deserializer<'de>,
    E: Failure,
{
    type Error = E;

    forward! {
        deserialize_any(),
        deserialize_i128(),
        deserialize_u128(),
        deserialize_char(),
        deserialize_str(),
        deserialize_string(),
        deserialize_bytes(),
        deserialize_byte_buf(),
        deserialize_option(),
        deserialize_newtype_struct(name: &'static str),
        deserialize_identifier(),
        deserialize_ignored_any(),
    }

    forward_as_any! {
        deserialize_i8(): Number,
        deserialize_i16(): Number,
        deserialize_i32(): Number,
        deserialize_i64(): Number,
        deserialize_u8(): Number,
        deserialize_u16(): Number,
        deserialize_u32(): Number,
        deserialize_u64(): Number,
        deserialize_f32(): Number,
        deserialize_f64(): Number,
        deserialize_unit(): Value,
        deserialize_unit_struct(name: &'static str): Value,
        deserialize_seq(): Value,
        deserialize_tuple(len: usize): Value,
        deserialize_tuple_struct(name: &'static str, len: usize): Value,
        deserialize_map(): Value,
        deserialize_struct(name: &'static str, fields: &'static [&'static str]): Value,
        deserialize_enum(name: &'static str, variants: &'static [&'static str]): Variant,
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, E> {
        let bounds = self.bounds;
        let visitor = Bounded { inner: visitor, bounds };
        match (self.inner.is_human_readable(), bounds.place) {
            (false, _) => self.inner.deserialize_bool(visitor),
            (true, Place::Key) => self.inner.deserialize_str(visitor::BoolKey(visitor)),
            (true, _) => self.inner.deserialize_any(visitor),
        }
        .map_err(|cause| bounds.take_over(cause))
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}
