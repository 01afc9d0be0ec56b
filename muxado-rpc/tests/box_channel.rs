//! One type for channels of any stack of layers.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::time::Duration;

use futures_util::stream;
use muxado_rpc::{
    BoxChannel, Code, Codec, Peer, Request, Response, Status,
    layers::{InFlight, InFlightLayer, RetryPolicy, TraceLayer},
};
use support::{
    CODECS, WorkClient, WorkServer, Worker,
    feed::{FeedClient, FeedServer, Feeding, collect},
};
use tokio::io::duplex;
use tower::{
    Layer, ServiceBuilder, balance::p2c::Balance, buffer::Buffer, discover::ServiceList, retry::RetryLayer,
    timeout::TimeoutLayer,
};

fn connect(worker: &Worker) -> [Peer; 2] {
    let (a, b) = duplex(4096);
    let server = Peer::builder()
        .no_heartbeat()
        .serve(WorkServer::new(worker.clone()))
        .serve(FeedServer::new(Feeding::default()))
        .server(b)
        .unwrap();
    [Peer::builder().no_heartbeat().client(a).unwrap(), server]
}

/// What an application keeps: no type parameter anywhere.
#[derive(Clone)]
struct App {
    work: WorkClient<BoxChannel>,
    feed: FeedClient<BoxChannel>,
}

impl App {
    fn new(channel: BoxChannel) -> Self {
        Self { work: WorkClient::new(channel.clone()), feed: FeedClient::new(channel) }
    }
}

fn is_shared<T: Clone + Send + Sync + 'static>(value: T) -> T {
    value
}

#[tokio::test]
async fn a_stack_of_layers_is_one_type_and_goes_into_tasks() {
    let [peer, _server] = connect(&Worker::default());
    let stack = ServiceBuilder::new()
        .layer(BoxChannel::layer())
        .layer(RetryLayer::new(RetryPolicy::new(3)))
        .buffer(16)
        .layer(TimeoutLayer::new(Duration::from_secs(60)))
        .layer(TraceLayer::client())
        .service(peer.channel());
    let app = is_shared(App::new(stack));
    let tasks = CODECS.map(|codec| {
        let app = app.clone();
        tokio::spawn(async move {
            assert_eq!(app.work.with_codec(codec).echo("x".to_owned()).await.as_deref(), Ok("x"));
            let feed = app.feed.with_codec(codec);
            assert_eq!(feed.sum(stream::iter([1, 2])).await, Ok(3));
            assert_eq!(collect(&mut feed.count(3).await.unwrap()).await, (vec![1, 2, 3], None));
        })
    });
    for task in tasks {
        task.await.unwrap();
    }
}

#[tokio::test]
async fn a_balanced_channel_goes_into_tasks() {
    let (peers, channels): (Vec<_>, Vec<InFlight<_>>) = (0..3)
        .map(|_| connect(&Worker::default()))
        .map(|peers| {
            let channel = InFlightLayer::new().layer(peers[0].channel());
            (peers, channel)
        })
        .unzip();
    let discover = ServiceList::new::<Request>(channels.clone());
    let balance = Buffer::new(Balance::new(discover), 64);
    let feed = FeedClient::new(is_shared(BoxChannel::new(balance)));
    // Streams that are held open are spread: Tower's own count would not see them.
    let mut open = Vec::new();
    for _ in 0..30 {
        let feed = feed.clone();
        open.push(tokio::spawn(async move { feed.large_then_stall(10).await.unwrap() }).await.unwrap());
    }
    let counts: Vec<_> = channels.iter().map(InFlight::count).collect();
    assert_eq!(counts.iter().sum::<usize>(), 30);
    assert!(counts.iter().all(|count| *count >= 5), "{counts:?}");
    drop((open, peers));
}

#[tokio::test]
async fn errors_of_layers_are_statuses() {
    let [peer, server] = connect(&Worker::default());
    let shed = ServiceBuilder::new().load_shed().concurrency_limit(1).service(peer.channel());
    let channel = BoxChannel::new(shed);
    let work = WorkClient::new(channel.clone());
    let hang = tokio::spawn(work.clone().hang_forever());
    while server.call_stats().in_flight() == 0 {
        tokio::task::yield_now().await;
    }
    let error = work.echo("x".to_owned()).await.unwrap_err();
    assert_eq!((error.code(), error.may_have_executed()), (Code::ResourceExhausted, false));
    hang.abort();
    assert!(hang.await.unwrap_err().is_cancelled());
    let failed = BoxChannel::new(tower::service_fn(|_: Request| async {
        Err::<Response, _>(Status::aborted("always"))
    }));
    let error = WorkClient::new(failed).with_codec(Codec::Json).echo("x".to_owned()).await.unwrap_err();
    assert_eq!(error.code(), Code::Aborted);
    assert_eq!(channel.call_raw("Work", "echo").params(&["x"]).call::<String>().await.as_deref(), Ok("x"));
}

trait HangForever {
    fn hang_forever(self) -> impl Future<Output = ()> + Send;
}

impl HangForever for WorkClient<BoxChannel> {
    async fn hang_forever(self) {
        let _ = self.hang().await;
    }
}
