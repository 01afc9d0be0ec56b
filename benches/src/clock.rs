//! How long each measurement is, so that a quick run ends in time.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::{cli::Pace, workload::Workload};

/// Says how long each measurement is.
#[derive(Debug)]
pub(crate) struct Clock {
    pace: Pace,
    end: Instant,
    /// What those to come take at least, in their order.
    costs: VecDeque<Duration>,
    /// The sum of them.
    reserved: Duration,
    /// When the one before began, and what it was to take.
    before: Option<(Instant, Duration)>,
    /// What a measurement takes more than it should, as it was lately.
    overhead: Duration,
}

impl Clock {
    /// When a quick run begins no further measurement. The rest of its minute is for one that hangs.
    const QUICK: Duration = Duration::from_secs(50);
    const SHORTEST: Duration = Duration::from_millis(20);
    const LONGEST_QUICK: Duration = Duration::from_millis(500);

    /// A clock for measurements of these workloads.
    pub(crate) fn new(pace: Pace, workloads: impl Iterator<Item = Workload>) -> Self {
        let costs: VecDeque<Duration> = workloads.map(cost).collect();
        Self {
            pace,
            end: Instant::now() + Self::QUICK,
            reserved: costs.iter().sum(),
            costs,
            before: None,
            overhead: Duration::from_millis(30),
        }
    }

    /// The length of the next one; none when no time is left.
    pub(crate) fn next(&mut self) -> Option<Duration> {
        match self.pace {
            Pace::Fixed(time) => Some(time),
            Pace::Quick => self.quick(Instant::now()),
        }
    }

    fn quick(&mut self, now: Instant) -> Option<Duration> {
        if let Some((begin, planned)) = self.before.take() {
            let extra = now.saturating_duration_since(begin).saturating_sub(planned);
            self.overhead = (self.overhead * 7 + extra) / 8;
        }
        let rest = self.end.checked_duration_since(now)?;
        let share = rest.saturating_sub(self.reserved) / u32::try_from(self.costs.len().max(1)).ok()?;
        let cost = self.costs.pop_front().unwrap_or_default();
        self.reserved = self.reserved.saturating_sub(cost);
        // A quarter more for warming up.
        let time = (share.saturating_sub(self.overhead) * 4 / 5).clamp(Self::SHORTEST, Self::LONGEST_QUICK);
        self.before = Some((now, time * 5 / 4 + cost));
        Some(time)
    }
}

/// What a measurement takes however short it is to be, of the slowest peers.
fn cost(workload: Workload) -> Duration {
    workload.set_up()
        + Duration::from_millis(match workload {
            Workload::IdleStream | Workload::IdleSession | Workload::IdleCall => 250,
            Workload::Echo { size, .. } | Workload::Payload { size } if size >= 16 * 1024 * 1024 => 250,
            workload if workload.in_flight() >= 1024 => 100,
            _ => 0,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs through a quick run in which each measurement takes so much longer than it should; gives
    /// how many were done and how much of the time was left.
    fn run(workloads: &[&str], each: usize, longer: Duration) -> (usize, Option<Duration>) {
        let all = workloads.iter().flat_map(|name| vec![name.parse::<Workload>().unwrap(); each]);
        let mut clock = Clock::new(Pace::Quick, all.clone());
        let mut now = clock.end.checked_sub(Clock::QUICK).unwrap();
        let mut done = 0;
        for workload in all {
            let Some(time) = clock.quick(now) else { break };
            now += time * 5 / 4 + cost(workload) + longer;
            done += 1;
        }
        (done, clock.end.checked_duration_since(now))
    }

    #[test]
    fn quick_measurements_share_the_time() {
        let (done, left) = run(&["unary-1", "unary-1024", "mixed", "idle-session"], 100, Duration::ZERO);
        assert_eq!(done, 400);
        assert!(left.unwrap() < Duration::from_secs(15), "{left:?}");
    }

    #[test]
    fn what_takes_longer_is_made_up_for() {
        let (done, left) = run(&["unary-1", "echo-32m-1", "unary-64"], 50, Duration::from_millis(150));
        assert_eq!(done, 150);
        assert!(left.unwrap_or_default() < Duration::from_secs(15), "{left:?}");
    }

    #[test]
    fn a_quick_run_ends_even_if_not_all_is_done() {
        let (done, left) = run(&["unary-1"], 100, Duration::from_secs(1));
        assert!(done < 60);
        assert_eq!(left, None);
    }

    #[test]
    fn few_quick_measurements_do_not_take_all_the_time() {
        let (_, left) = run(&["unary-1"], 4, Duration::ZERO);
        assert!(left.unwrap() > Duration::from_secs(40));
    }

    #[test]
    fn a_fixed_length_is_kept() {
        let mut clock = Clock::new(Pace::Fixed(Duration::from_secs(7)), std::iter::empty());
        assert_eq!(clock.next(), Some(Duration::from_secs(7)));
    }
}
