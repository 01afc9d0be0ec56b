//! The time from nothing to the first answer.

use std::{net::SocketAddr, time::Instant};

use crate::{Result, message::Message, peer::Peer, sample::Sample, slice::Slice, worker::Tally};

/// Connections of one measurement: a port that was used rests for a while.
const CONNECTIONS: u64 = 500;

/// Connects, makes one exchange, drops the connection; and again.
pub(crate) async fn run<P: Peer>(slice: Slice, server: SocketAddr) -> Result<Sample> {
    let message = Message::new(slice.workload.size());
    let begin = Instant::now();
    let (mut warm_up, mut tally) = (Tally::default(), Tally::default());
    while tally.exchanges < CONNECTIONS && begin.elapsed() < slice.warm_up() + slice.time {
        let warm = begin.elapsed() >= slice.warm_up() || warm_up.exchanges >= CONNECTIONS / 4;
        let start = Instant::now();
        let mut client = P::connect(slice.workload, server).await?;
        client.echo(&message).await?;
        if warm { &mut tally } else { &mut warm_up }.time(start);
    }
    let sample = Sample::default().with_times(tally.nanos);
    Ok(Sample { rate: sample.p50_us.ok_or("no connection in this time")?, ..sample })
}
