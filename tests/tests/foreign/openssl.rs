//! `openssl s_client` as a TLS client that is not ours.

use std::process::{Output, Stdio};

use muxado_rpc::{Address, Server, ServerTls, connect};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use tokio::{io::AsyncWriteExt, process::Command};

use crate::{SiteClient, assert_works, builder, place::Folder, within};

/// A certificate authority.
pub(crate) struct Ca {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) pem: String,
}

impl Ca {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "ca");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// Returns a certificate for these names, and its key.
    pub(crate) fn sign(&self, names: &[&str]) -> (String, String) {
        let names = names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let key = KeyPair::generate().unwrap();
        let cert = CertificateParams::new(names).unwrap().signed_by(&key, &self.issuer).unwrap();
        (cert.pem(), key.serialize_pem())
    }
}

struct Site {
    folder: Folder,
    ca: Ca,
    server: Server,
}

impl Site {
    async fn new(name: &str, asks_for_certificates: bool) -> Self {
        let ca = Ca::new();
        let folder = Folder::new(name);
        folder.write("ca.pem", &ca.pem);
        let (cert, key) = ca.sign(&["localhost"]);
        let tls = ServerTls::from_pem(cert, key);
        let tls = if asks_for_certificates { tls.client_ca(&ca.pem) } else { tls };
        let server = builder("tls").tls(tls).listen("tls://127.0.0.1:0").await.unwrap();
        Self { folder, ca, server }
    }

    fn args(&self, more: &[&str]) -> Vec<String> {
        let to = self.server.local_addr().socket_addr().unwrap().to_string();
        let ca = self.folder.path().join("ca.pem").to_str().unwrap().to_owned();
        let fixed = ["s_client", "-connect", &to, "-CAfile", &ca, "-verify_return_error", "-verify_hostname"];
        let fixed = fixed.into_iter().chain(["localhost", "-nocommands"]);
        fixed.chain(more.iter().copied()).map(str::to_owned).collect()
    }

    /// Runs `openssl s_client` to its end, with this input.
    async fn run(&self, more: &[&str], input: &str) -> Output {
        let mut command = Command::new("openssl");
        let piped = command.args(self.args(more)).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = piped.stderr(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).await.unwrap();
        within(child.wait_with_output()).await.unwrap()
    }

    /// The address of a session over `openssl s_client`.
    fn over_openssl(&self, more: &[&str]) -> Address {
        Address::exec("openssl", self.args(&[&["-quiet"], more].concat()))
    }
}

#[tokio::test]
async fn a_session_runs_over_the_tls_of_openssl() {
    let site = Site::new("openssl", false).await;
    for versions in ["-tls1_3", "-tls1_2"] {
        let peer = connect(site.over_openssl(&[versions, "-alpn", "muxado/1"])).await.unwrap();
        assert_works(&peer).await;
        peer.close();
        within(peer.closed()).await;
    }
}

#[tokio::test]
async fn openssl_and_the_server_agree_on_muxado_and_on_nothing_else() {
    let site = Site::new("alpn", false).await;
    let output = site.run(&["-alpn", "h2,muxado/1"], "").await;
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("ALPN protocol: muxado/1") && text.contains("Verify return code: 0"), "{text}");
    let output = site.run(&["-alpn", "h2"], "").await;
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && text.contains("no application protocol"), "{text}");
}

#[tokio::test]
async fn http_over_tls_is_answered_by_name() {
    let site = Site::new("https", false).await;
    let output = site.run(&["-quiet"], "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("an HTTP request"), "{text}");
}

#[tokio::test]
async fn openssl_is_known_by_its_certificate_and_refused_without_one() {
    let site = Site::new("mutual", true).await;
    let (cert, key) = site.ca.sign(&["agent-7.example"]);
    let (cert, key) = (site.folder.write("own.pem", &cert), site.folder.write("own.key", &key));
    let peer = connect(site.over_openssl(&["-cert", &cert, "-key", &key])).await.unwrap();
    let identity = within(SiteClient::new(peer.channel()).identity()).await.unwrap();
    assert_eq!(identity.as_deref(), Some("agent-7.example"));
    let output = site.run(&["-quiet", "-tls1_2"], "").await;
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && text.contains("alert"), "{text}");
    let refused = connect(site.over_openssl(&[])).await.unwrap();
    within(SiteClient::new(refused.channel()).name()).await.unwrap_err();
}
