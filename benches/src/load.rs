//! The load: a number of workers, each with one exchange at a time, for a time.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{
    task::{self, JoinSet},
    time,
};

use crate::{
    Result, memory,
    message::Message,
    peer::Peer,
    process,
    sample::Sample,
    slice::Slice,
    workload::{Measure, Workload},
};

/// One worker in so many takes the times of its exchanges: reading the clock twice would be a tenth
/// of a fast peer's call.
const TIMED: usize = 16;

/// Streams that move bulk in the mixed workload, and the size of their messages.
const BULK_STREAMS: usize = 4;
const BULK_SIZE: usize = 1024 * 1024;

/// Calls that are cancelled before one is finished, which shows that the connection still works.
const CANCELLED: u64 = 64;

/// Runs the workload against a server.
pub(crate) async fn run<P: Peer>(slice: Slice, server: SocketAddr) -> Result<Sample> {
    let workload = slice.workload;
    match workload {
        Workload::IdleStream => return memory::of_stream::<P>(workload, server).await,
        Workload::IdleSession => return memory::of_session::<P>(workload, server).await,
        _ => {}
    }
    let client = P::connect(workload, server).await?;
    let message = Arc::new(Message::new(workload.size()));
    phase(&client, &message, workload, slice.warm_up()).await?;
    let phase = phase(&client, &message, workload, slice.time).await?;
    Ok(phase.sample(workload))
}

/// What was done in a time.
struct Phase {
    work: Tally,
    /// Exchanges of the bulk beside it.
    bulk: Tally,
    elapsed: Duration,
    cpu: Option<Duration>,
}

/// What workers have done.
#[derive(Default)]
struct Tally {
    exchanges: u64,
    /// Times of some of them.
    nanos: Vec<u32>,
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.exchanges += other.exchanges;
        self.nanos.extend(other.nanos);
    }
}

impl Phase {
    fn sample(self, workload: Workload) -> Sample {
        let seconds = self.elapsed.as_secs_f64();
        let exchanges = self.work.exchanges as f64;
        let megabytes = |exchanges: f64, size: usize| exchanges * size as f64 / 1e6 / seconds;
        let rate = match workload.measure() {
            Measure::Throughput => megabytes(exchanges, workload.size()),
            _ => exchanges / seconds,
        };
        let sample = Sample {
            rate,
            // Beside bulk it would be the bulk's.
            cpu_s_per_million: self
                .cpu
                .filter(|_| workload != Workload::Mixed && exchanges > 0.0)
                .map(|cpu| cpu.as_secs_f64() / exchanges * 1e6),
            bulk_mb_s: (workload == Workload::Mixed)
                .then(|| megabytes(self.bulk.exchanges as f64, BULK_SIZE)),
            ..Sample::default()
        };
        sample.with_times(self.work.nanos)
    }
}

async fn phase<P: Peer>(
    client: &P,
    message: &Arc<Message>,
    workload: Workload,
    length: Duration,
) -> Result<Phase> {
    let stop = Arc::new(AtomicBool::new(false));
    let (mut work, mut bulk) = (JoinSet::new(), JoinSet::new());
    let (begin, cpu) = (Instant::now(), process::cpu_time());
    for index in 0..workload.in_flight() {
        let (client, message, stop) = (client.clone(), Arc::clone(message), Arc::clone(&stop));
        match workload {
            Workload::Cancel => work.spawn(cancel(client, message, stop)),
            _ if index % TIMED == 0 => work.spawn(timed_exchanges(client, message, stop)),
            _ => work.spawn(exchanges(client, message, stop)),
        };
    }
    if workload == Workload::Mixed {
        let message = Arc::new(Message::new(BULK_SIZE));
        for _ in 0..BULK_STREAMS {
            bulk.spawn(exchanges(client.clone(), Arc::clone(&message), Arc::clone(&stop)));
        }
    }
    time::sleep(length).await;
    stop.store(true, Ordering::Relaxed);
    let (work, bulk) = (join(work).await?, join(bulk).await?);
    let cpu = process::cpu_time().zip(cpu).map(|(now, then)| now.saturating_sub(then));
    Ok(Phase { work, bulk, elapsed: begin.elapsed(), cpu })
}

async fn join(mut workers: JoinSet<Result<Tally>>) -> Result<Tally> {
    let mut sum = Tally::default();
    while let Some(tally) = workers.join_next().await {
        sum.add(tally??);
    }
    Ok(sum)
}

async fn exchanges<P: Peer>(mut client: P, message: Arc<Message>, stop: Arc<AtomicBool>) -> Result<Tally> {
    let mut tally = Tally::default();
    while !stop.load(Ordering::Relaxed) {
        client.echo(&message).await?;
        tally.exchanges += 1;
    }
    Ok(tally)
}

async fn timed_exchanges<P: Peer>(
    mut client: P,
    message: Arc<Message>,
    stop: Arc<AtomicBool>,
) -> Result<Tally> {
    let mut tally = Tally::default();
    while !stop.load(Ordering::Relaxed) {
        let begin = Instant::now();
        client.echo(&message).await?;
        tally.nanos.push(u32::try_from(begin.elapsed().as_nanos()).unwrap_or(u32::MAX));
        tally.exchanges += 1;
    }
    Ok(tally)
}

async fn cancel<P: Peer>(mut client: P, message: Arc<Message>, stop: Arc<AtomicBool>) -> Result<Tally> {
    let mut tally = Tally::default();
    while !stop.load(Ordering::Relaxed) {
        for _ in 0..CANCELLED {
            // Yielding lets the connection send the request before the call is dropped.
            tokio::select! {
                biased;
                ended = client.never() => return Err(unanswerable(ended)),
                () = task::yield_now() => {}
            }
        }
        client.echo(&message).await?;
        tally.exchanges += CANCELLED;
    }
    Ok(tally)
}

fn unanswerable(ended: Result<()>) -> Box<dyn std::error::Error + Send + Sync> {
    ended.err().unwrap_or_else(|| "a call was answered that never is".into())
}
