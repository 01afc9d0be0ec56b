//! Clients that make new connections by themselves: calls that wait, and that are tried again.

mod support;

use std::{
    future::pending,
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use muxado_rpc::{Backoff, Code, Limits, Peer, Reconnect, Status};
use support::{
    CODECS, WorkClient, WorkServer, Worker,
    place::{Place, assert_answers, client, to},
};
use tokio::{
    io::duplex,
    time::{Instant, sleep, timeout},
};

const MILLI: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_client_works_over_it_as_over_a_channel() {
    let place = Place::default();
    let channel = to(&place).build().unwrap();
    for codec in CODECS {
        let client = client(&channel).with_codec(codec);
        assert_answers(&client).await;
        assert!(client.divide(1.0, 0.0).await.unwrap_err().app().is_some());
    }
    assert_eq!(place.asked(), 1);
    assert!(channel.state().is_connected());
}

#[tokio::test(start_paused = true)]
async fn calls_wait_until_there_is_a_connection() {
    let place = Place::down();
    let channel = to(&place).build().unwrap();
    let call = tokio::spawn({
        let client = client(&channel);
        async move { assert_answers(&client).await }
    });
    sleep(10 * SECOND).await;
    assert!(!call.is_finished());
    place.set_down(false);
    call.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_call_lost_with_its_connection_fails_unless_the_method_is_idempotent() {
    #[muxado_rpc::service]
    trait Store {
        #[method(idempotent)]
        async fn read(&self) -> u32;
        async fn write(&self) -> u32;
    }

    /// Hangs the first time.
    #[derive(Clone, Default)]
    struct Slow(Arc<AtomicU32>);

    impl Slow {
        async fn run(&self) -> u32 {
            let before = self.0.fetch_add(1, Ordering::SeqCst);
            if before == 0 {
                pending::<()>().await;
            }
            before
        }
    }

    impl Store for Slow {
        async fn read(&self) -> u32 {
            self.run().await
        }

        async fn write(&self) -> u32 {
            self.run().await
        }
    }

    for idempotent in [true, false] {
        let (store, far) = (Slow::default(), Arc::new(Mutex::new(Vec::new())));
        let connector = {
            let (store, far) = (store.clone(), Arc::clone(&far));
            move || {
                let (near, io) = duplex(1024);
                let peer = Peer::builder().serve(StoreServer::new(store.clone())).server(io).unwrap();
                far.lock().unwrap().push(peer);
                std::future::ready(Ok(near))
            }
        };
        let channel = Reconnect::builder().connector(connector).build().unwrap();
        let client = StoreClient::new(channel);
        let call = tokio::spawn({
            let client = client.clone();
            async move { if idempotent { client.read().await } else { client.write().await } }
        });
        sleep(SECOND).await;
        far.lock().unwrap()[0].close();
        let result = call.await.unwrap();
        if idempotent {
            assert_eq!(result, Ok(1));
        } else {
            let error = result.unwrap_err();
            assert_eq!((error.code(), error.may_have_executed()), (Code::Unavailable, true));
            assert_eq!(client.read().await, Ok(1));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn attempts_are_bounded_and_the_last_failure_is_told() {
    #[muxado_rpc::service]
    trait Fragile {
        #[method(idempotent)]
        async fn touch(&self);
    }

    #[derive(Clone)]
    struct Crashing(Arc<AtomicU32>, Arc<Mutex<Option<Peer>>>);

    impl Fragile for Crashing {
        async fn touch(&self) {
            self.0.fetch_add(1, Ordering::SeqCst);
            self.1.lock().unwrap().take().unwrap().close();
            pending::<()>().await;
        }
    }

    let touched = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&touched);
    let connector = move || {
        let (near, io) = duplex(1024);
        let own = Arc::new(Mutex::new(None));
        let service = FragileServer::new(Crashing(Arc::clone(&count), Arc::clone(&own)));
        *own.lock().unwrap() = Some(Peer::builder().serve(service).server(io).unwrap());
        std::future::ready(Ok(near))
    };
    let channel = Reconnect::builder().connector(connector).attempts(3).build().unwrap();
    let error = FragileClient::new(channel.clone()).touch().await.unwrap_err();
    assert_eq!((error.code(), error.may_have_executed()), (Code::Unavailable, true));
    assert_eq!(touched.load(Ordering::SeqCst), 3);
    channel.close();
}

#[tokio::test(start_paused = true)]
async fn so_many_calls_wait_and_no_more() {
    let place = Place::down();
    let channel = to(&place).max_waiting(2).build().unwrap();
    let waiting: Vec<_> = (0..2)
        .map(|_| {
            let client = client(&channel);
            tokio::spawn(async move { assert_answers(&client).await })
        })
        .collect();
    sleep(MILLI).await;
    let status = Status::from(client(&channel).hanging().await.unwrap_err());
    assert_eq!((status.code(), status.may_have_executed()), (Code::Unavailable, false));
    assert!(status.message().contains("2 calls wait"), "{status}");
    place.set_down(false);
    for call in waiting {
        call.await.unwrap();
    }
    assert_answers(&client(&channel)).await;
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_dropped_gives_its_place_up() {
    let place = Place::down();
    let channel = to(&place).max_waiting(1).build().unwrap();
    let client = client(&channel);
    for _ in 0..3 {
        assert!(timeout(SECOND, client.hanging()).await.is_err(), "it waits");
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_waits_no_longer_than_its_time_limit() {
    let place = Place::down();
    let channel = to(&place).build().unwrap();
    let begin = Instant::now();
    let error = client(&channel).with_timeout(SECOND).hanging().await.unwrap_err();
    assert_eq!((error.code(), error.may_have_executed()), (Code::DeadlineExceeded, false));
    assert_eq!(begin.elapsed(), SECOND);
    assert!(error.to_string().contains("connection refused"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn the_time_spent_waiting_counts() {
    let place = Place::down();
    let channel = to(&place).backoff(Backoff::default().max(10 * MILLI)).build().unwrap();
    let up = async {
        sleep(600 * MILLI).await;
        place.set_down(false);
    };
    let client = client(&channel).with_timeout(SECOND);
    let (left, ()) = tokio::join!(client.time_left(), up);
    let left = left.unwrap().unwrap();
    assert!((380..=400).contains(&left), "{left}");
}

#[tokio::test(start_paused = true)]
async fn a_handlers_calls_wait_no_longer_than_its_caller_does() {
    #[muxado_rpc::service]
    trait Front {
        async fn ask(&self) -> Option<(Code, u64)>;
    }

    struct Desk(WorkClient<Reconnect>);

    impl Front for Desk {
        async fn ask(&self) -> Option<(Code, u64)> {
            let begin = Instant::now();
            let error = self.0.hanging().await.err()?;
            Some((error.code(), begin.elapsed().as_millis() as u64))
        }
    }

    let place = Place::down();
    let channel = to(&place).build().unwrap();
    let (near, far) = duplex(1024);
    let _far = Peer::builder().serve(FrontServer::new(Desk(client(&channel)))).server(far).unwrap();
    let near = Peer::builder().client(near).unwrap();
    let front = FrontClient::new(near.channel()).with_timeout(SECOND);
    // Both time limits pass at once: whichever is seen first, nothing hangs.
    match front.ask().await {
        Ok(answer) => assert_eq!(answer, Some((Code::DeadlineExceeded, 1000))),
        Err(error) => assert_eq!(error.code(), Code::DeadlineExceeded),
    }
    place.set_down(false);
    channel.connected().await.unwrap();
    assert_eq!(place.worker.hanging(), 0);
}

#[tokio::test(start_paused = true)]
async fn streams_of_items_go_over_it() {
    use futures_util::{Stream, StreamExt as _};
    use muxado_rpc::Streaming;

    #[muxado_rpc::service]
    trait Numbers {
        async fn below(&self, limit: u32) -> impl Stream<Item = u32>;
        async fn sum(&self, numbers: Streaming<u32>) -> u32;
    }

    struct Counter;

    impl Numbers for Counter {
        async fn below(&self, limit: u32) -> impl Stream<Item = u32> {
            futures_util::stream::iter(0..limit)
        }

        async fn sum(&self, numbers: Streaming<u32>) -> u32 {
            numbers.fold(0, async |sum, number| sum + number.unwrap_or(0)).await
        }
    }

    let up = Arc::new(AtomicBool::new(false));
    let connector = {
        let (up, far) = (Arc::clone(&up), Mutex::new(Vec::new()));
        move || {
            std::future::ready(if up.load(Ordering::SeqCst) {
                let (near, io) = duplex(1024);
                let peer = Peer::builder().serve(NumbersServer::new(Counter)).server(io).unwrap();
                far.lock().unwrap().push(peer);
                Ok(near)
            } else {
                Err(io::ErrorKind::ConnectionRefused.into())
            })
        }
    };
    let client = NumbersClient::new(Reconnect::builder().connector(connector).build().unwrap());
    let calls = async {
        let numbers: Vec<_> = client.below(4).await.unwrap().map(Result::unwrap).collect().await;
        (numbers, client.sum(futures_util::stream::iter(0..4)).await)
    };
    let later = async {
        sleep(SECOND).await;
        up.store(true, Ordering::SeqCst);
    };
    let ((numbers, sum), ()) = tokio::join!(calls, later);
    assert_eq!((numbers, sum), (vec![0, 1, 2, 3], Ok(6)));
}

#[tokio::test(start_paused = true)]
async fn calls_may_fail_fast_instead_of_waiting() {
    let place = Place::down();
    let channel = to(&place).fail_fast().backoff(Backoff::default().max(SECOND)).build().unwrap();
    sleep(SECOND).await;
    let error = client(&channel).hanging().await.unwrap_err();
    assert_eq!((error.code(), error.may_have_executed()), (Code::Unavailable, false));
    place.set_down(false);
    channel.connected().await.unwrap();
    assert_answers(&client(&channel)).await;
}

#[tokio::test(start_paused = true)]
async fn what_no_retry_would_mend_is_not_tried_again() {
    let place = Place::default();
    let small = Peer::builder().limits(Limits::default().max_message_size(1024));
    let channel = to(&place).peer(small).build().unwrap();
    let begin = Instant::now();
    let error = client(&channel).echo("x".repeat(2000)).await.unwrap_err();
    assert_eq!((error.code(), error.may_have_executed()), (Code::ResourceExhausted, false));
    assert_eq!(begin.elapsed(), Duration::ZERO);
    assert_answers(&client(&channel)).await;
    assert_eq!(place.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_large_request_goes_where_it_is_taken() {
    let made = Arc::new(AtomicU32::new(0));
    let channel = Reconnect::builder()
        .connector(move || {
            let made = Arc::clone(&made);
            async move {
                let (near, far) = duplex(64 * 1024);
                let is_small = made.fetch_add(1, Ordering::SeqCst).is_multiple_of(2);
                let limits = Limits::default().max_message_size(if is_small { 0 } else { 1 << 20 });
                let peer = Peer::builder().limits(limits).serve(WorkServer::new(Worker::default()));
                let peer = peer.server(far).map_err(io::Error::other)?;
                tokio::spawn(async move { peer.closed().await });
                Ok(near)
            }
        })
        .connections(2)
        .build()
        .unwrap();
    let client = WorkClient::new(channel);
    // Both have answered, and have told their limits since.
    for _ in 0..2 {
        sleep(SECOND).await;
        assert_eq!(client.echo("x".to_owned()).await.as_deref(), Ok("x"));
    }
    sleep(5 * SECOND).await;
    let text = "x".repeat(10_000);
    for _ in 0..6 {
        assert_eq!(client.echo(text.clone()).await.as_ref(), Ok(&text));
    }
    // What nobody takes fails as it does over one connection.
    let status = Status::from(client.echo("x".repeat(2 << 20)).await.unwrap_err());
    assert_eq!((status.code(), status.may_have_executed()), (Code::ResourceExhausted, false), "{status}");
}
