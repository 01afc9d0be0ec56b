//! Values nested without end, wherever a peer can send one: an error of that call, and of nothing else.
#![expect(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fmt::Debug;

use bytes::Bytes;
use muxado::{Config, ErrorCode, ReadError, Session, Stream, StreamType, TypedSession};
use muxado_rpc::{CallError, Code, Codec, Peer, ServiceId, Status, Streaming};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, duplex},
    runtime,
};

const CODECS: [Codec; 2] = [Codec::Json, Codec::MessagePack];

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Expr {
    True,
    Not(Box<Self>),
    All(Vec<Self>),
    If { test: Box<Self>, then: Option<Box<Self>> },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Loose {
    Number(u8),
    Not { not: Box<Self> },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Endless(Option<Box<Self>>);

#[muxado_rpc::service]
trait Solver {
    async fn eval(&self, expr: Expr) -> bool;
    async fn loose(&self, expr: Loose) -> bool;
    async fn endless(&self, value: Endless) -> bool;
    async fn ignore(&self) -> bool;
    async fn echo(&self, expr: Expr) -> Expr;
    async fn fail(&self) -> Result<bool, Expr>;
    async fn find(&self) -> Result<bool, Status>;
    async fn eval_all(&self, exprs: Streaming<Expr>) -> Result<usize, Status>;
    async fn steps(&self) -> impl muxado_rpc::Stream<Item = Expr>;
}

struct Plain;

impl Solver for Plain {
    async fn eval(&self, expr: Expr) -> bool {
        expr == Expr::True
    }

    async fn loose(&self, expr: Loose) -> bool {
        expr == Loose::Number(1)
    }

    async fn endless(&self, value: Endless) -> bool {
        value == Endless(None)
    }

    async fn ignore(&self) -> bool {
        true
    }

    async fn echo(&self, expr: Expr) -> Expr {
        expr
    }

    async fn fail(&self) -> Result<bool, Expr> {
        Err(Expr::True)
    }

    async fn find(&self) -> Result<bool, Status> {
        Err(Status::not_found("nothing"))
    }

    async fn eval_all(&self, mut exprs: Streaming<Expr>) -> Result<usize, Status> {
        let mut count = 0;
        while exprs.try_next().await?.is_some() {
            count += 1;
        }
        Ok(count)
    }

    async fn steps(&self) -> impl muxado_rpc::Stream<Item = Expr> {
        futures_util::stream::iter([Expr::True])
    }
}

/// Runs a test on a thread with the stack that threads have by default.
fn on_a_usual_stack(test: impl AsyncFnOnce() + Send + 'static) {
    let run = move || {
        let runtime = runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(test());
    };
    std::thread::Builder::new().stack_size(2 << 20).spawn(run).unwrap().join().unwrap();
}

fn solver() -> StreamType {
    StreamType::new(ServiceId::from_name("Solver").as_u32())
}

/// A message around the bytes of one value.
fn framed(codec: Codec, message: &[u8]) -> Vec<u8> {
    match codec {
        Codec::Json => [message, b"\n"].concat(),
        _ => [&(message.len() as u32).to_be_bytes()[..], message].concat(),
    }
}

/// Values nested 20 000 deep, in each way that the type has.
fn deep(codec: Codec) -> Vec<Vec<u8>> {
    let times = 20_000;
    let nested = |open: &[u8], inside: &[u8], close: &[u8]| {
        [&open.repeat(times)[..], inside, &close.repeat(times)].concat()
    };
    match codec {
        Codec::Json => vec![
            nested(b"{\"Not\":", b"\"True\"", b"}"),
            nested(b"{\"All\":[", b"", b"]}"),
            nested(b"{\"If\":{\"then\":", b"null", b",\"test\":\"True\"}}"),
            nested(b"[", b"", b"]"),
            nested(b"{\"a\":", b"1", b"}"),
        ],
        _ => vec![
            nested(b"\x81\x01", b"\0", b""),
            nested(b"\x81\xa3Not", b"\xa4True", b""),
            nested(b"\x81\xa3All\x91", b"\xa4True", b""),
            nested(b"\x81\xa2If\x92\xa4True", b"\xc0", b""),
            nested(b"\x91", b"\xc0", b""),
            nested(b"\x81\xa1a", b"\xc0", b""),
            nested(b"\x92\xd4\x01\x02", b"\xc0", b""),
        ],
    }
}

/// A plain muxado client, and the `Peer` that serves it.
fn bare_client() -> (TypedSession, Peer) {
    let (near, far) = duplex(1 << 20);
    let peer = Peer::builder().serve(SolverServer::new(Plain)).server(far).unwrap();
    let (session, driver) = Session::client(near, Config::default());
    tokio::spawn(driver);
    (TypedSession::new(session), peer)
}

/// Sends the messages of a request, and reads the whole answer.
async fn exchange(session: &TypedSession, request: &[u8]) -> String {
    let mut stream = session.open_typed(solver()).await.unwrap();
    let mut answer = Vec::new();
    stream.write_all(request).await.unwrap();
    stream.shutdown().await.unwrap();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

async fn assert_serves(session: &TypedSession) {
    let json = exchange(session, b"{\"method\":\"eval\",\"params\":{\"expr\":\"True\"}}\n").await;
    assert_eq!(json, "{\"ok\":true}\n");
}

#[test]
fn a_deep_parameter_is_an_invalid_argument() {
    on_a_usual_stack(async || {
        let (session, _peer) = bare_client();
        // As it was first seen: 26 KB.
        let mut request = b"\x92\xa4eval\x81\xa4expr".to_vec();
        request.extend(b"\x81\x01".repeat(13_131));
        request.push(0);
        let answer = exchange(&session, &framed(Codec::MessagePack, &request)).await;
        assert!(answer.contains("invalid_argument") && answer.contains("nested too deep"), "{answer:?}");
        assert!(answer.contains("limit of 126"), "{answer:?}");
        for codec in CODECS {
            for value in deep(codec) {
                for method in ["eval", "loose", "endless"] {
                    let request = request_of(codec, method, &value);
                    let answer = exchange(&session, &framed(codec, &request)).await;
                    assert!(answer.contains("invalid_argument"), "{method} in {codec}: {answer:?}");
                    assert_serves(&session).await;
                }
            }
        }
    });
}

/// A request of a method whose first parameter is this, by position.
fn request_of(codec: Codec, method: &str, value: &[u8]) -> Vec<u8> {
    match codec {
        Codec::Json => [format!("{{\"method\":\"{method}\",\"params\":[").as_bytes(), value, b"]}"].concat(),
        _ => [&[0x92, 0xA0 | method.len() as u8], method.as_bytes(), b"\x91", value].concat(),
    }
}

#[test]
fn an_option_of_itself_needs_no_bytes_to_be_deep() {
    on_a_usual_stack(async || {
        let (session, _peer) = bare_client();
        for (codec, value) in [(Codec::Json, &b"0"[..]), (Codec::Json, b"{}"), (Codec::MessagePack, b"\x01")]
        {
            let answer = exchange(&session, &framed(codec, &request_of(codec, "endless", value))).await;
            assert!(answer.contains("invalid_argument") && answer.contains("limit of 255"), "{answer:?}");
        }
        assert_serves(&session).await;
    });
}

#[test]
fn what_is_deep_and_not_asked_for_is_an_error_or_passed_over() {
    on_a_usual_stack(async || {
        let (session, _peer) = bare_client();
        for value in deep(Codec::Json) {
            for request in [
                [&b"{\"method\":\"ignore\",\"params\":{\"x\":"[..], &value, b"}}\n"].concat(),
                [&b"{\"method\":\"ignore\",\"x\":"[..], &value, b"}\n"].concat(),
                [&b"{\"method\":\"ignore\",\"metadata\":"[..], &value, b"}\n"].concat(),
                [&b"{\"method\":"[..], &value, b"}\n"].concat(),
                [&value[..], b"\n"].concat(),
            ] {
                let answer = exchange(&session, &request).await;
                // What does not begin with a brace is no JSON, but the length of a message.
                let refused =
                    ["invalid_argument", "resource_exhausted"].iter().any(|code| answer.contains(code));
                assert!(refused || answer == "{\"ok\":true}\n", "{answer:?}");
            }
        }
        for value in deep(Codec::MessagePack) {
            for request in [
                [&b"\x92\xa6ignore\x81\xa1x"[..], &value].concat(),
                [&b"\x93\xa6ignore\x81\xa1x"[..], &value, b"\x80"].concat(),
                [&b"\x93\xa6ignore\x81\xa8metadata"[..], &value, b"\x80"].concat(),
                [&b"\x92"[..], &value, b"\x80"].concat(),
                value.clone(),
            ] {
                let answer = exchange(&session, &framed(Codec::MessagePack, &request)).await;
                assert!(answer.contains("invalid_argument") || answer.contains("ok"), "{answer:?}");
            }
        }
        assert_serves(&session).await;
    });
}

#[test]
fn a_deep_item_is_an_invalid_argument() {
    on_a_usual_stack(async || {
        let (session, _peer) = bare_client();
        for codec in CODECS {
            for value in deep(codec) {
                let (call, item) = match codec {
                    Codec::Json => {
                        (b"{\"method\":\"eval_all\"}".to_vec(), [&b"{\"item\":"[..], &value, b"}"].concat())
                    }
                    _ => (b"\x92\xa8eval_all\x80".to_vec(), [&b"\x81\xa4item"[..], &value].concat()),
                };
                let request = [framed(codec, &call), framed(codec, &item)].concat();
                let answer = exchange(&session, &request).await;
                assert!(answer.contains("invalid_argument"), "{codec}: {answer}");
            }
        }
        assert_serves(&session).await;
    });
}

/// Answers the first call of this side with these bytes, and the next one properly.
async fn answered<T>(codec: Codec, answer: &[u8], call: impl AsyncFnOnce(SolverClient) -> T) -> T {
    let (near, far) = duplex(1 << 20);
    let (session, driver) = Session::server(far, Config::default());
    tokio::spawn(driver);
    let session = TypedSession::new(session);
    let peer = Peer::builder().client(near).unwrap();
    let client = SolverClient::new(peer.channel()).with_codec(codec);
    let result = tokio::join!(call(client.clone()), serve(&session, answer)).0;
    let fine: &[u8] = if codec == Codec::Json { b"{\"ok\":true}" } else { b"\x81\xa2ok\xc3" };
    let fine = framed(codec, fine);
    let (alive, ()) = tokio::join!(client.ignore(), serve(&session, &fine));
    assert_eq!(alive, Ok(true));
    result
}

async fn serve(session: &TypedSession, answer: &[u8]) {
    let mut stream: Stream = session.accept_typed().await.unwrap().into_inner();
    // A call whose first message is wrong is reset before the rest is taken.
    let _ = stream.write_all(answer).await;
    let _ = stream.shutdown().await;
    let _ = stream.read_to_end(&mut Vec::new()).await;
}

fn status<T: Debug, E: Debug>(result: Result<T, CallError<E>>) -> Status {
    match result {
        Err(CallError::Status(status)) => status,
        other => panic!("no status: {other:?}"),
    }
}

#[test]
fn a_deep_answer_is_a_status_of_that_call() {
    on_a_usual_stack(async || {
        for codec in CODECS {
            for value in deep(codec) {
                let ok = match codec {
                    Codec::Json => [&b"{\"ok\":"[..], &value, b"}"].concat(),
                    _ => [&b"\x81\xa2ok"[..], &value].concat(),
                };
                let failed =
                    answered(codec, &framed(codec, &ok), async |client| client.echo(Expr::True).await).await;
                let status = status(failed);
                assert_eq!(status.code(), Code::Internal, "{status}");
            }
        }
    });
}

#[test]
fn deep_details_of_an_error_are_a_status_of_that_call() {
    on_a_usual_stack(async || {
        for codec in CODECS {
            for value in deep(codec) {
                for app in [true, false] {
                    let error = match codec {
                        Codec::Json => {
                            [&b"{\"err\":{\"details\":"[..], &value, format!(",\"app\":{app}}}}}").as_bytes()]
                                .concat()
                        }
                        _ => [
                            &b"\x81\xa3err\x82\xa7details"[..],
                            &value,
                            b"\xa3app",
                            if app { b"\xc3" } else { b"\xc2" },
                        ]
                        .concat(),
                    };
                    let error = framed(codec, &error);
                    let failed = answered(codec, &error, async |client| client.fail().await).await;
                    let status = status(failed);
                    assert_eq!(status.details::<Expr>(), None);
                    assert_eq!(status.details::<serde_json::Value>(), None);
                    let failed =
                        answered(codec, &error, async |client| client.find().await).await.unwrap_err();
                    assert_eq!(failed.status().and_then(Status::details::<Expr>), None);
                }
            }
        }
    });
}

#[test]
fn a_deep_item_of_an_answer_is_a_status_of_that_call() {
    on_a_usual_stack(async || {
        for codec in CODECS {
            for value in deep(codec) {
                let item = match codec {
                    Codec::Json => [&b"{\"item\":"[..], &value, b"}"].concat(),
                    _ => [&b"\x81\xa4item"[..], &value].concat(),
                };
                let taken = answered(codec, &framed(codec, &item), async |client| {
                    let mut steps = client.steps().await.unwrap();
                    steps.try_next().await
                })
                .await;
                assert_eq!(status(taken).code(), Code::Internal);
            }
        }
    });
}

/// The list of services, which is read when somebody asks for it, as well as what is not known.
#[test]
fn a_deep_line_of_a_control_stream_touches_no_call() {
    on_a_usual_stack(async || {
        let (session, peer) = bare_client();
        for times in [200, 10_000] {
            let arrays = [&b"[".repeat(times)[..], &b"]".repeat(times)].concat();
            for (begin, end) in
                [("{\"x\":", "}"), ("{\"hello\":{\"services\":", "}}"), ("{\"hello\":", "}"), ("", "")]
            {
                let line = [begin.as_bytes(), &arrays, end.as_bytes(), b"\n"].concat();
                let stream = session.open_typed(StreamType::CONTROL).await.unwrap();
                let mut stream = stream.into_inner();
                stream.write_all(&line).await.unwrap();
                stream.shutdown().await.unwrap();
                match stream.read_chunk().await {
                    Ok(None)
                    | Err(ReadError::Reset(ErrorCode::PROTOCOL_ERROR | ErrorCode::STREAM_REFUSED)) => {}
                    other => panic!("{begin}: {:?}", other.map(|chunk: Option<Bytes>| chunk)),
                }
                assert_serves(&session).await;
            }
        }
        drop(peer);
    });
}

#[test]
fn values_as_deep_as_allowed_go_there_and_back() {
    on_a_usual_stack(async || {
        let (near, far) = duplex(1 << 16);
        let _far = Peer::builder().serve(SolverServer::new(Plain)).server(far).unwrap();
        let near = Peer::builder().client(near).unwrap();
        for codec in CODECS {
            let client = SolverClient::new(near.channel()).with_codec(codec);
            let nots = (0..120).fold(Expr::True, |expr, _| Expr::Not(Box::new(expr)));
            assert_eq!(client.echo(nots.clone()).await, Ok(nots));
            let lists = (0..60).fold(Expr::True, |expr, _| Expr::All(vec![expr]));
            assert_eq!(client.echo(lists.clone()).await, Ok(lists));
            let too_deep = (0..1000).fold(Expr::True, |expr, _| Expr::Not(Box::new(expr)));
            assert_eq!(status(client.echo(too_deep).await).code(), Code::InvalidArgument);
        }
    });
}
