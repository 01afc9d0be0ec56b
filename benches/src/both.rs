//! Calls from both ends at once: over one connection where the peer can, else over one each way.

use std::{future, net::SocketAddr, sync::Arc};

use tokio::sync::{Barrier, mpsc, oneshot};

use crate::{
    Result, arena,
    load::{self, Phase},
    message::Message,
    peer::{Doorplate, Peer},
    sample::Sample,
    slice::Slice,
};

/// The end that connects.
pub(crate) struct Near<P> {
    slice: Slice,
    barrier: Arc<Barrier>,
    doorplate: Doorplate<P>,
    far_address: oneshot::Receiver<SocketAddr>,
    far_phase: oneshot::Receiver<Result<Phase>>,
}

/// The end that accepts. Where each needs a connection of its own it connects also.
pub(crate) struct Far<P> {
    slice: Slice,
    barrier: Arc<Barrier>,
    doorplate: Doorplate<P>,
    near_address: oneshot::Receiver<SocketAddr>,
    accepted: mpsc::UnboundedReceiver<P>,
    phase: oneshot::Sender<Result<Phase>>,
}

/// The two ends.
pub(crate) fn ends<P: Peer>(slice: Slice) -> (Near<P>, Far<P>) {
    let (near_doorplate, near_address, _) = Doorplate::new();
    let (far_doorplate, far_address, accepted) = Doorplate::new();
    let (phase, far_phase) = oneshot::channel();
    // Both begin together.
    let barrier = Arc::new(Barrier::new(2));
    (
        Near { slice, barrier: Arc::clone(&barrier), doorplate: near_doorplate, far_address, far_phase },
        Far { slice, barrier, doorplate: far_doorplate, near_address, accepted, phase },
    )
}

impl<P: Peer> Near<P> {
    /// Calls and is called; the exchanges of both ends count.
    pub(crate) async fn run(self) -> Result<Sample> {
        let workload = self.slice.workload;
        if !P::CALLS_BACK {
            tokio::spawn(arena::serve::<P>(workload, self.doorplate));
        }
        let client = P::connect(workload, self.far_address.await?).await?;
        let near = phases(&client, self.slice, &self.barrier);
        let (mut near, far) = tokio::try_join!(near, async { self.far_phase.await? })?;
        near.work.add(far.work);
        let connections = if P::CALLS_BACK { 1.0 } else { 2.0 };
        Ok(Sample { connections: Some(connections), ..near.sample(workload) })
    }
}

impl<P: Peer> Far<P> {
    /// Serves and calls; its runtime has to go on until the other end is done.
    pub(crate) async fn run(self) {
        let (mut accepted, workload) = (self.accepted, self.slice.workload);
        tokio::spawn(arena::serve::<P>(workload, self.doorplate));
        let phases = async {
            let client = if P::CALLS_BACK {
                accepted.recv().await.ok_or("the server does not give its side to call")?
            } else {
                P::connect(workload, self.near_address.await?).await?
            };
            phases(&client, self.slice, &self.barrier).await
        };
        // The other end may have failed.
        let _ = self.phase.send(phases.await);
        future::pending::<()>().await;
    }
}

async fn phases<P: Peer>(client: &P, slice: Slice, barrier: &Barrier) -> Result<Phase> {
    let message = Arc::new(Message::new(slice.workload.size()));
    barrier.wait().await;
    load::phase(std::slice::from_ref(client), &message, slice.workload, slice.warm_up()).await?;
    barrier.wait().await;
    load::phase(std::slice::from_ref(client), &message, slice.workload, slice.time).await
}
