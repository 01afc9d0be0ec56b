//! Lightweight RPC over [`muxado`]: a trait becomes a client and a server, and either peer
//! calls the other over one connection.
//!
//! ```
//! use muxado_rpc::{Peer, Server};
//!
//! #[muxado_rpc::service]
//! pub trait Calculator {
//!     async fn add(&self, a: i64, b: i64) -> i64;
//!     async fn divide(&self, a: f64, b: f64) -> Result<f64, String>;
//! }
//!
//! struct Exact;
//! impl Calculator for Exact {
//!     async fn add(&self, a: i64, b: i64) -> i64 { a + b }
//!     async fn divide(&self, a: f64, b: f64) -> Result<f64, String> {
//!         if b == 0.0 { Err("division by zero".to_owned()) } else { Ok(a / b) }
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let server = Server::builder().serve(CalculatorServer::new(Exact)).listen("tcp://127.0.0.1:0").await?;
//! let peer = Peer::builder().connect(server.local_addr()).await?;
//! let calculator = CalculatorClient::new(peer.channel());
//! assert_eq!(calculator.add(1, 2).await?, 3);
//! # assert_eq!(calculator.divide(1.0, 0.0).await.unwrap_err().app().unwrap(), "division by zero");
//! # Ok(())
//! # }
//! ```
//!
//! # What a call promises
//!
//! * **Isolation.** An unknown service or method, parameters that cannot be decoded, a message that is
//!   too large and a handler that panics are errors of that one call. (Of panics this holds for programs that
//!   unwind, the default; see [below](#panics).)
//! * **Errors.** [`CallError`] is the method's own error, or a [`Status`] that says who failed and
//!   whether the call may have been executed.
//! * **Cancellation.** Dropping a call's future resets its stream; the handler is dropped at once, and
//!   with it the tasks of its scope ([`Context::spawn`]). `#[method(no_cancel)]` is for what must finish.
//! * **Time limits** are set by the caller (`with_timeout`, `with_default_timeout`) or the method
//!   (`#[method(timeout_ms = 500)]`), travel with the request and are enforced on both sides; calls of
//!   a handler inherit what is left. There is none by default.
//! * **Streams** are ordinary signatures: a [`Streaming`] argument, an `impl Stream` answer. The call
//!   returns before the first item; an end that nobody announced is an error.
//! * **Limits** on sizes, calls in flight and connections are on by default; see [`Limits`]. Peers tell
//!   each other theirs, and the services they serve; see [`PeerCapabilities`].
//! * **Codecs.** The client chooses [`Codec::Json`] or [`Codec::MessagePack`] at run time
//!   (`with_codec`); a server takes both.
//!
//! # Both ways
//!
//! A [`Peer`] serves what it is given by `serve`, whichever side connected, and calls by its
//! [`Channel`]. A handler calls its caller back by [`Context::channel`]; the serving side calls first
//! from [`ServerBuilder::on_connect`].
//!
//! # Ends
//!
//! [`Server::shutdown`] and [`Peer::shutdown`] let calls under way finish, and say how many did. A
//! [`Reconnect`] makes new connections by itself, so that a server may restart without one failed call.
//!
//! # Panics
//!
//! A panic of a handler, a layer, a value that is encoded or dropped, or a hook is caught and is an error of the call
//! or connection that it belongs to; the caller gets [`Code::Internal`].
//!
//! This takes a program that unwinds. With `panic = "abort"` in the profile of the program nothing can be caught: a
//! panic anywhere, in a handler as well, ends the process at once (SIGABRT on Unix), and with it all its connections
//! and calls; nothing is shut down, and the callers see their connections break. Whoever can make one handler panic
//! can end such a server. Everything else works the same in both.
//!
//! # Tower
//!
//! A [`Channel`], a generated server and a [`Router`] are Tower services from [`Request`] to
//! [`Response`]. Clients are generic over any such service, so layers go around a channel, and a client
//! works straight over a server in the same process; its time limits hold there, too, inside a tokio runtime and outside. Layers around all services go to `layer` of the
//! builders, those around one to [`NamedService::layered`]. Errors of layers become statuses: of
//! `timeout` [`Code::DeadlineExceeded`], of `load_shed` [`Code::ResourceExhausted`].
//!
//! Layers for authentication, metadata, tracing and retries are in [`layers`].
//!
//! A request for a service or method that is not served is answered before any layer sees it.

mod client;
mod codec;
mod connection;
pub mod layers;
mod message;
mod server;
mod stream;
mod support;
pub mod testing;
mod transport;
mod wire;

#[doc(hidden)]
#[path = "private.rs"]
pub mod __private;

pub use muxado_rpc_macros::{AppError, service};

pub use self::{
    client::{
        backoff::Backoff,
        reconnect::{self, Reconnect},
    },
    codec::{Codec, UnknownCodec},
    connection::{
        capabilities::{PeerCapabilities, ServiceCapability},
        channel::{CallFuture, Channel},
        metrics::{CallStats, Drained},
        peer::{ConnectError, Peer, PeerBuilder},
        serving::{
            context::Context,
            router::{RegistrationError, Router, RouterFuture},
        },
        setup::CallService,
    },
    message::{
        BoxError,
        app_error::AppError,
        body::{Body, BodyEnd},
        call_error::CallError,
        extensions::Extensions,
        layered::Layered,
        limits::Limits,
        metadata::Metadata,
        method::{MethodInfo, NamedService, ServiceId, ServiceInfo, Shape},
        payload::Payload,
        peer_info::PeerInfo,
        request::Request,
        response::Response,
        status::{Code, Executed, Origin, Status},
    },
    server::{Handshake, ListenError, Server, ServerBuilder},
    stream::streaming::Streaming,
    transport::{address::AddressError, socket::Socket},
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

/// What a method that streams its answer returns: `-> impl Stream<Item = T>`.
pub use futures_core::Stream;
