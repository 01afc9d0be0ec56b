//! Sessions on a route of axum, which has a WebSocket library of its own.

use std::net::SocketAddr;

use axum::{
    Router,
    extract::ws::WebSocketUpgrade,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::{any, get},
};
use muxado_rpc::{Peer, PeerInfo, WebSocketError, axum_route, axum_upgrade, connect};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::{
    AskedClient, AskedServer, Known,
    raw::request,
    support::{WorkClient, WorkServer, Worker, assert_alive},
};

async fn own(headers: HeaderMap, upgrade: WebSocketUpgrade) -> Response {
    let Some(user) = headers.get("x-user").and_then(|user| user.to_str().ok()) else {
        return StatusCode::UNAUTHORIZED.into_response();
    };
    let info = PeerInfo::default().with_identity(user);
    axum_upgrade(upgrade, Peer::builder().serve(AskedServer::new(Known)).peer_info(info))
}

async fn serve() -> SocketAddr {
    let rpc = Peer::builder().serve(WorkServer::new(Worker::default())).serve(AskedServer::new(Known));
    let app = Router::new()
        .route("/", get(async || "a page"))
        .route("/rpc", axum_route(rpc))
        .route("/own", any(own));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = app.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, service).await.unwrap() });
    address
}

async fn answer(address: SocketAddr, says: &str) -> String {
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(says.as_bytes()).await.unwrap();
    let mut answer = vec![0; 4096];
    let len = socket.read(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer[..len]).into_owned()
}

#[tokio::test]
async fn one_port_serves_pages_and_sessions() {
    let address = serve().await;
    let page = answer(address, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    assert!(page.starts_with("HTTP/1.1 200 OK\r\n") && page.ends_with("a page"), "{page}");
    let peer = Peer::builder()
        .serve(WorkServer::new(Worker::default()))
        .websocket_header("X-Tenant", "7")
        .connect(format!("ws://{address}/rpc?a"))
        .await
        .unwrap();
    let client = WorkClient::new(peer.channel());
    assert_alive(&client).await;
    assert_eq!(client.ask_back("yes".to_owned()).await.unwrap(), "the caller says yes");
    assert_eq!(client.grow(3 << 20).await.unwrap().len(), 3 << 20);
    let text = "t".repeat(3 << 20);
    assert_eq!(client.echo(text.clone()).await.unwrap(), text);
    let about = AskedClient::new(peer.channel()).about().await.unwrap();
    assert_eq!(about, (Some("/rpc?a".to_owned()), Some("7".to_owned()), None));
    let error = connect(format!("ws://{address}/other")).await.unwrap_err();
    assert!(
        matches!(WebSocketError::of(&error), Some(WebSocketError::Status { status: 404, .. })),
        "{error}"
    );
    peer.close();
    peer.closed().await;
}

#[tokio::test]
async fn a_handler_of_the_application_decides_who_connects_and_who_it_is() {
    let address = format!("ws://{}/own", serve().await);
    let error = connect(&address).await.unwrap_err();
    assert!(
        matches!(WebSocketError::of(&error), Some(WebSocketError::Status { status: 401, .. })),
        "{error}"
    );
    let peer = Peer::builder().websocket_header("x-user", "eve").connect(&address).await.unwrap();
    let (_, _, identity) = AskedClient::new(peer.channel()).about().await.unwrap();
    assert_eq!(identity.as_deref(), Some("eve"));
}

#[tokio::test]
async fn pages_of_other_sites_may_not_connect() {
    let address = serve().await;
    for (origin, status) in [("https://evil.example", "403"), ("https://server", "101")] {
        let head = answer(address, &request("/rpc", &format!("Origin: {origin}\r\n"))).await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
    }
}
