//! A server that the program has never seen.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::{StreamExt, stream};
use muxado_rpc::{AppError, CallError, Context, Server, Status, Stream, Streaming};
use serde::{Deserialize, Serialize};
use tokio::{sync::watch, time::sleep};

#[muxado_rpc::service]
pub(crate) trait Shop {
    async fn echo(&self, text: String) -> String;
    async fn refuse(&self, text: String) -> Result<String, Refused>;
    /// Every second call fails.
    async fn moody(&self) -> Result<u64, Status>;
    async fn count(&self, to: u32) -> impl Stream<Item = u32>;
    async fn sum(&self, start: u32, numbers: Streaming<u32>) -> u32;
    async fn double(&self, numbers: Streaming<u32>) -> impl Stream<Item = u32>;
    /// Asks the caller.
    async fn ask(&self, cx: &Context, question: String) -> Result<String, Status>;
    /// Stalls for a second at the 50th call, and all that come meanwhile with it.
    async fn stall(&self) -> u64;
    async fn slow(&self) -> u64;
}

/// What the shop's callers serve.
#[muxado_rpc::service]
pub(crate) trait Customer {
    async fn answer(&self, question: String) -> Result<String, Refused>;
}

#[derive(Debug, PartialEq, Serialize, Deserialize, AppError, thiserror::Error)]
pub(crate) enum Refused {
    #[code(PermissionDenied)]
    #[error("not to you")]
    NotToYou { name: String },
}

/// What a test sees of the shop.
#[derive(Clone, Default)]
pub(crate) struct Counts {
    pub(crate) calls: Arc<watch::Sender<u64>>,
    pub(crate) under_way: Arc<AtomicU64>,
}

struct Open {
    counts: Counts,
    /// Whether the shop does nothing.
    stalls: watch::Sender<bool>,
}

impl Open {
    /// Counts a call. Returns how many there were.
    fn called(&self) -> u64 {
        let mut calls = 0;
        self.counts.calls.send_modify(|count| {
            *count += 1;
            calls = *count;
        });
        calls
    }
}

impl Shop for Open {
    async fn echo(&self, text: String) -> String {
        self.called();
        text
    }

    async fn refuse(&self, text: String) -> Result<String, Refused> {
        self.called();
        Err(Refused::NotToYou { name: text })
    }

    async fn moody(&self) -> Result<u64, Status> {
        match self.called() {
            calls if calls % 2 == 0 => Ok(calls),
            _ => Err(Status::unavailable("not in the mood")),
        }
    }

    async fn count(&self, to: u32) -> impl Stream<Item = u32> {
        self.called();
        stream::iter(0..to)
    }

    async fn sum(&self, start: u32, mut numbers: Streaming<u32>) -> u32 {
        self.called();
        let mut sum = start;
        while let Ok(Some(number)) = numbers.try_next().await {
            sum += number;
        }
        sum
    }

    async fn double(&self, numbers: Streaming<u32>) -> impl Stream<Item = u32> {
        self.called();
        numbers.filter_map(|number| async { number.ok().map(|number| 2 * number) })
    }

    async fn ask(&self, cx: &Context, question: String) -> Result<String, Status> {
        self.called();
        let customer = CustomerClient::new(cx.channel());
        customer.answer(question).await.or_else(|error| match error {
            CallError::App(Refused::NotToYou { name }) => Ok(format!("{name} refused")),
            CallError::Status(status) => Err(status),
        })
    }

    async fn stall(&self) -> u64 {
        let calls = self.called();
        if calls == 50 {
            self.stalls.send_replace(true);
            sleep(Duration::from_secs(1)).await;
            self.stalls.send_replace(false);
        }
        // The sender is there as long as the shop.
        _ = self.stalls.subscribe().wait_for(|stalls| !stalls).await;
        calls
    }

    async fn slow(&self) -> u64 {
        let _under_way = UnderWay::begin(&self.counts.under_way);
        let calls = self.called();
        sleep(Duration::from_millis(20)).await;
        calls
    }
}

/// Counts a handler until it ends or is dropped.
struct UnderWay(Arc<AtomicU64>);

impl UnderWay {
    fn begin(count: &Arc<AtomicU64>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(count))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Opens a shop. Returns its address, which is served as long as the server is kept.
pub(crate) async fn open() -> (Server, String, Counts) {
    let counts = Counts::default();
    let shop = Open { counts: counts.clone(), stalls: watch::Sender::new(false) };
    let builder = Server::builder().serve(ShopServer::new(shop)).reflection();
    let server = builder.listen("tcp://127.0.0.1:0").await.unwrap();
    let address = server.local_addr().to_string();
    (server, address, counts)
}
