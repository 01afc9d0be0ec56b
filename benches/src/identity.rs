//! What peers with TLS show and trust: a certificate that is its own root, since both ends are in this process.

use std::sync::LazyLock;

use rcgen::CertifiedKey;

use crate::Result;

/// Whom the certificate is for.
pub(crate) const HOST: &str = "localhost";

/// The certificate and its key.
pub(crate) struct Identity(CertifiedKey<rcgen::KeyPair>);

static IDENTITY: LazyLock<Result<Identity, rcgen::Error>> =
    LazyLock::new(|| rcgen::generate_simple_self_signed([HOST.to_owned()]).map(Identity));

/// Returns that of this process.
pub(crate) fn identity() -> Result<&'static Identity> {
    IDENTITY.as_ref().map_err(|error| error.to_string().into())
}

impl Identity {
    pub(crate) fn certificate_pem(&self) -> String {
        self.0.cert.pem()
    }

    pub(crate) fn key_pem(&self) -> String {
        self.0.signing_key.serialize_pem()
    }

    pub(crate) fn certificate_der(&self) -> Vec<u8> {
        self.0.cert.der().to_vec()
    }

    pub(crate) fn key_der(&self) -> Vec<u8> {
        self.0.signing_key.serialize_der()
    }
}
