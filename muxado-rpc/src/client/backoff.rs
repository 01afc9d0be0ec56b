//! Pauses between attempts.

use std::time::Duration;

use crate::support::random;

/// Exponential backoff with full jitter: the pause before the `n`th retry is random, below `base · 2ⁿ⁻¹` and `max`.
///
/// The jitter keeps clients that lost the same server from coming back all at once.
///
/// ```
/// use std::time::Duration;
///
/// use muxado_rpc::Backoff;
///
/// let backoff = Backoff::default().base(Duration::from_millis(50));
/// assert!(backoff.pause(1) <= Duration::from_millis(50));
/// assert!(backoff.pause(3) <= Duration::from_millis(200));
/// assert!(backoff.pause(1000) <= Duration::from_secs(30));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    base: Duration,
    max: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { base: Duration::from_millis(100), max: Duration::from_secs(30) }
    }
}

impl Backoff {
    /// Sets the bound of the first pause. Default 100 ms; zero means no pauses.
    #[must_use]
    pub fn base(mut self, base: Duration) -> Self {
        self.base = base;
        self
    }

    /// Sets the bound of all pauses. Default 30 s.
    #[must_use]
    pub fn max(mut self, max: Duration) -> Self {
        self.max = max;
        self
    }

    /// Returns a random pause before a retry, counted from 1.
    pub fn pause(&self, retry: u32) -> Duration {
        // 53 bits are what a float holds exactly.
        let share = (random::next() >> 11) as f64 / (1_u64 << 53) as f64;
        self.bound(retry).mul_f64(share)
    }

    /// Returns the bound of the pause before a retry.
    fn bound(&self, retry: u32) -> Duration {
        let factor = 2_u32.saturating_pow(retry.saturating_sub(1));
        self.base.saturating_mul(factor).min(self.max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLI: Duration = Duration::from_millis(1);

    #[test]
    fn bounds_double_up_to_the_greatest() {
        let backoff = Backoff::default();
        let bounds: Vec<_> = (1..=10).map(|retry| backoff.bound(retry).as_millis()).collect();
        assert_eq!(bounds, [100, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000]);
        assert_eq!(backoff.bound(u32::MAX), Duration::from_secs(30));
        let endless = Backoff::default().base(Duration::MAX).max(Duration::MAX);
        assert_eq!(endless.bound(u32::MAX), Duration::MAX);
        assert!(endless.pause(u32::MAX) <= Duration::MAX);
    }

    #[test]
    fn pauses_are_spread_over_the_whole_range() {
        let backoff = Backoff::default().base(100 * MILLI);
        let mut quarters = [0; 4];
        for _ in 0..1000 {
            let pause = backoff.pause(1);
            assert!(pause < 100 * MILLI);
            quarters[(pause.as_millis() / 25) as usize] += 1;
        }
        assert!(quarters.iter().all(|count| *count > 100), "{quarters:?}");
    }

    #[test]
    fn no_base_is_no_pause() {
        assert_eq!(Backoff::default().base(Duration::ZERO).pause(7), Duration::ZERO);
    }
}
