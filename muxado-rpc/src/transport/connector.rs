//! How a transport to the peer is made.

use std::{fmt, io};

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::{Socket, transport::address::Address};

/// A transport, whatever it is made of.
pub trait Io: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// A transport behind a pointer.
pub type BoxIo = Box<dyn Io>;

/// Makes transports to one place, one after the other: TLS, a tunnel, a pipe to a child process.
///
/// A closure that returns a future of `io::Result<T>` is one, for every transport `T`. For `tcp://`
/// and `unix://` there is [`ReconnectBuilder::address`](super::ReconnectBuilder::address).
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
    /// It is given up after [`ReconnectBuilder::connect_timeout`], by being dropped. A panic counts
    /// as a failure to connect.
    ///
    /// [`ReconnectBuilder::connect_timeout`]: super::ReconnectBuilder::connect_timeout
    async fn connect(&self) -> io::Result<BoxIo>;

    /// What to call the other end in logs, errors and [`PeerInfo`](crate::PeerInfo).
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

/// Connects to an address.
pub(crate) struct Dial {
    address: Address,
    text: String,
}

impl Dial {
    pub(crate) fn new(address: Address) -> Self {
        Self { text: address.to_string(), address }
    }
}

#[async_trait]
impl Connector for Dial {
    async fn connect(&self) -> io::Result<BoxIo> {
        Ok(Box::new(Socket::connect(&self.address).await?))
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
