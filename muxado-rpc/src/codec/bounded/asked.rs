//! What is made of a value by the visitors of a kind of value, where the codec's decoder is asked for anything.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{
        self, EnumAccess, IntoDeserializer, MapAccess, Unexpected, Visitor,
        value::{MapAccessDeserializer, StrDeserializer},
    },
};

use super::{Bounded, Failure, Form, LastName, Place, Whole};

macro_rules! asked {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        $(
            $(#[$doc])*
            pub(super) struct $name<'c, V, F: Form> {
                inner: V,
                whole: &'c Whole<F::Error>,
            }

            impl<'c, V, F: Form> $name<'c, V, F> {
                #[cfg_attr(not(debug_assertions), inline(always))]
                pub(super) fn new(inner: V, whole: &'c Whole<F::Error>) -> Self {
                    Self { inner, whole }
                }
            }
        )*
    };
}

/// Asked for a number or a boolean.
pub(super) struct Scalar<'c, V, F: Form, P> {
    inner: V,
    whole: &'c Whole<F::Error>,
    place: PhantomData<P>,
}

impl<'c, V, F: Form, P: Place> Scalar<'c, V, F, P> {
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(super) fn new(inner: V, whole: &'c Whole<F::Error>) -> Self {
        Self { inner, whole, place: PhantomData }
    }

    /// Keeps a key that is a number, for the error of its value.
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn note(&self, name: &dyn fmt::Display) {
        if F::Error::IS_SHOWN && P::IS_NAME {
            self.whole.name.set(name);
        }
    }
}

asked! {
    /// Asked for a variant.
    Variant,
    /// Asked for a boolean as the key of a map, which is a string in JSON.
    BoolKey,
}

impl<'de, V: Visitor<'de>, F: Form, P: Place> Visitor<'de> for Scalar<'_, V, F, P> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.expecting(f)
    }

    visit_short! {
        visit_bool: bool,
        visit_i64: i64,
        visit_u64: u64,
        visit_f64: f64,
    }

    visit_text! {
        visit_str(value: &str),
        visit_borrowed_str(value: &'de str),
        visit_unit(),
    }

    #[cold]
    fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<V::Value, A::Error> {
        let Self { inner, whole, .. } = self;
        whole.nested(|| visit_number(inner, Bounded::<A, F>::new(entries, whole)))
    }
}

impl<'de, V: Visitor<'de>, F: Form> Visitor<'de> for Variant<'_, V, F> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.expecting(f)
    }

    /// The name of a variant without a value.
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn visit_str<X: de::Error>(self, name: &str) -> Result<V::Value, X> {
        let name: StrDeserializer<'_, F::Error> = name.into_deserializer();
        self.inner.visit_enum(name).map_err(|failure| self.whole.hand_over(failure))
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<V::Value, A::Error> {
        let Self { inner, whole } = self;
        let entries = Bounded::<A, F>::new(entries, whole);
        whole.nested(|| inner.visit_enum(MapAccessDeserializer::new(entries)))
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn visit_enum<A: EnumAccess<'de>>(self, variant: A) -> Result<V::Value, A::Error> {
        let Self { inner, whole } = self;
        whole.nested(|| inner.visit_enum(Bounded::<A, F>::new(variant, whole)))
    }
}

impl<'de, V: Visitor<'de>, F: Form> Visitor<'de> for BoolKey<'_, V, F> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.expecting(f)
    }

    fn visit_str<X: de::Error>(self, key: &str) -> Result<V::Value, X> {
        match key {
            "true" => self.inner.visit_bool(true),
            "false" => self.inner.visit_bool(false),
            // Another than a boolean is for the visitor to refuse.
            other => self.inner.visit_str(other),
        }
        .map_err(|failure: F::Error| self.whole.hand_over(failure))
    }
}

/// A number as the decoder of JSON has it when its feature `arbitrary_precision` is on, which any crate of a program
/// may want: a map of one entry, the text of the number.
#[cold]
fn visit_number<'de, V, A>(visitor: V, mut entries: A) -> Result<V::Value, A::Error>
where
    V: Visitor<'de>,
    A: MapAccess<'de>,
{
    if !matches!(entries.next_key()?, Some(IsNumber(true))) {
        return Err(de::Error::invalid_type(Unexpected::Map, &visitor));
    }
    let text: String = entries.next_value()?;
    if let Ok(number) = text.parse() {
        visitor.visit_u64(number)
    } else if let Ok(number) = text.parse() {
        visitor.visit_i64(number)
    } else if let Ok(number) = text.parse() {
        visitor.visit_f64(number)
    } else {
        Err(de::Error::invalid_type(Unexpected::Other("number"), &visitor))
    }
}

/// Whether a key says that its value is the text of a number.
struct IsNumber(bool);

impl<'de> Deserialize<'de> for IsNumber {
    fn deserialize<D: Deserializer<'de>>(decoder: D) -> Result<Self, D::Error> {
        decoder.deserialize_identifier(Self(false))
    }
}

impl Visitor<'_> for IsNumber {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<X: de::Error>(self, key: &str) -> Result<Self, X> {
        Ok(Self(key == "$serde_json::private::Number"))
    }
}
