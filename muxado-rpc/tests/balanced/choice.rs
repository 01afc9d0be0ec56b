//! Which server gets a call.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use muxado_rpc::{
    Balanced, BoxChannel,
    balanced::BalancedState,
    layers::{TimeoutLayer, TraceLayer},
};
use tokio::time::sleep;
use tower::ServiceBuilder;

use crate::fleet::{Does, MILLI, NodeClient, assert_even, connected, fakes, load, to};

#[tokio::test(start_paused = true)]
async fn servers_that_are_alike_get_the_same_number_of_calls() {
    let fakes = fakes::<3>();
    let (channel, client) = connected(to(&fakes), 3).await;
    for callers in [1, 50] {
        let (answered, failed) = load::<3>(&client, callers, 3000).await;
        assert_eq!(failed.len(), 0);
        assert_even(&answered);
    }
    assert_eq!(channel.state(), BalancedState::Ready { servers: 3 });
    let names: Vec<_> = channel.endpoints().iter().map(|server| server.name().to_owned()).collect();
    assert_eq!(names, ["connector 1", "connector 2", "connector 3"]);
    assert!(channel.endpoints().iter().all(|server| server.is_connected() && server.pending() == 0));
    // One connection each.
    assert_eq!(fakes.map(|fake| fake.asked()), [1, 1, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_slow_server_gets_fewer_calls() {
    let fakes = fakes::<3>();
    let (_channel, client) = connected(to(&fakes), 3).await;
    for (fake, time) in fakes.iter().zip([MILLI, MILLI, 50 * MILLI]) {
        fake.does(Does::AnswerAfter(time));
    }
    let ([one, two, slow], failed) = load::<3>(&client, 30, 3000).await;
    assert_eq!(failed.len(), 0);
    assert!(slow * 5 < one && slow * 5 < two, "{one}, {two}, and {slow} of the slow one");
}

#[tokio::test(start_paused = true)]
async fn a_stream_counts_until_it_has_ended() {
    let fakes = fakes::<3>();
    let (channel, client) = connected(to(&fakes), 3).await;
    let pending = || channel.endpoints().iter().map(|server| server.pending()).collect::<Vec<_>>();
    let mut open = Vec::new();
    for _ in 0..30 {
        let mut items = client.watch().await.unwrap();
        items.next().await.unwrap().unwrap();
        open.push(items);
    }
    assert_eq!(pending().iter().sum::<usize>(), 30);
    // Each call saw those before it.
    assert!(pending().iter().all(|count| (7..=13).contains(count)), "{:?}", pending());
    drop(open.split_off(10));
    assert_eq!(pending().iter().sum::<usize>(), 10);
    drop(open);
    assert_eq!(pending(), [0, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_call_counts_until_it_is_answered_or_dropped() {
    let fakes = fakes::<2>();
    fakes.iter().for_each(|fake| fake.does(Does::Hang));
    let (channel, client) = connected(to(&fakes), 2).await;
    let pending = || channel.endpoints().iter().map(|server| server.pending()).collect::<Vec<_>>();
    let calls = [(); 8].map(|()| tokio::spawn(client.write()));
    sleep(MILLI).await;
    assert_eq!(pending(), [4, 4]);
    calls.iter().for_each(tokio::task::JoinHandle::abort);
    sleep(MILLI).await;
    assert_eq!(pending(), [0, 0]);
    assert_eq!(fakes.each_ref().map(|fake| fake.running()), [0, 0]);
}

#[tokio::test(start_paused = true)]
async fn each_new_connection_is_introduced_before_calls_go_over_it() {
    let fakes = fakes::<2>();
    let introduced = Arc::new(AtomicUsize::new(0));
    let builder = to(&fakes).on_connect({
        let introduced = Arc::clone(&introduced);
        move |peer| {
            introduced.fetch_add(1, Ordering::SeqCst);
            async move { NodeClient::new(peer.channel()).write().await.map(drop) }
        }
    });
    let (channel, client) = connected(builder, 2).await;
    assert_eq!(fakes.each_ref().map(|fake| fake.executed()), [1, 1]);
    fakes[0].kill();
    fakes[0].does(Does::FailOtherwise);
    fakes[0].set_down(false);
    for _ in 0..10 {
        assert_eq!(client.write().await, Ok(1));
    }
    fakes[0].does(Does::Answer);
    channel.connected_to(2).await.unwrap();
    assert!(introduced.load(Ordering::SeqCst) > 3);
}

#[tokio::test(start_paused = true)]
async fn it_goes_into_tasks_layers_and_a_boxed_channel() {
    fn is_shared<T: Clone + Send + Sync + 'static>(value: T) -> T {
        value
    }
    let fakes = fakes::<2>();
    let channel: Balanced = is_shared(to(&fakes).build().unwrap());
    let stack = ServiceBuilder::new()
        .layer(BoxChannel::layer())
        .layer(TraceLayer::client())
        .layer(TimeoutLayer::new(Duration::from_secs(1)))
        .service(channel);
    let client = is_shared(NodeClient::new(stack));
    let call = tokio::spawn({
        let client = client.clone();
        async move { client.write().await }
    });
    assert!(call.await.unwrap().unwrap() < 2);
    let channel = to(&fakes).build().unwrap();
    assert!(channel.call_raw("Node", "write").params(&()).call::<usize>().await.unwrap() < 2);
}
