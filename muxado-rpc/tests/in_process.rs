//! A client straight over a server: there is no connection, but a time limit is one.

mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::{StreamExt, stream};
use muxado_rpc::{Code, Context, Router, Stream};
use support::{
    CODECS, WorkClient, WorkServer, Worker,
    feed::{FeedClient, FeedServer, Feeding, collect},
};
use tokio::time::{Instant, advance, sleep};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_handler_is_dropped_at_the_time_limit() {
    let worker = Worker::default();
    for codec in CODECS {
        let start = Instant::now();
        let client = WorkClient::new(WorkServer::new(worker.clone())).with_codec(codec);
        let error = client.clone().with_timeout(SECOND).hang().await.unwrap_err();
        assert_eq!((error.code(), error.may_have_executed()), (Code::DeadlineExceeded, true));
        assert_eq!(error.to_string(), "deadline_exceeded: Work.hang: no answer within the time limit of 1s");
        assert_eq!((start.elapsed(), worker.hanging()), (SECOND, 0));
        // What is done in time is not concerned.
        assert_eq!(client.clone().with_timeout(SECOND).sleep(999).await, Ok(()));
        assert_eq!(client.sleep(5000).await, Ok(()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_router_and_layers_in_between_change_nothing() {
    let worker = Worker::default();
    let router = Router::new().add(WorkServer::new(worker.clone())).unwrap();
    let layered = tower::limit::ConcurrencyLimit::new(router, 1);
    let client = WorkClient::new(layered).with_timeout(SECOND);
    assert_eq!(client.hang().await.unwrap_err().code(), Code::DeadlineExceeded);
    assert_eq!(worker.hanging(), 0);
    assert_eq!(client.hanging().await, Ok(0));
}

#[tokio::test(start_paused = true)]
async fn no_time_is_no_call() {
    let client = WorkClient::new(WorkServer::new(Worker::default())).with_timeout(Duration::ZERO);
    let error = client.hanging().await.unwrap_err();
    assert_eq!((error.code(), error.may_have_executed()), (Code::DeadlineExceeded, false));
}

#[tokio::test(start_paused = true)]
async fn a_handler_sees_its_deadline_and_its_own_calls_inherit_it() {
    #[muxado_rpc::service]
    trait Relay {
        async fn left(&self, cx: &Context) -> Option<u64>;
        async fn left_there(&self) -> Option<u64>;
        async fn left_in_items(&self) -> impl Stream<Item = Option<u64>>;
    }
    struct Node;
    impl Node {
        async fn ask() -> Option<u64> {
            WorkClient::new(WorkServer::new(Worker::default())).time_left().await.unwrap()
        }
    }
    impl Relay for Node {
        async fn left(&self, cx: &Context) -> Option<u64> {
            Some((cx.deadline()? - Instant::now()).as_millis() as u64)
        }

        async fn left_there(&self) -> Option<u64> {
            sleep(SECOND / 2).await;
            Self::ask().await
        }

        async fn left_in_items(&self) -> impl Stream<Item = Option<u64>> {
            stream::once(Self::ask())
        }
    }
    let client = RelayClient::new(RelayServer::new(Node));
    assert_eq!(client.left().await, Ok(None));
    assert_eq!(client.left_there().await, Ok(None));
    let client = client.with_timeout(SECOND);
    assert_eq!(client.left().await, Ok(Some(1000)));
    assert_eq!(client.left_there().await, Ok(Some(500)));
    let mut items = client.left_in_items().await.unwrap();
    assert_eq!(collect(&mut items).await, (vec![Some(1000)], None));
}

#[tokio::test(start_paused = true)]
async fn streams_end_at_the_time_limit_with_their_handlers() {
    let feeding = Feeding::default();
    for codec in CODECS {
        let start = Instant::now();
        let client = FeedClient::new(FeedServer::new(feeding.clone())).with_codec(codec).with_timeout(SECOND);
        let mut items = client.large_then_stall(3).await.unwrap();
        let (read, error) = collect(&mut items).await;
        assert_eq!((read.len(), error.unwrap().code()), (1, Code::DeadlineExceeded));
        assert_eq!((start.elapsed(), feeding.count_alive()), (SECOND, 0));
        let error = client.hang(stream::iter([1]).chain(stream::pending())).await.unwrap_err();
        assert_eq!(error.code(), Code::DeadlineExceeded);
        assert_eq!((start.elapsed(), feeding.count_alive()), (2 * SECOND, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn items_that_never_stop_are_cut_at_the_time_limit() {
    let client = FeedClient::new(FeedServer::new(Feeding::default())).with_timeout(SECOND);
    let mut items = client.count(u64::MAX).await.unwrap();
    assert_eq!(items.try_next().await, Ok(Some(1)));
    advance(SECOND).await;
    // What was made before is still there.
    let (read, error) = collect(&mut items).await;
    assert!(read.len() < 10_000, "{} items", read.len());
    assert_eq!(error.unwrap().code(), Code::DeadlineExceeded);
}

#[tokio::test(start_paused = true)]
async fn a_method_that_must_finish_does() {
    #[muxado_rpc::service]
    trait Bank {
        #[method(no_cancel)]
        async fn transfer(&self) -> u64;
    }
    struct Vault(Arc<AtomicUsize>);
    impl Bank for Vault {
        async fn transfer(&self) -> u64 {
            sleep(2 * SECOND).await;
            self.0.fetch_add(1, Ordering::SeqCst);
            7
        }
    }
    let done = Arc::new(AtomicUsize::new(0));
    let client = BankClient::new(BankServer::new(Vault(Arc::clone(&done)))).with_timeout(SECOND);
    let start = Instant::now();
    assert_eq!(client.transfer().await.unwrap_err().code(), Code::DeadlineExceeded);
    assert_eq!((start.elapsed(), done.load(Ordering::SeqCst)), (SECOND, 0));
    sleep(SECOND + SECOND / 2).await;
    assert_eq!(done.load(Ordering::SeqCst), 1);
}
