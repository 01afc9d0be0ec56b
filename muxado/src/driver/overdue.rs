//! When a time limit that has passed is judged.

use std::time::Duration;

use tokio::time::Instant;

/// A limit that has passed is judged once everything is done that was possible before: what came is taken in, what
/// waits is offered to the transport.
///
/// A process that was stopped, or a machine that slept, finds many limits passed at once, and the runtime may not know
/// yet which sockets are ready. Then the limits have a little time more.
#[derive(Debug, Default)]
pub(super) struct Overdue {
    /// A limit that has passed and is not judged yet.
    found: Option<Found>,
    /// For when the timer is set: whoever is polled later than this is late.
    expected: Option<Instant>,
}

#[derive(Debug)]
struct Found {
    at: Instant,
    late: bool,
}

/// How late the timer is at most while all goes well.
const LATE: Duration = Duration::from_millis(100);

/// Time for what is possible, before a limit is judged that was found passed late or in the middle of input.
const GRACE: Duration = Duration::from_secs(1);

impl Overdue {
    /// The timer is set for this time.
    #[inline]
    pub(super) fn expect(&mut self, at: Option<Instant>) {
        self.expected = at;
    }

    /// When a limit that has passed may be judged; `None` for now. `caught_up` says whether all that came was taken in.
    pub(super) fn put_off(&mut self, now: Instant, caught_up: bool) -> Option<Instant> {
        let late = self.expected.take().is_some_and(|at| now.saturating_duration_since(at) > LATE);
        let found = self.found.get_or_insert(Found { at: now, late });
        let end = found.at + GRACE;
        if (caught_up && !found.late) || now >= end {
            self.found = None;
            return None;
        }
        Some(end)
    }

    /// Whether a limit has passed that is not judged yet.
    pub(super) fn is_waiting(&self) -> bool {
        self.found.is_some()
    }

    /// No limit has passed.
    pub(super) fn clear(&mut self) {
        self.found = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn expecting(at: Instant) -> Overdue {
        let mut overdue = Overdue::default();
        overdue.expect(Some(at));
        overdue
    }

    #[test]
    fn limit_that_is_found_passed_in_time_is_judged_at_once() {
        let start = Instant::now();
        assert_eq!(expecting(start).put_off(start + MS, true), None);
        // Nothing was expected: what is due now was not so before.
        assert_eq!(Overdue::default().put_off(start, true), None);
    }

    #[test]
    fn limit_that_is_found_passed_late_is_judged_after_a_while() {
        let start = Instant::now();
        let (mut overdue, found) = (expecting(start), start + LATE + MS);
        assert_eq!(overdue.put_off(found, true), Some(found + GRACE));
        overdue.expect(Some(found + GRACE));
        assert_eq!(overdue.put_off(found + 10 * MS, true), Some(found + GRACE));
        assert_eq!(overdue.put_off(found + GRACE, true), None);
        overdue.expect(Some(found + 2 * GRACE));
        assert_eq!(overdue.put_off(found + 2 * GRACE, true), None);
    }

    #[test]
    fn limit_that_passes_in_the_middle_of_input_is_judged_behind_it_or_after_a_while() {
        let start = Instant::now();
        let mut overdue = expecting(start);
        assert_eq!(overdue.put_off(start, false), Some(start + GRACE));
        assert_eq!(overdue.put_off(start + MS, true), None);
        assert_eq!(overdue.put_off(start, false), Some(start + GRACE));
        assert_eq!(overdue.put_off(start + GRACE, false), None);
    }
}
