//! remoc: remote trait calls over its channel multiplexer.

use std::{net::SocketAddr, sync::Arc};

use remoc::{
    Cfg, Connect, ConnectExt, codec,
    rch::mpsc,
    rtc::{self, CallError, Client, ServerShared},
};
use tokio::{net::TcpStream, sync::mpsc::UnboundedSender};

use crate::{
    Result,
    message::{Copies, Message},
    peer::{Doorplate, Layer, Peer, dial},
    waiting,
    workload::Workload,
};

/// Largest message; the default is 16 MiB.
const MESSAGE_SIZE: usize = 64 * 1024 * 1024;

/// Items that a channel holds before they are sent; the default is 16, more than 64 gain nothing.
const ITEMS: usize = 64;

#[rtc::remote]
pub(crate) trait Echo {
    async fn echo(&self, text: String) -> Result<String, CallError>;
    async fn items(&self, text: String, count: u32) -> Result<mpsc::Receiver<String>, CallError>;
    async fn bidi_items(&self, items: mpsc::Receiver<String>) -> Result<mpsc::Receiver<String>, CallError>;
    async fn never(&self, slot: u32) -> Result<bool, CallError>;
}

struct Echoing;

impl Echo for Echoing {
    async fn echo(&self, text: String) -> Result<String, CallError> {
        Ok(text)
    }

    async fn items(&self, text: String, count: u32) -> Result<mpsc::Receiver<String>, CallError> {
        Ok(copies(text, count))
    }

    async fn bidi_items(
        &self,
        mut items: mpsc::Receiver<String>,
    ) -> Result<mpsc::Receiver<String>, CallError> {
        let (sender, receiver) = mpsc::with_local_buffer(ITEMS);
        tokio::spawn(async move {
            // An item that does not arrive ends the stream early, which the client notices.
            while let Ok(Some(item)) = items.recv().await
                && sender.send(item).await.is_ok()
            {}
        });
        Ok(receiver)
    }

    async fn never(&self, slot: u32) -> Result<bool, CallError> {
        waiting::forever(slot).await
    }
}

/// The client of the trait, as the server sent it.
#[derive(Clone)]
pub(crate) struct Remoc(EchoClient);

impl Peer for Remoc {
    const NAME: &'static str = "remoc";
    const PACKAGE: &'static str = "remoc";
    const LAYER: Layer = Layer::Calls;
    const CALLS_BACK: bool = true;

    fn runs(workload: Workload) -> bool {
        super::runs_calls(workload) || super::runs_items(workload)
    }

    async fn serve(workload: Workload, doorplate: Doorplate<Self>) -> Result<()> {
        let accepted = doorplate.accepted();
        doorplate.serve(move |stream| connection(stream, workload, accepted.clone())).await
    }

    async fn connect(workload: Workload, server: SocketAddr) -> Result<Self> {
        let stream = dial(server).await?;
        if let Workload::Both { .. } = workload {
            return exchange(stream, workload).await;
        }
        let (reader, writer) = stream.into_split();
        Ok(Self(Connect::io(settings(workload), reader, writer).consume().await?))
    }

    async fn echo(&mut self, message: &Message) -> Result<()> {
        message.check(&self.0.echo(message.text().to_owned()).await?)
    }

    async fn items(&mut self, message: &Message, count: u32) -> Result<()> {
        let items = self.0.items(message.text().to_owned(), count).await?;
        check(items, message.copies(count)).await
    }

    async fn bidi_items(&mut self, message: &Message, count: u32) -> Result<()> {
        let items = self.0.bidi_items(copies(message.text().to_owned(), count)).await?;
        check(items, message.copies(count)).await
    }

    async fn never(&mut self, slot: u32) -> Result<()> {
        self.0.never(slot).await?;
        Ok(())
    }
}

/// Sends so many from a task, as it has to be done with a channel.
fn copies(text: String, count: u32) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::with_local_buffer(ITEMS);
    tokio::spawn(async move {
        for _ in 0..count {
            // The other end may have gone.
            if sender.send(text.clone()).await.is_err() {
                return;
            }
        }
    });
    receiver
}

async fn check(mut items: mpsc::Receiver<String>, mut copies: Copies<'_>) -> Result<()> {
    while let Some(item) = items.recv().await? {
        copies.take(&item)?;
    }
    copies.end()
}

/// Its documentation recommends the defaults; the windows grow by themselves.
fn settings(workload: Workload) -> Cfg {
    let mut settings = Cfg::default();
    // Each call has a port of its own.
    settings.max_ports = settings.max_ports.max(u32::try_from(2 * workload.room()).unwrap_or(u32::MAX));
    settings
}

/// A server, waiting or running as many calls as the workload has, and its client.
fn service(workload: Workload) -> (EchoServerShared<Echoing, codec::Default>, EchoClient) {
    let room = workload.room();
    let (mut server, mut client) =
        EchoServerShared::<_, codec::Default>::with_request_buffer(Arc::new(Echoing), room);
    server.set_parallelism(room);
    client.set_max_request_size(MESSAGE_SIZE);
    client.set_max_response_size(MESSAGE_SIZE);
    (server, client)
}

async fn connection(stream: TcpStream, workload: Workload, accepted: UnboundedSender<Remoc>) -> Result<()> {
    if let Workload::Both { .. } = workload {
        return Ok(accepted.send(exchange(stream, workload).await?).map_err(|_| "nobody calls back")?);
    }
    let (reader, writer) = stream.into_split();
    let (server, client) = service(workload);
    Connect::io(settings(workload), reader, writer).provide(client).await?;
    server.serve().await.map_err(|error| error.to_string().into())
}

/// Serves the other end, and gets the client of what it serves.
async fn exchange(stream: TcpStream, workload: Workload) -> Result<Remoc> {
    let (reader, writer) = stream.into_split();
    let (connection, mut sender, mut receiver) =
        Connect::io::<_, _, EchoClient, EchoClient, codec::Default>(settings(workload), reader, writer)
            .await?;
    tokio::spawn(connection);
    let (server, client) = service(workload);
    tokio::spawn(server.serve());
    sender.send(client).await.map_err(|error| error.to_string())?;
    Ok(Remoc(receiver.recv().await?.ok_or("the other end serves nothing")?))
}
