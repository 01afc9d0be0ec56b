//! A service with a method of every shape, and connections to call it over.

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use futures_util::{StreamExt, stream};
use muxado_rpc::{CallError, Codec, Context, Limits, Peer, Status, Stream, Streaming};
use tokio::{io::duplex, sync::Notify};

#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub(crate) enum Broken {
    After(u64),
}

#[muxado_rpc::service]
pub(crate) trait Flow {
    async fn count(&self, to: u64) -> impl Stream<Item = u64>;
    async fn count_then_fail(&self, to: u64) -> impl Stream<Item = Result<u64, Broken>>;
    async fn count_if_even(&self, to: u64) -> Result<impl Stream<Item = u64>, Broken>;
    async fn sum(&self, numbers: Streaming<u64>) -> Result<u64, Status>;
    async fn sum_from(&self, start: u64, numbers: Streaming<u64>, factor: u64) -> Result<u64, Status>;
    async fn shout(&self, cx: &Context, words: Streaming<String>) -> impl Stream<Item = String>;
    /// Answers without having read the items.
    async fn ignore(&self, items: Streaming<u64>) -> u64;
    /// Sends one item and then none.
    async fn stall(&self) -> impl Stream<Item = u64>;
    async fn panic_after(&self, items: u64) -> impl Stream<Item = u64>;
    async fn large(&self, size: usize) -> impl Stream<Item = String>;
    /// Never reads.
    async fn never_read(&self, items: Streaming<String>) -> u64;
    /// Gives back what it reads, as the results of an inner call of the caller's `sum`.
    async fn sum_at_caller(&self, cx: &Context, to: u64) -> Result<u64, Status>;
}

/// Says when it is dropped.
struct Guard(Flowing);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.alive.fetch_sub(1, Ordering::SeqCst);
        self.0.changed.notify_waiters();
    }
}

#[derive(Clone, Default)]
pub(crate) struct Flowing {
    alive: Arc<AtomicUsize>,
    changed: Arc<Notify>,
}

impl Flowing {
    fn guard(&self) -> Guard {
        self.alive.fetch_add(1, Ordering::SeqCst);
        self.changed.notify_waiters();
        Guard(self.clone())
    }

    pub(crate) async fn until_alive(&self, count: usize) {
        loop {
            let changed = self.changed.notified();
            if self.alive.load(Ordering::SeqCst) == count {
                return;
            }
            changed.await;
        }
    }
}

impl Flow for Flowing {
    async fn count(&self, to: u64) -> impl Stream<Item = u64> {
        stream::iter(1..=to)
    }

    async fn count_then_fail(&self, to: u64) -> impl Stream<Item = Result<u64, Broken>> {
        stream::iter((1..=to).map(Ok).chain([Err(Broken::After(to)), Ok(99)]))
    }

    async fn count_if_even(&self, to: u64) -> Result<impl Stream<Item = u64>, Broken> {
        if to.is_multiple_of(2) { Ok(stream::iter(1..=to)) } else { Err(Broken::After(0)) }
    }

    async fn sum(&self, mut numbers: Streaming<u64>) -> Result<u64, Status> {
        let mut sum = 0;
        while let Some(number) = numbers.try_next().await? {
            sum += number;
        }
        Ok(sum)
    }

    async fn sum_from(&self, start: u64, numbers: Streaming<u64>, factor: u64) -> Result<u64, Status> {
        Ok(start + factor * self.sum(numbers).await?)
    }

    async fn shout(&self, cx: &Context, words: Streaming<String>) -> impl Stream<Item = String> {
        // Borrows from the service and the context.
        words.map(|word| {
            let _alive = &self.alive;
            format!("{} {}!", cx.method().name(), word.unwrap_or_else(|error| error.to_string()))
        })
    }

    async fn ignore(&self, _items: Streaming<u64>) -> u64 {
        7
    }

    async fn stall(&self) -> impl Stream<Item = u64> {
        let guard = self.guard();
        stream::iter([1]).chain(stream::once(async move {
            let _guard = guard;
            pending::<u64>().await
        }))
    }

    async fn panic_after(&self, items: u64) -> impl Stream<Item = u64> {
        stream::iter(0..).map(move |n| if n == items { panic!("a secret") } else { n })
    }

    async fn large(&self, size: usize) -> impl Stream<Item = String> {
        stream::iter(["small".to_owned(), "x".repeat(size), "never".to_owned()])
    }

    async fn never_read(&self, items: Streaming<String>) -> u64 {
        let _guard = self.guard();
        let _items = items;
        pending().await
    }

    async fn sum_at_caller(&self, cx: &Context, to: u64) -> Result<u64, Status> {
        let caller = FlowClient::new(cx.channel());
        let numbers = caller.count(to).await?;
        caller.sum(numbers.map(|number| number.unwrap_or(0))).await.map_err(own)
    }
}

fn own(error: CallError<Status>) -> Status {
    match error {
        CallError::App(status) | CallError::Status(status) => status,
    }
}

pub(crate) const CODECS: [Codec; 2] = [Codec::Json, Codec::MessagePack];

pub(crate) struct Pair {
    pub(crate) near: Peer,
    pub(crate) far: Peer,
    pub(crate) near_flow: Flowing,
    pub(crate) far_flow: Flowing,
}

pub(crate) fn pair_with(limits: &Limits) -> Pair {
    let (near_io, far_io) = duplex(64 * 1024);
    let (near_flow, far_flow) = (Flowing::default(), Flowing::default());
    let serve = |flow: &Flowing| Peer::builder().limits(limits.clone()).serve(FlowServer::new(flow.clone()));
    let near = serve(&near_flow).client(near_io).unwrap();
    let far = serve(&far_flow).server(far_io).unwrap();
    Pair { near, far, near_flow, far_flow }
}

pub(crate) fn pair() -> Pair {
    pair_with(&Limits::default())
}

impl Pair {
    /// A client at either end, in either codec.
    pub(crate) fn clients(&self) -> Vec<FlowClient> {
        [&self.near, &self.far]
            .into_iter()
            .flat_map(|peer| CODECS.map(|codec| FlowClient::new(peer.channel()).with_codec(codec)))
            .collect()
    }

    pub(crate) fn client(&self, codec: Codec) -> FlowClient {
        FlowClient::new(self.near.channel()).with_codec(codec)
    }
}

/// All items, and the error at their end.
pub(crate) async fn collect<T, E>(mut items: Streaming<T, E>) -> (Vec<T>, Option<CallError<E>>) {
    let mut all = Vec::new();
    while let Some(item) = items.next().await {
        match item {
            Ok(item) => all.push(item),
            Err(error) => {
                assert!(items.next().await.is_none(), "an error is the last item");
                return (all, Some(error));
            }
        }
    }
    assert!(items.next().await.is_none(), "the end lasts");
    (all, None)
}
