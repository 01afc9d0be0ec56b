//! WebSocket of a server: the upgrade that comes between TLS and the handshake of the application.

use std::sync::Arc;

#[cfg(feature = "ws")]
use async_trait::async_trait;

use super::Handshake;
use crate::Address;
#[cfg(feature = "ws")]
use crate::{
    BoxError, BoxIo, PeerInfo, Socket,
    transport::{address::AddressKind, websocket::upgrade::Upgrade},
};

/// How connections that come in on one address are upgraded: nothing at all in a build without WebSocket.
#[derive(Clone, Debug, Default)]
pub(super) struct ServerWebSocket {
    #[cfg(feature = "ws")]
    upgrade: Option<Arc<Upgrade>>,
}

impl ServerWebSocket {
    /// Returns what an address needs: nothing if it is not one of WebSocket.
    #[cfg(feature = "ws")]
    pub(super) fn of(address: &Address, origins: &[String]) -> Self {
        let AddressKind::WebSocket(url) = address.kind() else { return Self::default() };
        Self { upgrade: Some(Arc::new(Upgrade::new(url, origins))) }
    }

    #[cfg(not(feature = "ws"))]
    pub(super) fn of(_address: &Address, _origins: &[String]) -> Self {
        Self::default()
    }

    /// Whether there is an upgrade.
    #[cfg(feature = "__tls")]
    pub(super) const fn is_some(&self) -> bool {
        #[cfg(feature = "ws")]
        let is_some = self.upgrade.is_some();
        #[cfg(not(feature = "ws"))]
        let is_some = false;
        is_some
    }

    /// Returns the upgrade, if there is one, and then the handshake of the application.
    pub(super) fn handshake(&self, next: Option<&Arc<dyn Handshake>>) -> Option<Arc<dyn Handshake>> {
        #[cfg(feature = "ws")]
        if let Some(upgrade) = &self.upgrade {
            let next = next.cloned();
            return Some(Arc::new(WebSocketHandshake { upgrade: Arc::clone(upgrade), next }));
        }
        next.cloned()
    }
}

/// The upgrade, and another handshake over the WebSocket.
#[cfg(feature = "ws")]
struct WebSocketHandshake {
    upgrade: Arc<Upgrade>,
    next: Option<Arc<dyn Handshake>>,
}

#[cfg(feature = "ws")]
#[async_trait]
impl Handshake for WebSocketHandshake {
    async fn accept(&self, socket: Socket, peer: &mut PeerInfo) -> Result<BoxIo, BoxError> {
        let (socket, request) = self.upgrade.accept(Box::new(socket)).await?;
        peer.extensions_mut().insert(request);
        if let Some((scheme, address)) = peer.address().and_then(|address| address.split_once("://")) {
            let scheme = if scheme == "tls" { "wss" } else { "ws" };
            peer.set_address(format!("{scheme}://{address}"));
        }
        match &self.next {
            Some(next) => next.accept(Socket::WebSocket(Box::new(socket)), peer).await,
            None => Ok(Box::new(socket)),
        }
    }
}
