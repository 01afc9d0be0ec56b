//! The side that connects.

use std::{
    fmt,
    future::poll_fn,
    io,
    path::PathBuf,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use rustls::{
    ClientConfig, ProtocolVersion, RootCertStore, SignatureScheme,
    client::{ResolvesClientCert, Resumption, WebPkiServerVerifier, danger::ServerCertVerifier},
    pki_types::ServerName,
    sign::{CertifiedKey, SingleCertAndKey},
};
use tokio::io::AsyncBufRead;
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{
    error::{TlsConfigError, TlsError},
    pem::Pem,
    provider,
    reload::{Reloading, Source},
    server::{RELOAD_INTERVAL, pair, revocations, roots},
    socket::TlsSocket,
    unverified::AnyServer,
    verify::IdentityVerifier,
};
use crate::{support::timer, transport::connector::BoxIo};

/// TLS of a client that connects to `tls://` or `wss://`: which servers it trusts, and who it is itself.
///
/// By default the authorities of the system are trusted, and the certificate has to be for the host in the address.
/// Certificates and keys are PEM, from files or texts. Files are looked at again every ten seconds, when a connection is
/// made, so that a certificate can be replaced while the program runs; if the new one cannot be used, the old one
/// stays. Clones share what they have read.
///
/// ```no_run
/// use muxado_rpc::{ClientTls, Peer, Reconnect};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// // A server with a certificate of a public authority needs nothing.
/// let peer = Peer::builder().connect("tls://rpc.example.org:7443").await?;
///
/// // An authority of our own, and a certificate for this side.
/// let tls = ClientTls::with_ca_file("ca.pem").identity_files("agent.pem", "agent.key");
/// let hub = Peer::builder().tls(tls);
/// let channel = Reconnect::builder().address("tls://hub.internal:7443").peer(hub).build()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use = "it does nothing until it is given to a client"]
pub struct ClientTls {
    settings: Arc<Settings>,
    server_name: Option<String>,
    reload_interval: Duration,
    loaded: Arc<Reloading<ClientConfig>>,
}

#[derive(Clone, Default)]
struct Settings {
    authorities: Vec<Pem>,
    system_roots: bool,
    #[cfg(feature = "tls-webpki-roots")]
    webpki_roots: bool,
    identity: Option<(Pem, Pem)>,
    /// Who the server has to be; none, and the name decides.
    server_identities: Vec<String>,
    revocations: Vec<Pem>,
    any_server: bool,
}

impl Default for ClientTls {
    fn default() -> Self {
        Self::new()
    }
}

impl ClientTls {
    /// Creates the TLS of a client that trusts the authorities of the system.
    pub fn new() -> Self {
        Self {
            settings: Arc::default(),
            server_name: None,
            reload_interval: RELOAD_INTERVAL,
            loaded: Arc::default(),
        }
    }

    /// Creates the TLS of a client that trusts these authorities only, a text in PEM.
    pub fn with_ca(authorities: impl AsRef<[u8]>) -> Self {
        Self::new().ca(authorities)
    }

    /// Creates the TLS of a client that trusts the authorities in a file only.
    pub fn with_ca_file(path: impl Into<PathBuf>) -> Self {
        Self::new().ca_file(path)
    }

    /// Trusts these authorities, a text in PEM: in place of those of the system, or beside other ones that were added.
    pub fn ca(self, authorities: impl AsRef<[u8]>) -> Self {
        let pem = Pem::Text(authorities.as_ref().to_vec());
        self.with(|settings| settings.authorities.push(pem))
    }

    /// Trusts the authorities in a file; see [`ca`](Self::ca).
    pub fn ca_file(self, path: impl Into<PathBuf>) -> Self {
        let pem = Pem::File(path.into());
        self.with(|settings| settings.authorities.push(pem))
    }

    /// Trusts the authorities of the system, beside those that were added. On Linux they are those of the files that
    /// OpenSSL reads, `SSL_CERT_FILE` and `SSL_CERT_DIR` included.
    pub fn system_roots(self) -> Self {
        self.with(|settings| settings.system_roots = true)
    }

    /// Trusts Mozilla's authorities, which are compiled into the program, beside those that were added.
    #[cfg(feature = "tls-webpki-roots")]
    pub fn webpki_roots(self) -> Self {
        self.with(|settings| settings.webpki_roots = true)
    }

    /// Sets the certificate and the key of this side, texts in PEM, for servers that ask for one.
    pub fn identity(self, chain: impl AsRef<[u8]>, key: impl AsRef<[u8]>) -> Self {
        let pair = (Pem::Text(chain.as_ref().to_vec()), Pem::Text(key.as_ref().to_vec()));
        self.with(|settings| settings.identity = Some(pair))
    }

    /// Sets the certificate and the key of this side from files, for servers that ask for one.
    pub fn identity_files(self, chain: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        let pair = (Pem::File(chain.into()), Pem::File(key.into()));
        self.with(|settings| settings.identity = Some(pair))
    }

    /// Refuses servers whose certificates are on these revocation lists, a text in PEM. Certificates of authorities that
    /// are on no list are taken.
    pub fn revocations(self, lists: impl AsRef<[u8]>) -> Self {
        let pem = Pem::Text(lists.as_ref().to_vec());
        self.with(|settings| settings.revocations.push(pem))
    }

    /// Sets the name, or the IP address, that the certificate of the server has to be for. By default it is the host of
    /// the address.
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.server_name = Some(name.into());
        self
    }

    /// Requires the server to be this one: the identity that its certificate gives it, a SPIFFE id such as
    /// `spiffe://acme/hub`, else a DNS name, else a subject; see [`PeerInfo::identity`](crate::PeerInfo::identity). May be
    /// called several times; the server has to be one of them.
    ///
    /// The certificate need not be for the host of the address then, nor for [`server_name`](Self::server_name), which is
    /// still what the server is told. All else is verified as ever. Another server is refused as
    /// [`CertificateProblem::WrongIdentity`](crate::CertificateProblem::WrongIdentity).
    ///
    /// ```no_run
    /// use muxado_rpc::{ClientTls, Peer};
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let tls = ClientTls::with_ca_file("ca.pem").server_identity("spiffe://acme/hub");
    /// let hub = Peer::builder().tls(tls).connect("tls://10.0.0.7:7443").await?;
    /// assert_eq!(hub.identity(), Some("spiffe://acme/hub"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn server_identity(self, identity: impl Into<String>) -> Self {
        let identity = identity.into();
        self.with(|settings| settings.server_identities.push(identity))
    }

    /// Takes any server, whoever it is: its certificate is not verified. **Whoever is between the two can read and change
    /// everything**, also what this side sends to prove who it is. For tests and for tools that say so.
    ///
    /// The server still has to have the key of the certificate that it shows. No identity of it is known:
    /// [`PeerInfo::identity`](crate::PeerInfo::identity) is what it claims.
    pub fn dangerous_any_server(self) -> Self {
        self.with(|settings| settings.any_server = true)
    }

    /// Sets how often the files are looked at, while connections are made. Default 10 s; with `Duration::ZERO` each
    /// time, with `Duration::MAX` never.
    pub fn reload_interval(mut self, interval: Duration) -> Self {
        self.reload_interval = interval;
        self
    }

    /// Reads the files now, for new connections of all clients that have this TLS or a clone of it. Blocks while it
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

    /// Does the handshake of the side that connects to `host`, a name or an IP address and a port, for this protocol.
    ///
    /// A server that asks for a certificate says in TLS 1.3 only later what it thinks of it. That is waited for, so that
    /// who is refused learns it here, and why.
    pub(crate) async fn connect(&self, host: &str, protocol: &[u8], io: BoxIo) -> io::Result<TlsSocket> {
        let name = self.server_name.as_deref().unwrap_or_else(|| without_port(host));
        let server =
            ServerName::try_from(name.to_owned()).map_err(|_| TlsError::InvalidName(name.to_owned()))?;
        let config = self.loaded.get(&self.settings, self.reload_interval).await?;
        let asked = Arc::new(AtomicBool::new(false));
        let mut config = ClientConfig::clone(&config);
        config.alpn_protocols = vec![protocol.to_vec()];
        config.client_auth_cert_resolver = Arc::new(NoteAsked {
            inner: Arc::clone(&config.client_auth_cert_resolver),
            asked: Arc::clone(&asked),
        });
        let connecting = TlsConnector::from(Arc::new(config)).connect(server, io);
        let mut stream = connecting.await.map_err(TlsError::of_handshake)?;
        let is_late = stream.get_ref().1.protocol_version() == Some(ProtocolVersion::TLSv1_3);
        if is_late && asked.load(Ordering::Relaxed) {
            let verdict = poll_fn(|cx| poll_verdict(&mut stream, cx));
            timer::within(VERDICT_WITHIN, verdict).await.transpose()?;
        }
        Ok(TlsSocket::new(stream.into()))
    }
}

/// Ready when the server has sent anything behind its handshake, which it does once that is over: a ticket, or data.
fn poll_verdict(stream: &mut TlsStream<BoxIo>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
    let polled = Pin::new(&mut *stream).poll_fill_buf(cx).map_ok(|data| !data.is_empty());
    if polled.is_pending() && stream.get_ref().1.tls13_tickets_received() > 0 {
        return Poll::Ready(Ok(()));
    }
    match ready!(polled) {
        Ok(true) => Poll::Ready(Ok(())),
        Ok(false) => Poll::Ready(Err(TlsError::Cut.into())),
        Err(error) => Poll::Ready(Err(TlsError::of_handshake(error))),
    }
}

/// Returns the host of `host:port`, an IPv6 address without its brackets.
fn without_port(host: &str) -> &str {
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name)
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientTls")
            .field("ca", &self.settings.authorities)
            .field("identity", &self.settings.identity.as_ref().map(|(chain, _)| chain))
            .field("server_name", &self.server_name)
            .field("server_identities", &self.settings.server_identities)
            .finish_non_exhaustive()
    }
}

impl Settings {
    fn roots(&self) -> Result<RootCertStore, TlsConfigError> {
        let mut store = roots(&self.authorities)?;
        #[cfg(feature = "tls-webpki-roots")]
        if self.webpki_roots {
            store.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        }
        if self.system_roots || store.is_empty() {
            let found = rustls_native_certs::load_native_certs();
            // Some systems have certificates among them that no strict reader takes.
            store.add_parsable_certificates(found.certs);
            if store.is_empty() {
                let why = found.errors.first().map_or_else(String::new, |error| format!(": {error}"));
                let problem = format!("the system has none{why} (ClientTls::ca)");
                return Err(TlsConfigError::Authorities { problem });
            }
        }
        Ok(store)
    }

    fn verifier(&self) -> Result<Arc<dyn ServerCertVerifier>, TlsConfigError> {
        if self.any_server {
            return Ok(Arc::new(AnyServer::new(provider())));
        }
        let mut verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(self.roots()?), provider());
        if !self.revocations.is_empty() {
            verifier = verifier.with_crls(revocations(&self.revocations)?).allow_unknown_revocation_status();
        }
        let verifier =
            verifier.build().map_err(|error| TlsConfigError::Authorities { problem: error.to_string() })?;
        if self.server_identities.is_empty() {
            return Ok(verifier);
        }
        Ok(Arc::new(IdentityVerifier::new(verifier, self.server_identities.clone())))
    }
}

impl Source for Settings {
    type Config = ClientConfig;

    fn load(&self) -> Result<ClientConfig, TlsConfigError> {
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsConfigError::Authorities { problem: error.to_string() })?
            .dangerous()
            .with_custom_certificate_verifier(self.verifier()?);
        let mut config = match &self.identity {
            Some((chain, key)) => {
                let resolver = SingleCertAndKey::from(pair(chain, key)?);
                builder.with_client_cert_resolver(Arc::new(resolver))
            }
            None => builder.with_no_client_auth(),
        };
        config.resumption = Resumption::disabled();
        Ok(config)
    }

    fn files(&self) -> Vec<PathBuf> {
        let own = self.identity.iter().flat_map(|(chain, key)| [chain, key]);
        let all = own.chain(&self.authorities).chain(&self.revocations);
        all.filter_map(|pem| pem.path().map(Into::into)).collect()
    }
}

/// Notes whether the server asks for a certificate.
#[derive(Debug)]
struct NoteAsked {
    inner: Arc<dyn ResolvesClientCert>,
    asked: Arc<AtomicBool>,
}

impl ResolvesClientCert for NoteAsked {
    fn resolve(&self, hints: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.asked.store(true, Ordering::Relaxed);
        self.inner.resolve(hints, schemes)
    }

    fn has_certs(&self) -> bool {
        self.inner.has_certs()
    }
}

/// How long a server may take to say what it thinks of a certificate. One that says nothing, and means that it is
/// content, costs this time.
const VERDICT_WITHIN: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_of_an_address_is_the_name_that_is_looked_for() {
        for (host, name) in [("a.example:7", "a.example"), ("[::1]:7", "::1"), ("127.0.0.1:7", "127.0.0.1")] {
            assert_eq!(without_port(host), name);
            assert!(ServerName::try_from(name).is_ok());
        }
    }
}
