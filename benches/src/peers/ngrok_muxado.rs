//! The registry's `muxado`, which is ngrok's.

use std::{net::SocketAddr, sync::Arc};

use ngrok_muxado::{Accept, MuxadoOpen, OpenClose, Session, SessionBuilder};
use tokio::io::{AsyncRead, AsyncWrite};

use super::io;
use crate::{
    Result,
    message::Message,
    peer::{Doorplate, Held, Layer, Peer, dial},
    pipe::Pipe,
    workload::{WIDE, Windows, Workload},
};

/// The opening half of a session.
#[derive(Clone)]
pub(crate) struct NgrokMuxado(MuxadoOpen);

/// The window stays at its default of 256 KiB: 1 MiB costs a third more time for each byte of bulk.
fn builder<T>(stream: T, workload: Workload) -> SessionBuilder<T>
where
    T: AsyncRead + AsyncWrite + Send + 'static,
{
    let builder =
        SessionBuilder::new(stream).accept_queue_size(workload.room()).stream_limit(workload.room());
    match workload {
        Workload::Link { windows: Windows::Wide, .. } => builder.window_size(WIDE as usize),
        _ => builder,
    }
}

impl Peer for NgrokMuxado {
    const NAME: &'static str = "ngrok-muxado";
    const PACKAGE: &'static str = "muxado";
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

    async fn transfer(workload: Workload, near: Pipe, far: Pipe, message: Arc<Message>) -> Result<()> {
        let (_open, mut accept) = builder(far, workload).server().start().split();
        let (mut open, mut nothing) = builder(near, workload).client().start().split();
        tokio::spawn(async move { nothing.accept().await.is_some() });
        let receive = async {
            let stream = accept.accept().await.ok_or("the session has ended")?;
            io::receive(stream, &message).await
        };
        tokio::try_join!(async { io::send(open.open().await?, &message).await }, receive)?;
        Ok(())
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
