//! The open loop: calls are made when they are due, whether earlier ones are answered or not, and their time runs from
//! that moment. A server that falls behind cannot slow its callers down, and so not hide what they wait.

use std::{
    net::SocketAddr,
    ops::Range,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU32, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::time;

use crate::{
    Result, arrivals, message::Message, peer::Peer, process, sample::Sample, slice::Slice, worker::Exchange,
};

/// Calls that wait for an answer at a time, so that a long measurement of who falls behind does not fill the memory.
const MOST_WAITING: usize = 100_000;

/// How long calls that have been made may take once no more arrive.
const REST: Duration = Duration::from_millis(500);

/// What became of a call, beside the nanoseconds that it took.
const UNANSWERED: u32 = 0;
const FAILED: u32 = u32::MAX;

/// All calls of a measurement.
struct Calls {
    start: Instant,
    /// When each is due, from the beginning.
    moments: Arc<[Duration]>,
    /// [`UNANSWERED`], [`FAILED`], or how long each took.
    ends: Vec<AtomicU32>,
    waiting: AtomicUsize,
    failure: OnceLock<String>,
}

/// Makes calls at the rate of the workload over one connection.
pub(crate) async fn run<P: Peer>(slice: Slice, server: SocketAddr) -> Result<Sample> {
    let (workload, exchange) = (slice.workload, Exchange::of(slice.workload));
    let mut client = P::connect(workload, server).await?;
    let message = Arc::new(Message::new(workload.size()));
    exchange.run(&mut client, &message).await?;
    let window = slice.warm_up()..slice.warm_up() + slice.time;
    let calls = Arc::new(Calls::new(arrivals::poisson(workload.arrivals(), window.end)));
    let mut arrived = arrivals::announce(Arc::clone(&calls.moments), calls.start);
    let (mut made, mut cpu) = (0, None);
    while let Some(count) = arrived.recv().await {
        for index in made..count {
            if calls.make(index) {
                let (mut client, message, calls) = (client.clone(), Arc::clone(&message), Arc::clone(&calls));
                tokio::spawn(async move { calls.end(index, exchange.run(&mut client, &message).await) });
            }
        }
        made = count;
        if cpu.is_none() && calls.start.elapsed() >= window.start {
            cpu = process::cpu_time();
        }
    }
    let cpu = process::cpu_time().zip(cpu).map(|(now, then)| now.saturating_sub(then));
    calls.rest().await;
    calls.sample(window, calls.start.elapsed(), cpu)
}

impl Calls {
    fn new(moments: Arc<[Duration]>) -> Self {
        Self {
            ends: moments.iter().map(|_| AtomicU32::new(UNANSWERED)).collect(),
            moments,
            start: Instant::now(),
            waiting: AtomicUsize::new(0),
            failure: OnceLock::new(),
        }
    }

    /// Whether the call can be made; else it has failed.
    fn make(&self, index: usize) -> bool {
        if self.waiting.fetch_add(1, Ordering::Relaxed) < MOST_WAITING {
            return true;
        }
        self.end(index, Err(format!("{MOST_WAITING} calls wait already").into()));
        false
    }

    fn end(&self, index: usize, answer: Result<()>) {
        let end = match answer {
            Ok(()) => nanos((self.start + self.moments[index]).elapsed()),
            Err(error) => {
                self.failure.get_or_init(|| error.to_string());
                FAILED
            }
        };
        self.ends[index].store(end, Ordering::Relaxed);
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }

    /// Waits until no call waits, for some time.
    async fn rest(&self) {
        let begin = Instant::now();
        while self.waiting.load(Ordering::Relaxed) > 0 && begin.elapsed() < REST {
            time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// The numbers of those in the window. `now` is when they were looked at; `cpu` was used in the window.
    fn sample(&self, window: Range<Duration>, now: Duration, cpu: Option<Duration>) -> Result<Sample> {
        let (mut arrived, mut answered, mut times) = (0_u32, 0_u32, Vec::new());
        for (&moment, end) in self.moments.iter().zip(&self.ends) {
            let end = end.load(Ordering::Relaxed);
            let is_answered = end != UNANSWERED && end != FAILED;
            answered +=
                u32::from(is_answered && window.contains(&(moment + Duration::from_nanos(end.into()))));
            if !window.contains(&moment) {
                continue;
            }
            arrived += 1;
            match end {
                FAILED => {}
                // It takes at least that long.
                UNANSWERED => times.push(nanos(now.saturating_sub(moment))),
                end => times.push(end),
            }
        }
        if answered == 0 {
            let why = self.failure.get().map_or("none has come", String::as_str);
            return Err(format!("no call was answered: {why}").into());
        }
        let (answered, arrived) = (f64::from(answered), f64::from(arrived));
        let sample = Sample {
            rate: answered / (window.end - window.start).as_secs_f64(),
            cpu_s_per_m: cpu.map(|cpu| cpu.as_secs_f64() / answered * 1e6),
            // Those that arrived before and were answered within may make it a few more.
            answered_percent: Some((100.0 * answered / arrived).min(100.0)),
            ..Sample::default()
        };
        Ok(sample.with_times(times))
    }
}

/// As it is stored: neither of the special values.
fn nanos(time: Duration) -> u32 {
    u32::try_from(time.as_nanos()).unwrap_or(FAILED).clamp(UNANSWERED + 1, FAILED - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u32 = 1_000_000;

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// Calls that arrive a millisecond after each other, and what became of them; measured from 2 ms to the end.
    fn sample(ends: &[u32]) -> Result<Sample> {
        let length = ends.len() as u64;
        let calls = Calls::new((0..length).map(millis).collect());
        for (cell, &end) in calls.ends.iter().zip(ends) {
            cell.store(end, Ordering::Relaxed);
        }
        calls.sample(millis(2)..millis(length), millis(20), Some(millis(2)))
    }

    #[test]
    fn who_holds_the_rate_answers_all() {
        let sample = sample(&[MS / 2; 10]).unwrap();
        assert_eq!((sample.rate, sample.answered_percent), (1000.0, Some(100.0)));
        assert_eq!((sample.p50_us, sample.p999_us), (Some(500.0), Some(500.0)));
        assert_eq!(sample.cpu_s_per_m, Some(250.0));
    }

    #[test]
    fn answers_count_when_they_come_and_times_from_when_they_were_due() {
        // The last four are answered after the end, the last of them never.
        let sample = sample(&[MS, MS, MS, MS, MS, MS, 9 * MS, 9 * MS, 9 * MS, UNANSWERED]).unwrap();
        assert_eq!((sample.rate, sample.answered_percent), (625.0, Some(62.5)));
        assert_eq!((sample.p50_us, sample.p99_us), (Some(1000.0), Some(11_000.0)));
    }

    #[test]
    fn failed_calls_have_no_time() {
        let sample = sample(&[MS / 2, FAILED, FAILED, MS / 2, FAILED, FAILED]).unwrap();
        assert_eq!((sample.answered_percent, sample.p99_us), (Some(25.0), Some(500.0)));
    }

    #[test]
    fn the_first_failure_says_why_none_is_answered() {
        let calls = Calls::new([millis(0)].into());
        assert!(calls.make(0));
        calls.end(0, Err("refused".into()));
        let error = calls.sample(millis(0)..millis(1), millis(2), None).unwrap_err();
        assert_eq!(error.to_string(), "no call was answered: refused");
    }

    #[test]
    fn no_more_calls_are_made_than_may_wait() {
        let calls = Calls::new((0..3).map(millis).collect());
        calls.waiting.store(MOST_WAITING - 1, Ordering::Relaxed);
        assert!(calls.make(0));
        assert!(!calls.make(1));
        assert_eq!(calls.ends[1].load(Ordering::Relaxed), FAILED);
        calls.end(0, Ok(()));
        assert!(calls.make(2));
    }
}
