//! More stock Tower layers, as they are: retry, buffer, rate limit on the serving side, balance.

mod support;

use std::{
    collections::HashMap,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use muxado_rpc::{Code, Peer, Request, layers::RetryPolicy};
use support::{CODECS, Pair, WorkClient, WorkServer, Worker};
use tokio::{io::duplex, time::Instant};
use tower::{
    Service, ServiceBuilder,
    balance::p2c::Balance,
    buffer::{Buffer, BufferLayer},
    discover::{Change, ServiceList},
    limit::{ConcurrencyLimitLayer, RateLimitLayer},
    load::{CompleteOnResponse, PendingRequests},
    load_shed::LoadShedLayer,
    retry::RetryLayer,
    timeout::TimeoutLayer,
};

const SECOND: Duration = Duration::from_secs(1);

/// A peer that serves a worker behind a layer, and a client to it.
macro_rules! behind {
    ($layer:expr) => {{
        let (near, far) = duplex(64 * 1024);
        let worker = Worker::default();
        let far = Peer::builder().layer($layer).serve(WorkServer::new(worker.clone())).server(far).unwrap();
        (Peer::builder().client(near).unwrap(), far, worker)
    }};
}

#[tokio::test(start_paused = true)]
async fn a_buffer_and_a_rate_limit_work_on_the_serving_side() {
    let layer = ServiceBuilder::new().layer(BufferLayer::new(8)).layer(RateLimitLayer::new(2, SECOND));
    let (near, _far, _) = behind!(layer);
    for codec in CODECS {
        let client = WorkClient::new(near.channel()).with_codec(codec);
        tokio::time::sleep(10 * SECOND).await;
        let begin = Instant::now();
        for _ in 0..5 {
            assert_eq!(client.hanging().await, Ok(0));
        }
        assert_eq!(begin.elapsed(), 2 * SECOND);
    }
}

#[tokio::test(start_paused = true)]
async fn a_buffer_carries_statuses_through() {
    let pair = Pair::new();
    let channel = ServiceBuilder::new().layer(BufferLayer::new(8)).service(pair.near.channel());
    let client = WorkClient::new(channel);
    let error = client.find("x".to_owned()).await.unwrap_err();
    assert_eq!(error.code(), Code::NotFound);
    pair.near.close();
    let error = client.hanging().await.unwrap_err();
    assert_eq!((error.code(), error.may_have_executed()), (Code::Unavailable, false));
}

#[tokio::test(start_paused = true)]
async fn a_whole_stack_works_on_either_side() {
    let layers = || {
        ServiceBuilder::new()
            .layer(LoadShedLayer::new())
            .layer(ConcurrencyLimitLayer::new(2))
            .layer(TimeoutLayer::new(SECOND))
    };
    let (near, _far, worker) = behind!(layers());
    let stacked = ServiceBuilder::new().layer(RetryLayer::new(RetryPolicy::new(3))).layer(layers());
    let client = WorkClient::new(stacked.service(near.channel()));
    let (first, second) = tokio::join!(client.sleep(10), client.sleep(10));
    assert_eq!((first, second), (Ok(()), Ok(())));
    assert_eq!(client.hang().await.unwrap_err().code(), Code::DeadlineExceeded);
    worker.until_hanging(0).await;
    let (first, second, third) = tokio::join!(client.sleep(10), client.sleep(10), client.sleep(10));
    assert_eq!((first, second), (Ok(()), Ok(())));
    assert_eq!(third.unwrap_err().code(), Code::ResourceExhausted);
}

#[tokio::test]
async fn calls_are_balanced_over_several_channels() {
    let pairs: Vec<_> = (0..3).map(|_| Pair::new()).collect();
    let loaded =
        pairs.iter().map(|pair| PendingRequests::new(pair.near.channel(), CompleteOnResponse::default()));
    let balance = Balance::new(ServiceList::new::<Request>(loaded.collect::<Vec<_>>()));
    let client = WorkClient::new(Buffer::new(balance, 64));
    for codec in CODECS {
        let client = client.clone().with_codec(codec);
        for _ in 0..300 {
            assert_eq!(client.hanging().await, Ok(0));
        }
    }
    let served: Vec<_> = pairs.iter().map(|pair| pair.far.call_stats().served).collect();
    assert_eq!(served.iter().sum::<u64>(), 600);
    assert!(served.iter().all(|served| *served > 100), "{served:?}");
    // A connection that ends falls out: its channel is not ready any more.
    pairs[0].far.close();
    pairs[0].near.closed().await;
    for _ in 0..100 {
        assert_eq!(client.hanging().await, Ok(0));
    }
    assert_eq!(pairs[0].far.call_stats().served, served[0]);
}

/// Channels that come and go, as of a list of servers that changes.
struct Changing(tokio::sync::mpsc::UnboundedReceiver<Change<usize, muxado_rpc::Channel>>);

impl futures_core::Stream for Changing {
    type Item = Result<Change<usize, PendingRequests<muxado_rpc::Channel>>, std::convert::Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(cx).map(|change| {
            Some(Ok(match change? {
                Change::Insert(key, channel) => {
                    Change::Insert(key, PendingRequests::new(channel, CompleteOnResponse::default()))
                }
                Change::Remove(key) => Change::Remove(key),
            }))
        })
    }
}

#[tokio::test]
async fn channels_may_join_and_leave_a_balance() {
    let (changes, changing) = tokio::sync::mpsc::unbounded_channel();
    let balance: Balance<_, Request> = Balance::new(Changing(changing));
    let client = WorkClient::new(Buffer::new(balance, 64));
    let mut pairs = HashMap::new();
    for key in 0..2 {
        let pair = Pair::new();
        changes.send(Change::Insert(key, pair.near.channel())).unwrap();
        pairs.insert(key, pair);
        for _ in 0..50 {
            assert_eq!(client.hanging().await, Ok(0));
        }
    }
    assert!(pairs.values().all(|pair| pair.far.call_stats().served > 0));
    changes.send(Change::Remove(0)).unwrap();
    assert_eq!(client.hanging().await, Ok(0));
    let before = pairs[&0].far.call_stats().served;
    for _ in 0..50 {
        assert_eq!(client.hanging().await, Ok(0));
    }
    assert_eq!(pairs[&0].far.call_stats().served, before);
}

#[tokio::test]
async fn reconnecting_clients_can_be_balanced_too() {
    let worker = Worker::default();
    let connect = || {
        let worker = worker.clone();
        let far = std::sync::Mutex::new(Vec::new());
        muxado_rpc::Reconnect::builder()
            .connector(move || {
                let (near, io) = duplex(1024);
                let peer = Peer::builder().serve(WorkServer::new(worker.clone())).server(io).unwrap();
                far.lock().unwrap().push(peer);
                std::future::ready(Ok(near))
            })
            .build()
            .unwrap()
    };
    let loaded = [connect(), connect()].map(|one| PendingRequests::new(one, CompleteOnResponse::default()));
    let mut balance = Balance::new(ServiceList::new::<Request>(loaded));
    std::future::poll_fn(|cx| balance.poll_ready(cx)).await.unwrap();
    let client = WorkClient::new(Buffer::new(balance, 64));
    assert_eq!(client.hanging().await, Ok(0));
}
