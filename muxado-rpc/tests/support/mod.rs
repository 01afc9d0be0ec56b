//! One service for all tests, and connections to call it over.
#![expect(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(dead_code, unreachable_pub, clippy::allow_attributes, reason = "each test file uses a part")]

pub mod feed;
pub mod place;
pub mod threads;

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use muxado_rpc::{Codec, Context, Peer, PeerBuilder, Status};
use tokio::{io::duplex, sync::Notify};

pub const CODECS: [Codec; 2] = [Codec::Json, Codec::MessagePack];

#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub enum DivideError {
    ByZero { dividend: f64 },
}

#[muxado_rpc::service]
pub trait Work {
    async fn echo(&self, text: String) -> String;
    async fn divide(&self, a: f64, b: f64) -> Result<f64, DivideError>;
    /// Calls the caller's own `echo` over the same connection.
    async fn ask_back(&self, cx: &Context, text: String) -> Result<String, Status>;
    /// Metadata of the call, as `name=value` pairs.
    async fn metadata(&self, cx: &Context) -> Vec<String>;
    /// Milliseconds left of the caller's time limit.
    async fn time_left(&self, cx: &Context) -> Option<u64>;
    /// Fails with a status of the method's own choice.
    async fn find(&self, name: String) -> Result<u64, Status>;
    async fn sleep(&self, ms: u64);
    /// Never returns.
    async fn hang(&self);
    async fn panic(&self);
    async fn grow(&self, bytes: usize) -> String;
    /// Calls of `hang` that run now.
    async fn hanging(&self) -> usize;
}

/// What can be seen of a worker from outside.
#[derive(Clone, Debug, Default)]
pub struct Worker {
    hanging: Arc<AtomicUsize>,
    changed: Arc<Notify>,
}

impl Worker {
    pub fn hanging(&self) -> usize {
        self.hanging.load(Ordering::SeqCst)
    }

    /// Waits until this many calls hang.
    pub async fn until_hanging(&self, count: usize) {
        loop {
            let changed = self.changed.notified();
            if self.hanging() == count {
                return;
            }
            changed.await;
        }
    }
}

/// Counts itself out when the handler is dropped.
struct Hanging<'a>(&'a Worker);

impl Drop for Hanging<'_> {
    fn drop(&mut self) {
        self.0.hanging.fetch_sub(1, Ordering::SeqCst);
        self.0.changed.notify_waiters();
    }
}

impl Work for Worker {
    async fn echo(&self, text: String) -> String {
        text
    }

    async fn divide(&self, a: f64, b: f64) -> Result<f64, DivideError> {
        if b == 0.0 { Err(DivideError::ByZero { dividend: a }) } else { Ok(a / b) }
    }

    async fn ask_back(&self, cx: &Context, text: String) -> Result<String, Status> {
        let answer = WorkClient::new(cx.channel()).echo(text).await?;
        Ok(format!("the caller says {answer}"))
    }

    async fn metadata(&self, cx: &Context) -> Vec<String> {
        cx.metadata().iter().map(|(name, value)| format!("{name}={value}")).collect()
    }

    async fn time_left(&self, cx: &Context) -> Option<u64> {
        let left = cx.deadline()?.saturating_duration_since(tokio::time::Instant::now());
        Some(left.as_millis() as u64)
    }

    async fn find(&self, name: String) -> Result<u64, Status> {
        Err(Status::not_found(format!("no {name}")).with_details(&name))
    }

    async fn sleep(&self, ms: u64) {
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }

    async fn hang(&self) {
        self.hanging.fetch_add(1, Ordering::SeqCst);
        self.changed.notify_waiters();
        let _hanging = Hanging(self);
        pending::<()>().await;
    }

    async fn panic(&self) {
        panic!("a secret");
    }

    async fn grow(&self, bytes: usize) -> String {
        "x".repeat(bytes)
    }

    async fn hanging(&self) -> usize {
        Self::hanging(self)
    }
}

/// The two ends of a connection in memory, and the worker behind each.
pub struct Pair {
    pub near: Peer,
    pub far: Peer,
    pub near_worker: Worker,
    pub far_worker: Worker,
}

impl Pair {
    pub fn new() -> Self {
        Self::with(Peer::builder(), Peer::builder())
    }

    pub fn with(near: PeerBuilder, far: PeerBuilder) -> Self {
        let (near_io, far_io) = duplex(64 * 1024);
        let (near_worker, far_worker) = (Worker::default(), Worker::default());
        let near = near.serve(WorkServer::new(near_worker.clone())).client(near_io).unwrap();
        let far = far.serve(WorkServer::new(far_worker.clone())).server(far_io).unwrap();
        Self { near, far, near_worker, far_worker }
    }

    /// A client at the near end.
    pub fn client(&self, codec: Codec) -> WorkClient {
        WorkClient::new(self.near.channel()).with_codec(codec)
    }
}

/// Numbers that are the same for the same seed.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// A number below this.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// A call that works shows that the connection does.
pub async fn assert_alive(client: &WorkClient) {
    assert_eq!(client.echo("alive".to_owned()).await.as_deref(), Ok("alive"));
}
