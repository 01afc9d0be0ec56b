//! What models are made of: schedules, a transport, a pair of sessions, and futures that are dropped.

use std::{
    future::{Future, poll_fn},
    io,
    pin::Pin,
    sync::{Arc, Weak},
    task::{Context, Poll},
};

use shuttle::{
    FailurePersistence, Runner,
    future::{JoinHandle, spawn, yield_now},
    scheduler::{PctScheduler, RandomScheduler, Scheduler},
};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf};

use crate::{Config, Session, SessionError, Stream, shared::Shared, sync::switch};

/// Schedules of each kind that are tried for each model.
const RUNS: usize = 400;

/// Switches at chosen places that a schedule of the second kind has.
const DEPTH: usize = 3;

const SEED: u64 = 0x6D75_7861_646F;

/// Runs the model under random schedules, and under those with few but rare switches.
pub(super) fn check<F: Future<Output = ()> + 'static>(model: fn() -> F) {
    let runs = std::env::var("MUXADO_MODEL_RUNS").ok().and_then(|text| text.parse().ok()).unwrap_or(RUNS);
    check_with(model, RandomScheduler::new_from_seed(SEED, runs));
    check_with(model, PctScheduler::new_from_seed(SEED, DEPTH, runs));
}

fn check_with<F: Future<Output = ()> + 'static>(model: fn() -> F, scheduler: impl Scheduler + 'static) {
    let clock = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    // A model that failed leaves timers behind, whose wakers must not be used any more.
    let clock = Box::leak(Box::new(clock.unwrap()));
    let _entered = clock.enter();
    let mut config = shuttle::Config::new();
    config.stack_size = 256 * 1024;
    // A schedule is long; the seed, which is printed as well, does the same.
    config.failure_persistence = FailurePersistence::None;
    Runner::new(scheduler, config).run(move || shuttle::future::block_on(model()));
}

/// A transport between whose uses other tasks may run.
struct Wire(DuplexStream);

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        switch();
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        switch();
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        switch();
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// The drivers of a pair of sessions, and what must be gone once they are done.
pub(super) struct Drivers {
    pub(super) running: [JoinHandle<Result<(), SessionError>>; 2],
    shared: [Weak<Shared>; 2],
}

impl Drivers {
    /// Waits for both. Whoever is not told of the end, or does not tell of it, hangs here.
    /// `None` for one that was dropped.
    pub(super) async fn end(self) -> [Option<Result<(), SessionError>>; 2] {
        let [client, server] = self.running;
        let ends = [client.await.ok(), server.await.ok()];
        // Nobody is left who could hold a handle, a wake or a stream.
        assert_eq!(self.shared.map(|shared| shared.strong_count()), [0, 0]);
        ends
    }
}

/// Two sessions over a transport that holds so many bytes.
pub(super) fn pair(config: &Config, capacity: usize) -> (Session, Session, Drivers) {
    let (near, far) = tokio::io::duplex(capacity);
    let (client, client_driver) = Session::client(Wire(near), config.clone());
    let (server, server_driver) = Session::server(Wire(far), config.clone());
    let shared = [&client, &server].map(|session| Arc::downgrade(&session.shared));
    (client, server, Drivers { running: [spawn(client_driver), spawn(server_driver)], shared })
}

pub(super) async fn read_all(stream: &mut Stream) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some(chunk) = stream.read_chunk().await.unwrap() {
        bytes.extend_from_slice(&chunk);
    }
    bytes
}

/// Opens a stream to [`echo`], and has it say this.
pub(super) async fn call(session: &Session, word: u8) {
    let mut stream = session.open().await.unwrap();
    stream.write_all(&[word]).await.unwrap();
    stream.finish().unwrap();
    assert_eq!(read_all(&mut stream).await, [word]);
}

/// Answers every stream with what came on it, each in a task of its own, to the session's end.
pub(super) async fn echo(session: Session) {
    let mut tasks = Vec::new();
    while let Some(mut stream) = session.accept().await {
        tasks.push(spawn(async move {
            while let Ok(Some(chunk)) = stream.read_chunk().await {
                if stream.write_chunk(chunk).await.is_err() {
                    return;
                }
            }
            stream.finish().ok();
        }));
    }
    drop(session);
    for task in tasks {
        task.await.unwrap();
    }
}

/// The output of a future that does not have to wait.
pub(super) fn poll_now<T, E: std::fmt::Debug>(future: impl Future<Output = Result<T, E>>) -> T {
    let mut cx = Context::from_waker(std::task::Waker::noop());
    match std::pin::pin!(future).poll(&mut cx) {
        Poll::Ready(output) => output.unwrap(),
        Poll::Pending => panic!("the future waits"),
    }
}

/// Polls a future, lets others go on, polls it again and drops it.
pub(super) async fn poll_twice<F: Future>(future: F) -> Option<F::Output> {
    let mut future = std::pin::pin!(future);
    if let Some(output) = poll_once(future.as_mut()).await {
        return Some(output);
    }
    yield_now().await;
    poll_once(future).await
}

/// A task that has a session of its own.
pub(super) fn with<F: Future<Output = ()>>(session: &Session, task: impl FnOnce(Session) -> F) -> F {
    task(session.clone())
}

/// Polls a future once; if it has to wait, lets others go on and drops it, woken or not.
pub(super) async fn abandon<F: Future>(future: F) -> Option<F::Output> {
    let mut future = std::pin::pin!(future);
    let output = poll_once(future.as_mut()).await;
    if output.is_none() {
        yield_now().await;
    }
    output
}

/// Polls a future once and drops it.
pub(super) async fn poll_once<F: Future>(future: F) -> Option<F::Output> {
    let mut future = std::pin::pin!(future);
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}
