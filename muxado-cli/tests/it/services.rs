//! Services that the command has never seen.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use futures_util::{StreamExt, stream};
use muxado_rpc::{AppError, Context, Status, Stream, Streaming, schema::schemars::JsonSchema};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

/// What a thing is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(crate = "muxado_rpc::schema::schemars")]
pub(crate) struct Thing {
    pub(crate) name: String,
    /// How many there are.
    pub(crate) count: u64,
    #[serde(default)]
    pub(crate) picture: Vec<u8>,
    #[serde(default)]
    pub(crate) kind: Kind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) inner: Option<Box<Self>>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(crate = "muxado_rpc::schema::schemars")]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    #[default]
    Small,
    Large,
    Sized {
        width: u8,
        height: u8,
    },
}

#[derive(Debug, AppError, thiserror::Error, Serialize, Deserialize, JsonSchema)]
#[schemars(crate = "muxado_rpc::schema::schemars")]
pub(crate) enum Wrong {
    #[code(FailedPrecondition)]
    #[error("it is {by} too large")]
    TooLarge { by: u64 },
}

/// Methods of every shape.
#[muxado_rpc::service(schema)]
pub(crate) trait Workshop {
    /// Returns what it is given.
    async fn echo(&self, thing: &Thing) -> Thing;
    /// Returns the parameters as they were read.
    async fn numbers(
        &self,
        large: u64,
        small: i64,
        huge: u128,
        float: f64,
        note: Option<String>,
    ) -> (u64, i64, u128, f64);
    async fn length(&self, bytes: &[u8]) -> usize;
    async fn nothing(&self);
    async fn fail(&self, by: u64) -> Result<(), Wrong>;
    async fn status(&self, code: String, text: String) -> Result<(), Status>;
    async fn metadata(&self, cx: &Context, name: String) -> Option<String>;
    #[method(timeout_ms = 50)]
    async fn sleep(&self);
    #[method(idempotent)]
    async fn count_to(&self, end: u64) -> impl Stream<Item = u64>;
    /// Fails after two items.
    async fn break_off(&self) -> Result<impl Stream<Item = Result<u64, Wrong>>, Wrong>;
    async fn sum(&self, numbers: Streaming<u64>) -> u64;
    /// Adds to a total.
    async fn sum_from(&self, start: u64, numbers: Streaming<u64>) -> u64;
    async fn paint(&self, things: Streaming<Thing>) -> impl Stream<Item = String>;
    /// Never ends, and says nothing.
    async fn hang(&self) -> ();
    /// Never ends, and says something first.
    async fn hang_streaming(&self) -> impl Stream<Item = u64>;
    #[deprecated(note = "use `echo`")]
    async fn old(&self, map: BTreeMap<String, i32>, pair: (bool, String)) -> String;
}

/// A service of which names and shapes are known, and nothing else.
#[muxado_rpc::service]
pub(crate) trait Plain {
    async fn add(&self, a: i32, b: i32) -> i32;
    async fn join(&self, between: String, words: Streaming<String>) -> String;
}

impl Plain for Master {
    async fn add(&self, a: i32, b: i32) -> i32 {
        a + b
    }

    async fn join(&self, between: String, mut words: Streaming<String>) -> String {
        let mut joined = Vec::new();
        while let Ok(Some(word)) = words.try_next().await {
            joined.push(word);
        }
        joined.join(&between)
    }
}

/// Counts handlers that have begun, and that were dropped before their end.
#[derive(Debug, Default)]
pub(crate) struct Handlers {
    begun: AtomicUsize,
    dropped: AtomicUsize,
    changed: Notify,
}

impl Handlers {
    pub(crate) async fn begun(&self, count: usize) {
        self.until(|| self.begun.load(Ordering::SeqCst) >= count).await;
    }

    pub(crate) async fn dropped(&self, count: usize) {
        self.until(|| self.dropped.load(Ordering::SeqCst) >= count).await;
    }

    pub(crate) fn begin(self: &Arc<Self>) -> Running {
        self.begun.fetch_add(1, Ordering::SeqCst);
        self.changed.notify_waiters();
        Running(Arc::clone(self))
    }

    async fn until(&self, is_so: impl Fn() -> bool) {
        loop {
            let changed = self.changed.notified();
            if is_so() {
                return;
            }
            changed.await;
        }
    }
}

/// A handler that runs.
pub(crate) struct Running(Arc<Handlers>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.dropped.fetch_add(1, Ordering::SeqCst);
        self.0.changed.notify_waiters();
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Master(pub(crate) Arc<Handlers>);

impl Workshop for Master {
    async fn echo(&self, thing: &Thing) -> Thing {
        thing.clone()
    }

    async fn numbers(
        &self,
        large: u64,
        small: i64,
        huge: u128,
        float: f64,
        _: Option<String>,
    ) -> (u64, i64, u128, f64) {
        (large, small, huge, float)
    }

    async fn length(&self, bytes: &[u8]) -> usize {
        bytes.len()
    }

    async fn nothing(&self) {}

    async fn fail(&self, by: u64) -> Result<(), Wrong> {
        Err(Wrong::TooLarge { by })
    }

    async fn status(&self, code: String, text: String) -> Result<(), Status> {
        Err(Status::new(code.parse().unwrap_or_default(), text))
    }

    async fn metadata(&self, cx: &Context, name: String) -> Option<String> {
        cx.insert_metadata("seen", "yes");
        cx.metadata().get(&name).map(str::to_owned)
    }

    async fn sleep(&self) {
        std::future::pending::<()>().await;
    }

    async fn count_to(&self, end: u64) -> impl Stream<Item = u64> {
        stream::iter(1..=end)
    }

    async fn break_off(&self) -> Result<impl Stream<Item = Result<u64, Wrong>>, Wrong> {
        Ok(stream::iter([Ok(1), Ok(2), Err(Wrong::TooLarge { by: 3 })]))
    }

    async fn sum(&self, numbers: Streaming<u64>) -> u64 {
        self.sum_from(0, numbers).await
    }

    async fn sum_from(&self, start: u64, mut numbers: Streaming<u64>) -> u64 {
        let mut sum = start;
        while let Ok(Some(number)) = numbers.try_next().await {
            sum += number;
        }
        sum
    }

    async fn paint(&self, things: Streaming<Thing>) -> impl Stream<Item = String> {
        things.map(|thing| {
            thing.map_or_else(|error| error.to_string(), |thing| format!("{} is red", thing.name))
        })
    }

    async fn hang(&self) {
        let _running = self.0.begin();
        std::future::pending::<()>().await;
    }

    async fn hang_streaming(&self) -> impl Stream<Item = u64> {
        let running = self.0.begin();
        stream::iter([7]).chain(stream::pending()).map(move |item| {
            let _running = &running;
            item
        })
    }

    async fn old(&self, map: BTreeMap<String, i32>, pair: (bool, String)) -> String {
        format!("{map:?} {pair:?}")
    }
}
