//! Lightweight RPC over [`muxado`]: a trait becomes a client and a server, and either peer
//! calls the other over one connection.
//!
//! ```
//! use muxado_rpc::Server;
//!
//! #[muxado_rpc::service]
//! pub trait Calculator {
//!     async fn add(&self, a: i64, b: i64) -> i64;
//!     async fn count(&self, text: &str, word: &str) -> usize;
//!     async fn divide(&self, a: f64, b: f64) -> Result<f64, String>;
//! }
//!
//! struct Exact;
//! impl Calculator for Exact {
//!     async fn add(&self, a: i64, b: i64) -> i64 { a + b }
//!     async fn count(&self, text: &str, word: &str) -> usize { text.matches(word).count() }
//!     async fn divide(&self, a: f64, b: f64) -> Result<f64, String> {
//!         if b == 0.0 { Err("division by zero".to_owned()) } else { Ok(a / b) }
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let server = Server::builder().serve(CalculatorServer::new(Exact)).listen("tcp://127.0.0.1:0").await?;
//! let peer = muxado_rpc::connect(server.local_addr()).await?;
//! let calculator = CalculatorClient::new(peer.channel());
//! assert_eq!(calculator.add(1, 2).await?, 3);
//! assert_eq!(calculator.count("to be or not to be", "be").await?, 2);
//! # assert_eq!(calculator.divide(1.0, 0.0).await.unwrap_err().app().unwrap(), "division by zero");
//! # Ok(())
//! # }
//! ```
//!
//! [`guide::signatures`] says what methods may take and return.
//!
//! # What a call promises
//!
//! * **Isolation.** An unknown service or method, parameters that cannot be decoded, a message that is
//!   too large, and a handler that panics are errors of that one call. (A program built with
//!   `panic = "abort"` cannot catch panics; see [Panics](#panics).)
//! * **Errors.** [`CallError`] is the method's own error, or a [`Status`] that says who failed and
//!   whether the call may have been executed.
//! * **Cancellation.** Dropping a call's future resets its stream. The peer drops the handler, and with it
//!   the tasks of its scope ([`Context::spawn`]). A method with `#[method(no_cancel)]` runs to its end.
//! * **Time limits** are set by the caller (`with_timeout`, `with_default_timeout`, [`ClientCall::timeout`]) or the method
//!   (`#[method(timeout_ms = 500)]`). They travel with the request and hold on both sides. Calls that a
//!   handler makes inherit what is left. There is no limit by default.
//! * **Streams** are ordinary signatures: a [`Streaming`] argument, an `impl Stream` return value. The call
//!   returns before the first item. An end that was not announced is an error.
//! * **Limits** on sizes, calls in flight and connections are on by default; see [`Limits`]. Peers tell
//!   each other their limits and services; see [`PeerCapabilities`].
//! * **Codecs.** The client chooses [`Codec::Json`] or [`Codec::MessagePack`] at run time
//!   (`with_codec`). A server takes both. [`guide::values`] says what values may be, and what bytes are.
//!
//! # Both ways
//!
//! A [`Peer`] serves the services given to `serve`, whichever side connected, and calls the other side
//! through its [`Channel`]. A handler calls its caller back through [`Context::channel`]. The serving side
//! calls first from [`ServerBuilder::on_connect`].
//!
//! # Shutdown and reconnection
//!
//! [`Server::shutdown`] and [`Peer::shutdown`] let calls under way finish, and return how many did. A
//! [`Reconnect`] replaces its connections by itself, so that a server can restart without a failed call. A [`Balanced`]
//! sends calls to many servers; [`guide::channels`] says when to use which.
//!
//! # Panics
//!
//! A panic of a handler, a layer, a hook, or a value that is encoded or dropped is caught. It is an error of
//! the call or connection that it belongs to, and the caller gets [`Code::Internal`].
//!
//! With `panic = "abort"` in the profile of the program nothing can be caught. A panic anywhere ends the
//! process at once (SIGABRT on Unix), with all its connections and calls, and the callers see their
//! connections break. Whoever can make one handler panic can end such a server. Everything else works the
//! same.
//!
//! # Tower
//!
//! A [`Channel`], a generated server and a [`Router`] are Tower services from [`Request`] to
//! [`Response`]. Clients are generic over any such service: layers go around a channel, and a client can
//! call a server in the same process, where its time limits hold as well. Layers around all services go to
//! `layer` of the builders, layers around one service to [`NamedService::layered`]. **Layers run in the order
//! in which they were added: the first added sees a request first, everywhere.**
//!
//! An error of a layer becomes a status: [`Code::DeadlineExceeded`] for `timeout`,
//! [`Code::ResourceExhausted`] for `load_shed`. A request for a service or method that is not served is
//! refused before any layer sees it, unless there is a [fallback](Router::fallback).
//!
//! [`layers`] has layers for authentication, metadata, tracing, limits and retries, and says which of Tower's
//! own layers know nothing of streams.
//!
//! # Names known only at run time
//!
//! [`Channel::call_raw`] calls a method that no trait describes here; see [`RawCall`]. [`Router::fallback`], also of the
//! builders, takes the calls of services and methods that are not served, with their names and their encoded bodies: a
//! channel there is a relay. Gateways, proxies and command-line tools are written with these, without generated code.
//!
//! ```
//! use muxado_rpc::{Channel, Peer, Status};
//! use serde_json::{Value, json};
//!
//! async fn add(channel: &Channel) -> Result<Value, Status> {
//!     let sum = channel.call_raw("Calculator", "add").params(&json!({"a": 1, "b": 2})).send().await?;
//!     sum.into_value().map_err(|error| Status::aborted(error.to_string()))
//! }
//!
//! fn relay<Io>(near: Io, upstream: Channel) -> Result<Peer, muxado_rpc::RegistrationError>
//! where
//!     Io: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
//! {
//!     Peer::builder().fallback(upstream).server(near)
//! }
//! # let _ = (add, relay::<tokio::io::DuplexStream>);
//! ```
//!
//! # What a peer serves
//!
//! With [`ServerBuilder::reflection`] or [`PeerBuilder::reflection`] a peer says what it serves, to those who may see it;
//! a [`ReflectionClient`] asks. With `#[service(schema)]`, and the feature `schema`, its descriptions have JSON Schemas and
//! doc comments; the module `schema` makes one OpenRPC document of them, and compares two.
//!
//! With [`ServerBuilder::health`] it says whether its services take calls, as `grpc.health.v1` does; see [`Health`].
//!
//! # Metrics and probes
//!
//! The module `telemetry` (features `metrics`, `prometheus` and `http-endpoint`) publishes what servers and clients know of
//! their connections, and answers probes and Prometheus over HTTP; `layers::MetricsLayer` records calls, and
//! [`TraceLayer`](layers::TraceLayer) creates spans.
//!
//! # What is public
//!
//! The API has three tiers:
//!
//! 1. **Services and connections**, for every user: [`service`], [`Server`], [`Peer`], [`Channel`],
//!    [`Reconnect`], [`Balanced`], [`BoxChannel`], [`RawCall`], [`Context`], [`Streaming`], [`ClientCall`], [`CallResponse`],
//!    [`CallError`], [`RawError`], [`Status`], [`Code`], [`AppError`], [`Codec`],
//!    [`Limits`], [`Metadata`], [`PeerInfo`], [`PeerId`], [`PeerCapabilities`], [`connect`], [`Address`], [`Bind`],
//!    [`ChildProcess`], the types of TLS and WebSocket, [`UnixCredentials`], [`Handshake`], [`CallStats`],
//!    [`shared_bytes`], [`ReflectionClient`], [`PeerDescription`], [`ServiceSummary`], [`ServiceSchema`],
//!    [`MethodSchema`], [`Health`], [`HealthClient`], [`HealthStatus`], and [`testing`].
//! 2. **Tower layers**, for those who use or write them: [`layers`], [`Request`], [`Response`], [`Body`],
//!    [`BodyFrame`], [`Extensions`], [`MethodInfo`], [`MethodRef`], [`ServiceInfo`], [`NamedService`], [`Layered`], [`Router`],
//!    [`CallService`], [`BoxError`].
//! 3. **Generated code** uses the hidden module `__private`, which may change with any release. Do not use
//!    it by hand.

mod client;
mod codec;
mod connection;
pub mod guide;
pub mod layers;
mod message;
#[cfg(feature = "schema")]
pub mod schema;
mod server;
mod stream;
mod support;
#[cfg(any(feature = "http-endpoint", feature = "metrics"))]
pub mod telemetry;
pub mod testing;
mod transport;
mod wire;

#[doc(hidden)]
#[path = "private.rs"]
pub mod __private;

pub use muxado_rpc_macros::{AppError, service};

#[cfg(feature = "axum")]
pub use self::server::axum::{axum_route, axum_upgrade};
#[cfg(feature = "__tls")]
pub use self::transport::tls::{
    client::ClientTls,
    error::{CertificateProblem, TlsConfigError, TlsError},
    server::ServerTls,
    socket::TlsSocket,
};
#[cfg(feature = "ws")]
pub use self::transport::websocket::socket::WebSocket;
#[cfg(feature = "__ws")]
pub use self::transport::websocket::{
    error::WebSocketError,
    io::WebSocketIo,
    message::{WebSocketFrame, WebSocketMessage},
    request::WebSocketRequest,
};
pub use self::{
    client::{
        backoff::Backoff,
        balanced::{self, Balanced, BalancedBuilder},
        box_channel::{BoxCall, BoxChannel, BoxChannelLayer},
        call::{CallResponse, ClientCall, ResponseCall},
        health::{HealthClient, HealthWatch},
        raw_call::RawCall,
        reconnect::{self, Reconnect},
        reflection::ReflectionClient,
    },
    codec::{Codec, UnknownCodec, shared_bytes},
    connection::{
        capabilities::{PeerCapabilities, ServiceCapability},
        channel::{CallFuture, Channel},
        metrics::{CallStats, Drained},
        peer::{ConnectError, Peer, PeerBuilder, connect},
        serving::{
            authorize::CallHead,
            context::Context,
            health::Health,
            inline_policy::Inline,
            router::{RegistrationError, Router, RouterFuture},
        },
        setup::CallService,
    },
    message::{
        BoxError,
        app_error::AppError,
        body::{Body, BodyEnd, BodyFrame},
        call_error::CallError,
        extensions::Extensions,
        health::HealthStatus,
        layered::Layered,
        limits::Limits,
        metadata::Metadata,
        method::{MethodInfo, NamedService, ServiceId, ServiceInfo, Shape},
        method_ref::MethodRef,
        payload::Payload,
        peer_id::PeerId,
        peer_info::PeerInfo,
        raw_error::RawError,
        reflection::{DescribedLimits, PeerDescription, ServiceSummary},
        request::Request,
        response::Response,
        service_schema::{MethodSchema, ParameterSchema, ServiceSchema},
        status::{Code, Executed, Origin, Status},
    },
    server::{Access, Bind, Handshake, IntoBinds, ListenError, Server, ServerBuilder, ServerStats},
    stream::streaming::Streaming,
    transport::{
        address::{Address, AddressError},
        child::ChildProcess,
        connector::BoxIo,
        credentials::UnixCredentials,
        identity::PeerCertificates,
        socket::Socket,
        target::{AddressFailure, IntoTargets},
    },
};

/// The former name of [`Body`].
#[deprecated(note = "renamed to `Body`")]
pub type Items = Body;

/// The former name of [`BodyEnd`].
#[deprecated(note = "renamed to `BodyEnd`")]
pub type ItemsEnd = BodyEnd;

/// The former name of [`PeerCapabilities`].
#[deprecated(note = "renamed to `PeerCapabilities`")]
pub type RemoteInfo = PeerCapabilities;

/// The former name of [`ServiceCapability`].
#[deprecated(note = "renamed to `ServiceCapability`")]
pub type RemoteService = ServiceCapability;

/// The trait of streams. A method that streams its response returns `impl Stream<Item = T>`.
pub use futures_core::Stream;
