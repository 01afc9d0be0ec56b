//! Certificates, keys and revocation lists in PEM: from files or texts.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    time::SystemTime,
};

use rustls::pki_types::{
    CertificateDer, CertificateRevocationListDer, PrivateKeyDer,
    pem::{Error as PemError, PemObject},
};

use super::error::TlsConfigError;

/// Where a text in PEM comes from.
#[derive(Clone)]
pub(super) enum Pem {
    File(PathBuf),
    Text(Vec<u8>),
}

impl Pem {
    pub(super) fn path(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            Self::Text(_) => None,
        }
    }

    pub(super) fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, TlsConfigError> {
        self.items("certificate")
    }

    pub(super) fn revocations(&self) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsConfigError> {
        self.items("revocation list")
    }

    pub(super) fn key(&self) -> Result<PrivateKeyDer<'static>, TlsConfigError> {
        PrivateKeyDer::from_pem_slice(&self.read()?).map_err(|error| self.wrong("private key", &error))
    }

    fn items<T: PemObject>(&self, what: &'static str) -> Result<Vec<T>, TlsConfigError> {
        let text = self.read()?;
        let items: Result<Vec<_>, _> = T::pem_slice_iter(&text).collect();
        match items {
            Ok(items) if items.is_empty() => Err(self.wrong(what, &PemError::NoItemsFound)),
            Ok(items) => Ok(items),
            Err(error) => Err(self.wrong(what, &error)),
        }
    }

    fn read(&self) -> Result<Vec<u8>, TlsConfigError> {
        match self {
            Self::File(path) => {
                fs::read(path).map_err(|source| TlsConfigError::File { path: path.clone(), source })
            }
            Self::Text(text) => Ok(text.clone()),
        }
    }

    /// The text itself is never shown: it may be a key.
    fn wrong(&self, what: &'static str, error: &PemError) -> TlsConfigError {
        let problem = match error {
            PemError::NoItemsFound => format!("it holds no {what}"),
            _ => format!("it cannot be read as PEM with a {what}"),
        };
        TlsConfigError::Pem { origin: self.to_string(), problem }
    }
}

/// The path; of a text, that it is one.
impl fmt::Display for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Text(_) => f.write_str("the given text"),
        }
    }
}

impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What shows that a file is another one: a file that is not there has one, too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stamp(Option<(SystemTime, u64, u64)>);

impl Stamp {
    pub(super) fn of(path: &Path) -> Self {
        let read = || -> io::Result<_> {
            let metadata = fs::metadata(path)?;
            Ok((metadata.modified()?, metadata.len(), inode(&metadata)))
        };
        Self(read().ok())
    }
}

#[cfg(unix)]
fn inode(metadata: &fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(metadata)
}

#[cfg(not(unix))]
fn inode(_: &fs::Metadata) -> u64 {
    0
}
