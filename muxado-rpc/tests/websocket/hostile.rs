//! Peers that ask for much, or for ever, are bounded.

use std::time::Duration;

use muxado_rpc::{Limits, Peer, connect};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    time::Instant,
};

use crate::{
    builder, listen,
    raw::{Client, PING, PONG, frame, request, say},
    support::{WorkClient, assert_alive},
};

#[tokio::test(start_paused = true)]
async fn an_upgrade_that_does_not_go_on_is_ended_by_the_limit() {
    let server = listen().await;
    let begin = Instant::now();
    let whole = request("/", "");
    let mut dripping = Vec::new();
    for len in [0, 1, 3, 40, whole.len() - 1] {
        dripping.push(say(&server, &whole.as_bytes()[..len]).await);
    }
    for socket in &mut dripping {
        let mut answer = Vec::new();
        let _ = socket.read_to_end(&mut answer).await;
        assert!(answer.is_empty());
    }
    let after = begin.elapsed();
    assert!(after >= Duration::from_secs(10) && after < Duration::from_secs(11), "{after:?}");
    assert_eq!(server.stats().failed_handshakes, 5);
}

#[tokio::test]
async fn a_request_with_more_headers_than_any_has_is_refused() {
    let server = listen().await;
    let many: String = (0..200).map(|at| format!("x-{at}: y\r\n")).collect();
    let endless = format!("x: {}", "y".repeat(64 * 1024));
    for (more, status) in [(many, "400 "), (endless, "431 ")] {
        let mut socket = say(&server, &[]).await;
        // The server may have closed before all of it is written.
        let _ = socket.write_all(request("/", &more).as_bytes()).await;
        let mut answer = String::new();
        let _ = socket.read_to_string(&mut answer).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
    }
}

#[tokio::test]
async fn half_upgrades_hold_up_nobody_and_count_as_connections_of_their_address() {
    let limits = Limits::default().max_connections_per_address(9);
    let server = builder().limits(limits).listen("ws://127.0.0.1:0").await.unwrap();
    let mut half = Vec::new();
    for len in 0..8 {
        half.push(say(&server, &request("/", "").as_bytes()[..len]).await);
    }
    let peer = connect(server.local_addr()).await.unwrap();
    assert_alive(&WorkClient::new(peer.channel())).await;
    connect(server.local_addr()).await.unwrap_err();
    assert_eq!(server.stats().refused_connections, 1);
}

#[tokio::test]
async fn pings_of_a_peer_that_reads_nothing_hold_up_no_reading_and_fill_no_memory() {
    let server = listen().await;
    let mut client = Client::connect(&server, "/").await;
    let pings: usize = 100_000;
    let ping = frame(PING, true, &[7; 125]);
    for _ in 0..pings / 100 {
        // 13 MB in all: they are read, or this would wait for ever.
        client.write(&ping.repeat(100)).await;
    }
    client.send(PING, b"last").await;
    let mut pongs = 0;
    while client.read_until(PONG).await != b"last" {
        pongs += 1;
    }
    // What the system buffers was answered, and what the bound of the output holds: the rest was not kept.
    assert!(pongs < pings, "{pongs}");
    assert_eq!(server.stats().connections, 1);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_answers_the_upgrade_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("ws://{}", listener.local_addr().unwrap());
    let error = Peer::builder().connect(&address).await.unwrap_err().to_string();
    assert_eq!(error, format!("cannot connect to {address}: no WebSocket upgrade within connect_timeout"));
}
