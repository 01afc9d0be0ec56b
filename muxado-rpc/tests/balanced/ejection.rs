//! Servers that are connected and fail.

use muxado_rpc::{
    Status,
    balanced::{BalancedState, OutlierDetection},
};
use tokio::time::{Instant, sleep};

use crate::fleet::{Does, Fake, MILLI, NodeClient, SECOND, connected, fakes, load, to};

/// Calls until a server is ejected.
async fn until_ejected(
    client: &NodeClient<muxado_rpc::Balanced>,
    channel: &muxado_rpc::Balanced,
    which: usize,
) {
    while !channel.endpoints()[which].is_ejected() {
        let _ = client.write().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_fails_is_ejected_and_comes_back() {
    let fakes = fakes::<3>();
    let (channel, client) = connected(to(&fakes), 3).await;
    fakes[2].does(Does::Fail);
    until_ejected(&client, &channel, 2).await;
    assert_eq!(fakes[2].executed(), 5);
    assert_eq!(channel.state(), BalancedState::Ready { servers: 2 });
    let until = channel.endpoints()[2].ejected_until().unwrap();
    assert_eq!(until - Instant::now(), 10 * SECOND);
    let (answered, failed) = load::<3>(&client, 10, 1000).await;
    assert_eq!((failed.len(), answered[2]), (0, 0));
    assert_eq!(fakes[2].executed(), 5);
    // It is tried again, and once more ejected, for longer.
    sleep(10 * SECOND + MILLI).await;
    assert_eq!(channel.state(), BalancedState::Ready { servers: 3 });
    until_ejected(&client, &channel, 2).await;
    assert_eq!(fakes[2].executed(), 10);
    let until = channel.endpoints()[2].ejected_until().unwrap();
    assert_eq!(until - Instant::now(), 20 * SECOND);
    fakes[2].does(Does::Answer);
    sleep(20 * SECOND + MILLI).await;
    let (answered, failed) = load::<3>(&client, 10, 1000).await;
    assert!(failed.is_empty() && answered[2] > 200, "{answered:?}");
}

#[tokio::test(start_paused = true)]
async fn no_more_than_a_share_of_the_servers_is_ejected() {
    let fakes = fakes::<5>();
    let (channel, client) = connected(to(&fakes), 5).await;
    fakes.iter().for_each(|fake| fake.does(Does::Fail));
    let (_, failed) = load::<5>(&client, 10, 1000).await;
    assert_eq!(failed.len(), 1000);
    let ejected = channel.endpoints().iter().filter(|server| server.is_ejected()).count();
    assert_eq!(ejected, 2);
    assert_eq!(channel.state(), BalancedState::Ready { servers: 3 });
}

#[tokio::test(start_paused = true)]
async fn an_ejected_server_is_better_than_none() {
    let fakes = fakes::<2>();
    let (channel, client) = connected(to(&fakes), 2).await;
    fakes[0].does(Does::Fail);
    until_ejected(&client, &channel, 0).await;
    fakes[0].does(Does::Answer);
    fakes[1].kill();
    sleep(MILLI).await;
    assert_eq!(client.write().await, Ok(0));
    assert!(channel.endpoints()[0].is_ejected());
}

#[tokio::test(start_paused = true)]
async fn a_server_that_was_started_again_is_taken_back_at_once() {
    let fakes = fakes::<2>();
    let (channel, client) = connected(to(&fakes), 2).await;
    fakes[0].does(Does::Fail);
    until_ejected(&client, &channel, 0).await;
    fakes[0].kill();
    fakes[0].does(Does::Answer);
    fakes[0].set_down(false);
    channel.connected_to(2).await.unwrap();
    assert!(!channel.endpoints()[0].is_ejected());
}

#[tokio::test(start_paused = true)]
async fn what_a_method_refuses_is_no_failure_of_its_server() {
    let fakes = fakes::<2>();
    let (channel, client) = connected(to(&fakes), 2).await;
    fakes[0].does(Does::FailOtherwise);
    let (_, failed) = load::<2>(&client, 10, 1000).await;
    assert!(failed.len() > 100);
    assert!(!channel.endpoints()[0].is_ejected());
    // A server that answers now and then works.
    let before = fakes[0].executed();
    for _ in 0..200 {
        fakes[0].does(if fakes[0].executed() % 4 == 3 { Does::Answer } else { Does::Fail });
        let _ = client.write().await;
    }
    assert!(fakes[0].executed() > before + 50);
}

#[tokio::test(start_paused = true)]
async fn time_limits_that_pass_count_and_detection_may_be_off() {
    let fakes = fakes::<2>();
    let few = OutlierDetection::default().consecutive_failures(3).ejection_time(3 * SECOND);
    let (channel, client) = connected(to(&fakes).outlier_detection(few), 2).await;
    fakes[1].does(Does::Hang);
    while !channel.endpoints()[1].is_ejected() {
        let _ = client.write().timeout(10 * MILLI).await;
    }
    assert_eq!((fakes[1].executed(), fakes[1].running()), (3, 0));
    let (channel, client) = connected(to(&fakes).no_outlier_detection(), 2).await;
    fakes[1].does(Does::Fail);
    let (_, failed) = load::<2>(&client, 1, 200).await;
    assert!(failed.len() > 60);
    assert!(failed.iter().all(|error| Status::from(error.clone()).message() == "out of order"));
    assert!(!channel.endpoints()[1].is_ejected());
}

#[tokio::test(start_paused = true)]
async fn connections_that_are_lost_eject_nobody() {
    let fakes = fakes::<2>();
    fakes.iter().for_each(|fake| fake.does(Does::AnswerAfter(SECOND)));
    let (channel, client) = connected(to(&fakes), 2).await;
    let calls: Vec<_> = (0..40).map(|_| tokio::spawn(client.write())).collect();
    sleep(100 * MILLI).await;
    fakes[0].kill();
    fakes[0].set_down(false);
    let mut lost = 0;
    for call in calls {
        lost += usize::from(call.await.unwrap().is_err());
    }
    assert_eq!(lost, fakes[0].executed());
    assert!(lost > 5);
    channel.connected_to(2).await.unwrap();
    assert!(fakes.iter().map(Fake::connections).all(|count| count == 1));
}
