//! What the calls of a generated client do: when parameters are encoded and sent, options of one call, metadata of
//! responses, parameters by reference, and errors that are passed on.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context as TaskContext, Poll},
    time::Duration,
};

use futures_util::{StreamExt, stream};
use muxado_rpc::{
    AppError, CallError, Channel, Code, Codec, Context, NamedService, Origin, Peer, Reconnect, Request,
    Response, Status, Stream, Streaming,
};
use serde::{Deserialize, Serialize, Serializer};
use tower::Service;

const CODECS: [Codec; 2] = [Codec::Json, Codec::MessagePack];

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Note {
    text: String,
}

#[derive(Debug, PartialEq, AppError, Serialize, Deserialize)]
#[code(NotFound)]
struct Missing {
    key: String,
}

impl std::fmt::Display for Missing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "there is no {}", self.key)
    }
}

/// It cannot be encoded.
#[derive(Debug, Deserialize)]
struct Secret;

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("a secret is not sent"))
    }
}

#[muxado_rpc::service]
trait Store {
    async fn text(&self, text: &str) -> String;
    async fn sizes(
        &self,
        key: &str,
        value: &[u8],
        notes: &[Note],
        note: Option<&Note>,
        more: Option<&[u8]>,
    ) -> Vec<usize>;
    async fn tell(&self, secret: &Secret) -> u8;
    async fn hang(&self);
    async fn metadata(&self, cx: &Context) -> Vec<(String, String)>;
    async fn find(&self, cx: &Context, key: &str) -> Result<u8, Missing>;
    async fn sure(&self, n: u8) -> Result<u8, Infallible>;
    async fn words(&self, text: &str) -> impl Stream<Item = String>;
    async fn sure_words(
        &self,
        text: &str,
    ) -> Result<impl Stream<Item = Result<String, Infallible>>, Infallible>;
    async fn count(&self, with: &str, items: Streaming<String>) -> usize;
}

#[derive(Default)]
struct Memory;

impl Store for Memory {
    async fn text(&self, text: &str) -> String {
        tokio::task::yield_now().await;
        text.to_uppercase()
    }

    async fn sizes(
        &self,
        key: &str,
        value: &[u8],
        notes: &[Note],
        note: Option<&Note>,
        more: Option<&[u8]>,
    ) -> Vec<usize> {
        let note = note.map_or(100, |note| note.text.len());
        vec![key.len(), value.len(), notes.len(), note, more.map_or(100, <[u8]>::len)]
    }

    async fn tell(&self, _: &Secret) -> u8 {
        1
    }

    async fn hang(&self) {
        std::future::pending::<()>().await;
    }

    async fn metadata(&self, cx: &Context) -> Vec<(String, String)> {
        cx.metadata().iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    async fn find(&self, cx: &Context, key: &str) -> Result<u8, Missing> {
        cx.insert_metadata("looked-for", key);
        if key == "here" { Ok(1) } else { Err(Missing { key: key.to_owned() }) }
    }

    async fn sure(&self, n: u8) -> Result<u8, Infallible> {
        Ok(n + 1)
    }

    async fn words(&self, text: &str) -> impl Stream<Item = String> {
        // It borrows from the parameter until its end.
        stream::iter(text.split(' ')).then(async |word| {
            tokio::task::yield_now().await;
            word.to_owned()
        })
    }

    async fn sure_words(
        &self,
        text: &str,
    ) -> Result<impl Stream<Item = Result<String, Infallible>>, Infallible> {
        Ok(self.words(text).await.map(Ok))
    }

    async fn count(&self, with: &str, items: Streaming<String>) -> usize {
        items
            .filter(|item| std::future::ready(item.as_ref().is_ok_and(|item| item.contains(with))))
            .count()
            .await
    }
}

/// Counts the requests that pass.
#[derive(Clone)]
struct Counted {
    inner: Channel,
    passed: Arc<AtomicUsize>,
}

impl Service<Request> for Counted {
    type Response = Response;
    type Error = Status;
    type Future = muxado_rpc::CallFuture;

    fn poll_ready(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<(), Status>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        self.passed.fetch_add(1, Ordering::Relaxed);
        self.inner.call(request)
    }
}

/// Two ends of a connection, and a client.
struct Ends {
    near: Peer,
    far: Peer,
}

impl Ends {
    fn new() -> Self {
        let (near, far) = tokio::io::duplex(64 * 1024);
        Self {
            near: Peer::builder().client(near).expect("inside a runtime"),
            far: Peer::builder().serve(StoreServer::new(Memory)).server(far).expect("inside a runtime"),
        }
    }

    fn client(&self, codec: Codec) -> StoreClient {
        StoreClient::new(self.near.channel()).with_codec(codec)
    }
}

#[tokio::test]
async fn a_call_that_is_not_polled_is_not_sent() {
    let ends = Ends::new();
    let passed = Arc::new(AtomicUsize::new(0));
    let store = StoreClient::new(Counted { inner: ends.near.channel(), passed: Arc::clone(&passed) });
    let (kept, dropped) = (store.text("kept"), store.text("dropped"));
    drop(dropped);
    assert_eq!(passed.load(Ordering::Relaxed), 0);
    assert_eq!(kept.await.unwrap(), "KEPT");
    assert_eq!(passed.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn parameters_are_encoded_when_the_method_is_called() {
    let ends = Ends::new();
    for codec in CODECS {
        let store = ends.client(codec);
        let mut text = "before".to_owned();
        let call = store.text(&text);
        text.clear();
        // The future borrows nothing, not even the client.
        drop((text, store));
        assert_eq!(tokio::spawn(call).await.unwrap().unwrap(), "BEFORE");
    }
}

#[tokio::test]
async fn what_cannot_be_encoded_is_the_error_of_its_call() {
    let ends = Ends::new();
    let passed = Arc::new(AtomicUsize::new(0));
    for codec in CODECS {
        let counted = Counted { inner: ends.near.channel(), passed: Arc::clone(&passed) };
        let store = StoreClient::new(counted).with_codec(codec);
        let call = store.tell(&Secret).timeout(Duration::from_secs(1)).metadata("name", "value");
        let error = call.await.unwrap_err();
        assert_eq!((error.code(), error.may_have_executed()), (Code::InvalidArgument, false));
        assert!(error.to_string().contains("a secret is not sent"), "{error}");
    }
    assert_eq!(passed.load(Ordering::Relaxed), 0);
}

#[tokio::test(start_paused = true)]
async fn a_time_limit_of_one_call_replaces_those_of_client_and_method() {
    let ends = Ends::new();
    let store = ends.client(Codec::MessagePack).with_timeout(Duration::from_secs(60));
    let begin = tokio::time::Instant::now();
    let error = store.hang().timeout(Duration::from_secs(2)).await.unwrap_err();
    assert_eq!((error.code(), begin.elapsed().as_secs()), (Code::DeadlineExceeded, 2));
    let begin = tokio::time::Instant::now();
    let error = store.hang().await.unwrap_err();
    assert_eq!((error.code(), begin.elapsed().as_secs()), (Code::DeadlineExceeded, 60));
}

#[tokio::test]
async fn metadata_of_one_call_are_added_to_those_of_the_client() {
    let ends = Ends::new();
    let metadata = muxado_rpc::Metadata::from([("tenant", "blue"), ("name", "client")]);
    let store = ends.client(Codec::Json).with_metadata(metadata);
    let sent = store.metadata().metadata("name", "call").metadata("more", "yes").await.unwrap();
    let sent: Vec<_> = sent.iter().map(|(name, value)| (&**name, &**value)).collect();
    assert_eq!(sent, [("tenant", "blue"), ("name", "call"), ("more", "yes")]);
    assert_eq!(store.metadata().await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_response_has_its_metadata_whether_it_is_a_value_or_an_error() {
    let ends = Ends::new();
    for codec in CODECS {
        let store = ends.client(codec);
        let found = store.find("here").with_response().await;
        assert_eq!((found.metadata().get("looked-for"), found.result()), (Some("here"), Ok(&1)));
        let (result, metadata) = store.find("there").with_response().await.into_parts();
        assert_eq!(metadata.get("looked-for"), Some("there"));
        assert_eq!(result, Err(CallError::App(Missing { key: "there".to_owned() })));
    }
}

#[tokio::test]
async fn parameters_by_reference_arrive_whatever_their_form() {
    let ends = Ends::new();
    let note = Note { text: "abc".to_owned() };
    for codec in CODECS {
        let store = ends.client(codec);
        // What JSON escapes cannot be lent in place.
        for text in ["", "plain", "\"quoted\"\n\u{1f600}"] {
            assert_eq!(store.text(text).await.unwrap(), text.to_uppercase());
        }
        let notes = [Note { text: String::new() }, Note { text: String::new() }];
        let sizes = store.sizes("key", &[0, 255], &notes, Some(&note), Some(b"abcd")).await.unwrap();
        assert_eq!(sizes, [3, 2, 2, 3, 4]);
        assert_eq!(store.sizes("", &[], &[], None, None).await.unwrap(), [0, 0, 0, 100, 100]);
        assert_eq!(store.count("a", stream::iter(["a", "b", "ab"].map(str::to_owned))).await.unwrap(), 2);
    }
}

/// Sends parameters as another implementation might.
async fn raw(
    channel: &Channel,
    codec: Codec,
    method: &str,
    params: &impl Serialize,
) -> Result<Response, Status> {
    let method = StoreServer::<Memory>::INFO.method(method).expect("a method of the service");
    channel.clone().call(Request::new(method, codec, params)?).await
}

#[tokio::test]
async fn bytes_by_reference_are_read_from_arrays_as_well() {
    let ends = Ends::new();
    let params = serde_json::json!({"key": "k", "value": [1, 2, 3], "notes": [], "more": [255]});
    for codec in CODECS {
        let response = raw(&ends.near.channel(), codec, "sizes", &params).await.unwrap();
        assert!(response.is_ok());
        let wrong = serde_json::json!({"key": "k", "value": [1, 256], "notes": []});
        let status = raw(&ends.near.channel(), codec, "sizes", &wrong).await.unwrap_err();
        assert_eq!((status.code(), status.may_have_executed()), (Code::InvalidArgument, false));
    }
}

#[tokio::test]
async fn parameters_by_reference_that_cannot_be_decoded_are_refused() {
    for codec in CODECS {
        for method in ["text", "words", "sure_words"] {
            for params in [serde_json::json!({"text": 7}), serde_json::json!({})] {
                let info = StoreServer::<Memory>::INFO.method(method).unwrap();
                let request = Request::new(info, codec, &params).unwrap();
                let status = StoreServer::new(Memory).call(request).await.unwrap_err();
                let verdict = (status.code(), status.may_have_executed());
                assert_eq!(verdict, (Code::InvalidArgument, false), "{method}");
                assert!(status.message().contains("cannot decode the parameters"), "{status}");
            }
        }
    }
}

#[tokio::test]
async fn errors_that_cannot_be_are_no_errors() {
    let ends = Ends::new();
    for codec in CODECS {
        let store = ends.client(codec);
        let sure: Result<u8, CallError<Infallible>> = store.sure(1).await;
        assert_eq!(sure, Ok(2));
        let words: Vec<_> = store.sure_words("a b").await.unwrap().collect().await;
        assert_eq!(words, [Ok("a".to_owned()), Ok("b".to_owned())]);
        let words: Vec<_> = store.words("a b").await.unwrap().collect().await;
        assert_eq!(words.len(), 2);
    }
}

#[muxado_rpc::service]
trait Relay {
    async fn find(&self, key: &str) -> Result<u8, Status>;
}

struct Through(StoreClient);

impl Relay for Through {
    async fn find(&self, key: &str) -> Result<u8, Status> {
        Ok(self.0.find(key).await?)
    }
}

#[tokio::test]
async fn a_relay_passes_on_what_the_peer_said_and_nothing_of_its_own() {
    let Ends { near, far: backend } = Ends::new();
    let through = Through(StoreClient::new(near.channel()));
    let (caller, relay) = tokio::io::duplex(64 * 1024);
    let _relay = Peer::builder().serve(RelayServer::new(through)).server(relay).unwrap();
    let caller = Peer::builder().client(caller).unwrap();
    let client = RelayClient::new(caller.channel());

    assert_eq!(client.find("here").await, Ok(1));
    let error = client.find("there").await.unwrap_err();
    let status = error.status().unwrap();
    assert_eq!((status.code(), status.message()), (Code::NotFound, "there is no there"));
    assert_eq!(status.details(), Some(Missing { key: "there".to_owned() }));
    assert_eq!((status.origin(), status.may_have_executed()), (Origin::Peer, true));

    drop(backend);
    let error = client.find("here").await.unwrap_err();
    let status = error.status().unwrap();
    assert_eq!((status.code(), status.origin()), (Code::Unavailable, Origin::Peer));
    assert_eq!(status.message(), "a call that the method made has failed");
    // The method of the relay itself may have run.
    assert!(status.may_have_executed());
}

#[test]
fn the_code_of_an_error_is_its_own() {
    let missing = CallError::App(Missing { key: String::new() });
    assert_eq!(missing.code(), Code::NotFound);
    assert_eq!(CallError::App(Status::aborted("x")).code(), Code::Aborted);
    assert_eq!(CallError::App("text".to_owned()).code(), Code::Unknown);
    assert_eq!(CallError::<Infallible>::from(Status::internal("x")).code(), Code::Internal);
}

fn free<T: Send + Sync + 'static>(value: T) -> T {
    value
}

#[tokio::test]
async fn calls_and_streams_may_be_held_where_all_is_shared() {
    let ends = Ends::new();
    let store = ends.client(Codec::MessagePack);
    let mut words = free(free(store.words("a b")).await.unwrap());
    assert_eq!(words.next().await, Some(Ok("a".to_owned())));
    assert_eq!(free(store.count("a", stream::iter(["a".to_owned()]))).await, Ok(1));
    assert_eq!(free(store.sure(1).with_response()).await.into_result(), Ok(2));

    // The same holds where connections are replaced.
    let reconnect = Reconnect::builder().address("tcp://127.0.0.1:1").build().unwrap();
    drop(free(StoreClient::new(reconnect).words("a")));
}
