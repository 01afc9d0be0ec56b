//! Connectors make the transports to a peer.

use std::{fmt, io};

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::{
    Address, Socket,
    transport::{identity::Identified, security::ClientSecurity},
};

/// A transport: anything that reads and writes bytes. Implemented for all types that meet the bounds.
pub trait Io: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// A boxed transport.
pub type BoxIo = Box<dyn Io>;

/// Makes transports to one place, for [`ReconnectBuilder::connector`]: TLS, a tunnel, a pipe to a child process.
///
/// A closure that returns a future of `io::Result<T>`, for any transport `T`, is a connector. For `tcp://` and
/// `unix://`, use [`ReconnectBuilder::address`](crate::reconnect::ReconnectBuilder::address).
///
/// [`ReconnectBuilder::connector`]: crate::reconnect::ReconnectBuilder::connector
///
/// ```
/// use std::io;
///
/// use muxado_rpc::reconnect::{BoxIo, Connector};
/// use tokio::net::TcpStream;
///
/// struct Tunnel {
///     proxy: String,
/// }
///
/// #[async_trait::async_trait]
/// impl Connector for Tunnel {
///     async fn connect(&self) -> io::Result<BoxIo> {
///         let stream = TcpStream::connect(&self.proxy).await?;
///         stream.set_nodelay(true)?;
///         Ok(Box::new(stream))
///     }
/// }
/// ```
#[async_trait]
pub trait Connector: Send + Sync + 'static {
    /// Makes a transport.
    ///
    /// The future is dropped after [`ReconnectBuilder::connect_timeout`]. A panic counts as a failure to connect.
    ///
    /// [`ReconnectBuilder::connect_timeout`]: crate::reconnect::ReconnectBuilder::connect_timeout
    async fn connect(&self) -> io::Result<BoxIo>;

    /// Makes a transport, and returns what the other end has proved.
    #[doc(hidden)]
    async fn connect_identified(&self) -> io::Result<Connected> {
        Ok(Connected { io: self.connect().await?, identified: None })
    }

    /// Returns the address of the other end for logs, errors and [`PeerInfo`](crate::PeerInfo). None by default.
    fn address(&self) -> Option<&str> {
        None
    }
}

#[async_trait]
impl<F, Fut, T> Connector for F
where
    F: Fn() -> Fut + Send + Sync + 'static,
    Fut: Future<Output = io::Result<T>> + Send,
    T: Io + 'static,
{
    async fn connect(&self) -> io::Result<BoxIo> {
        Ok(Box::new(self().await?))
    }
}

/// A transport, and what the other end has proved.
#[doc(hidden)]
#[expect(missing_debug_implementations, reason = "a transport has none")]
pub struct Connected {
    pub(crate) io: BoxIo,
    pub(crate) identified: Option<Identified>,
}

/// Connects to an address.
pub(crate) struct Dial {
    address: Address,
    text: String,
    security: ClientSecurity,
}

impl Dial {
    pub(crate) fn new(address: Address, security: ClientSecurity) -> Self {
        Self { text: address.to_string(), address, security }
    }
}

#[async_trait]
impl Connector for Dial {
    async fn connect(&self) -> io::Result<BoxIo> {
        Ok(self.connect_identified().await?.io)
    }

    async fn connect_identified(&self) -> io::Result<Connected> {
        let socket = Socket::connect(&self.address).await?;
        let (io, identified) = self.security.secure(&self.address, Box::new(socket)).await?;
        Ok(Connected { io, identified })
    }

    fn address(&self) -> Option<&str> {
        Some(&self.text)
    }
}

impl fmt::Debug for dyn Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.address().unwrap_or("connector"))
    }
}
