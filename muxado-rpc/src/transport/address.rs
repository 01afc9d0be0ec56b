//! Where to listen and where to connect to.

use std::{
    convert::Infallible,
    ffi::OsString,
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
    str::FromStr,
};

use crate::transport::words;

/// The address of a server, as text: how it is reached, and where it is.
///
/// | text | what |
/// |---|---|
/// | `tcp://host:port` | TCP; the host is a name, an IPv4 address, or an IPv6 address in brackets |
/// | `tls://host:port` | TLS over TCP (feature `tls`) |
/// | `ws://host/path` | WebSocket (feature `ws`); `host:port` where the port is not 80; a server without a path takes all |
/// | `wss://host/path` | WebSocket over TLS (features `ws` and `tls`); the port is 443 unless there is another one |
/// | `unix:///path` | a Unix socket by its file; a path without the first `/` is relative |
/// | `unix:@name` | a Unix socket by a name that is in no file system (Linux) |
/// | `exec:program args` | a child process that serves on its standard input and output; to connect to only |
/// | `fd:3` | a socket that was passed to this process as this file descriptor (`LISTEN_FDS`); to listen on only, with the feature `socket-activation` |
/// | `sd-listen`, `sd-listen:name` | all sockets that systemd has passed, or those of this name (`FileDescriptorName=`); the same |
///
/// [`Server::local_addr`](crate::Server::local_addr) returns one. Methods that take an address accept an `Address`,
/// a reference to one, a [`SocketAddr`], or text, which they parse.
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
///
/// let child: Address = "exec:/usr/lib/app/plugin --name 'a b'".parse()?;
/// assert_eq!(child, Address::exec("/usr/lib/app/plugin", ["--name", "a b"]));
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
    /// Host and port, for TLS over TCP.
    Tls(String),
    /// WebSocket, over TLS or without.
    WebSocket(WebSocketUrl),
    /// Path of a socket. One that begins with a zero byte is the name of an abstract socket.
    Unix(PathBuf),
    /// A program, and what is passed to it.
    Exec(String, Vec<String>),
    /// A socket that was passed to this process.
    Fd(u32),
    /// All sockets that were passed to this process, or those of a name.
    Passed(Option<String>),
}

/// Where a WebSocket is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct WebSocketUrl {
    pub(crate) is_secure: bool,
    /// Host, which may be a name, and port if one was given.
    host: String,
    /// Path and query, which may be empty.
    pub(crate) path: String,
}

impl WebSocketUrl {
    /// Returns host and port.
    pub(crate) fn host(&self) -> String {
        let port_follows = self.host.rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']'));
        match (port_follows, self.is_secure) {
            (true, _) => self.host.clone(),
            (false, false) => format!("{}:80", self.host),
            (false, true) => format!("{}:443", self.host),
        }
    }

    pub(crate) const fn scheme(&self) -> &'static str {
        if self.is_secure { "wss" } else { "ws" }
    }
}

impl fmt::Display for WebSocketUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme(), self.host, self.path)
    }
}

impl Address {
    /// Creates the address of the Unix socket at `path`.
    pub fn unix(path: impl Into<PathBuf>) -> Self {
        Self { kind: AddressKind::Unix(path.into()) }
    }

    /// Creates the address of a child process: the program, which is looked for in `PATH` if it has no `/`, and its
    /// arguments. No shell is involved.
    pub fn exec(program: impl Into<String>, args: impl IntoIterator<Item: Into<String>>) -> Self {
        Self { kind: AddressKind::Exec(program.into(), args.into_iter().map(Into::into).collect()) }
    }

    /// Returns the IP address and port of an address of TCP, TLS or WebSocket. `None` for a host that is given by name, and for
    /// other schemes.
    pub fn socket_addr(&self) -> Option<SocketAddr> {
        match &self.kind {
            AddressKind::Tcp(host) | AddressKind::Tls(host) => host.parse().ok(),
            AddressKind::WebSocket(url) => url.host().parse().ok(),
            _ => None,
        }
    }

    /// Returns the path of a `unix://` address. `None` for the name of an abstract socket, and for other schemes.
    pub fn path(&self) -> Option<&Path> {
        match &self.kind {
            AddressKind::Unix(path) if abstract_name(path).is_none() => Some(path),
            _ => None,
        }
    }

    /// Returns the host and the port of an address that has them, the host as it was given.
    pub(crate) fn host_and_port(&self) -> Option<(String, u16)> {
        let host = match &self.kind {
            AddressKind::Tcp(host) | AddressKind::Tls(host) => host.clone(),
            AddressKind::WebSocket(url) => url.host(),
            _ => return None,
        };
        let (host, port) = host.rsplit_once(':')?;
        Some((host.to_owned(), port.parse().ok()?))
    }

    /// Returns the address of the same kind at another host and port.
    pub(crate) fn with_host(&self, host: &str, port: u16) -> Option<Self> {
        let host = format!("{host}:{port}");
        let kind = match &self.kind {
            AddressKind::Tcp(_) => AddressKind::Tcp(host),
            AddressKind::Tls(_) => AddressKind::Tls(host),
            AddressKind::WebSocket(url) => AddressKind::WebSocket(WebSocketUrl { host, ..url.clone() }),
            _ => return None,
        };
        Some(Self { kind })
    }

    /// Whether the host of the address is a part of what its server is asked for: the name in a certificate, or that of a
    /// WebSocket.
    pub(crate) const fn is_named(&self) -> bool {
        matches!(self.kind, AddressKind::Tls(_) | AddressKind::WebSocket(_))
    }

    /// Returns the address of TLS at an address of TCP.
    pub(crate) fn tls(address: SocketAddr) -> Self {
        Self { kind: AddressKind::Tls(address.to_string()) }
    }

    /// Returns the address of the same WebSocket at an address of TCP.
    #[cfg(feature = "ws")]
    pub(crate) fn websocket(url: &WebSocketUrl, address: SocketAddr) -> Self {
        Self { kind: AddressKind::WebSocket(WebSocketUrl { host: address.to_string(), ..url.clone() }) }
    }

    pub(crate) const fn kind(&self) -> &AddressKind {
        &self.kind
    }
}

/// Returns the name of an abstract socket, without the zero byte; `None` for the path of a file.
fn abstract_name(path: &Path) -> Option<&str> {
    path.to_str()?.strip_prefix('\0')
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(address: &str) -> Result<Self, AddressError> {
        let wrong = |problem| AddressError { address: address.to_owned(), problem, usage: USAGE };
        let known = |scheme: &&str| !scheme.contains("://");
        let kind = match address
            .split_once(':')
            .map(|(scheme, rest)| (scheme, rest.strip_prefix("//").unwrap_or(rest)))
        {
            Some(("unix", rest)) => unix(address, rest),
            None if address == "sd-listen" => Ok(AddressKind::Passed(None)),
            Some(("sd-listen", "")) => Err("it needs a name behind the colon"),
            Some(("sd-listen", name)) => Ok(AddressKind::Passed(Some(name.to_owned()))),
            Some(("fd", number)) => number.parse().map(AddressKind::Fd).map_err(|_| "it needs a number"),
            Some(("exec", _)) => exec(&address["exec:".len()..]),
            Some(("tcp", rest)) if address.starts_with("tcp://") => host_and_port(rest).map(AddressKind::Tcp),
            Some(("tls", rest)) if address.starts_with("tls://") => host_and_port(rest).map(AddressKind::Tls),
            Some(("ws", rest)) if address.starts_with("ws://") => websocket(rest, false),
            Some(("wss", rest)) if address.starts_with("wss://") => websocket(rest, true),
            Some((scheme, _)) if address[scheme.len()..].starts_with("://") && known(&scheme) => {
                Err("its scheme is not known")
            }
            _ => Err("it has no scheme"),
        };
        kind.map(|kind| Self { kind }).map_err(wrong)
    }
}

fn host_and_port(host: &str) -> Result<String, &'static str> {
    let host = host.trim_end_matches('/');
    match host.rsplit_once(':') {
        Some((name, port)) if !name.is_empty() && port.parse::<u16>().is_ok() => Ok(host.to_owned()),
        _ => Err("it needs a host and a port"),
    }
}

fn websocket(rest: &str, is_secure: bool) -> Result<AddressKind, &'static str> {
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let (name, port) = match host.strip_prefix('[').and_then(|host| host.split_once(']')) {
        Some((name, port)) => (name, port.strip_prefix(':').or_else(|| port.is_empty().then_some("0"))),
        None => host.split_once(':').map_or((host, Some("0")), |(name, port)| (name, Some(port))),
    };
    let is_plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic() && !b"@#".contains(&byte));
    if name.is_empty() || !is_plain(name) || name.contains('?') {
        return Err("it needs a host, without a user");
    }
    if port.is_none_or(|port| port.parse::<u16>().is_err()) {
        return Err("its port is no number");
    }
    if !is_plain(path) {
        return Err("its path must be ASCII without spaces and fragment; other characters are written %XX");
    }
    Ok(AddressKind::WebSocket(WebSocketUrl { is_secure, host: host.to_owned(), path: path.to_owned() }))
}

fn unix(address: &str, path: &str) -> Result<AddressKind, &'static str> {
    let is_url = address.starts_with("unix://");
    match path.strip_prefix('@') {
        Some(_) if is_url => {
            Err("the name of an abstract socket is written unix:@name, a file unix://./@name")
        }
        Some("") => Err("it needs a name"),
        Some(name) => Ok(AddressKind::Unix(OsString::from(format!("\0{name}")).into())),
        None if path.is_empty() => Err("it needs a path"),
        None => Ok(AddressKind::Unix(path.into())),
    }
}

fn exec(line: &str) -> Result<AddressKind, &'static str> {
    let mut words = words::split(line)?.into_iter();
    match words.next() {
        Some(program) if !program.is_empty() => Ok(AddressKind::Exec(program, words.collect())),
        _ => Err("it needs a program"),
    }
}

/// Prints the address as it is parsed.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match &self.kind {
            AddressKind::Tcp(host) => format!("tcp://{host}"),
            AddressKind::Tls(host) => format!("tls://{host}"),
            AddressKind::WebSocket(url) => url.to_string(),
            AddressKind::Unix(path) => match abstract_name(path) {
                Some(name) => format!("unix:@{name}"),
                None if path.to_string_lossy().starts_with('@') => format!("unix://./{}", path.display()),
                None => format!("unix://{}", path.display()),
            },
            AddressKind::Fd(number) => format!("fd:{number}"),
            AddressKind::Passed(None) => "sd-listen".to_owned(),
            AddressKind::Passed(Some(name)) => format!("sd-listen:{name}"),
            AddressKind::Exec(program, args) => {
                let words = std::iter::once(program).chain(args);
                format!("exec:{}", words::join(words.map(String::as_str)))
            }
        };
        f.pad(&text)
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
#[error("{address:?} is not a valid address: {problem}; use {usage}")]
pub struct AddressError {
    address: String,
    problem: &'static str,
    usage: &'static str,
}

/// What an address may be.
const USAGE: &str = "tcp://host:port, tls://host:port, ws://host/path, wss://host/path, unix:///path, unix:@name, \
                     exec:program args, fd:3 or sd-listen:name";

impl AddressError {
    /// The error of a text that is not even meant as the address of a server.
    pub(crate) const fn other(address: String, problem: &'static str, usage: &'static str) -> Self {
        Self { address, problem, usage }
    }
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
            "ws://127.0.0.1:7000",
            "ws://example.org",
            "wss://[::1]/rpc/v1?a=b",
            "wss://[::1]:7000/",
            "unix:///tmp/x.sock",
            "unix:@muxado",
            "unix://relative",
            "exec:plugin",
            "fd:3",
            "sd-listen",
            "sd-listen:rpc",
            "exec:/bin/plugin --name 'a b' 'it\'\\\'\'s' ''",
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
        for (text, address) in [("ws://10.0.0.1/x", "10.0.0.1:80"), ("wss://[::1]", "[::1]:443")] {
            assert_eq!(of(text).socket_addr(), Some(address.parse().unwrap()));
        }
        let unix = of("unix:///tmp/x.sock");
        assert_eq!((unix.socket_addr(), unix.path()), (None, Some(Path::new("/tmp/x.sock"))));
        assert_eq!(unix, Address::unix("/tmp/x.sock"));
        assert_eq!(unix, of("unix:/tmp/x.sock"));
        assert_eq!(
            (of("unix:@x").path(), of("exec:x").path(), of("exec:x").socket_addr()),
            (None, None, None)
        );
        assert_eq!(of("exec:a  \"b c\" d\\ e"), Address::exec("a", ["b c", "d e"]));
        assert_eq!(Address::unix("@x").to_string().parse::<Address>().unwrap(), of("unix://./@x"));
    }

    #[test]
    fn errors_say_what_is_missing() {
        for (text, problem) in [
            ("127.0.0.1:7000", "no scheme"),
            ("tcp://127.0.0.1", "a port"),
            ("tcp://:80", "a host"),
            ("tcp://a:99999", "a port"),
            ("tls://a", "a port"),
            ("ws://", "a host"),
            ("ws://:80/", "a host"),
            ("ws://user@host", "without a user"),
            ("ws://host:port/", "no number"),
            ("wss://[::1]7", "no number"),
            ("ws://host/a b", "spaces"),
            ("ws://host/a#b", "fragment"),
            ("http://a:80", "not known"),
            ("unix://", "a path"),
            ("unix:@", "a name"),
            ("unix://@name", "unix:@name"),
            ("fd:x", "a number"),
            ("sd-listen:", "a name"),
            ("exec:", "a program"),
            ("exec:'' a", "a program"),
            ("exec:a 'b", "a quote"),
        ] {
            let error = text.parse::<Address>().unwrap_err().to_string();
            assert!(error.contains(problem) && error.contains(text), "{error}");
        }
    }
}
