//! Who is at the other end of a connection.

use std::{fmt, mem};

use crate::{
    Extensions, UnixCredentials,
    support::{panics, truncate::Brief},
    transport::identity::Identified,
};

/// Who is at the other end of a connection.
///
/// ```
/// use muxado_rpc::PeerInfo;
///
/// let peer = PeerInfo::new("tcp://10.0.0.7:41234").with_identity("CN=pump-7");
/// assert_eq!(peer.identity(), Some("CN=pump-7"));
/// assert_eq!(peer.to_string(), "CN=pump-7 at tcp://10.0.0.7:41234");
/// ```
#[derive(Clone, Debug, Default)]
pub struct PeerInfo {
    address: Option<String>,
    identity: Option<String>,
    extensions: Extensions,
}

impl PeerInfo {
    /// Describes a peer at this address.
    pub fn new(address: impl Into<String>) -> Self {
        let mut peer = Self::default();
        peer.address = Some(address.into());
        peer
    }

    /// Returns it with an identity that was proved, such as the subject of a TLS certificate.
    #[must_use]
    pub fn with_identity(mut self, identity: impl Into<String>) -> Self {
        self.identity = Some(identity.into());
        self
    }

    /// Sets the address, once it is known that it is another one.
    pub(crate) fn set_address(&mut self, address: String) {
        self.address = Some(address);
    }

    /// Returns it with what the system says of the other end of a Unix socket.
    pub(crate) fn with_credentials(mut self, credentials: Option<UnixCredentials>) -> Self {
        if let Some(credentials) = credentials {
            self.identity = Some(credentials.identity());
            self.extensions.insert(credentials);
        }
        self
    }

    /// Sets the identity, of use in a [`Handshake`](crate::Handshake).
    pub fn set_identity(&mut self, identity: impl Into<String>) {
        self.identity = Some(identity.into());
    }

    /// Returns the peer's address, as in `tcp://127.0.0.1:41234`; `None` for a transport that has none.
    pub fn address(&self) -> Option<&str> {
        self.address.as_deref()
    }

    /// Returns what the peer has proved to be: what a handshake has set, or `uid=` and the user's number for a Unix
    /// socket, of which [`UnixCredentials`] in the extensions say more.
    pub fn identity(&self) -> Option<&str> {
        self.identity.as_deref()
    }

    /// Notes what the transport made the peer prove.
    pub(crate) fn note_identified(&mut self, identified: Option<&Identified>) {
        let Some(identified) = identified else { return };
        self.identity.clone_from(&identified.identity);
        self.extensions.insert(identified.certificates.clone());
    }

    /// Returns whether address and identity are those of the other.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        (&self.address, &self.identity) == (&other.address, &other.identity)
    }

    /// Returns what else was learnt when the connection was made.
    pub fn extensions(&self) -> &Extensions {
        &self.extensions
    }

    /// Returns a mutable reference to what was learnt when the connection was made.
    pub fn extensions_mut(&mut self) -> &mut Extensions {
        &mut self.extensions
    }
}

impl Drop for PeerInfo {
    /// A connection, or its server, is not to end by a value that panics.
    fn drop(&mut self) {
        if !self.extensions.is_empty() {
            panics::discard(mem::take(&mut self.extensions));
        }
    }
}

/// Identity and address, as far as they are known, or `unknown peer`: of each at most 256 bytes, escaped, since a peer
/// chooses what its certificate says.
impl fmt::Display for PeerInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.identity, &self.address) {
            (Some(identity), Some(address)) => write!(f, "{} at {}", Brief(identity), Brief(address)),
            (Some(one), None) | (None, Some(one)) => Brief(one).fmt(f),
            (None, None) => f.write_str("unknown peer"),
        }
    }
}
