//! Runs a test for many seeds, on all cores.
//!
//! `MUXADO_SEEDS=1000000` runs so many in all, `MUXADO_SEED=17` that one in each test. A failure
//! says which seed it was.

use std::{
    env::var,
    num::NonZero,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

/// Seeds that all tests together run without any setting.
const SEEDS: u64 = 10_000;

/// Which seeds a test runs that is meant to have `percent` of all.
fn seeds(percent: u64) -> (u64, u64) {
    let number = |name| var(name).ok().map(|text| text.parse::<u64>().expect("a number of seeds"));
    match number("MUXADO_SEED") {
        Some(seed) => (seed, seed + 1),
        None => (0, number("MUXADO_SEEDS").unwrap_or(SEEDS) * percent / 100),
    }
}

/// Runs `test` for each seed of this test's share, and gives all results in no order.
pub(crate) fn for_each_seed<T: Send>(percent: u64, test: impl Fn(u64) -> T + Sync) -> Vec<T> {
    let (first, end) = seeds(percent);
    let (next, results) = (AtomicU64::new(first), Mutex::new(Vec::new()));
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= end {
                return;
            }
            match catch_unwind(AssertUnwindSafe(|| test(seed))) {
                Ok(result) => results.lock().expect("nobody panics here").push(result),
                Err(panic) => {
                    next.store(end, Ordering::Relaxed);
                    eprintln!("seed {seed}: run it alone with MUXADO_SEED={seed}");
                    resume_unwind(panic);
                }
            }
        }
    };
    let workers = thread::available_parallelism().map_or(1, NonZero::get);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            worker.join().unwrap_or_else(|panic| resume_unwind(panic));
        }
    });
    results.into_inner().expect("nobody panics here")
}
