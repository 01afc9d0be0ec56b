//! A histogram into which threads record without waiting for one another.

use std::sync::{
    OnceLock,
    atomic::{AtomicU64, Ordering},
};

use metrics::HistogramFn;

use super::thread_slot;
use crate::layers::DURATION_BUCKETS;

/// The durations of the calls of one method that ended in one way.
///
/// Each thread counts in a place of its own, to which it alone writes: a record is a few plain reads and writes of memory
/// that is in its cache. Whoever reads adds the places up; they are never reset, so nothing is lost to a reader.
pub(super) struct Histogram {
    own: [OnceLock<Box<Own>>; thread_slot::SLOTS],
    /// For threads without a place of their own.
    shared: Counts,
}

/// The counts of one thread, on cache lines of their own.
#[derive(Default)]
#[repr(align(128))]
struct Own(Counts);

#[derive(Default)]
struct Counts {
    /// Not cumulative; the last is for what is above all bounds.
    buckets: [AtomicU64; BUCKETS],
    /// The bits of a number.
    sum: AtomicU64,
}

/// What was recorded until now.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Total {
    /// How many were at most as long as each of the [bounds](DURATION_BUCKETS), and how many there are in all.
    cumulative: [u64; BUCKETS],
    pub(super) sum: f64,
}

impl Histogram {
    pub(super) fn new() -> Self {
        Self { own: [const { OnceLock::new() }; thread_slot::SLOTS], shared: Counts::default() }
    }

    /// Returns what was recorded until now. A record that is being made may be in the buckets and not yet in the sum.
    pub(super) fn total(&self) -> Total {
        let mut total = Total::default();
        let own = self.own.iter().filter_map(OnceLock::get).map(|own| &own.0);
        for counts in own.chain([&self.shared]) {
            for (sum, count) in total.cumulative.iter_mut().zip(&counts.buckets) {
                *sum += count.load(Ordering::Relaxed);
            }
            total.sum += f64::from_bits(counts.sum.load(Ordering::Relaxed));
        }
        let mut below = 0;
        for count in &mut total.cumulative {
            below += *count;
            *count = below;
        }
        total
    }
}

impl Total {
    /// Returns the bounds, each with how many were at most that.
    pub(super) fn buckets(&self) -> impl Iterator<Item = (f64, u64)> {
        DURATION_BUCKETS.into_iter().zip(self.cumulative)
    }

    pub(super) fn count(&self) -> u64 {
        self.cumulative[BUCKETS - 1]
    }
}

impl HistogramFn for Histogram {
    #[inline]
    fn record(&self, value: f64) {
        self.record_many(value, 1);
    }

    #[inline]
    fn record_many(&self, value: f64, count: usize) {
        let bucket = DURATION_BUCKETS.iter().position(|bound| value <= *bound).unwrap_or(BUCKETS - 1);
        let (count, sum) = (count as u64, value * count as f64);
        match thread_slot::current().and_then(|slot| self.own.get(slot)) {
            Some(own) => own.get_or_init(Box::default).0.add_alone(bucket, count, sum),
            None => self.shared.add(bucket, count, sum),
        }
    }
}

impl Counts {
    /// Counts where no other thread writes.
    #[inline]
    fn add_alone(&self, bucket: usize, count: u64, sum: f64) {
        if let Some(number) = self.buckets.get(bucket) {
            number.store(number.load(Ordering::Relaxed) + count, Ordering::Relaxed);
        }
        let before = f64::from_bits(self.sum.load(Ordering::Relaxed));
        self.sum.store((before + sum).to_bits(), Ordering::Relaxed);
    }

    fn add(&self, bucket: usize, count: u64, sum: f64) {
        if let Some(number) = self.buckets.get(bucket) {
            number.fetch_add(count, Ordering::Relaxed);
        }
        let more = |before| Some((f64::from_bits(before) + sum).to_bits());
        // It never refuses.
        let _ = self.sum.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
    }
}

/// One for each bound, and one above them.
const BUCKETS: usize = DURATION_BUCKETS.len() + 1;

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Arc, Barrier,
            atomic::{AtomicUsize, Ordering},
        },
        thread,
    };

    use super::*;

    fn counts(histogram: &Histogram) -> Vec<u64> {
        histogram.total().buckets().map(|(_, count)| count).collect()
    }

    #[test]
    fn a_bound_is_in_its_bucket() {
        let histogram = Histogram::new();
        for value in [0.0, 0.005, 0.0051, 10.0, 11.0, -1.0] {
            histogram.record(value);
        }
        histogram.record_many(0.3, 4);
        let expected = [3, 4, 4, 4, 4, 4, 4, 8, 8, 8, 8, 8, 8, 9];
        assert_eq!(counts(&histogram), expected);
        assert_eq!(histogram.total().count(), 10);
        assert!((histogram.total().sum - (0.005 + 0.0051 + 10.0 + 11.0 - 1.0 + 1.2)).abs() < 1e-9);
    }

    #[test]
    fn nothing_is_lost_while_others_record_and_read() {
        const THREADS: usize = 8;
        const EACH: usize = 20_000;

        let histogram = Arc::new(Histogram::new());
        let left = Arc::new(AtomicUsize::new(THREADS));
        let threads: Vec<_> = (0..THREADS)
            .map(|_| {
                let (histogram, left) = (Arc::clone(&histogram), Arc::clone(&left));
                thread::spawn(move || {
                    for number in 0..EACH {
                        histogram.record(if number % 4 == 0 { 0.03125 } else { 0.25 });
                    }
                    left.fetch_sub(1, Ordering::Release);
                })
            })
            .collect();
        let mut before = 0;
        while left.load(Ordering::Acquire) > 0 {
            let now = histogram.total().count();
            assert!(now >= before, "{now} after {before}");
            before = now;
        }
        for thread in threads {
            thread.join().unwrap();
        }
        let total = histogram.total();
        let (all, few) = ((THREADS * EACH) as u64, (THREADS * EACH / 4) as u64);
        assert_eq!(total.count(), all);
        assert_eq!(counts(&histogram)[3], few);
        // Powers of two: their sums are exact.
        assert_eq!(total.sum, few as f64 * 0.03125 + (all - few) as f64 * 0.25);
    }

    /// More threads than places, at the same time and one after the other.
    #[test]
    fn threads_without_a_place_of_their_own_are_counted() {
        const THREADS: usize = thread_slot::SLOTS + 20;

        let histogram = Arc::new(Histogram::new());
        let all_there = Arc::new(Barrier::new(THREADS));
        for round in 1..=2 {
            let threads: Vec<_> = (0..THREADS)
                .map(|_| {
                    let (histogram, all_there) = (Arc::clone(&histogram), Arc::clone(&all_there));
                    thread::spawn(move || {
                        histogram.record(0.25);
                        all_there.wait();
                        for _ in 0..100 {
                            histogram.record(0.25);
                        }
                    })
                })
                .collect();
            for thread in threads {
                thread.join().unwrap();
            }
            let all = (round * THREADS * 101) as u64;
            assert_eq!((histogram.total().count(), histogram.total().sum), (all, all as f64 * 0.25));
        }
        assert!(histogram.shared.buckets[6].load(Ordering::Relaxed) > 0);
    }

    /// The last that a thread does.
    #[test]
    fn what_a_thread_records_while_it_ends_is_counted() {
        struct AtEnd(Arc<Histogram>);

        impl Drop for AtEnd {
            fn drop(&mut self) {
                self.0.record(1.0);
            }
        }

        thread_local! {
            static AT_END: std::cell::RefCell<Option<AtEnd>> = const { std::cell::RefCell::new(None) };
        }

        let histogram = Arc::new(Histogram::new());
        for first in [true, false] {
            let own = Arc::clone(&histogram);
            let thread = thread::spawn(move || {
                // Values of a thread are dropped in the order in which they were made.
                if first {
                    own.record(1.0);
                }
                AT_END.with(|at_end| *at_end.borrow_mut() = Some(AtEnd(Arc::clone(&own))));
                own.record(1.0);
            });
            thread.join().unwrap();
        }
        assert_eq!(histogram.total().count(), 5);
    }
}
