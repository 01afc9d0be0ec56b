//! Peers that do not finish their handshake are bounded, and hold up nobody.

use std::time::Duration;

use muxado_rpc::{ClientTls, Limits, Peer, Server};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::Instant,
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
