//! Ours: calls.

use std::{future, net::SocketAddr};

use muxado_rpc::{Codec, Peer as Connection, Server};

use crate::{
    Result,
    message::Message,
    peer::{Doorplate, Layer, Peer},
    workload::Workload,
};

#[muxado_rpc::service]
pub(crate) trait Echo {
    async fn echo(&self, text: String) -> String;
    async fn never(&self) -> bool;
}

struct Echoing;

impl Echo for Echoing {
    async fn echo(&self, text: String) -> String {
        text
    }

    async fn never(&self) -> bool {
        future::pending().await
    }
}

/// A connection with its defaults. Only the client chooses a codec.
#[derive(Clone)]
pub(crate) struct MuxadoRpc(EchoClient);

impl Peer for MuxadoRpc {
    const NAME: &'static str = "muxado-rpc";
    const LAYER: Layer = Layer::Calls;

    fn runs(workload: Workload) -> bool {
        super::runs_calls(workload)
            || super::runs_json_calls(workload)
            || matches!(workload, Workload::Cancel)
    }

    async fn serve(_workload: Workload, doorplate: Doorplate) -> Result<()> {
        let server = Server::builder().serve(EchoServer::new(Echoing)).listen("tcp://127.0.0.1:0").await?;
        let address = server.local_addr().trim_start_matches("tcp://");
        doorplate.hang(address.parse()?);
        server.wait().await;
        Ok(())
    }

    async fn connect(workload: Workload, server: SocketAddr) -> Result<Self> {
        let connection = Connection::builder().connect(&format!("tcp://{server}")).await?;
        let codec = match workload {
            Workload::UnaryJson { .. } => Codec::Json,
            _ => Codec::MessagePack,
        };
        Ok(Self(EchoClient::new(connection.channel()).with_codec(codec)))
    }

    async fn echo(&mut self, message: &Message) -> Result<()> {
        message.check(&self.0.echo(message.text().to_owned()).await?)
    }

    async fn never(&mut self) -> Result<()> {
        self.0.never().await?;
        Ok(())
    }
}
