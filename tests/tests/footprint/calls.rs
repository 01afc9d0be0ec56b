//! Connections of `muxado-rpc`.

use std::time::Duration;

use muxado_rpc::Peer;
use tokio::task::yield_now;

use crate::{
    SESSION,
    arena::{held_by_connection, rest},
};

#[muxado_rpc::service]
trait Echo {
    async fn echo(&self, text: String) -> String;
}

struct Service;

impl Echo for Service {
    async fn echo(&self, text: String) -> String {
        text
    }
}

fn server(io: tokio::net::TcpStream) -> Peer {
    Peer::builder().serve(EchoServer::new(Service)).server(io).expect("one service")
}

fn client(io: tokio::net::TcpStream) -> Peer {
    Peer::builder().client(io).expect("no service")
}

async fn call(peer: &Peer, len: usize) {
    let text = "x".repeat(len);
    let client = EchoClient::new(peer.channel());
    assert_eq!(client.echo(text.clone()).await.expect("the peer answers"), text);
}

/// Waits until the peers have told each other of themselves: their control streams stay.
async fn told(peer: &Peer) {
    assert!(peer.capabilities().await.is_some(), "a peer of ours says hello");
}

/// Waits until a heartbeat of this side has come back.
async fn beat(peer: &Peer) {
    rest(Duration::from_secs(11)).await;
    while peer.stats().round_trip.is_none() {
        yield_now().await;
    }
}

#[test]
fn idle_connection_holds_little_at_either_end() {
    for len in [32, 1024 * 1024] {
        let calling = held_by_connection(
            async |io| {
                let peer = client(io);
                call(&peer, len).await;
                told(&peer).await;
                peer
            },
            server,
        );
        let serving = held_by_connection(
            async |io| {
                let peer = server(io);
                while peer.stats().streams_accepted < 1 || peer.stats().streams_open > 0 {
                    yield_now().await;
                }
                told(&peer).await;
                peer
            },
            move |io| {
                let peer = client(io);
                tokio::spawn(async move {
                    call(&peer, len).await;
                    peer.closed().await
                })
            },
        );
        let held = [calling, serving];
        assert!(held.iter().all(|held| *held <= SESSION), "{held:?} bytes after a call of {len} bytes");
    }
}

#[test]
fn idle_connection_with_heartbeats_holds_little() {
    let beating = async |io| {
        let peer = client(io);
        call(&peer, 32).await;
        beat(&peer).await;
        peer
    };
    let held = held_by_connection(beating, server);
    assert!(held <= SESSION, "{held} bytes");
}
