//! Calls are futures with a name, which borrow nothing and can be sent, shared and configured one by one.

#![deny(warnings, missing_docs)]

use std::{convert::Infallible, io, time::Duration};

use futures_util::{StreamExt, stream};
use muxado_rpc::{CallError, Channel, ClientCall, Context, Peer, Status, Stream, Streaming};
use tokio::task::JoinSet;

#[muxado_rpc::service]
trait Store {
    async fn get(&self, key: &str) -> usize;
    async fn find(&self, key: u8) -> Result<String, Status>;
    async fn sure(&self) -> Result<u8, Infallible>;
    async fn whoami(&self, cx: &Context) -> String;
    async fn items(&self, count: u8) -> impl Stream<Item = u8>;
    async fn sum(&self, items: Streaming<u8>) -> u8;
    async fn echo(&self, items: Streaming<u8>) -> impl Stream<Item = Result<u8, Infallible>>;
}

struct Memory;

impl Store for Memory {
    async fn get(&self, key: &str) -> usize {
        key.len()
    }

    async fn find(&self, key: u8) -> Result<String, Status> {
        Err(Status::not_found(format!("no {key}")))
    }

    async fn sure(&self) -> Result<u8, Infallible> {
        Ok(1)
    }

    async fn whoami(&self, cx: &Context) -> String {
        cx.insert_metadata("seen", "yes");
        cx.metadata().get("name").unwrap_or_default().to_owned()
    }

    async fn items(&self, count: u8) -> impl Stream<Item = u8> {
        // A boxed stream stands behind the `impl Stream`.
        if count == 0 { stream::empty().boxed() } else { stream::iter(0..count).boxed() }
    }

    async fn sum(&self, items: Streaming<u8>) -> u8 {
        items.fold(0, |sum, item| async move { sum + item.unwrap_or(0) }).await
    }

    async fn echo(&self, items: Streaming<u8>) -> impl Stream<Item = Result<u8, Infallible>> {
        items.filter_map(|item| async { item.ok().map(Ok) })
    }
}

/// A call has a name, so it can be kept.
struct Pending {
    call: ClientCall<usize>,
}

fn begin(store: &StoreClient) -> Pending {
    let key = String::from("key");
    Pending { call: store.get(&key).timeout(Duration::from_secs(1)) }
}

async fn together(store: &StoreClient, keys: Vec<String>) -> Vec<Result<usize, CallError>> {
    let calls = keys.into_iter().map(|key| store.get(&key)).collect::<JoinSet<_>>();
    calls.join_all().await
}

fn assert_free<T: Send + Sync + 'static>(_: &T) {}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (near, far) = tokio::io::duplex(1024);
    let _served = Peer::builder().serve(StoreServer::new(Memory)).server(far)?;
    let peer = Peer::builder().client(near)?;
    let store: StoreClient<Channel> = StoreClient::new(peer.channel());

    let pending = begin(&store);
    assert_free(&pending.call);
    assert_eq!(pending.call.await?, 3);
    assert_eq!(together(&store, vec!["a".to_owned(), "bb".to_owned()]).await.len(), 2);
    assert_eq!(store.sure().await?, 1);

    let response = store.whoami().metadata("name", "me").with_response().await;
    assert_eq!(response.metadata().get("seen"), Some("yes"));
    assert_eq!(response.into_result()?, "me");
    let missing: Result<String, CallError<Status>> = store.find(7).without_inherited_deadline().await;
    assert!(missing.is_err());

    let call = store.items(2);
    assert_free(&call);
    let mut items: Streaming<u8> = call.await?;
    assert_free(&items);
    assert_eq!(items.try_next().await?, Some(0));

    // The stream that is sent need not be `Sync`.
    let call = store.sum(stream::iter([1, 2]).map(std::cell::Cell::new).map(std::cell::Cell::into_inner));
    assert_free(&call);
    assert_eq!(call.await?, 3);
    let mut echoed = store.echo(stream::iter([5])).await?;
    assert_free(&echoed);
    assert_eq!(echoed.try_next().await?, Some(5));
    Ok::<_, io::Error>(())?;
    Ok(())
}
