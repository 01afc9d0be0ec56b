//! rust-yamux, of libp2p.

use std::{
    collections::VecDeque,
    future::poll_fn,
    net::SocketAddr,
    task::{Context, Poll},
};

use tokio::{
    net::TcpStream,
    sync::{mpsc, oneshot},
};
use tokio_util::compat::{Compat, FuturesAsyncReadCompatExt, TokioAsyncReadCompatExt};
use yamux::{Config, Connection, ConnectionError, Mode, Stream};

use super::io;
use crate::{
    Result,
    message::Message,
    peer::{Doorplate, Held, Layer, Peer, dial},
    workload::Workload,
};

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
    const LAYER: Layer = Layer::Streams;

    fn runs(workload: Workload) -> bool {
        super::runs_streams(workload)
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
        let connection = start(dial(server).await?, Mode::Client, workload);
        let (opens, requests) = mpsc::unbounded_channel();
        let mut client = Client { connection, requests, waiting: VecDeque::new() };
        tokio::spawn(async move { poll_fn(|cx| client.poll(cx)).await });
        Ok(Self(opens))
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

fn start(tcp: TcpStream, mode: Mode, workload: Workload) -> Connection<Compat<TcpStream>> {
    let mut config = Config::default();
    // Windows grow by themselves; this takes the bound of their sum away.
    config
        .set_max_connection_receive_window(None)
        .set_max_num_streams(workload.room())
        .set_split_send_size(FRAME);
    Connection::new(tcp.compat(), config, mode)
}

/// The task of the connecting side.
struct Client {
    connection: Connection<Compat<TcpStream>>,
    requests: mpsc::UnboundedReceiver<oneshot::Sender<Stream>>,
    waiting: VecDeque<oneshot::Sender<Stream>>,
}

impl Client {
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
