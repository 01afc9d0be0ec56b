//! What goes wrong with TLS, by name.

use std::{error::Error, fmt, io, path::PathBuf};

use rustls::{AlertDescription, CertificateError, InvalidMessage, OtherError};

use super::verify::WrongIdentity;
use crate::support::{
    sources::find,
    truncate::{Brief, Escaped, brief},
};

/// Why a connection over TLS could not be made, or was cut.
///
/// It lies in the `io::Error` of [`ConnectError::Io`](crate::ConnectError::Io) and of the end of a session;
/// [`TlsError::of`] finds it.
///
/// ```
/// use muxado_rpc::{CertificateProblem, ConnectError, TlsError};
///
/// fn advice(error: &ConnectError) -> &'static str {
///     match TlsError::of(error) {
///         Some(TlsError::PeerCertificate(CertificateProblem::UnknownIssuer)) => "install our CA",
///         Some(TlsError::NoClientCertificate) => "enrol this machine first",
///         Some(TlsError::NotTls) => "the server speaks no TLS: try tcp://",
///         _ => "try again later",
///     }
/// }
/// # let _ = advice;
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The certificate of the peer is not accepted by this side.
    #[error("the peer's certificate {0}")]
    PeerCertificate(CertificateProblem),
    /// The certificate of this side is not accepted by the peer, which says no more than this. A certificate that is not
    /// valid yet is refused as expired: TLS has one code for both.
    #[error("the peer refuses this side's certificate: it {0}")]
    OwnCertificate(CertificateProblem),
    /// The server takes clients with a certificate only, and the client has presented none.
    #[error("no client certificate, which the server requires (ClientTls::identity)")]
    NoClientCertificate,
    /// What the peer sends is not TLS.
    #[error("the peer does not speak TLS on this port")]
    NotTls,
    /// The client has offered application protocols, and `muxado/1` is none of them.
    #[error("no common application protocol: both sides name some (ALPN), and not both name muxado/1")]
    NoCommonProtocol,
    /// Versions, cipher suites or groups have nothing in common.
    #[error("no common version or cipher suite of TLS: {0}")]
    Incompatible(String),
    /// The connection ended before the handshake was done.
    #[error("the peer ended the connection in the TLS handshake")]
    Cut,
    /// The name of the server is neither a DNS name nor an IP address.
    #[error("{} is no name that a certificate can be for (ClientTls::server_name)", Brief(.0))]
    InvalidName(String),
    /// TLS is configured, and the address is not one of `tls://` or `wss://`.
    #[error("TLS is configured, but the address is not tls:// or wss://")]
    NotUsed,
    /// The certificates of this side cannot be read.
    #[error("{0}")]
    Config(String),
    /// Something else, in the words of rustls.
    #[error("TLS failed: {0}")]
    Other(String),
}

/// Why a certificate is not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CertificateProblem {
    /// It is signed by no certificate authority that is trusted.
    UnknownIssuer,
    /// It is not for the name that was connected to.
    WrongName {
        /// The name that was connected to, or that of `ClientTls::server_name`.
        expected: String,
        /// The names that the certificate is for.
        presented: Vec<String>,
    },
    /// It is not that of the server that is asked for (`ClientTls::server_identity`).
    WrongIdentity {
        /// The identities that would do.
        expected: Vec<String>,
        /// What the certificate says, if anything.
        presented: Option<String>,
    },
    /// Its time is over.
    Expired,
    /// Its time has not come.
    NotYetValid,
    /// It is on a revocation list.
    Revoked,
    /// It is refused for another reason: its signature, its purpose, its form.
    Refused(String),
}

impl fmt::Display for CertificateProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownIssuer => f.write_str("is signed by no trusted certificate authority"),
            Self::WrongName { expected, presented } if presented.is_empty() => {
                write!(f, "is not valid for {}", Brief(expected))
            }
            Self::WrongName { expected, presented } => {
                write!(f, "is not valid for {}, only for {}", Brief(expected), Brief(presented.join(", ")))
            }
            Self::WrongIdentity { expected, presented } => {
                write!(f, "is not that of {}, ", Brief(expected.join(" or ")))?;
                match presented {
                    Some(presented) => write!(f, "but of {}", Brief(presented)),
                    None => f.write_str("and says no identity"),
                }
            }
            Self::Expired => f.write_str("has expired"),
            Self::NotYetValid => f.write_str("is not valid yet"),
            Self::Revoked => f.write_str("is revoked"),
            Self::Refused(why) => write!(f, "is refused: {}", Brief(why)),
        }
    }
}

impl TlsError {
    /// Returns the TLS error that lies in an error, or in one of its sources.
    pub fn of<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Self> {
        find(error)
    }

    /// Gives an error of rustls its name. Others stay as they are.
    pub(super) fn named(error: io::Error) -> io::Error {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(inner) => Self::from(inner).into(),
            None => error,
        }
    }

    /// Names the error of a handshake.
    pub(super) fn of_handshake(error: io::Error) -> io::Error {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Cut.into(),
            _ => Self::named(error),
        }
    }
}

impl From<TlsError> for io::Error {
    fn from(error: TlsError) -> Self {
        let kind = match error {
            TlsError::Cut => io::ErrorKind::UnexpectedEof,
            TlsError::InvalidName(_) | TlsError::NotUsed | TlsError::Config(_) => io::ErrorKind::InvalidInput,
            TlsError::OwnCertificate(_) | TlsError::NoClientCertificate => io::ErrorKind::PermissionDenied,
            _ => io::ErrorKind::InvalidData,
        };
        Self::new(kind, error)
    }
}

impl From<&rustls::Error> for TlsError {
    fn from(error: &rustls::Error) -> Self {
        match error {
            rustls::Error::InvalidCertificate(problem) => Self::PeerCertificate(problem.into()),
            rustls::Error::NoCertificatesPresented => Self::NoClientCertificate,
            rustls::Error::AlertReceived(alert) => of_alert(*alert),
            rustls::Error::NoApplicationProtocol => Self::NoCommonProtocol,
            // The first bytes are no header of a record.
            rustls::Error::InvalidMessage(
                InvalidMessage::InvalidContentType
                | InvalidMessage::UnknownProtocolVersion
                | InvalidMessage::MessageTooLarge
                | InvalidMessage::InvalidEmptyPayload,
            ) => Self::NotTls,
            rustls::Error::PeerIncompatible(why) => {
                Self::Incompatible(brief(format_args!("{why:?}"), MAX_TEXT))
            }
            _ => Self::Other(brief(error, MAX_TEXT)),
        }
    }
}

/// What the peer found wrong, as far as its code says.
fn of_alert(alert: AlertDescription) -> TlsError {
    use AlertDescription as Alert;
    let refused = |why: &str| TlsError::OwnCertificate(CertificateProblem::Refused(why.to_owned()));
    match alert {
        Alert::CertificateRequired | Alert::NoCertificate => TlsError::NoClientCertificate,
        Alert::UnknownCA => TlsError::OwnCertificate(CertificateProblem::UnknownIssuer),
        Alert::CertificateExpired => TlsError::OwnCertificate(CertificateProblem::Expired),
        Alert::CertificateRevoked => TlsError::OwnCertificate(CertificateProblem::Revoked),
        Alert::BadCertificate => refused("bad certificate, or not for the name that was asked for"),
        Alert::UnsupportedCertificate => refused("a certificate for another purpose or of another kind"),
        Alert::CertificateUnknown => refused("no reason is given"),
        Alert::DecryptError => refused("its signature, or that of its authority, does not verify"),
        Alert::AccessDenied => refused("access is denied"),
        Alert::NoApplicationProtocol => TlsError::NoCommonProtocol,
        Alert::ProtocolVersion | Alert::HandshakeFailure | Alert::InsufficientSecurity => {
            TlsError::Incompatible(format!("the peer says {alert:?}"))
        }
        _ => TlsError::Other(format!("the peer says {alert:?}")),
    }
}

impl From<&CertificateError> for CertificateProblem {
    fn from(error: &CertificateError) -> Self {
        match error {
            CertificateError::UnknownIssuer => Self::UnknownIssuer,
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Self::NotYetValid,
            CertificateError::Revoked => Self::Revoked,
            CertificateError::NotValidForNameContext { expected, presented } => {
                let presented = presented.iter().take(MAX_NAMES).map(|name| brief(name, MAX_TEXT)).collect();
                Self::WrongName { expected: expected.to_str().into_owned(), presented }
            }
            CertificateError::Other(OtherError(other)) if other.is::<WrongIdentity>() => {
                other.downcast_ref().map_or_else(|| Self::Refused(String::new()), WrongIdentity::problem)
            }
            CertificateError::NotValidForName => {
                Self::WrongName { expected: "the server's name".to_owned(), presented: Vec::new() }
            }
            _ => Self::Refused(brief(error, MAX_TEXT)),
        }
    }
}

/// Why certificates and keys cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsConfigError {
    /// A file cannot be read.
    #[error("cannot read {}: {}", .path.display(), Escaped(.source))]
    File {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// A file, or a text that was given, does not hold what it is for.
    #[error("{origin}: {problem}")]
    Pem {
        /// The path of the file.
        origin: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The certificate and the key do not belong together, or one of them is not valid.
    #[error("the certificate {certificate} with the key {key} cannot be used: {problem}")]
    Pair {
        /// Where the certificate comes from.
        certificate: String,
        /// Where the key comes from.
        key: String,
        /// What is wrong with them.
        problem: String,
    },
    /// The certificate authorities or revocation lists cannot be used.
    #[error("the certificate authorities cannot be used: {problem}")]
    Authorities {
        /// What is wrong with them.
        problem: String,
    },
    /// A server is to listen on `tls://` or `wss://` and has no certificate.
    #[error("tls:// and wss:// need a certificate (ServerBuilder::tls)")]
    NoCertificate,
    /// A server has a certificate, and none of its addresses is `tls://` or `wss://`.
    #[error("ServerBuilder::tls is set, but the address is not tls:// or wss://")]
    NotUsed,
    /// The files were not read, because the runtime ends.
    #[error("the certificates were not read: the runtime has ended")]
    Unread,
}

impl From<TlsConfigError> for io::Error {
    fn from(error: TlsConfigError) -> Self {
        TlsError::Config(error.to_string()).into()
    }
}

/// Bytes that are shown of what may be a peer's text.
const MAX_TEXT: usize = 256;

/// Names of a certificate that are shown.
const MAX_NAMES: usize = 16;
