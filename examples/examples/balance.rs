//! One client for three servers: calls go where the fewest are under way, streams included, and away from a server that
//! has gone.
//!
//! ```text
//! cargo run -p examples --example balance
//! ```
//!
//! The stack of layers is `Retry<RetryPolicy, Buffer<Request, ..Balance<..InFlight<Channel>>>>`. Nobody names it: tasks
//! share a `BoxChannel`.

use std::{collections::BTreeMap, time::Duration};

use futures_util::{StreamExt, stream};
use muxado_rpc::{
    BoxChannel, Peer, Request, Server, Stream,
    layers::{InFlight, InFlightLayer, RetryPolicy},
};
use tokio::task::JoinSet;
use tower::{
    Layer, ServiceBuilder, balance::p2c::Balance, buffer::Buffer, discover::ServiceList, retry::RetryLayer,
};

#[muxado_rpc::service]
pub trait Worker {
    /// Returns who works.
    #[method(idempotent)]
    async fn work(&self) -> String;
    /// Says who works, then nothing until it is dropped.
    async fn watch(&self) -> impl Stream<Item = String>;
}

struct Named(&'static str);

impl Worker for Named {
    async fn work(&self) -> String {
        self.0.to_owned()
    }

    async fn watch(&self) -> impl Stream<Item = String> {
        stream::iter([self.0.to_owned()]).chain(stream::pending())
    }
}

/// What a program keeps of all this: a type that it can name.
#[derive(Clone)]
struct App {
    worker: WorkerClient<BoxChannel>,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (mut servers, mut peers, mut channels) = (Vec::new(), Vec::new(), Vec::new());
    for name in ["one", "two", "three"] {
        let server =
            Server::builder().serve(WorkerServer::new(Named(name))).listen("tcp://127.0.0.1:0").await?;
        let peer = Peer::builder().connect(server.local_addr()).await?;
        channels.push(InFlightLayer::new().layer(peer.channel()));
        servers.push(server);
        peers.push(peer);
    }
    let balance = Balance::new(ServiceList::new::<Request>(channels.clone()));
    let channel = ServiceBuilder::new()
        .layer(BoxChannel::layer())
        .layer(RetryLayer::new(RetryPolicy::new(5)))
        // A balance cannot be cloned. The buffer lets all tasks share it.
        .service(Buffer::new(balance, 64));
    let app = App { worker: WorkerClient::new(channel) };

    // Streams that stay open are spread evenly.
    let mut open = JoinSet::new();
    for _ in 0..30 {
        let app = app.clone();
        open.spawn(async move {
            let mut watching = app.worker.watch().await?;
            watching.try_next().await?;
            Ok::<_, muxado_rpc::CallError>(watching)
        });
    }
    let watching: Vec<_> = open.join_all().await.into_iter().collect::<Result<_, _>>()?;
    let counts: Vec<_> = channels.iter().map(InFlight::count).collect();
    println!("{} streams are open: {counts:?}", watching.len());
    assert!(counts.iter().all(|count| *count >= 5), "they are not spread: {counts:?}");
    drop(watching);

    println!("by three: {:?}", work(&app, 60).await?);
    servers.remove(1).shutdown(Duration::from_secs(1)).await;
    let by_two = work(&app, 60).await?;
    println!("without two: {by_two:?}");
    assert!(!by_two.contains_key("two"));
    Ok(())
}

/// Calls from many tasks; returns who did how much.
async fn work(app: &App, calls: usize) -> Result<BTreeMap<String, usize>, Box<dyn std::error::Error>> {
    let mut tasks = JoinSet::new();
    for _ in 0..calls {
        let app = app.clone();
        tasks.spawn(async move { app.worker.work().await });
    }
    let mut done = BTreeMap::new();
    for worker in tasks.join_all().await {
        *done.entry(worker?).or_default() += 1;
    }
    Ok(done)
}
