//! tokio-yamux, of the nervos project.

use std::{net::SocketAddr, sync::Arc};

use futures_util::StreamExt;
use tokio_yamux::{
    Config, Control, Session,
    config::{DEFAULT_MAX_STREAM_COUNT, INITIAL_STREAM_WINDOW},
};

use super::io;
use crate::{
    Result,
    message::Message,
    peer::{Doorplate, Held, Layer, Peer, dial},
    pipe::Pipe,
    workload::{WIDE, Windows, Workload},
};

/// The control of a session.
#[derive(Clone)]
pub(crate) struct TokioYamux(Control);

/// More than any message: a stream whose message is larger than the window hangs.
const WINDOW: u32 = 64 * 1024 * 1024;

fn config(workload: Workload) -> Config {
    Config {
        accept_backlog: workload.room(),
        max_stream_count: DEFAULT_MAX_STREAM_COUNT.max(workload.room()),
        max_stream_window_size: match workload {
            Workload::Link { windows: Windows::Default, .. } => INITIAL_STREAM_WINDOW,
            Workload::Link { windows: Windows::Wide, .. } => WIDE,
            _ => WINDOW,
        },
        ..Config::default()
    }
}

impl Peer for TokioYamux {
    const NAME: &'static str = "tokio-yamux";
    const PACKAGE: &'static str = "tokio-yamux";
    const LAYER: Layer = Layer::Streams;

    fn runs(workload: Workload) -> bool {
        super::runs_streams(workload)
    }

    async fn serve(workload: Workload, doorplate: Doorplate<Self>) -> Result<()> {
        let connection = move |tcp| async move {
            let mut session = Session::new_server(tcp, config(workload));
            while let Some(stream) = session.next().await {
                tokio::spawn(io::serve(stream?, workload.largest()));
            }
            Ok(())
        };
        doorplate.serve(connection).await
    }

    async fn connect(workload: Workload, server: SocketAddr) -> Result<Self> {
        let mut session = Session::new_client(dial(server).await?, config(workload));
        let control = session.control();
        tokio::spawn(async move { while let Some(Ok(_)) = session.next().await {} });
        Ok(Self(control))
    }

    async fn transfer(workload: Workload, near: Pipe, far: Pipe, message: Arc<Message>) -> Result<()> {
        let mut server = Session::new_server(far, config(workload));
        let mut client = Session::new_client(near, config(workload));
        let mut control = client.control();
        tokio::spawn(async move { while let Some(Ok(_)) = client.next().await {} });
        let received = Arc::clone(&message);
        tokio::spawn(async move {
            while let Some(Ok(stream)) = server.next().await {
                let message = Arc::clone(&received);
                tokio::spawn(async move { io::receive(stream, &message).await });
            }
        });
        io::send(control.open_stream().await?, &message).await
    }

    async fn echo(&mut self, message: &Message) -> Result<()> {
        io::exchange(self.0.open_stream().await?, message).await
    }

    async fn hold(&mut self, message: &Message) -> Result<Held> {
        let mut stream = self.0.open_stream().await?;
        io::ping(&mut stream, message).await?;
        Ok(Box::new(stream))
    }
}
