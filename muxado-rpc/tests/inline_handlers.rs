//! Where handlers run: in the task of their connection, or in tasks of their own.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::HashSet,
    future::poll_fn,
    sync::{Arc, Mutex},
    task::Poll,
    time::Duration,
};

use futures_util::future::join_all;
use muxado_rpc::{Inline, Peer};
use tokio::{
    io::duplex,
    sync::Notify,
    task::{Id, consume_budget, id, yield_now},
};

#[muxado_rpc::service]
trait Places {
    async fn quick(&self);
    /// Waits once, for another task.
    async fn hop(&self);
    /// Takes so long, by the clock of the test.
    async fn compute(&self, ms: u64);
    async fn compute_after_hop(&self, ms: u64);
    /// Never has anything to wait for, and never returns.
    async fn spin(&self);
    /// Goes on so often without waiting for anything, by waking itself or after others had a turn, and tells in how many
    /// tasks.
    async fn go_on(&self, times: u32, wakes_itself: bool) -> usize;
    /// Takes all that a task may before others get a turn, each time, and never returns.
    async fn greedy(&self);
}

/// The tasks in which handlers have begun.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<Id>>>);

impl Seen {
    fn note(&self) {
        self.0.lock().unwrap().push(id());
    }

    /// In which tasks the calls since the last time have begun.
    fn take(&self) -> Vec<Id> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

async fn hop() {
    let there = Arc::new(Notify::new());
    let back = Arc::clone(&there);
    tokio::spawn(async move { back.notify_one() });
    there.notified().await;
}

async fn wake_itself() {
    let mut is_woken = false;
    poll_fn(|cx| {
        cx.waker().wake_by_ref();
        if std::mem::replace(&mut is_woken, true) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

/// Moves the clock on, which stands still otherwise, by a handler that holds its thread.
fn advance(ms: u64) {
    let mut advance = std::pin::pin!(tokio::time::advance(Duration::from_millis(ms)));
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    let _ = Future::poll(advance.as_mut(), &mut cx);
}

impl Places for Seen {
    async fn quick(&self) {
        self.note();
    }

    async fn hop(&self) {
        self.note();
        hop().await;
    }

    async fn compute(&self, ms: u64) {
        self.note();
        advance(ms);
    }

    async fn compute_after_hop(&self, ms: u64) {
        self.note();
        hop().await;
        advance(ms);
    }

    async fn spin(&self) {
        poll_fn(|cx| {
            cx.waker().wake_by_ref();
            Poll::<()>::Pending
        })
        .await;
    }

    async fn go_on(&self, times: u32, wakes_itself: bool) -> usize {
        let mut tasks = HashSet::new();
        for _ in 0..times {
            tasks.insert(id());
            if wakes_itself {
                wake_itself().await;
            } else {
                yield_now().await;
            }
        }
        tasks.len()
    }

    async fn greedy(&self) {
        loop {
            consume_budget().await;
        }
    }
}

struct Rig {
    seen: Seen,
    client: PlacesClient,
    _peers: [Peer; 2],
}

impl Rig {
    fn new(inline: Inline) -> Self {
        let (near, far) = duplex(64 * 1024);
        let seen = Seen::default();
        let near = Peer::builder().client(near).unwrap();
        let far = Peer::builder().serve(PlacesServer::new(seen.clone())).inline(inline).server(far).unwrap();
        Self { seen, client: PlacesClient::new(near.channel()), _peers: [near, far] }
    }

    /// In how many tasks so many calls begin, one after the other.
    async fn tasks(&self, calls: usize, call: impl AsyncFn(&PlacesClient)) -> usize {
        self.seen.take();
        for _ in 0..calls {
            call(&self.client).await;
        }
        let ids = self.seen.take();
        assert_eq!(ids.len(), calls);
        ids.into_iter().collect::<HashSet<_>>().len()
    }
}

async fn quick(client: &PlacesClient) {
    client.quick().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_does_not_wait_costs_no_task() {
    for inline in [Inline::Adaptive, Inline::Always] {
        assert_eq!(Rig::new(inline).tasks(1000, quick).await, 1, "{inline:?}");
    }
    assert_eq!(Rig::new(Inline::Never).tasks(100, quick).await, 100);
}

#[tokio::test(start_paused = true)]
async fn nor_does_one_that_waits() {
    for inline in [Inline::Adaptive, Inline::Always] {
        let rig = Rig::new(inline);
        // All of them go on where they began.
        assert_eq!(rig.tasks(1000, async |client| client.hop().await.unwrap()).await, 1, "{inline:?}");
        assert_eq!(rig.tasks(64, async |client| client.compute_after_hop(0).await.unwrap()).await, 1);
    }
    let rig = Rig::new(Inline::Never);
    assert_eq!(rig.tasks(100, async |client| client.hop().await.unwrap()).await, 100);
}

#[tokio::test(start_paused = true)]
async fn that_a_method_computes_is_learnt_and_tried_again_now_and_then() {
    let rig = Rig::new(Inline::Adaptive);
    assert_eq!(rig.tasks(1, async |client| client.compute(1).await.unwrap()).await, 1);
    assert_eq!(rig.tasks(64, async |client| client.compute(1).await.unwrap()).await, 64);
    assert!(rig.tasks(1000, async |client| client.compute(1).await.unwrap()).await > 990);
    // What is learnt of one method is not held against another.
    assert_eq!(rig.tasks(1000, quick).await, 1);
    assert_eq!(Rig::new(Inline::Always).tasks(100, async |client| client.compute(1).await.unwrap()).await, 1);
    // Quick at first, and slow later.
    let rig = Rig::new(Inline::Adaptive);
    assert_eq!(rig.tasks(1000, async |client| client.compute(0).await.unwrap()).await, 1);
    rig.tasks(10, async |client| client.compute(1).await.unwrap()).await;
    assert!(rig.tasks(50, async |client| client.compute(1).await.unwrap()).await >= 49);
}

#[tokio::test(start_paused = true)]
async fn so_is_that_it_computes_after_it_has_waited() {
    let rig = Rig::new(Inline::Adaptive);
    let call = async |client: &PlacesClient| client.compute_after_hop(1).await.unwrap();
    assert_eq!(rig.tasks(1, call).await, 1);
    assert_eq!(rig.tasks(64, call).await, 64);
}

#[tokio::test(start_paused = true)]
async fn a_method_that_computes_no_more_comes_back() {
    let rig = Rig::new(Inline::Adaptive);
    rig.tasks(300, async |client| client.compute(1).await.unwrap()).await;
    rig.tasks(700, async |client| client.compute(0).await.unwrap()).await;
    assert_eq!(rig.tasks(1000, async |client| client.compute(0).await.unwrap()).await, 1);
}

/// The clock stands still as long as anything runs: nothing on the way of a call waits for a timer, from the first call of
/// the connection on.
#[tokio::test(start_paused = true)]
async fn calls_begin_beside_handlers_that_are_woken_all_the_time() {
    for inline in [Inline::Adaptive, Inline::Always, Inline::Never] {
        let rig = Rig::new(inline);
        let spinning = join_all((0..100).map(|_| rig.client.spin()));
        tokio::select! {
            biased;
            _ = spinning => panic!("they never return"),
            calls = rig.tasks(3, quick) => assert!(calls > 0),
        }
    }
}

/// Each of them leaves nothing of the turn of the task in which it runs.
#[tokio::test(start_paused = true)]
async fn calls_are_answered_beside_handlers_that_take_whole_turns() {
    for inline in [Inline::Adaptive, Inline::Always, Inline::Never] {
        let rig = Rig::new(inline);
        let greedy = join_all((0..3).map(|_| rig.client.greedy()));
        let calls = async {
            // Some wait already when the others come.
            rig.tasks(3, quick).await;
            rig.tasks(3, async |client| client.hop().await.unwrap()).await
        };
        tokio::select! {
            biased;
            _ = greedy => panic!("they never return"),
            calls = calls => assert!(calls > 0, "{inline:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_never_rests_gets_a_task() {
    for inline in [Inline::Adaptive, Inline::Always] {
        let rig = Rig::new(inline);
        assert_eq!(rig.client.go_on(20, true).await.unwrap(), 1, "{inline:?}");
        assert_eq!(rig.client.go_on(1000, true).await.unwrap(), 2, "{inline:?}");
        // That is not: it is woken once others had their turn.
        assert_eq!(rig.client.go_on(1000, false).await.unwrap(), 1, "{inline:?}");
    }
}
