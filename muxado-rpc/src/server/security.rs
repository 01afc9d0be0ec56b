//! TLS of a server: the handshake that comes before that of the application.

#[cfg(feature = "__tls")]
use std::io;
use std::sync::Arc;

#[cfg(feature = "__tls")]
use async_trait::async_trait;

use super::{Handshake, ListenError, websocket::ServerWebSocket};
use crate::{Address, transport::address::AddressKind};
#[cfg(feature = "__tls")]
use crate::{
    BoxError, BoxIo, PeerInfo, Socket,
    transport::tls::{ALPN, ALPN_HTTP, error::TlsConfigError, server::ServerTls},
};

/// How connections that come in are secured: nothing at all in a build without TLS.
#[derive(Clone, Debug, Default)]
pub(super) struct ServerSecurity {
    #[cfg(feature = "__tls")]
    tls: Option<ServerTls>,
}

impl ServerSecurity {
    #[cfg(feature = "__tls")]
    pub(super) fn set(&mut self, tls: ServerTls) {
        self.tls = Some(tls);
    }

    /// Makes sure that all that TLS needs is there, and nothing is configured that would not be used.
    #[cfg(feature = "__tls")]
    pub(super) async fn prepare(&self, addresses: impl Iterator<Item = &Address>) -> Result<(), ListenError> {
        match (&self.tls, first_of_tls(addresses)) {
            (Some(tls), Some(_)) => Ok(tls.prepare().await?),
            (None, Some(_)) => Err(TlsConfigError::NoCertificate.into()),
            // A server that was given a certificate is not to listen in the clear because of a typing error.
            (Some(_), None) => Err(TlsConfigError::NotUsed.into()),
            (None, None) => Ok(()),
        }
    }

    #[cfg(not(feature = "__tls"))]
    #[expect(clippy::unused_async, reason = "with the feature it waits")]
    pub(super) async fn prepare(&self, addresses: impl Iterator<Item = &Address>) -> Result<(), ListenError> {
        match first_of_tls(addresses) {
            Some(address) => {
                let source = crate::transport::security::no_tls();
                Err(ListenError::Io { address: address.to_string(), source })
            }
            None => Ok(()),
        }
    }

    /// Returns the handshake of a connection: that of TLS if it is one, the upgrade to WebSocket if there is one, then that
    /// of the application.
    pub(super) fn handshake(
        &self,
        is_tls: bool,
        websocket: &ServerWebSocket,
        next: Option<&Arc<dyn Handshake>>,
    ) -> Option<Arc<dyn Handshake>> {
        let next = websocket.handshake(next);
        #[cfg(feature = "__tls")]
        if let (true, Some(tls)) = (is_tls, &self.tls) {
            let protocol = if websocket.is_some() { ALPN_HTTP } else { ALPN };
            return Some(Arc::new(TlsHandshake { tls: tls.clone(), protocol, next }));
        }
        debug_assert!(!is_tls, "a server listens with TLS with a certificate only");
        next
    }
}

fn first_of_tls<'a>(mut addresses: impl Iterator<Item = &'a Address>) -> Option<&'a Address> {
    addresses.find(|address| match address.kind() {
        AddressKind::Tls(_) => true,
        AddressKind::WebSocket(url) => url.is_secure,
        _ => false,
    })
}

/// The handshake of TLS, and another one over it.
#[cfg(feature = "__tls")]
struct TlsHandshake {
    tls: ServerTls,
    protocol: &'static [u8],
    next: Option<Arc<dyn Handshake>>,
}

#[cfg(feature = "__tls")]
#[async_trait]
impl Handshake for TlsHandshake {
    async fn accept(&self, socket: Socket, peer: &mut PeerInfo) -> Result<BoxIo, BoxError> {
        let accepted: io::Result<_> = self.tls.accept(self.protocol, Box::new(socket)).await;
        let socket = accepted?;
        peer.note_identified(socket.identified());
        match &self.next {
            Some(next) => next.accept(Socket::Tls(Box::new(socket)), peer).await,
            None => Ok(Box::new(socket)),
        }
    }
}
