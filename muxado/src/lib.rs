//! A stream multiplexer: many streams over one connection, by the muxado protocol.
//!
//! A [`Session`] runs over any `AsyncRead + AsyncWrite`. Either side opens and accepts [`Stream`]s,
//! each an `AsyncRead + AsyncWrite` with flow control of its own. The wire protocol is that of the Go
//! original and of ngrok's Rust crate, byte for byte.
//!
//! ```
//! use muxado::{Config, Session};
//! use tokio::io::{AsyncReadExt, AsyncWriteExt};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> std::io::Result<()> {
//! let (near, far) = tokio::io::duplex(64 * 1024); // any transport: TCP, TLS, a Unix socket
//! let (client, driver) = Session::client(near, Config::default());
//! tokio::spawn(driver);
//! let (server, driver) = Session::server(far, Config::default());
//! tokio::spawn(driver);
//!
//! tokio::spawn(async move {
//!     while let Some(mut stream) = server.accept().await {
//!         tokio::spawn(async move {
//!             let (mut reader, mut writer) = tokio::io::split(&mut stream);
//!             tokio::io::copy(&mut reader, &mut writer).await?;
//!             writer.shutdown().await
//!         });
//!     }
//! });
//!
//! let mut stream = client.open().await?;
//! stream.write_all(b"echo").await?;
//! stream.shutdown().await?;
//! let mut answer = String::new();
//! stream.read_to_string(&mut answer).await?;
//! assert_eq!(answer, "echo");
//! # Ok(())
//! # }
//! ```
//!
//! # Layers
//!
//! ```text
//!  TypedSession, Heartbeat     a u32 in front of each stream; signs of life
//!  Session, Stream             cheap handles, which decide nothing
//!  Driver                      the one task that owns the transport
//!  proto                       the protocol: no I/O, no clock, no lock, no runtime
//! ```
//!
//! # Other libraries over a session
//!
//! [`Session::into_listener`] makes a listener of a session, whose connections are the streams that the peer opens, and
//! [`Session::open`] is what a connector needs. So a server or a client of HTTP runs over a connection that either side has
//! opened, for instance an agent behind a NAT. See [`SessionListener`] and `SessionConnector` for axum, hyper and tonic.
//! [`Session::keepalive`] finds out whether the peer is alive, whatever it is.
//!
//! # Features
//!
//! | feature | what it adds |
//! |---|---|
//! | `tokio` (default) | everything except [`proto`] |
//! | `axum` | [`SessionListener`] for `axum::serve` |
//! | `hyper` | `Session::connector`, for the clients of hyper-util and tonic |
//! | `tonic` | [`Stream`] as a connection of tonic's server, and `hyper` |

#[cfg(feature = "hyper")]
mod connector;
#[cfg(feature = "tokio")]
mod control;
#[cfg(feature = "tokio")]
mod driver;
#[cfg(feature = "tokio")]
mod heartbeat;
#[cfg(feature = "tokio")]
mod listener;
// Two attributes, because clippy recognises tests by this very one.
#[cfg(test)]
#[cfg(feature = "tokio")]
mod models;
#[cfg(feature = "tokio")]
mod session;
#[cfg(feature = "tokio")]
mod shared;
#[cfg(feature = "tokio")]
mod split;
#[cfg(feature = "tokio")]
mod stream;
#[cfg(feature = "tokio")]
mod sync;
#[cfg(feature = "tokio")]
mod typed;

mod config;
mod error;
mod log_limit;
pub mod proto;
#[doc(hidden)]
pub mod rpc;

#[cfg(feature = "hyper")]
pub use self::connector::{Connecting, SessionConnector};
#[expect(deprecated, reason = "the old name of `PingError`")]
pub use self::error::BeatError;
pub use self::{
    config::Config,
    error::{ErrorCode, GoAway, OpenError, PingError, ReadError, SessionEnd, SessionError, WriteError},
    proto::{HeartbeatConfig, HeartbeatEvent, OnFailure, SessionStats, Side, StreamId},
};
#[cfg(feature = "tokio")]
pub use self::{
    control::ControlStreams,
    driver::Driver,
    heartbeat::Heartbeat,
    listener::{SessionAddr, SessionListener},
    session::{Open, Session},
    split::{RecvStream, SendStream},
    stream::Stream,
    typed::{OpenTyped, StreamType, TypedSession, TypedStream},
};
