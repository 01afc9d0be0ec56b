//! Bulk over a long link that is simulated, in simulated time: nothing of the machine is in the result.

use std::{sync::Arc, time::Duration};

use tokio::{runtime::Builder, time::Instant};

use crate::{
    Result,
    message::Message,
    peer::Peer,
    pipe::{self, Link},
    sample::Sample,
    workload::Workload,
};

/// Bytes that are sent: enough that windows which grow have grown.
const BULK: usize = 32 * 1024 * 1024;

const BYTES_PER_SECOND: u64 = 1_000_000_000;

/// Sends bulk one way over a stream, from opening it to the receiver's word that all has come.
pub(crate) fn measure<P: Peer>(workload: Workload, round_trip: Duration) -> Result<Sample> {
    let mut builder = Builder::new_current_thread();
    let runtime = builder.enable_all().start_paused(P::TOKIO_CLOCK).build()?;
    runtime.block_on(async {
        let (near, far) = pipe::pair(Link { delay: round_trip / 2, bytes_per_second: BYTES_PER_SECOND });
        let message = Arc::new(Message::new(BULK));
        let begin = Instant::now();
        P::transfer(workload, near, far, message).await?;
        Ok(Sample { rate: BULK as f64 / 1e6 / begin.elapsed().as_secs_f64(), ..Sample::default() })
    })
}
