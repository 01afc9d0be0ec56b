//! Metrics of connections, an endpoint for probes and Prometheus.
//!
//! | feature | what it adds |
//! |---|---|
//! | `metrics` | `layers::MetricsLayer`, which records calls, and `Sampler`, which publishes what servers and clients know of their connections, both by the facade [`metrics`](https://docs.rs/metrics/0.24) |
//! | `prometheus` | `Prometheus`: a recorder whose metrics Prometheus reads; with it `metrics` |
//! | `http-endpoint` | `HttpEndpoint`: `/livez`, `/readyz` and `/metrics` over HTTP |
//!
//! `docs/observability.md` in the repository lists all metrics.
//!
//! With all of them, a server is observed in a few lines:
#![cfg_attr(all(feature = "prometheus", feature = "http-endpoint"), doc = "```")]
#![cfg_attr(not(all(feature = "prometheus", feature = "http-endpoint")), doc = "```ignore")]
//! use muxado_rpc::{
//!     Health, Server,
//!     layers::MetricsLayer,
//!     telemetry::{HttpEndpoint, Prometheus},
//! };
//!
//! # #[muxado_rpc::service]
//! # pub trait Greeter { async fn hello(&self, name: String) -> String; }
//! # struct Polite;
//! # impl Greeter for Polite { async fn hello(&self, name: String) -> String { name } }
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // First: what is recorded before goes nowhere.
//! let prometheus = Prometheus::install()?;
//! let health = Health::new();
//! let server = Server::builder()
//!     .layer(MetricsLayer::server())
//!     .serve(GreeterServer::new(Polite))
//!     .health(&health)
//!     .listen("tcp://127.0.0.1:0")
//!     .await?;
//! prometheus.sampler().add_server("greeter", &server);
//! let endpoint = HttpEndpoint::builder(&health).prometheus(&prometheus).listen("127.0.0.1:0").await?;
//! println!("http://{}/metrics", endpoint.local_addr());
//! # Ok(())
//! # }
//! ```

#[cfg(feature = "http-endpoint")]
mod http;
#[cfg(feature = "prometheus")]
mod prometheus;
#[cfg(feature = "metrics")]
mod sampler;

#[cfg(feature = "http-endpoint")]
pub use self::http::{HttpEndpoint, HttpEndpointBuilder};
#[cfg(feature = "prometheus")]
pub use self::prometheus::{Prometheus, PrometheusBuilder, PrometheusError, PrometheusRecorder};
#[cfg(feature = "metrics")]
pub use self::sampler::Sampler;
