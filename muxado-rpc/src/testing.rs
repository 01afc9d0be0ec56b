//! Connections in memory for tests of services, good and bad ones.
//!
//! The shortest way from an implementation to a client needs no connection. A generated server is a Tower service, as
//! a channel is, so a client can call it directly:
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
//! Time limits hold there, by tokio's clock. There are no limits on sizes, and tasks that a handler spawns do not end
//! with its call.
//!
//! [`serve`] connects a client over a connection in memory, with codec, limits and cancellation. [`pair`] returns both
//! ends of a connection, each of which may serve and call. [`Conditions`] make a connection slow, ragged or cut.
//!
//! All of it works in virtual time (`#[tokio::test(start_paused = true)]`).

mod conditions;

use tokio::io::duplex;
use tower_layer::Layer;

pub use self::conditions::{Conditions, Shaped};
use crate::{CallService, Channel, NamedService, Peer, PeerBuilder, RegistrationError, Router};

/// Returns a channel to a service, over a connection in memory.
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
/// Returns an error if the id of the service is reserved.
///
/// # Panics
///
/// Panics outside a tokio runtime.
pub fn serve<S>(service: S) -> Result<Channel, RegistrationError>
where
    S: CallService + NamedService + Sync,
{
    let (near, far) = pair(Peer::builder(), Peer::builder().serve(service))?;
    // Keeps the far end as long as the channel.
    tokio::spawn(async move { far.closed().await });
    Ok(near.channel())
}

/// Returns the two ends of a connection in memory. The first is the side that connected.
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
/// Returns an error if two services of one end have the same id.
///
/// # Panics
///
/// Panics outside a tokio runtime.
pub fn pair<N, F>(near: PeerBuilder<N>, far: PeerBuilder<F>) -> Result<(Peer, Peer), RegistrationError>
where
    N: Layer<Router, Service: CallService>,
    F: Layer<Router, Service: CallService>,
{
    let (near_io, far_io) = duplex(BUFFER);
    Ok((near.client(near_io)?, far.server(far_io)?))
}

/// Returns the two ends of a connection in memory, like [`pair`], under the given conditions.
///
/// # Errors
///
/// Returns an error if two services of one end have the same id.
///
/// # Panics
///
/// Panics outside a tokio runtime.
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
