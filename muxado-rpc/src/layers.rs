//! Tower layers for what most services need: who calls, what is going on, trying again.
//!
//! | layer | side | what for |
//! |---|---|---|
//! | [`AuthLayer`] | serving | lets calls through that a check of the application's own allows |
//! | [`MetadataLayer`] | calling | adds metadata to each call, such as a token |
//! | [`TraceLayer`] | both | a `tracing` span per call, W3C trace context across the connection |
//! | [`RetryPolicy`] | calling | says `tower::retry` what may be tried again |
//!
//! They fit around a [`Channel`](crate::Channel) or [`Reconnect`](crate::Reconnect), and into `layer`
//! of the builders, together with those of Tower.
//!
//! ```
//! use muxado_rpc::{
//!     Peer, Request, Status,
//!     layers::{AuthLayer, MetadataLayer, RetryPolicy, TraceLayer},
//! };
//! use tower::{ServiceBuilder, retry::RetryLayer};
//!
//! # #[muxado_rpc::service]
//! # pub trait Greeter { async fn hello(&self, name: String) -> String; }
//! # struct Polite;
//! # impl Greeter for Polite { async fn hello(&self, name: String) -> String { name } }
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let (near, far) = tokio::io::duplex(1024);
//! let check = |request: &mut Request| {
//!     let known = request.metadata().get("token") == Some("sesame");
//!     async move { if known { Ok(()) } else { Err(Status::unauthenticated("who are you?")) } }
//! };
//! let server = Peer::builder()
//!     .layer(TraceLayer::server())
//!     .layer(AuthLayer::new(check))
//!     .serve(GreeterServer::new(Polite))
//!     .server(far)?;
//!
//! let peer = Peer::builder().client(near)?;
//! let channel = ServiceBuilder::new()
//!     .layer(RetryLayer::new(RetryPolicy::new(3)))
//!     .layer(TraceLayer::client())
//!     .layer(MetadataLayer::new([("token", "sesame")].into()))
//!     .service(peer.channel());
//! assert_eq!(GreeterClient::new(channel).hello("Eve".to_owned()).await?, "Eve");
//! # Ok(())
//! # }
//! ```

mod auth;
mod metadata;
mod retry;
mod trace;

pub use self::{
    auth::{Auth, AuthFuture, AuthLayer},
    metadata::{AddMetadata, MetadataLayer},
    retry::{RetryPause, RetryPolicy},
    trace::{Trace, TraceFuture, TraceLayer},
};
pub use crate::message::trace_context::TraceContext;
