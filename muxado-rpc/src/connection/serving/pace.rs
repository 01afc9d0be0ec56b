//! Whether handlers are quick enough to run in the task of their connection.

use std::time::Duration;

use tokio::time::Instant;

/// What is known of the handlers of one connection.
///
/// A handler that does not wait is cheapest where its request was read. One that computes for long
/// would hold up its connection there, and keep to one processor what could use several: after a
/// batch of such, calls get tasks of their own for a while.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// Calls that get tasks before the next one is tried here.
    apart: u32,
    /// How many that were the last time.
    penalty: u32,
}

/// Calls that came together.
#[derive(Debug)]
pub(crate) struct Batch {
    started: Instant,
    here: u32,
    room: u32,
    apart: u32,
}

impl Pace {
    pub(crate) fn begin(&self) -> Batch {
        let room = if self.penalty == 0 { u32::MAX } else { PROBES };
        Batch { started: Instant::now(), here: 0, room, apart: self.apart }
    }

    pub(crate) fn end(&mut self, batch: &Batch) {
        self.apart = batch.apart;
        if batch.here == 0 {
            return;
        }
        if batch.started.elapsed() > QUICK * batch.here + SLACK {
            self.penalty = (self.penalty * 2).clamp(MIN_PENALTY, MAX_PENALTY);
            self.apart = self.penalty;
        } else {
            self.penalty /= 2;
        }
    }
}

impl Batch {
    /// Whether the next call is polled here first.
    pub(crate) fn takes_another(&mut self) -> bool {
        if self.apart > 0 {
            self.apart -= 1;
            return false;
        }
        if self.here >= self.room {
            return false;
        }
        self.here += 1;
        // A batch may be large; if its first calls are slow the others need not wait for them.
        if self.here.is_multiple_of(PROBES) && self.started.elapsed() > QUICK * self.here + SLACK {
            self.room = self.here;
        }
        true
    }
}

/// What a handler may take on the average, its decoding and encoding included.
const QUICK: Duration = Duration::from_micros(20);

/// What a batch may take beyond that: the scheduler of the system may have had other plans.
const SLACK: Duration = Duration::from_micros(50);

/// Calls tried at a time after slow ones, and between two looks at the clock.
const PROBES: u32 = 4;

/// Calls with tasks of their own after a slow batch, at first and at most.
const MIN_PENALTY: u32 = 64;
const MAX_PENALTY: u32 = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(pace: &mut Pace, calls: u32, each: Duration) -> u32 {
        let mut batch = pace.begin();
        let mut here = 0;
        for _ in 0..calls {
            if batch.takes_another() {
                here += 1;
                batch.started -= each;
            }
        }
        pace.end(&batch);
        here
    }

    #[test]
    fn quick_calls_run_where_they_are() {
        let mut pace = Pace::default();
        for _ in 0..3 {
            assert_eq!(batch(&mut pace, 1000, Duration::ZERO), 1000);
        }
    }

    #[test]
    fn after_slow_calls_the_next_get_tasks() {
        let mut pace = Pace::default();
        let slow = Duration::from_millis(5);
        assert_eq!(batch(&mut pace, 1, slow), 1);
        assert_eq!(batch(&mut pace, 64, slow), 0);
        // They are tried again, a few at a time, and less often if they are still slow.
        assert_eq!(batch(&mut pace, 100, slow), PROBES);
        assert_eq!(batch(&mut pace, 100, slow), 0);
    }

    #[test]
    fn a_large_batch_of_slow_calls_is_not_held_together() {
        let mut pace = Pace::default();
        assert_eq!(batch(&mut pace, 1000, Duration::from_millis(5)), PROBES);
    }

    #[test]
    fn calls_that_became_quick_are_taken_back() {
        let mut pace = Pace::default();
        batch(&mut pace, 1, Duration::from_millis(5));
        batch(&mut pace, 64, Duration::ZERO);
        for _ in 0..10 {
            batch(&mut pace, PROBES, Duration::ZERO);
        }
        assert_eq!(batch(&mut pace, 1000, Duration::ZERO), 1000);
    }
}
