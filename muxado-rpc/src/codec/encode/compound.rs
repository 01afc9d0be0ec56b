//! Values of several parts.

use serde::{
    Serialize,
    ser::{
        SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
        SerializeTupleStruct, SerializeTupleVariant,
    },
};

use super::{CodecError, Encoder, Kind, Notation, byte_of, key::Key, text_of};
use crate::codec::kind::{is_byte, is_str};

/// An array or a map that is being written.
#[derive(Debug)]
pub(crate) struct Compound<'e, 'b, N> {
    to: &'e mut Encoder<'b, N>,
    kind: Kind,
    /// How many parts it said to have.
    len: Option<usize>,
    /// How many there are.
    count: usize,
    /// Where it begins in the buffer.
    start: usize,
    /// How many levels it is: two with a variant around it.
    levels: u8,
    /// Whether bytes were spelt outside of it.
    spelt_before: bool,
    /// Whether what is first may be the tag of an enumeration.
    may_be_tagged: bool,
}

impl<'e, 'b, N: Notation> Compound<'e, 'b, N> {
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(super) fn open(
        to: &'e mut Encoder<'b, N>,
        kind: Kind,
        len: Option<usize>,
        levels: u8,
    ) -> Result<Self, CodecError> {
        let (start, spelt_before) = (to.buf.len(), to.spells_bytes);
        N::open(to.buf, kind, len)?;
        Ok(Self { to, kind, len, count: 0, start, levels, spelt_before, may_be_tagged: true })
    }

    /// Takes what is to be an array, whose beginning is not written.
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn unopened(to: &'e mut Encoder<'b, N>, len: usize) -> Self {
        let (start, spelt_before) = (to.buf.len(), to.spells_bytes);
        Self {
            to,
            kind: Kind::Array,
            len: Some(len),
            count: 0,
            start,
            levels: 1,
            spelt_before,
            may_be_tagged: false,
        }
    }

    /// Takes what is first as any other part, also if it is a `str` by itself.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(super) fn untagged(mut self) -> Self {
        self.may_be_tagged = false;
        self
    }

    /// Has all bytes inside as arrays of numbers, where the notation has no type for them.
    pub(super) fn spell_bytes(&mut self) {
        self.to.spells_bytes |= N::BYTES_ARE_TEXT;
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(super) fn element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), CodecError> {
        N::separate(self.to.buf, self.count == 0);
        self.to.value(value).map_err(|error| error.inside_element(self.count))?;
        self.count += 1;
        Ok(())
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), CodecError> {
        if is_str::<T>() && self.count == 0 && self.may_be_tagged {
            // Only the tag of an enumeration comes as what no field can be, a `str`: its reader keeps what is behind it.
            self.spell_bytes();
        }
        N::separate(self.to.buf, self.count == 0);
        N::name(self.to.buf, name);
        self.to.value(value).map_err(|error| error.inside_field(name))?;
        self.count += 1;
        Ok(())
    }

    fn key<K: Serialize + ?Sized>(&mut self, key: &K) -> Result<(), CodecError> {
        N::separate(self.to.buf, self.count == 0);
        if N::KEYS_ARE_TEXT {
            key.serialize(Key::new(self.to))?;
            N::name_end(self.to.buf);
            Ok(())
        } else {
            self.to.value(key)
        }
    }

    fn entry<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), CodecError> {
        if is_str::<T>() && self.count == 0 && self.may_be_tagged {
            self.spell_bytes();
        }
        self.to.value(value)?;
        self.count += 1;
        Ok(())
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(super) fn close(self) -> Result<(), CodecError> {
        N::close(self.to.buf, self.kind, self.start, self.len, self.count)?;
        if self.levels == 2 {
            N::end_variant(self.to.buf);
        }
        self.to.nested += self.levels;
        self.to.spells_bytes = self.spelt_before;
        Ok(())
    }
}

/// An array of a number of elements that is known by the type: bytes, if all of them are.
#[derive(Debug)]
pub(crate) struct TupleOf<'e, 'b, N> {
    array: Compound<'e, 'b, N>,
    /// There are bytes so far, as they are, at the end of the buffer.
    holds_bytes: bool,
}

impl<'e, 'b, N: Notation> TupleOf<'e, 'b, N> {
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(super) fn open(
        to: &'e mut Encoder<'b, N>,
        len: usize,
        may_be_bytes: bool,
    ) -> Result<Self, CodecError> {
        if may_be_bytes && len > 0 && !to.spells_bytes {
            to.enter()?;
            return Ok(Self { array: Compound::unopened(to, len), holds_bytes: true });
        }
        Ok(Self { array: to.open(Kind::Array, Some(len))?, holds_bytes: false })
    }

    /// Begins an array with what seemed to be bytes.
    fn spell_out(&mut self) -> Result<(), CodecError> {
        self.holds_bytes = false;
        let array = &mut self.array;
        let bytes = array.to.buf.split_off(array.start);
        N::open(array.to.buf, array.kind, array.len)?;
        array.count = 0;
        bytes.iter().try_for_each(|byte| array.element(byte))
    }
}

impl<N: Notation> SerializeTuple for TupleOf<'_, '_, N> {
    type Ok = ();
    type Error = CodecError;

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), CodecError> {
        if self.holds_bytes && is_byte::<T>() {
            self.array.to.buf.push(byte_of(value));
            self.array.count += 1;
            return Ok(());
        }
        if self.holds_bytes {
            self.spell_out()?;
        }
        self.array.element(value)
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn end(self) -> Result<(), CodecError> {
        if self.holds_bytes {
            N::end_bytes(self.array.to.buf, self.array.start)?;
            self.array.to.leave();
            return Ok(());
        }
        self.array.close()
    }
}

/// A structure, or what `serde_json` has made one of to have it written in its own way.
#[derive(Debug)]
pub(crate) enum StructOf<'e, 'b, N> {
    Fields(Compound<'e, 'b, N>),
    /// The text of a JSON value.
    RawValue(&'e mut Encoder<'b, N>),
    /// The text of a number.
    Number(&'e mut Encoder<'b, N>),
}

impl<'e, 'b, N: Notation> StructOf<'e, 'b, N> {
    pub(super) fn special(to: &'e mut Encoder<'b, N>, name: &'static str) -> Self {
        if name == crate::codec::kind::RAW_VALUE { Self::RawValue(to) } else { Self::Number(to) }
    }
}

impl<N: Notation> SerializeStruct for StructOf<'_, '_, N> {
    type Ok = ();
    type Error = CodecError;

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), CodecError> {
        match self {
            Self::Fields(map) => map.field(name, value),
            Self::RawValue(to) => N::raw_value(to, &text_of(value)?),
            Self::Number(to) => N::number(to.buf, &text_of(value)?),
        }
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn end(self) -> Result<(), CodecError> {
        match self {
            Self::Fields(map) => map.close(),
            Self::RawValue(_) | Self::Number(_) => Ok(()),
        }
    }
}

impl<N: Notation> SerializeSeq for Compound<'_, '_, N> {
    type Ok = ();
    type Error = CodecError;

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), CodecError> {
        self.element(value)
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn end(self) -> Result<(), CodecError> {
        self.close()
    }
}

macro_rules! fields_by_position {
    ($($trait:ident,)*) => {
        $(
            impl<N: Notation> $trait for Compound<'_, '_, N> {
                type Ok = ();
                type Error = CodecError;

                fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), CodecError> {
                    self.element(value)
                }

                fn end(self) -> Result<(), CodecError> {
                    self.close()
                }
            }
        )*
    };
}

fields_by_position! {
    SerializeTupleStruct,
    SerializeTupleVariant,
}

impl<N: Notation> SerializeMap for Compound<'_, '_, N> {
    type Ok = ();
    type Error = CodecError;

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn serialize_key<K: Serialize + ?Sized>(&mut self, key: &K) -> Result<(), CodecError> {
        self.key(key)
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), CodecError> {
        self.entry(value)
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn end(self) -> Result<(), CodecError> {
        self.close()
    }
}

impl<N: Notation> SerializeStructVariant for Compound<'_, '_, N> {
    type Ok = ();
    type Error = CodecError;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), CodecError> {
        self.field(name, value)
    }

    fn end(self) -> Result<(), CodecError> {
        self.close()
    }
}
