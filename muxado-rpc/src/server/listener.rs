//! Listening sockets.

use std::io;

use tokio::net::TcpListener;

use crate::{
    Address, PeerInfo, Socket,
    transport::{address::AddressKind, socket::configure},
};

/// A connection as it came, before any handshake.
pub(super) struct Incoming {
    pub(super) socket: Socket,
    pub(super) peer: PeerInfo,
    /// It begins with a handshake of TLS.
    pub(super) is_tls: bool,
}

/// A source of connections.
pub(super) trait Accept: Send + Sync + 'static {
    /// Takes the next connection.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped no connection is lost.
    fn accept(&self) -> impl Future<Output = io::Result<Incoming>> + Send;
}

/// A listening socket of either kind.
pub(super) enum Listener {
    Tcp(TcpListener),
    /// For TLS, whose handshake comes later.
    Tls(TcpListener),
    #[cfg(unix)]
    Unix(unix::Listener),
}

impl Listener {
    pub(super) async fn bind(address: &Address) -> io::Result<Self> {
        match address.kind() {
            AddressKind::Tcp(host) => Ok(Self::Tcp(TcpListener::bind(host).await?)),
            AddressKind::Tls(host) => Ok(Self::Tls(TcpListener::bind(host).await?)),
            #[cfg(unix)]
            AddressKind::Unix(path) => Ok(Self::Unix(unix::Listener::bind(path).await?)),
            #[cfg(not(unix))]
            AddressKind::Unix(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    pub(super) fn local_address(&self) -> io::Result<Address> {
        match self {
            Self::Tcp(listener) => Ok(listener.local_addr()?.into()),
            Self::Tls(listener) => Ok(Address::tls(listener.local_addr()?)),
            #[cfg(unix)]
            Self::Unix(listener) => Ok(Address::unix(listener.path())),
        }
    }
}

impl Accept for Listener {
    async fn accept(&self) -> io::Result<Incoming> {
        let is_tls = matches!(self, Self::Tls(_));
        match self {
            Self::Tcp(listener) | Self::Tls(listener) => {
                let (stream, from) = listener.accept().await?;
                configure(&stream);
                let from = if is_tls { Address::tls(from) } else { from.into() };
                Ok(Incoming { socket: Socket::Tcp(stream), peer: PeerInfo::new(from.to_string()), is_tls })
            }
            #[cfg(unix)]
            Self::Unix(listener) => {
                let stream = listener.accept().await?;
                let address = Address::unix(listener.path());
                let peer = PeerInfo::new(address.to_string());
                Ok(Incoming { socket: Socket::Unix(stream), peer, is_tls })
            }
        }
    }
}

#[cfg(unix)]
mod unix {
    use std::{
        io,
        path::{Path, PathBuf},
    };

    use tokio::net::{UnixListener, UnixStream};

    use crate::transport::socket_file::{self, OwnFile};

    /// A Unix socket whose file goes with it.
    pub(in crate::server) struct Listener {
        listener: UnixListener,
        path: PathBuf,
        file: Option<OwnFile>,
    }

    impl Listener {
        /// Binds. A socket that no process has open any more is replaced.
        pub(super) async fn bind(path: &Path) -> io::Result<Self> {
            let listener = socket_file::bind(path).await?;
            Ok(Self { listener, path: path.to_owned(), file: OwnFile::just_bound(path) })
        }

        pub(super) fn path(&self) -> &Path {
            &self.path
        }

        pub(super) async fn accept(&self) -> io::Result<UnixStream> {
            Ok(self.listener.accept().await?.0)
        }
    }

    impl Drop for Listener {
        fn drop(&mut self) {
            // The socket is still open here, as it must be.
            if let Some(Err(error)) = self.file.as_ref().map(OwnFile::remove) {
                tracing::debug!("{} is left: {error}", self.path.display());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn both_ends_of_a_tcp_connection_delay_no_small_messages_and_notice_that_the_other_is_gone() {
        let listener = Listener::bind(&"tcp://127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.local_address().unwrap();
        let (connected, accepted) = tokio::join!(Socket::connect(&address), listener.accept());
        for end in [connected.unwrap(), accepted.unwrap().socket] {
            let Socket::Tcp(stream) = end else { panic!("not TCP") };
            assert!(stream.nodelay().unwrap() && socket2::SockRef::from(&stream).keepalive().unwrap());
        }
    }
}
