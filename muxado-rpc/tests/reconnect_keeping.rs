//! Clients that make new connections by themselves: what is done with each, and what shows of them.

mod support;

use std::{
    collections::HashSet,
    future::pending,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use muxado_rpc::{
    Channel, Peer, Reconnect, Status,
    reconnect::{State, StateWatch},
};
use support::{
    WorkClient, WorkServer, Worker,
    place::{Place, assert_answers, client, to},
};
use tokio::{
    sync::Notify,
    time::{Instant, sleep},
};

const MILLI: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// Waits for the error of the next failure to connect.
async fn next_failure(states: &mut StateWatch) -> String {
    loop {
        if let State::Backoff { error, .. } = states.changed().await {
            return error.to_string();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn each_connection_is_introduced_before_calls_go_over_it() {
    let place = Place::default();
    let introduced = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&introduced);
    let channel = to(&place)
        .peer(Peer::builder().serve(WorkServer::new(Worker::default())))
        .on_connect(move |peer| {
            let count = Arc::clone(&count);
            async move {
                let work: WorkClient<Channel> = WorkClient::new(peer.channel());
                // The other side calls back meanwhile.
                assert_eq!(work.ask_back("hi".to_owned()).await?, "the caller says hi");
                work.sleep(100).await?;
                count.fetch_add(1, Ordering::SeqCst);
                Ok::<_, Status>(())
            }
        })
        .build()
        .unwrap();
    let begin = Instant::now();
    for round in 1..=3 {
        assert_answers(&client(&channel)).await;
        assert_eq!(introduced.load(Ordering::SeqCst), round);
        assert_eq!(place.asked(), round as usize);
        place.crash(round as usize - 1);
    }
    assert!(begin.elapsed() >= 300 * MILLI, "calls did not wait for it: {:?}", begin.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_fails_closes_the_connection_and_another_try_follows_with_pauses() {
    let place = Place::default();
    let refused = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&refused);
    let hook = move |_: Peer| {
        let nth = count.fetch_add(1, Ordering::SeqCst);
        async move { if nth < 5 { Err("the hub \u{1b} knows no such agent") } else { Ok(()) } }
    };
    let channel = to(&place).on_connect(hook).build().unwrap();
    let mut states = channel.watch();
    assert_eq!(
        next_failure(&mut states).await,
        "cannot connect to the peer: on_connect failed: the hub \\u{1b} knows no such agent"
    );
    assert!(place.far(0).closed().await.local.is_clean() || place.far(0).is_closed());
    assert_answers(&client(&channel)).await;
    assert_eq!((refused.load(Ordering::SeqCst), place.connections()), (6, 6));
    for (failures, pause) in place.pauses().iter().enumerate() {
        assert!(*pause <= 100 * MILLI * 2_u32.pow(failures as u32) + MILLI, "{pause:?}");
    }
    assert!((0..5).all(|index| place.far(index).is_closed()) && !place.far(5).is_closed());
    assert_eq!(channel.generation(), 1, "what was refused is no connection");
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_hangs_panics_or_loses_its_peer_has_failed() {
    let place = Place::default();
    let nth = AtomicU32::new(0);
    let hook = move |peer: Peer| {
        let nth = nth.fetch_add(1, Ordering::SeqCst);
        assert!(nth != 3, "before there is a future");
        async move {
            match nth {
                0 => pending().await,
                1 => panic!("a secret"),
                2 => WorkClient::new(peer.channel()).hang().await,
                _ => Ok(()),
            }
        }
    };
    let channel = to(&place).on_connect(hook).on_connect_timeout(3 * SECOND).build().unwrap();
    let (mut states, begin) = (channel.watch(), Instant::now());
    assert_eq!(
        next_failure(&mut states).await,
        "cannot connect to the peer: on_connect is not done within 3s (ReconnectBuilder::on_connect_timeout)"
    );
    assert_eq!(begin.elapsed(), 3 * SECOND);
    assert!(place.far(0).is_closed() || place.far(0).closed().await.local.is_clean());
    assert_eq!(next_failure(&mut states).await, "cannot connect to the peer: on_connect failed: it panicked");
    place.worker.until_hanging(1).await;
    place.crash(2);
    let error = next_failure(&mut states).await;
    assert!(error.starts_with("cannot connect to the peer: on_connect failed: "), "{error}");
    assert_eq!(next_failure(&mut states).await, "cannot connect to the peer: on_connect failed: it panicked");
    assert_answers(&client(&channel)).await;
    assert_eq!(place.connections(), 5);
}

#[tokio::test(start_paused = true)]
async fn what_a_hook_keeps_of_its_peer_holds_no_connection_open() {
    let place = Place::default();
    let kept = Arc::new(Mutex::new(Vec::new()));
    let keep = Arc::clone(&kept);
    let hook = move |peer: Peer| {
        keep.lock().unwrap().push(peer);
        std::future::ready(Ok::<_, Status>(()))
    };
    let channel = to(&place).connections(2).on_connect(hook).build().unwrap();
    channel.watch().wait_for(|_| place.connections() == 2).await;
    sleep(SECOND).await;
    let listed = channel.peers();
    drop(channel);
    for index in 0..2 {
        assert!(place.far(index).closed().await.local.is_clean());
    }
    for peer in listed.iter().chain(&*kept.lock().unwrap()) {
        assert!(peer.is_closed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_closed_gives_its_hook_up() {
    let place = Place::default();
    let begun = Arc::new(Notify::new());
    let begin = Arc::clone(&begun);
    let hook = move |_: Peer| {
        begin.notify_one();
        pending::<Result<(), Status>>()
    };
    let channel = to(&place).on_connect(hook).build().unwrap();
    begun.notified().await;
    assert!(channel.peers().is_empty() && !channel.state().is_connected());
    channel.close();
    place.far(0).closed().await;
    assert!(channel.connected().await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_watcher_that_is_slow_learns_of_each_new_connection() {
    let place = Place::default();
    let channel = to(&place).build().unwrap();
    let mut states = channel.watch();
    let State::Connected { generation: 1, .. } = states.wait_for(State::is_connected).await else {
        panic!("{:?}", states.state())
    };
    for round in 0..3 {
        place.crash(round);
        assert_answers(&client(&channel)).await;
    }
    // It looks again only now: the state is the same, the connection is not.
    assert_eq!((channel.generation(), states.generation()), (4, 4));
    let State::Connected { generation: 4, .. } = states.changed().await else { panic!("it was missed") };
    // Nothing has changed since.
    tokio::select! {
        biased;
        state = states.changed() => panic!("{state:?}"),
        () = sleep(100 * SECOND) => {}
    }
    channel.close();
    assert!(matches!(states.wait_for(State::is_connected).await, State::Closed));
}

#[tokio::test(start_paused = true)]
async fn each_of_several_connections_has_a_state_and_counts() {
    let places = [Place::default(), Place::default()];
    let channel = Reconnect::builder()
        .connector(places[0].connector())
        .connector(places[1].connector())
        .connections(2)
        .build()
        .unwrap();
    let mut states = channel.watch();
    states.wait_for(|state| matches!(state, State::Connected { generation: 2, .. })).await;
    let generations = |channel: &Reconnect| -> Vec<_> {
        let of =
            |state| if let State::Connected { generation, .. } = state { Some(generation) } else { None };
        channel.states().into_iter().map(of).collect()
    };
    let mut both = generations(&channel);
    both.sort_unstable();
    assert_eq!(both, [Some(1), Some(2)]);
    places.iter().for_each(|place| place.set_down(true));
    places[1].crash(0);
    sleep(MILLI).await;
    // One is left: the client is connected, and has made no further connection.
    assert!(channel.state().is_connected());
    assert_eq!(generations(&channel).iter().flatten().count(), 1);
    assert_eq!((channel.generation(), channel.peers().len()), (2, 1));
    places[0].set_down(false);
    states.wait_for(|state| matches!(state, State::Connected { generation: 3, .. })).await;
    assert_eq!(channel.peers().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn peers_show_capabilities_and_what_is_counted_and_calls_of_past_connections_count() {
    let place = Place::default();
    let builder = Peer::builder().serve(WorkServer::new(Worker::default()));
    let channel = to(&place).peer(builder).build().unwrap();
    assert!(channel.peers().is_empty());
    let mut ids = HashSet::new();
    for round in 0..3_usize {
        assert_answers(&client(&channel)).await;
        let [peer] = &channel.peers()[..] else { panic!("not one peer") };
        assert!(ids.insert(peer.id()), "an id came twice");
        assert_eq!(peer.capabilities().await.unwrap().services()[0].name(), "Work");
        assert!(peer.stats().bytes_received > 0);
        let back: WorkClient<Channel> = WorkClient::new(place.far(round).channel());
        back.echo("x".to_owned()).await.unwrap();
        assert_eq!(peer.call_stats().served, 1);
        let stats = channel.call_stats();
        assert_eq!((stats.started, stats.served), (round as u64 + 1, round as u64 + 1));
        place.crash(round);
        peer.closed().await;
        assert!(channel.peers().iter().all(|other| other != peer));
    }
    drop(channel.clone());
    channel.close();
    assert!(channel.peers().is_empty());
    assert_eq!(channel.call_stats().served, 3);
}
