//! A service with a method of every shape, and messages written by hand for it.

use std::{
    fmt,
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use futures_util::{StreamExt, stream};
use muxado_rpc::{AppError, CallError, Codec, Context, Status, Stream, Streaming};
use serde_json::Value;
use tokio::sync::Notify;

#[derive(Clone, Debug, PartialEq, AppError, serde::Serialize, serde::Deserialize)]
pub enum Broken {
    #[code(OutOfRange)]
    After(u64),
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::After(items) = self;
        write!(f, "broken after {items}")
    }
}

#[muxado_rpc::service]
pub trait Feed {
    async fn one(&self, n: u64) -> u64;
    async fn count(&self, to: u64) -> impl Stream<Item = u64>;
    async fn broken(&self, after: u64) -> impl Stream<Item = Result<u64, Broken>>;
    async fn broken_at_once(&self, cx: &Context) -> Result<impl Stream<Item = u64>, Broken>;
    async fn sum(&self, numbers: Streaming<u64>) -> Result<u64, Status>;
    async fn double(&self, numbers: Streaming<u64>) -> impl Stream<Item = Result<u64, Status>>;
    /// What it read, and the code of the failure that ended it.
    async fn tolerant(&self, numbers: Streaming<u64>) -> (Vec<u64>, Option<String>);
    /// Answers without having read the items.
    async fn ignore(&self, items: Streaming<u64>) -> u64;
    /// One item, with metadata in front and a trailer.
    async fn annotated(&self, cx: &Context, size: usize) -> impl Stream<Item = u64>;
    /// One item of so many bytes, then none.
    async fn large_then_stall(&self, size: usize) -> impl Stream<Item = String>;
    /// Reads all, answers nothing.
    async fn hang(&self, items: Streaming<u64>) -> u64;
    /// Handlers and streams of the last two that are alive.
    async fn alive(&self) -> usize;
}

/// What can be seen of a feed from outside.
#[derive(Clone, Debug, Default)]
pub struct Feeding {
    alive: Arc<AtomicUsize>,
    changed: Arc<Notify>,
}

/// Counts itself out when it is dropped.
pub struct Alive(Feeding);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.alive.fetch_sub(1, Ordering::SeqCst);
        self.0.changed.notify_waiters();
    }
}

impl Feeding {
    pub fn guard(&self) -> Alive {
        self.alive.fetch_add(1, Ordering::SeqCst);
        self.changed.notify_waiters();
        Alive(self.clone())
    }

    pub fn count_alive(&self) -> usize {
        self.alive.load(Ordering::SeqCst)
    }

    pub async fn until_alive(&self, count: usize) {
        loop {
            let changed = self.changed.notified();
            if self.count_alive() == count {
                return;
            }
            changed.await;
        }
    }
}

impl Feed for Feeding {
    async fn one(&self, n: u64) -> u64 {
        n
    }

    async fn count(&self, to: u64) -> impl Stream<Item = u64> {
        stream::iter(1..=to)
    }

    async fn broken(&self, after: u64) -> impl Stream<Item = Result<u64, Broken>> {
        stream::iter((1..=after).map(Ok).chain([Err(Broken::After(after))]))
    }

    async fn broken_at_once(&self, cx: &Context) -> Result<impl Stream<Item = u64>, Broken> {
        cx.insert_metadata("k", "v");
        cx.insert_trailer("t", "w");
        Err::<stream::Empty<u64>, _>(Broken::After(0))
    }

    async fn sum(&self, mut numbers: Streaming<u64>) -> Result<u64, Status> {
        let mut sum = 0;
        while let Some(number) = numbers.try_next().await? {
            sum += number;
        }
        Ok(sum)
    }

    async fn double(&self, numbers: Streaming<u64>) -> impl Stream<Item = Result<u64, Status>> {
        numbers.map(|number| Ok(2 * number?))
    }

    async fn tolerant(&self, mut numbers: Streaming<u64>) -> (Vec<u64>, Option<String>) {
        let mut all = Vec::new();
        loop {
            match numbers.next().await {
                Some(Ok(number)) => all.push(number),
                Some(Err(error)) => return (all, Some(error.code().to_string())),
                None => return (all, None),
            }
        }
    }

    async fn ignore(&self, _items: Streaming<u64>) -> u64 {
        7
    }

    async fn annotated(&self, cx: &Context, size: usize) -> impl Stream<Item = u64> {
        cx.insert_metadata("k", "v".repeat(size));
        cx.insert_trailer("t", "w".repeat(size));
        stream::iter([1])
    }

    async fn large_then_stall(&self, size: usize) -> impl Stream<Item = String> {
        let alive = self.guard();
        stream::iter(["x".repeat(size)]).chain(stream::once(async move {
            let _alive = alive;
            pending().await
        }))
    }

    async fn hang(&self, mut items: Streaming<u64>) -> u64 {
        let _alive = self.guard();
        while let Some(Ok(_)) = items.next().await {}
        pending().await
    }

    async fn alive(&self) -> usize {
        self.count_alive()
    }
}

/// Messages in the form of the wire.
pub fn encode(codec: Codec, messages: &[Value]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for message in messages {
        if codec == Codec::Json {
            bytes.extend(message.to_string().into_bytes());
            bytes.push(b'\n');
        } else {
            let packed = rmp_serde::to_vec(message).expect("JSON fits into MessagePack");
            bytes.extend((packed.len() as u32).to_be_bytes());
            bytes.extend(packed);
        }
    }
    bytes
}

/// Messages out of the form of the wire, which is to be whole.
pub fn decode(codec: Codec, mut bytes: &[u8]) -> Vec<Value> {
    let mut messages = Vec::new();
    while !bytes.is_empty() {
        let (message, rest) = if codec == Codec::Json {
            let end = bytes.iter().position(|byte| *byte == b'\n').expect("a line feed ends a message");
            (serde_json::from_slice(&bytes[..end]).expect("JSON"), &bytes[end + 1..])
        } else {
            let (length, rest) = bytes.split_first_chunk().expect("a length");
            let (packed, rest) = rest.split_at(u32::from_be_bytes(*length) as usize);
            (rmp_serde::from_slice(packed).expect("MessagePack"), rest)
        };
        messages.push(message);
        bytes = rest;
    }
    messages
}

/// All items, and the error at their end, after which there is nothing.
pub async fn collect<T, E>(items: &mut Streaming<T, E>) -> (Vec<T>, Option<CallError<E>>) {
    let mut all = Vec::new();
    let error = loop {
        match items.next().await {
            Some(Ok(item)) => all.push(item),
            Some(Err(error)) => break Some(error),
            None => break None,
        }
    };
    assert!(items.next().await.is_none(), "the end lasts");
    (all, error)
}
