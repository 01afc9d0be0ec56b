//! Listening sockets.

use std::{
    future::poll_fn,
    io,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::net::TcpListener;

use super::{bind::Bind, proxy_protocol::Network, websocket::ServerWebSocket};
#[cfg(unix)]
use crate::UnixCredentials;
#[cfg(all(unix, feature = "socket-activation"))]
use crate::transport::activation::{self, Inherited};
use crate::{
    Address, AddressError, PeerInfo, Socket,
    transport::{address::AddressKind, target::AddressFailure, tcp},
};

/// A source of connections.
pub(super) trait Accept: Send + Sync + 'static {
    /// Takes the next connection.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped no connection is lost.
    fn accept(&self) -> impl Future<Output = io::Result<Accepted>> + Send;
}

/// A connection that was accepted.
pub(super) struct Accepted {
    pub(super) socket: Socket,
    pub(super) peer: PeerInfo,
    pub(super) proxied: Proxied,
    /// It begins with a handshake of TLS, behind the header of a proxy.
    pub(super) is_tls: bool,
    /// It then begins with an upgrade to WebSocket, if that is what the address says.
    pub(super) websocket: ServerWebSocket,
}

/// Whether a connection begins with a header of the PROXY protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Proxied {
    No,
    Yes,
    /// It should, but comes from somebody whose header is not believed.
    Untrusted,
}

/// All sockets of a server, until they are closed.
pub(super) struct Listeners(Arc<Mutex<Option<Open>>>);

/// Closes the sockets of a server when it is dropped, so that their addresses are free from then on, and not only once
/// the task of the server has run.
pub(super) struct CloseOnDrop(Weak<Mutex<Option<Open>>>);

/// Open sockets, which take turns.
struct Open {
    all: Vec<Listener>,
    /// The one that is asked first.
    next: usize,
}

/// A listening socket of any kind.
struct Listener {
    kind: Kind,
    address: Address,
    tcp_keepalive: Option<Duration>,
    /// Whose headers of the PROXY protocol are believed; `None` if there are no such headers.
    proxies: Option<Vec<Network>>,
    websocket: ServerWebSocket,
}

enum Kind {
    Tcp(TcpListener),
    /// For TLS, whose handshake comes later.
    Tls(TcpListener),
    #[cfg(unix)]
    Unix(unix::Listener),
}

#[cfg(all(unix, feature = "socket-activation"))]
impl Kind {
    /// Returns a socket that was passed, and where it listens.
    fn inherited(socket: Inherited, asked: &Address) -> io::Result<(Self, Address)> {
        match socket {
            Inherited::Tcp(listener) => {
                listener.set_nonblocking(true)?;
                let address = listener.local_addr()?.into();
                Ok((Self::Tcp(TcpListener::from_std(listener)?), address))
            }
            Inherited::Unix(listener) => {
                let listener = unix::Listener::inherited(listener)?;
                // The name of an abstract socket is not known here.
                let path = listener.path();
                let address = if path.as_os_str().is_empty() { asked.clone() } else { Address::unix(path) };
                Ok((Self::Unix(listener), address))
            }
        }
    }
}

/// Why a server does not listen.
pub(super) enum BindError {
    Address(AddressError),
    Failed(Vec<AddressFailure>),
}

impl Listeners {
    /// Binds to all addresses, or to none.
    pub(super) async fn bind(binds: Vec<Bind>, tcp_keepalive: Option<Duration>) -> Result<Self, BindError> {
        let (mut all, mut failures) = (Vec::new(), Vec::new());
        for bind in binds {
            let address = bind.address.clone().map_err(BindError::Address)?;
            match Listener::bind(&address, bind.mode, tcp_keepalive).await {
                Ok(bound) => {
                    let Bind { proxies, origins, .. } = &bind;
                    all.extend(bound.into_iter().map(|new| Listener {
                        proxies: proxies.clone(),
                        websocket: ServerWebSocket::of(&new.address, origins),
                        ..new
                    }));
                }
                Err(source) => failures.push(AddressFailure::new(address.to_string(), source)),
            }
        }
        if failures.is_empty() {
            Ok(Self(Arc::new(Mutex::new(Some(Open { all, next: 0 })))))
        } else {
            Err(BindError::Failed(failures))
        }
    }

    /// Returns where the sockets listen, in the order in which they were asked for.
    pub(super) fn local_addresses(&self) -> Vec<Address> {
        lock(&self.0).iter().flat_map(|open| &open.all).map(|listener| listener.address.clone()).collect()
    }

    pub(super) fn close_on_drop(&self) -> CloseOnDrop {
        CloseOnDrop(Arc::downgrade(&self.0))
    }
}

impl Accept for Listeners {
    /// Waits for ever once the sockets are closed.
    async fn accept(&self) -> io::Result<Accepted> {
        // The sockets do not block, and nobody else wants the lock but who closes them.
        poll_fn(|cx| lock(&self.0).as_mut().map_or(Poll::Pending, |open| open.poll_accept(cx))).await
    }
}

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        let open = self.0.upgrade().and_then(|open| lock(&open).take());
        // Not under the lock.
        drop(open);
    }
}

fn lock(open: &Mutex<Option<Open>>) -> MutexGuard<'_, Option<Open>> {
    open.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Open {
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Accepted>> {
        let count = self.all.len();
        for step in 0..count {
            let at = (self.next + step) % count;
            if let Poll::Ready(accepted) = self.all[at].poll_accept(cx) {
                self.next = at + 1;
                return Poll::Ready(accepted);
            }
        }
        Poll::Pending
    }
}

impl Listener {
    async fn bind(
        address: &Address,
        mode: Option<u32>,
        tcp_keepalive: Option<Duration>,
    ) -> io::Result<Vec<Self>> {
        let refused = |problem: &str| Err(io::Error::new(io::ErrorKind::Unsupported, problem));
        let bound = match address.kind() {
            AddressKind::Exec(..) => return refused("a child process can only be connected to"),
            #[cfg(unix)]
            AddressKind::Unix(path) => {
                vec![(Kind::Unix(unix::Listener::bind(path, mode).await?), address.clone())]
            }
            #[cfg(not(unix))]
            AddressKind::Unix(_) => return refused("this system has no Unix sockets"),
            _ if mode.is_some() => return refused("Bind::mode is for Unix sockets that the server makes"),
            AddressKind::Tcp(host) => {
                let listener = TcpListener::bind(host).await?;
                let bound = listener.local_addr()?.into();
                vec![(Kind::Tcp(listener), bound)]
            }
            AddressKind::Tls(host) => {
                let listener = TcpListener::bind(host).await?;
                let bound = Address::tls(listener.local_addr()?);
                vec![(Kind::Tls(listener), bound)]
            }
            #[cfg(feature = "ws")]
            AddressKind::WebSocket(url) => {
                let listener = TcpListener::bind(url.host()).await?;
                let bound = Address::websocket(url, listener.local_addr()?);
                vec![(if url.is_secure { Kind::Tls(listener) } else { Kind::Tcp(listener) }, bound)]
            }
            #[cfg(not(feature = "ws"))]
            AddressKind::WebSocket(_) => return Err(crate::transport::websocket::no_websocket()),
            #[cfg(all(unix, feature = "socket-activation"))]
            AddressKind::Fd(number) => vec![Kind::inherited(activation::take_fd(*number)?, address)?],
            #[cfg(all(unix, feature = "socket-activation"))]
            AddressKind::Passed(name) => {
                let taken = activation::take_named(name.as_deref())?;
                taken.into_iter().map(|socket| Kind::inherited(socket, address)).collect::<io::Result<_>>()?
            }
            #[cfg(not(all(unix, feature = "socket-activation")))]
            AddressKind::Fd(_) | AddressKind::Passed(_) => {
                return refused("this takes the feature `socket-activation` of muxado-rpc, and Unix");
            }
        };
        let listener = |(kind, address)| Self {
            kind,
            address,
            tcp_keepalive,
            proxies: None,
            websocket: ServerWebSocket::default(),
        };
        Ok(bound.into_iter().map(listener).collect())
    }

    /// Takes the next connection. An error says which socket has failed.
    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<Accepted>> {
        let failed = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", self.address));
        Poll::Ready(match &self.kind {
            Kind::Tcp(listener) | Kind::Tls(listener) => {
                let (stream, from) = match ready!(listener.poll_accept(cx)) {
                    Ok(accepted) => accepted,
                    Err(error) => return Poll::Ready(Err(failed(error))),
                };
                tcp::configure(&stream, self.tcp_keepalive);
                let is_tls = matches!(self.kind, Kind::Tls(_));
                let address = if is_tls { Address::tls(from) } else { from.into() };
                let (peer, proxied) = (PeerInfo::new(address.to_string()), self.proxied(Some(from.ip())));
                let websocket = self.websocket.clone();
                Ok(Accepted { socket: Socket::Tcp(stream), peer, proxied, is_tls, websocket })
            }
            #[cfg(unix)]
            Kind::Unix(listener) => ready!(listener.poll_accept(cx)).map_err(failed).map(|stream| {
                let peer =
                    PeerInfo::new(self.address.to_string()).with_credentials(UnixCredentials::of(&stream));
                let (proxied, websocket) = (self.proxied(None), ServerWebSocket::default());
                Accepted { socket: Socket::Unix(stream), peer, proxied, is_tls: false, websocket }
            }),
        })
    }

    fn proxied(&self, from: Option<IpAddr>) -> Proxied {
        match (&self.proxies, from) {
            (None, _) => Proxied::No,
            (Some(known), Some(from)) if !known.iter().any(|network| network.contains(from)) => {
                Proxied::Untrusted
            }
            (Some(_), _) => Proxied::Yes,
        }
    }
}

#[cfg(unix)]
mod unix {
    use std::{
        io,
        path::{Path, PathBuf},
        task::{Context, Poll},
    };

    use tokio::net::{UnixListener, UnixStream};

    use crate::transport::socket_file::{self, OwnFile};

    /// A Unix socket whose file goes with it.
    pub(super) struct Listener {
        listener: UnixListener,
        path: PathBuf,
        file: Option<OwnFile>,
    }

    impl Listener {
        /// Binds. A socket that no process has open any more is replaced.
        pub(super) async fn bind(path: &Path, mode: Option<u32>) -> io::Result<Self> {
            let listener = socket_file::bind(path, mode).await?;
            Ok(Self { listener, path: path.to_owned(), file: OwnFile::just_bound(path) })
        }

        /// Takes a socket that another process has bound, and whose file is that process's.
        #[cfg(feature = "socket-activation")]
        pub(super) fn inherited(listener: std::os::unix::net::UnixListener) -> io::Result<Self> {
            listener.set_nonblocking(true)?;
            let address = listener.local_addr()?;
            let path = address.as_pathname().map(Path::to_owned).unwrap_or_default();
            Ok(Self { listener: UnixListener::from_std(listener)?, path, file: None })
        }

        #[cfg(feature = "socket-activation")]
        pub(super) fn path(&self) -> &Path {
            &self.path
        }

        pub(super) fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<UnixStream>> {
            self.listener.poll_accept(cx).map_ok(|(stream, _)| stream)
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
        let keepalive = Some(tcp::DEFAULT_KEEPALIVE);
        let Ok(listener) = Listeners::bind(vec![Bind::to("tcp://127.0.0.1:0")], keepalive).await else {
            panic!("cannot bind")
        };
        let address = listener.local_addresses()[0].socket_addr().unwrap().to_string();
        let (connected, accepted) = tokio::join!(tcp::connect(&address, keepalive, None), listener.accept());
        let Socket::Tcp(accepted) = accepted.unwrap().socket else { panic!("not TCP") };
        for stream in [connected.unwrap(), accepted] {
            let socket = socket2::SockRef::from(&stream);
            assert!(stream.nodelay().unwrap() && socket.keepalive().unwrap());
            assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(30));
        }
    }
}
