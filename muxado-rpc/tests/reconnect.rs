//! Clients that make new connections by themselves: their connections.

mod support;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use muxado_rpc::{
    Backoff, Channel, Code, Peer, Reconnect,
    reconnect::{ReconnectError, State},
};
use support::{
    WorkClient, WorkServer, Worker,
    place::{Place, assert_answers, client, to},
};
use tokio::{
    io::duplex,
    time::{Instant, sleep},
};

const MILLI: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

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
    assert_answers(&client(&channel)).await;
    assert!(begin.elapsed() < 10 * MILLI, "{:?}", begin.elapsed());
    assert_eq!(place.asked(), 2);
    assert!(!slow.is_finished());
    assert_eq!(slow.await.unwrap(), Ok(()));
    assert!(shutdown.await.unwrap().is_clean());
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
    assert_answers(&client(&channel)).await;
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
    assert_answers(&client(&channel)).await;
    assert!(begin.elapsed() < MILLI, "the second is tried without a pause");
    assert_eq!((first.asked(), second.asked()), (1, 1));
    first.set_down(false);
    second.crash(0);
    assert_answers(&client(&channel)).await;
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
    let calls = |place: &Place| place.far(0).call_stats().started;
    let before = places.each_ref().map(calls);
    for _ in 0..9 {
        assert_answers(&client(&channel)).await;
    }
    let after = places.each_ref().map(calls);
    assert_eq!([0, 1, 2].map(|place| after[place] - before[place]), [3, 3, 3]);
    places[1].set_down(true);
    places[1].crash(0);
    for _ in 0..9 {
        assert_answers(&client(&channel)).await;
    }
    assert!(channel.state().is_connected());
}

#[tokio::test(start_paused = true)]
async fn the_last_clone_ends_everything() {
    let place = Place::default();
    let channel = to(&place).connections(2).build().unwrap();
    let mut states = channel.watch();
    assert_answers(&client(&channel)).await;
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
    assert_answers(&client(&channel)).await;
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
        "cannot connect to the peer: no answered heartbeat within 1s (ReconnectBuilder::connect_timeout)"
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
    let State::Connected { peer, .. } = states.changed().await else { panic!("not connected") };
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
    assert_answers(&client(&channel)).await;
}

#[tokio::test]
async fn a_server_that_restarts_on_its_address_is_found_again() {
    let listen = async |address: &str| {
        let server = muxado_rpc::Server::builder().serve(WorkServer::new(Worker::default()));
        server.listen(address).await.unwrap()
    };
    let server = listen("tcp://127.0.0.1:0").await;
    let address = server.local_addr().to_string();
    let channel =
        Reconnect::builder().address(&address).backoff(Backoff::default().max(10 * MILLI)).build().unwrap();
    assert_answers(&client(&channel)).await;
    let State::Connected { peer, .. } = channel.state() else { panic!("not connected") };
    assert_eq!(peer.address(), Some(&*address));
    server.shutdown(SECOND).await;
    let _server = listen(&address).await;
    assert_answers(&client(&channel)).await;
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
