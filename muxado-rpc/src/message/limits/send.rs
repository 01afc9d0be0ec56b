//! The limits of what this side sends: its own, and those that the peer told (`PROTOCOL §10.13`).

use super::Limits;

/// What holds for the messages to one peer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SendLimits<'a> {
    ours: &'a Limits,
    peers: PeerLimits,
}

/// The limits that a peer advertised for messages to it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PeerLimits {
    pub(crate) max_message_size: Option<usize>,
    pub(crate) max_metadata_size: Option<usize>,
}

/// A limit in bytes, and whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SendLimit {
    pub(crate) bytes: usize,
    is_peers: bool,
}

impl<'a> SendLimits<'a> {
    pub(crate) const fn new(ours: &'a Limits, peers: PeerLimits) -> Self {
        Self { ours, peers }
    }

    pub(crate) fn message_size(self) -> SendLimit {
        SendLimit::lower(self.ours.max_message_size, self.peers.max_message_size)
    }

    pub(crate) fn metadata_size(self) -> SendLimit {
        SendLimit::lower(self.ours.max_metadata_size, self.peers.max_metadata_size)
    }
}

/// Nothing is known of a peer.
impl<'a> From<&'a Limits> for SendLimits<'a> {
    fn from(ours: &'a Limits) -> Self {
        Self::new(ours, PeerLimits::default())
    }
}

impl SendLimit {
    /// What fits into the length of a message.
    pub(crate) const LARGEST: Self = Self { bytes: u32::MAX as usize, is_peers: false };

    fn lower(ours: usize, peers: Option<usize>) -> Self {
        match peers {
            Some(bytes) if bytes < ours => Self { bytes, is_peers: true },
            _ => Self { bytes: ours, is_peers: false },
        }
    }

    /// The word for the side whose limit it is.
    pub(crate) const fn whose<'a>(self, ours: &'a str, peers: &'a str) -> &'a str {
        if self.is_peers { peers } else { ours }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lower_limit_counts_and_is_ours_if_they_are_equal() {
        for (peers, expected) in [
            (None, (10, "ours")),
            (Some(11), (10, "ours")),
            (Some(10), (10, "ours")),
            (Some(9), (9, "theirs")),
        ] {
            let limit = SendLimit::lower(10, peers);
            assert_eq!((limit.bytes, limit.whose("ours", "theirs")), expected);
        }
    }
}
