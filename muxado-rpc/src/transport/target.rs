//! What a client connects to: addresses and connectors, one or several.

use std::{fmt, io, net::SocketAddr, sync::Arc};

use tokio::time::Instant;

use super::{
    address::{Address, AddressError},
    connector::{Connector, Io},
    dial::{DialOptions, Dialed, dial},
    race::{no_answer, race},
    tcp::Unreachable,
};
use crate::support::{
    panics, timer,
    truncate::{Brief, Escaped, brief},
};

/// One place to connect to.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    Address(Address),
    /// An address whose host was looked up: its server at this IP address and port.
    Resolved(Address, SocketAddr),
    Connector(Arc<dyn Connector>),
}

impl Target {
    /// Makes a transport before the deadline.
    pub(crate) async fn connect(
        &self,
        options: &DialOptions,
        deadline: Option<Instant>,
    ) -> io::Result<Dialed> {
        let mut dialed = self.dial(options, deadline).await?;
        dialed.io = options.wrap.around(dialed.io);
        Ok(dialed)
    }

    async fn dial(&self, options: &DialOptions, deadline: Option<Instant>) -> io::Result<Dialed> {
        match self {
            Self::Address(address) => dial(address, options, deadline).await,
            Self::Resolved(address, at) => {
                dial(address, &DialOptions { at: Some(*at), ..options.clone() }, deadline).await
            }
            Self::Connector(connector) => match timer::before(deadline, connector.connect()).await {
                Some(connected) => connected.map(Dialed::from),
                None => {
                    let problem = format!("{} within connect_timeout", no_answer());
                    Err(io::Error::new(io::ErrorKind::TimedOut, problem))
                }
            },
        }
    }

    /// Returns the address, if there is one: that of a connector is the user's to say.
    pub(crate) fn address(&self) -> Option<String> {
        match self {
            Self::Address(address) => Some(address.to_string()),
            Self::Resolved(address, at) => Some(format!("{address} ({at})")),
            Self::Connector(connector) => {
                panics::catch(|| connector.address().map(str::to_owned)).ok().flatten()
            }
        }
    }

    pub(crate) fn name(&self) -> String {
        self.address().unwrap_or_else(|| "the peer".to_owned())
    }
}

/// Connects to the first of several places that takes the connection.
///
/// # Errors
///
/// Returns why each failed.
pub(crate) async fn connect_to_any(
    targets: Vec<Target>,
    options: &DialOptions,
) -> Result<(Target, Dialed), Vec<AddressFailure>> {
    let deadline = Instant::now().checked_add(options.connect_timeout);
    let connect = |target: &Target| {
        let target = target.clone();
        async move { target.connect(options, deadline).await.map(|dialed| (target, dialed)) }
    };
    let failed = |(target, source): (Target, io::Error)| AddressFailure::new(target.name(), source);
    // Each attempt keeps to the deadline, and says what it came to.
    race(targets, None, connect).await.map_err(|all| all.into_iter().map(failed).collect())
}

/// What a client connects to: an [`Address`] or its text, a [`SocketAddr`], a closure or `Arc` that is a
/// [`Connector`](crate::reconnect::Connector), or a list of these.
///
/// Of a list the first that takes the connection counts: each is tried 250 ms after the one before, or at once when
/// that one has failed.
///
/// ```no_run
/// use tokio::net::TcpStream;
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let one = muxado_rpc::connect("tcp://one.example:7000").await?;
/// let any = muxado_rpc::connect(["unix:///run/app.sock", "tcp://one.example:7000"]).await?;
/// let own = muxado_rpc::connect(|| TcpStream::connect("one.example:7000")).await?;
/// # Ok(())
/// # }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is nothing to connect to",
    note = "an address is a `&str`, a `String`, an `Address` or a `SocketAddr`; a connector is a closure without \
            arguments that returns a future of `io::Result<T>`; arrays, slices and `Vec`s of one kind are taken, too"
)]
pub trait IntoTargets: sealed::Sealed {
    #[doc(hidden)]
    fn into_targets(self) -> Result<Targets, AddressError>;
}

mod sealed {
    /// Implemented here only.
    #[expect(unnameable_types, reason = "so that nobody else implements it")]
    pub trait Sealed {}
}

/// Places to connect to.
#[doc(hidden)]
#[derive(Clone, Debug)]
pub struct Targets(pub(crate) Vec<Target>);

macro_rules! address_targets {
    ($($type:ty),*) => {$(
        impl sealed::Sealed for $type {}
        impl IntoTargets for $type {
            fn into_targets(self) -> Result<Targets, AddressError> {
                Ok(Targets(vec![Target::Address(Address::try_from(self)?)]))
            }
        }
    )*};
}

address_targets!(&str, String, &String, Address, &Address, SocketAddr);

impl<F, Fut, T> sealed::Sealed for F
where
    F: Fn() -> Fut + Send + Sync + 'static,
    Fut: Future<Output = io::Result<T>> + Send,
    T: Io + 'static,
{
}

impl<F, Fut, T> IntoTargets for F
where
    F: Fn() -> Fut + Send + Sync + 'static,
    Fut: Future<Output = io::Result<T>> + Send,
    T: Io + 'static,
{
    fn into_targets(self) -> Result<Targets, AddressError> {
        Ok(Targets(vec![Target::Connector(Arc::new(self))]))
    }
}

impl sealed::Sealed for Arc<dyn Connector> {}
impl IntoTargets for Arc<dyn Connector> {
    fn into_targets(self) -> Result<Targets, AddressError> {
        Ok(Targets(vec![Target::Connector(self)]))
    }
}

fn all<T: IntoTargets>(items: impl IntoIterator<Item = T>) -> Result<Targets, AddressError> {
    let mut targets = Vec::new();
    for item in items {
        targets.extend(item.into_targets()?.0);
    }
    Ok(Targets(targets))
}

impl<T: IntoTargets, const N: usize> sealed::Sealed for [T; N] {}
impl<T: IntoTargets, const N: usize> IntoTargets for [T; N] {
    fn into_targets(self) -> Result<Targets, AddressError> {
        all(self)
    }
}

impl<T: IntoTargets + Clone, const N: usize> sealed::Sealed for &[T; N] {}
impl<T: IntoTargets + Clone, const N: usize> IntoTargets for &[T; N] {
    fn into_targets(self) -> Result<Targets, AddressError> {
        all(self.iter().cloned())
    }
}

impl<T: IntoTargets + Clone> sealed::Sealed for &[T] {}
impl<T: IntoTargets + Clone> IntoTargets for &[T] {
    fn into_targets(self) -> Result<Targets, AddressError> {
        all(self.iter().cloned())
    }
}

impl<T: IntoTargets> sealed::Sealed for Vec<T> {}
impl<T: IntoTargets> IntoTargets for Vec<T> {
    fn into_targets(self) -> Result<Targets, AddressError> {
        all(self)
    }
}

impl<T: IntoTargets + Clone> sealed::Sealed for &Vec<T> {}
impl<T: IntoTargets + Clone> IntoTargets for &Vec<T> {
    fn into_targets(self) -> Result<Targets, AddressError> {
        all(self.iter().cloned())
    }
}

/// An address, and why it could not be connected to or listened on. [`ConnectError`](crate::ConnectError) and
/// [`ListenError`](crate::ListenError) have one for each of several addresses.
#[derive(Debug, thiserror::Error)]
#[error("{}: {}", Escaped(.address), Shown(.source))]
pub struct AddressFailure {
    address: String,
    source: io::Error,
}

impl AddressFailure {
    pub(crate) fn new(address: String, source: io::Error) -> Self {
        Self { address, source }
    }

    /// Returns the address; `the peer` for a connector that has none.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Returns why it failed.
    pub fn error(&self) -> &io::Error {
        &self.source
    }

    pub(crate) fn into_parts(self) -> (String, io::Error) {
        (self.address, self.source)
    }
}

/// Shows why there is no connection. What may quote a peer is cut short, a list of addresses is not.
pub(crate) struct Shown<'a>(pub(crate) &'a io::Error);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let own = self.0.get_ref().is_some_and(|inner| inner.is::<Unreachable>());
        if own { f.write_str(&brief(self.0, MAX_LIST)) } else { Brief(self.0).fmt(f) }
    }
}

/// Shows several failures, one behind the other.
pub(crate) struct Failures<'a>(pub(crate) &'a [AddressFailure]);

impl fmt::Display for Failures<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, failure) in self.0.iter().take(MAX_FAILURES).enumerate() {
            let between = if at == 0 { "" } else { "; " };
            write!(f, "{between}{failure}")?;
        }
        match self.0.len().saturating_sub(MAX_FAILURES) {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}

/// Bytes that are shown of what became of the addresses of one name.
const MAX_LIST: usize = 2048;

/// Failures that are shown of one error.
const MAX_FAILURES: usize = 16;
