//! An axum app that is served over a connection which its own side has opened, to a hyper client at the other end.
//!
//! ```text
//! cargo run --release -p examples --example axum_over_muxado
//! ```
//!
//! An agent behind a NAT connects to a hub. Then both serve HTTP to each other over that one connection: the hub asks the
//! agent how it is, and the agent reports to the hub. When the hub goes away, requests are finished, connections that rest
//! are closed, and both servers end by themselves.

use std::{error::Error, io, net::SocketAddr, time::Duration};

use axum::{Json, Router, body::Bytes, extract::ConnectInfo, routing::get, routing::post};
use http_body_util::{BodyExt, Full};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use muxado::{Config, HeartbeatConfig, Session, SessionAddr, SessionConnector};
use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

type Result<T> = std::result::Result<T, Box<dyn Error>>;
type HttpClient = Client<SessionConnector, Full<Bytes>>;

/// Serves an app over a session until either side goes away.
fn serve(session: &Session, app: Router) -> JoinHandle<io::Result<()>> {
    let listener = session.clone().into_listener();
    let ended = listener.ended();
    let app = app.into_make_service_with_connect_info::<SessionAddr>();
    tokio::spawn(async move { axum::serve(listener, app).with_graceful_shutdown(ended).await })
}

fn client(session: &Session) -> HttpClient {
    Client::builder(TokioExecutor::new()).build(session.connector())
}

fn start(
    tcp: TcpStream,
    start: fn(TcpStream, Config) -> (Session, muxado::Driver<TcpStream>),
) -> io::Result<Session> {
    tcp.set_nodelay(true)?;
    let (local, peer) = (tcp.local_addr()?, tcp.peer_addr()?);
    let (session, driver) = start(tcp, Config::default());
    session.set_transport_addrs(local, peer);
    // A session that rests is not idle, and a peer that is gone is noticed.
    session.keepalive(HeartbeatConfig::default());
    tokio::spawn(driver);
    Ok(session)
}

/// What runs behind the NAT.
async fn agent(hub: SocketAddr) -> Result<()> {
    let session = start(TcpStream::connect(hub).await?, Session::client)?;
    let health = get(async || Json(json!({"status": "well", "disk_free": 0.25})));
    let serving = serve(&session, Router::new().route("/health", health));
    let report = json!({"host": "behind-nat"}).to_string();
    let request = axum::http::Request::post("http://hub/report").header("content-type", "application/json");
    let response = client(&session).request(request.body(Full::new(report.into()))?).await?;
    let accepted = response.into_body().collect().await?.to_bytes();
    println!("the hub says: {}", String::from_utf8_lossy(&accepted));
    serving.await??;
    println!("the agent's server has ended");
    Ok(())
}

async fn get_json(client: &HttpClient, uri: &str) -> Result<Value> {
    let response = client.get(uri.parse()?).await?;
    Ok(serde_json::from_slice(&response.into_body().collect().await?.to_bytes())?)
}

#[tokio::main]
async fn main() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let hub_address = listener.local_addr()?;
    let agent = async { agent(hub_address).await };
    let hub = async {
        let session = start(listener.accept().await?.0, Session::server)?;
        let (reported, mut reports) = tokio::sync::mpsc::channel(1);
        let report =
            post(async move |ConnectInfo(from): ConnectInfo<SessionAddr>, Json(report): Json<Value>| {
                let _ = reported.send(report).await;
                format!("thank you, {from}")
            });
        let serving = serve(&session, Router::new().route("/report", report));
        assert_eq!(reports.recv().await, Some(json!({"host": "behind-nat"})));

        let client = client(&session);
        for _ in 0..100 {
            let health = get_json(&client, "http://agent/health").await?;
            assert_eq!(health["status"], "well");
        }
        println!("100 requests over {} streams", session.stats().streams_opened);
        assert_eq!(session.drain(Duration::from_secs(10)).await, 0, "no request was cut");
        serving.await??;
        println!("the hub's server has ended");
        Ok::<_, Box<dyn Error>>(())
    };
    tokio::try_join!(agent, hub)?;
    Ok(())
}
