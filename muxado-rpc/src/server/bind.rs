//! Where a server listens: addresses with what is set for each.

use std::net::SocketAddr;

use super::proxy_protocol::Network;
use crate::{Address, AddressError};

/// An address to listen on, with settings of its own, for [`ServerBuilder::listen`](crate::ServerBuilder::listen).
///
/// ```
/// use muxado_rpc::{Bind, Server};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let socket = Bind::to("unix:///run/app.sock").mode(0o660);
/// let server = Server::builder().listen([Bind::to("tcp://0.0.0.0:7000"), socket]).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "it does nothing until a server listens on it"]
pub struct Bind {
    pub(super) address: Result<Address, AddressError>,
    pub(super) mode: Option<u32>,
    /// Whose headers of the PROXY protocol are believed; `None` if there are no such headers.
    pub(super) proxies: Option<Vec<Network>>,
    /// Sites beside the server's own whose pages may connect.
    pub(super) origins: Vec<String>,
}

impl Bind {
    /// Describes a socket that listens on `address`. If the address is not valid, listening fails.
    pub fn to(address: impl TryInto<Address, Error: Into<AddressError>>) -> Self {
        Self {
            address: address.try_into().map_err(Into::into),
            mode: None,
            proxies: None,
            origins: Vec::new(),
        }
    }

    /// Sets the permissions of the file of a Unix socket, such as `0o660`. Who may write to the file may connect. They
    /// are in place before the first connection is possible. By default the system gives it those that the umask of the
    /// process leaves. Listening on any other address fails with this.
    pub fn mode(mut self, mode: u32) -> Self {
        self.mode = Some(mode);
        self
    }

    /// Expects a header of the PROXY protocol, version 1 or 2, in front of each connection: the socket is for the load
    /// balancers at these addresses, such as `10.0.0.5` or `10.0.0.0/8`, and for nobody else.
    ///
    /// The address of a peer is then the one that the header says, in [`PeerInfo`](crate::PeerInfo), in logs, and for
    /// [`Limits::max_connections_per_address`](crate::Limits::max_connections_per_address). Where the balancer speaks for
    /// itself or does not know, it is that of the balancer. The header comes before everything else, a handshake
    /// included, within [`Limits::handshake_timeout`](crate::Limits::handshake_timeout). Of version 2 it may have 2 064
    /// bytes.
    ///
    /// A connection from any other address is closed at once, and so is one without a valid header, each with a line in
    /// the log; [`ServerStats::refused_connections`](crate::ServerStats::refused_connections) counts them. On a Unix
    /// socket, whose file says who may connect, all are believed. If a source is not valid, listening fails.
    ///
    /// ```
    /// use muxado_rpc::{Bind, Server};
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let balanced = Bind::to("tcp://0.0.0.0:7000").proxy_protocol(["10.0.0.0/8"]);
    /// let server = Server::builder().listen([balanced, Bind::to("tcp://127.0.0.1:7001")]).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn proxy_protocol(mut self, trusted: impl IntoIterator<Item: AsRef<str>>) -> Self {
        let mut networks = Vec::new();
        for source in trusted {
            match source.as_ref().parse() {
                Ok(network) => networks.push(network),
                Err(()) => {
                    let problem = "it is no IP address or network of a trusted proxy";
                    let error =
                        AddressError::other(source.as_ref().to_owned(), problem, "10.0.0.5 or 10.0.0.0/8");
                    self.address = self.address.and(Err(error));
                }
            }
        }
        self.proxies = Some(networks);
        self
    }
}

#[cfg(feature = "ws")]
impl Bind {
    /// Lets pages of these sites connect to a socket of `ws://` or `wss://`, as in `https://app.example`, or of all with
    /// `*`. By default a browser may do so for pages of the server's own host alone: the header `Origin`, which browsers
    /// send, has to name the host and port of the header `Host`. What is no browser sends no `Origin`, and may connect.
    ///
    /// Others are answered with 403. On other addresses this changes nothing.
    ///
    /// ```
    /// use muxado_rpc::{Bind, Server};
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let bind = Bind::to("ws://127.0.0.1:7080/rpc").websocket_origins(["https://app.example"]);
    /// let server = Server::builder().listen(bind).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn websocket_origins(mut self, sites: impl IntoIterator<Item: Into<String>>) -> Self {
        self.origins = sites.into_iter().map(Into::into).collect();
        self
    }
}

/// Where a server listens: an [`Address`] or its text, a [`SocketAddr`], a [`Bind`], or a list of these.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is nothing to listen on",
    note = "an address is a `&str`, a `String`, an `Address`, a `SocketAddr` or a `Bind`; arrays, slices and `Vec`s of \
            one kind are taken, too"
)]
pub trait IntoBinds: sealed::Sealed {
    #[doc(hidden)]
    fn into_binds(self) -> Vec<Bind>;
}

mod sealed {
    /// Implemented here only.
    #[expect(unnameable_types, reason = "so that nobody else implements it")]
    pub trait Sealed {}
}

macro_rules! address_binds {
    ($($type:ty),*) => {$(
        impl sealed::Sealed for $type {}
        impl IntoBinds for $type {
            fn into_binds(self) -> Vec<Bind> {
                vec![Bind::to(self)]
            }
        }
    )*};
}

address_binds!(&str, String, &String, Address, &Address, SocketAddr);

impl sealed::Sealed for Bind {}
impl IntoBinds for Bind {
    fn into_binds(self) -> Vec<Bind> {
        vec![self]
    }
}

fn all<T: IntoBinds>(items: impl IntoIterator<Item = T>) -> Vec<Bind> {
    items.into_iter().flat_map(IntoBinds::into_binds).collect()
}

impl<T: IntoBinds, const N: usize> sealed::Sealed for [T; N] {}
impl<T: IntoBinds, const N: usize> IntoBinds for [T; N] {
    fn into_binds(self) -> Vec<Bind> {
        all(self)
    }
}

impl<T: IntoBinds + Clone, const N: usize> sealed::Sealed for &[T; N] {}
impl<T: IntoBinds + Clone, const N: usize> IntoBinds for &[T; N] {
    fn into_binds(self) -> Vec<Bind> {
        all(self.iter().cloned())
    }
}

impl<T: IntoBinds + Clone> sealed::Sealed for &[T] {}
impl<T: IntoBinds + Clone> IntoBinds for &[T] {
    fn into_binds(self) -> Vec<Bind> {
        all(self.iter().cloned())
    }
}

impl<T: IntoBinds> sealed::Sealed for Vec<T> {}
impl<T: IntoBinds> IntoBinds for Vec<T> {
    fn into_binds(self) -> Vec<Bind> {
        all(self)
    }
}

impl<T: IntoBinds + Clone> sealed::Sealed for &Vec<T> {}
impl<T: IntoBinds + Clone> IntoBinds for &Vec<T> {
    fn into_binds(self) -> Vec<Bind> {
        all(self.iter().cloned())
    }
}
