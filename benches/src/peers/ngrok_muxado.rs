//! The registry's `muxado`, which is ngrok's.

use std::net::SocketAddr;

use ngrok_muxado::{Accept, MuxadoOpen, OpenClose, Session, SessionBuilder};
use tokio::net::TcpStream;

use super::io;
use crate::{
    Result,
    message::Message,
    peer::{Doorplate, Held, Layer, Peer, dial},
    workload::Workload,
};

/// The opening half of a session.
#[derive(Clone)]
pub(crate) struct NgrokMuxado(MuxadoOpen);

/// The window stays at its default of 256 KiB: 1 MiB costs a third more time for each byte of bulk.
fn builder(stream: TcpStream, workload: Workload) -> SessionBuilder<TcpStream> {
    SessionBuilder::new(stream).accept_queue_size(workload.room()).stream_limit(workload.room())
}

impl Peer for NgrokMuxado {
    const NAME: &'static str = "ngrok-muxado";
    const LAYER: Layer = Layer::Streams;

    fn runs(workload: Workload) -> bool {
        super::runs_streams(workload)
    }

    async fn serve(workload: Workload, doorplate: Doorplate<Self>) -> Result<()> {
        let connection = move |tcp| async move {
            // The opening half keeps the session alive.
            let (_open, mut accept) = builder(tcp, workload).server().start().split();
            while let Some(stream) = accept.accept().await {
                tokio::spawn(io::serve(stream, workload.largest()));
            }
            Ok(())
        };
        doorplate.serve(connection).await
    }

    async fn connect(workload: Workload, server: SocketAddr) -> Result<Self> {
        let (open, mut accept) = builder(dial(server).await?, workload).client().start().split();
        // As its own example does; nothing comes from the server.
        tokio::spawn(async move { accept.accept().await.is_some() });
        Ok(Self(open))
    }

    async fn echo(&mut self, message: &Message) -> Result<()> {
        io::exchange(self.0.open().await?, message).await
    }

    async fn hold(&mut self, message: &Message) -> Result<Held> {
        let mut stream = self.0.open().await?;
        io::ping(&mut stream, message).await?;
        Ok(Box::new(stream))
    }
}
