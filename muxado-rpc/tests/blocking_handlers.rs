//! Handlers that hold their thread, by blocking or by computing: their connection goes on.
//!
//! These tests need threads and time; their bounds are many times what is needed.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use muxado::HeartbeatConfig;
use muxado_rpc::{CallError, Context, Inline, Peer, Server, Status};
use tokio::{
    runtime::{Builder, Handle, Runtime},
    sync::{Semaphore, mpsc, oneshot},
    task::block_in_place,
    time::timeout,
};

#[muxado_rpc::service]
trait Blocking {
    /// Blocks its thread until it is let go.
    async fn block(&self, block: bool);
    async fn block_too(&self);
    async fn stream_after_block(&self, cx: &Context) -> u32;
    /// Computes for so long, and returns how many did so at the same time at most.
    async fn compute(&self, ms: u64) -> usize;
    /// Asks the caller from a thread that blocks.
    async fn ask_in_place(&self, cx: &Context) -> Result<u32, Status>;
    /// Waits once, for another task.
    async fn hop(&self) -> u32;
    /// Waits until it is woken, and blocks its thread then if it is told to.
    async fn block_once_woken(&self, block: bool) -> u32;
    async fn quick(&self) -> u32;
}

/// What all handlers share.
#[derive(Clone)]
struct Blocks {
    let_go: Arc<AtomicBool>,
    blocked: Arc<AtomicUsize>,
    wake: Arc<Semaphore>,
    waiting: Arc<AtomicUsize>,
    computing: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

impl Default for Blocks {
    fn default() -> Self {
        Self {
            let_go: Arc::default(),
            blocked: Arc::default(),
            wake: Arc::new(Semaphore::new(0)),
            waiting: Arc::default(),
            computing: Arc::default(),
            most: Arc::default(),
        }
    }
}

impl Blocks {
    fn wait(&self) {
        self.blocked.fetch_add(1, Ordering::SeqCst);
        let begin = Instant::now();
        while !self.let_go.load(Ordering::SeqCst) && begin.elapsed() < LIMIT {
            thread::sleep(MILLI);
        }
        self.blocked.fetch_sub(1, Ordering::SeqCst);
    }

    fn let_go(&self) {
        self.let_go.store(true, Ordering::SeqCst);
    }

    /// Waits until so many handlers wait to be woken.
    async fn until_waiting(&self, count: usize) {
        while self.waiting.load(Ordering::SeqCst) != count {
            tokio::time::sleep(MILLI).await;
        }
    }

    /// Waits until so many handlers block.
    async fn until_blocked(&self, count: usize) {
        while self.blocked.load(Ordering::SeqCst) != count {
            tokio::time::sleep(MILLI).await;
        }
    }
}

impl Blocking for Blocks {
    async fn block(&self, block: bool) {
        if block {
            self.wait();
        }
    }

    async fn block_too(&self) {
        self.wait();
    }

    async fn stream_after_block(&self, _: &Context) -> u32 {
        self.wait();
        tokio::task::yield_now().await;
        7
    }

    async fn compute(&self, ms: u64) -> usize {
        let now = self.computing.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        let begin = Instant::now();
        while begin.elapsed() < MILLI * u32::try_from(ms).unwrap() {
            std::hint::spin_loop();
        }
        self.computing.fetch_sub(1, Ordering::SeqCst);
        self.most.load(Ordering::SeqCst)
    }

    async fn ask_in_place(&self, cx: &Context) -> Result<u32, Status> {
        let client = BlockingClient::new(cx.channel());
        block_in_place(|| Handle::current().block_on(async { client.quick().await })).map_err(Into::into)
    }

    async fn hop(&self) -> u32 {
        tokio::spawn(async { 7 }).await.unwrap()
    }

    async fn block_once_woken(&self, block: bool) -> u32 {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        self.wake.acquire().await.unwrap().forget();
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        if block {
            self.wait();
        }
        7
    }

    async fn quick(&self) -> u32 {
        7
    }
}

const MILLI: Duration = Duration::from_millis(1);

/// What hangs fails after this.
const LIMIT: Duration = Duration::from_secs(60);

/// Longer than the heartbeats below allow.
const LONG: Duration = Duration::from_secs(2);

fn heartbeat() -> HeartbeatConfig {
    HeartbeatConfig::default().interval(Duration::from_millis(200)).tolerance(Duration::from_millis(1200))
}

/// A server with threads of its own, and a connection to it from the runtime of the test.
struct Rig {
    blocks: Blocks,
    server: Arc<Server>,
    peer: Peer,
    /// The server's end.
    far: Peer,
    client: BlockingClient,
    runtime: Option<Runtime>,
}

impl Rig {
    async fn new(workers: usize) -> Self {
        Self::with(workers, Inline::Adaptive).await
    }

    async fn with(workers: usize, inline: Inline) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(workers).enable_all().build().unwrap();
        let blocks = Blocks::default();
        let builder = Server::builder().serve(BlockingServer::new(blocks.clone()));
        let (accepted, mut connections) = mpsc::unbounded_channel();
        let builder = builder.heartbeat(heartbeat()).inline(inline).on_connect(move |peer| {
            let _ = accepted.send(peer);
        });
        let server = runtime.spawn(async { builder.listen("tcp://127.0.0.1:0").await });
        let server = server.await.unwrap().unwrap();
        let peer = Peer::builder().serve(BlockingServer::new(blocks.clone())).heartbeat(heartbeat());
        let peer = peer.connect(server.local_addr()).await.unwrap();
        let client = BlockingClient::new(peer.channel());
        let far = connections.recv().await.unwrap();
        Self { blocks, server: Arc::new(server), peer, far, client, runtime: Some(runtime) }
    }

    /// Calls go on for longer than heartbeats allow; how many were made.
    async fn assert_served(&self) {
        let (begin, mut slowest) = (Instant::now(), Duration::ZERO);
        while begin.elapsed() < LONG {
            let call = Instant::now();
            let answer = timeout(LIMIT, self.client.quick()).await.expect("the connection is held up");
            assert_eq!(answer.unwrap(), 7);
            slowest = slowest.max(call.elapsed());
            tokio::time::sleep(MILLI).await;
        }
        assert!(slowest < LONG / 2, "a call took {slowest:?}");
        assert!(!self.peer.is_closed());
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.blocks.let_go();
        self.runtime.take().unwrap().shutdown_background();
    }
}

#[tokio::test]
async fn a_handler_that_blocks_its_thread_holds_nothing_up() {
    for inline in [Inline::Adaptive, Inline::Always, Inline::Never] {
        let rig = Rig::with(3, inline).await;
        let client = rig.client.clone();
        let blocked = tokio::spawn(async move { client.block(true).await });
        rig.blocks.until_blocked(1).await;
        rig.assert_served().await;
        rig.blocks.let_go();
        timeout(LIMIT, blocked).await.unwrap().unwrap().unwrap();
    }
}

#[tokio::test]
async fn nor_does_one_whose_method_was_quick_a_thousand_times() {
    let rig = Rig::new(3).await;
    for _ in 0..1000 {
        rig.client.block(false).await.unwrap();
    }
    let client = rig.client.clone();
    let blocked = tokio::spawn(async move { client.block(true).await });
    rig.blocks.until_blocked(1).await;
    rig.assert_served().await;
    rig.blocks.let_go();
    timeout(LIMIT, blocked).await.unwrap().unwrap().unwrap();
}

/// The task that goes on for the first is held up in its turn.
#[tokio::test]
async fn nor_do_two_one_after_the_other() {
    let rig = Rig::with(3, Inline::Always).await;
    let clients = [rig.client.clone(), rig.client.clone()];
    let [first, second] = clients;
    let first = tokio::spawn(async move { first.block(true).await });
    rig.blocks.until_blocked(1).await;
    let second = tokio::spawn(async move { second.block_too().await });
    rig.blocks.until_blocked(2).await;
    rig.assert_served().await;
    rig.blocks.let_go();
    timeout(LIMIT, first).await.unwrap().unwrap().unwrap();
    timeout(LIMIT, second).await.unwrap().unwrap().unwrap();
    rig.assert_served().await;
}

/// They come together, and those that wait are begun by the thread that blocks then.
#[tokio::test]
async fn nor_does_it_hold_up_calls_that_came_before_it() {
    let rig = Rig::new(3).await;
    for _ in 0..8 {
        rig.client.hop().await.unwrap();
        rig.client.block(false).await.unwrap();
    }
    let (client, (answered, answers)) = (rig.client.clone(), oneshot::channel());
    let calls = tokio::spawn(async move {
        let hops = async {
            let hops = join_all((0..5).map(|_| client.hop())).await;
            answered.send(hops).unwrap();
        };
        // All of them are sent together.
        tokio::join!(hops, client.block(true)).1
    });
    let answers = timeout(LIMIT, answers).await.expect("a call is held up").unwrap();
    assert!(answers.into_iter().all(|answer| answer.unwrap() == 7));
    rig.blocks.until_blocked(1).await;
    rig.blocks.let_go();
    timeout(LIMIT, calls).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn nor_does_it_hold_up_calls_that_have_waited_before_it() {
    for inline in [Inline::Adaptive, Inline::Always, Inline::Never] {
        let rig = Rig::with(3, inline).await;
        let spawn = |block| {
            let client = rig.client.clone();
            tokio::spawn(async move { client.block_once_woken(block).await })
        };
        let waiting: Vec<_> = (0..8).map(|_| spawn(false)).collect();
        rig.blocks.until_waiting(8).await;
        let client = rig.client.clone();
        let blocked = tokio::spawn(async move { client.block(true).await });
        rig.blocks.until_blocked(1).await;
        rig.blocks.wake.add_permits(8);
        let answers = timeout(LIMIT, join_all(waiting)).await.expect("a call is held up");
        assert!(answers.into_iter().all(|answer| answer.unwrap().unwrap() == 7), "{inline:?}");
        rig.assert_served().await;
        rig.blocks.let_go();
        timeout(LIMIT, blocked).await.unwrap().unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_handler_that_blocks_after_it_has_waited_holds_nothing_up() {
    for inline in [Inline::Adaptive, Inline::Always, Inline::Never] {
        let rig = Rig::with(3, inline).await;
        let call = |block| {
            let client = rig.client.clone();
            tokio::spawn(async move { client.block_once_woken(block).await })
        };
        // One of them blocks, the others wait to be woken still.
        let blocks = call(true);
        rig.blocks.until_waiting(1).await;
        rig.blocks.wake.add_permits(1);
        rig.blocks.until_blocked(1).await;
        let others: Vec<_> = (0..4).map(|_| call(false)).collect();
        rig.blocks.until_waiting(4).await;
        rig.assert_served().await;
        rig.blocks.wake.add_permits(4);
        for other in others {
            assert_eq!(timeout(LIMIT, other).await.unwrap().unwrap().unwrap(), 7, "{inline:?}");
        }
        rig.blocks.let_go();
        assert_eq!(timeout(LIMIT, blocks).await.unwrap().unwrap().unwrap(), 7);
    }
}

/// Its call goes on in a task of its own.
#[tokio::test]
async fn a_handler_that_waits_after_it_has_blocked_is_answered() {
    let rig = Rig::new(3).await;
    let client = rig.client.clone();
    let blocked = tokio::spawn(async move { client.stream_after_block().await });
    rig.blocks.until_blocked(1).await;
    rig.assert_served().await;
    rig.blocks.let_go();
    assert_eq!(timeout(LIMIT, blocked).await.unwrap().unwrap().unwrap(), 7);
}

#[tokio::test]
async fn handlers_that_compute_use_all_threads() {
    for inline in [Inline::Adaptive, Inline::Never] {
        let rig = Rig::with(2, inline).await;
        let call = || rig.client.compute(200);
        let most = timeout(LIMIT, async { tokio::join!(call(), call(), call(), call()) }).await.unwrap();
        let most: Result<Vec<_>, CallError> = [most.0, most.1, most.2, most.3].into_iter().collect();
        assert_eq!(most.unwrap().into_iter().max(), Some(2), "{inline:?}");
    }
}

#[tokio::test]
async fn a_handler_may_block_on_a_call_over_its_own_connection() {
    for inline in [Inline::Adaptive, Inline::Always, Inline::Never] {
        let rig = Rig::with(2, inline).await;
        for _ in 0..3 {
            assert_eq!(timeout(LIMIT, rig.client.ask_in_place()).await.expect("it hangs").unwrap(), 7);
        }
    }
}

#[tokio::test]
async fn a_connection_that_another_task_has_taken_over_ends_as_any_other() {
    let rig = Rig::with(3, Inline::Always).await;
    let client = rig.client.clone();
    let blocked = tokio::spawn(async move { client.block(true).await });
    rig.blocks.until_blocked(1).await;
    assert_eq!(rig.client.quick().await.unwrap(), 7);
    // The server is told to stop: the peer learns of it while the handler still blocks.
    let server = Arc::clone(&rig.server);
    let stopped = tokio::spawn(async move { server.shutdown(Duration::ZERO).await });
    timeout(LIMIT, rig.peer.closed()).await.expect("the connection does not end");
    assert!(blocked.await.unwrap().is_err());
    rig.blocks.let_go();
    timeout(LIMIT, stopped).await.expect("the server does not end").unwrap();
}

#[tokio::test]
async fn the_end_of_the_peer_is_seen_while_a_handler_blocks() {
    let rig = Rig::with(3, Inline::Always).await;
    let client = rig.client.clone();
    let blocked = tokio::spawn(async move { client.block(true).await });
    rig.blocks.until_blocked(1).await;
    rig.peer.close();
    assert!(blocked.await.unwrap().is_err());
    timeout(LIMIT, rig.far.closed()).await.expect("the server does not see it");
    rig.blocks.let_go();
    let ended = async {
        while rig.server.call_stats().in_flight() > 0 {
            tokio::time::sleep(MILLI).await;
        }
    };
    timeout(LIMIT, ended).await.expect("the call does not end");
}

#[tokio::test]
async fn a_runtime_that_ends_ends_the_connections_whose_handlers_block() {
    let mut rig = Rig::with(3, Inline::Always).await;
    let client = rig.client.clone();
    let blocked = tokio::spawn(async move { client.block(true).await });
    rig.blocks.until_blocked(1).await;
    assert_eq!(rig.client.quick().await.unwrap(), 7);
    rig.runtime
        .replace(Builder::new_multi_thread().worker_threads(1).build().unwrap())
        .unwrap()
        .shutdown_background();
    timeout(LIMIT, rig.peer.closed()).await.expect("the connection does not end");
    assert!(blocked.await.unwrap().is_err());
}
