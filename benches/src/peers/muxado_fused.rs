//! Ours: streams by the calls of ours that take a buffer as it is, or write and finish at once, where the others have
//! `AsyncRead` and `AsyncWrite`.

use std::net::SocketAddr;

use super::muxado::{self, Muxado};
use crate::{
    Result,
    message::Message,
    peer::{Doorplate, Layer, Peer},
    workload::Workload,
};

/// A session with its defaults.
#[derive(Clone)]
pub(crate) struct MuxadoFused(Muxado);

impl Peer for MuxadoFused {
    const NAME: &'static str = "muxado-fused";
    const PACKAGE: &'static str = "muxado";
    const LAYER: Layer = Layer::Streams;

    fn runs(workload: Workload) -> bool {
        // Elsewhere these calls are what `muxado` uses.
        muxado::by_traits(workload)
    }

    async fn serve(workload: Workload, doorplate: Doorplate<Self>) -> Result<()> {
        doorplate.serve(move |tcp| muxado::connection(tcp, workload, muxado::serve_stream)).await
    }

    async fn connect(workload: Workload, server: SocketAddr) -> Result<Self> {
        Ok(Self(Muxado::connect(workload, server).await?))
    }

    async fn echo(&mut self, message: &Message) -> Result<()> {
        self.0.echo_fused(message).await
    }
}
