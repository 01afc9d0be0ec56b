//! Peers that do not finish their handshake are bounded, and hold up nobody.

use std::time::Duration;

use muxado_rpc::{Bind, ClientTls, Limits, Peer, Server, ServerTls};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, sleep},
};

use crate::{
    HERE, builder,
    certs::Ca,
    listen, log, server_tls,
    support::{WorkClient, assert_alive},
};

async fn say(server: &Server, bytes: &[u8]) -> TcpStream {
    let mut socket = TcpStream::connect(server.local_addr().socket_addr().unwrap()).await.unwrap();
    socket.write_all(bytes).await.unwrap();
    socket
}

/// The beginning of a ClientHello of 512 bytes.
const HALF: [u8; 11] = [0x16, 3, 1, 2, 0, 1, 0, 1, 0xFC, 3, 3];

#[tokio::test(start_paused = true)]
async fn a_handshake_that_does_not_go_on_is_ended_by_the_limit() {
    let ca = Ca::new("ca");
    let server = listen(server_tls(&ca.sign(&HERE))).await;
    let begin = Instant::now();
    let mut silent = say(&server, &[]).await;
    let mut half = say(&server, &HALF).await;
    let mut rest = Vec::new();
    for socket in [&mut silent, &mut half] {
        let _ = socket.read_to_end(&mut rest).await;
    }
    let after = begin.elapsed();
    assert!(after >= Duration::from_secs(10) && after < Duration::from_secs(11), "{after:?}");
    assert_eq!((rest, server.stats().failed_handshakes), (Vec::new(), 2));
}

/// A header of a proxy and a handshake share one limit: none begins anew with the next step.
#[tokio::test(start_paused = true)]
async fn a_late_header_of_a_proxy_leaves_the_handshake_what_is_left() {
    let ca = Ca::new("ca");
    let bind = Bind::to("tls://127.0.0.1:0").proxy_protocol(["127.0.0.0/8"]);
    let server = builder(server_tls(&ca.sign(&HERE))).listen(bind).await.unwrap();
    let begin = Instant::now();
    let mut socket = say(&server, b"PROXY TCP4 192.0.2.7 ").await;
    sleep(Duration::from_secs(8)).await;
    socket.write_all(b"10.0.0.1 443 7000\r\n").await.unwrap();
    socket.write_all(&HALF).await.unwrap();
    let _ = socket.read_to_end(&mut Vec::new()).await;
    let after = begin.elapsed();
    assert!(after >= Duration::from_secs(10) && after < Duration::from_secs(11), "{after:?}");
    let stats = server.stats();
    assert_eq!((stats.failed_handshakes, stats.refused_connections, stats.handshakes), (1, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_handshake_whose_bytes_drip_ends_at_the_same_time() {
    let ca = Ca::new("ca");
    let server = listen(server_tls(&ca.sign(&HERE))).await;
    let begin = Instant::now();
    let mut socket = say(&server, &HALF).await;
    // A byte each second is a sign of life, and no progress.
    while server.stats().failed_handshakes == 0 {
        let _ = socket.write_all(&[0]).await;
        sleep(Duration::from_secs(1)).await;
    }
    let after = begin.elapsed();
    assert!(after >= Duration::from_secs(10) && after < Duration::from_secs(12), "{after:?}");
}

fn few(tls: ServerTls) -> muxado_rpc::ServerBuilder {
    builder(tls).limits(Limits::default().max_handshakes(32).max_connections_per_address(100_000))
}

/// In rounds, since each connection takes two files of this process.
#[tokio::test]
async fn ten_thousand_half_handshakes_give_way_to_who_does_his_part() {
    const ROUNDS: usize = 100;
    const EACH: usize = 100;
    let ca = Ca::new("ca");
    let server = few(server_tls(&ca.sign(&HERE))).listen("tls://127.0.0.1:0").await.unwrap();
    let address = server.local_addr().socket_addr().unwrap();
    let (tls, mut honest, mut half) = (ClientTls::with_ca(&ca.pem), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let mut now = Vec::new();
        for at in 0..EACH {
            let mut socket = TcpStream::connect(address).await.unwrap();
            // It may have been closed in favour of another one already.
            let _ = socket.write_all(&HALF[..at % HALF.len()]).await;
            now.push(socket);
        }
        // Those of the round before are gone, or give way now.
        half = now;
        if round % 10 == 0 {
            let peer = Peer::builder().tls(tls.clone()).connect(server.local_addr()).await.unwrap();
            assert_alive(&WorkClient::new(peer.channel())).await;
            honest.push(peer);
        }
        let stats = server.stats();
        assert!(stats.handshakes <= 32, "{stats:?}");
    }
    drop(half);
    while server.stats().failed_handshakes < (ROUNDS * EACH) as u64 {
        tokio::task::yield_now().await;
    }
    let stats = server.stats();
    assert_eq!((stats.failed_handshakes, stats.handshakes), ((ROUNDS * EACH) as u64, 0));
    assert_eq!((stats.refused_connections, stats.connections), (0, honest.len() as u64));
    for peer in &honest {
        assert_alive(&WorkClient::new(peer.channel())).await;
    }
}

#[tokio::test]
async fn a_handshake_that_gave_way_says_so_in_the_log_in_ten_lines() {
    let ca = Ca::new("ca");
    let server = few(server_tls(&ca.sign(&HERE))).listen("tls://127.0.0.1:0").await.unwrap();
    log::record();
    let mut half = Vec::new();
    for _ in 0..132 {
        half.push(say(&server, &[]).await);
    }
    while server.stats().failed_handshakes < 100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(server.stats().handshakes, 32);
    let lines = log::take();
    let text = "it gave way to a new one, 32 were under way (Limits::max_handshakes)";
    assert!(lines.len() == 10 && lines.iter().all(|line| line.contains(text)), "{lines:?}");
}

#[tokio::test]
async fn half_handshakes_hold_up_nobody_and_count_as_connections_of_their_address() {
    let ca = Ca::new("ca");
    let limits = Limits::default().max_connections_per_address(9);
    let server =
        builder(server_tls(&ca.sign(&HERE))).limits(limits).listen("tls://127.0.0.1:0").await.unwrap();
    let mut half = Vec::new();
    for at in 0..8 {
        half.push(say(&server, &HALF[..at]).await);
    }
    let connect = || Peer::builder().tls(ClientTls::with_ca(&ca.pem)).connect(server.local_addr());
    let peer = connect().await.unwrap();
    assert_alive(&WorkClient::new(peer.channel())).await;
    connect().await.unwrap_err();
    assert_eq!(server.stats().refused_connections, 1);
    drop(half);
    while server.stats().failed_handshakes < 8 {
        tokio::task::yield_now().await;
    }
    connect().await.unwrap();
}

#[tokio::test]
async fn failed_handshakes_fill_no_log() {
    let ca = Ca::new("ca");
    let server = listen(server_tls(&ca.sign(&HERE))).await;
    log::record();
    for _ in 0..40 {
        let mut socket = say(&server, b"GET / HTTP/1.1\r\n\r\n").await;
        let _ = socket.read_to_end(&mut Vec::new()).await;
    }
    while server.stats().failed_handshakes < 40 {
        tokio::task::yield_now().await;
    }
    let lines = log::take();
    assert_eq!(lines.len(), 10, "{lines:?}");
    assert!(lines.iter().all(|line| line.contains("the peer does not speak TLS on this port")), "{lines:?}");
    server.shutdown(Duration::ZERO).await;
    let lines = log::take();
    assert!(
        lines.len() == 1 && lines[0].contains("suppressed=30") && lines[0].contains(" INFO "),
        "{lines:?}"
    );
}
