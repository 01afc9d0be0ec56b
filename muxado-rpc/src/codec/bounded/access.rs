//! What is inside a value: elements, entries and variants.

use serde::{
    Deserializer,
    de::{DeserializeSeed, EnumAccess, MapAccess, SeqAccess, VariantAccess, Visitor},
};

use super::{Bounded, Failure, Form, Name, Place, Step, Whole};

/// The elements of a sequence, which are counted for the sake of errors.
pub(super) struct Elements<'c, A, F: Form> {
    inner: A,
    whole: &'c Whole<F::Error>,
    index: usize,
}

impl<'c, A, F: Form> Elements<'c, A, F> {
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(super) fn new(inner: A, whole: &'c Whole<F::Error>) -> Self {
        Self { inner, whole, index: 0 }
    }
}

impl<'de, A, F> SeqAccess<'de> for Elements<'_, A, F>
where
    A: SeqAccess<'de>,
    F: Form,
{
    type Error = F::Error;

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, F::Error> {
        let (whole, index) = (self.whole, self.index);
        self.index += 1;
        self.inner
            .next_element_seed(Bounded::<T, F>::new(seed, whole))
            .map_err(|cause| whole.take_over(cause).inside(Step::Index(index)))
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
        let name = whole.take_name();
        self.inner
            .next_value_seed(Bounded::<V, F>::new(seed, whole))
            .map_err(|cause| whole.take_over_inside(cause, name.as_deref()))
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
    type Variant = Chosen<'c, A::Variant, F>;

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self::Variant), F::Error> {
        let whole = self.whole;
        let (chosen, variant) = self
            .inner
            .variant_seed(Bounded::<V, F, Name>::new(seed, whole))
            .map_err(|cause| whole.take_over(cause))?;
        Ok((chosen, Chosen { inner: variant, whole, name: whole.take_name() }))
    }
}

/// The value of a variant that is known.
pub(crate) struct Chosen<'c, A, F: Form> {
    inner: A,
    whole: &'c Whole<F::Error>,
    name: Option<Box<str>>,
}

impl<'de, A, F> VariantAccess<'de> for Chosen<'_, A, F>
where
    A: VariantAccess<'de>,
    F: Form,
{
    type Error = F::Error;

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn unit_variant(self) -> Result<(), F::Error> {
        let Self { inner, whole, name } = self;
        inner.unit_variant().map_err(|cause| whole.take_over_inside(cause, name.as_deref()))
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, F::Error> {
        let Self { inner, whole, name } = self;
        inner
            .newtype_variant_seed(Bounded::<T, F>::new(seed, whole))
            .map_err(|cause| whole.take_over_inside(cause, name.as_deref()))
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, F::Error> {
        let Self { inner, whole, name } = self;
        inner
            .tuple_variant(len, Bounded::<V, F>::new(visitor, whole))
            .map_err(|cause| whole.take_over_inside(cause, name.as_deref()))
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, F::Error> {
        let Self { inner, whole, name } = self;
        inner
            .struct_variant(fields, Bounded::<V, F>::new(visitor, whole))
            .map_err(|cause| whole.take_over_inside(cause, name.as_deref()))
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
