//! Connections of `muxado-rpc`.

use std::{
    future::pending,
    pin::Pin,
    sync::Arc,
    task::{Context, Waker},
    time::Duration,
};

use muxado_rpc::Peer;
use tokio::{net::TcpStream, sync::Semaphore, task::yield_now};

use crate::{
    CALL_MADE, CALL_SERVED, CONNECTION, MANY_CALLS,
    arena::{Other, connections, held_by_connection, held_by_each_of, rest},
};

#[muxado_rpc::service]
trait Echo {
    async fn echo(&self, text: String) -> String;
    async fn never(&self, slot: u32) -> bool;
}

struct Service;

impl Echo for Service {
    async fn echo(&self, text: String) -> String {
        text
    }

    async fn never(&self, _slot: u32) -> bool {
        pending().await
    }
}

fn server(io: TcpStream) -> Peer {
    Peer::builder().serve(EchoServer::new(Service)).server(io).expect("one service")
}

fn client(io: TcpStream) -> Peer {
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
        assert!(held.iter().all(|held| *held <= CONNECTION), "{held:?} bytes after a call of {len} bytes");
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
    assert!(held <= CONNECTION, "{held} bytes");
}

/// The future of a call that waits for its handler, without the task that an application may have for it.
type Waiting = Pin<Box<dyn Future<Output = Result<bool, muxado_rpc::CallError>>>>;

#[test]
fn call_that_waits_holds_little_where_it_was_made() {
    let (mut near, far) = connections(1);
    let other = Other::serve(far, server);
    let mut peer = None;
    let held = held_by_each_of(MANY_CALLS, async |count| {
        let mut end = || TcpStream::from_std(near.pop().expect("one connection")).expect("a reactor");
        let client = EchoClient::new(peer.get_or_insert_with(|| client(end())).channel());
        let mut calls = Vec::with_capacity(count);
        for _ in 0..count {
            let mut call: Waiting = Box::pin(client.never(0).into_future());
            while peer.as_ref().is_some_and(|peer| peer.stats().streams_open <= calls.len()) {
                assert!(call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
                yield_now().await;
            }
            calls.push(call);
        }
        calls
    });
    drop(peer);
    other.end();
    assert!(held <= CALL_MADE, "{held} bytes");
}

#[test]
fn call_that_waits_holds_little_where_it_is_served() {
    let (mut near, far) = connections(1);
    let asked = Arc::new(Semaphore::new(0));
    let orders = Arc::clone(&asked);
    let other = Other::serve(far, move |io| {
        let (peer, orders) = (client(io), Arc::clone(&orders));
        tokio::spawn(async move {
            let client = EchoClient::new(peer.channel());
            while let Ok(order) = orders.acquire().await {
                order.forget();
                let client = client.clone();
                tokio::spawn(async move { client.never(0).await });
            }
        })
    });
    let mut peer = None;
    let mut all = 0;
    let held = held_by_each_of(MANY_CALLS, async |count| {
        let mut end = || TcpStream::from_std(near.pop().expect("one connection")).expect("a reactor");
        let peer = peer.get_or_insert_with(|| server(end()));
        asked.add_permits(count);
        all += count as u64;
        while peer.call_stats().in_flight() < all {
            yield_now().await;
        }
        vec![(); count]
    });
    drop(peer);
    other.end();
    assert!(held <= CALL_SERVED, "{held} bytes");
}
