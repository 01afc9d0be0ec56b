//! A second attempt beside the first.

use muxado_rpc::balanced::RetryBudget;
use tokio::time::{Instant, sleep};

use crate::fleet::{Does, Fake, MILLI, SECOND, connected, fakes, to};

#[tokio::test(start_paused = true)]
async fn the_first_response_counts_and_the_other_attempt_is_cancelled() {
    let fakes = fakes::<2>();
    let (channel, client) = connected(to(&fakes).hedge_after(20 * MILLI), 2).await;
    fakes[0].does(Does::Hang);
    fakes[1].does(Does::AnswerAfter(5 * MILLI));
    for _ in 0..20 {
        let (begin, before) = (Instant::now(), fakes[0].executed());
        assert_eq!(client.read().await, Ok(1));
        let was_hedged = fakes[0].executed() > before;
        assert_eq!(
            begin.elapsed() / MILLI.as_millis() as u32,
            if was_hedged { 25 * MILLI } else { 5 * MILLI }
        );
    }
    sleep(MILLI).await;
    assert!(fakes[0].executed() > 0);
    assert_eq!(fakes[0].running(), 0);
    assert_eq!(fakes[1].executed(), 20);
    assert!(channel.endpoints().iter().all(|server| server.pending() == 0));
}

#[tokio::test(start_paused = true)]
async fn only_what_may_be_executed_twice_is() {
    let fakes = fakes::<3>();
    let (_channel, client) = connected(to(&fakes).hedge_after(20 * MILLI), 3).await;
    fakes.iter().for_each(|fake| fake.does(Does::AnswerAfter(SECOND)));
    let executed = || fakes.iter().map(Fake::executed).sum::<usize>();
    for _ in 0..5 {
        client.write().await.unwrap();
    }
    assert_eq!(executed(), 5);
    for _ in 0..5 {
        client.read().await.unwrap();
    }
    assert_eq!(executed(), 15);
    // By default, never.
    let (_channel, client) = connected(to(&fakes), 3).await;
    client.read().await.unwrap();
    assert_eq!(executed(), 16);
}

#[tokio::test(start_paused = true)]
async fn it_counts_against_the_budget_and_the_attempts() {
    let fakes = fakes::<2>();
    fakes.iter().for_each(|fake| fake.does(Does::AnswerAfter(100 * MILLI)));
    let executed = || fakes.iter().map(Fake::executed).sum::<usize>();
    let few = RetryBudget::default().share(0.0).min_per_second(1);
    let (_channel, client) = connected(to(&fakes).hedge_after(MILLI).retry_budget(few), 2).await;
    let calls: Vec<_> = (0..100).map(|_| tokio::spawn(client.read())).collect();
    for call in calls {
        call.await.unwrap().unwrap();
    }
    assert_eq!(executed(), 110);
    let (_channel, client) = connected(to(&fakes).hedge_after(MILLI).attempts(1), 2).await;
    client.read().await.unwrap();
    assert_eq!(executed(), 111);
}

#[tokio::test(start_paused = true)]
async fn a_failure_waits_for_the_other_attempt() {
    let fakes = fakes::<2>();
    let (_channel, client) = connected(to(&fakes).hedge_after(20 * MILLI), 2).await;
    fakes.iter().for_each(|fake| fake.does(Does::AnswerAfter(SECOND)));
    let call = tokio::spawn(client.read());
    sleep(500 * MILLI).await;
    assert_eq!(fakes.each_ref().map(Fake::running), [1, 1]);
    fakes[0].kill();
    assert_eq!(call.await.unwrap(), Ok(1));
    assert_eq!(fakes.each_ref().map(Fake::executed), [1, 1]);
}
