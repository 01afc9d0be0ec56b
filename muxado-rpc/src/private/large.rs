//! Large strings at the end of what is sent, which are not copied: generated code owns what it sends.
//!
//! Which types are such strings the compiler says, as in [`probe`](super::probe).

use std::marker::PhantomData;

use bytes::Bytes;

use crate::message::payload::LargeString;

/// A type of which a large string may be taken.
#[derive(Debug)]
pub struct LargeProbe<T>(PhantomData<T>);

impl LargeProbe<String> {
    /// Takes it, if it is large.
    #[inline]
    pub fn take(text: &mut String) -> Option<LargeString> {
        LargeString::of_text(text)
    }
}

impl LargeProbe<Vec<u8>> {
    /// Takes it, if it is large.
    #[inline]
    pub fn take(bytes: &mut Vec<u8>) -> Option<LargeString> {
        LargeString::of_bytes(bytes)
    }
}

impl LargeProbe<Bytes> {
    /// Takes it, if it is large.
    #[inline]
    pub fn take(bytes: &mut Bytes) -> Option<LargeString> {
        LargeString::of_shared(bytes)
    }
}

/// Any other type.
pub trait AnyLarge<T> {
    /// Takes nothing.
    #[inline]
    fn take(_: &mut T) -> Option<LargeString> {
        None
    }
}

impl<T> AnyLarge<T> for LargeProbe<T> {}
