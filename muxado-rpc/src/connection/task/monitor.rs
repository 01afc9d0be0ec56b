//! Finds handlers that hold the thread of their connection's task for too long.
//!
//! A worker thread of a runtime notes when it begins to run handlers and when it is done with them: two writes to
//! memory of its own. One thread of the process, the monitor, looks at these notes every few milliseconds as long as
//! handlers run, and sleeps otherwise. It never takes part in the work itself: it only tells of the connection whose
//! handlers are late.

use std::{
    cell::OnceCell,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, Thread},
    time::Duration,
};

use crate::support::panics;

/// A connection whose handlers are watched.
pub(super) trait Watched: Send + Sync {
    /// Tells that the handlers that were begun with this number still hold their thread.
    fn note_late(self: Arc<Self>, number: u64);
}

/// Notes that the current thread runs handlers, until this is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    worker: Option<Arc<Worker>>,
}

/// Begins to watch the current thread. `number` says which turn of the connection it is.
pub(super) fn watch<W: Watched + 'static>(watched: &Arc<W>, number: u64) -> Turn {
    let worker = WORKER.try_with(|own| own.0.get_or_init(Worker::register).clone()).ok();
    // Within another turn that one is watched.
    let worker = worker.filter(|worker| worker.begin(watched, number));
    if worker.is_some() && !MONITOR.is_awake.load(Ordering::SeqCst) {
        MONITOR.wake();
    }
    Turn { worker }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(worker) = &self.worker {
            worker.end();
        }
    }
}

/// What the monitor sees of a thread.
#[derive(Debug, Default)]
struct Worker {
    /// How often handlers were begun and were done: odd while they run.
    steps: AtomicU64,
    current: Mutex<Option<Current>>,
}

/// The connection whose handlers a thread has begun last.
struct Current {
    watched: Weak<dyn Watched>,
    number: u64,
}

impl std::fmt::Debug for Current {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Current").field("number", &self.number).finish_non_exhaustive()
    }
}

/// The note of one thread, which is forgotten with it.
struct Own(OnceCell<Arc<Worker>>);

thread_local! {
    static WORKER: Own = const { Own(OnceCell::new()) };
}

impl Drop for Own {
    fn drop(&mut self) {
        if let Some(worker) = self.0.get() {
            MONITOR.workers().retain(|other| !Arc::ptr_eq(other, worker));
        }
    }
}

impl Worker {
    fn register() -> Arc<Self> {
        let worker = Arc::<Self>::default();
        MONITOR.workers().push(Arc::clone(&worker));
        worker
    }

    /// Whether this is a turn of its own, and none within another.
    fn begin<W: Watched + 'static>(&self, watched: &Arc<W>, number: u64) -> bool {
        if self.steps.load(Ordering::Relaxed) % 2 == 1 {
            return false;
        }
        let watched: Weak<dyn Watched> = Arc::downgrade(watched) as _;
        let last = lock(&self.current).replace(Current { watched, number });
        drop(last);
        // Whoever falls asleep after this sees it, whoever did before is seen asleep: see `Monitor::sleep`.
        self.steps.fetch_add(1, Ordering::SeqCst);
        true
    }

    fn end(&self) {
        self.steps.fetch_add(1, Ordering::Release);
    }

    /// The connection whose handlers it runs.
    fn current(&self) -> Option<(Arc<dyn Watched>, u64)> {
        let current = lock(&self.current);
        let current = current.as_ref()?;
        Some((current.watched.upgrade()?, current.number))
    }
}

/// The one thread that looks, and those it looks at.
struct Monitor {
    workers: Mutex<Vec<Arc<Worker>>>,
    is_awake: AtomicBool,
    thread: OnceLock<Option<Thread>>,
}

static MONITOR: Monitor =
    Monitor { workers: Mutex::new(Vec::new()), is_awake: AtomicBool::new(false), thread: OnceLock::new() };

/// How often the monitor looks.
const TICK: Duration = Duration::from_millis(5);

/// For how many looks in a row the same handlers must have run to be late: 15 to 20 milliseconds. A thread that the
/// system lets wait for a processor looks the same.
const LATE: u32 = 4;

/// After so many looks at which no handler has run since the last the monitor sleeps.
const IDLE: u32 = 40;

impl Monitor {
    fn workers(&self) -> MutexGuard<'_, Vec<Arc<Worker>>> {
        lock(&self.workers)
    }

    /// Has the monitor look; its thread begins with the first time.
    #[cold]
    fn wake(&'static self) {
        if self.is_awake.swap(true, Ordering::SeqCst) {
            return;
        }
        let thread = self.thread.get_or_init(|| {
            let builder = thread::Builder::new().name("muxado-rpc-monitor".to_owned());
            match builder.spawn(move || self.run()) {
                Ok(handle) => Some(handle.thread().clone()),
                Err(error) => {
                    tracing::error!("cannot begin a thread to watch handlers: {error}");
                    None
                }
            }
        });
        if let Some(thread) = thread {
            thread.unpark();
        }
    }

    fn run(&self) {
        let mut looks = Looks::default();
        loop {
            thread::sleep(TICK);
            let late = looks.look(&self.workers());
            for (watched, number) in late {
                // What it drops at its end may be the user's.
                if panics::catch(move || watched.note_late(number)).is_err() {
                    panics::report("a connection panicked when its handlers were late");
                }
            }
            if looks.idle >= IDLE {
                self.sleep(&mut looks);
            }
        }
    }

    /// Sleeps until handlers run again.
    fn sleep(&self, looks: &mut Looks) {
        self.is_awake.store(false, Ordering::SeqCst);
        // A thread that did not see that has begun before, which is seen here.
        looks.look(&self.workers());
        if looks.idle == 0 {
            self.is_awake.store(true, Ordering::SeqCst);
            return;
        }
        while !self.is_awake.load(Ordering::SeqCst) {
            thread::park();
        }
        looks.idle = 0;
    }
}

/// What the monitor has seen.
#[derive(Debug, Default)]
struct Looks {
    seen: Vec<Seen>,
    /// Looks since any handler ran.
    idle: u32,
}

#[derive(Debug)]
struct Seen {
    worker: Arc<Worker>,
    steps: u64,
    times: u32,
}

impl Looks {
    /// Looks at all threads; says which handlers have just become late.
    fn look(&mut self, workers: &[Arc<Worker>]) -> Vec<(Arc<dyn Watched>, u64)> {
        let mut late = Vec::new();
        self.idle = self.idle.saturating_add(1);
        self.seen.retain(|seen| workers.iter().any(|worker| Arc::ptr_eq(worker, &seen.worker)));
        for worker in workers {
            let steps = worker.steps.load(Ordering::SeqCst);
            let Some(seen) = self.seen.iter_mut().find(|seen| Arc::ptr_eq(&seen.worker, worker)) else {
                self.seen.push(Seen { worker: Arc::clone(worker), steps, times: 1 });
                self.idle = 0;
                continue;
            };
            if seen.steps != steps {
                (seen.steps, seen.times) = (steps, 1);
                self.idle = 0;
            } else if steps % 2 == 1 {
                seen.times = seen.times.saturating_add(1);
                self.idle = 0;
                if seen.times == LATE {
                    late.extend(worker.current());
                }
            }
        }
        late
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing that panics runs under these locks.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Told(Mutex<Vec<u64>>);

    impl Watched for Told {
        fn note_late(self: Arc<Self>, number: u64) {
            lock(&self.0).push(number);
        }
    }

    fn look(looks: &mut Looks, worker: &Arc<Worker>) -> Vec<u64> {
        looks.look(std::slice::from_ref(worker)).into_iter().map(|(_, number)| number).collect()
    }

    #[test]
    fn handlers_that_run_on_and_on_are_late_once() {
        let (told, worker, mut looks) =
            (Arc::new(Told::default()), Arc::<Worker>::default(), Looks::default());
        assert!(worker.begin(&told, 7));
        for _ in 1..LATE {
            assert!(look(&mut looks, &worker).is_empty());
        }
        assert_eq!(look(&mut looks, &worker), [7]);
        assert!(look(&mut looks, &worker).is_empty());
        assert_eq!(looks.idle, 0);
    }

    #[test]
    fn handlers_that_end_in_time_are_never_late() {
        let (told, worker, mut looks) =
            (Arc::new(Told::default()), Arc::<Worker>::default(), Looks::default());
        for number in 0..10 {
            assert!(worker.begin(&told, number));
            assert!(look(&mut looks, &worker).is_empty());
            assert!(look(&mut looks, &worker).is_empty());
            worker.end();
        }
        for _ in 0..IDLE + 1 {
            assert!(look(&mut looks, &worker).is_empty());
        }
        assert!(looks.idle >= IDLE);
    }

    #[test]
    fn a_turn_within_another_is_no_turn_of_its_own() {
        let (told, worker) = (Arc::new(Told::default()), Arc::<Worker>::default());
        assert!(worker.begin(&told, 1));
        assert!(!worker.begin(&told, 2));
        worker.end();
        assert!(worker.begin(&told, 3));
    }

    #[test]
    fn a_connection_that_is_gone_is_not_told() {
        let (told, worker, mut looks) =
            (Arc::new(Told::default()), Arc::<Worker>::default(), Looks::default());
        assert!(worker.begin(&told, 7));
        drop(told);
        for _ in 0..2 * LATE {
            assert!(look(&mut looks, &worker).is_empty());
        }
    }
}
