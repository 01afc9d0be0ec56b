//! Two ends on one thread, and work between them whose cost is counted.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use allocation_counter::measure;
use pin_project::pin_project;
use tokio::{
    runtime::{Builder, Runtime},
    sync::Semaphore,
};

use crate::wire::{Meter, Traffic};

/// Pieces of work that are under way at a time.
pub const IN_FLIGHT: [usize; 2] = [1, 64];

/// What a number of pieces of work took.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    pub allocations: u64,
    /// Allocated bytes. A buffer that grows counts anew with its new size.
    pub allocated: u64,
    pub near: Traffic,
    pub far: Traffic,
    /// Wakes of the tasks that do the work.
    pub wakes: u64,
}

/// The runtime, and the meters of both ends.
pub struct Rig {
    pub runtime: Runtime,
    near: Meter,
    far: Meter,
}

impl Rig {
    pub fn new(near: Meter, far: Meter) -> Self {
        let runtime = Builder::new_current_thread().enable_all().start_paused(true).build();
        Self { runtime: runtime.expect("a runtime can be built"), near, far }
    }

    /// What `rounds` of the work in each of `in_flight` tasks take, after as many that are not counted.
    /// What the tasks themselves need is not counted either.
    pub fn cost<W, F>(&self, in_flight: usize, rounds: usize, work: W) -> Cost
    where
        W: Fn() -> F + Clone + Send + 'static,
        F: Future<Output = ()> + Send,
    {
        let (start, done) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
        let wakes = Arc::new(AtomicU64::new(0));
        for _ in 0..in_flight {
            let (start, done, work) = (Arc::clone(&start), Arc::clone(&done), work.clone());
            self.runtime.spawn(Watched::new(&wakes, async move {
                loop {
                    start.acquire().await.expect("it is never closed").forget();
                    for _ in 0..rounds {
                        work().await;
                    }
                    done.add_permits(1);
                }
            }));
        }
        let run = || {
            self.runtime.block_on(async {
                start.add_permits(in_flight);
                done.acquire_many(in_flight as u32).await.expect("it is never closed").forget();
            });
        };
        run();
        let before = (self.near.read(), self.far.read(), wakes.load(Ordering::Relaxed));
        let counted = measure(run);
        Cost {
            allocations: counted.count_total,
            allocated: counted.bytes_total,
            near: self.near.read().since(before.0),
            far: self.far.read().since(before.1),
            wakes: wakes.load(Ordering::Relaxed) - before.2,
        }
    }
}

/// A future whose wakes are counted.
#[pin_project]
pub struct Watched<F> {
    counter: Arc<Counter>,
    waker: Waker,
    #[pin]
    future: F,
}

struct Counter {
    wakes: Arc<AtomicU64>,
    task: Mutex<Waker>,
}

impl<F> Watched<F> {
    pub fn new(wakes: &Arc<AtomicU64>, future: F) -> Self {
        let task = Mutex::new(Waker::noop().clone());
        let counter = Arc::new(Counter { wakes: Arc::clone(wakes), task });
        Self { waker: Waker::from(Arc::clone(&counter)), counter, future }
    }
}

impl<F: Future> Future for Watched<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        this.counter.task.lock().unwrap().clone_from(cx.waker());
        this.future.poll(&mut Context::from_waker(this.waker))
    }
}

impl Wake for Counter {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.wakes.fetch_add(1, Ordering::Relaxed);
        let task = self.task.lock().unwrap().clone();
        task.wake();
    }
}
