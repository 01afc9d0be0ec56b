//! Floods of connections that never say a thing, or claim to come from a proxy: bounded, and honest clients get in.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use muxado::Config;
use muxado_rpc::{Bind, Limits, Peer, Server, ServerStats};
use support::{WorkClient, WorkServer, Worker, assert_alive};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::Instant,
};

const SECOND: Duration = Duration::from_secs(1);

/// Connects from another address of this machine.
async fn from(last: u8, server: &Server) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, last)), 0)).unwrap();
    socket.connect(server.local_addr().socket_addr().unwrap()).await.unwrap()
}

async fn listen(bind: Bind, limits: Limits) -> Server {
    Server::builder().serve(WorkServer::new(Worker::default())).limits(limits).listen(bind).await.unwrap()
}

async fn assert_served(socket: TcpStream) -> Peer {
    let peer = Peer::builder().client(socket).unwrap();
    assert_alive(&WorkClient::new(peer.channel())).await;
    peer
}

/// Waits until the counts of a server are as they have to be.
async fn until(server: &Server, is_so: impl Fn(&ServerStats) -> bool) {
    while !is_so(&server.stats()) {
        tokio::task::yield_now().await;
    }
}

/// In rounds, since each connection takes two files of this process.
#[tokio::test]
async fn ten_thousand_connects_without_a_byte_from_one_address_take_no_more_than_its_share() {
    const SHARE: usize = 50;
    let limits = Limits::default().max_connections(60).max_connections_per_address(SHARE);
    let server = listen(Bind::to("tcp://127.0.0.1:0"), limits).await;
    let mut silent = Vec::new();
    for _ in 0..SHARE {
        silent.push(from(7, &server).await);
    }
    until(&server, |stats| stats.connections == SHARE as u64).await;
    let honest = assert_served(from(8, &server).await).await;
    for round in 1..=100 {
        let mut refused = Vec::new();
        for _ in 0..100 {
            refused.push(from(7, &server).await);
        }
        for mut socket in refused {
            // Closed without a byte.
            assert_eq!(socket.read(&mut [0]).await.unwrap_or(0), 0);
        }
        assert_eq!(server.stats().refused_connections, round * 100);
        assert_eq!(server.stats().connections, SHARE as u64 + 1);
        if round % 25 == 0 {
            assert_served(from(9, &server).await).await.close();
            until(&server, |stats| stats.connections == SHARE as u64 + 1).await;
        }
    }
    assert_alive(&WorkClient::new(honest.channel())).await;
    // What goes makes room.
    drop(silent);
    until(&server, |stats| stats.connections == 1).await;
    assert_served(from(7, &server).await).await;
}

#[tokio::test(start_paused = true)]
async fn a_connection_without_a_byte_ends_by_itself() {
    let server = listen(Bind::to("tcp://127.0.0.1:0"), Limits::default()).await;
    let (begin, mut silent) = (Instant::now(), Vec::new());
    for _ in 0..100 {
        silent.push(from(7, &server).await);
    }
    for mut socket in silent {
        let _ = socket.read_to_end(&mut Vec::new()).await;
    }
    // A heartbeat after 10 s, and 15 s for its answer.
    assert!(begin.elapsed() < 40 * SECOND, "{:?}", begin.elapsed());
    until(&server, |stats| stats.connections == 0).await;
}

#[tokio::test]
async fn ten_thousand_headers_from_untrusted_sources_are_closed_unread() {
    let bind = Bind::to("tcp://127.0.0.1:0").proxy_protocol(["127.0.0.9"]);
    let server = listen(bind, Limits::default().max_connections_per_address(50)).await;
    for round in 1..=100 {
        let mut sockets = Vec::new();
        for _ in 0..100 {
            let mut socket = from(7, &server).await;
            // It may be closed already.
            let _ = socket.write_all(b"PROXY TCP4 192.0.2.7 10.0.0.1 443 7000\r\n").await;
            sockets.push(socket);
        }
        for mut socket in sockets {
            assert_eq!(socket.read(&mut [0]).await.unwrap_or(0), 0);
        }
        let stats = server.stats();
        assert_eq!((stats.refused_connections, stats.handshakes), (round * 100, 0));
        if round % 25 == 0 {
            let mut socket = from(9, &server).await;
            socket.write_all(b"PROXY TCP4 192.0.2.8 10.0.0.1 443 7000\r\n").await.unwrap();
            assert_served(socket).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn headers_that_do_not_come_give_way_to_those_that_do() {
    let bind = Bind::to("tcp://127.0.0.1:0").proxy_protocol(["127.0.0.0/8"]);
    let limits = Limits::default().max_handshakes(16);
    let server = listen(bind, limits).await;
    let mut half = Vec::new();
    for _ in 0..100 {
        let mut socket = from(7, &server).await;
        let _ = socket.write_all(b"PROXY TCP4 ").await;
        half.push(socket);
    }
    // The time is virtual: those in the way are old as soon as nothing else is to be done.
    let mut socket = from(8, &server).await;
    socket.write_all(b"PROXY TCP4 192.0.2.8 10.0.0.1 443 7000\r\n").await.unwrap();
    assert_served(socket).await;
    until(&server, |stats| stats.failed_handshakes >= 84).await;
    assert!(server.stats().handshakes <= 16, "{:?}", server.stats());
}

#[tokio::test(start_paused = true)]
async fn a_server_goes_away_from_a_connection_at_its_age() {
    let config = Config::default().idle_timeout(None);
    let server = Server::builder()
        .serve(WorkServer::new(Worker::default()))
        .config(config.clone())
        .no_heartbeat()
        .max_connection_age(3600 * SECOND)
        .max_connection_age_grace(SECOND)
        .listen("tcp://127.0.0.1:0")
        .await
        .unwrap();
    let peer = Peer::builder().config(config).no_heartbeat();
    let peer = peer.connect(server.local_addr()).await.unwrap();
    let begin = Instant::now();
    peer.going_away().await;
    let age = begin.elapsed();
    assert!((3240 * SECOND..3970 * SECOND).contains(&age), "{age:?}");
    peer.closed().await;
    assert!(server.peers().is_empty());
}
