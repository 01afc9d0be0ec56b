//! Servers that restart under load: no call may fail, none may be executed twice.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::{StreamExt, TryStreamExt, stream};
use muxado_rpc::{Address, Backoff, Drained, Limits, Peer, Reconnect, Server, Stream, reconnect::Connector};
use support::Random;
use tokio::{
    io::{DuplexStream, duplex},
    task::JoinSet,
    time::sleep,
};

const MILLI: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

#[muxado_rpc::service]
trait Ledger {
    /// Takes some time; the id comes back.
    async fn enter(&self, id: usize) -> usize;
    /// The same as a stream: the id comes back a few times.
    async fn repeat(&self, id: usize) -> impl Stream<Item = usize>;
}

/// How often each call was executed, on all servers together.
#[derive(Clone)]
struct Book {
    executed: Arc<Vec<AtomicU8>>,
    entered: Arc<AtomicUsize>,
}

impl Book {
    fn new(calls: usize) -> Self {
        let executed = std::iter::repeat_with(AtomicU8::default).take(calls).collect();
        Self { executed: Arc::new(executed), entered: Arc::default() }
    }

    fn entered(&self) -> usize {
        self.entered.load(Ordering::SeqCst)
    }

    fn assert_each_executed_once(&self) {
        let wrong: Vec<_> = self
            .executed
            .iter()
            .map(|times| times.load(Ordering::SeqCst))
            .enumerate()
            .filter(|(_, times)| *times != 1)
            .collect();
        assert!(wrong.is_empty(), "executed so many times: {wrong:?}");
    }
}

impl Ledger for Book {
    async fn enter(&self, id: usize) -> usize {
        self.executed[id].fetch_add(1, Ordering::SeqCst);
        self.entered.fetch_add(1, Ordering::SeqCst);
        match id % 4 {
            0 => sleep(MILLI * (id % 7) as u32).await,
            1 => tokio::task::yield_now().await,
            _ => {}
        }
        id
    }

    async fn repeat(&self, id: usize) -> impl Stream<Item = usize> {
        self.enter(id).await;
        stream::iter(0..id % 4).then(move |times| async move {
            sleep(MILLI * times as u32).await;
            id
        })
    }
}

/// Makes all calls, every other one of a stream, from several callers of each client, and checks every answer.
async fn call_all(clients: &[Reconnect], callers: usize, calls: usize) {
    let next = Arc::new(AtomicUsize::new(0));
    let mut tasks = JoinSet::new();
    for caller in 0..callers {
        let ledger = LedgerClient::new(clients[caller % clients.len()].clone());
        let next = Arc::clone(&next);
        tasks.spawn(async move {
            loop {
                let id = next.fetch_add(1, Ordering::SeqCst);
                if id >= calls {
                    return;
                }
                if id.is_multiple_of(2) {
                    assert_eq!(ledger.enter(id).await, Ok(id));
                } else {
                    let items = ledger.repeat(id).await.unwrap().try_collect::<Vec<_>>().await;
                    assert_eq!(items, Ok(vec![id; id % 4]));
                }
            }
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
}

/// A server in memory, which may be down.
#[derive(Clone)]
struct Place {
    book: Book,
    limits: Limits,
    down: Arc<AtomicBool>,
    peers: Arc<Mutex<Vec<Peer>>>,
}

impl Place {
    fn new(book: &Book, limits: &Limits) -> Self {
        Self { book: book.clone(), limits: limits.clone(), down: Arc::default(), peers: Arc::default() }
    }

    fn connector(&self) -> impl Connector {
        let place = self.clone();
        move || std::future::ready(place.accept())
    }

    fn accept(&self) -> io::Result<DuplexStream> {
        if self.down.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let (near, far) = duplex(16 * 1024);
        let builder = Peer::builder().limits(self.limits.clone());
        let peer = builder.serve(LedgerServer::new(self.book.clone())).server(far).unwrap();
        self.peers.lock().unwrap().push(peer);
        Ok(near)
    }

    async fn restart(&self, downtime: Duration) -> Drained {
        self.down.store(true, Ordering::SeqCst);
        let peers = std::mem::take(&mut *self.peers.lock().unwrap());
        let mut drains = JoinSet::new();
        for peer in peers {
            drains.spawn(async move { peer.shutdown(10 * SECOND).await });
        }
        let mut sum = Drained::default();
        drains.join_all().await.into_iter().for_each(|drained| sum += drained);
        sleep(downtime).await;
        self.down.store(false, Ordering::SeqCst);
        sum
    }
}

/// All calls in virtual time, while two servers restart at random.
async fn roll_in_memory(seed: u64, calls: usize, limits: Limits) {
    let book = Book::new(calls);
    let places = [Place::new(&book, &limits), Place::new(&book, &limits)];
    let client = |connections| {
        let builder = places.iter().fold(Reconnect::builder(), |all, place| all.connector(place.connector()));
        builder.connections(connections).build().unwrap()
    };
    let clients = [client(1), client(2), client(3)];
    let restarts = AtomicUsize::new(0);
    let restarting = |place: usize| {
        let (place, restarts, mut random) = (&places[place], &restarts, Random::new(seed + place as u64));
        async move {
            loop {
                sleep(MILLI * random.below(10) as u32).await;
                let drained = place.restart(MILLI * random.below(10) as u32).await;
                assert!(drained.is_clean(), "seed {seed}: {drained:?}");
                restarts.fetch_add(1, Ordering::SeqCst);
            }
        }
    };
    tokio::select! {
        () = call_all(&clients, 64, calls) => {}
        () = restarting(0) => {}
        () = restarting(1) => {}
    }
    book.assert_each_executed_once();
    assert!(restarts.into_inner() >= 20, "seed {seed}: the servers restarted too rarely");
}

#[tokio::test(start_paused = true)]
async fn no_call_fails_or_runs_twice_while_servers_restart() {
    for seed in 0..10 {
        roll_in_memory(seed, 10_000, Limits::default()).await;
    }
}

#[tokio::test(start_paused = true)]
async fn nor_while_calls_wait_for_others_on_the_serving_side() {
    for seed in 10..14 {
        roll_in_memory(seed, 5_000, Limits::default().max_in_flight(2)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nor_over_tcp() {
    const CALLS: usize = 10_000;
    let book = Book::new(CALLS);
    let listen = async |address: Address| {
        let server = Server::builder().serve(LedgerServer::new(book.clone()));
        server.listen(address).await.unwrap()
    };
    let any = Address::from(SocketAddr::from(([127, 0, 0, 1], 0)));
    let mut servers = [listen(any.clone()).await, listen(any).await];
    let addresses = servers.each_ref().map(|server| server.local_addr().clone());
    let client = |connections| {
        let builder = addresses.iter().fold(Reconnect::builder(), |all, address| all.address(address));
        builder.connections(connections).backoff(Backoff::default().max(5 * MILLI)).build().unwrap()
    };
    let clients = [client(1), client(2)];
    let rolling = async {
        let mut served = 0;
        for restart in 1.. {
            while book.entered() < restart * CALLS / 20 {
                sleep(MILLI).await;
            }
            let which = restart % 2;
            let drained = servers[which].shutdown(10 * SECOND).await;
            assert!(drained.is_clean(), "{drained:?}");
            served += servers[which].call_stats().served;
            servers[which] = listen(addresses[which].clone()).await;
            if restart == 19 {
                break;
            }
        }
        served + servers.iter().map(|server| server.call_stats().served).sum::<u64>()
    };
    let (early, ()) = tokio::join!(rolling, call_all(&clients, 32, CALLS));
    assert!(early <= CALLS as u64);
    book.assert_each_executed_once();
}
