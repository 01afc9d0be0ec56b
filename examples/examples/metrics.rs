//! A server that Prometheus scrapes and a kubelet probes; a client of it, measured as well.
//!
//! ```text
//! cargo run --release -p examples --example metrics
//! cargo run --release -p examples --example metrics -- serve 127.0.0.1:9090
//! ```
//!
//! The first one makes some calls, scrapes itself, checks what it finds, and shuts down. The second one goes on making
//! calls until Enter is pressed or its input ends: point Prometheus and the dashboard in `docs/` at it.

use std::{env, error::Error, net::SocketAddr, time::Duration};

use futures_util::{StreamExt, stream};
use muxado_rpc::{
    AppError, Health, Reconnect, Request, Response, Server, Status, Stream,
    layers::MetricsLayer,
    telemetry::{HttpEndpoint, Prometheus},
};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::sleep,
};
use tower::{Service, ServiceBuilder};

/// Why there is no temperature.
#[derive(Debug, AppError, thiserror::Error, Serialize, Deserialize)]
pub enum NoReading {
    #[code(NotFound)]
    #[error("there is no such place")]
    NoSuchPlace,
}

/// Measures temperatures.
#[muxado_rpc::service]
pub trait Weather {
    async fn temperature(&self, place: String) -> Result<f64, NoReading>;
    async fn forecast(&self, days: u32) -> impl Stream<Item = f64>;
}

struct Station;

impl Weather for Station {
    async fn temperature(&self, place: String) -> Result<f64, NoReading> {
        sleep(Duration::from_millis(place.len() as u64)).await;
        if place == "Atlantis" { Err(NoReading::NoSuchPlace) } else { Ok(21.5) }
    }

    async fn forecast(&self, days: u32) -> impl Stream<Item = f64> {
        stream::iter((0..days).map(|day| 20.0 + f64::from(day)))
    }
}

/// Sends one request over HTTP. Returns the answer as it is.
async fn get(address: SocketAddr, path: &str) -> std::io::Result<String> {
    let mut socket = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await?;
    Ok(answer)
}

/// Makes calls that succeed, calls that fail, a stream, and calls of a method that is not known.
async fn make_calls<C>(weather: &WeatherClient<C>, channel: &Reconnect) -> Result<(), Box<dyn Error>>
where
    C: Service<Request, Response = Response, Error = Status, Future: Send> + Clone + Send + Sync + 'static,
{
    for place in ["Oslo", "Cairo", "Montevideo"] {
        weather.temperature(place.to_owned()).await?;
    }
    assert!(weather.temperature("Atlantis".to_owned()).await.is_err());
    let days: Vec<_> = weather.forecast(7).await?.collect().await;
    assert_eq!(days.len(), 7);
    for peer in channel.peers() {
        assert!(peer.channel().call_raw("Weather", "made_up").send().await.is_err());
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let serves = arguments.next().is_some_and(|first| first == "serve");
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:0".to_owned());

    // Before anything is called: what is recorded earlier goes nowhere.
    let prometheus = Prometheus::install()?;
    let health = Health::new();
    let server = Server::builder()
        .layer(MetricsLayer::server())
        .serve(WeatherServer::new(Station))
        .health(&health)
        .listen("tcp://127.0.0.1:0")
        .await?;
    prometheus.sampler().add_server("weather", &server);
    let endpoint = HttpEndpoint::builder(&health).prometheus(&prometheus).listen(&address).await?;
    println!("metrics at http://{}/metrics", endpoint.local_addr());

    let channel = Reconnect::builder().address(server.local_addr().clone()).build()?;
    prometheus.sampler().add_reconnect("weather", &channel);
    let measured = ServiceBuilder::new().layer(MetricsLayer::client()).service(channel.clone());
    let weather = WeatherClient::new(measured);
    make_calls(&weather, &channel).await?;

    if serves {
        let (mut input, mut byte) = (tokio::io::stdin(), [0]);
        let calls = async {
            loop {
                make_calls(&weather, &channel).await?;
                sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::select! {
            _ = input.read(&mut byte) => {}
            result = calls => return result,
        }
    }

    let scraped = get(endpoint.local_addr(), "/metrics").await?;
    let expected = [
        r#"rpc_server_call_duration_seconds_count{rpc_system_name="muxado",rpc_method="Weather/temperature",rpc_response_status_code="ok"}"#,
        r#"rpc_client_call_duration_seconds_count{rpc_system_name="muxado",rpc_method="Weather/temperature",rpc_response_status_code="not_found",error_type="not_found"}"#,
        r#"muxado_connections{muxado_role="server",muxado_name="weather"} 1"#,
        r#"muxado_client_places{muxado_role="client",muxado_name="weather",muxado_state="connected"} 1"#,
    ];
    for line in expected {
        assert!(scraped.contains(line), "no {line} in:\n{scraped}");
        println!("{line}");
    }

    // The probe for readiness fails as soon as the server begins to drain.
    assert!(get(endpoint.local_addr(), "/readyz").await?.starts_with("HTTP/1.1 200"));
    server.shutdown(Duration::from_secs(5)).await;
    assert!(get(endpoint.local_addr(), "/readyz").await?.starts_with("HTTP/1.1 503"));
    assert!(get(endpoint.local_addr(), "/livez").await?.starts_with("HTTP/1.1 200"));
    println!("not ready any more, but alive");
    Ok(())
}
