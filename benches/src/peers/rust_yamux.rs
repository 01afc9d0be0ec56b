//! rust-yamux, of libp2p.

use std::{
    collections::VecDeque,
    future::poll_fn,
    net::SocketAddr,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{mpsc, oneshot},
};
use tokio_util::compat::{Compat, FuturesAsyncReadCompatExt, TokioAsyncReadCompatExt};
use yamux::{Config, Connection, ConnectionError, Mode, Stream};

use super::io;
use crate::{
    Result,
    message::Message,
    peer::{Doorplate, Held, Layer, Peer, dial},
    pipe::Pipe,
    workload::{Windows, Workload},
};

/// Its costs grow with the number of streams: 16 000 take some seconds to open, 100 000 minutes.
const MOST_STREAMS: usize = 16_000;

/// Bytes of a frame; with the default of 16 KiB bulk costs twice as much time.
const FRAME: usize = 256 * 1024;

/// Asks the task of a connection for streams: a connection has no handle of its own.
#[derive(Clone)]
pub(crate) struct RustYamux(mpsc::UnboundedSender<oneshot::Sender<Stream>>);

impl RustYamux {
    async fn open(&self) -> Result<Compat<Stream>> {
        let (sender, stream) = oneshot::channel();
        self.0.send(sender)?;
        Ok(stream.await?.compat())
    }
}

impl Peer for RustYamux {
    const NAME: &'static str = "rust-yamux";
    const PACKAGE: &'static str = "yamux";
    const LAYER: Layer = Layer::Streams;
    // It measures the round trip with the system's clock.
    const TOKIO_CLOCK: bool = false;

    fn runs(workload: Workload) -> bool {
        super::runs_streams(workload)
            && match workload {
                // There is no window to set.
                Workload::Link { windows, .. } => windows == Windows::Default,
                Workload::IdleBeside { streams } => streams <= MOST_STREAMS,
                _ => true,
            }
    }

    async fn serve(workload: Workload, doorplate: Doorplate<Self>) -> Result<()> {
        let connection = move |tcp| async move {
            let mut connection = start(tcp, Mode::Server, workload);
            while let Some(stream) = poll_fn(|cx| connection.poll_next_inbound(cx)).await {
                tokio::spawn(io::serve(stream?.compat(), workload.largest()));
            }
            Ok(())
        };
        doorplate.serve(connection).await
    }

    async fn connect(workload: Workload, server: SocketAddr) -> Result<Self> {
        Ok(Client::spawn(start(dial(server).await?, Mode::Client, workload)))
    }

    async fn transfer(workload: Workload, near: Pipe, far: Pipe, message: Arc<Message>) -> Result<()> {
        let mut server = start(far, Mode::Server, workload);
        let client = Client::spawn(start(near, Mode::Client, workload));
        let received = Arc::clone(&message);
        tokio::spawn(async move {
            while let Some(Ok(stream)) = poll_fn(|cx| server.poll_next_inbound(cx)).await {
                let message = Arc::clone(&received);
                tokio::spawn(async move { io::receive(stream.compat(), &message).await });
            }
        });
        io::send(client.open().await?, &message).await
    }

    async fn echo(&mut self, message: &Message) -> Result<()> {
        io::exchange(self.open().await?, message).await
    }

    async fn hold(&mut self, message: &Message) -> Result<Held> {
        let mut stream = self.open().await?;
        io::ping(&mut stream, message).await?;
        Ok(Box::new(stream))
    }
}

fn start<T>(io: T, mode: Mode, workload: Workload) -> Connection<Compat<T>>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let mut config = Config::default();
    if !matches!(workload, Workload::Link { .. }) {
        // Windows grow by themselves; this takes the bound of their sum away.
        config.set_max_connection_receive_window(None).set_max_num_streams(workload.room());
        config.set_split_send_size(FRAME);
    }
    Connection::new(io.compat(), config, mode)
}

/// The task of the connecting side.
struct Client<T> {
    connection: Connection<Compat<T>>,
    requests: mpsc::UnboundedReceiver<oneshot::Sender<Stream>>,
    waiting: VecDeque<oneshot::Sender<Stream>>,
}

impl<T: AsyncRead + AsyncWrite + Unpin + Send + 'static> Client<T> {
    /// Runs the connection in a task; gives what opens streams of it.
    fn spawn(connection: Connection<Compat<T>>) -> RustYamux {
        let (opens, requests) = mpsc::unbounded_channel();
        let mut client = Self { connection, requests, waiting: VecDeque::new() };
        tokio::spawn(async move { poll_fn(|cx| client.poll(cx)).await });
        RustYamux(opens)
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ConnectionError>> {
        while let Poll::Ready(Some(request)) = self.requests.poll_recv(cx) {
            self.waiting.push_back(request);
        }
        while !self.waiting.is_empty()
            && let Poll::Ready(stream) = self.connection.poll_new_outbound(cx)
        {
            let (stream, request) = (stream?, self.waiting.pop_front());
            // Who asked may have gone.
            let _ = request.map(|request| request.send(stream));
        }
        match self.connection.poll_next_inbound(cx) {
            Poll::Ready(Some(Ok(_))) => Poll::Ready(Err(ConnectionError::Closed)),
            Poll::Ready(Some(Err(error))) => Poll::Ready(Err(error)),
            Poll::Ready(None) => Poll::Ready(Ok(())),
            Poll::Pending => Poll::Pending,
        }
    }
}
