//! A peer that passes calls on to another one, without knowing their types: items, metadata, errors,
//! time limits and cancellation go through it.
#![expect(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::{
    task::{Context, Poll},
    time::Duration,
};

use futures_util::{StreamExt, stream};
use muxado_rpc::{
    CallError, CallFuture, Channel, Code, Codec, Limits, NamedService, Peer, Request, Response, ServiceInfo,
    Status,
};
use support::{
    CODECS,
    feed::{Broken, FeedClient, FeedServer, Feeding, collect},
};
use tokio::{io::duplex, time::Instant};
use tower::Service;

/// Has the methods of `Feed`, and leaves them to somebody else.
#[derive(Clone)]
struct Proxy(Channel);

impl NamedService for Proxy {
    const INFO: &'static ServiceInfo = <FeedServer<Feeding> as NamedService>::INFO;
}

impl Service<Request> for Proxy {
    type Response = Response;
    type Error = Status;
    type Future = CallFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> CallFuture {
        self.0.call(request)
    }
}

/// A caller, a proxy and a server in a row.
struct Row {
    caller: Peer,
    middle: [Peer; 2],
    server: Peer,
    feeding: Feeding,
}

impl Row {
    fn new() -> Self {
        Self::with(Limits::default(), Limits::default())
    }

    fn with(proxy: Limits, server: Limits) -> Self {
        let ((a, b), (c, d)) = (duplex(4096), duplex(4096));
        let feeding = Feeding::default();
        let far = Peer::builder()
            .no_heartbeat()
            .limits(server)
            .serve(FeedServer::new(feeding.clone()))
            .server(d)
            .unwrap();
        let onward = Peer::builder().no_heartbeat().limits(proxy.clone()).client(c).unwrap();
        let inward =
            Peer::builder().no_heartbeat().limits(proxy).serve(Proxy(onward.channel())).server(b).unwrap();
        let caller = Peer::builder().no_heartbeat().client(a).unwrap();
        Self { caller, middle: [inward, onward], server: far, feeding }
    }

    fn client(&self, codec: Codec) -> FeedClient {
        FeedClient::new(self.caller.channel()).with_codec(codec)
    }

    /// Nothing is left at any of the four ends.
    async fn assert_quiet(&self) {
        let peers = [&self.caller, &self.middle[0], &self.middle[1], &self.server];
        let left = || (peers.map(|peer| peer.stats().streams_open), self.feeding.count_alive());
        for _ in 0..1000 {
            if left() == ([0; 4], 0) {
                return;
            }
            tokio::task::yield_now().await;
        }
        panic!("streams and handlers are left: {:?}", left());
    }
}

#[tokio::test]
async fn every_shape_goes_through() {
    let row = Row::new();
    for codec in CODECS {
        let client = row.client(codec);
        assert_eq!(client.one(5).await, Ok(5));
        assert_eq!(collect(&mut client.count(1000).await.unwrap()).await.0.len(), 1000);
        assert_eq!(client.sum(stream::iter(1..=1000)).await, Ok(500_500));
        let doubled = collect(&mut client.double(stream::iter(1..=1000)).await.unwrap()).await;
        assert_eq!(doubled, ((1..=1000).map(|n| 2 * n).collect(), None));
        assert_eq!(client.ignore(stream::repeat(1)).await, Ok(7));
        row.assert_quiet().await;
    }
}

#[tokio::test]
async fn errors_and_metadata_go_through_as_they_are() {
    let row = Row::new();
    for codec in CODECS {
        let client = row.client(codec);
        let broken = collect(&mut client.broken(2).await.unwrap()).await;
        assert_eq!(broken, (vec![1, 2], Some(CallError::App(Broken::After(2)))));
        let mut at_once = client.broken_at_once().await.unwrap();
        assert_eq!(collect(&mut at_once).await, (vec![], Some(CallError::App(Broken::After(0)))));
        assert_eq!((at_once.trailer().get("k"), at_once.trailer().get("t")), (Some("v"), Some("w")));
        let mut annotated = client.annotated(3).await.unwrap();
        assert_eq!(collect(&mut annotated).await, (vec![1], None));
        assert_eq!((annotated.metadata().get("k"), annotated.trailer().get("t")), (Some("vvv"), Some("www")));
        row.assert_quiet().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_time_limit_goes_through() {
    let row = Row::new();
    for codec in CODECS {
        let client = row.client(codec).with_timeout(Duration::from_secs(5));
        let start = Instant::now();
        // Time only passes where nothing else happens.
        let items = stream::iter([1]).chain(stream::pending());
        assert_eq!(client.hang(items).await.unwrap_err().code(), Code::DeadlineExceeded);
        assert_eq!(start.elapsed(), Duration::from_secs(5));
        let items = client.large_then_stall(10).await.unwrap().collect::<Vec<_>>().await;
        assert_eq!(items.last().unwrap().as_ref().unwrap_err().code(), Code::DeadlineExceeded);
        assert_eq!(start.elapsed(), Duration::from_secs(10));
        row.assert_quiet().await;
    }
}

#[tokio::test]
async fn giving_up_goes_through() {
    let row = Row::new();
    for codec in CODECS {
        let client = row.client(codec);
        let call = tokio::spawn(async move { client.hang(stream::repeat(1)).await });
        row.feeding.until_alive(1).await;
        call.abort();
        row.feeding.until_alive(0).await;
        let mut items = row.client(codec).large_then_stall(10).await.unwrap();
        assert_eq!(items.try_next().await.unwrap().map(|item| item.len()), Some(10));
        drop(items);
        row.feeding.until_alive(0).await;
        row.assert_quiet().await;
    }
}

#[tokio::test]
async fn items_over_a_limit_of_the_proxy_or_behind_it_end_them() {
    let small = || Limits::default().max_message_size(1024);
    for row in [Row::with(small(), Limits::default()), Row::with(Limits::default(), small())] {
        for codec in CODECS {
            let mut items = row.client(codec).large_then_stall(2000).await.unwrap();
            let (items, error) = collect(&mut items).await;
            assert_eq!((items.len(), error.unwrap().code()), (0, Code::ResourceExhausted));
            row.assert_quiet().await;
        }
    }
}

#[tokio::test]
async fn a_server_that_goes_is_no_end_behind_a_proxy_either() {
    for codec in CODECS {
        let row = Row::new();
        let mut items = row.client(codec).large_then_stall(10).await.unwrap();
        assert!(items.try_next().await.unwrap().is_some());
        row.server.close();
        assert_eq!(items.try_next().await.unwrap_err().code(), Code::Unavailable);
        assert_eq!(items.try_next().await, Ok(None));
        // The proxy has not even sent it, and passes that on.
        let error = row.client(codec).one(1).await.unwrap_err();
        assert_eq!((error.code(), error.may_have_executed()), (Code::Unavailable, false));
        row.assert_quiet().await;
    }
}
