//! What a peer may cost by resetting streams right after it opened them (`PROTOCOL §11`).

use std::time::{Duration, Instant};

use super::{error::ProtocolError, session::Session, store::StreamKey, stream::Owner};

/// Resets that a peer may send for streams which have just come: each may have started a handler for nothing.
///
/// A stream that was open for [`BRIEF`] or longer costs nothing: as long as it was open it held one of the places
/// of `Config::max_streams`, as a call that is answered does. So a caller's time limits, and calls that it gives up,
/// are never too many, and a peer that resets at once has few starts more than one that waits for its answers.
#[derive(Debug)]
pub(super) struct ResetBudget {
    left: u32,
    /// Until when time was given back.
    refilled_at: Option<Instant>,
}

/// How long a stream is open at least if its reset costs nothing.
const BRIEF: Duration = Duration::from_millis(10);

/// Resets in a row, at most.
const CAPACITY: u32 = 10_000;

/// Resets that a stream which ended in good order in both directions allows for.
const PER_ANSWER: u32 = 8;

const RESET_AT_ONCE: &str = "streams that are reset right after they were opened";

impl Default for ResetBudget {
    fn default() -> Self {
        Self { left: CAPACITY, refilled_at: None }
    }
}

impl ResetBudget {
    /// Charges the reset of a stream that came at `opened_at`; false if nothing is left.
    fn charge(&mut self, opened_at: Instant, now: Instant) -> bool {
        if now.saturating_duration_since(opened_at) >= BRIEF {
            return true;
        }
        // One a millisecond; what is left of one counts the next time.
        let since = *self.refilled_at.get_or_insert(now);
        let millis = now.saturating_duration_since(since).as_millis();
        if let Ok(millis @ 1..) = u32::try_from(millis) {
            self.left = self.left.saturating_add(millis).min(CAPACITY);
            self.refilled_at = since.checked_add(Duration::from_millis(millis.into()));
        }
        let is_paid = self.left > 0;
        self.left = self.left.saturating_sub(1);
        is_paid
    }

    /// Refills the budget for a stream of the peer that ended in good order in both directions.
    pub(super) fn reward_answer(&mut self) {
        self.left = self.left.saturating_add(PER_ANSWER).min(CAPACITY);
    }
}

impl Session {
    /// Charges the reset of a stream by the peer, if it is one that has just come.
    pub(super) fn charge_reset(&mut self, key: StreamKey) -> Result<(), ProtocolError> {
        let Some(stream) = self.store.get(key) else { return Ok(()) };
        if stream.recv.is_finished() && !self.accept.whole_only() {
            // A message that needs no answer: it is of use to whoever accepts it.
            return if stream.owner() == Owner::Backlog { self.abuse.charge(RESET_AT_ONCE) } else { Ok(()) };
        }
        if let (Some(came_at), Some(now)) =
            (stream.came_at().and_then(|moment| self.timers.instant(moment)), self.timers.now())
            && !self.reset_budget.charge(came_at, now)
        {
            return Err(ProtocolError::Excessive(RESET_AT_ONCE));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn resets_in_a_row_are_bounded_and_come_back_with_time_and_answers() {
        let (start, mut budget) = (Instant::now(), ResetBudget::default());
        let charge_all =
            |budget: &mut ResetBudget, now| (0..).take_while(|_| budget.charge(now, now)).count();
        assert_eq!(charge_all(&mut budget, start), 10_000);
        assert_eq!(charge_all(&mut budget, start + 250 * MS), 250);
        budget.reward_answer();
        assert_eq!(charge_all(&mut budget, start + 250 * MS), 8);
        assert_eq!(charge_all(&mut budget, start + 3600 * 1000 * MS), 10_000);
    }

    #[test]
    fn parts_of_a_millisecond_add_up() {
        let (start, mut budget) = (Instant::now(), ResetBudget { left: 0, refilled_at: None });
        let paid = (0..40_u32).filter(|n| budget.charge(start, start + *n * MS / 4)).count();
        assert_eq!(paid, 9, "as long as the stream is young");
        assert!(budget.charge(start, start + 10 * MS) && budget.left == 0);
    }
}
