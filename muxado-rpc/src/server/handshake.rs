//! Code of the user's between a socket and its session.

use std::time::Duration;

use async_trait::async_trait;

use crate::{
    BoxError, PeerInfo, Socket,
    support::{panics::CatchUnwind, timer},
    transport::connector::BoxIo,
};

/// What a server does with each connection before anything is sent or read on it: TLS, a token, a
/// look at who is at the other end of a Unix socket.
///
/// With TLS of `tokio_rustls`, `accept` is one line,
/// `let tls = self.acceptor.accept(socket).await?`, the certificate of the peer is in
/// `tls.get_ref().1.peer_certificates()`, and `Ok(Box::new(tls))` is the end. The connecting side
/// does its part first and passes the result to [`PeerBuilder::client`](crate::PeerBuilder::client) or,
/// from a [`Connector`](crate::reconnect::Connector), to a [`Reconnect`](crate::Reconnect).
///
/// ```
/// use muxado_rpc::{BoxError, Handshake, PeerInfo, Server, Socket, reconnect::BoxIo};
/// use tokio::io::AsyncReadExt;
///
/// /// Four bytes that say who it is.
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
    /// Makes the transport of a connection, and may add to what is known of the peer: its
    /// [identity](PeerInfo::set_identity), [extensions](PeerInfo::extensions_mut).
    ///
    /// Runs in a task of the connection. It is dropped after
    /// [`Limits::handshake_timeout`](crate::Limits::handshake_timeout) and when the server ends.
    ///
    /// # Errors
    ///
    /// Any error ends this connection, and no other; it is logged, as is a panic. The peer sees the
    /// socket close.
    async fn accept(&self, socket: Socket, peer: &mut PeerInfo) -> Result<BoxIo, BoxError>;
}

/// Shakes hands within `limit`; why there is no transport otherwise.
pub(super) async fn shake(
    handshake: &dyn Handshake,
    limit: Duration,
    socket: Socket,
    peer: &mut PeerInfo,
) -> Result<BoxIo, BoxError> {
    let shaking = CatchUnwind::new(None, async { handshake.accept(socket, peer).await });
    match timer::within(limit, shaking).await {
        Some(shaken) => shaken.unwrap_or_else(|_| Err("the handshake panicked".into())),
        None => Err(format!("not done within {limit:?} (Limits::handshake_timeout)").into()),
    }
}

#[cfg(all(test, unix))]
#[expect(clippy::panic, reason = "a handshake that panics")]
mod tests {
    use std::{future::pending, io};

    use tokio::{io::AsyncReadExt, net::UnixStream, time::Instant};

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
            let shaken = shake(&bad, limit, Socket::Unix(far), &mut PeerInfo::default()).await;
            assert_eq!((shaken.err().unwrap().to_string(), start.elapsed()), (text.to_owned(), after));
            assert_eq!(near.read(&mut [0]).await.unwrap(), 0);
        }
    }
}
