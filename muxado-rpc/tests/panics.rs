//! Code of an application that panics, wherever it runs: its call fails, and nothing else does.
#![expect(clippy::panic, clippy::unwrap_used, reason = "a test panics to fail, and here to pass, too")]

use std::{fmt, future::pending, sync::Arc};

use futures_util::{StreamExt, stream};
use muxado_rpc::{AppError, CallError, Code, Codec, Context, Limits, Peer, Status, Stream, Streaming};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tokio::{io::duplex, sync::Notify, task::yield_now};

/// Panics when it is encoded.
#[derive(Deserialize)]
struct Unsendable;

impl Serialize for Unsendable {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        panic!("while it is encoded");
    }
}

/// Panics when it is decoded.
#[derive(Serialize)]
struct Unreceivable;

impl<'de> Deserialize<'de> for Unreceivable {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        panic!("while it is decoded");
    }
}

/// Panics when its text is wanted.
#[derive(Debug, Serialize, Deserialize)]
struct Textless;

impl fmt::Display for Textless {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        panic!("while it is shown");
    }
}

/// Panics when its code is wanted.
#[derive(Debug, Serialize, Deserialize)]
struct Codeless;

impl AppError for Codeless {
    fn code(&self) -> Code {
        panic!("while its code is asked for");
    }
}

/// Panics when it is dropped.
struct Undroppable;

impl Drop for Undroppable {
    fn drop(&mut self) {
        // A second panic at a time would end the process.
        assert!(std::thread::panicking(), "while it is dropped");
    }
}

#[muxado_rpc::service]
trait Panicking {
    async fn fine(&self) -> u64;
    async fn at_once(&self);
    async fn later(&self);
    async fn in_the_answer(&self) -> Unsendable;
    async fn in_the_parameters(&self, value: Unreceivable);
    async fn in_the_text(&self) -> Result<(), Textless>;
    async fn in_the_code(&self) -> Result<(), Codeless>;
    async fn at_the_end(&self);
    async fn in_the_scope(&self, cx: &Context) -> bool;
    async fn before_the_items(&self) -> impl Stream<Item = u64>;
    async fn in_the_items(&self) -> impl Stream<Item = u64>;
    async fn in_an_item(&self) -> impl Stream<Item = Unsendable>;
    async fn in_an_item_received(&self, items: Streaming<Unreceivable>) -> u64;
    async fn in_the_error_of_items(&self) -> impl Stream<Item = Result<u64, Textless>>;
    async fn when_cancelled(&self);
    async fn when_cancelled_with_tasks(&self, cx: &Context);
    async fn when_items_are_dropped(&self) -> impl Stream<Item = u64>;
    async fn when_it_reads(&self, items: Streaming<u64>);
}

#[derive(Clone, Default)]
struct Worker {
    begun: Arc<Notify>,
}

impl Panicking for Worker {
    async fn fine(&self) -> u64 {
        7
    }

    async fn at_once(&self) {
        panic!("at once");
    }

    async fn later(&self) {
        yield_now().await;
        panic!("later");
    }

    async fn in_the_answer(&self) -> Unsendable {
        Unsendable
    }

    async fn in_the_parameters(&self, _value: Unreceivable) {}

    async fn in_the_text(&self) -> Result<(), Textless> {
        Err(Textless)
    }

    async fn in_the_code(&self) -> Result<(), Codeless> {
        Err(Codeless)
    }

    async fn at_the_end(&self) {
        let _undroppable = Undroppable;
        yield_now().await;
    }

    async fn in_the_scope(&self, cx: &Context) -> bool {
        cx.spawn(async { panic!("in a task") }).await.is_err_and(|error| error.is_panic())
    }

    async fn before_the_items(&self) -> impl Stream<Item = u64> {
        if true {
            panic!("before the items");
        }
        stream::empty()
    }

    async fn in_the_items(&self) -> impl Stream<Item = u64> {
        stream::iter(1..).map(|n| if n == 2 { panic!("in the items") } else { n })
    }

    async fn in_an_item(&self) -> impl Stream<Item = Unsendable> {
        stream::iter([Unsendable])
    }

    async fn in_an_item_received(&self, items: Streaming<Unreceivable>) -> u64 {
        items.count().await as u64
    }

    async fn in_the_error_of_items(&self) -> impl Stream<Item = Result<u64, Textless>> {
        stream::iter([Ok(1), Err(Textless)])
    }

    async fn when_cancelled(&self) {
        let _undroppable = Undroppable;
        self.begun.notify_one();
        pending::<()>().await;
    }

    async fn when_cancelled_with_tasks(&self, cx: &Context) {
        drop(cx.spawn(async {
            let _undroppable = Undroppable;
            pending::<()>().await;
        }));
        yield_now().await;
        self.when_cancelled().await;
    }

    async fn when_items_are_dropped(&self) -> impl Stream<Item = u64> {
        let undroppable = Undroppable;
        stream::iter([1]).chain(stream::once(async move {
            let _undroppable = undroppable;
            pending().await
        }))
    }

    async fn when_it_reads(&self, mut items: Streaming<u64>) {
        let _undroppable = Undroppable;
        while let Some(Ok(_)) = items.next().await {
            self.begun.notify_one();
        }
        pending::<()>().await;
    }
}

const CODECS: [Codec; 2] = [Codec::Json, Codec::MessagePack];

struct Pair {
    near: Peer,
    _far: Peer,
    worker: Worker,
}

impl Pair {
    /// One call at a time: a place that is not given back stops the next one.
    fn new() -> Self {
        let (near, far) = duplex(64 * 1024);
        let worker = Worker::default();
        let far = Peer::builder()
            .limits(Limits::default().max_in_flight(1))
            .serve(PanickingServer::new(worker.clone()))
            .server(far);
        Self { near: Peer::builder().client(near).unwrap(), _far: far.unwrap(), worker }
    }

    fn client(&self, codec: Codec) -> PanickingClient {
        PanickingClient::new(self.near.channel()).with_codec(codec)
    }

    async fn assert_unharmed(&self, codec: Codec) {
        assert_eq!(self.client(codec).fine().await, Ok(7));
    }
}

/// The call fails, and keeps the text of the panic to itself.
fn assert_panicked<T, E>(method: &str, result: Result<T, CallError<E>>) {
    let Err(CallError::Status(status)) = result else { panic!("{method} did not fail by a status") };
    let expected = Status::internal(format!("Panicking.{method}: the handler panicked"));
    assert_eq!(status, expected);
}

/// The last of some items.
async fn last<T, E>(items: Result<Streaming<T, E>, CallError<E>>) -> Result<T, CallError<E>> {
    match items {
        Ok(items) => items.collect::<Vec<_>>().await.pop().unwrap(),
        Err(error) => Err(error),
    }
}

#[tokio::test]
async fn a_panic_of_a_method_is_an_error_of_its_call() {
    let pair = Pair::new();
    for codec in CODECS {
        let client = pair.client(codec);
        assert_panicked("at_once", client.at_once().await);
        assert_panicked("later", client.later().await);
        assert_panicked("at_the_end", client.at_the_end().await);
        assert_panicked("in_the_answer", client.in_the_answer().await);
        assert_panicked("in_the_parameters", client.in_the_parameters(Unreceivable).await);
        assert_panicked("in_the_text", client.in_the_text().await);
        assert_panicked("in_the_code", client.in_the_code().await);
        assert_eq!(client.in_the_scope().await, Ok(true));
        pair.assert_unharmed(codec).await;
    }
}

#[tokio::test]
async fn a_panic_around_items_is_their_last() {
    let pair = Pair::new();
    for codec in CODECS {
        let client = pair.client(codec);
        assert_panicked("before_the_items", last(client.before_the_items().await).await);
        assert_panicked("in_the_items", last(client.in_the_items().await).await);
        assert_panicked("in_an_item", last(client.in_an_item().await).await);
        assert_panicked("in_the_error_of_items", last(client.in_the_error_of_items().await).await);
        let received = client.in_an_item_received(stream::iter([Unreceivable])).await;
        assert_panicked("in_an_item_received", received);
        pair.assert_unharmed(codec).await;
    }
}

#[tokio::test]
async fn a_panic_of_what_is_dropped_with_a_call_hurts_nobody() {
    let pair = Pair::new();
    for codec in CODECS {
        let client = pair.client(codec);
        let mut items = client.when_items_are_dropped().await.unwrap();
        assert_eq!(items.try_next().await, Ok(Some(1)));
        drop(items);
        pair.assert_unharmed(codec).await;
        for kind in 0..3 {
            let client = client.clone();
            let call = tokio::spawn(async move {
                match kind {
                    0 => client.when_cancelled().await,
                    1 => client.when_cancelled_with_tasks().await,
                    _ => client.when_it_reads(stream::repeat(1)).await,
                }
            });
            pair.worker.begun.notified().await;
            call.abort();
            pair.assert_unharmed(codec).await;
        }
    }
}

#[tokio::test]
async fn a_panic_of_the_callers_own_is_the_callers_own() {
    let pair = Pair::new();
    for codec in CODECS {
        let client = pair.client(codec);
        let own = tokio::spawn(async move {
            let items = stream::iter(0..).map(|n| if n == 3 { panic!("in the caller's items") } else { n });
            client.when_it_reads(items).await
        });
        assert!(own.await.unwrap_err().is_panic());
        pair.assert_unharmed(codec).await;
        let client = pair.client(codec);
        let own = tokio::spawn(async move { client.in_an_item().await.unwrap().next().await.map(drop) });
        assert_eq!(own.await.unwrap(), Some(()));
        pair.assert_unharmed(codec).await;
    }
}
