//! A received value of which a large string lies apart.

use std::sync::{Mutex, OnceLock, PoisonError};

use bytes::Bytes;
use serde::Deserialize;

use crate::codec::{Codec, CodecError, apart::Apart, shared_bytes};

/// A value in MessagePack, in two pieces until somebody looks at it as a whole.
pub(super) struct Parted {
    /// The value, with a stand-in for the large string.
    value: Bytes,
    apart: Mutex<Option<Apart>>,
    /// The value in one piece, once it was asked for. Then there is nothing apart any more.
    whole: OnceLock<Bytes>,
}

impl Parted {
    pub(super) const fn new(value: Bytes, apart: Apart) -> Self {
        Self { value, apart: Mutex::new(Some(apart)), whole: OnceLock::new() }
    }

    fn take_apart(&self) -> Option<Apart> {
        // Nothing panics under the lock.
        self.apart.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Returns the value in one piece.
    pub(super) fn whole(&self) -> &Bytes {
        self.whole.get_or_init(|| match self.take_apart() {
            Some(apart) => apart.join(&self.value),
            None => self.value.clone(),
        })
    }

    /// Decodes the value for the last time.
    pub(super) fn decode_last<'de, T: Deserialize<'de>>(&'de self, codec: Codec) -> Result<T, CodecError> {
        if let Some(apart) = self.take_apart() {
            match shared_bytes::decoding(&self.value, || Codec::decode_with(apart, &self.value)) {
                Ok(decoded) => return decoded,
                Err(whole) => {
                    let _ = self.whole.set(whole);
                }
            }
        }
        let whole = self.whole();
        shared_bytes::decoding(whole, || codec.decode(whole))
    }
}

/// A clone is in one piece, which it shares.
impl Clone for Parted {
    fn clone(&self) -> Self {
        let whole = self.whole().clone();
        Self { value: Bytes::new(), apart: Mutex::new(None), whole: OnceLock::from(whole) }
    }
}
