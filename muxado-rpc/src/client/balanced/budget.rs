//! How many attempts there may be beside the first ones.

use std::{fmt, time::Duration};

use tower::retry::budget::{Budget as _, TpsBudget};

/// How many retries and hedged attempts a [`Balanced`](super::Balanced) client makes, all calls together: a share of
/// the calls of the last ten seconds, and a few each second besides.
///
/// Without it, servers that fail under load would get several times that load. A call whose retry is beyond the budget
/// fails with what its last attempt came to. Free of charge is the first retry of a call that was refused, and surely
/// not executed, because its server went away.
///
/// ```
/// use muxado_rpc::balanced::{Balanced, RetryBudget};
///
/// let builder = Balanced::builder().retry_budget(RetryBudget::default().share(0.1).min_per_second(1));
/// # let _ = builder;
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RetryBudget {
    share: f32,
    min_per_second: u32,
}

impl Default for RetryBudget {
    fn default() -> Self {
        Self { share: 0.2, min_per_second: 10 }
    }
}

impl RetryBudget {
    /// Sets the retries for each call: 0.2, the default, is one for five calls. Clamped to 0.0..=10.0.
    #[must_use]
    pub fn share(mut self, share: f32) -> Self {
        self.share = if share.is_nan() { 0.0 } else { share.clamp(0.0, 10.0) };
        self
    }

    /// Sets how many retries there may be each second however few calls there are, for clients that make few calls.
    /// Default 10. Ten times as many may come at once.
    #[must_use]
    pub fn min_per_second(mut self, retries: u32) -> Self {
        self.min_per_second = retries.min(1_000_000);
        self
    }
}

/// What is left of the budget.
pub(super) struct Budget {
    tokens: TpsBudget,
}

impl Budget {
    pub(super) fn new(limits: RetryBudget) -> Self {
        // A share above zero whose inverse is not below 2³¹ is none.
        let share = if limits.share < 1e-6 { 0.0 } else { limits.share };
        Self { tokens: TpsBudget::new(WINDOW, limits.min_per_second, share) }
    }

    /// Notes a call.
    pub(super) fn deposit(&self) {
        self.tokens.deposit();
    }

    /// Takes an attempt. Returns whether there was one.
    pub(super) fn withdraw(&self) -> bool {
        self.tokens.withdraw()
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.tokens.fmt(f)
    }
}

/// How long a call counts.
const WINDOW: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    fn left(budget: &Budget) -> usize {
        std::iter::repeat_with(|| budget.withdraw()).take_while(|taken| *taken).count()
    }

    #[tokio::test(start_paused = true)]
    async fn a_share_of_the_calls_and_a_few_each_second() {
        let budget = Budget::new(RetryBudget::default().share(0.1).min_per_second(1));
        assert_eq!(left(&budget), 10);
        (0..1000).for_each(|_| budget.deposit());
        assert_eq!(left(&budget), 100);
        advance(Duration::from_secs(30)).await;
        assert_eq!(left(&budget), 10);
        let none = Budget::new(RetryBudget::default().share(f32::NAN).min_per_second(0));
        (0..1000).for_each(|_| none.deposit());
        assert_eq!(left(&none), 0);
    }
}
