//! A value on its way from one codec to another, whatever it is.

use std::{
    cell::Cell,
    fmt::{self, Display},
};

use serde::{
    Deserializer, Serialize, Serializer,
    de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor},
    ser::{self, SerializeMap, SerializeSeq},
};

/// Encodes what a decoder decodes, once. How deep it goes is bounded by either.
pub(super) struct Transcode<D> {
    decoder: Cell<Option<D>>,
    problem: Problem,
}

impl<D> Transcode<D> {
    pub(super) fn new(decoder: D) -> Self {
        Self { decoder: Cell::new(Some(decoder)), problem: Problem::default() }
    }
}

impl<'de, D: Deserializer<'de>> Serialize for Transcode<D> {
    fn serialize<S: Serializer>(&self, encoder: S) -> Result<S::Ok, S::Error> {
        transcode(&self.decoder, encoder, &self.problem)
            .map_err(|error: S::Error| self.problem.take().map_or(error, ser::Error::custom))
    }
}

/// What was wrong first: each part of the value that it is in would make another error of it.
#[derive(Default)]
struct Problem(Cell<Option<String>>);

impl Problem {
    fn take(&self) -> Option<String> {
        self.0.take()
    }

    fn is(&self, error: &dyn Display) -> &'static str {
        let first = self.0.take().unwrap_or_else(|| error.to_string());
        self.0.set(Some(first));
        "a part of it cannot be carried"
    }

    fn while_decoding<E: de::Error>(&self, error: impl Display) -> E {
        E::custom(self.is(&error))
    }
}

fn transcode<'de, D, S>(decoder: &Cell<Option<D>>, encoder: S, problem: &Problem) -> Result<S::Ok, S::Error>
where
    D: Deserializer<'de>,
    S: Serializer,
{
    match decoder.take() {
        Some(decoder) => decoder
            .deserialize_any(Into { encoder, problem })
            .map_err(|error| ser::Error::custom(problem.is(&error))),
        None => Err(ser::Error::custom("a value is encoded again")),
    }
}

/// A part of a value.
struct Part<'p, D> {
    decoder: Cell<Option<D>>,
    problem: &'p Problem,
}

impl<'de, D: Deserializer<'de>> Serialize for Part<'_, D> {
    fn serialize<S: Serializer>(&self, encoder: S) -> Result<S::Ok, S::Error> {
        transcode(&self.decoder, encoder, self.problem)
    }
}

/// Encodes what it is given.
struct Into<'p, S> {
    encoder: S,
    problem: &'p Problem,
}

macro_rules! encoded {
    ($($visit:ident($($type:ty)?) => $serialize:ident,)*) => {
        $(
            encoded!(@ $visit($($type)?) => $serialize);
        )*
    };
    (@ $visit:ident($type:ty) => $serialize:ident) => {
        fn $visit<E: de::Error>(self, value: $type) -> Result<S::Ok, E> {
            self.encoder.$serialize(value).map_err(|error| self.problem.while_decoding(error))
        }
    };
    (@ $visit:ident() => $serialize:ident) => {
        fn $visit<E: de::Error>(self) -> Result<S::Ok, E> {
            self.encoder.$serialize().map_err(|error| self.problem.while_decoding(error))
        }
    };
}

impl<'de, S: Serializer> Visitor<'de> for Into<'_, S> {
    type Value = S::Ok;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value that both codecs have")
    }

    encoded! {
        visit_bool(bool) => serialize_bool,
        visit_i64(i64) => serialize_i64,
        visit_i128(i128) => serialize_i128,
        visit_u64(u64) => serialize_u64,
        visit_u128(u128) => serialize_u128,
        visit_f32(f32) => serialize_f32,
        visit_f64(f64) => serialize_f64,
        visit_str(&str) => serialize_str,
        visit_bytes(&[u8]) => serialize_bytes,
        visit_unit() => serialize_unit,
        visit_none() => serialize_none,
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<S::Ok, A::Error> {
        let Self { encoder, problem } = self;
        let failed = |error: S::Error| problem.while_decoding(error);
        let mut array = encoder.serialize_seq(elements.size_hint()).map_err(failed)?;
        while elements.next_element_seed(Element(&mut array, problem))?.is_some() {}
        array.end().map_err(failed)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<S::Ok, A::Error> {
        let Self { encoder, problem } = self;
        let failed = |error: S::Error| problem.while_decoding(error);
        let mut map = encoder.serialize_map(entries.size_hint()).map_err(failed)?;
        while entries.next_key_seed(Key(&mut map, problem))?.is_some() {
            entries.next_value_seed(Entry(&mut map, problem))?;
        }
        map.end().map_err(failed)
    }
}

macro_rules! parts {
    ($($name:ident: $trait:ident::$method:ident,)*) => {
        $(
            struct $name<'a, 'p, C>(&'a mut C, &'p Problem);

            impl<'de, C: $trait> DeserializeSeed<'de> for $name<'_, '_, C> {
                type Value = ();

                fn deserialize<D: Deserializer<'de>>(self, decoder: D) -> Result<(), D::Error> {
                    let Self(whole, problem) = self;
                    let part = Part { decoder: Cell::new(Some(decoder)), problem };
                    whole.$method(&part).map_err(|error| problem.while_decoding(error))
                }
            }
        )*
    };
}

parts! {
    Element: SerializeSeq::serialize_element,
    Key: SerializeMap::serialize_key,
    Entry: SerializeMap::serialize_value,
}
