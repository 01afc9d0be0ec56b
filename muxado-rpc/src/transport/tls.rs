//! TLS, by rustls, of which nothing shows in the public API.
//!
//! | question | file |
//! |---|---|
//! | what does a server need, and how is a connection accepted | `server` |
//! | what does a client need, and how is a connection made | `client` |
//! | what is read from files, and when again | `pem`, `reload` |
//! | who is the peer | `names` |
//! | who has a server to be, where that is not the name of the address | `verify` |
//! | what if nothing is to be verified | `unverified` |
//! | what went wrong, by name | `error` |
//! | what runs under a session | `socket` |

pub(crate) mod client;
pub(crate) mod error;
mod names;
mod pem;
mod reload;
pub(crate) mod server;
pub(crate) mod socket;
mod unverified;
mod verify;

use std::sync::Arc;

use rustls::crypto::CryptoProvider;

/// The protocol that peers agree on in the handshake, where both name any (RFC 7301).
pub(crate) const ALPN: &[u8] = b"muxado/1";

/// That of WebSocket, which begins as HTTP.
pub(crate) const ALPN_HTTP: &[u8] = b"http/1.1";

/// Returns the provider of this build, whatever the process has installed as its default. A program that has several in
/// its tree is asked nothing.
fn provider() -> Arc<CryptoProvider> {
    #[cfg(feature = "tls-aws-lc")]
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    #[cfg(all(feature = "tls-ring", not(feature = "tls-aws-lc")))]
    let provider = rustls::crypto::ring::default_provider();
    #[cfg(not(any(feature = "tls-ring", feature = "tls-aws-lc")))]
    compile_error!("TLS needs one of the features `tls-ring` and `tls-aws-lc`");
    Arc::new(provider)
}
