//! The side that connects.

use std::{fmt, io};

use tokio_tungstenite::{
    client_async_with_config,
    tungstenite::{
        client::IntoClientRequest,
        http::{HeaderName, HeaderValue, Request},
    },
};

use super::{
    config,
    error::{WebSocketError, tungstenite::of_upgrade},
    socket::WebSocket,
};
use crate::transport::{address::WebSocketUrl, connector::BoxIo};

/// Headers that are added to the request.
#[derive(Clone, Default)]
pub(super) struct Headers(Vec<(String, String)>);

impl Headers {
    pub(super) fn add(&mut self, name: String, value: String) {
        self.0.push((name, value));
    }

    fn write(&self, request: &mut Request<()>) -> io::Result<()> {
        for (name, value) in &self.0 {
            let wrong = |_| WebSocketError::InvalidHeader(name.clone());
            let header = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong(()))?;
            let mut value = HeaderValue::from_str(value).map_err(|_| wrong(()))?;
            value.set_sensitive(true);
            request.headers_mut().insert(header, value);
        }
        Ok(())
    }
}

/// Shows the names: values may be secrets.
impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

/// Asks for a WebSocket and waits for the answer, without a limit.
///
/// No subprotocol is asked for: proxies strip the header, and a client that has named one must not go on without it.
pub(super) async fn connect(url: &WebSocketUrl, headers: &Headers, io: BoxIo) -> io::Result<WebSocket> {
    let mut request = url.to_string().into_client_request().map_err(of_upgrade)?;
    headers.write(&mut request)?;
    let (stream, _response) =
        client_async_with_config(request, io, Some(config())).await.map_err(of_upgrade)?;
    Ok(WebSocket::new(stream))
}
