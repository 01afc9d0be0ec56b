//! Where servers listen and what clients connect to: several addresses of any kind at once, and errors that name them.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::{future::pending, io, sync::Arc, time::Duration};

use muxado_rpc::{
    Address, Backoff, BoxError, BoxIo, ConnectError, Context, ListenError, Peer, PeerInfo, Reconnect, Server,
    ServerBuilder, Socket, connect,
    reconnect::{Connector, State},
};
use support::{WorkClient, WorkServer, Worker, assert_alive};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    net::{TcpListener, TcpStream},
    time::Instant,
};

#[muxado_rpc::service]
trait Who {
    async fn am_i(&self, cx: &Context) -> Option<String>;
}

struct Known;

impl Who for Known {
    async fn am_i(&self, cx: &Context) -> Option<String> {
        cx.peer_info().identity().map(str::to_owned)
    }
}

fn builder() -> ServerBuilder {
    Server::builder().serve(WorkServer::new(Worker::default())).serve(WhoServer::new(Known))
}

/// A connector that does the same each time.
#[derive(Clone, Copy)]
enum Does {
    Connect,
    Nothing,
    Refuse,
}

#[async_trait::async_trait]
impl Connector for Does {
    async fn connect(&self) -> io::Result<BoxIo> {
        match self {
            Self::Connect => {
                let (near, far) = duplex(1 << 16);
                let peer = Peer::builder().serve(WorkServer::new(Worker::default())).server(far).unwrap();
                tokio::spawn(async move { peer.closed().await });
                Ok(Box::new(near))
            }
            Self::Nothing => pending().await,
            Self::Refuse => Err(io::ErrorKind::ConnectionRefused.into()),
        }
    }

    fn address(&self) -> Option<&str> {
        Some(match self {
            Self::Connect => "own://live",
            Self::Nothing => "own://dead",
            Self::Refuse => "own://refusing",
        })
    }
}

impl Does {
    fn target(self) -> Arc<dyn Connector> {
        Arc::new(self)
    }
}

/// A port of this machine on which nobody listens.
async fn free_port() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("tcp://{}", listener.local_addr().unwrap())
}

#[tokio::test(start_paused = true)]
async fn of_several_places_the_first_dead_one_costs_a_quarter_of_a_second() {
    let begin = Instant::now();
    let peer = connect([Does::Nothing.target(), Does::Connect.target()]).await.unwrap();
    assert_eq!(begin.elapsed(), Duration::from_millis(250));
    assert_eq!(peer.peer_info().address(), Some("own://live"));
    assert_alive(&WorkClient::new(peer.channel())).await;
}

#[tokio::test(start_paused = true)]
async fn an_error_names_each_place_and_why_there_is_no_connection_to_it() {
    let begin = Instant::now();
    let error = connect([Does::Refuse.target(), Does::Nothing.target()]).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot connect to any of 2 addresses: own://refusing: connection refused; own://dead: no answer within \
         connect_timeout"
    );
    assert!(matches!(error, ConnectError::Several { failures } if failures[1].address() == "own://dead"));
    assert_eq!(begin.elapsed(), Duration::from_secs(10));
    let builder = Peer::builder().connect_timeout(Duration::from_secs(1));
    let error = builder.connect(Does::Nothing.target()).await.unwrap_err();
    assert_eq!(error.to_string(), "cannot connect to own://dead: no answer within connect_timeout");
    assert_eq!(begin.elapsed(), Duration::from_secs(11));
    assert!(matches!(connect(Vec::<String>::new()).await, Err(ConnectError::NoAddress)));
    assert!(matches!(connect(["tcp://a:1", "nonsense"]).await, Err(ConnectError::Address(_))));
}

#[tokio::test(start_paused = true)]
async fn a_reconnecting_client_names_each_place_that_failed_since_the_last_pause() {
    let channel = Reconnect::builder()
        .connector(Does::Refuse)
        .connector(Does::Nothing)
        .connect_timeout(Duration::from_secs(2))
        .backoff(Backoff::default().base(Duration::from_secs(1)))
        .build()
        .unwrap();
    let mut states = channel.watch();
    for _ in 0..2 {
        let error = loop {
            if let State::Backoff { error, .. } = states.changed().await {
                break error.to_string();
            }
        };
        let expected =
            "2 addresses: own://refusing: connection refused; own://dead: no answer within connect_timeout";
        assert!(error.ends_with(expected), "{error}");
    }
}

#[tokio::test]
async fn a_closure_is_a_connector_and_a_handshake() {
    let shaking = |mut socket: Socket, peer: PeerInfo| async move {
        let name = socket.read_u8().await?;
        if name == b'x' {
            return Err(BoxError::from("nobody is called x"));
        }
        Ok((socket, peer.with_identity(char::from(name).to_string())))
    };
    let server = builder().handshake(shaking).listen("tcp://127.0.0.1:0").await.unwrap();
    let address = server.local_addr().socket_addr().unwrap();
    let saying = move |name: &'static [u8]| {
        move || async move {
            let mut stream = TcpStream::connect(address).await?;
            stream.write_all(name).await?;
            io::Result::Ok(stream)
        }
    };
    let peer = connect(saying(b"a")).await.unwrap();
    assert_eq!(WhoClient::new(peer.channel()).am_i().await.unwrap().as_deref(), Some("a"));
    let refused = connect(saying(b"x")).await.unwrap();
    assert!(WhoClient::new(refused.channel()).am_i().await.is_err());
}

#[tokio::test]
async fn listening_fails_as_a_whole_and_names_each_address() {
    let taken = builder().listen("tcp://127.0.0.1:0").await.unwrap();
    let free = free_port().await;
    let addresses = [&free, &taken.local_addr().to_string(), &"exec:true".to_owned()].map(String::clone);
    let error = builder().listen(&addresses).await.unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with(&format!("cannot listen on 2 addresses: {}: ", taken.local_addr())), "{text}");
    assert!(text.ends_with("; exec:true: a child process can only be connected to"), "{text}");
    assert!(matches!(error, ListenError::Several { failures } if failures.len() == 2));
    // Nobody listens on the one that was free.
    assert!(connect(&free).await.is_err());
    assert!(matches!(builder().listen([""; 0]).await, Err(ListenError::NoAddress)));
    assert!(matches!(
        builder().listen(["tcp://127.0.0.1:0", "nonsense"]).await,
        Err(ListenError::Address(_))
    ));
}

#[cfg(not(feature = "ws"))]
#[tokio::test]
async fn an_address_of_a_feature_that_is_not_there_names_the_feature() {
    for address in ["ws://127.0.0.1:1/rpc", "wss://127.0.0.1:1"] {
        let expected = format!("{address}: ws:// and wss:// need the feature `ws` of muxado-rpc");
        let error = connect(address).await.unwrap_err().to_string();
        assert_eq!(error, format!("cannot connect to {expected}"));
        let error = builder().listen("ws://127.0.0.1:0").await.unwrap_err().to_string();
        assert!(error.ends_with("need the feature `ws` of muxado-rpc"), "{error}");
    }
}

/// What a server that speaks something else says, and how the client names it.
#[tokio::test]
async fn a_client_names_what_another_kind_of_server_speaks() {
    for (says, name) in [
        (&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], "an HTTP answer"),
        (b"\x15\x03\x03\x00\x02\x02\x32\0", "a TLS alert"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "SSH"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let peer = connect(Address::from(listener.local_addr().unwrap())).await.unwrap();
        let (mut server, _) = listener.accept().await.unwrap();
        server.write_all(says).await.unwrap();
        let error = WorkClient::new(peer.channel()).hang().await.unwrap_err().to_string();
        assert!(error.contains(name), "{error}");
        drop(server);
        let end = peer.closed().await.to_string();
        assert!(end.contains(name), "{end}");
    }
}

/// What a client that speaks something else is told, and what the log says.
#[tokio::test]
async fn a_server_tells_another_kind_of_client_what_it_speaks() {
    let server = builder().listen("tcp://127.0.0.1:0").await.unwrap();
    for (says, name) in [
        (&b"GET / HTTP/1.1\r\n\r\n"[..], "an HTTP request"),
        (b"GET /rpc HTTP/1.1\r\nUpgrade: websocket\r\n\r\n", "an HTTP request"),
        (b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03", "a TLS handshake"),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", "a header of the PROXY protocol"),
    ] {
        let mut client = TcpStream::connect(server.local_addr().socket_addr().unwrap()).await.unwrap();
        client.write_all(says).await.unwrap();
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.unwrap();
        // The text of a GOAWAY.
        assert!(String::from_utf8_lossy(&answer).contains(name), "{answer:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_list_may_hold_closures() {
    let refused = || async { Err::<DuplexStream, _>(io::Error::other("no")) };
    let error = connect([refused, refused]).await.unwrap_err().to_string();
    assert_eq!(error, "cannot connect to any of 2 addresses: the peer: no; the peer: no");
}

#[cfg(unix)]
mod unix {
    use std::{fs, os::unix::fs::MetadataExt, os::unix::fs::PermissionsExt};

    use muxado_rpc::{Bind, UnixCredentials};

    use super::*;

    fn path(name: &str) -> String {
        let path = std::env::temp_dir().join(format!("muxado-rpc-{}-{name}", std::process::id()));
        path.to_str().unwrap().to_owned()
    }

    #[tokio::test]
    async fn one_server_listens_on_sockets_of_all_kinds_at_once() {
        let mut addresses = vec!["tcp://127.0.0.1:0".to_owned(), format!("unix://{}", path("kinds"))];
        if cfg!(target_os = "linux") {
            addresses.push(format!("unix:@muxado-rpc-{}", std::process::id()));
        }
        let server = builder().listen(&addresses).await.unwrap();
        assert_eq!(server.local_addrs().len(), addresses.len());
        assert_eq!(&server.local_addrs()[0], server.local_addr());
        let mut peers = Vec::new();
        for address in server.local_addrs() {
            let peer = connect(address).await.unwrap();
            assert_alive(&WorkClient::new(peer.channel())).await;
            peers.push(peer);
        }
        assert_eq!(server.stats().connections, addresses.len() as u64);
        server.shutdown(Duration::ZERO).await;
        for address in server.local_addrs() {
            assert!(connect(address).await.is_err());
        }
    }

    #[tokio::test]
    async fn both_ends_of_a_unix_socket_know_the_credentials_of_the_other() {
        let address = format!("unix://{}", path("credentials"));
        let server = builder().listen(&address).await.unwrap();
        let uid = fs::metadata(path("credentials")).unwrap().uid();
        let identity = format!("uid={uid}");
        let reconnecting = Reconnect::builder().address(&address).build().unwrap();
        let known = WhoClient::new(reconnecting).am_i().await.unwrap();
        assert_eq!(known.as_deref(), Some(&*identity));
        let peer = connect(server.local_addr()).await.unwrap();
        assert_eq!(peer.peer_info().identity(), Some(&*identity));
        let credentials = peer.peer_info().extensions().get::<UnixCredentials>().unwrap();
        assert_eq!((credentials.uid(), credentials.pid()), (uid, i32::try_from(std::process::id()).ok()));
    }

    #[tokio::test]
    async fn the_file_of_a_socket_has_the_mode_that_was_set() {
        let address = format!("unix://{}", path("mode"));
        for mode in [0o600, 0o666] {
            let server = builder().listen(Bind::to(&address).mode(mode)).await.unwrap();
            assert_eq!(fs::metadata(path("mode")).unwrap().permissions().mode() & 0o777, mode);
            assert!(connect(&address).await.is_ok());
            server.shutdown(Duration::ZERO).await;
            assert!(!fs::exists(path("mode")).unwrap());
        }
        let error = builder().listen(Bind::to("tcp://127.0.0.1:0").mode(0o600)).await.unwrap_err();
        assert!(
            error.to_string().ends_with("Bind::mode is for Unix sockets that the server makes"),
            "{error}"
        );
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn an_abstract_name_is_taken_while_a_server_listens_and_has_no_mode() {
        let address = format!("unix:@muxado-rpc-taken-{}", std::process::id());
        let server = builder().listen(&address).await.unwrap();
        assert_eq!((server.local_addr().to_string(), server.local_addr().path()), (address.clone(), None));
        let error = builder().listen(&address).await.unwrap_err().to_string();
        assert!(error.starts_with(&format!("cannot listen on {address}: ")), "{error}");
        server.shutdown(Duration::ZERO).await;
        let error = connect(&address).await.unwrap_err().to_string();
        assert!(error.starts_with(&format!("cannot connect to {address}: ")), "{error}");
        let error = builder().listen(Bind::to(&address).mode(0o600)).await.unwrap_err().to_string();
        assert!(error.ends_with("an abstract socket has no file, and no mode"), "{error}");
    }
}
