//! Publishes what servers and clients know of their connections.

mod gauges;

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use tokio::time::{MissedTickBehavior, interval};

use self::gauges::Publisher;
use crate::{
    Balanced, Peer, Reconnect, Server,
    client::{balanced::BalancedObserver, reconnect::ReconnectObserver},
    connection::{shared::ConnectionShared, totals::Totals},
    server::ServerObserver,
};

/// Publishes what servers and clients know of their connections as metrics: connections, streams, bytes, stalls, round
/// trips, calls in flight and waiting, reconnects, and the memory that calls hold.
///
/// What is watched has a name, which is the label `muxado.name` of its metrics; the label `muxado.role` is `server`,
/// `client` or `peer`. Nothing is counted twice on the way: all numbers are kept by the connections anyway, and read at
/// [`sample`](Self::sample). With `telemetry::Prometheus` that is at each scrape; with another recorder
/// [`run`](Self::run) does it on a timer. `docs/observability.md` in the repository lists the metrics.
///
/// Watching keeps nothing alive. The gauges of what is gone are set to zero once.
///
/// Clones are the same.
///
/// ```
/// use std::time::Duration;
///
/// use muxado_rpc::{Reconnect, Server, telemetry::Sampler};
///
/// fn watch(server: &Server, database: &Reconnect) {
///     let sampler = Sampler::new();
///     sampler.add_server("api", server);
///     sampler.add_reconnect("database", database);
///     tokio::spawn(sampler.run(Duration::from_secs(10)));
/// }
/// # let _ = watch;
/// ```
#[derive(Clone, Default)]
pub struct Sampler {
    sources: Arc<Mutex<Vec<Arc<Source>>>>,
}

/// What is watched.
struct Source {
    role: &'static str,
    name: String,
    watched: Watched,
}

enum Watched {
    Server(ServerObserver),
    Reconnect(ReconnectObserver),
    Balanced(Box<BalancedObserver>),
    Peer(Weak<ConnectionShared>),
}

impl Sampler {
    /// Creates a sampler that watches nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Watches a server, under a name for its metrics. A server with that name that was added before is watched no more.
    pub fn add_server(&self, name: impl Into<String>, server: &Server) {
        self.add("server", name.into(), Watched::Server(server.observer()));
    }

    /// Watches a client that replaces its connections. A client with that name that was added before is watched no more.
    pub fn add_reconnect(&self, name: impl Into<String>, client: &Reconnect) {
        self.add("client", name.into(), Watched::Reconnect(client.observer()));
    }

    /// Watches a client of many servers. A client with that name that was added before is watched no more.
    pub fn add_balanced(&self, name: impl Into<String>, client: &Balanced) {
        self.add("client", name.into(), Watched::Balanced(Box::new(client.observer())));
    }

    /// Watches one connection, that of [`connect`](crate::connect) for instance. A peer with that name that was added
    /// before is watched no more.
    pub fn add_peer(&self, name: impl Into<String>, peer: &Peer) {
        self.add("peer", name.into(), Watched::Peer(Arc::downgrade(peer.shared())));
    }

    fn add(&self, role: &'static str, name: String, watched: Watched) {
        let mut sources = self.lock();
        sources.retain(|source| (source.role, &source.name) != (role, &name));
        sources.push(Arc::new(Source { role, name, watched }));
    }

    /// Publishes all numbers as they are now, to the recorder that is installed.
    ///
    /// It takes some microseconds, and a fraction of one for each connection.
    pub fn sample(&self) {
        gauges::describe();
        // The recorder is not ours: it runs without the lock.
        let sources = self.lock().clone();
        let mut gone = Vec::new();
        for source in sources {
            let publisher = Publisher::new(source.role, &source.name);
            if !source.publish(&publisher) {
                publisher.publish_gone();
                gone.push(source);
            }
        }
        self.lock().retain(|source| !gone.iter().any(|gone| Arc::ptr_eq(gone, source)));
    }

    /// Publishes all numbers again and again, at this interval of at least 10 ms; for recorders that nobody asks.
    ///
    /// It never ends. Spawn it, or drop it to stop.
    pub async fn run(self, every: Duration) {
        let mut interval = interval(every.max(MIN_INTERVAL));
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            self.sample();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Source>>> {
        // Nothing that panics runs under the lock.
        self.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Source {
    /// Publishes what there is to see; false if nothing is, and will be.
    fn publish(&self, to: &Publisher) -> bool {
        match &self.watched {
            Watched::Server(observer) => observer.totals().map(|totals| to.publish_server(&totals)),
            Watched::Reconnect(observer) => observer.totals().map(|totals| to.publish_reconnect(&totals)),
            Watched::Balanced(observer) => observer.totals().map(|totals| to.publish_balanced(&totals)),
            Watched::Peer(shared) => shared.upgrade().map(|shared| {
                let mut totals = Totals::default();
                totals.add(&shared);
                totals.calls = shared.call_stats();
                to.publish_connections(&totals);
            }),
        }
        .is_some()
    }
}

impl fmt::Debug for Sampler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names =
            self.lock().iter().map(|source| format!("{} {}", source.role, source.name)).collect::<Vec<_>>();
        f.debug_tuple("Sampler").field(&names).finish()
    }
}

const MIN_INTERVAL: Duration = Duration::from_millis(10);
