//! tonic over a session, with a service written by hand.

use std::{
    convert::Infallible,
    future::{Future, ready},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::http;
use muxado::{Session, SessionAddr, Side};
use muxado_tests::{Pair, each_side, run};
use tonic::{
    Code, Request, Response, Status,
    body::Body,
    client::Grpc,
    server::{self, UnaryService},
    transport::{Channel, Endpoint, Server},
};
use tonic_prost::ProstCodec;

/// `rpc Greet(google.protobuf.StringValue) returns (google.protobuf.StringValue)`, with the address of the caller.
#[derive(Clone)]
struct Greeter;

impl UnaryService<String> for Greeter {
    type Response = String;
    type Future = std::future::Ready<Result<Response<String>, Status>>;

    fn call(&mut self, request: Request<String>) -> Self::Future {
        let addr = request.extensions().get::<SessionAddr>().map(SessionAddr::to_string);
        let addr = addr.unwrap_or_else(|| "nowhere".to_owned());
        ready(Ok(Response::new(format!("hello, {} on {addr}", request.get_ref()))))
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
        Box::pin(async move {
            let mut grpc = server::Grpc::new(ProstCodec::<String, String>::default());
            Ok(grpc.unary(Greeter, request).await)
        })
    }
}

async fn greet(channel: &Channel, name: &str) -> Result<String, Status> {
    let mut grpc = Grpc::new(channel.clone());
    grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let path = http::uri::PathAndQuery::from_static("/greeter.Greeter/Greet");
    let codec = ProstCodec::<String, String>::default();
    Ok(grpc.unary(Request::new(name.to_owned()), path, codec).await?.into_inner())
}

fn serve(session: Session) -> tokio::task::JoinHandle<()> {
    let listener = session.into_listener();
    let ended = listener.ended();
    let serving = Server::builder().serve_with_incoming_shutdown(Greeter, listener, ended);
    tokio::spawn(async move { serving.await.expect("it never fails") })
}

fn pair(side: Side) -> (Session, Session) {
    let Pair { client, server, .. } = Pair::new();
    if side == Side::Client { (client, server) } else { (server, client) }
}

#[test]
fn either_side_serves_grpc_to_the_other() {
    each_side(|side| async move {
        let (listening, connecting) = pair(side);
        let served = serve(listening);
        let endpoint = Endpoint::from_static("http://agent");
        let channel = endpoint.connect_with_connector(connecting.connector()).await.unwrap();
        let stream = if side == Side::Client { 2 } else { 3 };
        assert_eq!(greet(&channel, "you").await.unwrap(), format!("hello, you on stream {stream}"));
        assert_eq!(connecting.drain(Duration::from_secs(60)).await, 0);
        served.await.unwrap();
    });
}

#[test]
fn channel_of_a_session_that_has_ended_is_unavailable() {
    run(async {
        let (listening, connecting) = pair(Side::Server);
        let channel =
            Endpoint::from_static("http://agent").connect_with_connector_lazy(connecting.connector());
        drop(listening);
        connecting.closed().await;
        let status = greet(&channel, "you").await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable, "{status}");
    });
}
