//! connectrpc: the Connect protocol over HTTP/2.
//!
//! The files in `connectrpc/` are generated from `connectrpc/bench.proto` and kept, so that a build needs no `protoc`.
//! After a change, a program that has `protox` 0.10, `prost` 0.14 and `connectrpc-build` 0.9:
//!
//! ```text
//! let set = protox::compile(["bench.proto"], ["."])?;
//! fs::write("set.bin", set.encode_to_vec())?;
//! connectrpc_build::Config::new()
//!     .files(&["bench.proto"])
//!     .descriptor_set("set.bin")
//!     .out_dir(".")
//!     .generate_json(false)
//!     .emit_rerun_directives(false)
//!     .include_file("generated.rs")
//!     .compile()?;
//! ```

#[rustfmt::skip]
#[expect(warnings, reason = "generated")]
mod generated;

use std::{iter, net::SocketAddr};

use connectrpc::{
    ConnectError, ConnectRpcService, DeadlinePolicy, InboundStream, Limits, RequestContext, Response, Server,
    ServiceRequest, ServiceResult, ServiceStream, StreamMessage,
    client::{ClientConfig, Http2Connection, SharedHttp2Connection},
};
use futures_util::{StreamExt, stream};

use self::generated::bench::{Ask, Echo, EchoClient, EchoServer, Text};
use crate::{
    Result,
    hop::Hop,
    message::{Copies, Message},
    peer::{Doorplate, Layer, Peer},
    source, waiting,
    workload::{WIDE, Workload},
};

/// Bytes of a frame of the client's. The server has no such setting.
const FRAME: u32 = 64 * 1024;

/// Largest message; the default is 4 MiB.
const MESSAGE_SIZE: usize = 64 * 1024 * 1024;

struct Echoing(Hop);

fn text(text: impl Into<String>) -> Text {
    Text { text: text.into(), ..Text::default() }
}

fn items(items: impl stream::Stream<Item = Text> + Send + 'static) -> ServiceResult<ServiceStream<Text>> {
    Ok(Response::stream(items.map(Ok)))
}

#[expect(
    refining_impl_trait,
    reason = "handlers are written so, and what they give back is generated as `impl Encodable`"
)]
impl Echo for Echoing {
    async fn echo(&self, _: RequestContext, request: ServiceRequest<'_, Text>) -> ServiceResult<Text> {
        Response::ok(text(request.text))
    }

    async fn never(&self, _: RequestContext, request: ServiceRequest<'_, Text>) -> ServiceResult<Text> {
        let slot = request.text.parse().map_err(|_| ConnectError::invalid_argument("slot"))?;
        waiting::forever::<ServiceResult<Text>>(slot).await
    }

    async fn hop(&self, _: RequestContext, request: ServiceRequest<'_, Text>) -> ServiceResult<Text> {
        Response::ok(text(self.0.ask(request.text.to_owned()).await))
    }

    async fn sleep(&self, _: RequestContext, request: ServiceRequest<'_, Text>) -> ServiceResult<Text> {
        Response::ok(text(self.0.nap(request.text.to_owned()).await))
    }

    async fn items(
        &self,
        _: RequestContext,
        request: ServiceRequest<'_, Ask>,
    ) -> ServiceResult<ServiceStream<Text>> {
        items(stream::iter(iter::repeat_n(text(request.text), request.count as usize)))
    }

    async fn items_channel(
        &self,
        _: RequestContext,
        request: ServiceRequest<'_, Ask>,
    ) -> ServiceResult<ServiceStream<Text>> {
        items(source::channel(text(request.text), request.count))
    }

    async fn bidi_items(
        &self,
        _: RequestContext,
        requests: InboundStream<Text>,
    ) -> ServiceResult<ServiceStream<StreamMessage<Text>>> {
        Ok(Response::stream(requests))
    }
}

/// A connection.
#[derive(Clone)]
pub(crate) struct Connectrpc(EchoClient<SharedHttp2Connection>);

impl Peer for Connectrpc {
    const NAME: &'static str = "connectrpc";
    const PACKAGE: &'static str = "connectrpc";
    const LAYER: Layer = Layer::Calls;

    fn runs(workload: Workload) -> bool {
        super::runs_calls(workload)
            || super::runs_items_of_streams(workload)
            || super::runs_waiting_calls(workload)
            || super::runs_calls_in_time(workload)
    }

    async fn serve(workload: Workload, doorplate: Doorplate<Self>) -> Result<()> {
        let limits =
            Limits::default().with_max_request_body_size(MESSAGE_SIZE).with_max_message_size(MESSAGE_SIZE);
        let mut service =
            ConnectRpcService::new(EchoServer::new(Echoing(Hop::start(workload)))).with_limits(limits);
        if let Some(limit) = workload.time_limit() {
            service = service.with_deadline_policy(DeadlinePolicy::new().with_default_timeout(limit));
        }
        // It sets `TCP_NODELAY` by itself.
        Server::from_listener(doorplate.listen().await?)
            .with_http2_initial_stream_window_size(WIDE)
            .with_http2_initial_connection_window_size(WIDE)
            .with_max_concurrent_streams(u32::try_from(workload.room())?)
            .serve_with_service(service)
            .await
    }

    async fn connect(workload: Workload, server: SocketAddr) -> Result<Self> {
        let uri: http::Uri = format!("http://{server}").parse()?;
        let connection = Http2Connection::builder()
            .initial_stream_window_size(WIDE)
            .initial_connection_window_size(WIDE)
            .h2_settings(|settings| {
                settings.max_frame_size(FRAME);
            })
            .connect_plaintext(uri.clone())
            .await?;
        let mut config = ClientConfig::new(uri).with_default_max_message_size(MESSAGE_SIZE);
        if let Some(limit) = workload.time_limit() {
            config = config.with_default_timeout(limit);
        }
        Ok(Self(EchoClient::new(connection.shared(workload.room()), config)))
    }

    async fn echo(&mut self, message: &Message) -> Result<()> {
        message.check(self.0.echo(text(message.text())).await?.view().text)
    }

    async fn hop(&mut self, message: &Message) -> Result<()> {
        message.check(self.0.hop(text(message.text())).await?.view().text)
    }

    async fn sleep(&mut self, message: &Message) -> Result<()> {
        message.check(self.0.sleep(text(message.text())).await?.view().text)
    }

    async fn items(&mut self, message: &Message, count: u32) -> Result<()> {
        let mut items = self.0.items(ask(message, count)).await?;
        let mut copies = message.copies(count);
        while let Some(item) = items.message().await? {
            take(&mut copies, &item)?;
        }
        copies.end()
    }

    async fn items_channel(&mut self, message: &Message, count: u32) -> Result<()> {
        let mut items = self.0.items_channel(ask(message, count)).await?;
        let mut copies = message.copies(count);
        while let Some(item) = items.message().await? {
            take(&mut copies, &item)?;
        }
        copies.end()
    }

    async fn bidi_items(&mut self, message: &Message, count: u32) -> Result<()> {
        let (mut sender, mut items) = self.0.bidi_items().await?.into_split();
        let sent = async move {
            for _ in 0..count {
                sender.send(text(message.text())).await?;
            }
            Ok::<_, ConnectError>(())
        };
        let received = async {
            let mut copies = message.copies(count);
            while let Some(item) = items.message().await? {
                take(&mut copies, &item)?;
            }
            copies.end()
        };
        let (sent, received) = futures_util::join!(sent, received);
        sent?;
        received
    }

    async fn never(&mut self, slot: u32) -> Result<()> {
        self.0.never(text(slot.to_string())).await?;
        Ok(())
    }
}

fn ask(message: &Message, count: u32) -> Ask {
    Ask { text: message.text().to_owned(), count, ..Ask::default() }
}

fn take(copies: &mut Copies<'_>, item: &StreamMessage<Text>) -> Result<()> {
    copies.take(item.view().text)
}
