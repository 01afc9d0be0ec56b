//! Shares of the limits on streams that this side opens.

/// How much of the limits on streams of this side an opener may use.
///
/// The work on one stream may need another one, opened to the same peer: a call that is made while one is
/// served. Were all streams held by those who wait for such a one, nobody would go on. So each level leaves
/// room for the next: level 0 may use three quarters of a limit, level 8 and [`ALL`](Self::ALL) the whole. Of
/// a limit below 32 each level may use at least one stream more than the level before, which may lead to 8
/// streams beyond it.
///
/// Where the peer keeps room beyond its limit for the streams of higher levels, level 0 may use the whole, and each
/// further level up to a quarter more: of streams without a sign of acceptance, with the protocol extensions.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct OpenLevel(u8);

impl OpenLevel {
    /// Everything that a limit allows, for who waits for no other stream.
    pub const ALL: Self = Self(HIGHEST + 1);

    /// How many there are.
    #[cfg(feature = "tokio")]
    pub(crate) const COUNT: usize = HIGHEST as usize + 2;

    /// The level with this number; those above 8 are as 8.
    pub fn new(level: u8) -> Self {
        Self(level.min(HIGHEST))
    }

    #[cfg(feature = "tokio")]
    pub(crate) const fn index(self) -> usize {
        self.0 as usize
    }

    /// All of them, those first that others wait for.
    #[cfg(feature = "tokio")]
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        (0..=Self::ALL.0).rev().map(Self)
    }

    /// The share of a limit.
    pub(super) fn of(self, limit: usize) -> usize {
        if self == Self::ALL {
            return limit;
        }
        (limit - limit / 4).saturating_add(self.more(limit))
    }

    /// The share of a limit beyond which the peer has room for higher levels.
    pub(super) fn beyond(self, limit: usize) -> usize {
        if self == Self::ALL { limit } else { limit.saturating_add(self.more(limit)) }
    }

    /// What a level has more than level 0.
    fn more(self, limit: usize) -> usize {
        let level = usize::from(self.0);
        (limit / 4 / usize::from(HIGHEST)).saturating_mul(level).max(level)
    }
}

/// What a side that accepts streams of these levels has room for beyond a limit.
pub(super) fn room_beyond(limit: usize) -> usize {
    OpenLevel(HIGHEST).more(limit)
}

/// The last level that leaves room for another.
const HIGHEST: u8 = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_level_has_room_that_those_before_cannot_take() {
        for limit in [1, 2, 7, 31, 32, 64, 100, 256, 1024, 65_536, usize::MAX] {
            let shares: Vec<_> = (0..=HIGHEST).map(|level| OpenLevel::new(level).of(limit)).collect();
            assert!(shares[0] >= 1 && shares[0] <= limit, "{limit}: {shares:?}");
            assert!(shares.windows(2).all(|pair| pair[0] < pair[1]), "{limit}: {shares:?}");
            let most = if limit < 32 { limit + 8 } else { limit };
            assert!(shares[8] <= most, "{limit}: {shares:?}");
            assert_eq!(OpenLevel::ALL.of(limit), limit);
            let beyond: Vec<_> = (0..=HIGHEST).map(|level| OpenLevel::new(level).beyond(limit)).collect();
            assert_eq!((beyond[0], beyond[8]), (limit, limit.saturating_add(room_beyond(limit))));
            assert!(limit == usize::MAX || beyond.windows(2).all(|pair| pair[0] < pair[1]), "{beyond:?}");
        }
    }
}
