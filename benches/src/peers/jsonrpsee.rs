//! jsonrpsee: JSON-RPC over a WebSocket.

use std::{net::SocketAddr, sync::Arc};

use jsonrpsee_core::{client::ClientT, rpc_params};
use jsonrpsee_server::{RpcModule, ServerBuilder, ServerConfig};
use jsonrpsee_ws_client::{WsClient, WsClientBuilder};

use crate::{
    Result,
    message::Message,
    peer::{Doorplate, Layer, Peer},
    workload::Workload,
};

/// Largest message; the default is 10 MiB.
const MESSAGE_SIZE: u32 = 64 * 1024 * 1024;

/// A client.
#[derive(Clone)]
pub(crate) struct Jsonrpsee(Arc<WsClient>);

impl Peer for Jsonrpsee {
    const NAME: &'static str = "jsonrpsee";
    const LAYER: Layer = Layer::Calls;

    fn runs(workload: Workload) -> bool {
        super::runs_any_calls(workload)
            || super::runs_json_calls(workload)
            || matches!(workload, Workload::Unary { size, .. } if size != 32)
    }

    async fn serve(workload: Workload, doorplate: Doorplate<Self>) -> Result<()> {
        let room = u32::try_from(workload.room())?;
        let config = ServerConfig::builder()
            .ws_only()
            .set_tcp_no_delay(true)
            .max_connections(room)
            .set_message_buffer_capacity(room)
            .max_request_body_size(MESSAGE_SIZE)
            .max_response_body_size(MESSAGE_SIZE);
        let listener = doorplate.listen().await?.into_std()?;
        let server = ServerBuilder::default().set_config(config.build()).build_from_tcp(listener)?;
        let mut module = RpcModule::new(());
        module.register_method("echo", |params, (), _| params.one::<String>())?;
        server.start(module).stopped().await;
        Ok(())
    }

    async fn connect(workload: Workload, server: SocketAddr) -> Result<Self> {
        let builder = WsClientBuilder::default()
            .set_tcp_no_delay(true)
            .max_concurrent_requests(workload.room())
            .max_request_size(MESSAGE_SIZE)
            .max_response_size(MESSAGE_SIZE);
        Ok(Self(Arc::new(builder.build(format!("ws://{server}")).await?)))
    }

    async fn echo(&mut self, message: &Message) -> Result<()> {
        let answer: String = self.0.request("echo", rpc_params![message.text()]).await?;
        message.check(&answer)
    }
}
