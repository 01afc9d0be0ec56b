//! Arrivals that wait for nobody: when each is due, and a thread that says so in time.

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use tokio::sync::mpsc;

/// Returns the moments of a Poisson process, from its beginning, so many a second on average. They are always the
/// same for a rate: every peer and every round has the same bursts.
pub(crate) fn poisson(per_second: usize, length: Duration) -> Arc<[Duration]> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    // More than 0 and at most 1, from the upper 53 bits.
    let mut share = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        ((state >> 11) as f64 + 1.0) / (1_u64 << 53) as f64
    };
    let (mut moments, mut now) = (Vec::new(), 0.0);
    loop {
        now -= share().ln() / per_second as f64;
        let moment = Duration::from_secs_f64(now);
        if moment >= length {
            return moments.into();
        }
        moments.push(moment);
    }
}

/// Starts a thread that sends how many have arrived, each time that there are more, and ends after the last.
///
/// Timers of a runtime go by milliseconds, in which a hundred arrive; the thread sleeps as precisely as the system
/// does, to about 60 microseconds.
pub(crate) fn announce(moments: Arc<[Duration]>, begin: Instant) -> mpsc::UnboundedReceiver<usize> {
    let (sender, arrived) = mpsc::unbounded_channel();
    thread::spawn(move || {
        let mut next = 0;
        while let Some(&moment) = moments.get(next) {
            thread::sleep((begin + moment).saturating_duration_since(Instant::now()));
            let now = begin.elapsed();
            next += moments[next..].partition_point(|moment| *moment <= now);
            if sender.send(next).is_err() {
                return;
            }
        }
    });
    arrived
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrivals_come_at_their_rate_and_not_evenly() {
        let moments = poisson(10_000, Duration::from_secs(10));
        assert!((99_000..=101_000).contains(&moments.len()), "{}", moments.len());
        assert!(moments.is_sorted());
        // Of exponential gaps 1/e are longer than the mean, which none is if they are even.
        let gaps = moments.windows(2).map(|pair| pair[1] - pair[0]);
        let long = gaps.filter(|gap| *gap > Duration::from_micros(100)).count() as f64;
        let share = long / moments.len() as f64;
        assert!((0.36..0.376).contains(&share), "{share}");
    }

    #[test]
    fn they_are_the_same_every_time() {
        let length = Duration::from_millis(100);
        assert_eq!(poisson(5000, length), poisson(5000, length));
        assert!(poisson(5000, Duration::ZERO).is_empty());
    }

    #[tokio::test]
    async fn each_is_announced_once_it_is_due() {
        let (moments, begin) = (poisson(10_000, Duration::from_millis(20)), Instant::now());
        let (mut arrived, mut before) = (announce(Arc::clone(&moments), begin), 0);
        while let Some(count) = arrived.recv().await {
            assert!(count > before && moments[count - 1] <= begin.elapsed());
            before = count;
        }
        assert_eq!(before, moments.len());
    }
}
