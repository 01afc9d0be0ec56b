//! What tests of services need: connections in memory, and bad ones.
//!
//! The shortest way from an implementation to a client has no connection at all, because a server is a
//! service as a channel is:
//!
//! ```
//! # #[muxado_rpc::service]
//! # pub trait Greeter { async fn hello(&self, name: String) -> String; }
//! # struct Polite;
//! # impl Greeter for Polite { async fn hello(&self, name: String) -> String { name } }
//! # async fn example() {
//! let greeter = GreeterClient::new(GreeterServer::new(Polite));
//! # }
//! ```
//!
//! Time limits hold there as they do elsewhere, by tokio's clock. There are no limits on sizes, and what a
//! handler spawns is not ended with its call.
//!
//! With [`serve`] there is one, in memory, with everything that belongs to it: codec, limits,
//! cancellation. With [`pair`] both ends serve and call. Over [`Conditions`] a connection is slow,
//! ragged or cut, as its test wants it.
//!
//! All of it works in virtual time (`#[tokio::test(start_paused = true)]`).

mod conditions;

use tokio::io::duplex;
use tower_layer::Layer;

pub use self::conditions::{Conditions, Shaped};
use crate::{CallService, Channel, NamedService, Peer, PeerBuilder, RegistrationError, Router};

/// A channel to this service, over a connection in memory.
///
/// ```
/// use muxado_rpc::testing;
///
/// #[muxado_rpc::service]
/// pub trait Greeter {
///     async fn hello(&self, name: String) -> String;
/// }
///
/// struct Polite;
/// impl Greeter for Polite {
///     async fn hello(&self, name: String) -> String { format!("hello {name}") }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let greeter = GreeterClient::new(testing::serve(GreeterServer::new(Polite))?);
/// assert_eq!(greeter.hello("Eve".to_owned()).await?, "hello Eve");
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// When the id of the service is reserved.
///
/// # Panics
///
/// Outside a tokio runtime.
pub fn serve<S>(service: S) -> Result<Channel, RegistrationError>
where
    S: CallService + NamedService + Sync,
{
    let (near, far) = pair(Peer::builder(), Peer::builder().serve(service))?;
    // The far end stays as long as the channel does.
    tokio::spawn(async move { far.closed().await });
    Ok(near.channel())
}

/// The two ends of a connection in memory, the first of which connected.
///
/// ```
/// use muxado_rpc::{Peer, testing};
///
/// # #[muxado_rpc::service]
/// # pub trait Greeter { async fn hello(&self, name: String) -> String; }
/// # #[derive(Clone)]
/// # struct Polite;
/// # impl Greeter for Polite { async fn hello(&self, name: String) -> String { name } }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let serving = || Peer::builder().serve(GreeterServer::new(Polite));
/// let (near, far) = testing::pair(serving(), serving())?;
/// for end in [&near, &far] {
///     assert_eq!(GreeterClient::new(end.channel()).hello("Eve".to_owned()).await?, "Eve");
/// }
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// When two services of one end have the same id.
///
/// # Panics
///
/// Outside a tokio runtime.
pub fn pair<N, F>(near: PeerBuilder<N>, far: PeerBuilder<F>) -> Result<(Peer, Peer), RegistrationError>
where
    N: Layer<Router, Service: CallService>,
    F: Layer<Router, Service: CallService>,
{
    let (near_io, far_io) = duplex(BUFFER);
    Ok((near.client(near_io)?, far.server(far_io)?))
}

/// The same, with the bytes under these conditions.
///
/// # Errors
///
/// When two services of one end have the same id.
///
/// # Panics
///
/// Outside a tokio runtime.
pub fn pair_under<N, F>(
    conditions: &Conditions,
    near: PeerBuilder<N>,
    far: PeerBuilder<F>,
) -> Result<(Peer, Peer), RegistrationError>
where
    N: Layer<Router, Service: CallService>,
    F: Layer<Router, Service: CallService>,
{
    let (near_io, far_io) = duplex(BUFFER);
    Ok((near.client(conditions.wrap(near_io))?, far.server(far_io)?))
}

/// Bytes on their way in one direction of a connection in memory.
const BUFFER: usize = 64 * 1024;
