//! jsonrpsee: JSON-RPC over a WebSocket.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use jsonrpsee_core::{
    SubscriptionResult,
    client::{ClientT, SubscriptionClientT},
    rpc_params,
    server::RpcModule,
    to_json_raw_value,
};
use jsonrpsee_server::{ServerBuilder, ServerConfig, types::ErrorObjectOwned};
use jsonrpsee_ws_client::{WsClient, WsClientBuilder};

use crate::{
    Result,
    message::Message,
    peer::{Doorplate, Layer, Peer},
    waiting,
    workload::Workload,
};

/// Largest message; the default is 10 MiB.
const MESSAGE_SIZE: u32 = 64 * 1024 * 1024;

/// The limit of a call's time; the default is 60 s.
const LONG: Duration = Duration::from_secs(3600);

/// A client.
#[derive(Clone)]
pub(crate) struct Jsonrpsee(Arc<WsClient>);

impl Peer for Jsonrpsee {
    const NAME: &'static str = "jsonrpsee";
    const PACKAGE: &'static str = "jsonrpsee-server";
    const LAYER: Layer = Layer::Calls;

    fn runs(workload: Workload) -> bool {
        super::runs_any_calls(workload)
            || super::runs_json_calls(workload)
            || workload == Workload::Items
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
        module.register_async_method("never", |params, _, _| async move {
            waiting::forever::<Result<bool, ErrorObjectOwned>>(params.one()?).await
        })?;
        module.register_subscription("items", "item", "no_items", |params, pending, _, _| async move {
            let (text, count): (String, u32) = params.parse()?;
            let sink = pending.accept().await?;
            for _ in 0..count {
                sink.send(to_json_raw_value(&text)?).await?;
            }
            SubscriptionResult::Ok(())
        })?;
        server.start(module).stopped().await;
        Ok(())
    }

    async fn connect(workload: Workload, server: SocketAddr) -> Result<Self> {
        let builder = WsClientBuilder::default()
            .set_tcp_no_delay(true)
            // Of a subscription that is read too slowly, the rest is dropped.
            .max_buffer_capacity_per_subscription(workload.room())
            .max_concurrent_requests(workload.room())
            .request_timeout(LONG)
            .max_request_size(MESSAGE_SIZE)
            .max_response_size(MESSAGE_SIZE);
        Ok(Self(Arc::new(builder.build(format!("ws://{server}")).await?)))
    }

    async fn echo(&mut self, message: &Message) -> Result<()> {
        let answer: String = self.0.request("echo", rpc_params![message.text()]).await?;
        message.check(&answer)
    }

    async fn items(&mut self, message: &Message, count: u32) -> Result<()> {
        let mut copies = message.copies(count);
        let params = rpc_params![message.text(), count];
        let mut items = self.0.subscribe::<String, _>("items", params, "no_items").await?;
        for _ in 0..count {
            copies.take(&items.next().await.ok_or("the subscription has ended")??)?;
        }
        items.unsubscribe().await?;
        copies.end()
    }

    async fn never(&mut self, slot: u32) -> Result<()> {
        self.0.request::<bool, _>("never", rpc_params![slot]).await?;
        Ok(())
    }
}
