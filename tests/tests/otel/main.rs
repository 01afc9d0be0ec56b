//! One trace of several hops, as a collector of OpenTelemetry gets it over OTLP.
#![expect(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use futures_util::stream;
use muxado_rpc::{Context, Peer, Request, Response, Status, Stream, layers::TraceLayer};
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{SpanExporter, WithExportConfig};
use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    common::v1::any_value::Value,
    trace::v1::{Span, span::SpanKind, status::StatusCode},
};
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use tokio::{io::duplex, net::TcpListener};
use tonic::transport::server::TcpIncoming;
use tower::{Service, ServiceBuilder};
use tracing::Instrument;
use tracing_subscriber::layer::SubscriberExt;

/// Takes orders.
#[muxado_rpc::service]
trait Front {
    async fn order(&self, item: String) -> Result<u32, Status>;
}

/// Knows prices.
#[muxado_rpc::service]
trait Middle {
    async fn price(&self, item: String) -> Result<u32, Status>;
}

/// Knows what there is.
#[muxado_rpc::service]
trait Store {
    async fn stock(&self, item: String) -> Result<u32, Status>;
    async fn follow(&self, to: u32) -> impl Stream<Item = u32>;
}

struct Desk<C>(MiddleClient<C>);
struct Office<C>(StoreClient<C>);
struct Shelf;

impl<C: Channel> Front for Desk<C> {
    async fn order(&self, item: String) -> Result<u32, Status> {
        let price = async { self.0.price(item).await.map_err(Status::from) };
        price.instrument(tracing::info_span!("reckon")).await
    }
}

impl<C: Channel> Middle for Office<C> {
    async fn price(&self, item: String) -> Result<u32, Status> {
        let mut sum = self.0.stock(item).await?;
        let mut days = self.0.follow(2).await?;
        while let Some(day) = days.try_next().await? {
            sum += day;
        }
        Ok(sum)
    }
}

impl Store for Shelf {
    async fn stock(&self, item: String) -> Result<u32, Status> {
        if item == "moon" { Err(Status::not_found("there is one, and it is not ours")) } else { Ok(40) }
    }

    async fn follow(&self, to: u32) -> impl Stream<Item = u32> {
        stream::iter(0..to)
    }
}

/// A channel inside a layer.
trait Channel:
    Service<Request, Response = Response, Error = Status, Future: Send> + Clone + Send + Sync + 'static
{
}

impl<C> Channel for C where
    C: Service<Request, Response = Response, Error = Status, Future: Send> + Clone + Send + Sync + 'static
{
}

/// Serves over a connection in memory. Returns a channel to it, and what keeps it open.
macro_rules! serve {
    ($service:expr) => {{
        let (near, far) = duplex(64 * 1024);
        let serving = Peer::builder().layer(TraceLayer::server()).serve($service).server(far).unwrap();
        let calling = Peer::builder().client(near).unwrap();
        let channel = ServiceBuilder::new().layer(TraceLayer::client()).service(calling.channel());
        (channel, (serving, calling))
    }};
}

/// Keeps the spans that it gets.
#[derive(Clone, Default)]
struct Collector {
    spans: Arc<Mutex<Vec<Span>>>,
}

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, tonic::Status> {
        let resources = request.into_inner().resource_spans.into_iter();
        let spans = resources.flat_map(|resource| resource.scope_spans).flat_map(|scope| scope.spans);
        self.spans.lock().unwrap().extend(spans);
        Ok(tonic::Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    /// Listens. Returns a provider that exports to it.
    async fn start(&self, sampler: Sampler) -> SdkTracerProvider {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tonic::transport::Server::builder().add_service(TraceServiceServer::new(self.clone()));
        tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
        let exporter = SpanExporter::builder().with_tonic().with_endpoint(format!("http://{address}"));
        SdkTracerProvider::builder()
            .with_batch_exporter(exporter.build().unwrap())
            .with_sampler(sampler)
            .build()
    }

    /// Returns all spans that were recorded.
    async fn collect(&self, provider: SdkTracerProvider) -> Vec<Span> {
        tokio::task::spawn_blocking(move || provider.shutdown()).await.unwrap().unwrap();
        std::mem::take(&mut *self.spans.lock().unwrap())
    }
}

/// Writes spans as a tree, children in the order in which they began.
fn tree(spans: &[Span], parent: &[u8], depth: usize, text: &mut String) {
    let mut children: Vec<_> = spans.iter().filter(|span| span.parent_span_id == parent).collect();
    children.sort_by_key(|span| span.start_time_unix_nano);
    for span in children {
        let kind = match span.kind() {
            SpanKind::Client => "client",
            SpanKind::Server => "server",
            _ => "internal",
        };
        text.push_str(&format!("{:width$}{kind} {}\n", "", span.name, width = 2 * depth));
        tree(spans, &span.span_id, depth + 1, text);
    }
}

fn attributes(span: &Span) -> BTreeMap<String, String> {
    let text = |value: &Value| match value {
        Value::StringValue(text) => text.clone(),
        other => format!("{other:?}"),
    };
    let value = |value: &Option<_>| -> Option<String> {
        let value: &opentelemetry_proto::tonic::common::v1::AnyValue = value.as_ref()?;
        value.value.as_ref().map(text)
    };
    span.attributes.iter().filter_map(|pair| Some((pair.key.clone(), value(&pair.value)?))).collect()
}

fn find<'a>(spans: &'a [Span], kind: SpanKind, name: &str) -> &'a Span {
    spans.iter().find(|span| span.kind() == kind && span.name == name).unwrap_or_else(|| panic!("no {name}"))
}

/// Makes one order through three servers.
async fn order(item: &str) -> Result<u32, Status> {
    let (store, _store) = serve!(StoreServer::new(Shelf));
    let (middle, _middle) = serve!(MiddleServer::new(Office(StoreClient::new(store))));
    let (front, _front) = serve!(FrontServer::new(Desk(MiddleClient::new(middle))));
    let order = async { FrontClient::new(front).order(item.to_owned()).await.map_err(Status::from) };
    order.instrument(tracing::info_span!("checkout")).await
}

/// Sets a subscriber for the thread of the test, on which all its tasks run.
fn subscribe(provider: &SdkTracerProvider) -> tracing::subscriber::DefaultGuard {
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
    tracing::subscriber::set_default(tracing_subscriber::registry().with(filter()).with(layer))
}

/// Lets the spans of this test and of the calls through, not those of the exporter.
fn filter() -> tracing_subscriber::filter::Targets {
    let info = tracing::Level::INFO;
    tracing_subscriber::filter::Targets::new().with_target("otel", info).with_target("muxado_rpc", info)
}

#[tokio::test]
async fn three_hops_are_one_tree() {
    let collector = Collector::default();
    let provider = collector.start(Sampler::AlwaysOn).await;
    let guard = subscribe(&provider);
    assert_eq!(order("lamp").await, Ok(41));
    drop(guard);
    let spans = collector.collect(provider).await;

    let mut text = String::new();
    tree(&spans, &[], 0, &mut text);
    let expected = "internal checkout\n\
        \x20 client Front/order\n\
        \x20   server Front/order\n\
        \x20     internal reckon\n\
        \x20       client Middle/price\n\
        \x20         server Middle/price\n\
        \x20           client Store/stock\n\
        \x20             server Store/stock\n\
        \x20           client Store/follow\n\
        \x20             server Store/follow\n";
    assert_eq!(text, expected);
    assert!(spans.iter().all(|span| span.trace_id == spans[0].trace_id));
    for span in spans.iter().filter(|span| matches!(span.kind(), SpanKind::Client | SpanKind::Server)) {
        let attributes = attributes(span);
        let attribute = |name: &str| attributes.get(name).map(String::as_str);
        assert_eq!(attribute("rpc.system.name"), Some("muxado"));
        assert_eq!(attribute("rpc.method"), Some(&*span.name));
        assert_eq!(attribute("rpc.response.status_code"), Some("ok"));
        assert_eq!(attribute("error.type"), None);
        assert!(span.status.as_ref().is_none_or(|status| status.code() == StatusCode::Unset));
        assert!(span.end_time_unix_nano >= span.start_time_unix_nano);
        // What logs show is what the collector has.
        assert_eq!(attribute("span_id"), Some(&*hex(&span.span_id)));
        assert_eq!(attribute("trace_id"), Some(&*hex(&span.trace_id)));
        assert_eq!(attribute("parent_id"), Some(&*hex(&span.parent_span_id)));
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn a_failure_is_an_error_of_those_who_are_to_blame() {
    let collector = Collector::default();
    let provider = collector.start(Sampler::AlwaysOn).await;
    let guard = subscribe(&provider);
    assert!(order("moon").await.is_err());
    drop(guard);
    let spans = collector.collect(provider).await;
    for (kind, status) in [(SpanKind::Client, StatusCode::Error), (SpanKind::Server, StatusCode::Unset)] {
        let span = find(&spans, kind, "Store/stock");
        assert_eq!(attributes(span)["rpc.response.status_code"], "not_found");
        assert_eq!(attributes(span)["error.type"], "not_found");
        assert_eq!(span.status.clone().unwrap_or_default().code(), status, "{kind:?}");
    }
}

#[tokio::test]
async fn a_trace_that_is_not_sampled_goes_on_unsampled() {
    let collector = Collector::default();
    let provider = collector.start(Sampler::ParentBased(Box::new(Sampler::AlwaysOff))).await;
    let guard = subscribe(&provider);
    assert_eq!(order("lamp").await, Ok(41));
    drop(guard);
    assert_eq!(collector.collect(provider).await, []);
}

#[muxado_rpc::service]
trait Mirror {
    async fn context(&self, cx: &Context) -> Option<String>;
}

struct Glass;

impl Mirror for Glass {
    async fn context(&self, cx: &Context) -> Option<String> {
        let metadata = cx.metadata();
        Some(format!("{} {}", metadata.get("traceparent")?, metadata.get("tracestate")?))
    }
}

#[tokio::test]
async fn metadata_that_name_a_parent_are_followed_with_their_state() {
    let collector = Collector::default();
    let provider = collector.start(Sampler::ParentBased(Box::new(Sampler::AlwaysOff))).await;
    let guard = subscribe(&provider);
    let (channel, _peers) = serve!(MirrorServer::new(Glass));
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let mirror =
        MirrorClient::new(channel).with_metadata([("traceparent", parent), ("tracestate", "a=1")].into());
    // The span that is current here is another's.
    let outer = tracing::info_span!("outer");
    let sent = async { mirror.context().await }.instrument(outer).await.unwrap().unwrap();
    drop(guard);
    let spans = collector.collect(provider).await;
    let client = find(&spans, SpanKind::Client, "Mirror/context");
    let server = find(&spans, SpanKind::Server, "Mirror/context");
    assert_eq!(hex(&client.parent_span_id), "b7ad6b7169203331");
    assert_eq!(server.parent_span_id, client.span_id);
    assert_eq!(sent, format!("00-0af7651916cd43dd8448eb211c80319c-{}-01 a=1", hex(&client.span_id)));
    assert_eq!(client.trace_state, "a=1");
}

#[tokio::test]
async fn without_a_subscriber_no_trace_begins_and_others_are_passed_on() {
    // One that records nothing, whatever the other tests of the process do.
    let _guard = tracing::subscriber::set_default(tracing::subscriber::NoSubscriber::new());
    let (channel, _peers) = serve!(MirrorServer::new(Glass));
    let mirror = MirrorClient::new(channel);
    assert_eq!(mirror.context().await.unwrap(), None);
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let mirror = mirror.with_metadata([("traceparent", parent), ("tracestate", "a=1")].into());
    let sent = mirror.context().await.unwrap().unwrap();
    assert!(sent.starts_with("00-0af7651916cd43dd8448eb211c80319c-") && sent.ends_with("-01 a=1"), "{sent}");
}

#[tokio::test]
async fn without_a_layer_of_opentelemetry_traces_travel_as_ever() {
    let subscriber = tracing_subscriber::registry().with(filter());
    let _guard = tracing::subscriber::set_default(subscriber);
    let (channel, _peers) = serve!(MirrorServer::new(Glass));
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
    let mirror =
        MirrorClient::new(channel).with_metadata([("traceparent", parent), ("tracestate", "a=1")].into());
    let sent = mirror.context().await.unwrap().unwrap();
    assert!(sent.starts_with("00-0af7651916cd43dd8448eb211c80319c-") && sent.ends_with("-00 a=1"), "{sent}");
    assert!(!sent.contains("b7ad6b7169203331"));
}
