//! A connection over TLS.

use std::{
    fmt, io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::TlsStream;

use super::{error::TlsError, names};
use crate::{
    PeerCertificates,
    transport::{connector::BoxIo, identity::Identified},
};

/// A connection over TLS, after its handshake.
///
/// A [`Handshake`](crate::Handshake) of a server that listens on `tls://` gets it in
/// [`Socket::Tls`](crate::Socket::Tls).
///
/// ```
/// use muxado_rpc::Socket;
///
/// fn name(socket: &Socket) -> Option<&str> {
///     match socket {
///         Socket::Tls(socket) => socket.identity(),
///         _ => None,
///     }
/// }
/// ```
pub struct TlsSocket {
    stream: TlsStream<BoxIo>,
    identified: Option<Identified>,
}

impl TlsSocket {
    pub(super) fn new(stream: TlsStream<BoxIo>) -> Self {
        let chain = stream.get_ref().1.peer_certificates();
        let identified = chain.and_then(names::identify);
        Self { stream, identified }
    }

    /// Returns the identity that the peer has proved: its SPIFFE id, else its first DNS name, else the subject of its
    /// certificate, as in `CN=pump-7,O=Acme`. `None` if it has presented no certificate.
    pub fn identity(&self) -> Option<&str> {
        self.identified.as_ref()?.identity.as_deref()
    }

    /// Returns the certificates that the peer has presented.
    pub fn certificates(&self) -> Option<&PeerCertificates> {
        self.identified.as_ref().map(|identified| &identified.certificates)
    }

    pub(crate) fn identified(&self) -> Option<&Identified> {
        self.identified.as_ref()
    }
}

impl AsyncRead for TlsSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match ready!(Pin::new(&mut self.stream).poll_read(cx, buf)) {
            // Without a close_notify. A session knows its own end from a cut, which is an error on its streams.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Poll::Ready(Ok(())),
            read => Poll::Ready(read.map_err(TlsError::named)),
        }
    }
}

impl AsyncWrite for TlsSocket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf).map_err(TlsError::named)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs).map_err(TlsError::named)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx).map_err(TlsError::named)
    }

    /// Sends a `close_notify`: behind it nothing can be added to what was sent.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx).map_err(TlsError::named)
    }
}

impl fmt::Debug for TlsSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsSocket").field("identity", &self.identity()).finish_non_exhaustive()
    }
}
