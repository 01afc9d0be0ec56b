//! One port that serves pages and RPC: axum answers the browser on `/`, and a session runs over a WebSocket on `/rpc`.
//!
//! `cargo run --release -p examples --example websocket`

use std::{error::Error, net::SocketAddr};

use axum::{Router, response::Html, routing::get};
use muxado_rpc::{Context, Peer, Reconnect, WebSocketError, WebSocketRequest, axum_route};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// What the server offers.
#[muxado_rpc::service]
pub trait Greeter {
    async fn greet(&self, name: &str, cx: &Context) -> String;
}

struct Polite;

impl Greeter for Polite {
    async fn greet(&self, name: &str, cx: &Context) -> String {
        // Path and headers of the request with which the WebSocket began.
        let request = cx.peer_info().extensions().get::<WebSocketRequest>();
        let language = request.and_then(|request| request.header("accept-language")).unwrap_or("en");
        // Either side calls the other: the client may serve, too.
        let title = TitleClient::new(cx.channel()).title().await.unwrap_or_default();
        let hello = if language == "fr" { "Bonjour" } else { "Hello" };
        format!("{hello}, {title}{name}")
    }
}

/// What a client may offer.
#[muxado_rpc::service]
pub trait Title {
    async fn title(&self) -> String;
}

struct Doctor;

impl Title for Doctor {
    async fn title(&self) -> String {
        "Dr. ".to_owned()
    }
}

async fn serve() -> std::io::Result<SocketAddr> {
    let rpc = Peer::builder().serve(GreeterServer::new(Polite));
    let app =
        Router::new().route("/", get(async || Html("<h1>It works</h1>"))).route("/rpc", axum_route(rpc));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move { axum::serve(listener, app).await });
    Ok(address)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = serve().await?;

    // A browser.
    let mut browser = TcpStream::connect(address).await?;
    browser
        .write_all(format!("GET / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").as_bytes())
        .await?;
    let mut page = String::new();
    browser.read_to_string(&mut page).await?;
    println!("GET /: {}", page.lines().last().unwrap_or_default());

    // A client, which comes back by itself should the connection break.
    let client = Peer::builder().serve(TitleServer::new(Doctor)).websocket_header("Accept-Language", "fr");
    let channel = Reconnect::builder().address(format!("ws://{address}/rpc")).peer(client).build()?;
    println!("/rpc: {}", GreeterClient::new(channel).greet("Who").await?);

    // What is no WebSocket is named.
    let error = muxado_rpc::connect(format!("ws://{address}/")).await.unwrap_err();
    assert!(matches!(WebSocketError::of(&error), Some(WebSocketError::Status { .. })));
    println!("{error}");
    Ok(())
}
