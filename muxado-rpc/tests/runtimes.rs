//! Handles that outlive the runtime of their tasks, and calls that are awaited outside of any.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::{
    future::{Future, ready},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    task::{self, Poll},
    time::Duration,
};

use futures_util::{StreamExt, stream};
use muxado_rpc::{
    CallError, Code, Peer, Reconnect, Request, Response, Router, Server, Status,
    layers::RetryPolicy,
    reconnect::{State, StateWatch},
};
use support::{
    CODECS, WorkClient, WorkServer, Worker,
    feed::{FeedClient, FeedServer, Feeding, collect},
    place::{Place, assert_answers, client, to},
    threads::{block_on, elsewhere, end, poll_once, runtime},
};
use tokio::{
    io::duplex,
    runtime::{Builder, Runtime},
    sync::Notify,
};
use tower::{Service, ServiceBuilder, layer::layer_fn, retry::RetryLayer};

const MILLI: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

fn status<T>(result: Result<T, CallError>) -> Status {
    result.err().expect("it fails").into()
}

/// The two ends of a connection in the current runtime.
fn pair() -> (Peer, Peer) {
    let (near, far) = duplex(64 * 1024);
    let serve = || {
        Peer::builder().serve(WorkServer::new(Worker::default())).serve(FeedServer::new(Feeding::default()))
    };
    (serve().client(near).unwrap(), serve().server(far).unwrap())
}

/// As that of a test.
fn current_thread() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

// Runtimes that have ended.

#[test]
fn a_reconnecting_client_says_that_its_runtime_has_ended() {
    for connections in [1, 3] {
        for is_down in [false, true] {
            let place = Place::default();
            place.set_down(is_down);
            let first = if connections == 1 { Runtime::new().unwrap() } else { current_thread() };
            let (channel, watch): (Reconnect, StateWatch) = first.block_on(async {
                let channel = to(&place).connections(connections).build().unwrap();
                if !is_down {
                    channel.connected().await.unwrap();
                    assert_answers(&client(&channel)).await;
                }
                (channel.clone(), channel.watch())
            });
            end(first);
            elsewhere(async {
                let mut watch = watch;
                assert!(matches!(channel.state(), State::Closed), "{:?}", channel.state());
                assert!(matches!(watch.state(), State::Closed));
                assert!(matches!(watch.changed().await, State::Closed));
                let begin = tokio::time::Instant::now();
                for limit in [None, Some(SECOND)] {
                    let mut client = client(&channel);
                    if let Some(limit) = limit {
                        client = client.with_timeout(limit);
                    }
                    let status = status(client.echo("x".to_owned()).await);
                    assert_eq!((status.code(), status.may_have_executed()), (Code::Unavailable, false));
                    assert!(status.message().contains("runtime"), "{status}");
                }
                assert_eq!(channel.connected().await.unwrap_err().code(), Code::Unavailable);
                assert!(channel.shutdown(SECOND).await.is_clean());
                assert_eq!(begin.elapsed(), Duration::ZERO);
            });
        }
    }
}

#[test]
fn calls_that_wait_elsewhere_end_with_the_runtime_of_the_client() {
    let first = runtime();
    let channel = first.block_on(async { to(&Place::down()).build().unwrap() });
    let held = client(&channel);
    elsewhere(async {
        let mut calls: Vec<_> = [None, Some(3000 * SECOND)]
            .into_iter()
            .map(|limit| {
                let client = held.clone();
                let client = if let Some(limit) = limit { client.with_timeout(limit) } else { client };
                tokio::spawn(async move { client.echo("x".to_owned()).await })
            })
            .collect();
        let mut watch = channel.watch();
        let changed = tokio::spawn(async move { while !matches!(watch.changed().await, State::Closed) {} });
        tokio::task::yield_now().await;
        end(first);
        for call in calls.drain(..) {
            assert_eq!(status(call.await.unwrap()).code(), Code::Unavailable);
        }
        changed.await.unwrap();
    });
}

#[test]
fn whatever_comes_from_a_reconnecting_client_ends_with_its_runtime() {
    let first = runtime();
    let (channel, peers, items, introduced) = first.block_on(async {
        let (tell, introduced) = mpsc::channel();
        let connector = || {
            let (near, far) = duplex(1024);
            let far = Peer::builder().serve(FeedServer::new(Feeding::default())).server(far).unwrap();
            tokio::spawn(async move { far.closed().await });
            ready(Ok(near))
        };
        let hook = move |peer: Peer| {
            tell.send(peer).unwrap();
            ready(Ok::<_, Status>(()))
        };
        let channel = Reconnect::builder().connector(connector).connections(2).on_connect(hook);
        let channel = channel.build().unwrap();
        channel.watch().wait_for(|state| matches!(state, State::Connected { generation: 2, .. })).await;
        let feed = FeedClient::new(channel.clone());
        let mut items = feed.double(stream::iter([1]).chain(stream::pending())).await.unwrap();
        assert_eq!(items.try_next().await.unwrap(), Some(2));
        (channel.clone(), channel.peers(), items, introduced)
    });
    assert_eq!(peers.len(), 2);
    let mut items = items;
    elsewhere(async {
        let (mut watch, held) = (channel.watch(), peers.clone());
        let lost = tokio::spawn(async move { watch.wait_for(|state| !state.is_connected()).await });
        let closed = tokio::spawn(async move { held[0].closed().await });
        tokio::task::yield_now().await;
        end(first);
        assert!(matches!(lost.await.unwrap(), State::Closed | State::Connecting { .. }));
        closed.await.unwrap();
        let begin = tokio::time::Instant::now();
        assert!(channel.peers().is_empty());
        assert!(
            channel.states().iter().all(|state| matches!(state, State::Closed)),
            "{:?}",
            channel.states()
        );
        assert!(matches!(channel.watch().wait_for(State::is_connected).await, State::Closed));
        assert_eq!((channel.generation(), channel.call_stats().in_flight()), (2, 0));
        assert_eq!(items.try_next().await.unwrap_err().code(), Code::Unavailable);
        let feed = FeedClient::new(channel.clone());
        assert_eq!(feed.count(3).await.err().map(|error| error.code()), Some(Code::Unavailable));
        for peer in peers.into_iter().chain(introduced.try_iter()) {
            assert!(peer.is_closed() && peer.is_going_away());
            assert!(peer.capabilities().await.is_none());
            assert_eq!(status(FeedClient::new(peer.channel()).one(7).await).code(), Code::Unavailable);
        }
        assert_eq!(begin.elapsed(), Duration::ZERO);
    });
}

#[test]
fn a_hook_under_way_ends_with_the_runtime_of_the_client() {
    for is_threaded in [true, false] {
        let first = if is_threaded { runtime() } else { current_thread() };
        let (began, dropped) = (Arc::new(Notify::new()), Arc::new(()));
        let (begin, held) = (Arc::clone(&began), Arc::clone(&dropped));
        let channel = first.block_on(async {
            let hook = move |_: Peer| {
                let (begin, held) = (Arc::clone(&begin), Arc::clone(&held));
                async move {
                    begin.notify_one();
                    std::future::pending::<()>().await;
                    drop(held);
                    Ok::<_, Status>(())
                }
            };
            let channel = to(&Place::default()).on_connect(hook).build().unwrap();
            began.notified().await;
            channel
        });
        elsewhere(async {
            let client = client(&channel);
            let call = tokio::spawn(async move { client.echo("x".to_owned()).await });
            tokio::task::yield_now().await;
            end(first);
            assert_eq!(status(call.await.unwrap()).code(), Code::Unavailable);
            assert!(matches!(channel.state(), State::Closed));
            // What is left of it is in the client, not in the task.
            drop(channel);
        });
        assert_eq!(Arc::strong_count(&dropped), 1);
    }
}

#[test]
fn a_connection_whose_runtime_has_ended_is_closed_to_all_its_handles() {
    let first = runtime();
    let ((near, _far), call) = first.block_on(async {
        let pair = pair();
        let client = WorkClient::new(pair.0.channel());
        let call = tokio::spawn(async move { client.hang().await });
        (pair, call)
    });
    let timed = WorkClient::new(near.channel()).with_timeout(SECOND);
    // One whose timer began in the runtime that ends.
    let mut begun = Box::pin(timed.hang());
    first.block_on(async { assert!(poll_once(&mut begun).is_pending()) });
    end(first);
    elsewhere(async {
        assert!(call.await.is_err());
        assert_eq!(status((&mut begun).await).code(), Code::Unavailable);
        for client in [timed.clone(), WorkClient::new(near.channel())] {
            assert_eq!(status(client.echo("x".to_owned()).await).code(), Code::Unavailable);
        }
        assert!(near.is_closed() && near.is_going_away() && near.channel().is_closed());
        near.closed().await;
        near.going_away().await;
        assert!(near.capabilities().await.is_none());
        near.shutdown(SECOND).await;
    });
}

#[test]
fn a_time_limit_outlives_the_runtime_that_it_began_in() {
    let (connections, first) = (runtime(), runtime());
    let (near, _far) = connections.block_on(async { pair() });
    let client = WorkClient::new(near.channel()).with_timeout(20 * MILLI);
    let local = WorkClient::new(WorkServer::new(Worker::default())).with_timeout(20 * MILLI);
    let mut calls = first.block_on(async {
        let over = Box::pin(async move { client.hang().await }) as Pin<Box<dyn Future<Output = _>>>;
        let local = Box::pin(async move { local.hang().await });
        let mut calls: [_; 2] = [over, local];
        assert!(calls.iter_mut().all(|call| poll_once(call).is_pending()));
        calls
    });
    end(first);
    for call in &mut calls {
        assert_eq!(status(block_on(call)).code(), Code::DeadlineExceeded);
    }
}

#[test]
fn a_time_limit_holds_where_the_runtime_of_the_connection_stands_still() {
    let still = current_thread();
    let (near, _far) = still.block_on(async { pair() });
    let client = WorkClient::new(near.channel()).with_timeout(20 * MILLI);
    let mut begun = Box::pin({
        let client = client.clone();
        async move { client.hang().await }
    });
    // First where the connection is, which does not go on afterwards.
    assert!(still.block_on(async { poll_once(&mut begun) }).is_pending());
    let other = current_thread();
    let waits = async { (status(client.hang().await).code(), status((&mut begun).await).code()) };
    assert_eq!(other.block_on(waits), (Code::DeadlineExceeded, Code::DeadlineExceeded));
    assert_eq!(status(block_on(client.hang())).code(), Code::DeadlineExceeded);
}

#[test]
fn a_server_whose_runtime_has_ended_does_not_hold_its_handle_up() {
    let first = runtime();
    let server = first.block_on(async {
        let builder = Server::builder().serve(WorkServer::new(Worker::default()));
        builder.listen("tcp://127.0.0.1:0").await.unwrap()
    });
    let other = runtime();
    let near = other.block_on(async {
        let near = muxado_rpc::connect(server.local_addr()).await.unwrap();
        assert_eq!(WorkClient::new(near.channel()).echo("x".to_owned()).await.as_deref(), Ok("x"));
        near
    });
    let [far] = &server.peers()[..] else { panic!("not one peer") };
    let id = far.id();
    end(first);
    drop((near, other));
    elsewhere(async {
        assert!(server.peers().is_empty() && server.peer(id).is_none() && far.is_closed());
        server.wait().await;
        server.shutdown(SECOND).await;
        assert_eq!(server.call_stats().in_flight(), 0);
        drop(server);
    });
}

#[test]
fn items_end_with_the_runtime_that_sends_for_them() {
    let (connections, caller) = (runtime(), runtime());
    let (near, _far) = connections.block_on(async { pair() });
    for codec in CODECS {
        let client = FeedClient::new(near.channel()).with_codec(codec);
        let numbers = stream::iter([1]).chain(stream::pending());
        let mut items = caller.block_on(async { client.double(numbers).await.unwrap() });
        assert_eq!(connections.block_on(items.try_next()).unwrap(), Some(2));
        let stopped = runtime();
        let numbers = stream::iter([1]).chain(stream::pending());
        let mut lost = stopped.block_on(async { client.double(numbers).await.unwrap() });
        assert_eq!(connections.block_on(lost.try_next()).unwrap(), Some(2));
        end(stopped);
        let error = connections.block_on(lost.try_next()).unwrap_err();
        assert_eq!(error.code(), Code::Unavailable, "{error}");
        // The connection is none the worse for it.
        assert_eq!(connections.block_on(client.one(7)), Ok(7));
    }
}

// Outside of any runtime.

#[test]
fn calls_with_a_time_limit_need_no_runtime_where_they_are_awaited() {
    let runtime = runtime();
    let (near, _far) = runtime.block_on(async { pair() });
    for codec in CODECS {
        let client = WorkClient::new(near.channel()).with_codec(codec);
        let patient = client.clone().with_timeout(3600 * SECOND);
        assert_eq!(block_on(patient.echo("hi".to_owned())).as_deref(), Ok("hi"));
        // One that has to wait for its answer.
        assert_eq!(block_on(patient.sleep(5)), Ok(()));
        let error = block_on(client.with_timeout(10 * MILLI).hang()).unwrap_err();
        assert_eq!(error.code(), Code::DeadlineExceeded);
    }
    assert!(block_on(near.shutdown(SECOND)).is_clean());
}

#[test]
fn items_with_a_time_limit_need_no_runtime_where_they_are_read() {
    let runtime = runtime();
    let (near, _far) = runtime.block_on(async { pair() });
    for codec in CODECS {
        let client = FeedClient::new(near.channel()).with_codec(codec);
        let patient = client.clone().with_timeout(3600 * SECOND);
        let hurried = client.clone().with_timeout(20 * MILLI);
        block_on(async {
            let mut items = patient.count(3).await.unwrap();
            assert_eq!(collect(&mut items).await, (vec![1, 2, 3], None));
            assert_eq!(patient.sum(stream::iter(1..=4)).await, Ok(10));
            for client in [&client, &patient] {
                let mut items = client.double(stream::iter(1..=3)).await.unwrap();
                assert_eq!(collect(&mut items).await.0, [2, 4, 6]);
            }
            let mut items = hurried.large_then_stall(3).await.unwrap();
            let (read, error) = collect(&mut items).await;
            assert_eq!((read.len(), error.unwrap().code()), (1, Code::DeadlineExceeded));
            let error = hurried.hang(stream::iter([1]).chain(stream::pending())).await.unwrap_err();
            assert_eq!(error.code(), Code::DeadlineExceeded);
        });
    }
}

#[test]
fn a_service_in_the_same_process_needs_no_runtime_for_time_limits() {
    let router = Router::new().add(WorkServer::new(Worker::default())).unwrap();
    let router = router.add(FeedServer::new(Feeding::default())).unwrap();
    for codec in CODECS {
        let client = WorkClient::new(router.clone()).with_codec(codec);
        assert_eq!(block_on(client.clone().with_timeout(SECOND).echo("hi".to_owned())).as_deref(), Ok("hi"));
        let error = block_on(client.with_timeout(10 * MILLI).hang()).unwrap_err();
        assert_eq!(error.code(), Code::DeadlineExceeded);
        let feed = FeedClient::new(router.clone()).with_codec(codec).with_timeout(10 * MILLI);
        let (read, error) = block_on(async {
            let mut items = feed.large_then_stall(3).await.unwrap();
            collect(&mut items).await
        });
        assert_eq!((read.len(), error.unwrap().code()), (1, Code::DeadlineExceeded));
    }
}

#[test]
fn a_method_that_must_finish_does_so_without_a_runtime() {
    #[muxado_rpc::service]
    trait Bank {
        #[method(no_cancel)]
        async fn transfer(&self);
    }
    struct Vault(Arc<Notify>, mpsc::Sender<()>);
    impl Bank for Vault {
        async fn transfer(&self) {
            self.0.notified().await;
            self.1.send(()).unwrap();
        }
    }
    let (go, (done, finished)) = (Arc::new(Notify::new()), mpsc::channel());
    let bank = BankClient::new(BankServer::new(Vault(Arc::clone(&go), done))).with_timeout(10 * MILLI);
    assert_eq!(block_on(bank.transfer()).unwrap_err().code(), Code::DeadlineExceeded);
    go.notify_one();
    finished.recv().unwrap();
}

#[test]
fn a_reconnecting_client_may_be_called_without_a_runtime() {
    let runtime = runtime();
    let (place, down) = (Place::default(), Place::down());
    let (channel, lost) =
        runtime.block_on(async { (to(&place).build().unwrap(), to(&down).build().unwrap()) });
    let timed = client(&channel).with_timeout(3600 * SECOND);
    assert_eq!(block_on(timed.echo("hi".to_owned())).as_deref(), Ok("hi"));
    let error = block_on(client(&channel).with_timeout(10 * MILLI).hang()).unwrap_err();
    assert_eq!(error.code(), Code::DeadlineExceeded);
    let error = block_on(client(&lost).with_timeout(10 * MILLI).echo("hi".to_owned())).unwrap_err();
    assert_eq!((error.code(), error.may_have_executed()), (Code::DeadlineExceeded, false));
    assert!(block_on(channel.shutdown(SECOND)).is_clean());
}

#[test]
fn pauses_between_attempts_need_no_runtime() {
    /// Refuses the first two requests.
    #[derive(Clone)]
    struct Refusing<S>(S, Arc<AtomicUsize>);

    impl<S> Service<Request> for Refusing<S>
    where
        S: Service<Request, Response = Response, Error = Status, Future: Send + 'static>,
    {
        type Response = Response;
        type Error = Status;
        type Future = Pin<Box<dyn Future<Output = Result<Response, Status>> + Send>>;

        fn poll_ready(&mut self, cx: &mut task::Context<'_>) -> Poll<Result<(), Status>> {
            self.0.poll_ready(cx)
        }

        fn call(&mut self, request: Request) -> Self::Future {
            if self.1.fetch_add(1, Ordering::SeqCst) % 3 < 2 {
                return Box::pin(ready(Err(Status::unavailable("busy").not_executed())));
            }
            Box::pin(self.0.call(request))
        }
    }

    let runtime = runtime();
    let asked = Arc::new(AtomicUsize::new(0));
    let refuse = {
        let asked = Arc::clone(&asked);
        layer_fn(move |inner| Refusing(inner, Arc::clone(&asked)))
    };
    let serve = move || {
        let (near, far) = duplex(1024);
        let builder = Peer::builder().layer(refuse.clone()).serve(WorkServer::new(Worker::default()));
        let far = builder.server(far).unwrap();
        tokio::spawn(async move { far.closed().await });
        near
    };
    let near = runtime.block_on(async { Peer::builder().client(serve()).unwrap() });
    let retry = RetryLayer::new(RetryPolicy::new(3));
    let channel = ServiceBuilder::new().layer(retry).service(near.channel());
    let client = WorkClient::new(channel).with_timeout(3600 * SECOND);
    assert_eq!(block_on(client.echo("hi".to_owned())).as_deref(), Ok("hi"));
    assert_eq!(asked.load(Ordering::SeqCst), 3);
    let channel = runtime
        .block_on(async { Reconnect::builder().connector(move || ready(Ok(serve()))).build().unwrap() });
    let client = WorkClient::new(channel);
    assert_eq!(block_on(client.echo("hi".to_owned())).as_deref(), Ok("hi"));
    assert_eq!(asked.load(Ordering::SeqCst), 6);
}

#[test]
fn a_runtime_without_a_clock_will_do() {
    let connections = runtime();
    let (near, _far) = connections.block_on(async { pair() });
    let client = WorkClient::new(near.channel());
    let timeless = Builder::new_current_thread().build().unwrap();
    timeless.block_on(async {
        let patient = client.clone().with_timeout(3600 * SECOND);
        assert_eq!(patient.sleep(5).await, Ok(()));
        let error = client.with_timeout(10 * MILLI).hang().await.unwrap_err();
        assert_eq!(error.code(), Code::DeadlineExceeded);
    });
}
