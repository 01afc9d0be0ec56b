//! Sets of servers that change: resolvers and streams.

use std::{
    process,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::{StreamExt, stream};
use muxado_rpc::{
    Address, Balanced, BoxError, Code, Server, Status,
    balanced::{BalancedState, Resolved, Resolver},
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep},
};

use crate::fleet::{Does, Fake, MILLI, NodeClient, NodeServer, SECOND, fakes, to};

/// What a resolver says, and when it was asked.
#[derive(Clone)]
struct Told(Arc<Inner>);

struct Inner {
    answer: Mutex<Result<Resolved, &'static str>>,
    begin: Instant,
    asked: Mutex<Vec<u64>>,
}

impl Told {
    fn new(answer: Result<Resolved, &'static str>) -> Self {
        Self(Arc::new(Inner { answer: Mutex::new(answer), begin: Instant::now(), asked: Mutex::default() }))
    }

    fn says(&self, answer: Result<Resolved, &'static str>) {
        *self.0.answer.lock().unwrap() = answer;
    }

    /// Seconds at which it was asked.
    fn asked(&self) -> Vec<u64> {
        self.0.asked.lock().unwrap().clone()
    }
}

#[async_trait::async_trait]
impl Resolver for Told {
    async fn resolve(&mut self) -> Result<Resolved, BoxError> {
        self.0.asked.lock().unwrap().push(self.0.begin.elapsed().as_secs());
        let answer = self.0.answer.lock().unwrap().clone();
        assert_ne!(answer, Err("panic"));
        Ok(answer?)
    }

    fn name(&self) -> String {
        "the registry".to_owned()
    }
}

fn nothing() -> Result<Resolved, &'static str> {
    Ok(Resolved::default())
}

#[tokio::test(start_paused = true)]
async fn a_resolver_is_asked_every_30_seconds_and_when_a_connection_has_ended() {
    let (fakes, told) = (fakes::<2>(), Told::new(nothing()));
    let channel = to(&fakes).resolver(told.clone()).build().unwrap();
    channel.connected_to(2).await.unwrap();
    // The first time, nothing was connected yet.
    sleep(Duration::from_secs(80)).await;
    assert_eq!(told.asked(), [0, 5, 35, 65]);
    fakes[0].kill();
    sleep(MILLI).await;
    assert_eq!(told.asked(), [0, 5, 35, 65, 80]);
    // Not within five seconds, and then once for all that has happened.
    fakes[1].kill();
    sleep(4 * SECOND).await;
    assert_eq!(told.asked().len(), 5);
    sleep(2 * SECOND).await;
    assert_eq!(told.asked()[5..], [85]);
    // Without servers, as often as may be.
    sleep(10 * SECOND).await;
    assert_eq!(told.asked()[6..], [90, 95]);
}

#[tokio::test(start_paused = true)]
async fn an_answer_holds_no_longer_than_it_says() {
    let (fakes, told) = (fakes::<1>(), Told::new(Ok(Resolved::default().valid_for(12 * SECOND))));
    let channel = to(&fakes).resolver(told.clone()).resolve_apart(2 * SECOND).build().unwrap();
    channel.connected().await.unwrap();
    sleep(30 * SECOND).await;
    assert_eq!(told.asked(), [0, 2, 14, 26]);
    told.says(Ok(Resolved::default().valid_for(Duration::ZERO)));
    sleep(15 * SECOND).await;
    assert_eq!(told.asked()[4..], [38, 40, 42, 44]);
}

#[tokio::test(start_paused = true)]
async fn without_servers_calls_wait_and_say_who_named_none() {
    let told = Told::new(nothing());
    let channel = Balanced::builder().resolver(told.clone()).build().unwrap();
    let client = NodeClient::new(channel.clone());
    let BalancedState::Waiting { reason } = channel.state() else { unreachable!("{channel:?}") };
    assert_eq!(reason, "the registry has found no servers yet");
    let error: Status = client.write().timeout(SECOND).await.unwrap_err().into();
    assert_eq!((error.code(), error.may_have_executed()), (Code::DeadlineExceeded, false));
    assert!(
        error.message().ends_with("no server within the time limit: the registry finds no servers"),
        "{error}"
    );
    for (answer, text) in [
        (Err("it is on fire"), "the registry fails: it is on fire"),
        (Err("panic"), "the registry fails: it panicked"),
    ] {
        told.says(answer);
        sleep(5 * SECOND).await;
        let BalancedState::Waiting { reason } = channel.state() else { unreachable!("{channel:?}") };
        assert_eq!(reason, text);
    }
}

/// Servers on abstract Unix sockets.
struct Place {
    fake: Fake,
    address: Address,
    server: Server,
}

async fn listen(id: usize) -> Place {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let number = NEXT.fetch_add(1, Ordering::SeqCst);
    let address: Address = format!("unix:@muxado-balanced-{}-{number}", process::id()).parse().unwrap();
    let fake = Fake::new(id);
    let server = Server::builder().serve(NodeServer::new(fake.clone())).listen(&address).await.unwrap();
    Place { fake, address, server }
}

/// Waits, in real time, until it is so.
async fn until(what: impl Fn() -> bool) {
    for _ in 0..5000 {
        if what() {
            return;
        }
        sleep(MILLI).await;
    }
    unreachable!("it never came so");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn servers_join_and_leave_without_a_failed_call() {
    let places = [listen(0).await, listen(1).await, listen(2).await];
    let set = |ids: &[usize]| ids.iter().map(|id| places[*id].address.clone()).collect::<Vec<_>>();
    let (sets, told) = mpsc::unbounded_channel();
    let told = stream::unfold(told, async |mut told| told.recv().await.map(|set| (set, told)));
    // What is named twice is one server.
    sets.send(set(&[0, 1, 0, 1])).unwrap();
    let channel = Balanced::builder().updates(told).build().unwrap();
    channel.connected_to(2).await.unwrap();
    assert_eq!(channel.endpoints().len(), 2);
    let client = NodeClient::new(channel.clone());
    let calling = tokio::spawn({
        let client = client.clone();
        async move {
            let mut answered = [0_usize; 3];
            while answered.iter().sum::<usize>() < 100_000 && answered[2] < 50 {
                answered[client.write().await.unwrap()] += 1;
            }
            answered
        }
    });
    // A call that is under way when its server leaves.
    places[0].fake.does(Does::AnswerAfter(500 * MILLI));
    places[1].fake.does(Does::AnswerAfter(500 * MILLI));
    let slow: Vec<_> = (0..8).map(|_| tokio::spawn(client.write())).collect();
    until(|| places[0].fake.running() > 0 && places[1].fake.running() > 0).await;
    places.iter().for_each(|place| place.fake.does(Does::Answer));
    sets.send(set(&[1, 2])).unwrap();
    until(|| channel.endpoints().iter().all(|server| server.name() != places[0].address.to_string())).await;
    for call in slow {
        call.await.unwrap().unwrap();
    }
    let answered = calling.await.unwrap();
    assert!(answered[2] >= 50, "{answered:?}");
    // Its connection has ended with its calls.
    until(|| places[0].server.stats().connections == 0).await;
    let before = places[0].fake.executed();
    for _ in 0..50 {
        client.write().await.unwrap();
    }
    assert_eq!(places[0].fake.executed(), before);
    // None at all, then one again; a stream that ends changes nothing.
    sets.send(Vec::new()).unwrap();
    until(|| channel.endpoints().is_empty()).await;
    let BalancedState::Waiting { reason } = channel.state() else { unreachable!("{channel:?}") };
    assert_eq!(reason, "the stream of addresses (BalancedBuilder::updates) names no servers");
    let waiting = tokio::spawn(client.write());
    sets.send(set(&[0])).unwrap();
    assert_eq!(waiting.await.unwrap(), Ok(0));
    drop(sets);
    assert_eq!(client.write().await, Ok(0));
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_failure_of_the_resolver_keeps_the_servers() {
    let place = listen(0).await;
    let told = Told::new(Ok(Resolved::new([place.address.clone(), place.address.clone()])));
    let channel =
        Balanced::builder().resolver(told.clone()).resolve_apart(MILLI).resolve_every(MILLI).build().unwrap();
    channel.connected().await.unwrap();
    assert_eq!(channel.endpoints().len(), 1);
    let asked = told.asked().len();
    told.says(Err("it is on fire"));
    until(|| told.asked().len() > asked + 3).await;
    assert_eq!(NodeClient::new(channel.clone()).write().await, Ok(0));
    told.says(nothing());
    until(|| channel.endpoints().is_empty()).await;
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_ends_or_panics_leaves_the_last_set() {
    let fakes = fakes::<1>();
    let sets = stream::iter([vec!["unix:@nobody".parse().unwrap()]]).chain(stream::once(async {
        sleep(SECOND).await;
        unreachable!("on purpose")
    }));
    let channel = to(&fakes).updates(sets).build().unwrap();
    sleep(5 * SECOND).await;
    assert_eq!(channel.endpoints().len(), 2);
    assert_eq!(NodeClient::new(channel).write().await, Ok(0));
}
