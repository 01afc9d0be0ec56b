//! Tower layers for authentication, metadata, tracing, limits and retries.
//!
//! | layer | side | what it does |
//! |---|---|---|
//! | [`AuthLayer`] | serving | lets calls through that a check of the application allows |
//! | [`AddMetadataLayer`] | calling | adds metadata to each call, such as a token |
//! | [`TraceLayer`] | both | creates a `tracing` span for each call and passes W3C trace context on |
//! | `MetricsLayer` (feature `metrics`) | both | records how long each call takes, and how it ends |
//! | [`ConcurrencyLimitLayer`] | both | limits the calls under way at a time, each to the end of its stream |
//! | [`TimeoutLayer`] | both | limits the time of a call, to the end of its stream |
//! | [`InFlightLayer`] | both | counts the calls under way, each to the end of its stream; a load for `tower::balance` |
//! | [`HoldLayer`] | both | holds a value of the application, such as a permit, to the end of each call and its stream |
//! | [`RetryPolicy`] | calling | tells `tower::retry` which calls may be tried again |
//!
//! The layers go around a [`Channel`](crate::Channel) or [`Reconnect`](crate::Reconnect), into `layer` of the
//! builders, and around one service with [`NamedService::layered`](crate::NamedService::layered). In each place, and in
//! `tower::ServiceBuilder`, layers run in the order in which they were added: the first added sees a request first.
//! Their services have `get_ref`, `get_mut` and `into_inner`, as Tower's have.
//!
//! # Tower's own layers
//!
//! A service of this crate returns its [`Response`](crate::Response) as soon as a streaming call has begun. Layers
//! that know nothing of streams therefore end their work before the first item:
//!
//! | layer of Tower | unary calls | streaming calls |
//! |---|---|---|
//! | `timeout` | limits the call | limits the time until the stream begins; use [`TimeoutLayer`] |
//! | `concurrency_limit`, `GlobalConcurrencyLimitLayer` | limits the calls under way | counts a call until its stream begins; use [`ConcurrencyLimitLayer`] |
//! | `load` (`PendingRequests`), `balance` | counts the calls under way | counts a call until its stream begins; use [`InFlightLayer`] as the load, or [`Balanced`](crate::Balanced) |
//! | `retry` | repeats calls as [`RetryPolicy`] says | decides before the first item |
//! | `rate_limit`, `buffer`, `load_shed`, `filter`, `map_request` | work as they are | work as they are |
//!
//! A layer of your own learns of the end of a stream with [`Body::on_end`](crate::Body::on_end). It sees each item, and
//! replaces items and the end, with [`Body::map_frames`](crate::Body::map_frames) and its like.
//!
//! # Example
//!
//! ```
//! use muxado_rpc::{
//!     Peer, Request, Status,
//!     layers::{AddMetadataLayer, AuthLayer, RetryPolicy, TraceLayer},
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
//!     .layer(AddMetadataLayer::new([("token", "sesame")].into()))
//!     .service(peer.channel());
//! assert_eq!(GreeterClient::new(channel).hello("Eve".to_owned()).await?, "Eve");
//! # Ok(())
//! # }
//! ```

/// The accessors that Tower's services have, for a service with a field `inner`.
macro_rules! accessors {
    ($service:ident<S $(, $other:ident)*>) => {
        impl<S $(, $other)*> $service<S $(, $other)*> {
            /// Returns a reference to the inner service.
            pub const fn get_ref(&self) -> &S {
                &self.inner
            }

            /// Returns a mutable reference to the inner service.
            pub const fn get_mut(&mut self) -> &mut S {
                &mut self.inner
            }

            /// Returns the inner service.
            pub fn into_inner(self) -> S {
                self.inner
            }
        }
    };
}

mod auth;
mod concurrency_limit;
mod convention;
mod hold;
mod in_flight;
mod metadata;
#[cfg(feature = "metrics")]
mod metrics;
#[cfg(feature = "otel")]
mod otel;
mod retry;
mod timeout;
mod trace;

#[expect(deprecated, reason = "the former name stays for a while")]
pub use self::metadata::MetadataLayer;
#[cfg(feature = "metrics")]
pub use self::metrics::{DURATION_BUCKETS, Metrics, MetricsFuture, MetricsLayer};
pub use self::{
    auth::{Auth, AuthFuture, AuthLayer},
    concurrency_limit::{ConcurrencyLimit, ConcurrencyLimitFuture, ConcurrencyLimitLayer},
    hold::{Hold, HoldFuture, HoldLayer},
    in_flight::{Counted, InFlight, InFlightLayer},
    metadata::{AddMetadata, AddMetadataLayer},
    retry::{RetryPause, RetryPolicy},
    timeout::{Timeout, TimeoutFuture, TimeoutLayer},
    trace::{Trace, TraceFuture, TraceLayer},
};
pub use crate::message::trace_context::TraceContext;
