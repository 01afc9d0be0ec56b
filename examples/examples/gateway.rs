//! An HTTP gateway: `POST /Service/method` with a JSON body becomes a call of a service that the gateway has never seen.
//!
//! ```text
//! cargo run -p examples --example gateway
//! curl --data '{"a": 1, "b": 2}' http://127.0.0.1:8080/Calculator/add     # against a gateway of your own
//! ```
//!
//! The gateway is the module `gateway`. It knows names only: parameters and values pass through as JSON, a stream becomes
//! one line per item, and the code of an error becomes a status of HTTP. The rest of the program is a server behind the
//! gateway and HTTP requests that check it.

use axum::http::StatusCode;
use muxado_rpc::{AppError, BoxChannel, Context, Reconnect, Server, Status, Stream, layers::TraceLayer};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tower::ServiceBuilder;

mod gateway {
    use std::{io, time::Duration};

    use axum::{
        Json, Router,
        body::{Body, Bytes},
        extract::{Path, State},
        http::{HeaderMap, StatusCode, header::CONTENT_TYPE},
        response::{IntoResponse, Response},
        routing::post,
    };
    use futures_util::StreamExt;
    use muxado_rpc::{BodyFrame, BoxChannel, CallError, Codec, Status};
    use serde_json::{Value, json};

    pub fn router(channel: BoxChannel) -> Router {
        Router::new().route("/{service}/{method}", post(call)).with_state(channel)
    }

    /// Dropping the future, as axum does when the client has gone, cancels the call.
    async fn call(
        State(channel): State<BoxChannel>,
        Path((service, method)): Path<(String, String)>,
        headers: HeaderMap,
        params: Bytes,
    ) -> Response {
        let mut call = channel.call_raw(service, method).codec(Codec::Json).timeout(Duration::from_secs(10));
        for name in ["authorization", "traceparent", "tracestate"] {
            if let Some(value) = headers.get(name).and_then(|value| value.to_str().ok()) {
                call = call.metadata(name, value);
            }
        }
        let call = if params.is_empty() { call } else { call.raw_params(params) };
        let returned =
            call.send().await.map(|response| response.into_body().map_err(|value| value.into_bytes()));
        match returned {
            Ok(Ok(items)) => Body::from_stream(items.map(line)).into_response(),
            Ok(Err(Ok(value))) => ([(CONTENT_TYPE, "application/json")], value).into_response(),
            Ok(Err(Err(CallError::App(error)))) => refuse(error.into()),
            Ok(Err(Err(CallError::Status(status)))) | Err(status) => refuse(status),
        }
    }

    /// One line per item. An error breaks the response off, so that nobody takes it for whole.
    fn line(frame: BodyFrame) -> io::Result<Bytes> {
        match frame {
            BodyFrame::Item(item) => Ok([&item[..], b"\n"].concat().into()),
            BodyFrame::End { result, .. } => result.map(|()| Bytes::new()).map_err(io::Error::other),
            _ => Ok(Bytes::new()),
        }
    }

    fn refuse(status: Status) -> Response {
        let code = StatusCode::from_u16(status.code().http_status()).unwrap_or(StatusCode::BAD_GATEWAY);
        let details: Option<Value> = status.details();
        let error = json!({"code": status.code(), "message": status.message(), "details": details});
        (code, Json(error)).into_response()
    }
}

/// What the gateway does not know.
#[muxado_rpc::service]
pub trait Calculator {
    async fn add(&self, a: i64, b: i64) -> i64;
    async fn divide(&self, a: f64, b: f64) -> Result<f64, DivideError>;
    async fn count(&self, to: u32) -> impl Stream<Item = u32>;
    async fn whoami(&self, cx: &Context) -> Result<String, Status>;
}

#[derive(Debug, AppError, serde::Serialize, serde::Deserialize, thiserror::Error)]
pub enum DivideError {
    #[code(OutOfRange)]
    #[error("division of {dividend} by zero")]
    ByZero { dividend: f64 },
}

struct Exact;

impl Calculator for Exact {
    async fn add(&self, a: i64, b: i64) -> i64 {
        a + b
    }

    async fn divide(&self, a: f64, b: f64) -> Result<f64, DivideError> {
        if b == 0.0 { Err(DivideError::ByZero { dividend: a }) } else { Ok(a / b) }
    }

    async fn count(&self, to: u32) -> impl Stream<Item = u32> {
        futures_util::stream::iter(1..=to)
    }

    async fn whoami(&self, cx: &Context) -> Result<String, Status> {
        let token = cx.metadata().get("authorization");
        token.map(str::to_owned).ok_or_else(|| Status::unauthenticated("a token is needed"))
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let server = Server::builder().serve(CalculatorServer::new(Exact)).listen("tcp://127.0.0.1:0").await?;

    let channel = Reconnect::builder().address(server.local_addr()).build()?;
    let channel: BoxChannel =
        ServiceBuilder::new().layer(BoxChannel::layer()).layer(TraceLayer::client()).service(channel);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let http = Http { address: listener.local_addr()?.to_string() };
    println!("the gateway listens on http://{}", http.address);
    tokio::spawn(async move { axum::serve(listener, gateway::router(channel)).await });

    let (status, sum) = http.post("/Calculator/add", r#"{"a": 1, "b": 2}"#).await?;
    assert_eq!((status, &*sum), (StatusCode::OK, "3"));
    // By position.
    assert_eq!(http.post("/Calculator/divide", "[1, 4]").await?, (StatusCode::OK, "0.25".to_owned()));
    assert_eq!(http.post("/Calculator/count", "[3]").await?, (StatusCode::OK, "1\n2\n3\n".to_owned()));
    assert_eq!(http.post("/Calculator/whoami", "").await?, (StatusCode::OK, r#""Bearer abc""#.to_owned()));

    for (path, params, expected, code) in [
        ("/Calculator/divide", r#"{"a": 1, "b": 0}"#, StatusCode::BAD_REQUEST, "out_of_range"),
        ("/Calculator/add", r#"{"a": 1}"#, StatusCode::BAD_REQUEST, "invalid_argument"),
        ("/Calculator/add", r#"{"a": "#, StatusCode::BAD_REQUEST, "invalid_argument"),
        ("/Calculator/subtract", "[]", StatusCode::NOT_IMPLEMENTED, "unimplemented"),
        ("/Nobody/add", "[]", StatusCode::NOT_IMPLEMENTED, "unimplemented"),
    ] {
        let (status, error) = http.post(path, params).await?;
        let error: Value = serde_json::from_str(&error)?;
        println!("{path} {params}: {status} {error}");
        assert_eq!((status, &error["code"]), (expected, &json!(code)));
    }
    let (_, error) = http.post("/Calculator/divide", r#"{"a": 1, "b": 0}"#).await?;
    let error: Value = serde_json::from_str(&error)?;
    assert_eq!(error["details"], json!({"ByZero": {"dividend": 1.0}}));
    assert_eq!(error["message"], "division of 1 by zero");

    server.shutdown(std::time::Duration::from_secs(1)).await;
    println!("all answers were right");
    Ok(())
}

/// As much of an HTTP client as the check needs.
struct Http {
    address: String,
}

impl Http {
    async fn post(&self, path: &str, body: &str) -> Result<(StatusCode, String), Box<dyn std::error::Error>> {
        let mut tcp = TcpStream::connect(&self.address).await?;
        let length = body.len();
        // With HTTP/1.0, a body ends with the connection.
        let head =
            format!("POST {path} HTTP/1.0\r\nauthorization: Bearer abc\r\ncontent-length: {length}\r\n\r\n");
        tcp.write_all(format!("{head}{body}").as_bytes()).await?;
        let mut response = String::new();
        tcp.read_to_string(&mut response).await?;
        let (head, body) = response.split_once("\r\n\r\n").ok_or("no HTTP")?;
        let status = head.split(' ').nth(1).ok_or("no status")?;
        Ok((status.parse()?, body.to_owned()))
    }
}
