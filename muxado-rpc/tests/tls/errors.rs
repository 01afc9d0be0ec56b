//! Each thing that goes wrong has a name and a text.

use muxado_rpc::{
    CertificateProblem as Problem, ClientTls, ConnectError, ListenError, Peer, Server, ServerTls,
    TlsConfigError, TlsError,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{
    HERE, builder,
    certs::{Ca, Pair},
    listen, log, server_tls,
    support::{WorkClient, assert_alive},
};

async fn fail(server: &Server, tls: ClientTls) -> (TlsError, String) {
    let error = Peer::builder().tls(tls).connect(server.local_addr()).await.unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with(&format!("cannot connect to {}: ", server.local_addr())), "{text}");
    (TlsError::of(&error).unwrap_or_else(|| panic!("{error:?}")).clone(), text)
}

/// Connects to a server with this certificate, and checks why that fails and what is said.
async fn assert_refused(pair: &Pair, tls: ClientTls, problem: Problem, said: &str) {
    let server = listen(server_tls(pair)).await;
    let (error, text) = fail(&server, tls).await;
    assert_eq!(error, TlsError::PeerCertificate(problem));
    assert!(text.ends_with(&format!(": the peer's certificate {said}")), "{text}");
}

#[tokio::test]
async fn a_client_says_by_name_what_is_wrong_with_a_server() {
    let ca = Ca::new("ca");
    let trusting = || ClientTls::with_ca(&ca.pem);
    let other = ClientTls::with_ca(Ca::new("other").pem);
    let said = "is signed by no trusted certificate authority";
    assert_refused(&ca.sign(&HERE), other, Problem::UnknownIssuer, said).await;
    let expected = "127.0.0.1".to_owned();
    let presented = vec!["DnsName(\"hub.example\")".to_owned()];
    let name = Problem::WrongName { expected, presented };
    let said = "is not valid for 127.0.0.1, only for DnsName(\"hub.example\")";
    assert_refused(&ca.sign(&["hub.example"]), trusting(), name, said).await;
    assert_refused(&ca.sign_expired(&HERE), trusting(), Problem::Expired, "has expired").await;
    assert_refused(&ca.sign_early(&HERE), trusting(), Problem::NotYetValid, "is not valid yet").await;
    let (pair, list) = ca.sign_revoked(&HERE);
    assert_refused(&pair, trusting().revocations(list), Problem::Revoked, "is revoked").await;
}

#[tokio::test]
async fn a_client_may_require_who_the_server_is_in_place_of_its_name() {
    let ca = Ca::new("ca");
    let hub = "spiffe://acme/hub";
    let asking = || ClientTls::with_ca(&ca.pem).server_identity(hub);
    // Neither the host of the address nor any other name is in this certificate.
    let server = listen(server_tls(&ca.sign(&[hub]))).await;
    let peer = Peer::builder().tls(asking()).connect(server.local_addr()).await.unwrap();
    assert_eq!(peer.identity(), Some(hub));
    assert_alive(&WorkClient::new(peer.channel())).await;
    // One of several, and a DNS name.
    let tls = ClientTls::with_ca(&ca.pem).server_identity("hub.acme").server_identity(hub);
    for names in [&[hub][..], &["hub.acme"]] {
        let server = listen(server_tls(&ca.sign(names))).await;
        Peer::builder().tls(tls.clone()).connect(server.local_addr()).await.unwrap();
    }
    let wrong = |presented: Option<&str>| Problem::WrongIdentity {
        expected: vec![hub.to_owned()],
        presented: presented.map(str::to_owned),
    };
    // The right host is of no use to another server.
    let agent = "spiffe://acme/agent/7";
    let said = "is not that of spiffe://acme/hub, but of spiffe://acme/agent/7";
    assert_refused(&ca.sign(&["127.0.0.1", agent]), asking(), wrong(Some(agent)), said).await;
    let said = "is not that of spiffe://acme/hub, but of localhost";
    assert_refused(&ca.sign(&HERE), asking(), wrong(Some("localhost")), said).await;
    let said = "is not that of spiffe://acme/hub, and says no identity";
    assert_refused(&ca.sign(&["127.0.0.1"]), asking(), wrong(None), said).await;
    // Two ids are none.
    let both = ca.sign(&[hub, agent]);
    assert_refused(&both, asking(), wrong(None), said).await;
}

/// The name does not count, and everything else does, whichever is looked at first.
#[tokio::test]
async fn a_server_with_the_right_identity_is_refused_for_all_other_reasons() {
    let (ca, hub) = (Ca::new("ca"), ["spiffe://acme/hub"]);
    let asking = |ca: &Ca| ClientTls::with_ca(&ca.pem).server_identity(hub[0]);
    let said = "is signed by no trusted certificate authority";
    assert_refused(&ca.sign(&hub), asking(&Ca::new("other")), Problem::UnknownIssuer, said).await;
    assert_refused(&ca.sign_expired(&hub), asking(&ca), Problem::Expired, "has expired").await;
    assert_refused(&ca.sign_early(&hub), asking(&ca), Problem::NotYetValid, "is not valid yet").await;
    let (pair, list) = ca.sign_revoked(&hub);
    assert_refused(&pair, asking(&ca).revocations(list), Problem::Revoked, "is revoked").await;
}

#[tokio::test]
async fn a_refused_client_learns_why_when_it_connects_and_the_server_counts_and_logs_it() {
    log::record();
    let (ca, clients) = (Ca::new("ca"), Ca::new("clients"));
    let (revoked, list) = clients.sign_revoked(&["agent"]);
    let tls = server_tls(&ca.sign(&HERE)).client_ca(&clients.pem).client_revocations(list);
    let server = listen(tls).await;
    let own = TlsError::OwnCertificate;
    let feigned = Problem::Refused("its signature, or that of its authority, does not verify".to_owned());
    let cases = [
        (None, TlsError::NoClientCertificate, "no client certificate", "no client certificate"),
        (Some(ca.sign(&["agent"])), own(Problem::UnknownIssuer), "no trusted", "no trusted certificate"),
        (Some(Ca::new("clients").sign(&["agent"])), own(feigned), "does not verify", "is refused: "),
        (Some(clients.sign_expired(&["agent"])), own(Problem::Expired), "expired", "has expired"),
        (Some(clients.sign_early(&["agent"])), own(Problem::Expired), "expired", "not valid yet"),
        (Some(revoked), own(Problem::Revoked), "is revoked", "is revoked"),
    ];
    for (at, (pair, expected, said, logged)) in (1..).zip(cases) {
        let tls = ClientTls::with_ca(&ca.pem);
        let tls = match &pair {
            Some(pair) => tls.identity(&pair.cert, &pair.key),
            None => tls,
        };
        let (error, text) = fail(&server, tls).await;
        assert_eq!(error, expected);
        assert!(text.contains(said), "{text}");
        while server.stats().failed_handshakes < at {
            tokio::task::yield_now().await;
        }
        let lines = log::take();
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].contains(" INFO ") && lines[0].contains("handshake failed"), "{lines:?}");
        assert!(lines[0].contains(logged) && lines[0].contains("tls://127.0.0.1:"), "{lines:?}");
    }
    assert_eq!((server.stats().failed_handshakes, server.stats().connections), (6, 0));
}

#[tokio::test]
async fn what_a_client_refuses_is_named_to_the_server_too() {
    log::record();
    let ca = Ca::new("ca");
    let server = listen(server_tls(&ca.sign(&HERE))).await;
    fail(&server, ClientTls::with_ca(Ca::new("other").pem)).await;
    while server.stats().failed_handshakes == 0 {
        tokio::task::yield_now().await;
    }
    let lines = log::take();
    assert!(lines[0].contains("the peer refuses this side's certificate"), "{lines:?}");
}

#[tokio::test]
async fn plain_on_tls_and_tls_on_plain_are_named() {
    log::record();
    let ca = Ca::new("ca");
    let server = listen(server_tls(&ca.sign(&HERE))).await;
    let plain = format!("tcp://{}", server.local_addr().socket_addr().unwrap());
    let peer = Peer::builder().connect(plain.as_str()).await.unwrap();
    WorkClient::new(peer.channel()).echo("x".to_owned()).await.unwrap_err();
    let end = peer.closed().await.local.to_string();
    assert!(end.contains("a TLS alert"), "{end}");
    while server.stats().failed_handshakes == 0 {
        tokio::task::yield_now().await;
    }
    let lines = log::take().join("\n");
    assert!(lines.contains("the peer does not speak TLS on this port"), "{lines}");

    let server = Server::builder().listen("tcp://127.0.0.1:0").await.unwrap();
    let address = format!("tls://{}", server.local_addr().socket_addr().unwrap());
    let error = Peer::builder().tls(ClientTls::with_ca(&ca.pem)).connect(address).await.unwrap_err();
    assert_eq!(TlsError::of(&error), Some(&TlsError::NotTls), "{error}");
    assert!(error.to_string().ends_with(": the peer does not speak TLS on this port"), "{error}");
}

#[tokio::test]
async fn http_on_tls_is_named_by_its_protocol_and_a_foreign_client_that_offers_none_is_taken() {
    let ca = Ca::new("ca");
    let server = listen(server_tls(&ca.sign(&HERE))).await;
    let error = crate::closing::foreign(&server, &ca, &[b"h2", b"http/1.1"]).await.unwrap_err();
    assert!(error.to_string().contains("NoApplicationProtocol"), "{error}");
    let mut taken = crate::closing::foreign(&server, &ca, &[]).await.unwrap();
    // It is a session: noise is answered as such.
    taken.write_all(&[0xFF; 64]).await.unwrap();
    let mut answer = Vec::new();
    let _ = taken.read_to_end(&mut answer).await;
    assert!(!answer.is_empty());
}

#[tokio::test]
async fn a_server_that_ends_the_connection_in_the_handshake_is_named() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("tls://{}", listener.local_addr().unwrap());
    let cut = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let _ = socket.read(&mut [0; 4096]).await;
    });
    let tls = ClientTls::with_ca(Ca::new("ca").pem);
    let error = Peer::builder().tls(tls).connect(address).await.unwrap_err();
    assert_eq!(TlsError::of(&error), Some(&TlsError::Cut), "{error}");
    cut.await.unwrap();
}

#[tokio::test]
async fn a_server_says_what_is_wrong_with_its_certificate_before_it_listens() {
    let (ca, other) = (Ca::new("ca"), Ca::new("ca").sign(&HERE));
    let pair = ca.sign(&HERE);
    let fail = async |tls: ServerTls| {
        let failed = builder(tls).listen("tls://127.0.0.1:0").await.unwrap_err();
        let ListenError::Tls(error) = failed else { panic!("{failed}") };
        error
    };
    let error = fail(ServerTls::from_pem(&pair.cert, &other.key)).await;
    assert!(matches!(error, TlsConfigError::Pair { .. }), "{error}");
    let error = fail(ServerTls::from_files("/nowhere/chain.pem", "/nowhere/key.pem")).await;
    assert!(error.to_string().starts_with("cannot read /nowhere/chain.pem: "), "{error}");
    let error = fail(ServerTls::from_pem(&pair.key, &pair.cert)).await;
    assert_eq!(error.to_string(), "the given text: it holds no certificate");
    let error = fail(ServerTls::from_pem(&pair.cert, "secret")).await;
    assert_eq!(error.to_string(), "the given text: it holds no private key");
    let error = fail(server_tls(&pair).client_ca("-----BEGIN CERTIFICATE-----\nsecret")).await;
    assert!(!error.to_string().contains("secret"), "{error}");
}

#[tokio::test]
async fn certificates_that_would_not_be_used_are_refused() {
    let ca = Ca::new("ca");
    let failed = builder(server_tls(&ca.sign(&HERE))).listen("tcp://127.0.0.1:0").await.unwrap_err();
    assert!(matches!(failed, ListenError::Tls(TlsConfigError::NotUsed)), "{failed}");
    let failed = Server::builder().listen("tls://127.0.0.1:0").await.unwrap_err();
    assert!(matches!(failed, ListenError::Tls(TlsConfigError::NoCertificate)), "{failed}");
    let server = Server::builder().listen("tcp://127.0.0.1:0").await.unwrap();
    let tls = ClientTls::with_ca(&ca.pem);
    let failed = Peer::builder().tls(tls).connect(server.local_addr()).await.unwrap_err();
    assert_eq!(TlsError::of(&failed), Some(&TlsError::NotUsed));
    let failed: ConnectError = Peer::builder()
        .tls(ClientTls::with_ca_file("/nowhere/ca.pem"))
        .connect(format!("tls://{}", server.local_addr().socket_addr().unwrap()))
        .await
        .unwrap_err();
    assert!(failed.to_string().contains("cannot read /nowhere/ca.pem"), "{failed}");
}

#[tokio::test]
async fn any_server_is_taken_only_if_that_is_asked_for() {
    let server = listen(server_tls(&Ca::new("unknown").sign_expired(&["elsewhere"]))).await;
    fail(&server, ClientTls::new()).await;
    let tls = ClientTls::new().dangerous_any_server();
    let peer = Peer::builder().tls(tls).connect(server.local_addr()).await.unwrap();
    assert_alive(&WorkClient::new(peer.channel())).await;
}
