//! Layers that limit calls to the end of their streams: how many are under way, and for how long.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::{FutureExt, StreamExt, stream};
use muxado_rpc::{
    BoxError, CallError, Code, Context, Peer, PeerBuilder, Request, Response, Stream, Streaming,
    layers::{ConcurrencyLimitLayer, TimeoutLayer},
};
use tokio::{io::duplex, time::Instant};
use tower::{Layer, Service, ServiceBuilder, limit::GlobalConcurrencyLimitLayer};

const MILLI: Duration = Duration::from_millis(1);
const LIMIT: Duration = Duration::from_millis(200);
const SECOND: Duration = Duration::from_secs(1);

#[muxado_rpc::service]
trait Shapes {
    /// Takes so long.
    async fn unary(&self, ms: u64) -> u32;
    /// An item each 50 ms, so many; without end for 0.
    async fn download(&self, count: usize) -> impl Stream<Item = usize>;
    /// Reads to the end.
    async fn upload(&self, items: Streaming<usize>) -> usize;
    /// Sends back what it reads.
    async fn both(&self, items: Streaming<usize>) -> impl Stream<Item = usize>;
    /// Milliseconds left of the time limit.
    async fn time_left(&self, cx: &Context) -> Option<u64>;
    #[method(no_cancel)]
    async fn must_finish(&self);
    /// Calls `unary` of the caller, which needs room of the same layer.
    async fn around(&self, cx: &Context) -> Result<u32, muxado_rpc::Status>;
}

/// Counts the calls under way, and the most that ever were.
#[derive(Clone, Default)]
struct Worker {
    now: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
    finished: Arc<AtomicUsize>,
}

struct Counted(Worker);

impl Worker {
    fn count(&self) -> Counted {
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        Counted(self.clone())
    }

    fn now(&self) -> usize {
        self.now.load(Ordering::SeqCst)
    }

    fn most(&self) -> usize {
        self.most.load(Ordering::SeqCst)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Shapes for Worker {
    async fn unary(&self, ms: u64) -> u32 {
        let _counted = self.count();
        tokio::time::sleep(ms as u32 * MILLI).await;
        7
    }

    async fn download(&self, count: usize) -> impl Stream<Item = usize> {
        let counted = self.count();
        let end = if count == 0 { usize::MAX } else { count };
        stream::iter(0..end).then(move |item| {
            let _ = &counted;
            async move {
                tokio::time::sleep(50 * MILLI).await;
                item
            }
        })
    }

    async fn upload(&self, items: Streaming<usize>) -> usize {
        let _counted = self.count();
        items.count().await
    }

    async fn both(&self, items: Streaming<usize>) -> impl Stream<Item = usize> {
        let counted = self.count();
        items.filter_map(move |item| {
            let _ = &counted;
            std::future::ready(item.ok())
        })
    }

    async fn time_left(&self, cx: &Context) -> Option<u64> {
        Some(cx.deadline()?.saturating_duration_since(Instant::now()).as_millis() as u64)
    }

    async fn must_finish(&self) {
        tokio::time::sleep(SECOND).await;
        self.finished.fetch_add(1, Ordering::SeqCst);
    }

    async fn around(&self, cx: &Context) -> Result<u32, muxado_rpc::Status> {
        Ok(ShapesClient::new(cx.channel()).unary(1).await?)
    }
}

/// A connection whose far end serves behind layers.
struct Behind {
    near: Peer,
    _far: Peer,
    worker: Worker,
}

impl Behind {
    fn new<L>(builder: PeerBuilder<L>) -> Self
    where
        L: Layer<muxado_rpc::Router, Service: muxado_rpc::CallService>,
    {
        let (near, far) = duplex(64 * 1024);
        let worker = Worker::default();
        let far = builder.serve(ShapesServer::new(worker.clone())).server(far).unwrap();
        Self { near: Peer::builder().client(near).unwrap(), _far: far, worker }
    }

    fn client(&self) -> ShapesClient {
        ShapesClient::new(self.near.channel())
    }
}

fn code<T: std::fmt::Debug>(result: Result<T, CallError>) -> Code {
    result.unwrap_err().code()
}

/// Items that come each 50 ms, so many; without end for 0.
fn items(count: usize) -> impl Stream<Item = usize> + Send + 'static {
    let end = if count == 0 { usize::MAX } else { count };
    stream::iter(0..end).then(async |item| {
        tokio::time::sleep(50 * MILLI).await;
        item
    })
}

type Boxed = Pin<Box<dyn Future<Output = usize> + Send>>;

/// A call of each shape that takes 100 ms; the items that came.
fn calls<C>(client: &ShapesClient<C>) -> [(&'static str, Boxed); 4]
where
    C: Service<Request, Response = Response, Future: Send, Error: Into<BoxError>>
        + Clone
        + Send
        + Sync
        + 'static,
{
    let [unary, download, upload, both] = std::array::from_fn(|_| client.clone());
    [
        ("unary", Box::pin(async move { unary.unary(100).await.map(|_| 0).unwrap() })),
        ("download", Box::pin(async move { download.download(2).await.unwrap().count().await })),
        ("upload", Box::pin(async move { upload.upload(items(2)).await.unwrap() })),
        ("both", Box::pin(async move { both.both(items(2)).await.unwrap().count().await })),
    ]
}

/// Ten calls of each shape at once, of which two are under way at a time.
async fn assert_two_at_a_time<C>(client: &ShapesClient<C>, worker: &Worker)
where
    C: Service<Request, Response = Response, Future: Send, Error: Into<BoxError>>
        + Clone
        + Send
        + Sync
        + 'static,
{
    for (index, (shape, _)) in calls(client).iter().enumerate() {
        worker.most.store(0, Ordering::SeqCst);
        let begin = Instant::now();
        let ten = (0..10).map(|_| {
            let [unary, download, upload, both] = calls(client);
            tokio::spawn([unary.1, download.1, upload.1, both.1].into_iter().nth(index).unwrap())
        });
        let ten: Vec<_> = ten.collect();
        for call in ten {
            call.await.unwrap();
        }
        assert_eq!(worker.most(), 2, "{shape}");
        let took = begin.elapsed();
        assert!(took < 550 * MILLI, "{shape}: {took:?}");
        // Items that are sent while a call waits for the serving side are there when it begins.
        assert!(took >= 500 * MILLI || ["upload", "both"].contains(shape), "{shape}: {took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_concurrency_limit_of_the_serving_side_holds_to_the_end_of_every_shape() {
    let behind = Behind::new(Peer::builder().layer(ConcurrencyLimitLayer::new(2)));
    assert_two_at_a_time(&behind.client(), &behind.worker).await;
}

#[tokio::test(start_paused = true)]
async fn a_concurrency_limit_of_the_calling_side_holds_to_the_end_of_every_shape() {
    let behind = Behind::new(Peer::builder());
    let channel = ServiceBuilder::new().layer(ConcurrencyLimitLayer::new(2)).service(behind.near.channel());
    assert_two_at_a_time(&ShapesClient::new(channel), &behind.worker).await;
}

#[tokio::test(start_paused = true)]
async fn connections_share_the_limit_of_one_layer() {
    let (layer, worker) = (ConcurrencyLimitLayer::new(2), Worker::default());
    let mut ends = Vec::new();
    let mut calls = Vec::new();
    for _ in 0..5 {
        let (near, far) = duplex(64 * 1024);
        let builder = Peer::builder().layer(layer.clone()).serve(ShapesServer::new(worker.clone()));
        let peers = (Peer::builder().client(near).unwrap(), builder.server(far).unwrap());
        let client = ShapesClient::new(peers.0.channel());
        calls.push(tokio::spawn(async move { client.download(2).await.unwrap().count().await }));
        ends.push(peers);
    }
    for call in calls {
        assert_eq!(call.await.unwrap(), 2);
    }
    assert_eq!(worker.most(), 2);
}

/// What the layers of Tower do with streams, which is why there are others.
#[tokio::test(start_paused = true)]
async fn limits_of_tower_end_where_a_stream_begins() {
    let layer = GlobalConcurrencyLimitLayer::new(2);
    let behind = Behind::new(Peer::builder().layer(layer).layer(tower::timeout::TimeoutLayer::new(LIMIT)));
    let client = behind.client();
    let mut streams = Vec::new();
    for _ in 0..10 {
        let mut items = client.download(0).await.unwrap();
        assert_eq!(items.next().await, Some(Ok(0)));
        streams.push(items);
    }
    assert_eq!(behind.worker.now(), 10);
    tokio::time::sleep(10 * LIMIT).await;
    assert!(streams[0].next().await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_dropped_gives_its_room_back() {
    let behind = Behind::new(Peer::builder().layer(ConcurrencyLimitLayer::new(1)));
    let client = behind.client();
    let mut items = client.download(0).await.unwrap();
    assert_eq!(items.next().await, Some(Ok(0)));
    drop(items);
    assert_eq!(client.unary(0).await, Ok(7));
    let late = client.clone().with_timeout(LIMIT).download(0).await.unwrap();
    let last = late.map(Result::err).filter_map(std::future::ready).next().await;
    assert_eq!(last.unwrap().code(), Code::DeadlineExceeded);
    assert_eq!(client.unary(0).await, Ok(7));
}

#[tokio::test(start_paused = true)]
async fn calls_above_the_limit_wait_as_long_as_the_queue_and_their_time_limits_let_them() {
    let layer = || ConcurrencyLimitLayer::new(1).max_waiting(1).queue_timeout(SECOND);
    let serving = Behind::new(Peer::builder().layer(layer()));
    let calling = Behind::new(Peer::builder());
    assert_waits_end(&serving.client(), "serving").await;
    assert_waits_end(&ShapesClient::new(layer().layer(calling.near.channel())), "calling").await;
}

/// One call may be under way, and one wait, for a second.
async fn assert_waits_end<C>(client: &ShapesClient<C>, side: &str)
where
    C: Service<Request, Response = Response, Error: Into<BoxError>> + Clone,
{
    let _items = client.download(0).await.unwrap();
    tokio::time::sleep(MILLI).await;
    let hurried = client.clone().with_timeout(LIMIT).unary(0).await;
    assert_eq!(code(hurried), Code::DeadlineExceeded);
    let begin = Instant::now();
    let (waited, refused) = tokio::join!(client.unary(0), async {
        tokio::time::sleep(MILLI).await;
        client.unary(0).await
    });
    let (waited, refused) = (waited.unwrap_err(), refused.unwrap_err());
    assert!(begin.elapsed() >= SECOND && begin.elapsed() <= SECOND + MILLI);
    let text = format!("the limit of the {side} side's ConcurrencyLimitLayer");
    for error in [&waited, &refused] {
        assert_eq!((error.code(), error.may_have_executed()), (Code::ResourceExhausted, false));
        assert!(error.to_string().contains(&text), "{error}");
    }
    assert!(waited.to_string().contains("queue_timeout"), "{waited}");
    assert!(refused.to_string().contains("max_waiting"), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_waited_at_the_calling_side_has_less_time_left() {
    let behind = Behind::new(Peer::builder());
    let layer = ConcurrencyLimitLayer::new(1);
    let client = ShapesClient::new(layer.layer(behind.near.channel()));
    let first = tokio::spawn({
        let client = client.clone();
        async move { client.unary(400).await }
    });
    tokio::time::sleep(MILLI).await;
    assert_eq!(client.clone().with_timeout(SECOND).time_left().await, Ok(Some(601)));
    first.await.unwrap().unwrap();
    let _items = client.download(0).await.unwrap();
    let error = client.with_timeout(LIMIT).unary(0).await.unwrap_err();
    assert_eq!((error.code(), error.may_have_executed()), (Code::DeadlineExceeded, false));
}

#[tokio::test(start_paused = true)]
async fn load_is_shed_on_either_side() {
    let layer = || ConcurrencyLimitLayer::new(1).load_shed();
    let serving = Behind::new(Peer::builder().layer(layer()));
    let calling = Behind::new(Peer::builder());
    let around = ShapesClient::new(layer().layer(calling.near.channel()));
    let refused = [
        {
            let _items = serving.client().download(0).await.unwrap();
            tokio::time::sleep(MILLI).await;
            serving.client().unary(0).await
        },
        {
            let _items = around.download(0).await.unwrap();
            around.unary(0).await
        },
    ];
    for error in refused.map(Result::unwrap_err) {
        assert_eq!((error.code(), error.may_have_executed()), (Code::ResourceExhausted, false));
    }
}

/// The call back needs the room that the call holds.
#[tokio::test(start_paused = true)]
async fn calls_that_wait_for_each_other_end() {
    let layer = ConcurrencyLimitLayer::new(1);
    let (near, far) = duplex(64 * 1024);
    let serving = || Peer::builder().layer(layer.clone()).serve(ShapesServer::new(Worker::default()));
    let (near, _far) = (serving().client(near).unwrap(), serving().server(far).unwrap());
    let begin = Instant::now();
    let status = muxado_rpc::Status::from(ShapesClient::new(near.channel()).around().await.unwrap_err());
    assert_eq!((status.code(), begin.elapsed()), (Code::ResourceExhausted, 10 * SECOND));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_woken_and_never_polled_holds_up_no_other() {
    let behind = Behind::new(Peer::builder());
    let client = ShapesClient::new(ConcurrencyLimitLayer::new(1).layer(behind.near.channel()));
    let first = tokio::spawn({
        let client = client.clone();
        async move { client.unary(10).await }
    });
    tokio::time::sleep(MILLI).await;
    let mut lost: Vec<_> = (0..20).map(|_| Box::pin(client.unary(0))).collect();
    assert!(lost.iter_mut().all(|call| call.as_mut().now_or_never().is_none()));
    assert_eq!(client.unary(0).await, Ok(7));
    first.await.unwrap().unwrap();
    for call in lost {
        assert_eq!(call.await, Ok(7));
    }
}

/// Each shape, without end; what it failed with.
async fn endless<C>(client: &ShapesClient<C>) -> Vec<(&'static str, Code, Duration)>
where
    C: Service<Request, Response = Response, Error: Into<BoxError>> + Clone,
{
    async fn last(items: Streaming<usize>) -> Code {
        items.map(Result::err).filter_map(std::future::ready).next().await.unwrap().code()
    }
    let mut failures = Vec::new();
    let mut note = |shape, begin: Instant, code| failures.push((shape, code, begin.elapsed()));
    let begin = Instant::now();
    note("unary", begin, code(client.unary(1_000_000).await));
    let begin = Instant::now();
    note("download", begin, last(client.download(0).await.unwrap()).await);
    let begin = Instant::now();
    note("upload", begin, code(client.upload(items(0)).await));
    let begin = Instant::now();
    note("both", begin, last(client.both(items(0)).await.unwrap()).await);
    let begin = Instant::now();
    note("silent", begin, last(client.both(stream::pending()).await.unwrap()).await);
    failures
}

#[track_caller]
fn assert_on_time(failures: &[(&'static str, Code, Duration)]) {
    for (shape, code, after) in failures {
        assert_eq!(*code, Code::DeadlineExceeded, "{shape}");
        assert!(*after >= LIMIT && *after <= LIMIT + 2 * MILLI, "{shape}: {after:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_time_limit_of_the_serving_side_holds_to_the_end_of_every_shape() {
    let behind = Behind::new(Peer::builder().layer(TimeoutLayer::new(LIMIT)));
    let client = behind.client();
    assert_on_time(&endless(&client).await);
    assert_on_time(&endless(&client.clone().with_timeout(SECOND)).await);
    tokio::time::sleep(MILLI).await;
    assert_eq!(behind.worker.now(), 0);
    assert_eq!(client.download(3).await.unwrap().count().await, 3);
    assert_eq!(client.unary(199).await, Ok(7));
}

#[tokio::test(start_paused = true)]
async fn a_time_limit_of_the_calling_side_holds_to_the_end_of_every_shape() {
    let behind = Behind::new(Peer::builder());
    let client = ShapesClient::new(TimeoutLayer::new(LIMIT).layer(behind.near.channel()));
    assert_on_time(&endless(&client).await);
    assert_on_time(&endless(&client.clone().with_timeout(SECOND)).await);
    tokio::time::sleep(MILLI).await;
    assert_eq!(behind.worker.now(), 0);
    assert_eq!(client.download(3).await.unwrap().count().await, 3);
}

#[tokio::test(start_paused = true)]
async fn a_time_limit_holds_for_a_service_in_the_same_process() {
    let worker = Worker::default();
    let server = ShapesServer::new(worker.clone());
    let client = ShapesClient::new(TimeoutLayer::new(LIMIT).layer(server));
    assert_on_time(&endless(&client).await);
    assert_eq!(worker.now(), 0);
    client.must_finish().await.unwrap_err();
    tokio::time::sleep(SECOND).await;
    assert_eq!(worker.finished.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn the_shorter_of_two_time_limits_holds() {
    for behind in [
        Behind::new(Peer::builder().layer(TimeoutLayer::new(LIMIT))),
        Behind::new(Peer::builder().layer(TimeoutLayer::new(SECOND)).layer(TimeoutLayer::new(LIMIT))),
        Behind::new(Peer::builder().layer(TimeoutLayer::new(LIMIT)).layer(TimeoutLayer::new(SECOND))),
    ] {
        let client = behind.client();
        assert_eq!(client.time_left().await, Ok(Some(200)));
        assert_eq!(client.clone().with_timeout(MILLI * 50).time_left().await, Ok(Some(50)));
        assert_eq!(client.with_timeout(SECOND).time_left().await, Ok(Some(200)));
        let around = ShapesClient::new(TimeoutLayer::new(100 * MILLI).layer(behind.near.channel()));
        assert_eq!(around.time_left().await, Ok(Some(100)));
        let begin = Instant::now();
        let limited = behind.client().with_timeout(50 * MILLI).download(0).await.unwrap();
        let failed = limited.map(Result::err).filter_map(std::future::ready).next().await.unwrap();
        assert_eq!((failed.code(), begin.elapsed().as_millis() / 10), (Code::DeadlineExceeded, 5));
    }
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_must_finish_does_so_after_the_time_limit() {
    let behind = Behind::new(Peer::builder().layer(TimeoutLayer::new(LIMIT)));
    let begin = Instant::now();
    assert_eq!(code(behind.client().must_finish().await), Code::DeadlineExceeded);
    assert!(begin.elapsed() < SECOND);
    tokio::time::sleep(SECOND).await;
    assert_eq!(behind.worker.finished.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn services_of_layers_have_the_accessors_of_tower() {
    let mut limited = ConcurrencyLimitLayer::new(1).layer(3);
    assert_eq!((*limited.get_ref(), *limited.get_mut(), limited.into_inner()), (3, 3, 3));
    let mut timed = TimeoutLayer::new(SECOND).layer(3);
    assert_eq!((*timed.get_ref(), *timed.get_mut(), timed.into_inner()), (3, 3, 3));
    let mut traced = muxado_rpc::layers::TraceLayer::client().layer(3);
    assert_eq!((*traced.get_ref(), *traced.get_mut(), traced.into_inner()), (3, 3, 3));
    let mut adding = muxado_rpc::layers::AddMetadataLayer::new([("a", "b")].into()).layer(3);
    assert_eq!((*adding.get_ref(), *adding.get_mut(), adding.into_inner()), (3, 3, 3));
    let check = |_: &mut Request| std::future::ready(Ok(()));
    let mut checked = muxado_rpc::layers::AuthLayer::new(check).layer(3);
    assert_eq!((*checked.get_ref(), *checked.get_mut(), checked.into_inner()), (3, 3, 3));
}

#[tokio::test]
async fn a_call_that_is_never_polled_takes_no_room() {
    let behind = Behind::new(Peer::builder());
    let mut channel = ConcurrencyLimitLayer::new(1).load_shed().layer(behind.near.channel());
    poll_fn(|cx| channel.poll_ready(cx)).await.unwrap();
    let request = Request::new(
        &<ShapesServer<Worker> as muxado_rpc::NamedService>::INFO.methods()[0],
        muxado_rpc::Codec::Json,
        &[0],
    );
    let _unpolled = channel.call(request.unwrap());
    assert_eq!(ShapesClient::new(channel).unary(0).await, Ok(7));
}
