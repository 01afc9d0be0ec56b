//! §14.6: what real peers say of themselves, and what they make of it.

use std::time::Duration;

use muxado::Side;
use muxado_rpc::{Codec, Limits, Peer, ServiceId};
use muxado_tests::{Frame, Peer as Scripted, decode, encode, run};
use tokio::{
    io::duplex,
    time::{Instant, sleep},
};

use super::vector;

#[muxado_rpc::service]
trait Calculator {
    async fn add(&self, a: i64, b: i64) -> i64;
    async fn divide(&self, a: f64, b: f64) -> f64;
}

struct Exact;

impl Calculator for Exact {
    async fn add(&self, a: i64, b: i64) -> i64 {
        sleep(Duration::from_millis(a as u64)).await;
        a + b
    }

    async fn divide(&self, a: f64, b: f64) -> f64 {
        a / b
    }
}

/// A server whose peer is scripted and has shown EXT1 with a call that takes three seconds.
async fn server() -> (Peer, Scripted) {
    let (near, far) = duplex(1 << 16);
    let server = Peer::builder().no_heartbeat().serve(CalculatorServer::new(Exact)).server(near);
    let mut scripted = Scripted::new(far, Side::Server);
    let call = [&vector("request-json-full")[..4], b"{\"method\":\"add\",\"params\":[3000,0]}\n"].concat();
    scripted.send(Frame::syn_ext(3, call)).await;
    (server.expect("one service"), scripted)
}

#[test]
fn a_server_says_exactly_what_is_stated_and_when() {
    run(async {
        let (server, mut scripted) = server().await;
        let start = Instant::now();
        let frame = scripted.recv().await.expect("a hello");
        assert_eq!(start.elapsed().as_millis(), 1000);
        assert_eq!(encode(&[frame]), vector("control-hello"));
        scripted.send_all(&decode(&vector("control-taken"))).await;

        let shutdown = tokio::spawn(async move { server.shutdown(Duration::from_secs(5)).await });
        // Before the go-away; that of a server which has seen stream 3 instead of 5.
        let mut go_away = vector("goaway-drain-server");
        go_away[11] = 3;
        let frames = scripted.recv_until_silence().await;
        let (drain, rest) = frames.split_first().expect("three frames");
        assert_eq!((encode(std::slice::from_ref(drain)), encode(rest)), (vector("control-drain"), go_away));
        shutdown.abort();
    });
}

#[test]
fn a_peer_that_is_told_takes_the_stream_and_knows() {
    run(async {
        let (near, far) = duplex(1 << 16);
        let config = muxado::Config::default().extensions(false);
        let client = Peer::builder().config(config).no_heartbeat().client(near).expect("no service");
        let mut scripted = Scripted::new(far, Side::Client);
        scripted.send_all(&decode(&vector("control-hello"))).await;
        assert_eq!(encode(&[scripted.recv().await.expect("it is taken")]), vector("control-taken-plain"));
        let remote = client.capabilities().await.expect("a hello");
        let limits = Limits::default();
        assert_eq!(limits, limits.clone().max_message_size(remote.max_message_size().expect("it is there")));
        assert_eq!(
            limits,
            limits.clone().max_metadata_size(remote.max_metadata_size().expect("it is there"))
        );
        assert_eq!(
            limits,
            limits.clone().max_request_memory(remote.max_request_memory().expect("it is there"))
        );
        assert_eq!(limits, limits.clone().max_in_flight(remote.max_in_flight().expect("it is there")));
        assert_eq!(remote.first_byte_timeout(), Some(Duration::from_secs(10)));
        assert_eq!(remote.codecs(), Some(&[Codec::Json, Codec::MessagePack][..]));
        let services = remote.services();
        assert_eq!(
            (services[0].name(), services[0].id()),
            ("Calculator", ServiceId::from_name("Calculator"))
        );
        assert_eq!(services[0].methods(), Some(&["add".to_owned(), "divide".to_owned()][..]));

        scripted.send_all(&decode(&vector("control-drain"))).await;
        sleep(Duration::from_millis(1)).await;
        assert_eq!((remote.is_draining(), remote.drain_grace()), (true, Some(Duration::from_secs(5))));
    });
}

#[test]
fn what_is_not_known_is_ignored() {
    run(async {
        let (near, far) = duplex(1 << 16);
        let client = Peer::builder().no_heartbeat().client(near).expect("no service");
        let mut scripted = Scripted::new(far, Side::Client);
        let said = vector("control-unknown");
        scripted.send(Frame::syn(2, said)).await;
        let remote = client.capabilities().await.expect("a hello");
        assert_eq!((remote.max_message_size(), remote.codecs()), (Some(1_048_576), None));
        assert!(remote.is_truncated() && remote.services()[0].methods().is_none());
    });
}
