//! The end of a connection is told from a cut, and a foreign client sees it as one.

use std::{io, sync::Arc, time::Duration};

use muxado_rpc::{ClientTls, Peer, Server};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::{
    HERE,
    certs::Ca,
    listen, server_tls,
    support::{WorkClient, assert_alive},
};

/// Connects as a client that is not ours.
pub(crate) async fn foreign(
    server: &Server,
    ca: &Ca,
    protocols: &[&[u8]],
) -> io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca.pem.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    let socket = TcpStream::connect(server.local_addr().socket_addr().unwrap()).await?;
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, socket).await
}

#[tokio::test]
async fn either_side_closes_and_both_ends_are_clean() {
    let ca = Ca::new("ca");
    for server_closes in [true, false] {
        let server = listen(server_tls(&ca.sign(&HERE))).await;
        let peer =
            Peer::builder().tls(ClientTls::with_ca(&ca.pem)).connect(server.local_addr()).await.unwrap();
        assert_alive(&WorkClient::new(peer.channel())).await;
        if server_closes {
            assert!(server.shutdown(Duration::from_secs(5)).await.is_clean());
        } else {
            assert!(peer.shutdown(Duration::from_secs(5)).await.is_clean());
        }
        let end = peer.closed().await;
        assert!(end.local.is_clean(), "{end:?}");
    }
}

#[tokio::test]
async fn both_agree_on_muxado_1_and_the_end_is_a_close_notify() {
    let ca = Ca::new("ca");
    let server = listen(server_tls(&ca.sign(&HERE))).await;
    let mut client = foreign(&server, &ca, &[b"h2", b"muxado/1"]).await.unwrap();
    assert_eq!(client.get_ref().1.alpn_protocol(), Some(&b"muxado/1"[..]));
    while server.stats().connections == 0 {
        tokio::task::yield_now().await;
    }
    let stopping = tokio::spawn(async move { server.shutdown(Duration::from_secs(5)).await });
    let mut frames = Vec::new();
    // An end without a close_notify is an error of rustls.
    client.read_to_end(&mut frames).await.unwrap();
    assert!(!frames.is_empty(), "no go-away came before the end");
    client.shutdown().await.unwrap();
    stopping.await.unwrap();
}
