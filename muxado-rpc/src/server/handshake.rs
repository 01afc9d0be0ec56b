//! A user-supplied step between accepting a socket and starting its session.

use std::time::Duration;

use async_trait::async_trait;

use tokio::time::Instant;

use crate::{
    BoxError, PeerInfo, Socket,
    support::{panics::CatchUnwind, timer},
    transport::connector::{BoxIo, Io},
};

/// A step of a server between accepting a socket and starting its session: a token, the credentials of a Unix socket.
///
/// TLS needs none: with the feature `tls` it is `tls://` in the address and `ServerBuilder::tls`. A handshake of the
/// application then comes after that of TLS, with a `Socket::Tls`. The connecting side does its part of the
/// handshake first, then passes the transport to [`PeerBuilder::client`](crate::PeerBuilder::client), or returns it
/// from a [`Connector`](crate::reconnect::Connector) of a [`Reconnect`](crate::Reconnect).
///
/// A closure is a handshake, too: it gets the socket and the [`PeerInfo`] by value, and returns a future of the transport
/// and the `PeerInfo` to use.
///
/// ```
/// use muxado_rpc::{BoxError, PeerInfo, Server, Socket};
///
/// let server = Server::builder().handshake(|socket: Socket, peer: PeerInfo| async move {
///     match &socket {
///         Socket::Tcp(tcp) if !tcp.peer_addr()?.ip().is_loopback() => Err(BoxError::from("not from here")),
///         _ => Ok((socket, peer.with_identity("local"))),
///     }
/// });
/// # let _ = server;
/// ```
///
/// ```
/// use muxado_rpc::{BoxError, BoxIo, Handshake, PeerInfo, Server, Socket};
/// use tokio::io::AsyncReadExt;
///
/// /// Expects a token of four bytes.
/// struct Token;
///
/// #[async_trait::async_trait]
/// impl Handshake for Token {
///     async fn accept(&self, mut socket: Socket, peer: &mut PeerInfo) -> Result<BoxIo, BoxError> {
///         let mut token = [0; 4];
///         socket.read_exact(&mut token).await?;
///         if token != *b"pump" {
///             return Err("unknown token".into());
///         }
///         peer.set_identity("pump");
///         Ok(Box::new(socket))
///     }
/// }
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let server = Server::builder().handshake(Token).listen("tcp://0.0.0.0:7000").await?;
/// # Ok(())
/// # }
/// ```
#[async_trait]
pub trait Handshake: Send + Sync + 'static {
    /// Returns the transport of a connection. It may also set what is known of the peer: its
    /// [identity](PeerInfo::set_identity) and [extensions](PeerInfo::extensions_mut).
    ///
    /// Runs in the task of the connection. The future is dropped after
    /// [`Limits::handshake_timeout`](crate::Limits::handshake_timeout), and when the server ends.
    ///
    /// # Errors
    ///
    /// An error ends this connection only. It is logged, as a panic is, and the peer sees the socket close.
    async fn accept(&self, socket: Socket, peer: &mut PeerInfo) -> Result<BoxIo, BoxError>;
}

#[async_trait]
impl<F, Fut, T, E> Handshake for F
where
    F: Fn(Socket, PeerInfo) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<(T, PeerInfo), E>> + Send,
    T: Io + 'static,
    E: Into<BoxError>,
{
    async fn accept(&self, socket: Socket, peer: &mut PeerInfo) -> Result<BoxIo, BoxError> {
        let (io, known) = self(socket, peer.clone()).await.map_err(Into::into)?;
        *peer = known;
        Ok(Box::new(io))
    }
}

/// Runs a handshake until the deadline, which ends a time limit that began before. Returns the transport, or the error of
/// the handshake.
pub(super) async fn shake(
    handshake: &dyn Handshake,
    (limit, deadline): (Duration, Option<Instant>),
    socket: Socket,
    peer: &mut PeerInfo,
) -> Result<BoxIo, BoxError> {
    let shaking = CatchUnwind::new(None, async { handshake.accept(socket, peer).await });
    match timer::before(deadline, shaking).await {
        Some(shaken) => shaken.unwrap_or_else(|_| Err("the handshake panicked".into())),
        None => Err(format!("not done within {limit:?} (Limits::handshake_timeout)").into()),
    }
}

#[cfg(all(test, unix))]
#[expect(clippy::panic, reason = "a handshake that panics")]
mod tests {
    use std::{future::pending, io};

    use tokio::{io::AsyncReadExt, net::UnixStream};

    use super::*;

    /// Does one of the things that a handshake must not.
    #[derive(Clone, Copy)]
    enum Bad {
        Stalls,
        Panics,
        Fails,
    }

    #[async_trait]
    impl Handshake for Bad {
        async fn accept(&self, _socket: Socket, _peer: &mut PeerInfo) -> Result<BoxIo, BoxError> {
            match self {
                Self::Stalls => pending().await,
                Self::Panics => panic!("a secret"),
                Self::Fails => Err(io::Error::other("no certificate").into()),
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_goes_wrong_is_said_in_time_and_closes_the_socket() {
        let limit = Duration::from_secs(3);
        for (bad, after, text) in [
            (Bad::Stalls, limit, "not done within 3s (Limits::handshake_timeout)"),
            (Bad::Panics, Duration::ZERO, "the handshake panicked"),
            (Bad::Fails, Duration::ZERO, "no certificate"),
        ] {
            let (mut near, far) = UnixStream::pair().unwrap();
            let start = Instant::now();
            let time = (limit, Some(start + limit));
            let shaken = shake(&bad, time, Socket::Unix(far), &mut PeerInfo::default()).await;
            assert_eq!((shaken.err().unwrap().to_string(), start.elapsed()), (text.to_owned(), after));
            assert_eq!(near.read(&mut [0]).await.unwrap(), 0);
        }
    }
}
