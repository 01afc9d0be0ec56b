//! Shares of the limits on streams that this side opens.

/// How much of the limits on streams of this side an opener may use.
///
/// The work on one stream may need another one, opened to the same peer: a call that is made while one is served. If
/// all streams were held by openers that wait for such a stream, nobody would go on. So each level leaves room for the
/// next: between peers with the protocol extensions level 0 and [`ALL`](Self::ALL) may use a limit as it is, and each
/// level above a 32nd of it more, at least one stream. Towards other peers, which may end a session that exceeds their
/// limits, level 0 may use three quarters, and level 8 the whole.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct OpenLevel(u8);

impl OpenLevel {
    /// Everything that a limit allows, for an opener that waits for no other stream.
    pub const ALL: Self = Self(HIGHEST + 1);

    /// How many there are.
    #[cfg(feature = "tokio")]
    pub(crate) const COUNT: usize = HIGHEST as usize + 2;

    /// Returns the level with this number; numbers above 8 count as 8.
    pub fn new(level: u8) -> Self {
        Self(level.min(HIGHEST))
    }

    #[cfg(feature = "tokio")]
    pub(crate) const fn index(self) -> usize {
        self.0 as usize
    }

    /// Returns all of them, those first that others wait for.
    #[cfg(feature = "tokio")]
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        (0..=Self::ALL.0).rev().map(Self)
    }

    /// Returns how many streams may be open to a peer with the protocol extensions, where level 0 may have `limit`.
    pub(super) fn above(self, limit: usize) -> usize {
        if self == Self::ALL {
            return limit;
        }
        limit.saturating_add((limit / PARTS).max(1).saturating_mul(usize::from(self.0)))
    }

    /// Returns the share of a limit that is not exceeded. Of a limit below 32 each level may use at least one stream more
    /// than the level before, which may lead to 8 streams beyond it.
    pub(super) fn within(self, limit: usize) -> usize {
        if self == Self::ALL {
            return limit;
        }
        let (level, spare) = (usize::from(self.0), limit / 4);
        let more = (spare / usize::from(HIGHEST)).saturating_mul(level).max(level);
        (limit - spare).saturating_add(more)
    }

    /// Returns how many streams a peer may leave in a backlog of `limit` for openers of all levels.
    pub(super) const fn of_all(limit: usize) -> usize {
        let part = if limit < PARTS { 1 } else { limit / PARTS };
        limit.saturating_add(part * HIGHEST as usize)
    }
}

/// A level has this part of a limit to itself.
const PARTS: usize = 32;

/// The last level that leaves room for another.
const HIGHEST: u8 = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_level_has_room_that_those_before_cannot_take() {
        for limit in [1, 2, 7, 31, 32, 64, 100, 256, 1024, 65_536, usize::MAX] {
            let shares: Vec<_> = (0..=HIGHEST).map(|level| OpenLevel::new(level).within(limit)).collect();
            assert!(shares[0] >= 1 && shares[0] <= limit, "{limit}: {shares:?}");
            assert!(shares.windows(2).all(|pair| pair[0] < pair[1]), "{limit}: {shares:?}");
            let above: Vec<_> = (0..=HIGHEST).map(|level| OpenLevel::new(level).above(limit)).collect();
            assert!(above[0] == limit && above[8] <= OpenLevel::of_all(limit), "{limit}: {above:?}");
            assert!(
                limit == usize::MAX || above.windows(2).all(|pair| pair[0] < pair[1]),
                "{limit}: {above:?}"
            );
            let most = if limit < 32 { limit + 8 } else { limit };
            assert!(shares[8] <= most, "{limit}: {shares:?}");
            assert_eq!(OpenLevel::ALL.within(limit), limit);
        }
    }
}
