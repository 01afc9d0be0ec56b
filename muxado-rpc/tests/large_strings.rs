//! Strings and bytes of calls that are so large that they are neither copied into their messages nor out of them.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use bytes::Bytes;
use muxado_rpc::{Codec, Peer, Request, Status};
use serde::{Deserialize, Serialize};
use tokio::io::duplex;
use tower::ServiceBuilder;

/// More than a frame has, and less than half a frame.
const LENGTHS: [usize; 4] = [300_000, 65_536, 40_000, 100];

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Document {
    title: String,
    text: String,
    pages: u32,
}

/// The parameters of `text`.
#[derive(Deserialize)]
struct Text {
    key: String,
    text: String,
}

#[muxado_rpc::service]
trait Store {
    async fn text(&self, key: String, text: String) -> String;
    async fn in_front(&self, text: String, times: u8) -> Result<String, Status>;
    async fn numbers(&self, bytes: Vec<u8>) -> Vec<u8>;
    async fn bytes(&self, bytes: Bytes) -> Bytes;
    async fn shared(&self, #[serde(with = "muxado_rpc::shared_bytes")] bytes: Bytes) -> Bytes;
    async fn lent(&self, text: &str) -> String;
    async fn lent_bytes(&self, bytes: &[u8]) -> Vec<u8>;
    async fn document(&self, document: Document) -> Document;
    async fn optional(&self, text: Option<String>) -> Option<String>;
    async fn fails(&self, text: String) -> Result<u8, String>;
}

struct Memory;

impl Store for Memory {
    async fn text(&self, _key: String, text: String) -> String {
        text
    }

    async fn in_front(&self, text: String, times: u8) -> Result<String, Status> {
        Ok(text.repeat(times.into()))
    }

    async fn numbers(&self, bytes: Vec<u8>) -> Vec<u8> {
        bytes
    }

    async fn bytes(&self, bytes: Bytes) -> Bytes {
        bytes
    }

    async fn shared(&self, bytes: Bytes) -> Bytes {
        bytes
    }

    async fn lent(&self, text: &str) -> String {
        text.to_owned()
    }

    async fn lent_bytes(&self, bytes: &[u8]) -> Vec<u8> {
        bytes.to_vec()
    }

    async fn document(&self, document: Document) -> Document {
        document
    }

    async fn optional(&self, text: Option<String>) -> Option<String> {
        text
    }

    async fn fails(&self, text: String) -> Result<u8, String> {
        Err(text)
    }
}

async fn all_come_back(client: &StoreClient, len: usize) {
    let (text, bytes) = ("é".repeat(len / 2), vec![0xFF; len]);
    assert_eq!(client.text("key".to_owned(), text.clone()).await.unwrap(), text);
    assert_eq!(client.in_front(text.clone(), 2).await.unwrap(), text.repeat(2));
    assert_eq!(client.numbers(bytes.clone()).await.unwrap(), bytes);
    assert_eq!(client.bytes(bytes.clone().into()).await.unwrap(), bytes);
    assert_eq!(client.shared(bytes.clone().into()).await.unwrap(), bytes);
    assert_eq!(client.lent(&text).await.unwrap(), text);
    assert_eq!(client.lent_bytes(&bytes).await.unwrap(), bytes);
    let document = Document { title: "a".to_owned(), text: text.clone(), pages: 3 };
    assert_eq!(client.document(document.clone()).await.unwrap(), document);
    assert_eq!(client.optional(Some(text.clone())).await.unwrap(), Some(text.clone()));
    assert!(client.fails(text).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn large_strings_of_all_kinds_come_back() {
    for codec in [Codec::MessagePack, Codec::Json] {
        let (near, far) = duplex(64 * 1024);
        let _far = Peer::builder().serve(StoreServer::new(Memory)).server(far).unwrap();
        let near = Peer::builder().client(near).unwrap();
        for len in LENGTHS {
            all_come_back(&StoreClient::new(near.channel()).with_codec(codec), len).await;
        }
        let in_metadata = StoreClient::new(near.channel()).with_codec(codec);
        let in_metadata = in_metadata.with_metadata([("large", "x".repeat(16_000).as_str())].into());
        all_come_back(&in_metadata, 100_000).await;
    }
}

/// A layer at either end may look at the whole, and change it.
#[tokio::test(start_paused = true)]
async fn layers_see_large_strings_in_one_piece() {
    let (near, far) = duplex(64 * 1024);
    let look = |request: Request| {
        let params: Text = request.decode_params().unwrap();
        assert_eq!((params.key.as_str(), params.text.len()), ("key", 100_000));
        assert!(request.params().len() > 100_000 && request.params().ends_with(b"xx"));
        assert_eq!(request.try_clone().unwrap().params(), request.params());
        request
    };
    let layer = ServiceBuilder::new().map_request(look).into_inner();
    let _far = Peer::builder().layer(layer).serve(StoreServer::new(Memory)).server(far).unwrap();
    let near = Peer::builder().client(near).unwrap();
    let channel = ServiceBuilder::new()
        .map_response(|response: muxado_rpc::Response| {
            assert!(response.payload().len() > 100_000);
            response
        })
        .map_request(look)
        .service(near.channel());
    let text = "x".repeat(100_000);
    let client = StoreClient::new(channel);
    assert_eq!(client.text("key".to_owned(), text.clone()).await.unwrap(), text);
}

/// In the same process nothing is sent.
#[tokio::test(start_paused = true)]
async fn large_strings_stay_what_they_are_without_a_connection() {
    let client = StoreClient::new(StoreServer::new(Memory));
    for len in LENGTHS {
        let (text, bytes) = ("x".repeat(len), vec![7; len]);
        assert_eq!(client.text("key".to_owned(), text.clone()).await.unwrap(), text);
        assert_eq!(client.numbers(bytes.clone()).await.unwrap(), bytes);
    }
}

/// A message over the limit is refused whether or not its string is copied.
#[tokio::test(start_paused = true)]
async fn limits_count_what_is_not_copied() {
    use muxado_rpc::{Code, Limits};
    let (near, far) = duplex(64 * 1024);
    let _far = Peer::builder().serve(StoreServer::new(Memory)).server(far).unwrap();
    let near = Peer::builder().limits(Limits::default().max_message_size(50_000)).client(near).unwrap();
    let client = StoreClient::new(near.channel());
    let status = |len| {
        let text = client.text("key".to_owned(), "x".repeat(len));
        async move { text.await.map(|text| text.len()).map_err(|error| Status::from(error).code()) }
    };
    assert_eq!(status(49_000).await, Ok(49_000));
    assert_eq!(status(50_001).await, Err(Code::ResourceExhausted));
    let doubled = client.in_front("x".repeat(30_000), 2).await.map_err(Status::from);
    assert_eq!(doubled.unwrap_err().code(), Code::ResourceExhausted);
}
