//! Servers that go and come back.

use muxado_rpc::{Code, Status, balanced::BalancedState};
use tokio::time::{Instant, sleep};

use crate::fleet::{Does, Fake, MILLI, NodeClient, SECOND, assert_even, connected, fakes, load, to};

#[tokio::test(start_paused = true)]
async fn calls_wait_while_all_servers_are_down() {
    let fakes = fakes::<3>();
    fakes.iter().for_each(|fake| fake.set_down(true));
    let channel = to(&fakes).build().unwrap();
    let client = NodeClient::new(channel.clone());
    let calls: Vec<_> = (0..30).map(|_| tokio::spawn(client.write())).collect();
    sleep(60 * SECOND).await;
    assert!(calls.iter().all(|call| !call.is_finished()));
    let BalancedState::Waiting { reason } = channel.state() else { unreachable!("{channel:?}") };
    assert!(reason.starts_with("none of 3 servers is connected: cannot connect to"), "{reason}");
    fakes.iter().for_each(|fake| fake.set_down(false));
    let back = Instant::now();
    for call in calls {
        call.await.unwrap().unwrap();
    }
    channel.connected_to(3).await.unwrap();
    // No pause is longer than a second.
    assert!(back.elapsed() <= SECOND + MILLI, "{:?}", back.elapsed());
    let (answered, failed) = load::<3>(&client, 10, 3000).await;
    assert_eq!(failed.len(), 0);
    assert_even(&answered);
    assert_eq!(fakes.iter().map(Fake::executed).sum::<usize>(), 3030);
}

#[tokio::test(start_paused = true)]
async fn a_call_says_why_there_is_no_server() {
    let fakes = fakes::<2>();
    fakes.iter().for_each(|fake| fake.set_down(true));
    let channel = to(&fakes).max_waiting(2).build().unwrap();
    let client = NodeClient::new(channel.clone());
    sleep(SECOND).await;
    let begin = Instant::now();
    let error: Status = client.write().timeout(SECOND).await.unwrap_err().into();
    assert_eq!((error.code(), error.may_have_executed()), (Code::DeadlineExceeded, false));
    assert!(error.message().contains("no server within the time limit: none of 2 servers"), "{error}");
    assert_eq!(begin.elapsed(), SECOND);
    // Two wait, also one that nobody polls any more.
    let mut waiting = [(); 2].map(|()| Box::pin(client.write()));
    for call in &mut waiting {
        assert!(futures_util::poll!(call.as_mut()).is_pending());
    }
    let error: Status = client.write().await.unwrap_err().into();
    assert_eq!((error.code(), error.may_have_executed()), (Code::Unavailable, false));
    assert!(
        error.message().contains("2 calls wait for a server already (BalancedBuilder::max_waiting)"),
        "{error}"
    );
    drop(waiting);
    let channel = to(&fakes).fail_fast().build().unwrap();
    sleep(SECOND).await;
    let error: Status = NodeClient::new(channel.clone()).write().await.unwrap_err().into();
    assert_eq!((error.code(), error.may_have_executed()), (Code::Unavailable, false));
    assert!(error.message().contains("connection refused"), "{error}");
    fakes[1].set_down(false);
    channel.connected().await.unwrap();
    assert_eq!(NodeClient::new(channel).write().await, Ok(1));
}

#[tokio::test(start_paused = true)]
async fn unpolled_calls_hold_nobody_up() {
    let fakes = fakes::<2>();
    fakes.iter().for_each(|fake| fake.set_down(true));
    let channel = to(&fakes).build().unwrap();
    let client = NodeClient::new(channel);
    let mut unpolled: Vec<_> = (0..100).map(|_| Box::pin(client.write())).collect();
    for call in &mut unpolled {
        assert!(futures_util::poll!(call.as_mut()).is_pending());
    }
    let call = tokio::spawn(client.write());
    sleep(MILLI).await;
    fakes[0].set_down(false);
    assert_eq!(call.await.unwrap(), Ok(0));
    // Those that are polled again go on.
    assert_eq!(unpolled.pop().unwrap().await, Ok(0));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_drains_gets_no_new_calls_and_finishes_the_old_ones() {
    let fakes = fakes::<3>();
    let (channel, client) = connected(to(&fakes), 3).await;
    fakes.iter().for_each(|fake| fake.does(Does::AnswerAfter(SECOND)));
    let calls: Vec<_> = (0..30).map(|_| tokio::spawn(client.write())).collect();
    sleep(100 * MILLI).await;
    let under_way = fakes[1].running();
    assert!((7..=13).contains(&under_way), "{under_way}");
    let drained = tokio::spawn({
        let fake = fakes[1].clone();
        async move { fake.drain().await }
    });
    sleep(MILLI).await;
    let further: Vec<_> = (0..30).map(|_| tokio::spawn(client.write())).collect();
    for call in calls.into_iter().chain(further) {
        call.await.unwrap().unwrap();
    }
    drained.await.unwrap();
    assert_eq!(fakes[1].came(), under_way);
    assert_eq!(channel.state(), BalancedState::Ready { servers: 2 });
}

#[tokio::test(start_paused = true)]
async fn no_call_fails_while_one_is_killed_and_one_drains_and_the_load_is_even_again() {
    let fakes = fakes::<3>();
    fakes.iter().for_each(|fake| fake.does(Does::AnswerAfter(2 * MILLI)));
    let (_channel, client) = connected(to(&fakes), 3).await;
    let going = async {
        sleep(100 * MILLI).await;
        fakes[0].kill();
        sleep(100 * MILLI).await;
        fakes[1].drain().await;
        sleep(100 * MILLI).await;
        fakes[0].set_down(false);
        fakes[1].set_down(false);
        sleep(2 * SECOND).await;
        fakes.each_ref().map(Fake::executed)
    };
    let ((_, failed), before) = tokio::join!(load::<3>(&client, 30, 60_000), going);
    assert_eq!(failed, []);
    let answered: Vec<_> = fakes.iter().zip(before).map(|(fake, before)| fake.executed() - before).collect();
    assert!(answered.iter().sum::<usize>() > 10_000, "{answered:?}");
    assert_even(&answered);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_answer_holds_nobody_up() {
    let fakes = fakes::<2>();
    let dead = || std::future::pending::<std::io::Result<tokio::io::DuplexStream>>();
    let channel =
        muxado_rpc::Balanced::builder().connector(dead).connector(fakes[1].clone()).build().unwrap();
    let begin = Instant::now();
    assert_eq!(NodeClient::new(channel.clone()).write().await, Ok(1));
    assert_eq!(begin.elapsed().as_millis(), 0);
    // It never becomes one that takes calls, and says so once its time is over.
    sleep(11 * SECOND).await;
    assert_eq!(channel.state(), BalancedState::Ready { servers: 1 });
    assert!(!channel.endpoints()[0].is_connected());
}

/// A linear congruential generator, for what happens when.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

#[tokio::test(start_paused = true)]
async fn after_any_sequence_of_restarts_the_load_is_even_again_in_two_seconds() {
    for seed in 0..5 {
        let fakes = fakes::<4>();
        fakes.iter().for_each(|fake| fake.does(Does::AnswerAfter(10 * MILLI)));
        let (_channel, client) = connected(to(&fakes), 4).await;
        let restarts = async {
            let mut random = Random(seed);
            for _ in 0..20 {
                let fake = &fakes[random.below(4) as usize];
                match random.below(5) {
                    0 => fake.kill(),
                    1 => fake.drain().await,
                    2 => fake.does(Does::Fail),
                    3 => fake.does(Does::AnswerAfter(10 * MILLI)),
                    _ => fake.set_down(false),
                }
                sleep(MILLI * random.below(400) as u32).await;
            }
            for fake in &fakes {
                // All are started anew.
                fake.kill();
                sleep(MILLI * random.below(3000) as u32).await;
                fake.does(Does::AnswerAfter(10 * MILLI));
                fake.set_down(false);
            }
            sleep(2 * SECOND).await;
        };
        let calling = async {
            loop {
                load::<4>(&client, 20, 200).await;
            }
        };
        tokio::select! {
            () = calling => {}
            () = restarts => {}
        }
        let (answered, failed) = load::<4>(&client, 20, 4000).await;
        assert_eq!(failed, [], "seed {seed}");
        assert_even(&answered);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_refused_goes_elsewhere_until_it_has_begun() {
    let fakes = fakes::<2>();
    let (channel, client) = connected(to(&fakes), 2).await;
    fakes[0].does(Does::Refuse);
    for _ in 0..20 {
        let mut items = client.watch().await.unwrap();
        assert_eq!(items.next().await.unwrap(), Ok(1));
        let pending: Vec<_> = channel.endpoints().iter().map(|server| server.pending()).collect();
        assert_eq!(pending, [0, 1]);
    }
    assert!(fakes[0].came() > 0);
    assert!(channel.endpoints().iter().all(|server| server.pending() == 0));
    let mut items = client.watch().await.unwrap();
    items.next().await.unwrap().unwrap();
    fakes[1].kill();
    let error: Status = items.next().await.unwrap().unwrap_err().into();
    assert_eq!((error.code(), error.may_have_executed()), (Code::Unavailable, true));
    assert!(channel.endpoints().iter().all(|server| server.pending() == 0));
}
