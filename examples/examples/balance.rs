//! One client for three servers: one is killed and one drained under load, and both come back. No call fails, and two
//! seconds later each server has its share again.
//!
//! ```text
//! cargo run -p examples --example balance
//! ```
//!
//! The calls come from tasks that share the client. It prints how many calls each server had in each phase:
//!
//! ```text
//! phase                        one      two    three
//! all are there               1503     1498     1499
//! ```

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use muxado_rpc::{Address, Balanced, CallError, Server};
use tokio::{task::JoinSet, time::sleep};

#[muxado_rpc::service]
pub trait Worker {
    /// Works, and may be asked again if the answer was lost.
    #[method(idempotent)]
    async fn work(&self, number: u64) -> u64;
}

/// Calls that a server has answered.
#[derive(Clone, Default)]
struct Counting(Arc<AtomicUsize>);

impl Worker for Counting {
    async fn work(&self, number: u64) -> u64 {
        sleep(Duration::from_millis(5)).await;
        self.0.fetch_add(1, Ordering::Relaxed);
        number + 1
    }
}

/// A place for a server, which may be up or down.
struct Place {
    worker: Counting,
    address: Address,
    server: Option<Server>,
}

impl Place {
    async fn start(address: impl Into<Address>) -> Result<Self, muxado_rpc::ListenError> {
        let worker = Counting::default();
        let server = listen(&worker, address.into()).await?;
        Ok(Self { worker, address: server.local_addr().clone(), server: Some(server) })
    }

    async fn start_again(&mut self) -> Result<(), muxado_rpc::ListenError> {
        self.server = Some(listen(&self.worker, self.address.clone()).await?);
        Ok(())
    }

    fn count(&self) -> usize {
        self.worker.0.load(Ordering::Relaxed)
    }
}

async fn listen(worker: &Counting, address: Address) -> Result<Server, muxado_rpc::ListenError> {
    Server::builder().serve(WorkerServer::new(worker.clone())).listen(address).await
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let any: Address = "tcp://127.0.0.1:0".parse()?;
    let mut places = [Place::start(&any).await?, Place::start(&any).await?, Place::start(&any).await?];

    // The line that a program needs.
    let channel = Balanced::connect(places.each_ref().map(|place| place.address.clone()))?;
    channel.connected_to(3).await?;

    let worker = WorkerClient::new(channel.clone());
    let goes_on = Arc::new(AtomicBool::new(true));
    let mut callers = JoinSet::new();
    for _ in 0..30 {
        let (worker, goes_on) = (worker.clone(), Arc::clone(&goes_on));
        callers.spawn(async move {
            let mut calls = 0;
            while goes_on.load(Ordering::Relaxed) {
                assert_eq!(worker.work(calls).await?, calls + 1);
                calls += 1;
            }
            Ok::<_, CallError>(calls)
        });
    }

    println!("{:<24}{:>9}{:>9}{:>9}", "phase", "one", "two", "three");
    assert_even(phase("all are there", &places, 1000).await);

    // The first is gone without a word, with the calls on it.
    drop(places[0].server.take());
    let [killed, ..] = phase("one was killed", &places, 1000).await;
    assert!(killed < 30, "a server that is gone had {killed} calls");

    // The second finishes what it has begun.
    if let Some(server) = places[1].server.take() {
        let drained = server.shutdown(Duration::from_secs(5)).await;
        assert!(drained.is_clean(), "{drained:?}");
    }
    let [_, drained, alone] = phase("and two drained", &places, 1000).await;
    assert!(drained == 0 && alone > 0);

    places[0].start_again().await?;
    places[1].start_again().await?;
    phase("both come back", &places, 2000).await;
    for server in channel.endpoints() {
        println!(
            "{}: connected: {}, {} calls under way",
            server.name(),
            server.is_connected(),
            server.pending()
        );
    }
    assert_even(phase("two seconds later", &places, 1000).await);

    goes_on.store(false, Ordering::Relaxed);
    let mut calls = 0;
    while let Some(caller) = callers.join_next().await {
        // A call that failed ends its caller with the error.
        calls += caller??;
    }
    println!("{calls} calls, none of which failed");
    Ok(())
}

/// Lets some time pass. Prints and returns how many calls each server has answered meanwhile.
async fn phase(name: &str, places: &[Place; 3], millis: u64) -> [usize; 3] {
    let before = places.each_ref().map(Place::count);
    sleep(Duration::from_millis(millis)).await;
    let [one, two, three] = [0, 1, 2].map(|at| places[at].count() - before[at]);
    println!("{name:<24}{one:>9}{two:>9}{three:>9}");
    [one, two, three]
}

/// Each within 20 % of the mean.
fn assert_even(calls: [usize; 3]) {
    let mean = calls.iter().sum::<usize>() / 3;
    assert!(mean > 0 && calls.iter().all(|count| count.abs_diff(mean) * 5 <= mean), "not even: {calls:?}");
}
