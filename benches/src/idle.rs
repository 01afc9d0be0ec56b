//! What is open and does nothing, beside a load or to be weighed.

use std::net::SocketAddr;

use tokio::task::JoinSet;

use crate::{
    Result,
    message::Message,
    peer::{Held, Layer, Peer},
    process, waiting,
    workload::{OTHER_FILES, Workload},
};

/// So many open streams or connections at a time.
const OPENERS: usize = 16;

/// What was opened, until it is dropped.
#[derive(Default)]
pub(crate) struct Idle {
    _held: Vec<Held>,
    /// How many connections there are, of workloads that have many.
    pub(crate) connections: Option<usize>,
}

/// Opens what the workload has beside its load.
pub(crate) async fn beside<P: Peer>(client: &P, workload: Workload, server: SocketAddr) -> Result<Idle> {
    match workload {
        Workload::IdleBeside { streams } if P::LAYER == Layer::Calls => {
            Ok(Idle { _held: vec![Box::new(calls(client, streams).await?)], connections: None })
        }
        Workload::IdleBeside { streams: count } => {
            let client = client.clone();
            let held = open(count, move |count| streams(client.clone(), workload, count)).await?;
            Ok(Idle { _held: held, connections: None })
        }
        Workload::Conns { connections: wanted } => {
            let possible = process::open_files()?.saturating_sub(OTHER_FILES) / 2;
            let count = wanted.min(possible);
            let held = open(count, move |count| connections::<P>(workload, server, count)).await?;
            Ok(Idle { _held: held, connections: Some(count) })
        }
        _ => Ok(Idle::default()),
    }
}

/// Makes calls that wait in their handlers until the set is dropped.
pub(crate) async fn calls<P: Peer>(client: &P, count: usize) -> Result<JoinSet<Result<()>>> {
    let mut calls = JoinSet::new();
    for _ in 0..count {
        let mut client = client.clone();
        calls.spawn(async move { client.never(0).await });
    }
    let all = waiting::running() + count;
    tokio::select! {
        all = waiting::handlers(all) => all?,
        ended = calls.join_next() => {
            return Err(format!("a call ended that never does: {ended:?}").into());
        }
    }
    Ok(calls)
}

/// Opens so many, some at a time; `some` opens a share of them.
async fn open<F>(count: usize, some: impl Fn(usize) -> F) -> Result<Vec<Held>>
where
    F: Future<Output = Result<Vec<Held>>> + Send + 'static,
{
    let mut openers = JoinSet::new();
    for index in 0..OPENERS {
        openers.spawn(some(count / OPENERS + usize::from(index < count % OPENERS)));
    }
    let mut held = Vec::with_capacity(count);
    while let Some(opened) = openers.join_next().await {
        held.extend(opened??);
    }
    Ok(held)
}

async fn streams<P: Peer>(mut client: P, workload: Workload, count: usize) -> Result<Vec<Held>> {
    let message = Message::new(workload.size());
    let mut held = Vec::with_capacity(count);
    for _ in 0..count {
        held.push(client.hold(&message).await?);
    }
    Ok(held)
}

async fn connections<P: Peer>(workload: Workload, server: SocketAddr, count: usize) -> Result<Vec<Held>> {
    let message = Message::new(workload.size());
    let mut held: Vec<Held> = Vec::with_capacity(count);
    for _ in 0..count {
        let mut client = P::connect(workload, server).await?;
        client.echo(&message).await?;
        held.push(Box::new(client));
    }
    Ok(held)
}
