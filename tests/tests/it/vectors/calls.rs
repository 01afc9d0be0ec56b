//! §14.4: requests that a real server gets, and answers that a real client gets.

use std::time::Duration;

use muxado::{Config, Session, StreamType, TypedSession};
use muxado_rpc::{AppError, CallError, Channel, Code, Codec, Context, Metadata, Peer, PeerBuilder, Status};
use muxado_tests::{DATA, Frame, Peer as Scripted, drain, run, write_final};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::{vector, vectors};

#[derive(AppError, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
enum DivideError {
    DivideByZero,
}

#[muxado_rpc::service]
trait Calculator {
    async fn add(&self, a: i64, b: i64) -> i64;
    async fn divide(&self, cx: &Context, a: f64, b: f64) -> Result<f64, DivideError>;
}

struct Exact;

impl Calculator for Exact {
    async fn add(&self, a: i64, b: i64) -> i64 {
        a + b
    }

    async fn divide(&self, cx: &Context, a: f64, b: f64) -> Result<f64, DivideError> {
        assert_eq!(cx.metadata().get("k"), Some("v"));
        let left = cx.deadline().map(|at| at - tokio::time::Instant::now());
        assert_eq!(left, Some(Duration::from_millis(1500)));
        if b == 0.0 { Err(DivideError::DivideByZero) } else { Ok(a / b) }
    }
}

/// A peer that does not show EXT1, as the vectors are written.
fn plain() -> PeerBuilder {
    Peer::builder().config(Config::default().extensions(false)).no_heartbeat()
}

/// A real server, and the other end of its transport.
fn server() -> (Peer, DuplexStream) {
    let (near, far) = duplex(1 << 16);
    (plain().serve(CalculatorServer::new(Exact)).server(near).expect("one service"), far)
}

/// What a real server answers to these bytes of a transport.
async fn exchange(request: &[u8], answer: usize) -> Vec<u8> {
    let (_server, mut far) = server();
    far.write_all(request).await.expect("the server reads");
    let mut bytes = vec![0; answer];
    far.read_exact(&mut bytes).await.expect("the server answers");
    bytes
}

/// What a real server answers to these bytes of a stream.
async fn exchange_on_stream(request: &[u8]) -> Vec<u8> {
    let (_server, far) = server();
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

#[test]
fn calls_get_exactly_the_stated_answers() {
    run(async {
        for codec in ["json", "mp"] {
            let (request, answer) =
                (vector(&format!("call-{codec}-request")), vector(&format!("call-{codec}-answer")));
            assert_eq!(exchange(&request, answer.len()).await, answer, "{codec}");
        }
    });
}

#[test]
fn requests_get_exactly_the_stated_answers() {
    run(async {
        for codec in ["json", "mp"] {
            let answer = exchange_on_stream(&vector(&format!("request-{codec}-full"))).await;
            assert_eq!(answer, vector(&format!("answer-{codec}-app-error")), "{codec}");
        }
        let answer = vector("call-mp-answer");
        assert_eq!(exchange_on_stream(&vector("request-mp-map")).await, answer[8..]);
        for (_, name) in CODECS {
            let answer = vector(&format!("call-{name}-answer"));
            assert_eq!(exchange_on_stream(&vector(&format!("request-{name}-deep"))).await, answer[8..]);
        }
    });
}

#[test]
fn unknown_methods_get_the_stated_answer_but_for_its_text() {
    run(async {
        let id = &vector("request-json-full")[..4];
        let request = [id, b"{\"method\":\"nope\"}\n"].concat();
        let text = |answer: &[u8]| {
            let mut answer: serde_json::Value = serde_json::from_slice(answer).expect("it is JSON");
            let message = answer["err"]["message"].take();
            assert!(message.as_str().is_some_and(|text| text.contains("nope")), "{message}");
            answer
        };
        let answer = exchange_on_stream(&request).await;
        assert_eq!(answer.last(), Some(&b'\n'));
        assert_eq!(text(&answer), text(&vector("answer-json-status")));

        let request = [id, b"\0\0\0\x07", b"\x92\xa4nope\x80"].concat();
        let answer = exchange_on_stream(&request).await;
        let stated = vector("answer-mp-status");
        // Up to the text, whose length differs.
        let head = stated.windows(7).position(|window| window == b"message").expect("a message") + 7;
        assert_eq!(answer[4..head], stated[4..head]);
        let last = |answer: &[u8]| answer[answer.len() - b"\xa8executed\xc2".len()..].to_vec();
        assert_eq!(last(&answer), last(&stated));
        assert_eq!(answer.len() - 4, u32::from_be_bytes(*answer.first_chunk().expect("a length")) as usize);
    });
}

/// A real client, whose calls a scripted peer answers.
fn client() -> (Channel, Peer, Scripted) {
    let (near, far) = duplex(1 << 16);
    let peer = plain().client(near).expect("no service");
    (peer.channel(), peer, Scripted::new(far, muxado::Side::Client))
}

const CODECS: [(Codec, &str); 2] = [(Codec::Json, "json"), (Codec::MessagePack, "mp")];

#[test]
fn calls_are_written_as_the_vectors_say() {
    run(async {
        for (codec, name) in CODECS {
            let (channel, _peer, mut scripted) = client();
            let call =
                tokio::spawn(async move { CalculatorClient::new(channel).with_codec(codec).add(1, 2).await });
            let frames =
                [scripted.recv().await, scripted.recv().await].map(|frame| frame.expect("a request"));
            assert_eq!(muxado_tests::encode(&frames), vector(&format!("call-{name}-request")));
            scripted.send_bytes(&vector(&format!("call-{name}-answer"))).await;
            assert_eq!(call.await.expect("no panic"), Ok(3));
        }
    });
}

#[test]
fn full_requests_are_written_as_the_vectors_say() {
    run(async {
        for (codec, name) in CODECS {
            for (answer, expected) in [
                ("app-error", CallError::App(DivideError::DivideByZero)),
                (
                    "status",
                    CallError::Status(Status::new(Code::Unimplemented, "no method nope").not_executed()),
                ),
            ] {
                let (channel, _peer, mut scripted) = client();
                let call = tokio::spawn(async move {
                    let client = CalculatorClient::new(channel).with_codec(codec);
                    let client = client
                        .with_timeout(Duration::from_millis(1500))
                        .with_metadata(Metadata::from([("k", "v")]));
                    client.divide(1.0, 0.0).await
                });
                let frame = scripted.recv().await.expect("a request");
                assert_eq!(frame.payload, vector(&format!("request-{name}-full")));
                assert_eq!(scripted.recv().await, Some(Frame::fin(3)));
                scripted.send(Frame::new(DATA, 1, 3, vector(&format!("answer-{name}-{answer}")))).await;
                let error = call.await.expect("no panic").expect_err("it failed");
                assert_eq!((error.code(), error.app()), (expected.code(), expected.app()));
                assert_eq!(error.may_have_executed(), expected.may_have_executed());
                assert_eq!(
                    error.status().map(|s| s.message().to_owned()),
                    expected.status().map(|s| s.message().to_owned())
                );
            }
        }
    });
}

/// Calls the caller's calculator.
#[muxado_rpc::service]
trait Asking {
    async fn ask(&self, cx: &Context) -> Result<i64, Status>;
    async fn ask_in_json(&self, cx: &Context) -> Result<i64, Status>;
}

struct Back;

impl Asking for Back {
    async fn ask(&self, cx: &Context) -> Result<i64, Status> {
        Ok(CalculatorClient::new(cx.channel()).add(1, 2).await?)
    }

    async fn ask_in_json(&self, cx: &Context) -> Result<i64, Status> {
        Ok(CalculatorClient::new(cx.channel()).with_codec(Codec::Json).add(1, 2).await?)
    }
}

#[test]
fn calls_of_handlers_are_written_as_the_vectors_say() {
    run(async {
        for (method, name) in [("ask", "mp"), ("ask_in_json", "json")] {
            let (near, far) = duplex(1 << 16);
            let _server = plain().serve(AskingServer::new(Back)).server(near).expect("one service");
            let mut scripted = Scripted::new(far, muxado::Side::Server);
            let id = <AskingServer<Back> as muxado_rpc::NamedService>::INFO.id().as_u32().to_be_bytes();
            let call = [&id[..], format!("{{\"method\":\"{method}\"}}\n").as_bytes()].concat();
            scripted.send(Frame::syn(3, call)).await;
            let frame = scripted.recv().await.expect("a call back");
            assert_eq!(frame.payload, vector(&format!("request-{name}-deep")), "{name}");
        }
    });
}

#[test]
fn every_vector_of_calls_is_used_here() {
    let known = [
        "answer-json-app-error",
        "answer-json-status",
        "answer-mp-app-error",
        "answer-mp-status",
        "call-json-answer",
        "call-json-request",
        "call-mp-answer",
        "call-mp-request",
        "request-json-deep",
        "request-json-full",
        "request-mp-deep",
        "request-mp-full",
        "request-mp-map",
    ];
    assert!(vectors("14.4").into_keys().eq(known), "{:?}", vectors("14.4").keys());
}
