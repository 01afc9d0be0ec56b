//! The load: a number of workers, each with one exchange at a time, for a time.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{task::JoinSet, time};

use crate::{
    Result, connect, idle, memory,
    message::Message,
    open,
    peer::Peer,
    process,
    sample::Sample,
    slice::Slice,
    waiting, worker,
    worker::{Exchange, Flow, Handle, Tally},
    workload::{Measure, Workload},
};

/// One worker in so many takes the times of its exchanges: reading the clock twice would be a tenth
/// of a fast peer's call.
const TIMED: usize = 16;

/// Streams that move bulk in the mixed workload, and the size of their messages.
const BULK_STREAMS: usize = 4;
const BULK_SIZE: usize = 1024 * 1024;

/// Runs the workload against a server.
pub(crate) async fn run<P: Peer>(slice: Slice, server: SocketAddr) -> Result<Sample> {
    let workload = slice.workload;
    match workload {
        Workload::IdleStream => return memory::of_stream::<P>(workload, server).await,
        Workload::IdleSession | Workload::TlsIdleSession => {
            return memory::of_session::<P>(workload, server).await;
        }
        Workload::IdleCall => return memory::of_call::<P>(workload, server).await,
        Workload::Connect => return connect::run::<P>(slice, server).await,
        Workload::Open { .. } | Workload::Overload => return open::run::<P>(slice, server).await,
        _ => {}
    }
    let clients = [P::connect(workload, server).await?];
    let idle = idle::beside(&clients[0], workload, server).await?;
    let message = Arc::new(Message::new(workload.size()));
    phase(&clients, &message, workload, slice.warm_up()).await?;
    let phase = phase(&clients, &message, workload, slice.time).await?;
    if let Workload::Cancel { .. } = workload {
        // Whoever only forgets a call has not cancelled it.
        waiting::handlers(0).await?;
    }
    let connections = idle.connections.map(|count| count as f64);
    Ok(Sample { connections, ..phase.sample(workload) })
}

/// What was done in a time.
pub(crate) struct Phase {
    pub(crate) work: Tally,
    /// Exchanges of the bulk beside it.
    bulk: Tally,
    elapsed: Duration,
    cpu: Option<Duration>,
}

impl Phase {
    /// Counts the processor time of another process, too. Without it the rest says nothing.
    pub(crate) fn add_cpu(&mut self, other: Option<Duration>) {
        self.cpu = self.cpu.zip(other).map(|(cpu, other)| cpu + other);
    }

    pub(crate) fn sample(self, workload: Workload) -> Sample {
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
            cpu_s_per_m: self
                .cpu
                .filter(|_| workload != Workload::Mixed && exchanges > 0.0)
                .map(|cpu| cpu.as_secs_f64() / exchanges * 1e6),
            mb_s: workload.is_bulk().then(|| megabytes(exchanges, workload.size())),
            bulk_mb_s: (workload == Workload::Mixed)
                .then(|| megabytes(self.bulk.exchanges as f64, BULK_SIZE)),
            ..Sample::default()
        };
        sample.with_times(self.work.nanos)
    }
}

/// Keeps the workers of a workload busy for a time, as many with each of the clients.
pub(crate) async fn phase<P: Peer>(
    clients: &[P],
    message: &Arc<Message>,
    workload: Workload,
    length: Duration,
) -> Result<Phase> {
    let stop = Arc::new(AtomicBool::new(false));
    let (mut work, mut bulk) = (JoinSet::new(), JoinSet::new());
    let exchange = Exchange::of(workload);
    let (begin, cpu) = (Instant::now(), process::cpu_time());
    for ((slot, index), client) in (0_u32..).zip(0..workload.in_flight()).zip(clients.iter().cycle()) {
        let (client, message, stop) = (client.clone(), Arc::clone(message), Arc::clone(&stop));
        match workload {
            Workload::Cancel { .. } => work.spawn(worker::cancel(client, message, stop, slot)),
            Workload::Items => work.spawn(worker::items(client, message, stop, Flow::Out)),
            Workload::ItemsChannel => work.spawn(worker::items(client, message, stop, Flow::OutOfTask)),
            Workload::Clone { .. } => {
                work.spawn(worker::tasks(client, message, stop, index % TIMED == 0, Handle::Cloned))
            }
            Workload::Spawn { .. } => {
                work.spawn(worker::tasks(client, message, stop, index % TIMED == 0, Handle::Moved))
            }
            Workload::BidiItems => work.spawn(worker::items(client, message, stop, Flow::Both)),
            _ if index % TIMED == 0 => work.spawn(worker::timed_exchanges(client, message, stop, exchange)),
            _ => work.spawn(worker::exchanges(client, message, stop, exchange)),
        };
    }
    if workload == Workload::Mixed {
        let message = Arc::new(Message::new(BULK_SIZE));
        for client in clients.iter().cycle().take(BULK_STREAMS) {
            bulk.spawn(worker::exchanges(
                client.clone(),
                Arc::clone(&message),
                Arc::clone(&stop),
                Exchange::Echo,
            ));
        }
    }
    time::sleep(length).await;
    stop.store(true, Ordering::Relaxed);
    let (work, bulk) = (worker::join(work).await?, worker::join(bulk).await?);
    let cpu = process::cpu_time().zip(cpu).map(|(now, then)| now.saturating_sub(then));
    Ok(Phase { work, bulk, elapsed: begin.elapsed(), cpu })
}
