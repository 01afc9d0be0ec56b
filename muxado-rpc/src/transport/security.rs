//! TLS of connections as builders keep it: nothing at all in a build without the feature.

use std::io;

#[cfg(feature = "__tls")]
use super::tls::{ALPN, ALPN_HTTP};
use super::{
    address::{Address, AddressKind},
    connector::BoxIo,
    identity::Identified,
};

/// How connections that are made are secured.
#[derive(Clone, Debug, Default)]
pub(crate) struct ClientSecurity {
    #[cfg(feature = "__tls")]
    tls: Option<super::tls::client::ClientTls>,
}

impl ClientSecurity {
    #[cfg(feature = "__tls")]
    pub(crate) fn set(&mut self, tls: super::tls::client::ClientTls) {
        self.tls = Some(tls);
    }

    /// Returns the transport over which the session runs, and what the other end has proved: `io` itself unless the
    /// address is one of TLS.
    pub(crate) async fn secure(
        &self,
        address: &Address,
        io: BoxIo,
    ) -> io::Result<(BoxIo, Option<Identified>)> {
        match address.kind() {
            #[cfg(feature = "__tls")]
            AddressKind::Tls(host) => self.shake(host, ALPN, io).await,
            #[cfg(feature = "__tls")]
            AddressKind::WebSocket(url) if url.is_secure => self.shake(&url.host(), ALPN_HTTP, io).await,
            #[cfg(not(feature = "__tls"))]
            AddressKind::Tls(_) => Err(no_tls()),
            #[cfg(not(feature = "__tls"))]
            AddressKind::WebSocket(url) if url.is_secure => Err(no_tls()),
            // A program that was given certificates is not to speak in the clear because of a typing error.
            #[cfg(feature = "__tls")]
            AddressKind::Tcp(_) | AddressKind::WebSocket(_) if self.tls.is_some() => {
                Err(super::tls::error::TlsError::NotUsed.into())
            }
            _ => Ok((io, None)),
        }
    }

    #[cfg(feature = "__tls")]
    async fn shake(&self, host: &str, protocol: &[u8], io: BoxIo) -> io::Result<(BoxIo, Option<Identified>)> {
        let tls = self.tls.clone().unwrap_or_default();
        let socket = tls.connect(host, protocol, io).await?;
        let identified = socket.identified().cloned();
        Ok((Box::new(socket), identified))
    }
}

/// The error of an address of TLS in a build without it.
#[cfg(not(feature = "__tls"))]
pub(crate) fn no_tls() -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, "tls:// and wss:// need the feature `tls` of muxado-rpc")
}
