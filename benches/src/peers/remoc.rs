//! remoc: remote trait calls over its channel multiplexer.

use std::{net::SocketAddr, sync::Arc};

use remoc::{
    Cfg, Connect, ConnectExt, codec,
    rtc::{self, CallError, ServerShared},
};
use tokio::net::TcpStream;

use crate::{
    Result,
    message::Message,
    peer::{Doorplate, Layer, Peer, dial},
    workload::Workload,
};

/// Room for every call of the widest workload, waiting or running.
const CALLS: usize = 4096;

#[rtc::remote]
pub(crate) trait Echo {
    async fn echo(&self, text: String) -> Result<String, CallError>;
}

struct Echoing;

impl Echo for Echoing {
    async fn echo(&self, text: String) -> Result<String, CallError> {
        Ok(text)
    }
}

/// The client of the trait, as the server sent it.
#[derive(Clone)]
pub(crate) struct Remoc(EchoClient);

impl Peer for Remoc {
    const NAME: &'static str = "remoc";
    const LAYER: Layer = Layer::Calls;

    fn runs(workload: Workload) -> bool {
        super::runs_calls(workload)
    }

    async fn serve(_workload: Workload, doorplate: Doorplate) -> Result<()> {
        doorplate.serve(connection).await
    }

    async fn connect(_workload: Workload, server: SocketAddr) -> Result<Self> {
        let (reader, writer) = dial(server).await?.into_split();
        // Its documentation recommends the defaults; the windows grow by themselves.
        Ok(Self(Connect::io(Cfg::default(), reader, writer).consume().await?))
    }

    async fn echo(&mut self, message: &Message) -> Result<()> {
        message.check(&self.0.echo(message.text().to_owned()).await?)
    }
}

async fn connection(stream: TcpStream) -> Result<()> {
    let (reader, writer) = stream.into_split();
    let (mut server, client) =
        EchoServerShared::<_, codec::Default>::with_request_buffer(Arc::new(Echoing), CALLS);
    server.set_parallelism(CALLS);
    Connect::io(Cfg::default(), reader, writer).provide(client).await?;
    server.serve().await.map_err(|error| error.to_string().into())
}
