//! Probes over HTTP beside a server.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::{net::SocketAddr, time::Duration};

use muxado_rpc::{Health, Server, telemetry::HttpEndpoint};
use support::{WorkClient, WorkServer, Worker};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// The first line of the answer, and the body.
async fn get(address: SocketAddr, path: &str) -> (String, String) {
    let mut socket = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.lines().next().unwrap().to_owned(), body.to_owned())
}

#[tokio::test]
async fn readiness_ends_before_the_server_drains_and_the_endpoint_goes_on() {
    let (health, worker) = (Health::new(), Worker::default());
    let server = Server::builder().health(&health).serve(WorkServer::new(worker.clone()));
    let server = server.listen("tcp://127.0.0.1:0").await.unwrap();
    let endpoint = HttpEndpoint::builder(&health).listen("127.0.0.1:0").await.unwrap();
    let address = endpoint.local_addr();
    assert_eq!(get(address, "/readyz").await, ("HTTP/1.1 200 OK".to_owned(), "SERVING\n".to_owned()));

    let peer = muxado_rpc::connect(server.local_addr()).await.unwrap();
    let client = WorkClient::new(peer.channel());
    let under_way = tokio::spawn(async move { client.hang().await });
    worker.until_hanging(1).await;
    let draining = tokio::spawn(async move { server.shutdown(Duration::from_secs(60)).await });
    peer.going_away().await;
    let not_ready = ("HTTP/1.1 503 Service Unavailable".to_owned(), "NOT_SERVING\n".to_owned());
    assert_eq!(get(address, "/readyz").await, not_ready);
    assert_eq!(get(address, "/livez").await.1, "ok\n");
    under_way.abort();
    assert!(draining.await.unwrap().is_clean());
    assert_eq!(get(address, "/readyz").await, not_ready);
}

#[tokio::test]
async fn further_connections_wait_for_one_to_end() {
    let endpoint = HttpEndpoint::builder(&Health::new()).max_connections(1);
    let endpoint = endpoint.listen("127.0.0.1:0").await.unwrap();
    let mut first = TcpStream::connect(endpoint.local_addr()).await.unwrap();
    exchange(&mut first).await;

    // The system takes it, the endpoint does not yet.
    let mut second = TcpStream::connect(endpoint.local_addr()).await.unwrap();
    second.write_all(REQUEST).await.unwrap();
    exchange(&mut first).await;
    let none = second.try_read(&mut [0; 15]).unwrap_err();
    assert_eq!(none.kind(), std::io::ErrorKind::WouldBlock);
    drop(first);
    read_answer(&mut second).await;
}

const REQUEST: &[u8] = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n";

async fn exchange(socket: &mut TcpStream) {
    socket.write_all(REQUEST).await.unwrap();
    read_answer(socket).await;
}

/// Reads an answer of `/livez`.
async fn read_answer(socket: &mut TcpStream) {
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\nok\n") {
        assert!(socket.read_buf(&mut answer).await.unwrap() > 0, "{answer:?}");
    }
    assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"));
}

#[tokio::test]
async fn it_ends_with_its_handle() {
    let endpoint = HttpEndpoint::builder(&Health::new()).listen("127.0.0.1:0").await.unwrap();
    let address = endpoint.local_addr();
    let mut idle = TcpStream::connect(address).await.unwrap();
    assert_eq!(get(address, "/livez").await.1, "ok\n");
    drop(endpoint);
    let mut rest = Vec::new();
    let _ = idle.read_to_end(&mut rest).await;
    assert!(rest.is_empty());
    tokio::net::TcpListener::bind(address).await.unwrap();
}
