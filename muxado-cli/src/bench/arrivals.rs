//! When calls are due: the schedule of a load with a rate, and those that are due and not yet begun.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use clap::ValueEnum;
use serde::Serialize;
use tokio::{sync::Semaphore, time::Instant};

/// How the calls of a rate follow each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Arrivals {
    /// All at the same distance.
    #[default]
    Constant,
    /// At random, each without regard to the others, as those of many independent callers are.
    Poisson,
}

/// A rate of calls.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Rate {
    /// Calls a second, of all connections together.
    pub(crate) per_second: f64,
    pub(crate) arrivals: Arrivals,
}

/// The times at which calls are due, one after the other.
#[derive(Debug)]
pub(crate) struct Schedule {
    rate: Rate,
    start: Instant,
    /// How many were due.
    count: u64,
    /// Seconds since the start, of arrivals at random.
    at: f64,
    random: fastrand::Rng,
}

impl Schedule {
    /// A schedule that begins then.
    pub(crate) fn new(rate: Rate, start: Instant, random: fastrand::Rng) -> Self {
        Self { rate, start, count: 0, at: 0.0, random }
    }
}

/// It ends at the end of time.
impl Iterator for Schedule {
    type Item = Instant;

    fn next(&mut self) -> Option<Instant> {
        let seconds = match self.rate.arrivals {
            Arrivals::Constant => self.count as f64 / self.rate.per_second,
            Arrivals::Poisson => {
                // In (0, 1], so that the logarithm is finite.
                let uniform = 1.0 - self.random.f64();
                self.at -= uniform.ln() / self.rate.per_second;
                self.at
            }
        };
        self.count += 1;
        self.start.checked_add(Duration::try_from_secs_f64(seconds).ok()?)
    }
}

/// The calls that are due and not yet begun, in their order.
#[derive(Debug)]
pub(crate) struct Due {
    state: Mutex<State>,
    /// As many as there are in the list.
    ready: Semaphore,
}

#[derive(Debug, Default)]
struct State {
    times: VecDeque<Instant>,
    /// No more will be due.
    is_complete: bool,
}

impl Due {
    pub(crate) fn new() -> Self {
        Self { state: Mutex::default(), ready: Semaphore::new(0) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds calls that are due. Returns how many wait.
    fn add(&self, times: &[Instant]) -> usize {
        let mut state = self.state();
        state.times.extend(times);
        let waiting = state.times.len();
        drop(state);
        self.ready.add_permits(times.len());
        waiting
    }

    /// Notes that no more will be due: whoever waits in vain is told.
    fn complete(&self) {
        let mut state = self.state();
        state.is_complete = true;
        if state.times.is_empty() {
            self.ready.close();
        }
    }

    /// Waits for a call that is due. Returns when it was due; `None` after the last.
    pub(crate) async fn next(&self) -> Option<Instant> {
        self.ready.acquire().await.ok()?.forget();
        let mut state = self.state();
        let next = state.times.pop_front();
        if state.is_complete && state.times.is_empty() {
            self.ready.close();
        }
        next
    }

    /// Lets no more calls begin. Returns when those were due that had not begun.
    pub(crate) fn close(&self) -> Vec<Instant> {
        self.ready.close();
        self.state().times.drain(..).collect()
    }
}

/// Says when calls are due.
#[derive(Debug)]
pub(crate) struct Pacer {
    schedule: Schedule,
    /// When the next call is due; `None` after the last.
    next: Option<Instant>,
    end: Option<Instant>,
    /// How many may still be due.
    left: u64,
    batch: Vec<Instant>,
}

impl Pacer {
    /// A pacer of so many calls at most, before `end`.
    pub(crate) fn new(mut schedule: Schedule, end: Option<Instant>, calls: Option<u64>) -> Self {
        let next = schedule.next();
        Self { schedule, next, end, left: calls.unwrap_or(u64::MAX), batch: Vec::new() }
    }

    /// Adds the calls that are due by now. Returns when it is to be asked again: `None` if no more will be due.
    pub(crate) fn add_due(&mut self, now: Instant, due: &Due) -> Option<Instant> {
        let next = loop {
            let is_over = |next: &Instant| self.left == 0 || self.end.is_some_and(|end| *next >= end);
            let Some(next) = self.next.filter(|next| !is_over(next)) else { break None };
            if next > now {
                break Some(next);
            }
            self.batch.push(next);
            self.left -= 1;
            self.next = self.schedule.next();
        };
        let waiting = if self.batch.is_empty() { 0 } else { due.add(&self.batch) };
        self.batch.clear();
        if next.is_none() || waiting > MAX_WAITING {
            due.complete();
            return None;
        }
        next
    }
}

/// If more calls are due and not begun, no more are added: the rate is not held by far, and they take memory.
pub(crate) const MAX_WAITING: usize = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(per_second: f64, arrivals: Arrivals, start: Instant) -> Schedule {
        Schedule::new(Rate { per_second, arrivals }, start, fastrand::Rng::with_seed(1))
    }

    #[tokio::test(start_paused = true)]
    async fn constant_arrivals_do_not_drift() {
        let start = Instant::now();
        let at = schedule(3.0, Arrivals::Constant, start).nth(3_000_000).unwrap();
        assert_eq!(at - start, Duration::from_secs(1_000_000));
    }

    #[tokio::test(start_paused = true)]
    async fn arrivals_at_random_have_the_rate_and_the_spread_of_a_poisson_process() {
        let start = Instant::now();
        let times: Vec<_> = schedule(1000.0, Arrivals::Poisson, start).take(100_000).collect();
        let mean = (times[99_999] - start).as_secs_f64() / 100_000.0;
        assert!((mean - 0.001).abs() < 0.000_02, "{mean}");
        // Of the distances of such a process, the share of e⁻¹ is longer than the mean.
        let long = times.windows(2).filter(|pair| pair[1] - pair[0] > Duration::from_millis(1)).count();
        assert!((35_800..37_800).contains(&long), "{long}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_due_is_added_once_and_no_more_than_was_asked_for() {
        let (start, due) = (Instant::now(), Due::new());
        let mut pacer = Pacer::new(schedule(10.0, Arrivals::Constant, start), None, Some(4));
        let ms = |ms| start + Duration::from_millis(ms);
        assert_eq!(pacer.add_due(ms(150), &due), Some(ms(200)));
        assert_eq!((due.next().await, due.next().await), (Some(ms(0)), Some(ms(100))));
        assert_eq!(pacer.add_due(ms(1000), &due), None);
        assert_eq!(
            (due.next().await, due.next().await, due.next().await),
            (Some(ms(200)), Some(ms(300)), None)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_due_at_the_end_and_after_it() {
        let (start, due) = (Instant::now(), Due::new());
        let end = start + Duration::from_secs(1);
        let mut pacer = Pacer::new(schedule(10.0, Arrivals::Constant, start), Some(end), None);
        assert_eq!(pacer.add_due(end + Duration::from_secs(9), &due), None);
        assert_eq!(due.close().len(), 10);
        assert_eq!(due.next().await, None);
    }
}
