//! Who is at the other end of a transport, as far as the transport made it prove that.

use std::{fmt, sync::Arc};

/// The certificates that a peer has presented and that were verified, in DER, its own first.
///
/// Connections over `tls://` have them in [`PeerInfo::extensions`](crate::PeerInfo::extensions), on both sides, if the
/// other side presented any. A [`Handshake`](crate::Handshake) of another kind may put its own there.
///
/// ```
/// use muxado_rpc::{PeerCertificates, PeerInfo};
///
/// fn fingerprint(peer: &PeerInfo, hash: impl Fn(&[u8]) -> String) -> Option<String> {
///     let certificates = peer.extensions().get::<PeerCertificates>()?;
///     certificates.iter().next().map(hash)
/// }
/// # let _ = fingerprint(&PeerInfo::default(), |_| String::new());
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct PeerCertificates {
    chain: Arc<[Vec<u8>]>,
}

impl PeerCertificates {
    /// Creates a chain of certificates in DER.
    pub fn new(chain: impl IntoIterator<Item = Vec<u8>>) -> Self {
        Self { chain: chain.into_iter().collect() }
    }

    /// Returns the certificates, that of the peer first.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.chain.iter().map(Vec::as_slice)
    }
}

/// Shows how many there are.
impl fmt::Debug for PeerCertificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PeerCertificates({})", self.chain.len())
    }
}

/// What the other end of a transport has proved.
#[derive(Clone, Debug)]
pub(crate) struct Identified {
    pub(crate) identity: Option<String>,
    pub(crate) certificates: PeerCertificates,
}
