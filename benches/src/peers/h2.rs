//! h2: HTTP/2 streams, a request each.

use std::{future::poll_fn, net::SocketAddr, sync::Arc};

use bytes::Bytes;
use h2::{RecvStream, SendStream, client, server};
use http::{Method, Request, Response, Uri};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};

use super::io::{RECEIVED, confirmed};
use crate::{
    Result,
    message::{Message, Pieces},
    peer::{Doorplate, Held, Layer, Peer, dial},
    pipe::Pipe,
    workload::{WIDE as WINDOW, Windows, Workload},
};

/// Bytes of a frame; with the default of 16 KiB bulk costs twice as much time.
const FRAME: u32 = 64 * 1024;

/// Bytes that are sent without asking for room first: they fit the buffer of a stream.
const SMALL: usize = 16 * 1024;

/// The sender of requests.
#[derive(Clone)]
pub(crate) struct H2(client::SendRequest<Bytes>);

impl H2 {
    async fn over<T>(io: T, workload: Workload) -> Result<Self>
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let mut builder = client::Builder::new();
        if has_wide_windows(workload) {
            builder.initial_window_size(WINDOW).initial_connection_window_size(WINDOW).max_frame_size(FRAME);
        }
        let (sender, connection) = builder.handshake(io).await?;
        tokio::spawn(connection);
        Ok(Self(sender))
    }

    async fn open(&mut self) -> Result<(client::ResponseFuture, SendStream<Bytes>)> {
        let sender = self.0.clone().ready().await?;
        let uri = Uri::from_static("http://bench/echo");
        let request = Request::builder().method(Method::POST).uri(uri).body(())?;
        Ok({ sender }.send_request(request, false)?)
    }
}

impl Peer for H2 {
    const NAME: &'static str = "h2";
    const PACKAGE: &'static str = "h2";
    const LAYER: Layer = Layer::Streams;

    fn runs(workload: Workload) -> bool {
        super::runs_streams(workload)
    }

    async fn serve(workload: Workload, doorplate: Doorplate<Self>) -> Result<()> {
        doorplate.serve(move |tcp| connection(tcp, workload)).await
    }

    async fn connect(workload: Workload, server: SocketAddr) -> Result<Self> {
        Self::over(dial(server).await?, workload).await
    }

    async fn transfer(workload: Workload, near: Pipe, far: Pipe, message: Arc<Message>) -> Result<()> {
        let received = Arc::clone(&message);
        tokio::spawn(async move {
            let mut connection = accept(far, workload).await?;
            while let Some(request) = connection.accept().await {
                let (request, respond) = request?;
                tokio::spawn(receive(request.into_body(), respond, Arc::clone(&received)));
            }
            Ok::<_, h2::Error>(())
        });
        let mut client = Self::over(near, workload).await?;
        let (response, mut sender) = client.open().await?;
        send(&mut sender, message.bytes().clone(), End::Here).await?;
        let word = response.await?.into_body().data().await.ok_or("the stream has ended")??;
        confirmed(&word)
    }

    async fn echo(&mut self, message: &Message) -> Result<()> {
        let (response, mut sender) = self.open().await?;
        let mut pieces = message.pieces();
        let write = send(&mut sender, message.bytes().clone(), End::Here);
        if message.len() <= SMALL {
            write.await?;
            read_to_end(response, &mut pieces).await?;
        } else {
            tokio::try_join!(write, read_to_end(response, &mut pieces))?;
        }
        pieces.end()
    }

    async fn hold(&mut self, message: &Message) -> Result<Held> {
        let (response, mut sender) = self.open().await?;
        send(&mut sender, message.bytes().clone(), End::Later).await?;
        let mut body = response.await?.into_body();
        let mut pieces = message.pieces();
        while pieces.missing() > 0 {
            let data = body.data().await.ok_or("the stream has ended")??;
            body.flow_control().release_capacity(data.len())?;
            pieces.take(&data)?;
        }
        Ok(Box::new((sender, body)))
    }
}

async fn read_to_end(response: client::ResponseFuture, pieces: &mut Pieces<'_>) -> Result<()> {
    let mut body = response.await?.into_body();
    while let Some(data) = body.data().await {
        let data = data?;
        body.flow_control().release_capacity(data.len())?;
        pieces.take(&data)?;
    }
    Ok(())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Here,
    Later,
}

async fn send(stream: &mut SendStream<Bytes>, mut data: Bytes, end: End) -> Result<()> {
    while data.len() > SMALL {
        stream.reserve_capacity(data.len());
        let room = poll_fn(|cx| stream.poll_capacity(cx)).await.ok_or("the stream has ended")??;
        let piece = data.split_to(room.min(data.len()));
        let last = data.is_empty();
        stream.send_data(piece, last && end == End::Here)?;
        if last {
            return Ok(());
        }
    }
    Ok(stream.send_data(data, end == End::Here)?)
}

fn has_wide_windows(workload: Workload) -> bool {
    !matches!(workload, Workload::Link { windows: Windows::Default, .. })
}

async fn accept<T>(io: T, workload: Workload) -> Result<server::Connection<T, Bytes>, h2::Error>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let mut builder = server::Builder::new();
    if has_wide_windows(workload) {
        builder.initial_window_size(WINDOW).initial_connection_window_size(WINDOW).max_frame_size(FRAME);
    }
    builder.handshake(io).await
}

async fn connection(tcp: TcpStream, workload: Workload) -> Result<()> {
    let mut connection = accept(tcp, workload).await?;
    while let Some(request) = connection.accept().await {
        let (request, respond) = request?;
        tokio::spawn(serve_stream(request.into_body(), respond));
    }
    Ok(())
}

/// Checks what comes, and says that all of it has.
async fn receive(
    mut body: RecvStream,
    mut respond: server::SendResponse<Bytes>,
    message: Arc<Message>,
) -> Result<()> {
    let mut pieces = message.pieces();
    while let Some(data) = body.data().await {
        let data = data?;
        body.flow_control().release_capacity(data.len())?;
        pieces.take(&data)?;
    }
    pieces.end()?;
    let mut sender = respond.send_response(Response::new(()), false)?;
    Ok(sender.send_data(Bytes::from_static(&RECEIVED), true)?)
}

/// Sends back what comes. When the end has come with it, the end also goes back with it.
async fn serve_stream(mut body: RecvStream, mut respond: server::SendResponse<Bytes>) -> Result<()> {
    let mut sender = respond.send_response(Response::new(()), false)?;
    while let Some(data) = body.data().await {
        let data = data?;
        body.flow_control().release_capacity(data.len())?;
        if body.is_end_stream() {
            return send(&mut sender, data, End::Here).await;
        }
        send(&mut sender, data, End::Later).await?;
    }
    Ok(sender.send_data(Bytes::new(), true)?)
}
