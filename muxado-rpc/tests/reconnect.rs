//! Clients that make new connections by themselves.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

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

use muxado_rpc::{
    Backoff, Channel, Code, Limits, Peer, Reconnect, Status,
    reconnect::{Connector, ReconnectBuilder, ReconnectError, State},
};
use support::{CODECS, WorkClient, WorkServer, Worker};
use tokio::{
    io::{DuplexStream, duplex},
    time::{Instant, sleep, timeout},
};

const MILLI: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// A place to connect to, in memory: it may be down, and keeps the far ends of its connections.
#[derive(Clone, Default)]
struct Place {
    worker: Worker,
    down: Arc<AtomicBool>,
    far: Arc<Mutex<Vec<Peer>>>,
    asked_at: Arc<Mutex<Vec<Instant>>>,
}

impl Place {
    fn down() -> Self {
        let place = Self::default();
        place.set_down(true);
        place
    }

    fn set_down(&self, down: bool) {
        self.down.store(down, Ordering::SeqCst);
    }

    fn connector(&self) -> impl Connector {
        let place = self.clone();
        move || std::future::ready(place.accept())
    }

    fn accept(&self) -> io::Result<DuplexStream> {
        self.asked_at.lock().unwrap().push(Instant::now());
        if self.down.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let (near, far) = duplex(64 * 1024);
        let far = Peer::builder().serve(WorkServer::new(self.worker.clone())).server(far).unwrap();
        self.far.lock().unwrap().push(far);
        Ok(near)
    }

    fn far(&self, index: usize) -> Peer {
        self.far.lock().unwrap()[index].clone()
    }

    /// How often it was asked for a connection.
    fn asked(&self) -> usize {
        self.asked_at.lock().unwrap().len()
    }

    fn pauses(&self) -> Vec<Duration> {
        self.asked_at.lock().unwrap().windows(2).map(|pair| pair[1] - pair[0]).collect()
    }

    /// Ends the connection without a word, as a crash does.
    fn crash(&self, index: usize) {
        self.far(index).close();
    }
}

fn to(place: &Place) -> ReconnectBuilder {
    Reconnect::builder().connector(place.connector())
}

fn client(channel: &Reconnect) -> WorkClient<Reconnect> {
    WorkClient::new(channel.clone())
}

async fn assert_alive(client: &WorkClient<Reconnect>) {
    assert_eq!(client.echo("alive".to_owned()).await.as_deref(), Ok("alive"));
}

#[tokio::test(start_paused = true)]
async fn a_client_works_over_it_as_over_a_channel() {
    let place = Place::default();
    let channel = to(&place).build().unwrap();
    for codec in CODECS {
        let client = client(&channel).with_codec(codec);
        assert_alive(&client).await;
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
        async move { assert_alive(&client).await }
    });
    sleep(10 * SECOND).await;
    assert!(!call.is_finished());
    place.set_down(false);
    call.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_goes_away_is_replaced_and_its_calls_finish() {
    let place = Place::default();
    let channel = to(&place).build().unwrap();
    let slow = tokio::spawn({
        let client = client(&channel);
        async move { client.sleep(500).await }
    });
    sleep(100 * MILLI).await;
    let begin = Instant::now();
    let far = place.far(0);
    let shutdown = tokio::spawn(async move { far.shutdown(SECOND).await });
    place.far(0).going_away().await;
    sleep(MILLI).await;
    assert_alive(&client(&channel)).await;
    assert!(begin.elapsed() < 10 * MILLI, "{:?}", begin.elapsed());
    assert_eq!(place.asked(), 2);
    assert!(!slow.is_finished());
    assert_eq!(slow.await.unwrap(), Ok(()));
    assert!(shutdown.await.unwrap().is_clean());
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
            tokio::spawn(async move { assert_alive(&client).await })
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
    assert_alive(&client(&channel)).await;
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
async fn calls_may_fail_fast_instead_of_waiting() {
    let place = Place::down();
    let channel = to(&place).fail_fast().backoff(Backoff::default().max(SECOND)).build().unwrap();
    sleep(SECOND).await;
    let error = client(&channel).hanging().await.unwrap_err();
    assert_eq!((error.code(), error.may_have_executed()), (Code::Unavailable, false));
    place.set_down(false);
    channel.connected().await.unwrap();
    assert_alive(&client(&channel)).await;
}

#[tokio::test(start_paused = true)]
async fn pauses_grow_and_begin_anew_after_a_connection_that_was_of_use() {
    let place = Place::down();
    let channel = to(&place).build().unwrap();
    sleep(Duration::from_secs(300)).await;
    let pauses = place.pauses();
    assert!(pauses.len() > 9, "{pauses:?}");
    for (failures, pause) in pauses.iter().enumerate() {
        let bound = (100 * MILLI * 2_u32.pow(failures.min(10) as u32)).min(30 * SECOND);
        // The clock of tokio's timers goes in milliseconds.
        assert!(*pause <= bound + MILLI, "pause {failures} of {pause:?}, above {bound:?}");
    }
    place.set_down(false);
    assert_alive(&client(&channel)).await;
    place.set_down(true);
    let before = place.asked();
    place.crash(0);
    sleep(200 * MILLI).await;
    assert!(place.asked() >= before + 2, "the pauses did not begin anew");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_takes_connections_only_to_end_them_is_not_asked_in_a_circle() {
    let asked = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&asked);
    let connector = move || {
        count.fetch_add(1, Ordering::SeqCst);
        let (near, far) = duplex(1024);
        let far = Peer::builder().server(far).unwrap();
        tokio::spawn(async move {
            sleep(MILLI).await;
            far.shutdown(SECOND).await;
        });
        std::future::ready(Ok(near))
    };
    let _channel = Reconnect::builder().connector(connector).build().unwrap();
    sleep(60 * SECOND).await;
    let asked = asked.load(Ordering::SeqCst);
    assert!((5..100).contains(&asked), "{asked}");
}

#[tokio::test(start_paused = true)]
async fn the_addresses_are_tried_in_turn() {
    let (first, second) = (Place::down(), Place::default());
    let channel = to(&first).connector(second.connector()).build().unwrap();
    let begin = Instant::now();
    assert_alive(&client(&channel)).await;
    assert!(begin.elapsed() < MILLI, "the second is tried without a pause");
    assert_eq!((first.asked(), second.asked()), (1, 1));
    first.set_down(false);
    second.crash(0);
    assert_alive(&client(&channel)).await;
    assert_eq!((first.asked(), second.asked()), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn calls_go_round_the_connections() {
    let places = [Place::default(), Place::default(), Place::default()];
    let channel = places
        .iter()
        .fold(Reconnect::builder(), |builder, place| builder.connector(place.connector()))
        .connections(3)
        .build()
        .unwrap();
    sleep(SECOND).await;
    let calls = |place: &Place| place.far(0).stats().streams_accepted;
    let before = places.each_ref().map(calls);
    for _ in 0..9 {
        assert_alive(&client(&channel)).await;
    }
    let after = places.each_ref().map(calls);
    assert_eq!([0, 1, 2].map(|place| after[place] - before[place]), [3, 3, 3]);
    places[1].set_down(true);
    places[1].crash(0);
    for _ in 0..9 {
        assert_alive(&client(&channel)).await;
    }
    assert!(channel.state().is_connected());
}

#[tokio::test(start_paused = true)]
async fn the_last_clone_ends_everything() {
    let place = Place::default();
    let channel = to(&place).connections(2).build().unwrap();
    let mut states = channel.watch();
    assert_alive(&client(&channel)).await;
    sleep(SECOND).await;
    let call = tokio::spawn({
        let client = client(&channel);
        async move { client.sleep(1000).await }
    });
    sleep(MILLI).await;
    drop(channel);
    assert_eq!(call.await.unwrap(), Ok(()), "a call under way keeps its connection");
    for index in 0..2 {
        assert!(place.far(index).closed().await.local.is_clean());
    }
    assert!(matches!(states.state(), State::Closed));
    assert!(matches!(states.changed().await, State::Closed));
    sleep(100 * SECOND).await;
    assert_eq!(place.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_client_may_be_closed_or_shut_down() {
    let place = Place::default();
    let channel = to(&place).build().unwrap();
    assert_alive(&client(&channel)).await;
    let call = tokio::spawn({
        let client = client(&channel);
        async move { client.sleep(500).await }
    });
    sleep(MILLI).await;
    assert!(channel.shutdown(SECOND).await.is_clean());
    assert_eq!(call.await.unwrap(), Ok(()));
    let error = client(&channel).hanging().await.unwrap_err();
    assert_eq!((error.code(), error.may_have_executed()), (Code::Unavailable, false));
    assert!(matches!(channel.state(), State::Closed));
    assert!(channel.connected().await.is_err());

    let channel = to(&place).build().unwrap();
    let call = tokio::spawn({
        let client = client(&channel);
        async move { client.hang().await }
    });
    place.worker.until_hanging(1).await;
    channel.close();
    assert_eq!(call.await.unwrap().unwrap_err().code(), Code::Unavailable);
    place.worker.until_hanging(0).await;
}

#[tokio::test(start_paused = true)]
async fn services_are_served_on_every_connection() {
    let place = Place::default();
    let peer = Peer::builder().serve(WorkServer::new(Worker::default()));
    let channel = to(&place).peer(peer).build().unwrap();
    for round in 0..3 {
        let answer = client(&channel).ask_back("yes".to_owned()).await;
        assert_eq!(answer.as_deref(), Ok("the caller says yes"));
        place.crash(round);
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_may_call_on_a_connection_that_goes_away() {
    let place = Place::default();
    let worker = Worker::default();
    let peer = Peer::builder().serve(WorkServer::new(worker.clone()));
    let channel = to(&place).peer(peer).build().unwrap();
    channel.connected().await.unwrap();
    let back: WorkClient<Channel> = WorkClient::new(place.far(0).channel());
    let call = tokio::spawn(async move { back.sleep(500).await });
    sleep(MILLI).await;
    assert!(place.far(0).shutdown(SECOND).await.is_clean());
    assert_eq!(call.await.unwrap(), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_connection_without_a_sign_of_life_is_none() {
    let silent = Arc::new(Mutex::new(Vec::new()));
    let connector = move || {
        let (near, far) = duplex(1024);
        silent.lock().unwrap().push(far);
        std::future::ready(Ok(near))
    };
    let channel = Reconnect::builder().connector(connector).connect_timeout(SECOND).build().unwrap();
    let mut states = channel.watch();
    let begin = Instant::now();
    let State::Backoff { error, .. } = states.changed().await else { panic!("not a pause") };
    assert_eq!(begin.elapsed(), SECOND);
    assert_eq!(
        error.to_string(),
        "cannot connect to the peer: no sign of life within 1s (ReconnectBuilder::connect_timeout)"
    );
}

#[tokio::test(start_paused = true)]
async fn states_are_seen_in_order() {
    let place = Place::down();
    let connector = {
        let place = place.clone();
        move || {
            let place = place.clone();
            async move {
                sleep(MILLI).await;
                place.accept()
            }
        }
    };
    let channel = Reconnect::builder().connector(connector).build().unwrap();
    let mut states = channel.watch();
    assert!(matches!(states.state(), State::Connecting { attempt: 1 }));
    let State::Backoff { delay, error } = states.changed().await else { panic!("not a pause") };
    assert!(delay <= 100 * MILLI && error.to_string().contains("connection refused"), "{error}");
    place.set_down(false);
    assert!(matches!(states.changed().await, State::Connecting { attempt: 2 }));
    let State::Connected { peer } = states.changed().await else { panic!("not connected") };
    assert_eq!(peer.address(), None);
    place.crash(0);
    assert!(!states.changed().await.is_connected());
}

#[tokio::test(start_paused = true)]
async fn a_connector_that_panics_has_failed() {
    let asked = AtomicU32::new(0);
    let place = Place::default();
    let connector = move || {
        assert!(asked.fetch_add(1, Ordering::SeqCst) > 0, "the first time");
        std::future::ready(place.accept())
    };
    let channel = Reconnect::builder().connector(connector).build().unwrap();
    assert_alive(&client(&channel)).await;
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
    assert_alive(&client(&channel)).await;
    assert_eq!(place.asked(), 1);
}

#[tokio::test]
async fn a_server_that_restarts_on_its_address_is_found_again() {
    let listen = async |address: &str| {
        let server = muxado_rpc::Server::builder().serve(WorkServer::new(Worker::default()));
        server.listen(address).await.unwrap()
    };
    let server = listen("tcp://127.0.0.1:0").await;
    let address = server.local_addr().to_owned();
    let channel =
        Reconnect::builder().address(&address).backoff(Backoff::default().max(10 * MILLI)).build().unwrap();
    assert_alive(&client(&channel)).await;
    let State::Connected { peer } = channel.state() else { panic!("not connected") };
    assert_eq!(peer.address(), Some(&*address));
    server.shutdown(SECOND).await;
    let _server = listen(&address).await;
    assert_alive(&client(&channel)).await;
}

#[tokio::test]
async fn what_cannot_work_is_said_at_once() {
    assert_eq!(Reconnect::builder().build().unwrap_err(), ReconnectError::NoAddress);
    let error = Reconnect::builder().address("nowhere").build().unwrap_err();
    assert!(matches!(error, ReconnectError::Address(_)), "{error}");
    let twice =
        Peer::builder().serve(WorkServer::new(Worker::default())).serve(WorkServer::new(Worker::default()));
    let error = Reconnect::builder().address("tcp://one:1").peer(twice).build().unwrap_err();
    assert!(matches!(error, ReconnectError::Registration(_)), "{error}");
}
