//! Connects to an address, whatever its scheme.

use std::{io, net::SocketAddr, time::Duration};

use tokio::time::Instant;

use super::{
    address::{Address, AddressKind},
    child::ChildProcess,
    connector::BoxIo,
    credentials::UnixCredentials,
    identity::Identified,
    security::ClientSecurity,
    socket::Socket,
    tcp,
    websocket::ClientWebSocket,
    wrap::Wrap,
};
use crate::support::timer;

/// How connections to addresses are made.
#[derive(Clone, Debug)]
pub(crate) struct DialOptions {
    /// For the name, all its addresses, and whatever comes before the session.
    pub(crate) connect_timeout: Duration,
    /// How long a TCP connection is silent before the system asks for the peer.
    pub(crate) tcp_keepalive: Option<Duration>,
    /// Where the server is, if the host of the address was looked up already.
    pub(crate) at: Option<SocketAddr>,
    /// What comes between the transport and the session.
    pub(crate) security: ClientSecurity,
    /// What comes between that and the session where the address is one of WebSocket.
    pub(crate) websocket: ClientWebSocket,
    /// What the application puts around all that.
    pub(crate) wrap: Wrap,
}

impl Default for DialOptions {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            tcp_keepalive: Some(tcp::DEFAULT_KEEPALIVE),
            at: None,
            security: ClientSecurity::default(),
            websocket: ClientWebSocket::default(),
            wrap: Wrap::default(),
        }
    }
}

/// A transport, and what is known of who is at its other end.
pub(crate) struct Dialed {
    pub(crate) io: BoxIo,
    pub(crate) credentials: Option<UnixCredentials>,
    /// What the other end has proved.
    pub(crate) identified: Option<Identified>,
}

impl From<BoxIo> for Dialed {
    fn from(io: BoxIo) -> Self {
        Self { io, credentials: None, identified: None }
    }
}

/// Connects to an address. A further scheme has its arm here and its kind in [`AddressKind`].
pub(crate) async fn dial(
    address: &Address,
    options: &DialOptions,
    deadline: Option<Instant>,
) -> io::Result<Dialed> {
    let (io, credentials) = connect(address, options, deadline).await?;
    let shaking = async {
        let (io, identified) = options.security.secure(address, io).await?;
        let io = options.websocket.upgrade(address, io).await?;
        Ok(Dialed { io, credentials, identified })
    };
    timer::before(deadline, shaking).await.unwrap_or_else(|| {
        let missing = match address.kind() {
            AddressKind::WebSocket(url) if url.is_secure => "TLS handshake and WebSocket upgrade",
            AddressKind::WebSocket(_) => "WebSocket upgrade",
            _ => "TLS handshake",
        };
        Err(io::Error::new(io::ErrorKind::TimedOut, format!("no {missing} within connect_timeout")))
    })
}

/// Makes the transport below whatever secures it.
async fn connect(
    address: &Address,
    options: &DialOptions,
    deadline: Option<Instant>,
) -> io::Result<(BoxIo, Option<UnixCredentials>)> {
    if let Some(at) = options.at {
        let stream = tcp::connect(&at.to_string(), options.tcp_keepalive, deadline).await?;
        return Ok((Box::new(Socket::Tcp(stream)), None));
    }
    match address.kind() {
        AddressKind::Tcp(host) | AddressKind::Tls(host) => {
            let stream = tcp::connect(host, options.tcp_keepalive, deadline).await?;
            Ok((Box::new(Socket::Tcp(stream)), None))
        }
        #[cfg(feature = "ws")]
        AddressKind::WebSocket(url) => {
            let stream = tcp::connect(&url.host(), options.tcp_keepalive, deadline).await?;
            Ok((Box::new(Socket::Tcp(stream)), None))
        }
        #[cfg(not(feature = "ws"))]
        AddressKind::WebSocket(_) => Err(super::websocket::no_websocket()),
        #[cfg(unix)]
        AddressKind::Unix(path) => {
            let stream = super::socket_file::connect(path).await?;
            let credentials = UnixCredentials::of(&stream);
            Ok((Box::new(Socket::Unix(stream)), credentials))
        }
        #[cfg(not(unix))]
        AddressKind::Unix(_) => {
            Err(io::Error::new(io::ErrorKind::Unsupported, "this system has no Unix sockets"))
        }
        AddressKind::Fd(_) | AddressKind::Passed(_) => Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "a socket that was passed can only be listened on",
        )),
        AddressKind::Exec(program, args) => {
            let mut command = tokio::process::Command::new(program);
            Ok((Box::new(ChildProcess::spawn(command.args(args))?), None))
        }
    }
}
