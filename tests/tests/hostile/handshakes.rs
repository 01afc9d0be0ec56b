//! Peers that begin a handshake of TLS, send as much of it as is taken, and never end it.

use std::{
    io::Write,
    net::{SocketAddr, TcpStream},
    thread,
};

use allocation_counter::measure;
use muxado_rpc::{ClientTls, Limits, Peer, Server, ServerTls};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tokio::{runtime::Builder, task::yield_now};

use crate::arena::SLACK;

/// Handshakes that the server has under way at a time.
const LIMIT: usize = 32;

/// Connections that the attacker makes, all of which it keeps.
const ATTACKS: usize = 300;

/// What SECURITY.md says that rustls holds of a handshake.
const HELD: usize = 64 * 1024;

/// Beside it: the task, the socket, what the two sides of a handshake have in common.
const BESIDE: usize = 32 * 1024;

/// A certificate for this machine, its key, and the authority that signed it.
fn certificate() -> (String, String, String) {
    let (mut params, key) = (CertificateParams::default(), KeyPair::generate().unwrap());
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = params.self_signed(&key).unwrap().pem();
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
    (params.signed_by(&key, &issuer).unwrap().pem(), key.serialize_pem(), authority)
}

/// The first 60 KiB of a ClientHello that is longer, in records of 16 KiB, as far as the server takes them. Of more, with
/// the headers of the records, rustls may find its buffer full, and end the handshake.
fn send_most_of_a_handshake(address: SocketAddr) -> TcpStream {
    let mut socket = TcpStream::connect(address).unwrap();
    let mut hello = vec![1, 0, 0xFF, 0xFB, 3, 3];
    hello.resize(60 * 1024, 0);
    for fragment in hello.chunks(0x4000) {
        let len = u16::try_from(fragment.len()).unwrap().to_be_bytes();
        // It may have given way to another one by now.
        let _ = socket.write_all(&[&[0x16, 3, 1], &len[..], fragment].concat());
    }
    socket
}

#[test]
fn handshakes_that_do_not_end_hold_no_more_than_their_number_allows() {
    let (cert, key, authority) = certificate();
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let limits = Limits::default().max_handshakes(LIMIT);
    let server = Server::builder().limits(limits).tls(ServerTls::from_pem(cert, key));
    let server = runtime.block_on(server.listen("tls://127.0.0.1:0")).unwrap();
    let address = server.local_addr().clone();
    let socket = address.socket_addr().unwrap();
    let attacker =
        thread::spawn(move || -> Vec<_> { (0..ATTACKS).map(|_| send_most_of_a_handshake(socket)).collect() });
    let mut attacker = Some(attacker);
    let mut sockets = Vec::new();
    let counted = measure(|| {
        runtime.block_on(async {
            while attacker.as_ref().is_some_and(|attacker| !attacker.is_finished()) {
                yield_now().await;
            }
            sockets.extend(attacker.take().map(|attacker| attacker.join().unwrap()));
            while server.stats().failed_handshakes < (ATTACKS - LIMIT) as u64 {
                yield_now().await;
            }
            // What is there of the last ones is read.
            for _ in 0..1000 {
                yield_now().await;
            }
        });
    });
    let (peak, allowed) = (usize::try_from(counted.bytes_max).unwrap(), LIMIT * (HELD + BESIDE));
    assert!(peak <= allowed + SLACK as usize, "{peak} bytes held at a time, {allowed} are allowed");
    assert!(peak >= LIMIT * HELD / 2, "{peak} bytes: nothing was held that would need a bound");
    assert_eq!(server.stats().handshakes, LIMIT as u64);
    // Who does its part gets in.
    let peer = runtime.block_on(async {
        let tls = ClientTls::with_ca(authority);
        let peer = Peer::builder().tls(tls).connect(&address).await.unwrap();
        while server.stats().connections == 0 {
            yield_now().await;
        }
        peer
    });
    assert!(!peer.is_closed());
    assert_eq!(server.stats().handshakes, LIMIT as u64 - 1);
}
