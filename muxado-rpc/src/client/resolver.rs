//! Where the addresses of servers come from.

#[cfg(feature = "dns")]
pub(crate) mod dns;
pub(crate) mod system;

use std::{fmt, net::SocketAddr, time::Duration};

use async_trait::async_trait;

use crate::{Address, BoxError, transport::target::Target};

/// Finds the addresses of the servers that a [`Balanced`](crate::Balanced) client calls, and finds them again.
///
/// It is asked when the client is built, then again and again: every 30 s ([`BalancedBuilder::resolve_every`]), earlier
/// if the answer is valid for less, at once when a connection has ended, but never within 5 s after the last time
/// ([`BalancedBuilder::resolve_apart`]). Servers that are new are connected to and join once they are. Those that are gone
/// get no further calls, and calls under way to them finish. If it fails, the servers stay as they are.
///
/// Of this kind are [`SystemResolver`](crate::balanced::SystemResolver) and, with the feature `dns`, `DnsResolver`. Where
/// changes are told instead of asked for, a stream is simpler: [`BalancedBuilder::updates`].
///
/// ```
/// use std::{path::PathBuf, time::Duration};
///
/// use muxado_rpc::{Address, Balanced, BoxError, balanced::{Resolved, Resolver}};
///
/// /// A file with an address in each line.
/// struct Lines(PathBuf);
///
/// #[async_trait::async_trait]
/// impl Resolver for Lines {
///     async fn resolve(&mut self) -> Result<Resolved, BoxError> {
///         let path = self.0.clone();
///         let text = tokio::task::spawn_blocking(move || std::fs::read_to_string(path)).await??;
///         let addresses: Result<Vec<Address>, _> = text.lines().map(str::parse).collect();
///         Ok(Resolved::new(addresses?).valid_for(Duration::from_secs(10)))
///     }
///
///     fn name(&self) -> String {
///         self.0.display().to_string()
///     }
/// }
///
/// let builder = Balanced::builder().resolver(Lines("/run/servers".into()));
/// # let _ = builder;
/// ```
///
/// [`BalancedBuilder::resolve_every`]: crate::balanced::BalancedBuilder::resolve_every
/// [`BalancedBuilder::resolve_apart`]: crate::balanced::BalancedBuilder::resolve_apart
/// [`BalancedBuilder::updates`]: crate::balanced::BalancedBuilder::updates
#[async_trait]
pub trait Resolver: Send + 'static {
    /// Finds the addresses.
    ///
    /// The future is dropped after 30 s, which counts as a failure, as a panic does.
    ///
    /// # Errors
    ///
    /// Returns why they cannot be found now.
    async fn resolve(&mut self) -> Result<Resolved, BoxError>;

    /// Returns what it is called in logs and errors.
    fn name(&self) -> String {
        "the resolver".to_owned()
    }
}

/// The addresses that a [`Resolver`] has found.
///
/// ```
/// use std::net::SocketAddr;
///
/// use muxado_rpc::{Address, balanced::Resolved};
///
/// let host: Address = "tls://workers.example:7000".parse()?;
/// let mut found = Resolved::new([SocketAddr::from(([10, 0, 0, 7], 7000)).into()]);
/// // The certificate is that of the name, the address is one that was looked up.
/// found.push_at(host, ([10, 0, 0, 8], 7000).into());
/// assert_eq!(found.len(), 2);
/// # Ok::<_, muxado_rpc::AddressError>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Resolved {
    servers: Vec<Server>,
    valid_for: Option<Duration>,
}

/// A server: its address, where it is if that was looked up, and its priority.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Server {
    address: Address,
    at: Option<SocketAddr>,
    pub(super) priority: u16,
}

impl Server {
    pub(super) fn target(&self) -> Target {
        match self.at {
            Some(at) => Target::Resolved(self.address.clone(), at),
            None => Target::Address(self.address.clone()),
        }
    }
}

impl Resolved {
    /// Creates an answer of these addresses. It may be empty: then there are no servers.
    pub fn new(addresses: impl IntoIterator<Item = Address>) -> Self {
        let mut resolved = Self::default();
        addresses.into_iter().for_each(|address| resolved.push(address));
        resolved
    }

    /// Adds an address.
    pub fn push(&mut self, address: Address) {
        self.servers.push(Self::server(address));
    }

    pub(super) const fn server(address: Address) -> Server {
        Server { address, at: None, priority: 0 }
    }

    /// Adds a `tcp://` or `tls://` address whose host was looked up: the client connects to `at`, and expects the
    /// certificate of the host. For other addresses it is the same as [`push`](Self::push).
    pub fn push_at(&mut self, address: Address, at: SocketAddr) {
        self.push_prioritized(address, at, 0);
    }

    /// Adds an address whose server is called if none of a lower number is connected.
    pub(crate) fn push_prioritized(&mut self, address: Address, at: SocketAddr, priority: u16) {
        let server = match address.with_host(&at.ip().to_string(), at.port()) {
            // Without a name to be checked, what counts is where it is.
            Some(_) if !address.is_named() => Server { address: at.into(), at: None, priority },
            Some(_) => Server { address, at: Some(at), priority },
            None => Server { address, at: None, priority },
        };
        self.servers.push(server);
    }

    /// Sets how long the answer holds at most. By default it holds until the resolver is asked again anyway.
    #[must_use]
    pub fn valid_for(mut self, time: Duration) -> Self {
        self.valid_for = Some(time);
        self
    }

    /// Returns the number of addresses.
    pub fn len(&self) -> usize {
        self.servers.len()
    }

    /// Returns whether there is no address.
    pub fn is_empty(&self) -> bool {
        self.servers.is_empty()
    }

    pub(super) fn into_parts(self) -> (Vec<Server>, Option<Duration>) {
        (self.servers, self.valid_for)
    }
}

impl From<Vec<Address>> for Resolved {
    fn from(addresses: Vec<Address>) -> Self {
        Self::new(addresses)
    }
}

impl fmt::Debug for Resolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.servers.iter().map(|server| server.target().name());
        f.debug_list().entries(names).finish()
    }
}

/// Bounds how long a looked-up answer holds by the time to live of its records.
#[cfg(feature = "dns")]
pub(crate) fn sooner(one: Option<Duration>, other: Duration) -> Option<Duration> {
    Some(one.map_or(other, |one| one.min(other)))
}
