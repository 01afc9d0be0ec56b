//! Ours: streams.

use std::{future::poll_fn, net::SocketAddr, sync::Arc, task::Poll};

use bytes::Bytes;
use muxado::{Config, RecvStream, Session, Stream};
use tokio::net::TcpStream;

use super::io::{self, RECEIVED, confirmed};
use crate::{
    Result,
    message::{Message, Pieces},
    peer::{Doorplate, Held, Layer, Peer, dial},
    pipe::Pipe,
    workload::{WIDE, Windows, Workload},
};

/// Messages up to this many bytes are written, with their end, before anything is read.
const WRITTEN_FIRST: usize = 16 * 1024;

/// A session with its defaults.
#[derive(Clone)]
pub(crate) struct Muxado {
    session: Session,
    by_traits: bool,
}

/// The defaults, unless the workload goes beyond.
fn config(workload: Workload) -> Config {
    match workload {
        Workload::IdleBeside { .. } => {
            let room = workload.room();
            Config::default().max_streams(room).accept_backlog(room).max_open_streams(room)
        }
        Workload::Link { windows: Windows::Wide, .. } => Config::default().window_size(WIDE),
        _ => Config::default(),
    }
}

/// Whether the workload is run by `AsyncRead` and `AsyncWrite`, as by the peers whose streams have nothing else.
pub(super) fn by_traits(workload: Workload) -> bool {
    matches!(workload, Workload::Streams { .. })
}

impl Muxado {
    /// Has the message echoed by calls that take it as it is, with its end if it is small.
    pub(super) async fn echo_fused(&mut self, message: &Message) -> Result<()> {
        let mut stream = self.session.open().await?;
        let mut pieces = message.pieces();
        if message.len() <= WRITTEN_FIRST {
            let mut bytes = message.bytes().clone();
            poll_fn(|cx| stream.poll_write_final(cx, &mut bytes)).await?;
            while let Some(chunk) = stream.read_chunk().await? {
                pieces.take(&chunk)?;
            }
        } else {
            let (mut sender, mut receiver) = stream.into_split();
            let write = async {
                sender.write_chunk(message.bytes().clone()).await?;
                Ok(sender.finish()?)
            };
            tokio::try_join!(write, read_to_end(&mut receiver, &mut pieces))?;
        }
        pieces.end()
    }
}

impl Peer for Muxado {
    const NAME: &'static str = "muxado";
    const PACKAGE: &'static str = "muxado";
    const LAYER: Layer = Layer::Streams;

    fn runs(workload: Workload) -> bool {
        super::runs_streams(workload)
    }

    async fn serve(workload: Workload, doorplate: Doorplate<Self>) -> Result<()> {
        if by_traits(workload) {
            let size = workload.largest();
            return doorplate
                .serve(move |tcp| connection(tcp, workload, move |stream| io::serve(stream, size)))
                .await;
        }
        doorplate.serve(move |tcp| connection(tcp, workload, serve_stream)).await
    }

    async fn connect(workload: Workload, server: SocketAddr) -> Result<Self> {
        let (session, driver) = Session::client(dial(server).await?, config(workload));
        tokio::spawn(driver);
        Ok(Self { session, by_traits: by_traits(workload) })
    }

    async fn transfer(workload: Workload, near: Pipe, far: Pipe, message: Arc<Message>) -> Result<()> {
        let (client, driver) = Session::client(near, config(workload));
        tokio::spawn(driver);
        let (server, driver) = Session::server(far, config(workload));
        tokio::spawn(driver);
        let send = async {
            let (mut sender, mut receiver) = client.open().await?.into_split();
            sender.write_chunk(message.bytes().clone()).await?;
            sender.finish()?;
            let word = receiver.read_chunk().await?.ok_or("the stream has ended")?;
            confirmed(&word)
        };
        let receive = async {
            let stream = server.accept().await.ok_or("the session has ended")?;
            let (mut sender, mut receiver) = stream.into_split();
            let mut pieces = message.pieces();
            read_to_end(&mut receiver, &mut pieces).await?;
            pieces.end()?;
            sender.write_chunk(Bytes::from_static(&RECEIVED)).await?;
            Ok(sender.finish()?)
        };
        tokio::try_join!(send, receive)?;
        Ok(())
    }

    async fn echo(&mut self, message: &Message) -> Result<()> {
        if self.by_traits {
            return io::exchange(self.session.open().await?, message).await;
        }
        self.echo_fused(message).await
    }

    async fn hold(&mut self, message: &Message) -> Result<Held> {
        let mut stream = self.session.open().await?;
        stream.write_chunk(message.bytes().clone()).await?;
        let mut pieces = message.pieces();
        while pieces.missing() > 0 {
            pieces.take(&stream.read_chunk().await?.ok_or("the stream has ended")?)?;
        }
        Ok(Box::new(stream))
    }
}

async fn read_to_end(receiver: &mut RecvStream, pieces: &mut Pieces<'_>) -> Result<()> {
    while let Some(chunk) = receiver.read_chunk().await? {
        pieces.take(&chunk)?;
    }
    Ok(())
}

/// Accepts streams, and runs `serve` in a task for each.
pub(super) async fn connection<F>(
    tcp: TcpStream,
    workload: Workload,
    serve: impl Fn(Stream) -> F,
) -> Result<()>
where
    F: Future<Output = Result<()>> + Send + 'static,
{
    let (session, driver) = Session::server(tcp, config(workload));
    tokio::spawn(driver);
    while let Some(stream) = session.accept().await {
        tokio::spawn(serve(stream));
    }
    Ok(())
}

/// Sends back what comes. When the end has come with it, the end also goes back with it.
pub(super) async fn serve_stream(mut stream: Stream) -> Result<()> {
    let mut received = stream.read_chunk().await?;
    while let Some(mut chunk) = received {
        received = match poll_fn(|cx| Poll::Ready(stream.poll_read_chunk(cx, usize::MAX))).await {
            Poll::Ready(Ok(None)) => {
                return Ok(poll_fn(|cx| stream.poll_write_final(cx, &mut chunk)).await?);
            }
            Poll::Ready(next) => {
                stream.write_chunk(chunk).await?;
                next?
            }
            Poll::Pending => {
                stream.write_chunk(chunk).await?;
                stream.read_chunk().await?
            }
        };
    }
    Ok(stream.finish()?)
}
