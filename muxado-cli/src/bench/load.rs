//! The load: who calls, when, and until when.
//!
//! Without a rate the loop is closed: each caller begins its next call when the last one has ended. A server that stalls
//! is then spared by those who measure it, and one slow call stands for all that would have come meanwhile. With a rate
//! the loop is open: calls are due at their times, whatever the server does, and how long one takes counts from when it
//! was due, also if all callers were busy then.

use std::{
    future::pending,
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use tokio::{
    task::{JoinSet, yield_now},
    time::{Instant, sleep_until, timeout},
};

use super::{
    arrivals::{Due, Pacer, Rate, Schedule},
    recorder::{Failed, Moved, Recorder, Samples},
};

/// What makes calls, one after the other.
pub(crate) trait Caller: Send + 'static {
    /// Makes a call.
    fn call(&mut self) -> impl Future<Output = Result<Moved, Failed>> + Send;

    /// Returns whether no call can succeed any more.
    fn is_closed(&self) -> bool;
}

/// How much load, and how long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// `None` for a closed loop.
    pub(crate) rate: Option<Rate>,
    pub(crate) duration: Option<Duration>,
    pub(crate) calls: Option<u64>,
}

/// Why a measurement ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The time was over.
    Time,
    /// All calls were made.
    Calls,
    /// All connections have ended.
    Disconnected,
    /// Somebody wanted it to end.
    Interrupted,
}

/// A measurement that is over.
#[derive(Debug)]
pub(crate) struct Phase {
    pub(crate) recorder: Arc<Recorder>,
    /// The time in which calls were begun, and those counted that ended in it.
    pub(crate) elapsed: Duration,
    pub(crate) ended: Ended,
}

/// A measurement under way.
#[derive(Debug)]
pub(crate) struct Running {
    load: Load,
    start: Instant,
    recorder: Arc<Recorder>,
    state: Arc<State>,
    callers: JoinSet<()>,
    pacer: Option<thread::JoinHandle<()>>,
}

/// What callers and pacer share.
#[derive(Debug)]
struct State {
    is_over: AtomicBool,
    end: Option<Instant>,
    /// Calls that may still begin, in a closed loop that ends after a number of them.
    left: Option<AtomicU64>,
    /// Of a load with a rate.
    pacer: Option<Mutex<Pacer>>,
    due: Due,
}

impl Load {
    /// Begins to call.
    pub(crate) fn start<C: Caller>(self, callers: impl IntoIterator<Item = C>) -> io::Result<Running> {
        let mut running = self.start_without_thread(callers);
        if self.rate.is_some() {
            let state = Arc::clone(&running.state);
            let thread = thread::Builder::new().name("pacer".to_owned());
            running.pacer = Some(thread.spawn(move || state.pace())?);
        }
        Ok(running)
    }

    /// Begins to call; of a load with a rate, somebody else has to say when calls are due.
    fn start_without_thread<C: Caller>(self, callers: impl IntoIterator<Item = C>) -> Running {
        let start = Instant::now();
        let end = self.duration.and_then(|duration| start.checked_add(duration));
        let recorder = Recorder::new(start, end);
        let left = self.calls.filter(|_| self.rate.is_none()).map(AtomicU64::new);
        let pacer = self.rate.map(|rate| {
            let schedule = Schedule::new(rate, start, fastrand::Rng::new());
            Mutex::new(Pacer::new(schedule, end, self.calls))
        });
        let state = Arc::new(State { is_over: AtomicBool::new(false), end, left, pacer, due: Due::new() });
        let mut tasks = JoinSet::new();
        for caller in callers {
            let (samples, state) = (Samples::new(&recorder), Arc::clone(&state));
            match self.rate {
                None => tasks.spawn(state.call_in_turn(caller, samples)),
                Some(_) => tasks.spawn(state.call_when_due(caller, samples)),
            };
        }
        Running { load: self, start, recorder, state, callers: tasks, pacer: None }
    }
}

impl Running {
    pub(crate) fn recorder(&self) -> &Arc<Recorder> {
        &self.recorder
    }

    /// Waits until the measurement is over, or `interrupted` is ready. Calls that are under way at the end of the time
    /// have [`GRACE`] to end.
    pub(crate) async fn finish(mut self, interrupted: impl Future<Output = ()>) -> Phase {
        let mut interrupted = std::pin::pin!(interrupted);
        let mut ended = tokio::select! {
            biased;
            () = &mut interrupted => Ended::Interrupted,
            () = at(self.state.end) => Ended::Time,
            () = join(&mut self.callers) => self.ended_by_callers(),
        };
        let over = Instant::now();
        let end = self.state.end.map_or(over, |end| end.min(over));
        self.state.is_over.store(true, Ordering::Relaxed);
        // What was due by then and was not said to be.
        self.state.add_due(end);
        let not_begun = self.state.due.close();
        if ended == Ended::Time {
            tokio::select! {
                biased;
                () = &mut interrupted => ended = Ended::Interrupted,
                _ = timeout(GRACE, join(&mut self.callers)) => {}
            }
        }
        self.callers.shutdown().await;
        if let Some(pacer) = self.pacer.take() {
            pacer.thread().unpark();
            // It does not panic, and has nothing to say.
            _ = pacer.join();
        }
        self.recorder.not_begun(&not_begun, end);
        Phase { elapsed: self.elapsed(ended, end), recorder: self.recorder, ended }
    }

    /// All callers have ended before the time.
    fn ended_by_callers(&self) -> Ended {
        let calls = self.recorder.calls();
        match (self.load.calls, self.state.end) {
            (Some(all), _) if calls >= all => Ended::Calls,
            (_, Some(end)) if Instant::now() >= end => Ended::Time,
            _ => Ended::Disconnected,
        }
    }

    fn elapsed(&self, ended: Ended, end: Instant) -> Duration {
        let last = self.recorder.snapshot().last;
        match ended {
            Ended::Calls | Ended::Disconnected => last.unwrap_or(end) - self.start,
            Ended::Time | Ended::Interrupted => end - self.start,
        }
    }
}

impl State {
    fn is_over(&self, now: Instant) -> bool {
        self.is_over.load(Ordering::Relaxed) || self.end.is_some_and(|end| now >= end)
    }

    /// Takes one of the calls that may still begin.
    fn take(&self) -> bool {
        self.left.as_ref().is_none_or(|left| {
            left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
        })
    }

    async fn call_in_turn<C: Caller>(self: Arc<Self>, mut caller: C, mut samples: Samples) {
        let mut now = Instant::now();
        while !self.is_over(now) && self.take() {
            samples.begin(now);
            let outcome = caller.call().await;
            let has_failed = outcome.is_err();
            // The end of one is the beginning of the next: to read the clock is a part of a fast call.
            now = Instant::now();
            samples.end(now, outcome);
            if has_failed {
                // A call that fails at once may have waited for nothing: others have to run, too.
                yield_now().await;
                if caller.is_closed() {
                    break;
                }
            }
        }
    }

    async fn call_when_due<C: Caller>(self: Arc<Self>, mut caller: C, mut samples: Samples) {
        while let Some(due) = self.due.next().await {
            samples.begin(due);
            samples.late(Instant::now().saturating_duration_since(due));
            let outcome = caller.call().await;
            let has_failed = outcome.is_err();
            samples.end(Instant::now(), outcome);
            if has_failed {
                // A call that fails at once may have waited for nothing: others have to run, too.
                yield_now().await;
                if caller.is_closed() {
                    break;
                }
            }
        }
    }

    /// Adds the calls that are due by now. Returns when the next one is due; `None` after the last.
    fn add_due(&self, now: Instant) -> Option<Instant> {
        let mut pacer = self.pacer.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner);
        pacer.add_due(now, &self.due)
    }

    /// Says when calls are due, on a thread of its own: the runtime's timer has steps of a millisecond.
    fn pace(&self) {
        while !self.is_over.load(Ordering::Relaxed) {
            let now = Instant::now();
            let Some(next) = self.add_due(now) else { return };
            thread::park_timeout(next.saturating_duration_since(now));
        }
    }
}

/// Waits until all tasks have ended.
async fn join(tasks: &mut JoinSet<()>) {
    while tasks.join_next().await.is_some() {}
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => pending().await,
    }
}

/// How long calls may take that are under way at the end of the time.
pub(crate) const GRACE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests;
