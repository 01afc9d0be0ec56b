//! The side that accepts.

use std::{fmt, io, path::PathBuf, sync::Arc, time::Duration};

use rustls::{
    RootCertStore, ServerConfig,
    server::{StoresServerSessions, WebPkiClientVerifier, danger::ClientCertVerifier},
    sign::CertifiedKey,
};
use tokio_rustls::TlsAcceptor;

use super::{
    error::{TlsConfigError, TlsError},
    pem::Pem,
    provider,
    reload::{Reloading, Source},
    socket::TlsSocket,
};
use crate::transport::{connector::BoxIo, linger::linger};

/// TLS of a server that listens on `tls://` or `wss://`: its certificate and key, and whose clients it takes.
///
/// Certificates and keys are PEM, from files or texts. The certificate comes first in its text, the intermediate ones
/// behind it. Clones share what they have read: a [`reload`](Self::reload) of one is one of all.
///
/// Versions are TLS 1.3 and 1.2. Where the client offers application protocols (ALPN) it has to offer `muxado/1`, and
/// `http/1.1` on `wss://`.
///
/// # Rotation
///
/// Files are looked at again every ten seconds, when a client connects ([`reload_interval`](Self::reload_interval)), and
/// read when they have changed. New connections have the new certificate, those that are there go on. If a new
/// certificate or key cannot be used, the old ones stay, and the log says why, once for each change.
///
/// ```no_run
/// use muxado_rpc::{Server, ServerTls};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let tls = ServerTls::from_files("server.pem", "server.key").client_ca_file("agents-ca.pem");
/// let server = Server::builder().tls(tls).listen("tls://0.0.0.0:7443").await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use = "it does nothing until it is given to a server"]
pub struct ServerTls {
    settings: Arc<Settings>,
    reload_interval: Duration,
    loaded: Arc<Reloading<ServerConfig>>,
}

#[derive(Clone)]
struct Settings {
    chain: Pem,
    key: Pem,
    /// Those of clients; none, and clients are not asked.
    authorities: Vec<Pem>,
    revocations: Vec<Pem>,
    is_optional: bool,
}

impl ServerTls {
    /// Creates the TLS of a server from files. They are read when the server begins to listen, or with
    /// [`reload`](Self::reload).
    pub fn from_files(chain: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        Self::new(Pem::File(chain.into()), Pem::File(key.into()))
    }

    /// Creates the TLS of a server from texts in PEM.
    pub fn from_pem(chain: impl AsRef<[u8]>, key: impl AsRef<[u8]>) -> Self {
        Self::new(Pem::Text(chain.as_ref().to_vec()), Pem::Text(key.as_ref().to_vec()))
    }

    fn new(chain: Pem, key: Pem) -> Self {
        let settings =
            Settings { chain, key, authorities: Vec::new(), revocations: Vec::new(), is_optional: false };
        Self { settings: Arc::new(settings), reload_interval: RELOAD_INTERVAL, loaded: Arc::default() }
    }

    /// Requires clients to have a certificate that one of these authorities has signed, a text in PEM. Off by default.
    /// May be called several times.
    pub fn client_ca(self, authorities: impl AsRef<[u8]>) -> Self {
        let pem = Pem::Text(authorities.as_ref().to_vec());
        self.with(|settings| settings.authorities.push(pem))
    }

    /// Requires clients to have a certificate that one of the authorities in a file has signed. Off by default. May be
    /// called several times.
    pub fn client_ca_file(self, path: impl Into<PathBuf>) -> Self {
        let pem = Pem::File(path.into());
        self.with(|settings| settings.authorities.push(pem))
    }

    /// Takes clients without a certificate, too: they have no identity. A certificate that is presented still has to be
    /// valid. Without an authority for clients this changes nothing.
    pub fn client_certificate_optional(self) -> Self {
        self.with(|settings| settings.is_optional = true)
    }

    /// Refuses clients whose certificates are on these revocation lists, a text in PEM. Certificates of authorities that
    /// are on no list are taken.
    pub fn client_revocations(self, lists: impl AsRef<[u8]>) -> Self {
        let pem = Pem::Text(lists.as_ref().to_vec());
        self.with(|settings| settings.revocations.push(pem))
    }

    /// Refuses clients whose certificates are on the revocation lists in a file; see
    /// [`client_revocations`](Self::client_revocations). The file is looked at again as the certificate is.
    pub fn client_revocations_file(self, path: impl Into<PathBuf>) -> Self {
        let pem = Pem::File(path.into());
        self.with(|settings| settings.revocations.push(pem))
    }

    /// Sets how often the files are looked at, while clients connect. Default 10 s; with `Duration::ZERO` each time,
    /// with `Duration::MAX` never.
    pub fn reload_interval(mut self, interval: Duration) -> Self {
        self.reload_interval = interval;
        self
    }

    /// Reads the files now, for new connections of all servers that have this TLS or a clone of it. Blocks while it
    /// reads.
    ///
    /// # Errors
    ///
    /// Returns an error if a file cannot be read or used. What was read before stays in use.
    pub fn reload(&self) -> Result<(), TlsConfigError> {
        self.loaded.reload(&*self.settings)
    }

    fn with(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(Arc::make_mut(&mut self.settings));
        self.loaded = Arc::default();
        self
    }

    /// Reads the files if they have not been read.
    pub(crate) async fn prepare(&self) -> Result<(), TlsConfigError> {
        self.loaded.get(&self.settings, self.reload_interval).await.map(drop)
    }

    /// Does the handshake of the side that accepts, for this protocol.
    pub(crate) async fn accept(&self, protocol: &[u8], io: BoxIo) -> io::Result<TlsSocket> {
        let loaded = self.loaded.get(&self.settings, self.reload_interval).await?;
        let mut config = ServerConfig::clone(&loaded);
        config.alpn_protocols = vec![protocol.to_vec()];
        match TlsAcceptor::from(Arc::new(config)).accept(io).into_fallible().await {
            Ok(stream) => Ok(TlsSocket::new(stream.into())),
            Err((error, io)) => {
                linger(io).await;
                Err(TlsError::of_handshake(error))
            }
        }
    }
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls")
            .field("chain", &self.settings.chain)
            .field("client_ca", &self.settings.authorities)
            .field("client_certificate_optional", &self.settings.is_optional)
            .finish_non_exhaustive()
    }
}

impl Settings {
    fn verifier(&self) -> Result<Arc<dyn ClientCertVerifier>, TlsConfigError> {
        if self.authorities.is_empty() {
            return Ok(WebPkiClientVerifier::no_client_auth());
        }
        let roots = roots(&self.authorities)?;
        let mut verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
        if !self.revocations.is_empty() {
            verifier = verifier.with_crls(revocations(&self.revocations)?).allow_unknown_revocation_status();
        }
        if self.is_optional {
            verifier = verifier.allow_unauthenticated();
        }
        verifier.build().map_err(|error| TlsConfigError::Authorities { problem: error.to_string() })
    }
}

impl Source for Settings {
    type Config = ServerConfig;

    fn load(&self) -> Result<ServerConfig, TlsConfigError> {
        let pair = pair(&self.chain, &self.key)?;
        let builder = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsConfigError::Authorities { problem: error.to_string() })?;
        let resolver = rustls::sign::SingleCertAndKey::from(pair);
        let mut config =
            builder.with_client_cert_verifier(self.verifier()?).with_cert_resolver(Arc::new(resolver));
        config.session_storage = Arc::new(NoResumption);
        Ok(config)
    }

    fn files(&self) -> Vec<PathBuf> {
        let all = [&self.chain, &self.key].into_iter().chain(&self.authorities).chain(&self.revocations);
        all.filter_map(|pem| pem.path().map(Into::into)).collect()
    }
}

/// Returns a certificate with its key, if they belong together.
pub(super) fn pair(chain: &Pem, key: &Pem) -> Result<CertifiedKey, TlsConfigError> {
    let (certificates, secret) = (chain.certificates()?, key.key()?);
    CertifiedKey::from_der(certificates, secret, &provider()).map_err(|error| TlsConfigError::Pair {
        certificate: chain.to_string(),
        key: key.to_string(),
        problem: error.to_string(),
    })
}

pub(super) fn roots(authorities: &[Pem]) -> Result<RootCertStore, TlsConfigError> {
    let mut roots = RootCertStore::empty();
    for pem in authorities {
        for certificate in pem.certificates()? {
            roots.add(certificate).map_err(|error| TlsConfigError::Pem {
                origin: pem.to_string(),
                problem: format!("it holds a certificate that cannot be an authority: {error}"),
            })?;
        }
    }
    Ok(roots)
}

pub(super) fn revocations(
    lists: &[Pem],
) -> Result<Vec<rustls::pki_types::CertificateRevocationListDer<'static>>, TlsConfigError> {
    let mut all = Vec::new();
    for pem in lists {
        all.extend(pem.revocations()?);
    }
    Ok(all)
}

/// Sessions are not resumed: connections live long, and a certificate is to be looked at for each. In TLS 1.3 tickets
/// are sent all the same, by which a client learns that its certificate was accepted.
#[derive(Debug)]
struct NoResumption;

impl StoresServerSessions for NoResumption {
    fn put(&self, _key: Vec<u8>, _value: Vec<u8>) -> bool {
        true
    }

    fn get(&self, _key: &[u8]) -> Option<Vec<u8>> {
        None
    }

    fn take(&self, _key: &[u8]) -> Option<Vec<u8>> {
        None
    }

    fn can_cache(&self) -> bool {
        false
    }
}

/// How often files are looked at.
pub(super) const RELOAD_INTERVAL: Duration = Duration::from_secs(10);
