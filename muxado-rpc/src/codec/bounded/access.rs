//! What is inside a value: elements, entries and variants.

use serde::{
    Deserializer,
    de::{DeserializeSeed, EnumAccess, MapAccess, SeqAccess, VariantAccess, Visitor},
};

use super::{Bounded, Failure, Place};

impl<'de, A, E> SeqAccess<'de> for Bounded<'_, A, E>
where
    A: SeqAccess<'de>,
    E: Failure,
{
    type Error = E;

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, E> {
        let bounds = self.bounds;
        self.inner.next_element_seed(Bounded { inner: seed, bounds }).map_err(|cause| bounds.take_over(cause))
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint().map(|elements| elements.min(self.bounds.whole.size))
    }
}

impl<'de, A, E> MapAccess<'de> for Bounded<'_, A, E>
where
    A: MapAccess<'de>,
    E: Failure,
{
    type Error = E;

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, E> {
        let bounds = self.bounds.place(Place::Key);
        self.inner.next_key_seed(Bounded { inner: seed, bounds }).map_err(|cause| bounds.take_over(cause))
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, E> {
        let bounds = self.bounds;
        self.inner.next_value_seed(Bounded { inner: seed, bounds }).map_err(|cause| bounds.take_over(cause))
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint().map(|entries| entries.min(self.bounds.whole.size))
    }
}

impl<'de, 'c, A, E> EnumAccess<'de> for Bounded<'c, A, E>
where
    A: EnumAccess<'de>,
    E: Failure,
{
    type Error = E;
    type Variant = Bounded<'c, A::Variant, E>;

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self::Variant), E> {
        let bounds = self.bounds;
        let (name, variant) = self
            .inner
            .variant_seed(Bounded { inner: seed, bounds })
            .map_err(|cause| bounds.take_over(cause))?;
        Ok((name, Bounded { inner: variant, bounds }))
    }
}

impl<'de, A, E> VariantAccess<'de> for Bounded<'_, A, E>
where
    A: VariantAccess<'de>,
    E: Failure,
{
    type Error = E;

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn unit_variant(self) -> Result<(), E> {
        self.inner.unit_variant().map_err(|cause| self.bounds.take_over(cause))
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, E> {
        let bounds = self.bounds;
        self.inner
            .newtype_variant_seed(Bounded { inner: seed, bounds })
            .map_err(|cause| bounds.take_over(cause))
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, E> {
        let bounds = self.bounds;
        self.inner
            .tuple_variant(len, Bounded { inner: visitor, bounds })
            .map_err(|cause| bounds.take_over(cause))
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, E> {
        let bounds = self.bounds;
        self.inner
            .struct_variant(fields, Bounded { inner: visitor, bounds })
            .map_err(|cause| bounds.take_over(cause))
    }
}

impl<'de, S, E> DeserializeSeed<'de> for Bounded<'_, S, E>
where
    S: DeserializeSeed<'de>,
    E: Failure,
{
    type Value = S::Value;

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn deserialize<D: Deserializer<'de>>(self, decoder: D) -> Result<S::Value, D::Error> {
        let bounds = self.bounds;
        self.inner
            .deserialize(Bounded { inner: decoder, bounds })
            .map_err(|failure| bounds.hand_over(failure))
    }
}
