//! Where handlers run: in the task of their connection, or in tasks of their own.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use muxado_rpc::{Inline, Peer};
use tokio::{
    io::duplex,
    sync::Notify,
    task::{Id, id},
};

#[muxado_rpc::service]
trait Places {
    async fn quick(&self);
    /// Waits once, for another task.
    async fn hop(&self);
    /// Waits once if it is told to.
    async fn hop_if(&self, hop: bool);
    /// Takes so long, by the clock of the test.
    async fn compute(&self, ms: u64);
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

impl Places for Seen {
    async fn quick(&self) {
        self.note();
    }

    async fn hop(&self) {
        self.note();
        hop().await;
    }

    async fn hop_if(&self, there: bool) {
        self.note();
        if there {
            hop().await;
        }
    }

    async fn compute(&self, ms: u64) {
        self.note();
        // Time stands still otherwise: its clock is moved on, by a handler that holds its thread.
        let mut advance = std::pin::pin!(tokio::time::advance(Duration::from_millis(ms)));
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        let _ = Future::poll(advance.as_mut(), &mut cx);
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

async fn hopping(client: &PlacesClient) {
    client.hop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_does_not_wait_costs_no_task() {
    for inline in [Inline::Adaptive, Inline::Always] {
        assert_eq!(Rig::new(inline).tasks(1000, quick).await, 1, "{inline:?}");
    }
    assert_eq!(Rig::new(Inline::Never).tasks(100, quick).await, 100);
}

#[tokio::test(start_paused = true)]
async fn that_a_method_waits_is_learnt_and_tried_again_now_and_then() {
    let rig = Rig::new(Inline::Adaptive);
    // The first few begin in the task of the connection.
    assert_eq!(rig.tasks(4, hopping).await, 1);
    assert_eq!(rig.tasks(64, hopping).await, 64);
    assert!(rig.tasks(1000, hopping).await > 990);
    // What is learnt of one method is not held against another.
    assert_eq!(rig.tasks(1000, quick).await, 1);
    assert_eq!(Rig::new(Inline::Always).tasks(100, hopping).await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_method_that_seldom_waits_stays_where_it_is() {
    let rig = Rig::new(Inline::Adaptive);
    for _ in 0..20 {
        assert_eq!(rig.tasks(9, async |client| client.hop_if(false).await.unwrap()).await, 1);
        assert_eq!(rig.tasks(1, async |client| client.hop_if(true).await.unwrap()).await, 1);
    }
    assert_eq!(rig.tasks(9, async |client| client.hop_if(false).await.unwrap()).await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_method_that_waits_no_more_comes_back() {
    let rig = Rig::new(Inline::Adaptive);
    rig.tasks(300, async |client| client.hop_if(true).await.unwrap()).await;
    rig.tasks(700, async |client| client.hop_if(false).await.unwrap()).await;
    assert_eq!(rig.tasks(1000, async |client| client.hop_if(false).await.unwrap()).await, 1);
}

#[tokio::test(start_paused = true)]
async fn that_a_method_computes_is_learnt_too() {
    let rig = Rig::new(Inline::Adaptive);
    assert_eq!(rig.tasks(1, async |client| client.compute(1).await.unwrap()).await, 1);
    assert_eq!(rig.tasks(64, async |client| client.compute(1).await.unwrap()).await, 64);
    assert_eq!(rig.tasks(1000, quick).await, 1);
    // Quick at first, and slow later.
    let rig = Rig::new(Inline::Adaptive);
    assert_eq!(rig.tasks(1000, async |client| client.compute(0).await.unwrap()).await, 1);
    rig.tasks(10, async |client| client.compute(1).await.unwrap()).await;
    assert!(rig.tasks(50, async |client| client.compute(1).await.unwrap()).await >= 49);
}
