//! Sessions with their drivers running: facing a scripted peer, or each other.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    task::{Context, Waker},
    time::Duration,
};

use bytes::Bytes;
use muxado::{Config, ReadError, Session, SessionError, Side, Stream, TypedSession, WriteError};
use tokio::{
    io::{AsyncReadExt, DuplexStream, duplex},
    task::JoinHandle,
    time::{sleep, timeout},
};

use crate::{
    peer::Peer,
    recorder::{Recorder, WriteLog},
};

/// Bytes that a test's transport holds in each direction.
const PIPE: usize = 4 * 1024 * 1024;

/// Virtual time that no test may need: a future that hangs fails here instead.
const DEADLINE: Duration = Duration::from_secs(24 * 3600);

/// Runs a test on one thread in virtual time. What never resolves is a failure.
pub fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    let runtime = runtime.expect("a runtime can be built");
    runtime.block_on(async { timeout(DEADLINE, test).await.expect("something waits for ever") })
}

/// Runs a test for a session of either side.
pub fn each_side<F: Future<Output = ()>>(test: impl Fn(Side) -> F) {
    run(test(Side::Client));
    run(test(Side::Server));
}

/// Lets every task run until all of them wait for the transport or for time.
pub async fn settle() {
    sleep(Duration::from_millis(1)).await;
}

/// The id of the `n`th stream, from 0, that a session of this side opens.
pub fn local_id(side: Side, n: u32) -> u32 {
    2 * n + if side == Side::Client { 3 } else { 2 }
}

/// The id of the `n`th stream, from 0, that the peer of a session of this side opens.
pub fn remote_id(side: Side, n: u32) -> u32 {
    2 * n + if side == Side::Client { 2 } else { 3 }
}

/// Reads to the end: what came, and how it ended.
pub async fn drain(stream: &mut Stream) -> (Vec<u8>, Result<(), ReadError>) {
    let mut all = Vec::new();
    loop {
        match stream.read_chunk().await {
            Ok(Some(chunk)) => all.extend_from_slice(&chunk),
            Ok(None) => return (all, Ok(())),
            Err(error) => return (all, Err(error)),
        }
    }
}

/// Reads exactly so many bytes.
pub async fn read_exactly(stream: &mut Stream, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    stream.read_exact(&mut bytes).await.expect("the stream brings as many bytes");
    bytes
}

/// Writes a whole message with the FIN behind its last byte.
pub async fn write_final(stream: &mut Stream, data: impl Into<Bytes>) -> Result<(), WriteError> {
    let mut data = data.into();
    poll_fn(|cx| stream.poll_write_final(cx, &mut data)).await
}

/// Polls a future once, which is not ready.
#[track_caller]
pub fn assert_pending<T: std::fmt::Debug>(future: Pin<&mut impl Future<Output = T>>) {
    let polled = future.poll(&mut Context::from_waker(Waker::noop()));
    assert!(polled.is_pending(), "it was to wait, but gave {polled:?}");
}

/// What a driver ended with.
pub type DriverEnd = JoinHandle<Result<(), SessionError>>;

/// A session of this side, whose driver runs, and its scripted peer.
pub fn scripted(side: Side, config: Config) -> (Session, Peer) {
    let (session, peer, _) = scripted_with_driver(side, config, PIPE);
    (session, peer)
}

/// The same with a typed session.
pub fn scripted_typed(side: Side, config: Config) -> (TypedSession, Peer) {
    let (session, mut peer) = scripted(side, config);
    peer.law.typed();
    (TypedSession::new(session), peer)
}

/// The same with the driver's task, over a transport that holds so many bytes.
pub fn scripted_with_driver(side: Side, config: Config, pipe: usize) -> (Session, Peer, DriverEnd) {
    let (near, far) = duplex(pipe);
    let (session, driver) = Session::new(side, near, config);
    (session, Peer::new(far, side), tokio::spawn(driver))
}

/// Two sessions that are each other's peer, and what each of them writes.
#[derive(Debug)]
pub struct Pair {
    /// The client.
    pub client: Session,
    /// The server.
    pub server: Session,
    /// The client's writes.
    pub client_log: WriteLog,
    /// The server's writes.
    pub server_log: WriteLog,
    /// The client's driver.
    pub client_driver: DriverEnd,
    /// The server's driver.
    pub server_driver: DriverEnd,
}

impl Pair {
    /// Both sides with the default configuration.
    pub fn new() -> Self {
        Self::with(Config::default(), PIPE)
    }

    /// Both sides with this configuration, over a transport that holds so many bytes.
    pub fn with(config: Config, pipe: usize) -> Self {
        let (near, far) = duplex(pipe);
        let (client, client_log, client_driver) = recorded(Side::Client, near, config.clone());
        let (server, server_log, server_driver) = recorded(Side::Server, far, config);
        Self { client, server, client_log, server_log, client_driver, server_driver }
    }

    /// The typed sessions of the pair; the logs stay.
    pub fn typed(&self) -> (TypedSession, TypedSession) {
        (TypedSession::new(self.client.clone()), TypedSession::new(self.server.clone()))
    }
}

impl Default for Pair {
    fn default() -> Self {
        Self::new()
    }
}

fn recorded(side: Side, io: DuplexStream, config: Config) -> (Session, WriteLog, DriverEnd) {
    let (io, log) = Recorder::new(io);
    let (session, driver) = Session::new(side, io, config);
    (session, log, tokio::spawn(driver))
}
