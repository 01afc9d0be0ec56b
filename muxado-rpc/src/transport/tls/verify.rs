//! Who a server has to be, where that is not the name of the address.

use std::{fmt, sync::Arc};

use rustls::{
    CertificateError, DigitallySignedStruct, Error, OtherError, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    pki_types::{CertificateDer, ServerName, UnixTime},
};

use super::{error::CertificateProblem, names};

/// Takes servers with one of these identities, whatever the name of the address is. The chain, its time and revocations
/// are verified as ever.
#[derive(Debug)]
pub(super) struct IdentityVerifier {
    inner: Arc<WebPkiServerVerifier>,
    expected: Vec<String>,
}

impl IdentityVerifier {
    pub(super) fn new(inner: Arc<WebPkiServerVerifier>, expected: Vec<String>) -> Self {
        Self { inner, expected }
    }
}

impl ServerCertVerifier for IdentityVerifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        // The name is looked at last, when all else is right.
        match self.inner.verify_server_cert(certificate, intermediates, name, ocsp_response, now) {
            Ok(_)
            | Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => {}
            Err(error) => return Err(error),
        }
        let presented = names::identity(certificate);
        if presented.as_ref().is_some_and(|presented| self.expected.contains(presented)) {
            return Ok(ServerCertVerified::assertion());
        }
        let wrong = WrongIdentity { expected: self.expected.clone(), presented };
        Err(CertificateError::Other(OtherError(Arc::new(wrong))).into())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// How the verifier tells [`CertificateProblem::WrongIdentity`] through rustls.
#[derive(Debug)]
pub(super) struct WrongIdentity {
    expected: Vec<String>,
    presented: Option<String>,
}

impl WrongIdentity {
    pub(super) fn problem(&self) -> CertificateProblem {
        let Self { expected, presented } = self;
        CertificateProblem::WrongIdentity { expected: expected.clone(), presented: presented.clone() }
    }
}

impl fmt::Display for WrongIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.problem().fmt(f)
    }
}

impl std::error::Error for WrongIdentity {}
