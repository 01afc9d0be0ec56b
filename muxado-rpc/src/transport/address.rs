//! Where to listen and where to connect to.

use std::{
    convert::Infallible,
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
    str::FromStr,
};

/// The address of a server: `tcp://host:port`, `tls://host:port` or `unix:///path`.
///
/// [`Server::local_addr`](crate::Server::local_addr) returns one. Methods that take an address accept an `Address`,
/// a reference to one, or text, which they parse.
///
/// ```
/// use muxado_rpc::Address;
///
/// let tcp: Address = "tcp://127.0.0.1:7000".parse()?;
/// assert_eq!(tcp.socket_addr().unwrap().port(), 7000);
/// assert_eq!(tcp.to_string(), "tcp://127.0.0.1:7000");
///
/// let unix: Address = "unix:///run/app.sock".parse()?;
/// assert_eq!(unix.path().unwrap().to_str(), Some("/run/app.sock"));
/// # Ok::<_, muxado_rpc::AddressError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    kind: AddressKind,
}

/// What an address says, by its scheme.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum AddressKind {
    /// Host, which may be a name, and port.
    Tcp(String),
    /// The same, for TLS over TCP.
    Tls(String),
    /// Path of a socket.
    Unix(PathBuf),
}

impl Address {
    /// Creates the address of the Unix socket at `path`.
    pub fn unix(path: impl Into<PathBuf>) -> Self {
        Self { kind: AddressKind::Unix(path.into()) }
    }

    /// Returns the IP address and port of a `tcp://` or `tls://` address. `None` for a host that is given by name, and
    /// for a Unix socket.
    pub fn socket_addr(&self) -> Option<SocketAddr> {
        match &self.kind {
            AddressKind::Tcp(host) | AddressKind::Tls(host) => host.parse().ok(),
            AddressKind::Unix(_) => None,
        }
    }

    /// Returns the path of a `unix://` address.
    pub fn path(&self) -> Option<&Path> {
        match &self.kind {
            AddressKind::Tcp(_) | AddressKind::Tls(_) => None,
            AddressKind::Unix(path) => Some(path),
        }
    }

    /// Returns the address of TLS at an address of TCP.
    pub(crate) fn tls(address: SocketAddr) -> Self {
        Self { kind: AddressKind::Tls(address.to_string()) }
    }

    pub(crate) const fn kind(&self) -> &AddressKind {
        &self.kind
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(address: &str) -> Result<Self, AddressError> {
        let wrong = |problem| AddressError { address: address.to_owned(), problem };
        match address.split_once("://") {
            Some((scheme @ ("tcp" | "tls"), host)) => match host.trim_end_matches('/').rsplit_once(':') {
                Some((name, port)) if !name.is_empty() && port.parse::<u16>().is_ok() => {
                    let kind = if scheme == "tls" { AddressKind::Tls } else { AddressKind::Tcp };
                    Ok(Self { kind: kind(host.trim_end_matches('/').to_owned()) })
                }
                _ => Err(wrong("it needs a host and a port")),
            },
            Some(("unix", "")) => Err(wrong("it needs a path")),
            Some(("unix", path)) => Ok(Self::unix(path)),
            Some(_) => Err(wrong("its scheme is not known")),
            None => Err(wrong("it has no scheme")),
        }
    }
}

/// Prints the address as it is parsed.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            AddressKind::Tcp(host) => f.pad(&format!("tcp://{host}")),
            AddressKind::Tls(host) => f.pad(&format!("tls://{host}")),
            AddressKind::Unix(path) => f.pad(&format!("unix://{}", path.display())),
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self { kind: AddressKind::Tcp(address.to_string()) }
    }
}

impl From<&Self> for Address {
    fn from(address: &Self) -> Self {
        address.clone()
    }
}

impl TryFrom<&str> for Address {
    type Error = AddressError;

    fn try_from(address: &str) -> Result<Self, AddressError> {
        address.parse()
    }
}

impl TryFrom<String> for Address {
    type Error = AddressError;

    fn try_from(address: String) -> Result<Self, AddressError> {
        address.parse()
    }
}

impl TryFrom<&String> for Address {
    type Error = AddressError;

    fn try_from(address: &String) -> Result<Self, AddressError> {
        address.parse()
    }
}

/// The error of a text that is not a valid [`Address`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{address:?} is not a valid address: {problem}; use tcp://host:port, tls://host:port or unix:///path"
)]
pub struct AddressError {
    address: String,
    problem: &'static str,
}

impl From<Infallible> for AddressError {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_parse_and_print() {
        for text in [
            "tcp://127.0.0.1:7000",
            "tcp://[::1]:0",
            "tcp://example.org:80",
            "tls://example.org:443",
            "unix:///tmp/x.sock",
        ] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn accessors_return_what_an_address_has() {
        let of = |text: &str| text.parse::<Address>().unwrap();
        let ip = of("tcp://[::1]:7000");
        assert_eq!((ip.socket_addr(), ip.path()), (Some("[::1]:7000".parse().unwrap()), None));
        assert_eq!(ip, Address::from(ip.socket_addr().unwrap()));
        assert_eq!(of("tcp://localhost:7000").socket_addr(), None);
        let unix = of("unix:///tmp/x.sock");
        assert_eq!((unix.socket_addr(), unix.path()), (None, Some(Path::new("/tmp/x.sock"))));
        assert_eq!(unix, Address::unix("/tmp/x.sock"));
    }

    #[test]
    fn errors_say_what_is_missing() {
        for (text, problem) in [
            ("127.0.0.1:7000", "no scheme"),
            ("tcp://127.0.0.1", "a port"),
            ("tcp://:80", "a host"),
            ("tcp://a:99999", "a port"),
            ("tls://a", "a port"),
            ("http://a:80", "not known"),
            ("unix://", "a path"),
        ] {
            let error = text.parse::<Address>().unwrap_err().to_string();
            assert!(error.contains(problem) && error.contains(text), "{error}");
        }
    }
}
