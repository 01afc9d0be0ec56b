//! What a client has asked for.

use std::{fmt, sync::Arc};

/// The HTTP request with which a client has asked for a WebSocket: its path and headers.
///
/// Connections that a server accepts on `ws://` and `wss://`, and those of axum's routes, have it in
/// [`PeerInfo::extensions`](crate::PeerInfo::extensions): for [`ServerBuilder::access`](crate::ServerBuilder::access), a
/// [`Handshake`](crate::Handshake) and handlers. Cookies, tokens and what proxies add are as the client, or the proxy,
/// has written them: nothing here is proved.
///
/// ```
/// use muxado_rpc::{Access, Server, WebSocketRequest};
///
/// let server = Server::builder().access(|peer| {
///     let request = peer.extensions().get::<WebSocketRequest>();
///     match request.and_then(|request| request.header("authorization")) {
///         Some("Bearer sesame") => Access::all(),
///         _ => Access::refuse(),
///     }
/// });
/// # let _ = server;
/// ```
#[derive(Clone)]
pub struct WebSocketRequest {
    inner: Arc<Inner>,
}

struct Inner {
    path: String,
    headers: Vec<(String, Vec<u8>)>,
}

impl WebSocketRequest {
    pub(crate) fn new(path: String, headers: Vec<(String, Vec<u8>)>) -> Self {
        Self { inner: Arc::new(Inner { path, headers }) }
    }

    /// Returns path and query, as in `/rpc?tenant=7`.
    pub fn path(&self) -> &str {
        &self.inner.path
    }

    /// Returns the first value of a header, if it is text. The name is matched in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut named = self.headers().filter(|(known, _)| known.eq_ignore_ascii_case(name));
        named.next().and_then(|(_, value)| str::from_utf8(value).ok())
    }

    /// Returns all headers, their names in lower case.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.inner.headers.iter().map(|(name, value)| (name.as_str(), value.as_slice()))
    }

    /// Returns whether a page of another site has asked for the WebSocket. Browsers say which page it was, and what is no
    /// browser says nothing.
    pub(crate) fn is_of_other_site(&self, allowed: &[String]) -> bool {
        let Some(origin) = self.headers().find(|(name, _)| *name == "origin") else { return false };
        let origin = str::from_utf8(origin.1).unwrap_or_default();
        let is_own = origin
            .split_once("://")
            .is_some_and(|(_, site)| self.header("host").is_some_and(|host| host.eq_ignore_ascii_case(site)));
        !is_own && !allowed.iter().any(|known| known == "*" || known.eq_ignore_ascii_case(origin))
    }
}

/// Shows the path and the names of the headers, whose values may be secrets.
impl fmt::Debug for WebSocketRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path().split('?').next();
        let names: Vec<_> = self.headers().map(|(name, _)| name).collect();
        f.debug_struct("WebSocketRequest").field("path", &path).field("headers", &names).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(origin: &str, host: &str) -> WebSocketRequest {
        let headers = [("origin", origin), ("host", host)];
        let headers = headers.map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()));
        WebSocketRequest::new("/rpc?token=secret".to_owned(), headers.to_vec())
    }

    #[test]
    fn a_page_of_another_site_is_known_by_its_origin() {
        assert!(!of("https://app.example", "app.example").is_of_other_site(&[]));
        assert!(!of("http://App.example:8080", "app.example:8080").is_of_other_site(&[]));
        for (origin, host) in [("https://evil.example", "app.example"), ("null", "app.example"), ("", "")] {
            assert!(of(origin, host).is_of_other_site(&["https://ok.example".to_owned()]), "{origin}");
        }
        assert!(!of("https://ok.example", "x").is_of_other_site(&["https://ok.example".to_owned()]));
        assert!(!of("null", "x").is_of_other_site(&["*".to_owned()]));
        assert!(!WebSocketRequest::new(String::new(), Vec::new()).is_of_other_site(&[]));
    }

    #[test]
    fn headers_are_found_in_any_case_and_their_values_are_not_shown() {
        let request = of("https://a", "b");
        assert_eq!((request.header("Host"), request.header("x")), (Some("b"), None));
        let shown = format!("{request:?}");
        assert!(shown.contains("/rpc") && shown.contains("origin"), "{shown}");
        assert!(!shown.contains("secret") && !shown.contains("https"), "{shown}");
    }
}
