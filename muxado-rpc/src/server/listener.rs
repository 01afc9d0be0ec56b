//! Listening sockets.

use std::io;

use tokio::net::TcpListener;

use crate::{
    Address, PeerInfo, Socket,
    transport::{address::AddressKind, socket::configure},
};

/// A source of connections.
pub(super) trait Accept: Send + Sync + 'static {
    /// Takes the next connection.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped no connection is lost.
    fn accept(&self) -> impl Future<Output = io::Result<(Socket, PeerInfo)>> + Send;
}

/// A listening socket of either kind.
pub(super) enum Listener {
    Tcp(TcpListener),
    #[cfg(unix)]
    Unix(unix::Listener),
}

impl Listener {
    pub(super) async fn bind(address: &Address) -> io::Result<Self> {
        match address.kind() {
            AddressKind::Tcp(host) => Ok(Self::Tcp(TcpListener::bind(host).await?)),
            #[cfg(unix)]
            AddressKind::Unix(path) => Ok(Self::Unix(unix::Listener::bind(path).await?)),
            #[cfg(not(unix))]
            AddressKind::Unix(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    pub(super) fn local_address(&self) -> io::Result<Address> {
        match self {
            Self::Tcp(listener) => Ok(listener.local_addr()?.into()),
            #[cfg(unix)]
            Self::Unix(listener) => Ok(Address::unix(listener.path())),
        }
    }
}

impl Accept for Listener {
    async fn accept(&self) -> io::Result<(Socket, PeerInfo)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, from) = listener.accept().await?;
                configure(&stream);
                Ok((Socket::Tcp(stream), PeerInfo::new(Address::from(from).to_string())))
            }
            #[cfg(unix)]
            Self::Unix(listener) => {
                let stream = listener.accept().await?;
                let address = Address::unix(listener.path());
                Ok((Socket::Unix(stream), PeerInfo::new(address.to_string())))
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
        for end in [connected.unwrap(), accepted.unwrap().0] {
            let Socket::Tcp(stream) = end else { panic!("not TCP") };
            assert!(stream.nodelay().unwrap() && socket2::SockRef::from(&stream).keepalive().unwrap());
        }
    }
}
