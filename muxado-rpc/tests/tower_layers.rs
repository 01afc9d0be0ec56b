//! Stock and hand-written Tower layers, on the calling side, around a peer, around one service.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::{
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use muxado_rpc::{CallError, Channel, Code, NamedService, Peer, Request, Response, Server, Status};
use support::{CODECS, Pair, WorkClient, WorkServer, Worker, assert_alive};
use tower::{
    Layer, Service, ServiceBuilder,
    layer::layer_fn,
    limit::{ConcurrencyLimitLayer, RateLimitLayer},
    load_shed::LoadShedLayer,
    timeout::TimeoutLayer,
};

const SECOND: Duration = Duration::from_secs(1);

fn code<T: std::fmt::Debug>(result: Result<T, CallError>) -> Code {
    result.unwrap_err().code()
}

/// Writes the name of each method down before the call goes on.
#[derive(Clone)]
struct Names<S> {
    inner: S,
    names: Arc<Mutex<Vec<String>>>,
}

/// Makes [`Names`].
#[derive(Clone, Default)]
struct Spy(Arc<Mutex<Vec<String>>>);

impl Spy {
    fn names(&self) -> Vec<String> {
        self.0.lock().unwrap().drain(..).collect()
    }
}

impl<S> Layer<S> for Spy {
    type Service = Names<S>;

    fn layer(&self, inner: S) -> Names<S> {
        Names { inner, names: Arc::clone(&self.0) }
    }
}

impl<S: Service<Request, Response = Response>> Service<Request> for Names<S> {
    type Response = Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> S::Future {
        self.names.lock().unwrap().push(request.method().name().to_owned());
        self.inner.call(request)
    }
}

/// Lets calls through that know the word.
#[derive(Clone)]
struct Word<S>(S);

impl<S> Service<Request> for Word<S>
where
    S: Service<Request, Response = Response, Error = Status> + Send,
    S::Future: Send + 'static,
{
    type Response = Response;
    type Error = Status;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<Response, Status>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        if request.metadata().get("word") == Some("sesame") {
            return Box::pin(self.0.call(request));
        }
        Box::pin(std::future::ready(Err(Status::unauthenticated("say the word"))))
    }
}

/// A pair whose far end has layers around its services.
macro_rules! layered_pair {
    ($builder:expr) => {{
        let (near, far) = tokio::io::duplex(64 * 1024);
        let worker = Worker::default();
        let near = Peer::builder().client(near).unwrap();
        let far = $builder.serve(WorkServer::new(worker.clone())).server(far).unwrap();
        (near, far, worker)
    }};
}

fn client(peer: &Peer, codec: muxado_rpc::Codec) -> WorkClient {
    WorkClient::new(peer.channel()).with_codec(codec)
}

#[tokio::test(start_paused = true)]
async fn a_timeout_layer_works_on_either_side() {
    let (near, _far, worker) = layered_pair!(Peer::builder().layer(TimeoutLayer::new(SECOND)));
    for codec in CODECS {
        assert_eq!(code(client(&near, codec).hang().await), Code::DeadlineExceeded);
        worker.until_hanging(0).await;
        assert_alive(&client(&near, codec)).await;
    }
    let pair = Pair::new();
    for codec in CODECS {
        let service = ServiceBuilder::new().timeout(SECOND).service(pair.near.channel());
        let client = WorkClient::new(service).with_codec(codec);
        assert_eq!(code(client.hang().await), Code::DeadlineExceeded);
        pair.far_worker.until_hanging(0).await;
        assert_eq!(client.sleep(999).await, Ok(()));
    }
}

#[tokio::test(start_paused = true)]
async fn calls_that_wait_for_a_limit_of_the_server_have_their_turns() {
    let (near, _far, _worker) = layered_pair!(Peer::builder().layer(ConcurrencyLimitLayer::new(1)));
    for codec in CODECS {
        let client = client(&near, codec);
        let start = tokio::time::Instant::now();
        let all = async { tokio::join!(client.sleep(1000), client.sleep(1000), client.sleep(1000)) };
        assert_eq!(all.await, (Ok(()), Ok(()), Ok(())));
        assert_eq!(start.elapsed(), 3 * SECOND);
    }
}

#[tokio::test(start_paused = true)]
async fn a_concurrency_limit_works_on_either_side() {
    let (near, _far, worker) = layered_pair!(Peer::builder().layer(ConcurrencyLimitLayer::new(1)));
    for codec in CODECS {
        let hanging = tokio::spawn({
            let client = client(&near, codec);
            async move { client.hang().await }
        });
        worker.until_hanging(1).await;
        let second = client(&near, codec).with_timeout(SECOND);
        assert_eq!(code(second.hanging().await), Code::DeadlineExceeded);
        hanging.abort();
        worker.until_hanging(0).await;
        assert_alive(&client(&near, codec)).await;
    }
    let pair = Pair::new();
    let service = ServiceBuilder::new().concurrency_limit(1).service(pair.near.channel());
    let client = WorkClient::new(service);
    let both = async { tokio::join!(client.sleep(1000), client.sleep(1000)) };
    let start = tokio::time::Instant::now();
    assert_eq!(both.await, (Ok(()), Ok(())));
    assert_eq!(start.elapsed(), 2 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_load_shed_layer_works_on_either_side() {
    let builder = Peer::builder().layer(LoadShedLayer::new()).layer(ConcurrencyLimitLayer::new(1));
    let (near, _far, worker) = layered_pair!(builder);
    for codec in CODECS {
        let hanging = tokio::spawn({
            let client = client(&near, codec);
            async move { client.hang().await }
        });
        worker.until_hanging(1).await;
        assert_eq!(code(client(&near, codec).hanging().await), Code::ResourceExhausted);
        hanging.abort();
        worker.until_hanging(0).await;
        assert_alive(&client(&near, codec)).await;
    }
    let pair = Pair::new();
    let service = ServiceBuilder::new().load_shed().concurrency_limit(1).service(pair.near.channel());
    let client = WorkClient::new(service);
    let (first, second) = tokio::join!(client.sleep(1), client.sleep(1));
    assert_eq!(first, Ok(()));
    let second = second.unwrap_err();
    assert_eq!((second.code(), second.may_have_executed()), (Code::ResourceExhausted, false));
}

#[tokio::test(start_paused = true)]
async fn a_rate_limit_behind_a_buffer_works_on_either_side() {
    let limited = ServiceBuilder::new().buffer(8).layer(RateLimitLayer::new(1, SECOND));
    let pair = Pair::new();
    let client = WorkClient::new(limited.service(pair.near.channel()));
    let start = tokio::time::Instant::now();
    for _ in 0..3 {
        assert_alive_over(&client).await;
    }
    assert_eq!(start.elapsed(), 2 * SECOND);
}

async fn assert_alive_over<C>(client: &WorkClient<C>)
where
    C: Service<Request, Response = Response> + Clone,
    C::Error: Into<muxado_rpc::BoxError>,
{
    assert_eq!(client.echo("alive".to_owned()).await.as_deref(), Ok("alive"));
}

#[tokio::test]
async fn a_layer_reads_the_name_of_the_method_on_either_side() {
    let spy = Spy::default();
    let (near, _far, _) = layered_pair!(Peer::builder().layer(spy.clone()));
    for codec in CODECS {
        assert_alive(&client(&near, codec)).await;
        assert_eq!(client(&near, codec).hanging().await, Ok(0));
    }
    assert_eq!(spy.names(), ["echo", "hanging", "echo", "hanging"]);

    let pair = Pair::new();
    let calling = WorkClient::new(ServiceBuilder::new().layer(spy.clone()).service(pair.near.channel()));
    assert_eq!(calling.divide(1.0, 2.0).await.unwrap(), 0.5);
    assert_eq!(spy.names(), ["divide"]);
}

#[tokio::test]
async fn a_layer_around_one_service_leaves_the_others_alone() {
    #[muxado_rpc::service]
    trait Open {
        async fn hello(&self) -> String;
    }
    struct Door;
    impl Open for Door {
        async fn hello(&self) -> String {
            "hello".to_owned()
        }
    }
    let server = Server::builder()
        .serve(WorkServer::new(Worker::default()).layered(layer_fn(Word)))
        .serve(OpenServer::new(Door))
        .listen("tcp://127.0.0.1:0")
        .await
        .unwrap();
    let peer = Peer::builder().connect(server.local_addr()).await.unwrap();
    assert_eq!(OpenClient::new(peer.channel()).hello().await.as_deref(), Ok("hello"));
    for codec in CODECS {
        let work = client(&peer, codec);
        let status = Status::from(work.hanging().await.unwrap_err());
        assert_eq!(status, Status::unauthenticated("say the word"));
        let sesame = work.with_metadata([("word", "sesame")].into());
        assert_alive(&sesame).await;
    }
}

#[tokio::test]
async fn the_layer_added_first_sees_a_request_first() {
    let spy = Spy::default();
    let (near, _far, _) = layered_pair!(Peer::builder().layer(layer_fn(Word)).layer(spy.clone()));
    assert_eq!(code(client(&near, CODECS[0]).hanging().await), Code::Unauthenticated);
    assert!(spy.names().is_empty());
    let (near, _far, _) = layered_pair!(Peer::builder().layer(spy.clone()).layer(layer_fn(Word)));
    assert_eq!(code(client(&near, CODECS[0]).hanging().await), Code::Unauthenticated);
    assert_eq!(spy.names(), ["hanging"]);
}

#[tokio::test]
async fn a_panic_below_a_layer_is_contained() {
    let (near, _far, _) = layered_pair!(Peer::builder().layer(TimeoutLayer::new(SECOND)));
    for codec in CODECS {
        assert_eq!(code(client(&near, codec).panic().await), Code::Internal);
        assert_alive(&client(&near, codec)).await;
    }
}

#[tokio::test]
async fn clients_over_any_stack_are_send_and_can_be_cloned() {
    fn assert_send_clone<T: Send + Sync + Clone + 'static>(_: &T) {}
    let pair = Pair::new();
    let stack = ServiceBuilder::new().load_shed().timeout(SECOND).service(pair.near.channel());
    let client: WorkClient<_> = WorkClient::new(stack);
    assert_send_clone(&client);
    assert_send_clone::<WorkClient<Channel>>(&pair.client(CODECS[0]));
    tokio::spawn(async move { client.hanging().await }).await.unwrap().unwrap();
}
