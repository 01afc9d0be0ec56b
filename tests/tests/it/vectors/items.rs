//! §14.5: streams of items, as a real client and a real server write and read them.

use std::fmt;

use futures_util::{StreamExt, stream};
use muxado::{Config, Session, StreamType, TypedSession};
use muxado_rpc::{AppError, CallError, Codec, Context, Metadata, Peer, Status, Stream, Streaming};
use muxado_tests::{drain, hex, run, write_final};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf, duplex, split};

use super::{PROTOCOL, vector, vectors};

#[derive(Clone, Debug, PartialEq, AppError, Serialize, Deserialize)]
enum CountError {
    #[code(OutOfRange)]
    TooMany { limit: u64 },
}

impl fmt::Display for CountError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::TooMany { limit } = self;
        write!(f, "more than {limit}")
    }
}

/// A byte string, which serde's own types are not.
#[derive(Debug, PartialEq)]
struct Octets(Vec<u8>);

impl Serialize for Octets {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Octets {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Octets;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Octets, E> {
                Ok(Octets(bytes.to_vec()))
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<Octets, A::Error> {
                let mut bytes = Vec::new();
                while let Some(byte) = seq.next_element()? {
                    bytes.push(byte);
                }
                Ok(Octets(bytes))
            }
        }
        deserializer.deserialize_byte_buf(Visitor)
    }
}

#[muxado_rpc::service]
trait Numbers {
    async fn count(&self, to: u64) -> impl Stream<Item = u64>;
    async fn sum(&self, start: u64, numbers: Streaming<u64>) -> Result<u64, Status>;
    async fn double(&self, numbers: Streaming<u64>) -> impl Stream<Item = Result<u64, Status>>;
    async fn one(&self, cx: &Context) -> impl Stream<Item = u64>;
    async fn one_of_many(&self, cx: &Context) -> impl Stream<Item = Result<u64, CountError>>;
    async fn one_and_a_status(&self) -> impl Stream<Item = Result<u64, Status>>;
    async fn bytes(&self) -> impl Stream<Item = Octets>;
}

struct Exact;

impl Numbers for Exact {
    async fn count(&self, to: u64) -> impl Stream<Item = u64> {
        stream::iter(1..=to)
    }

    async fn sum(&self, start: u64, mut numbers: Streaming<u64>) -> Result<u64, Status> {
        let mut sum = start;
        while let Some(number) = numbers.try_next().await? {
            sum += number;
        }
        Ok(sum)
    }

    async fn double(&self, numbers: Streaming<u64>) -> impl Stream<Item = Result<u64, Status>> {
        numbers.map(|number| Ok(2 * number?))
    }

    async fn one(&self, cx: &Context) -> impl Stream<Item = u64> {
        cx.insert_metadata("k", "v");
        cx.insert_trailer("t", "w");
        stream::iter([1])
    }

    async fn one_of_many(&self, cx: &Context) -> impl Stream<Item = Result<u64, CountError>> {
        cx.insert_trailer("t", "w");
        stream::iter([Ok(1), Err(CountError::TooMany { limit: 1 })])
    }

    async fn one_and_a_status(&self) -> impl Stream<Item = Result<u64, Status>> {
        stream::iter([Ok(1), Err(Status::aborted("enough"))])
    }

    async fn bytes(&self) -> impl Stream<Item = Octets> {
        stream::iter([Octets(vec![0, 0x7B, 0xFF])])
    }
}

const CODECS: [(Codec, &str); 2] = [(Codec::Json, "json"), (Codec::MessagePack, "mp")];

/// What a real server answers to a request of this codec, which begins with the service id.
async fn answer_of_server(request: &[u8]) -> Vec<u8> {
    let (near, far) = duplex(1 << 16);
    let _server = Peer::builder().serve(NumbersServer::new(Exact)).server(near).expect("one service");
    let (session, driver) = Session::client(far, Config::default());
    tokio::spawn(driver);
    let stream_type = u32::from_be_bytes(*request.first_chunk().expect("a service id"));
    let session = TypedSession::new(session);
    let mut stream = session.open_typed(StreamType::new(stream_type)).await.expect("it lives").into_inner();
    write_final(&mut stream, request[4..].to_vec()).await.expect("it lives");
    let (answer, end) = drain(&mut stream).await;
    end.expect("an answer comes whole");
    answer
}

/// A request for a method without parameters.
fn bare_request(codec: Codec, method: &str) -> Vec<u8> {
    let id = vector("items-json-count-request")[..4].to_vec();
    if codec == Codec::Json {
        return [id, format!("{{\"method\":\"{method}\"}}\n").into_bytes()].concat();
    }
    let length = [0, 0, 0, method.len() as u8 + 3];
    let head = [0x92, 0xA0 | method.len() as u8];
    [&id, &length[..], &head, method.as_bytes(), &[0x80]].concat()
}

#[test]
fn requests_with_items_get_exactly_the_stated_answers() {
    run(async {
        for (_, codec) in CODECS {
            for method in ["count", "sum", "double"] {
                let answer = answer_of_server(&vector(&format!("items-{codec}-{method}-request"))).await;
                assert_eq!(answer, vector(&format!("items-{codec}-{method}-answer")), "{codec} {method}");
            }
        }
    });
}

#[test]
fn metadata_errors_and_bytes_are_written_as_the_vectors_say() {
    run(async {
        for (codec, name) in CODECS {
            for (method, stated) in [
                ("one", "metadata"),
                ("one_of_many", "app-error"),
                ("one_and_a_status", "status"),
                ("bytes", "bytes"),
            ] {
                let answer = answer_of_server(&bare_request(codec, method)).await;
                assert_eq!(answer, vector(&format!("items-{name}-{stated}")), "{name} {stated}");
            }
        }
    });
}

/// A client whose next call gets these bytes, and the bytes that it sent, the service id in front.
async fn answered_with<T>(
    codec: Codec,
    answer: Vec<u8>,
    call: impl AsyncFnOnce(NumbersClient) -> T,
) -> (T, Vec<u8>) {
    let (near, far) = duplex(1 << 16);
    let peer = Peer::builder().client(near).expect("no service");
    let (session, driver) = Session::server(far, Config::default());
    tokio::spawn(driver);
    let session = TypedSession::new(session);
    let serving = async {
        let stream = session.accept_typed().await.expect("a call comes");
        let id = stream.stream_type().as_u32().to_be_bytes();
        let mut stream = stream.into_inner();
        let (request, end) = drain(&mut stream).await;
        end.expect("a request comes whole");
        write_final(&mut stream, answer).await.expect("it lives");
        [&id[..], &request].concat()
    };
    let client = NumbersClient::new(peer.channel()).with_codec(codec);
    tokio::join!(call(client), serving)
}

/// All items, and the error at their end.
async fn collect<T, E>(items: &mut Streaming<T, E>) -> (Vec<T>, Option<CallError<E>>) {
    let mut all = Vec::new();
    loop {
        match items.next().await {
            Some(Ok(item)) => all.push(item),
            Some(Err(error)) => return (all, Some(error)),
            None => return (all, None),
        }
    }
}

#[test]
fn calls_with_items_are_written_and_read_as_the_vectors_say() {
    run(async {
        for (codec, name) in CODECS {
            let stated = |method, part| vector(&format!("items-{name}-{method}-{part}"));
            let (items, request) = answered_with(codec, stated("count", "answer"), async |client| {
                collect(&mut client.count(2).await.expect("it is sent")).await
            })
            .await;
            assert_eq!((items, request), ((vec![1, 2], None), stated("count", "request")));

            let (sum, request) = answered_with(codec, stated("sum", "answer"), async |client| {
                client.sum(10, stream::iter([1, 2])).await
            })
            .await;
            assert_eq!((sum, request), (Ok(13), stated("sum", "request")));

            let (items, request) = answered_with(codec, stated("double", "answer"), async |client| {
                collect(&mut client.double(stream::iter([1, 2])).await.expect("it is sent")).await
            })
            .await;
            assert_eq!((items, request), ((vec![2, 4], None), stated("double", "request")));
        }
    });
}

#[test]
fn metadata_errors_and_bytes_are_read_as_the_vectors_say() {
    run(async {
        for (codec, name) in CODECS {
            let stated = |part| vector(&format!("items-{name}-{part}"));
            let trailer = Metadata::from([("t", "w")]);
            let (items, _) = answered_with(codec, stated("metadata"), async |client| {
                let mut items = client.one().await.expect("it is sent");
                (collect(&mut items).await, items.metadata().clone(), items.trailer().clone())
            })
            .await;
            assert_eq!(items, ((vec![1], None), Metadata::from([("k", "v")]), trailer.clone()));

            let (items, _) = answered_with(codec, stated("app-error"), async |client| {
                let mut items = client.one_of_many().await.expect("it is sent");
                (collect(&mut items).await, items.trailer().clone())
            })
            .await;
            let own = CallError::App(CountError::TooMany { limit: 1 });
            assert_eq!(items, ((vec![1], Some(own)), trailer));

            let (items, _) = answered_with(codec, stated("status"), async |client| {
                collect(&mut client.one_and_a_status().await.expect("it is sent")).await
            })
            .await;
            assert_eq!(items, (vec![1], Some(CallError::Status(Status::aborted("enough")))));

            for part in ["bytes", "bytes-array"] {
                let (items, _) = answered_with(codec, stated(part), async |client| {
                    collect(&mut client.bytes().await.expect("it is sent")).await
                })
                .await;
                assert_eq!(items, (vec![Octets(vec![0, 0x7B, 0xFF])], None));
            }
        }
    });
}

#[test]
fn every_vector_of_items_is_used_here() {
    let parts = [
        "app-error",
        "bytes",
        "bytes-array",
        "count-answer",
        "count-request",
        "double-answer",
        "double-request",
        "metadata",
        "status",
        "sum-answer",
        "sum-request",
    ];
    let known =
        ["json", "mp"].into_iter().flat_map(|codec| parts.map(|part| format!("items-{codec}-{part}")));
    assert!(vectors("14.5").into_keys().eq(known), "{:?}", vectors("14.5").keys());
}

/// The bytes that go in one direction in the example of §10.11.
fn example(codec: &str, direction: char) -> Vec<u8> {
    let (_, text) = PROTOCOL.split_once("`Numbers.double()`, which").expect("the example is there");
    let nth = if codec == "json" { 1 } else { 3 };
    let block = text.split("```").nth(nth).expect("one block for each codec");
    let lines = block.lines().filter_map(|line| line.strip_prefix(direction));
    lines.flat_map(|line| hex(&line[..line.len().min(HEX_COLUMNS)])).collect()
}

/// Columns of hex in a line of an example.
const HEX_COLUMNS: usize = 48;

/// Passes bytes on in both directions to the end of both; what went either way.
async fn relay(client: DuplexStream, server: DuplexStream) -> (Vec<u8>, Vec<u8>) {
    let (from_client, to_client) = split(client);
    let (from_server, to_server) = split(server);
    tokio::join!(pass_on(from_client, to_server), pass_on(from_server, to_client))
}

async fn pass_on(mut from: ReadHalf<DuplexStream>, mut to: WriteHalf<DuplexStream>) -> Vec<u8> {
    let (mut all, mut buf) = (Vec::new(), [0; 4096]);
    while let Ok(n @ 1..) = from.read(&mut buf).await {
        all.extend_from_slice(&buf[..n]);
        if to.write_all(&buf[..n]).await.is_err() {
            break;
        }
    }
    let _ = to.shutdown().await;
    all
}

#[test]
fn the_example_in_the_text_is_what_goes_over_a_transport() {
    run(async {
        for (codec, name) in CODECS {
            let (near, far) = duplex(1 << 16);
            let (near_relay, far_relay) = duplex(1 << 16);
            let _server = Peer::builder().no_heartbeat().serve(NumbersServer::new(Exact)).server(far_relay);
            let client = Peer::builder().no_heartbeat().client(near).expect("no service");
            let relay = tokio::spawn(relay(far, near_relay));
            let numbers = NumbersClient::new(client.channel()).with_codec(codec);
            let mut items = numbers.double(stream::iter([1, 2])).await.expect("it is sent");
            assert_eq!(collect(&mut items).await, (vec![2, 4], None));
            drop((items, numbers, client));
            let (up, down) = relay.await.expect("no panic");
            assert!(up.starts_with(&example(name, '>')), "{name}: {up:02x?}");
            assert!(down.starts_with(&example(name, '<')), "{name}: {down:02x?}");
        }
    });
}
