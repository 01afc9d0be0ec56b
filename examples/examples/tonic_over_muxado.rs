//! A tonic server that is served over a connection which its own side has opened, to a tonic client at the other end.
//!
//! ```text
//! cargo run --release -p examples --example tonic_over_muxado
//! ```
//!
//! The service is written by hand, so that no protoc is needed; generated services are used alike, with
//! `Server::builder().add_service(..).serve_with_incoming_shutdown(listener, ended)`.

use std::{
    convert::Infallible,
    error::Error,
    future::{Ready, ready},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::http;
use muxado::{Config, Session, SessionAddr};
use tokio::net::{TcpListener, TcpStream};
use tonic::{
    Request, Response, Status,
    body::Body,
    client::Grpc,
    server::{self, UnaryService},
    transport::{Endpoint, Server},
};
use tonic_prost::ProstCodec;

/// `rpc Greet(google.protobuf.StringValue) returns (google.protobuf.StringValue)`
#[derive(Clone)]
struct Greeter;

impl UnaryService<String> for Greeter {
    type Response = String;
    type Future = Ready<Result<Response<String>, Status>>;

    fn call(&mut self, request: Request<String>) -> Self::Future {
        let from = request.extensions().get::<SessionAddr>().map(SessionAddr::to_string);
        println!("a call on {}", from.unwrap_or_default());
        ready(match request.get_ref().as_str() {
            "" => Err(Status::invalid_argument("a name is needed")),
            name => Ok(Response::new(format!("hello, {name}"))),
        })
    }
}

impl tower::Service<http::Request<Body>> for Greeter {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let codec = ProstCodec::<String, String>::default();
        Box::pin(async move { Ok(server::Grpc::new(codec).unary(Greeter, request).await) })
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;

    // The agent connects, and serves.
    let tcp = TcpStream::connect(listener.local_addr()?).await?;
    tcp.set_nodelay(true)?;
    let (session, driver) = Session::client(tcp, Config::default());
    tokio::spawn(driver);
    let incoming = session.into_listener();
    let ended = incoming.ended();
    let serving = tokio::spawn(Server::builder().serve_with_incoming_shutdown(Greeter, incoming, ended));

    // The hub is connected to, and calls.
    let (tcp, _) = listener.accept().await?;
    tcp.set_nodelay(true)?;
    let (session, driver) = Session::server(tcp, Config::default());
    tokio::spawn(driver);
    let channel = Endpoint::from_static("http://agent").connect_with_connector(session.connector()).await?;
    let mut client = Grpc::new(channel);
    for (name, expected) in [("world", Ok("hello, world")), ("", Err("a name is needed"))] {
        client.ready().await?;
        let path = http::uri::PathAndQuery::from_static("/greeter.Greeter/Greet");
        let answer =
            client.unary(Request::new(name.to_owned()), path, ProstCodec::<String, String>::default()).await;
        let answer = answer.map(Response::into_inner);
        assert_eq!(answer.as_deref().map_err(Status::message), expected);
    }
    drop(client);
    assert_eq!(session.drain(Duration::from_secs(10)).await, 0, "no call was cut");
    serving.await??;
    println!("all answers were right");
    Ok(())
}
