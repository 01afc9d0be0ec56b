//! The workers of a load: each does one thing at a time until it is stopped.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use tokio::task::JoinSet;

use crate::{Result, message::Message, peer::Peer, waiting, workload::Workload};

/// Calls that are cancelled before one is finished, which shows that the connection still works. As many as an answered
/// call allows for at ours: beyond that, and 1000 a second, it takes a peer for an attacker.
const CANCELLED: u64 = 8;

/// Items of a call.
const ITEMS: u32 = 1000;

/// Where items go.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Flow {
    /// From the server to the client.
    Out,
    /// From the server to the client, produced by a separate task and passed on through a channel.
    OutOfTask,
    /// There and back.
    Both,
}

/// How the task of a call comes by a client.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Handle {
    /// It has a clone, as where a client is shared.
    Cloned,
    /// It takes that of the worker and gives it back.
    Moved,
}

/// How a message comes back.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Exchange {
    Echo,
    Hop,
    Sleep,
    Borrowed,
}

impl Exchange {
    pub(crate) fn of(workload: Workload) -> Self {
        match workload {
            Workload::Hop { .. } => Self::Hop,
            Workload::Sleep { .. } | Workload::Overload => Self::Sleep,
            Workload::Borrowed { .. } => Self::Borrowed,
            _ => Self::Echo,
        }
    }

    /// Makes one.
    pub(crate) async fn run<P: Peer>(self, client: &mut P, message: &Message) -> Result<()> {
        match self {
            Self::Echo => client.echo(message).await,
            Self::Hop => client.hop(message).await,
            Self::Sleep => client.sleep(message).await,
            Self::Borrowed => client.borrowed(message).await,
        }
    }
}

/// What workers have done.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) exchanges: u64,
    /// Times of some of them.
    pub(crate) nanos: Vec<u32>,
}

impl Tally {
    pub(crate) fn add(&mut self, other: Self) {
        self.exchanges += other.exchanges;
        self.nanos.extend(other.nanos);
    }

    /// One more that began then.
    pub(crate) fn time(&mut self, begin: Instant) {
        self.nanos.push(u32::try_from(begin.elapsed().as_nanos()).unwrap_or(u32::MAX));
        self.exchanges += 1;
    }
}

/// Waits for all of them.
pub(crate) async fn join(mut workers: JoinSet<Result<Tally>>) -> Result<Tally> {
    let mut sum = Tally::default();
    while let Some(tally) = workers.join_next().await {
        sum.add(tally??);
    }
    Ok(sum)
}

/// Exchanges messages.
pub(crate) async fn exchanges<P: Peer>(
    mut client: P,
    message: Arc<Message>,
    stop: Arc<AtomicBool>,
    exchange: Exchange,
) -> Result<Tally> {
    let mut tally = Tally::default();
    while !stop.load(Ordering::Relaxed) {
        exchange.run(&mut client, &message).await?;
        tally.exchanges += 1;
    }
    Ok(tally)
}

/// Exchanges messages and takes the time of each.
pub(crate) async fn timed_exchanges<P: Peer>(
    mut client: P,
    message: Arc<Message>,
    stop: Arc<AtomicBool>,
    exchange: Exchange,
) -> Result<Tally> {
    let mut tally = Tally::default();
    while !stop.load(Ordering::Relaxed) {
        let begin = Instant::now();
        exchange.run(&mut client, &message).await?;
        tally.time(begin);
    }
    Ok(tally)
}

/// Exchanges messages, each in a task of its own.
pub(crate) async fn tasks<P: Peer>(
    mut client: P,
    message: Arc<Message>,
    stop: Arc<AtomicBool>,
    timed: bool,
    handle: Handle,
) -> Result<Tally> {
    // This worker's alone: what all of them share by turns would be a cost of the harness.
    let message = Arc::new(Message::clone(&message));
    let mut tally = Tally::default();
    while !stop.load(Ordering::Relaxed) {
        let begin = timed.then(Instant::now);
        let message = Arc::clone(&message);
        match handle {
            Handle::Cloned => {
                let mut client = client.clone();
                tokio::spawn(async move { client.echo(&message).await }).await??;
            }
            Handle::Moved => {
                let call = async move { client.echo(&message).await.map(|()| client) };
                client = tokio::spawn(call).await??;
            }
        }
        match begin {
            Some(begin) => tally.time(begin),
            None => tally.exchanges += 1,
        }
    }
    Ok(tally)
}

/// Makes calls that are answered by streams of items; each item counts.
pub(crate) async fn items<P: Peer>(
    mut client: P,
    message: Arc<Message>,
    stop: Arc<AtomicBool>,
    flow: Flow,
) -> Result<Tally> {
    let mut tally = Tally::default();
    while !stop.load(Ordering::Relaxed) {
        match flow {
            Flow::Out => client.items(&message, ITEMS).await?,
            Flow::OutOfTask => client.items_channel(&message, ITEMS).await?,
            Flow::Both => client.bidi_items(&message, ITEMS).await?,
        }
        tally.exchanges += u64::from(ITEMS);
    }
    Ok(tally)
}

/// Makes calls and drops each as soon as its handler runs; `slot` is this worker's alone.
pub(crate) async fn cancel<P: Peer>(
    mut client: P,
    message: Arc<Message>,
    stop: Arc<AtomicBool>,
    slot: u32,
) -> Result<Tally> {
    let mut tally = Tally::default();
    while !stop.load(Ordering::Relaxed) {
        for _ in 0..CANCELLED {
            tokio::select! {
                biased;
                ended = client.never(slot) => return Err(unanswerable(ended)),
                () = waiting::started(slot) => {}
            }
        }
        client.echo(&message).await?;
        tally.exchanges += CANCELLED;
    }
    Ok(tally)
}

/// Why a call has ended that never does.
pub(crate) fn unanswerable(ended: Result<()>) -> Box<dyn std::error::Error + Send + Sync> {
    ended.err().unwrap_or_else(|| "a call was answered that never is".into())
}
