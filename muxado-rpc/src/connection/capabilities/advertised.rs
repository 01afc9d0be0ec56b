//! What peers advertise: peers that say the same share it.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use serde_json::value::RawValue;

use super::line::AdvertisedLimits;
use crate::Codec;

/// What a peer says about itself once and for all.
#[derive(Debug)]
pub(super) struct Advertised {
    pub(super) limits: AdvertisedLimits,
    pub(super) codecs: Option<Vec<Codec>>,
    /// As it came, so that it takes no more room than the peer sent.
    pub(super) services: Option<Box<RawValue>>,
    pub(super) truncated: bool,
}

/// What was advertised last. Thousands of peers of a server are mostly alike, and so are the servers of a client.
static RECENT: Mutex<Vec<Weak<Advertised>>> = Mutex::new(Vec::new());

/// Most different ones that are looked at.
const RECENT_LEN: usize = 8;

impl Advertised {
    /// Returns what is advertised, which is that of another peer if that one says the same.
    pub(super) fn share(self) -> Arc<Self> {
        // Nothing that panics runs under the lock.
        let mut recent = RECENT.lock().unwrap_or_else(PoisonError::into_inner);
        let known = recent.iter().filter_map(Weak::upgrade).find(|known| known.is_like(&self));
        known.unwrap_or_else(|| {
            let shared = Arc::new(self);
            recent.retain(|known| known.strong_count() > 0);
            if recent.len() == RECENT_LEN {
                recent.remove(0);
            }
            recent.push(Arc::downgrade(&shared));
            shared
        })
    }

    fn is_like(&self, other: &Self) -> bool {
        self.limits == other.limits
            && self.codecs == other.codecs
            && self.truncated == other.truncated
            && self.services.as_deref().map(RawValue::get) == other.services.as_deref().map(RawValue::get)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn advertised(services: &str, truncated: bool) -> Arc<Advertised> {
        let services = Some(RawValue::from_string(services.to_owned()).unwrap());
        Advertised { limits: AdvertisedLimits::default(), codecs: None, services, truncated }.share()
    }

    #[test]
    fn peers_that_say_the_same_share_it() {
        let first = advertised("[1]", false);
        assert!(Arc::ptr_eq(&first, &advertised("[1]", false)));
        assert!(!Arc::ptr_eq(&first, &advertised("[1]", true)));
        assert!(!Arc::ptr_eq(&first, &advertised("[2]", false)));
    }

    #[test]
    fn few_are_remembered_however_many_differ() {
        let kept: Vec<_> = (0..100).map(|n| advertised(&format!("[{n}]"), false)).collect();
        assert!(RECENT.lock().unwrap().len() <= RECENT_LEN);
        assert!(!Arc::ptr_eq(&kept[0], &advertised("[0]", false)));
    }
}
