//! Calls that are half sent, or whose answer is not taken.

use std::time::Duration;

use muxado::{Config, Session, Side, StreamType, TypedSession, TypedStream};
use muxado_rpc::{CallError, Code, Codec, Peer, ServiceId};
use muxado_tests::{Frame, Peer as Scripted, RST, run};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    time::{Instant, sleep},
};

const KIB: usize = 1024;

#[muxado_rpc::service]
trait Blobs {
    async fn blob(&self, len: usize) -> String;
    async fn echo(&self, text: String) -> String;
}

struct Xs;

impl Blobs for Xs {
    async fn blob(&self, len: usize) -> String {
        "x".repeat(len)
    }

    async fn echo(&self, text: String) -> String {
        text
    }
}

fn server() -> (Peer, DuplexStream) {
    let (near, far) = duplex(1 << 20);
    (Peer::builder().no_heartbeat().serve(BlobsServer::new(Xs)).server(near).expect("one service"), far)
}

fn request(method: &str, params: &str) -> Vec<u8> {
    let id = ServiceId::from_name("Blobs").as_u32().to_be_bytes();
    [&id[..], format!("{{\"method\":\"{method}\",\"params\":{params}}}\n").as_bytes()].concat()
}

#[test]
fn answers_that_are_not_taken_are_dropped_with_their_streams() {
    run(async {
        let (server, far) = server();
        let mut peer = Scripted::new(far, Side::Server);
        let begin = Instant::now();
        // Thirteen kilobytes, for 100 MiB of answers.
        for n in 0..100 {
            peer.send(Frame::syn(3 + 2 * n, request("blob", "[1048576]"))).await;
            peer.send(Frame::fin(3 + 2 * n)).await;
        }
        let mut resets = Vec::new();
        while begin.elapsed() < Duration::from_secs(150) {
            let frames = peer.recv_until_silence().await;
            resets.extend(frames.into_iter().filter(|frame| frame.kind == RST));
            sleep(Duration::from_secs(5)).await;
            peer.send(Frame::wndinc(3, 1)).await;
        }
        assert_eq!((resets.len(), server.stats().stall_resets), (100, 100), "{:?}", server.stats());
        assert!(resets.iter().all(|reset| reset.number(0) == 13), "{resets:?}");
        assert_eq!(server.stats().stall_resets, 100);
        assert_eq!(server.stats().streams_open, 0);
    });
}

/// A session that is played by hand.
fn bare(far: DuplexStream) -> TypedSession {
    let (session, driver) = Session::client(far, Config::default());
    tokio::spawn(driver);
    TypedSession::new(session)
}

async fn begun(session: &TypedSession, bytes: &[u8]) -> TypedStream {
    let id = ServiceId::from_name("Blobs").as_u32();
    let mut stream = session.open_typed(StreamType::new(id)).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    stream
}

#[test]
fn request_that_is_half_sent_is_reset_whatever_else_comes() {
    run(async {
        let (server, far) = server();
        let session = bare(far);
        let text = "y".repeat(200 * KIB);
        let whole = request("echo", &format!("[\"{text}\"]"));
        let mut streams = Vec::new();
        for _ in 0..8 {
            streams.push(begun(&session, &whole[4..100 * KIB]).await);
        }
        let begin = Instant::now();
        // A sign of life each half second: another call, and a byte of one of these.
        while server.stats().stall_resets == 0 {
            assert!(begin.elapsed() < Duration::from_secs(100), "nothing was reset");
            sleep(Duration::from_millis(500)).await;
            let mut call = begun(&session, &request("blob", "[1]")[4..]).await;
            call.shutdown().await.unwrap();
            let mut answer = String::new();
            call.read_to_string(&mut answer).await.unwrap();
            assert!(answer.contains("\"x\""), "{answer}");
            streams[0].write_all(b"y").await.ok();
        }
        assert!(begin.elapsed() >= Duration::from_secs(59), "{:?}", begin.elapsed());
        for stream in &mut streams {
            let error = stream.read_to_string(&mut String::new()).await.unwrap_err();
            assert!(error.to_string().contains("write timeout (13)"), "{error}");
        }
        assert_eq!(server.stats().stall_resets, 8);
    });
}

#[test]
fn caller_is_told_that_its_answer_stopped_in_the_middle_and_which_limit_that_is() {
    run(async {
        let (near, far) = duplex(1 << 20);
        let peer = Peer::builder().no_heartbeat().client(near).unwrap();
        let client = BlobsClient::new(peer.channel()).with_codec(Codec::Json);
        let calling = tokio::spawn(async move { client.blob(5).await });
        let mut scripted = Scripted::new(far, Side::Client);
        let id = scripted.recv().await.unwrap().id;
        scripted.send(Frame::data(id, "{\"ok\":\"xx")).await;
        let status = match calling.await.unwrap().unwrap_err() {
            CallError::Status(status) => status,
            other => panic!("{other:?}"),
        };
        assert_eq!(status.code(), Code::Unavailable);
        assert!(status.message().contains("Config::stall_timeout"), "{status}");
        assert!(status.may_have_executed());
    });
}
