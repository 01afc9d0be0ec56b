//! tonic: gRPC over HTTP/2. What its build script would generate is written out, so that no
//! protobuf compiler is needed; the messages are prost's.

mod items;

use std::{
    convert::Infallible,
    future::Future,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use http::uri::PathAndQuery;
use tonic::{
    Request, Response, Status,
    body::Body,
    client, server,
    transport::{
        Certificate, Channel, ClientTlsConfig, Endpoint, Identity, Server, ServerTlsConfig,
        server::TcpIncoming,
    },
};
use tonic_prost::ProstCodec;
use tower_service::Service;

use self::items::Source;
use crate::{
    Result,
    hop::Hop,
    identity::{HOST, identity},
    message::Message,
    peer::{Doorplate, Layer, Peer},
    waiting,
    workload::Workload,
};

const ECHO: &str = "/bench.Echo/Echo";
const HOP: &str = "/bench.Echo/Hop";
const SLEEP: &str = "/bench.Echo/Sleep";
const ITEMS: &str = "/bench.Echo/Items";
const ITEMS_CHANNEL: &str = "/bench.Echo/ItemsChannel";
const BIDI_ITEMS: &str = "/bench.Echo/BidiItems";
const NEVER: &str = "/bench.Echo/Never";

/// Wide enough that nothing waits for credit.
const WINDOW: u32 = 16 * 1024 * 1024;

/// Bytes of a frame; the default of 16 KiB costs a third more time in calls of 64 KiB.
const FRAME: u32 = 64 * 1024;

/// Largest message; the default for those received is 4 MiB.
const MESSAGE_SIZE: usize = 64 * 1024 * 1024;

type BoxFuture<T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send>>;

/// `message Text { string text = 1; }`
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Text {
    #[prost(string, tag = "1")]
    text: String,
}

/// `service Echo { rpc Echo(Text) returns (Text); rpc Never(Text) returns (Text);
/// rpc Hop(Text) returns (Text); rpc Sleep(Text) returns (Text);
/// rpc Items(Ask) returns (stream Text);
/// rpc ItemsChannel(Ask) returns (stream Text); rpc BidiItems(stream Text) returns (stream Text); }`
#[derive(Clone)]
struct EchoServer(Hop);

impl Service<http::Request<Body>> for EchoServer {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let method = match request.uri().path() {
            ECHO => Method::Echo,
            NEVER => Method::Never,
            HOP => Method::Hop(self.0.clone()),
            SLEEP => Method::Sleep(self.0.clone()),
            ITEMS => return items::items(request, Source::Ready),
            ITEMS_CHANNEL => return items::items(request, Source::Channel),
            BIDI_ITEMS => return items::bidi_items(request),
            _ => return Box::pin(async { Ok(Status::unimplemented("no such method").into_http()) }),
        };
        Box::pin(async move {
            let mut grpc = server::Grpc::new(ProstCodec::<Text, Text>::default())
                .max_decoding_message_size(MESSAGE_SIZE);
            Ok(grpc.unary(method, request).await)
        })
    }
}

enum Method {
    Echo,
    Never,
    Hop(Hop),
    Sleep(Hop),
}

impl Service<Request<Text>> for Method {
    type Response = Response<Text>;
    type Error = Status;
    type Future = BoxFuture<Self::Response, Status>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Text>) -> Self::Future {
        match self {
            Self::Echo => Box::pin(async move { Ok(Response::new(request.into_inner())) }),
            Self::Hop(hop) => {
                let hop = hop.clone();
                Box::pin(
                    async move { Ok(Response::new(Text { text: hop.ask(request.into_inner().text).await })) },
                )
            }
            Self::Sleep(hop) => {
                let hop = hop.clone();
                Box::pin(
                    async move { Ok(Response::new(Text { text: hop.nap(request.into_inner().text).await })) },
                )
            }
            Self::Never => Box::pin(async move {
                let slot = request.get_ref().text.parse().map_err(|_| Status::invalid_argument("slot"))?;
                waiting::forever(slot).await
            }),
        }
    }
}

/// A channel, which is one connection, and the time limit of calls.
#[derive(Clone)]
pub(crate) struct Tonic(client::Grpc<Channel>, Option<Duration>);

impl Tonic {
    async fn call(&mut self, path: &'static str, text: String) -> Result<String> {
        let mut request = Request::new(Text { text });
        if let Some(limit) = self.1 {
            request.set_timeout(limit);
        }
        self.0.ready().await?;
        let path = PathAndQuery::from_static(path);
        let answer = self.0.unary(request, path, ProstCodec::<Text, Text>::default()).await?;
        Ok(answer.into_inner().text)
    }
}

impl Peer for Tonic {
    const NAME: &'static str = "tonic";
    const PACKAGE: &'static str = "tonic";
    const LAYER: Layer = Layer::Calls;

    fn runs(workload: Workload) -> bool {
        super::runs_calls(workload)
            || super::runs_items_of_streams(workload)
            || super::runs_waiting_calls(workload)
            || super::runs_calls_over_tls(workload)
            || super::runs_calls_in_time(workload)
    }

    async fn serve(workload: Workload, doorplate: Doorplate<Self>) -> Result<()> {
        let incoming = TcpIncoming::from(doorplate.listen().await?).with_nodelay(Some(true));
        let mut server = Server::builder();
        if workload.has_tls() {
            let identity = identity()?;
            let identity = Identity::from_pem(identity.certificate_pem(), identity.key_pem());
            server = server.tls_config(ServerTlsConfig::new().identity(identity))?;
        }
        let server = server
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOW)
            .max_frame_size(FRAME)
            // Otherwise a client that cancels often is taken for an attacker.
            .http2_max_pending_accept_reset_streams(Some(workload.room()));
        Ok({ server }.serve_with_incoming(EchoServer(Hop::start(workload)), incoming).await?)
    }

    async fn connect(workload: Workload, server: SocketAddr) -> Result<Self> {
        let mut endpoint = Endpoint::from_shared(format!("http://{server}"))?;
        if workload.has_tls() {
            let roots = Certificate::from_pem(identity()?.certificate_pem());
            let tls = ClientTlsConfig::new().ca_certificate(roots).domain_name(HOST);
            endpoint = Endpoint::from_shared(format!("https://{server}"))?.tls_config(tls)?;
        }
        let endpoint = endpoint
            .tcp_nodelay(true)
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOW)
            .max_frame_size(FRAME);
        let channel = endpoint.connect().await?;
        let grpc = client::Grpc::new(channel).max_decoding_message_size(MESSAGE_SIZE);
        Ok(Self(grpc, workload.time_limit()))
    }

    async fn echo(&mut self, message: &Message) -> Result<()> {
        message.check(&self.call(ECHO, message.text().to_owned()).await?)
    }

    async fn hop(&mut self, message: &Message) -> Result<()> {
        message.check(&self.call(HOP, message.text().to_owned()).await?)
    }

    async fn sleep(&mut self, message: &Message) -> Result<()> {
        message.check(&self.call(SLEEP, message.text().to_owned()).await?)
    }

    async fn items(&mut self, message: &Message, count: u32) -> Result<()> {
        items::ask(&mut self.0, ITEMS, message, count).await
    }

    async fn items_channel(&mut self, message: &Message, count: u32) -> Result<()> {
        items::ask(&mut self.0, ITEMS_CHANNEL, message, count).await
    }

    async fn bidi_items(&mut self, message: &Message, count: u32) -> Result<()> {
        items::exchange(&mut self.0, message, count).await
    }

    async fn never(&mut self, slot: u32) -> Result<()> {
        self.call(NEVER, slot.to_string()).await?;
        Ok(())
    }
}
