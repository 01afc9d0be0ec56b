//! How long each measurement is, so that a quick run ends in time.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::{
    cli::Pace,
    workload::{Measure, Workload},
};

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
            workload if workload.measure() == Measure::Memory => 4000,
            Workload::Echo { size, .. } | Workload::Payload { size } if size >= 16 * 1024 * 1024 => 250,
            workload if workload.in_flight() >= 1024 => 100,
            _ => 0,
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cli::{self, Command},
        plan,
    };

    /// Runs through a quick run in which each measurement takes so much longer than it should; gives
    /// how many were done and how much of the time was left.
    fn run(all: &[Workload], longer: Duration) -> (usize, Option<Duration>) {
        let mut clock = Clock::new(Pace::Quick, all.iter().copied());
        let mut now = clock.end.checked_sub(Clock::QUICK).unwrap();
        let mut done = 0;
        for &workload in all {
            let Some(time) = clock.quick(now) else { break };
            now += time * 5 / 4 + cost(workload) + longer;
            done += 1;
        }
        (done, clock.end.checked_duration_since(now))
    }

    fn some(names: &[&str], each: usize) -> Vec<Workload> {
        names.iter().flat_map(|name| vec![name.parse().unwrap(); each]).collect()
    }

    #[test]
    fn a_quick_run_has_time_for_all_there_is() {
        let Ok(Command::Run(options)) = cli::parse(&["--quick".to_owned()]) else { panic!("not a run") };
        let all: Vec<Workload> = plan::turns(&plan::blocks(plan::groups(&options)), options.rounds).collect();
        let (done, left) = run(&all, Duration::from_millis(25));
        assert_eq!(done, all.len());
        assert!(left.unwrap_or_default() < Duration::from_secs(15), "{left:?}");
    }

    #[test]
    fn quick_measurements_share_the_time() {
        let (done, left) =
            run(&some(&["unary-1", "unary-1024", "mixed", "unary-json-64"], 100), Duration::ZERO);
        assert_eq!(done, 400);
        assert!(left.unwrap() < Duration::from_secs(15), "{left:?}");
    }

    #[test]
    fn what_takes_longer_is_made_up_for() {
        let (done, left) = run(&some(&["unary-1", "echo-32m-1", "unary-64"], 50), Duration::from_millis(150));
        assert_eq!(done, 150);
        assert!(left.unwrap_or_default() < Duration::from_secs(15), "{left:?}");
    }

    #[test]
    fn a_quick_run_ends_even_if_not_all_is_done() {
        let (done, left) = run(&some(&["unary-1"], 100), Duration::from_secs(1));
        assert!(done < 60);
        assert_eq!(left, None);
    }

    #[test]
    fn few_quick_measurements_do_not_take_all_the_time() {
        let (_, left) = run(&some(&["unary-1"], 4), Duration::ZERO);
        assert!(left.unwrap() > Duration::from_secs(40));
    }

    #[test]
    fn a_fixed_length_is_kept() {
        let mut clock = Clock::new(Pace::Fixed(Duration::from_secs(7)), std::iter::empty());
        assert_eq!(clock.next(), Some(Duration::from_secs(7)));
    }
}
