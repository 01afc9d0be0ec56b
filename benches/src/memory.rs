//! Memory of what is open and does nothing, in bytes for each end.

use std::{net::SocketAddr, time::Duration};

use tokio::time;

use crate::{Result, idle, message::Message, peer::Peer, process, sample::Sample, workload::Workload};

/// How many are counted: enough that pages and tables which grow by doubling do not matter much.
const STREAMS: usize = 1000;
const SESSIONS: usize = 200;
const CALLS: usize = 1000;

/// How many there are before, so that what is made once is not counted.
const BEFORE: usize = 16;

/// Time for both ends to come to rest. Some give their buffers back after a second without traffic.
const REST: Duration = Duration::from_millis(1500);

/// Both ends are in this process, and take about the same.
const ENDS: usize = 2;

/// Resident bytes for each end of a stream that has carried one message and stays open.
pub(crate) async fn of_stream<P: Peer>(workload: Workload, server: SocketAddr) -> Result<Sample> {
    let message = Message::new(workload.size());
    let mut client = P::connect(workload, server).await?;
    let mut held = Vec::with_capacity(BEFORE + STREAMS);
    for _ in 0..BEFORE {
        held.push(client.hold(&message).await?);
    }
    let before = resident_at_rest().await?;
    for _ in 0..STREAMS {
        held.push(client.hold(&message).await?);
    }
    sample(before, resident_at_rest().await?, STREAMS)
}

/// Resident bytes for each end of a connection that has carried one message and stays open.
pub(crate) async fn of_session<P: Peer>(workload: Workload, server: SocketAddr) -> Result<Sample> {
    let message = Message::new(workload.size());
    let mut held = Vec::with_capacity(BEFORE + SESSIONS);
    let mut before = 0;
    for index in 0..BEFORE + SESSIONS {
        if index == BEFORE {
            before = resident_at_rest().await?;
        }
        let mut client = P::connect(workload, server).await?;
        client.echo(&message).await?;
        held.push(client);
    }
    sample(before, resident_at_rest().await?, SESSIONS)
}

/// Resident bytes for each end of a call that waits in its handler.
pub(crate) async fn of_call<P: Peer>(workload: Workload, server: SocketAddr) -> Result<Sample> {
    let mut client = P::connect(workload, server).await?;
    client.echo(&Message::new(workload.size())).await?;
    let _before = idle::calls(&client, BEFORE).await?;
    let before = resident_at_rest().await?;
    let _calls = idle::calls(&client, CALLS).await?;
    sample(before, resident_at_rest().await?, CALLS)
}

async fn resident_at_rest() -> Result<u64> {
    time::sleep(REST).await;
    Ok(process::resident()?)
}

fn sample(before: u64, after: u64, count: usize) -> Result<Sample> {
    let grown = after.checked_sub(before).ok_or("the process has shrunk")?;
    Ok(Sample { rate: grown as f64 / (count * ENDS) as f64, ..Sample::default() })
}
