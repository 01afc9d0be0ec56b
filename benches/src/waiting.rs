//! Handlers that never answer, counted. Server and client are one process, so that the client can
//! know without the wire that its call has arrived.

use std::{
    future,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use tokio::{sync::Notify, time};

use crate::Result;

/// Places by which a caller is told that its handler runs.
const SLOTS: usize = 1024;

/// How long handlers may take to begin or to be dropped, once nobody keeps them from it.
const LIMIT: Duration = Duration::from_secs(30);

static HANDLERS: AtomicUsize = AtomicUsize::new(0);
static STARTED: [Notify; SLOTS] = [const { Notify::const_new() }; SLOTS];

/// What a handler does that never answers. `slot` is the caller's.
pub(crate) async fn forever<T>(slot: u32) -> T {
    let _handler = Handler::new();
    of(slot).notify_one();
    future::pending().await
}

/// Waits until a handler with this slot has begun, once for each.
pub(crate) async fn started(slot: u32) {
    of(slot).notified().await;
}

fn of(slot: u32) -> &'static Notify {
    &STARTED[slot as usize % SLOTS]
}

/// How many handlers run.
pub(crate) fn running() -> usize {
    HANDLERS.load(Ordering::Relaxed)
}

/// Waits until so many handlers run, no more and no less.
pub(crate) async fn handlers(count: usize) -> Result<()> {
    let reached = async {
        while running() != count {
            time::sleep(Duration::from_millis(1)).await;
        }
    };
    time::timeout(LIMIT, reached)
        .await
        .map_err(|_| format!("{} handlers run instead of {count}", running()).into())
}

/// One that runs.
struct Handler;

impl Handler {
    fn new() -> Self {
        HANDLERS.fetch_add(1, Ordering::Relaxed);
        Self
    }
}

impl Drop for Handler {
    fn drop(&mut self) {
        HANDLERS.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn handlers_are_counted_from_their_beginning_to_their_drop() {
        let handler = tokio::spawn(forever::<()>(7));
        started(7).await;
        handlers(1).await.unwrap();
        handler.abort();
        assert!(handler.await.is_err());
        handlers(0).await.unwrap();
    }
}
