//! What is inside a value: elements, entries and variants.

use serde::{
    Deserializer,
    de::{DeserializeSeed, EnumAccess, MapAccess, SeqAccess, VariantAccess, Visitor},
};

use super::{Bounded, Form, Place};

impl<'de, A, F> SeqAccess<'de> for Bounded<'_, A, F>
where
    A: SeqAccess<'de>,
    F: Form,
{
    type Error = F::Error;

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, F::Error> {
        let whole = self.whole;
        self.inner
            .next_element_seed(Bounded::<T, F>::new(seed, whole))
            .map_err(|cause| whole.take_over(cause))
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint().map(|elements| elements.min(self.whole.size))
    }
}

impl<'de, A, F> MapAccess<'de> for Bounded<'_, A, F>
where
    A: MapAccess<'de>,
    F: Form,
{
    type Error = F::Error;

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, F::Error> {
        let whole = self.whole;
        self.inner
            .next_key_seed(Bounded::<K, F, F::Key>::new(seed, whole))
            .map_err(|cause| whole.take_over(cause))
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, F::Error> {
        let whole = self.whole;
        self.inner.next_value_seed(Bounded::<V, F>::new(seed, whole)).map_err(|cause| whole.take_over(cause))
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint().map(|entries| entries.min(self.whole.size))
    }
}

impl<'de, 'c, A, F> EnumAccess<'de> for Bounded<'c, A, F>
where
    A: EnumAccess<'de>,
    F: Form,
{
    type Error = F::Error;
    type Variant = Bounded<'c, A::Variant, F>;

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self::Variant), F::Error> {
        let whole = self.whole;
        let (name, variant) = self
            .inner
            .variant_seed(Bounded::<V, F>::new(seed, whole))
            .map_err(|cause| whole.take_over(cause))?;
        Ok((name, Bounded::new(variant, whole)))
    }
}

impl<'de, A, F> VariantAccess<'de> for Bounded<'_, A, F>
where
    A: VariantAccess<'de>,
    F: Form,
{
    type Error = F::Error;

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn unit_variant(self) -> Result<(), F::Error> {
        self.inner.unit_variant().map_err(|cause| self.whole.take_over(cause))
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, F::Error> {
        let whole = self.whole;
        self.inner
            .newtype_variant_seed(Bounded::<T, F>::new(seed, whole))
            .map_err(|cause| whole.take_over(cause))
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, F::Error> {
        let whole = self.whole;
        self.inner
            .tuple_variant(len, Bounded::<V, F>::new(visitor, whole))
            .map_err(|cause| whole.take_over(cause))
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, F::Error> {
        let whole = self.whole;
        self.inner
            .struct_variant(fields, Bounded::<V, F>::new(visitor, whole))
            .map_err(|cause| whole.take_over(cause))
    }
}

impl<'de, S, F, P> DeserializeSeed<'de> for Bounded<'_, S, F, P>
where
    S: DeserializeSeed<'de>,
    F: Form,
    P: Place,
{
    type Value = S::Value;

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn deserialize<D: Deserializer<'de>>(self, decoder: D) -> Result<S::Value, D::Error> {
        let whole = self.whole;
        self.inner
            .deserialize(Bounded::<D, F, P>::new(decoder, whole))
            .map_err(|failure| whole.hand_over(failure))
    }
}
