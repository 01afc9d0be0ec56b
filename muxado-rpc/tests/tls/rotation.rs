//! Certificates are replaced while connections come and go.

use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use muxado_rpc::{ClientTls, Peer, PeerCertificates, Reconnect, Server, ServerTls, reconnect::State};

use crate::{
    HERE,
    certs::{Ca, Pair},
    listen, log, server_tls,
    support::{WorkClient, assert_alive},
};

/// Files of one server, gone with the test.
struct Files {
    dir: PathBuf,
}

impl Files {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("muxado-tls-{name}-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Replaces a file as those do who must not be read half.
    fn put(&self, name: &str, text: &str) {
        let new = self.path("new");
        fs::write(&new, text).unwrap();
        fs::rename(new, self.path(name)).unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    fn put_pair(&self, pair: &Pair) {
        self.put("chain.pem", &pair.cert);
        self.put("key.pem", &pair.key);
    }

    fn tls(&self) -> ServerTls {
        ServerTls::from_files(self.path("chain.pem"), self.path("key.pem")).reload_interval(Duration::ZERO)
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(Path::new(&self.dir));
    }
}

async fn connect(server: &Server, ca: &Ca) -> Peer {
    Peer::builder().tls(ClientTls::with_ca(&ca.pem)).connect(server.local_addr()).await.unwrap()
}

fn certificate(peer: &Peer) -> Vec<u8> {
    peer.peer_info().extensions().get::<PeerCertificates>().unwrap().iter().next().unwrap().to_vec()
}

#[tokio::test]
async fn new_connections_have_the_new_certificate_and_old_ones_go_on() {
    let (ca, files) = (Ca::new("ca"), Files::new("new"));
    files.put_pair(&ca.sign(&HERE));
    let server = listen(files.tls()).await;
    let before = connect(&server, &ca).await;
    assert_eq!(certificate(&before), certificate(&connect(&server, &ca).await));
    files.put_pair(&ca.sign(&HERE));
    let after = connect(&server, &ca).await;
    assert_ne!(certificate(&before), certificate(&after));
    for peer in [&before, &after] {
        assert_alive(&WorkClient::new(peer.channel())).await;
    }
}

#[tokio::test]
async fn a_bad_pair_is_refused_with_one_line_and_the_old_one_stays() {
    log::record();
    let (ca, files) = (Ca::new("ca"), Files::new("bad"));
    files.put_pair(&ca.sign(&HERE));
    let tls = files.tls();
    let server = listen(tls.clone()).await;
    let before = certificate(&connect(&server, &ca).await);
    files.put("key.pem", "broken");
    for _ in 0..3 {
        assert_eq!(certificate(&connect(&server, &ca).await), before);
    }
    let lines = log::with("muxado-tls-bad");
    assert!(lines.len() == 1 && lines[0].contains(" WARN "), "{lines:?}");
    assert!(
        lines[0].contains("the old one stays: ") && lines[0].contains("holds no private key"),
        "{lines:?}"
    );
    let error = tls.reload().unwrap_err().to_string();
    assert!(error.ends_with("key.pem: it holds no private key"), "{error}");
    fs::remove_file(files.path("chain.pem")).unwrap();
    assert_eq!(certificate(&connect(&server, &ca).await), before);
    // A pair that is good again is taken.
    files.put_pair(&ca.sign(&HERE));
    assert_ne!(certificate(&connect(&server, &ca).await), before);
}

#[tokio::test]
async fn a_reload_by_hand_is_seen_by_all_clones() {
    let (ca, files) = (Ca::new("ca"), Files::new("hand"));
    files.put_pair(&ca.sign(&HERE));
    let tls = files.tls().reload_interval(Duration::MAX);
    let server = listen(tls.clone()).await;
    let before = certificate(&connect(&server, &ca).await);
    files.put_pair(&ca.sign(&HERE));
    assert_eq!(certificate(&connect(&server, &ca).await), before);
    tls.reload().unwrap();
    assert_ne!(certificate(&connect(&server, &ca).await), before);
}

#[tokio::test]
async fn authorities_of_clients_and_the_certificate_of_a_client_are_replaced_too() {
    let (ca, first, second) = (Ca::new("ca"), Ca::new("first"), Ca::new("second"));
    let files = Files::new("clients");
    files.put("clients.pem", &first.pem);
    let tls = server_tls(&ca.sign(&HERE)).client_ca_file(files.path("clients.pem"));
    let server = listen(tls.reload_interval(Duration::ZERO)).await;
    files.put_pair(&first.sign(&["agent"]));
    let tls = ClientTls::with_ca(&ca.pem)
        .identity_files(files.path("chain.pem"), files.path("key.pem"))
        .reload_interval(Duration::ZERO);
    let connect = async || Peer::builder().tls(tls.clone()).connect(server.local_addr()).await;
    connect().await.unwrap();
    files.put("clients.pem", &second.pem);
    connect().await.unwrap_err();
    files.put_pair(&second.sign(&["agent"]));
    connect().await.unwrap();
}

/// Each rotation is seen by a new connection, and by none of the calls.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reconnecting_client_moves_to_each_new_certificate_without_a_failed_call() {
    const ROTATIONS: usize = 20;
    let (ca, files) = (Ca::new("ca"), Files::new("moves"));
    files.put_pair(&ca.sign(&HERE));
    let server = listen(files.tls()).await;
    let tls = Peer::builder().tls(ClientTls::with_ca(&ca.pem).reload_interval(Duration::ZERO));
    let channel = Reconnect::builder().address(server.local_addr()).peer(tls).build().unwrap();
    channel.connected().await.unwrap();
    let (over, calls) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let callers: Vec<_> = (0..4)
        .map(|_| {
            let (work, over, calls) = (WorkClient::new(channel.clone()), over.clone(), calls.clone());
            tokio::spawn(async move {
                let mut own = 0;
                while !over.load(Ordering::Relaxed) {
                    assert_eq!(work.echo("x".to_owned()).await.as_deref(), Ok("x"));
                    calls.fetch_add(1, Ordering::Relaxed);
                    own += 1;
                }
                own
            })
        })
        .collect();
    let until = async |count: usize| {
        while calls.load(Ordering::Relaxed) < count {
            tokio::task::yield_now().await;
        }
    };
    let mut seen = HashSet::new();
    for round in 1..=ROTATIONS {
        let [peer] = &channel.peers()[..] else { panic!("not one connection") };
        assert!(seen.insert(certificate(peer)), "a certificate came twice");
        files.put_pair(&ca.sign(&HERE));
        if round == 10 {
            // A pair that cannot be used changes nothing, and the next one is taken.
            let good = files.read("key.pem");
            files.put("key.pem", "broken");
            connect(&server, &ca).await;
            files.put("key.pem", &good);
        }
        until(calls.load(Ordering::Relaxed) + 100).await;
        // The server lets its clients move over, as an age of connections does.
        for peer in server.peers() {
            assert!(peer.shutdown(Duration::from_secs(60)).await.is_clean());
        }
        let mut states = channel.watch();
        let moved = |state: &State| matches!(state, State::Connected { generation, .. } if *generation == round as u64 + 1);
        assert!(moved(&states.wait_for(moved).await));
        until(calls.load(Ordering::Relaxed) + 100).await;
    }
    over.store(true, Ordering::Relaxed);
    let mut sum = 0;
    for caller in callers {
        sum += caller.await.unwrap();
    }
    assert_eq!((sum, seen.len()), (calls.load(Ordering::Relaxed), ROTATIONS));
    assert!(sum >= ROTATIONS * 200, "{sum}");
    // No attempt of a call was executed twice, and none was lost: the calls that were answered are all there were.
    assert_eq!((server.call_stats().served, server.stats().failed_handshakes), (sum as u64, 0));
    let lines = log::with("muxado-tls-moves");
    let refused: Vec<_> = lines.iter().filter(|line| line.contains("the old one stays: ")).collect();
    assert!(refused.iter().all(|line| line.contains(" WARN ")), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rotation_under_many_calls_fails_none() {
    let (ca, files) = (Arc::new(Ca::new("ca")), Files::new("load"));
    files.put_pair(&ca.sign(&HERE));
    let server = Arc::new(listen(files.tls()).await);
    let (over, calls) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let clients: Vec<_> = (0..4)
        .map(|client| {
            let (ca, server, over, calls) = (ca.clone(), server.clone(), over.clone(), calls.clone());
            tokio::spawn(async move {
                let mut peer = connect(&server, &ca).await;
                while !over.load(Ordering::Relaxed) {
                    // Half of them keep their connections.
                    if client % 2 == 0 {
                        peer = connect(&server, &ca).await;
                    }
                    let work = WorkClient::new(peer.channel());
                    for _ in 0..10 {
                        assert_eq!(work.echo("x".to_owned()).await.unwrap(), "x");
                        calls.fetch_add(1, Ordering::Relaxed);
                    }
                }
            })
        })
        .collect();
    for round in 1..=20 {
        // Between the two files the pair does not fit, and the old one stays.
        files.put_pair(&ca.sign(&HERE));
        while calls.load(Ordering::Relaxed) < round * 100 {
            tokio::task::yield_now().await;
        }
    }
    over.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.unwrap();
    }
    assert_eq!(server.stats().failed_handshakes, 0);
    assert!(calls.load(Ordering::Relaxed) >= 2_000);
}
