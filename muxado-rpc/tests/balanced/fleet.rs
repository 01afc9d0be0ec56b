//! Servers in memory, each of which can be told what to do.

use std::{
    future::pending,
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::{StreamExt, stream};
use muxado_rpc::{
    Balanced, BalancedBuilder, BoxIo, CallError, CallHead, Peer, Status, Stream, reconnect::Connector,
};
use tokio::{io::duplex, task::JoinSet, time::sleep};

pub const MILLI: Duration = Duration::from_millis(1);
pub const SECOND: Duration = Duration::from_secs(1);

#[muxado_rpc::service]
pub trait Node {
    /// Returns the number of the server that answers.
    #[method(idempotent)]
    async fn read(&self) -> Result<usize, Status>;
    /// Returns the number of the server that answers. Must not be executed twice.
    async fn write(&self) -> Result<usize, Status>;
    /// Says who answers, then nothing until it is dropped.
    async fn watch(&self) -> impl Stream<Item = usize>;
}

/// What a server does with a call.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Does {
    Answer,
    AnswerAfter(Duration),
    /// Fails with `unavailable`; the method has run.
    Fail,
    /// Fails with a status that says nothing of the server.
    FailOtherwise,
    /// Refuses before the method runs.
    Refuse,
    Hang,
}

/// One server.
#[derive(Clone)]
pub struct Fake(Arc<Inner>);

struct Inner {
    id: usize,
    does: Mutex<Does>,
    is_down: Mutex<bool>,
    peers: Mutex<Vec<Peer>>,
    /// Calls that came, refused ones included.
    came: AtomicUsize,
    /// Methods that began.
    executed: AtomicUsize,
    running: AtomicUsize,
    asked: AtomicUsize,
}

/// A method that runs.
struct Running(Arc<Inner>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Fake {
    pub fn new(id: usize) -> Self {
        Self(Arc::new(Inner {
            id,
            does: Mutex::new(Does::Answer),
            is_down: Mutex::default(),
            peers: Mutex::default(),
            came: AtomicUsize::default(),
            executed: AtomicUsize::default(),
            running: AtomicUsize::default(),
            asked: AtomicUsize::default(),
        }))
    }

    pub fn does(&self, does: Does) {
        *self.0.does.lock().unwrap() = does;
    }

    fn doing(&self) -> Does {
        *self.0.does.lock().unwrap()
    }

    /// Calls that came, refused ones included.
    pub fn came(&self) -> usize {
        self.0.came.load(Ordering::SeqCst)
    }

    pub fn executed(&self) -> usize {
        self.0.executed.load(Ordering::SeqCst)
    }

    pub fn running(&self) -> usize {
        self.0.running.load(Ordering::SeqCst)
    }

    /// How often it was asked for a connection.
    pub fn asked(&self) -> usize {
        self.0.asked.load(Ordering::SeqCst)
    }

    pub fn connections(&self) -> usize {
        self.peers().iter().filter(|peer| !peer.is_closed()).count()
    }

    pub fn peers(&self) -> Vec<Peer> {
        self.0.peers.lock().unwrap().clone()
    }

    pub fn set_down(&self, is_down: bool) {
        *self.0.is_down.lock().unwrap() = is_down;
    }

    /// Goes without a word, as a crash does; stays down.
    pub fn kill(&self) {
        self.set_down(true);
        let peers = std::mem::take(&mut *self.0.peers.lock().unwrap());
        peers.iter().for_each(Peer::close);
    }

    /// Shuts down, letting calls finish; stays down.
    pub async fn drain(&self) {
        self.set_down(true);
        let peers = std::mem::take(&mut *self.0.peers.lock().unwrap());
        let mut drains = JoinSet::new();
        for peer in peers {
            drains.spawn(async move { peer.shutdown(10 * SECOND).await });
        }
        for drained in drains.join_all().await {
            assert!(drained.is_clean(), "{drained:?}");
        }
    }

    async fn run(&self) -> Result<usize, Status> {
        self.0.executed.fetch_add(1, Ordering::SeqCst);
        self.0.running.fetch_add(1, Ordering::SeqCst);
        let _running = Running(Arc::clone(&self.0));
        match self.doing() {
            Does::Answer | Does::Refuse => {}
            Does::AnswerAfter(time) => sleep(time).await,
            Does::Fail => return Err(Status::unavailable("out of order")),
            Does::FailOtherwise => return Err(Status::failed_precondition("not now")),
            Does::Hang => pending().await,
        }
        Ok(self.0.id)
    }
}

impl Node for Fake {
    async fn read(&self) -> Result<usize, Status> {
        self.run().await
    }

    async fn write(&self) -> Result<usize, Status> {
        self.run().await
    }

    async fn watch(&self) -> impl Stream<Item = usize> {
        self.0.executed.fetch_add(1, Ordering::SeqCst);
        stream::iter([self.0.id]).chain(stream::pending())
    }
}

#[async_trait::async_trait]
impl Connector for Fake {
    async fn connect(&self) -> io::Result<BoxIo> {
        self.0.asked.fetch_add(1, Ordering::SeqCst);
        if *self.0.is_down.lock().unwrap() {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let (near, far) = duplex(64 * 1024);
        let fake = self.clone();
        let check = move |_: &mut CallHead<'_>| {
            fake.0.came.fetch_add(1, Ordering::SeqCst);
            match fake.doing() {
                Does::Refuse => Err(Status::unavailable("busy")),
                _ => Ok(()),
            }
        };
        let peer = Peer::builder().authorize(check).serve(NodeServer::new(self.clone())).server(far).unwrap();
        self.0.peers.lock().unwrap().push(peer);
        Ok(Box::new(near))
    }
}

/// Some servers.
pub fn fakes<const N: usize>() -> [Fake; N] {
    std::array::from_fn(Fake::new)
}

/// A client of all of them.
pub fn to(fakes: &[Fake]) -> BalancedBuilder {
    fakes.iter().fold(Balanced::builder(), |builder, fake| builder.connector(fake.clone()))
}

/// A client that is connected to all of them.
pub async fn connected(builder: BalancedBuilder, servers: usize) -> (Balanced, NodeClient<Balanced>) {
    let channel = builder.build().unwrap();
    channel.connected_to(servers).await.unwrap();
    (channel.clone(), NodeClient::new(channel))
}

/// Makes so many calls, so many at a time. Returns how many each server answered, and what failed.
pub async fn load<const N: usize>(
    client: &NodeClient<Balanced>,
    callers: usize,
    calls: usize,
) -> ([usize; N], Vec<CallError<Status>>) {
    let mut tasks = JoinSet::new();
    for caller in 0..callers {
        let client = client.clone();
        tasks.spawn(async move {
            let mut results = Vec::new();
            for _ in 0..calls / callers + usize::from(caller < calls % callers) {
                let result = client.read().await;
                if result.is_err() {
                    // Time is to pass whatever happens.
                    sleep(MILLI).await;
                }
                results.push(result);
            }
            results
        });
    }
    let (mut answered, mut failed) = ([0; N], Vec::new());
    for result in tasks.join_all().await.into_iter().flatten() {
        match result {
            Ok(id) => answered[id] += 1,
            Err(error) => failed.push(error),
        }
    }
    (answered, failed)
}

pub fn assert_even(answered: &[usize]) {
    let mean = answered.iter().sum::<usize>() / answered.len();
    let is_near = |count: &usize| count.abs_diff(mean) * 5 <= mean;
    assert!(answered.iter().all(is_near), "not within 20 % of {mean}: {answered:?}");
}
