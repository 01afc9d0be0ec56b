//! Servers and clients of other libraries over a session: axum, hyper and tonic. The clock is virtual.

mod axum_serve;
mod clients;
mod grpc;
mod listener;

use axum::{Router, body::Bytes, extract::ConnectInfo, routing::get, routing::post};
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client, Error},
    rt::TokioExecutor,
};
use muxado::{Session, SessionAddr, SessionConnector};

type HttpClient = Client<SessionConnector, Full<Bytes>>;

fn client(session: &Session) -> HttpClient {
    Client::builder(TokioExecutor::new()).build(session.connector())
}

/// A client that speaks HTTP/2 from the first byte.
fn client_h2(session: &Session) -> HttpClient {
    Client::builder(TokioExecutor::new()).http2_only(true).build(session.connector())
}

async fn fetch(client: &HttpClient, path: &str) -> Result<String, Error> {
    let uri = format!("http://anywhere{path}").parse().expect("a URI");
    let body = client.get(uri).await?.into_body().collect().await.expect("a whole body");
    Ok(String::from_utf8(body.to_bytes().to_vec()).expect("text"))
}

async fn upload(client: &HttpClient, body: Vec<u8>) -> Bytes {
    let request =
        axum::http::Request::post("http://anywhere/echo").body(Full::new(body.into())).expect("a request");
    let answer = client.request(request).await.expect("an answer");
    answer.into_body().collect().await.expect("a whole body").to_bytes()
}

fn app() -> Router {
    Router::new()
        .route("/", get(async || "hello"))
        .route("/echo", post(async |body: Bytes| body).layer(axum::extract::DefaultBodyLimit::disable()))
        .route("/from", get(async |ConnectInfo(addr): ConnectInfo<SessionAddr>| addr.to_string()))
        .route("/never", get(std::future::pending::<()>))
}

/// Serves the app until the listener ends.
fn serve(session: Session) -> tokio::task::JoinHandle<()> {
    let listener = session.into_listener();
    let ended = listener.ended();
    let app = app().into_make_service_with_connect_info::<SessionAddr>();
    tokio::spawn(async move {
        axum::serve(listener, app).with_graceful_shutdown(ended).await.expect("it never fails");
    })
}

/// An error with all its sources.
fn chain(error: &dyn std::error::Error) -> String {
    let rest = error.source().map(|source| format!(": {}", chain(source)));
    format!("{error}{}", rest.unwrap_or_default())
}
