//! One time limit for a chain of calls: each server calls the next, and all of them stop when the
//! first caller stops waiting, or gives up before that.
//!
//! ```text
//! cargo run --release -p examples --example deadlines
//! ```

use std::{
    future::pending,
    time::{Duration, Instant},
};

use muxado_rpc::{Code, Context, Peer, Server, Status};
use tokio::sync::watch;

#[muxado_rpc::service]
pub trait Hop {
    /// Returns the milliseconds that each server from here on has left.
    async fn time_left(&self, cx: &Context) -> Result<Vec<u64>, Status>;
    /// Never returns at the last server; the servers before it wait.
    async fn work(&self) -> Result<(), Status>;
}

/// A server of the chain.
struct Stop {
    number: usize,
    /// Calls have no time limit of their own: they inherit one.
    next: Option<HopClient>,
    working: watch::Sender<usize>,
}

/// Counts a running handler. A handler is dropped, wherever it waits, when its call is cancelled.
struct Working<'a>(&'a Stop);

impl Drop for Working<'_> {
    fn drop(&mut self) {
        println!("  server {} stops", self.0.number);
        self.0.working.send_modify(|count| *count -= 1);
    }
}

impl Hop for Stop {
    async fn time_left(&self, cx: &Context) -> Result<Vec<u64>, Status> {
        let deadline = cx.deadline().ok_or_else(|| Status::failed_precondition("no time limit"))?;
        let left = deadline.saturating_duration_since(tokio::time::Instant::now());
        let mut all = vec![left.as_millis() as u64];
        // Some time passes.
        tokio::time::sleep(Duration::from_millis(20)).await;
        if let Some(next) = &self.next {
            all.extend(next.time_left().await?);
        }
        Ok(all)
    }

    async fn work(&self) -> Result<(), Status> {
        self.working.send_modify(|count| *count += 1);
        let _working = Working(self);
        match &self.next {
            Some(next) => Ok(next.work().await?),
            None => pending().await,
        }
    }
}

/// The time limit, set once by the first caller.
const LIMIT: Duration = Duration::from_secs(1);

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (working, mut count) = watch::channel(0);
    let (mut servers, mut next) = (Vec::new(), None);
    for number in (1..=3).rev() {
        let stop = Stop { number, next: next.take(), working: working.clone() };
        let server = Server::builder().serve(HopServer::new(stop)).listen("tcp://127.0.0.1:0").await?;
        // The client keeps its connection open.
        next = Some(HopClient::new(Peer::builder().connect(server.local_addr()).await?.channel()));
        servers.push(server);
    }
    let first = next.ok_or("no server")?;

    let hurried = first.clone().with_timeout(LIMIT);
    let left = hurried.time_left().await?;
    println!("of {LIMIT:?} the servers had {left:?} ms left");
    assert!(left.len() == 3 && left[0] <= 1000 && left.is_sorted_by(|a, b| a > b));

    println!("a call that takes too long:");
    let started = Instant::now();
    let error = hurried.work().await.err().ok_or("it cannot be done")?;
    count.wait_for(|count| *count == 0).await?;
    println!("  {} after {:?}", error.code(), started.elapsed());
    assert_eq!(error.code(), Code::DeadlineExceeded);
    assert!(started.elapsed() >= LIMIT);

    println!("a call that is given up:");
    let call = tokio::spawn(async move { first.work().await });
    count.wait_for(|count| *count == 3).await?;
    call.abort();
    count.wait_for(|count| *count == 0).await?;
    println!("  nobody works any more");
    Ok(())
}
