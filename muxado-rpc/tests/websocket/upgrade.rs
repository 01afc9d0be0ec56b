//! Upgrades that come to nothing, by name.

use muxado_rpc::{Bind, Peer, Server, WebSocketError, connect};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use crate::{
    builder, listen,
    raw::{read_head, request, say},
    support::WorkClient,
};

/// Connects to a server that says this to each client.
async fn connect_to(says: &'static [u8]) -> (String, Option<WebSocketError>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("ws://{}/rpc", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let head = read_head(&mut socket).await;
        assert!(head.starts_with("GET /rpc HTTP/1.1\r\n"), "{head}");
        assert!(!head.to_ascii_lowercase().contains("sec-websocket-protocol"), "{head}");
        socket.write_all(says).await.unwrap();
    });
    let error = connect(&address).await.unwrap_err();
    server.await.unwrap();
    let text = error.to_string();
    let begin = format!("cannot connect to {address}: ");
    assert!(text.starts_with(&begin), "{text}");
    (text[begin.len()..].to_owned(), WebSocketError::of(&error).cloned())
}

#[tokio::test]
async fn a_client_names_the_status_of_a_server_that_upgrades_nothing() {
    for (says, text) in [
        (&b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"[..], "404 Not Found"),
        (b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n", "401 Unauthorized"),
        (
            b"HTTP/1.1 301 Moved Permanently\r\nLocation: https://a.example/rpc\r\n\r\n",
            "301 Moved Permanently, to https://a.example/rpc",
        ),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", "200 OK"),
    ] {
        let (error, named) = connect_to(says).await;
        assert_eq!(error, format!("the server answers the WebSocket upgrade with HTTP status {text}"));
        let Some(WebSocketError::Status { status, .. }) = named else { panic!("{named:?}") };
        assert!(text.starts_with(&status.to_string()));
    }
}

#[tokio::test]
async fn a_client_names_what_another_kind_of_server_speaks() {
    let (_, named) = connect_to(b"SSH-2.0-OpenSSH_9.2\r\n").await;
    assert_eq!(named, Some(WebSocketError::NotHttp));
    let (_, named) = connect_to(b"\x15\x03\x03\x00\x02\x02\x32").await;
    assert_eq!(named, Some(WebSocketError::NotHttp));
    let (error, named) = connect_to(b"HTTP/1.1 101").await;
    assert_eq!(named, Some(WebSocketError::Cut), "{error}");
    let wrong = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                  Sec-WebSocket-Accept: x\r\n\r\n";
    let (error, _) = connect_to(wrong).await;
    assert!(error.contains("Key mismatch"), "{error}");
}

#[tokio::test]
async fn plain_sessions_and_websockets_name_each_other() {
    let plain = Server::builder().listen("tcp://127.0.0.1:0").await.unwrap();
    let error = connect(plain.local_addr().to_string().replace("tcp", "ws")).await.unwrap_err();
    assert_eq!(WebSocketError::of(&error), Some(&WebSocketError::NotHttp), "{error}");
    let server = listen().await;
    let peer = Peer::builder().connect(server.local_addr().to_string().replace("ws", "tcp")).await.unwrap();
    let error = WorkClient::new(peer.channel()).hang().await.unwrap_err().to_string();
    assert!(error.contains("an HTTP answer"), "{error}");
    while server.stats().failed_handshakes < 1 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_server_answers_what_is_no_upgrade_in_http() {
    let server = builder().listen("ws://127.0.0.1:0/rpc").await.unwrap();
    let get = "GET /rpc HTTP/1.1\r\nHost: a\r\n\r\n".to_owned();
    let old = request("/rpc", "").replace("Version: 13", "Version: 8");
    for (says, status, name) in [
        (get, "426 Upgrade Required", "this is a WebSocket"),
        (old, "426 Upgrade Required", "this is a WebSocket"),
        ("POST /rpc HTTP/1.1\r\n\r\n".to_owned(), "405 Method Not Allowed", "this is a WebSocket"),
        (request("/", ""), "404 Not Found", "another path"),
        (request("/rpcs", ""), "404 Not Found", "another path"),
        (request("/rpc", "Origin: https://evil.example\r\n"), "403 Forbidden", "another site"),
        ("\x16\x03\x01\x02\0\x01".to_owned(), "400 Bad Request", "a TLS handshake"),
        ("\0\0\0\0\x12".to_owned(), "400 Bad Request", "tcp://"),
        ("GET / HTTP/9\r\n\r\n".to_owned(), "400 Bad Request", "not valid"),
    ] {
        let mut socket = say(&server, says.as_bytes()).await;
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")) && answer.contains(name), "{answer}");
        assert_eq!(answer.contains("\r\nUpgrade: websocket\r\n"), status.starts_with("426"));
    }
    while server.stats().failed_handshakes < 9 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn pages_of_the_same_site_and_of_those_that_are_allowed_may_connect() {
    let bind = Bind::to("ws://127.0.0.1:0").websocket_origins(["https://app.example"]);
    let server = builder().listen(bind).await.unwrap();
    for origin in ["https://server", "https://app.example", "https://APP.example"] {
        let mut socket = say(&server, request("/x?y", &format!("Origin: {origin}\r\n")).as_bytes()).await;
        assert!(read_head(&mut socket).await.starts_with("HTTP/1.1 101 "), "{origin}");
    }
}

#[tokio::test]
async fn a_subprotocol_is_agreed_to_where_it_is_asked_for() {
    let server = listen().await;
    for (asked, agreed) in [("chat, muxado.1", true), ("chat", false)] {
        let more = format!("Sec-WebSocket-Protocol: {asked}\r\n");
        let mut socket = say(&server, request("/", &more).as_bytes()).await;
        let head = read_head(&mut socket).await.to_ascii_lowercase();
        assert!(head.starts_with("http/1.1 101 "), "{head}");
        assert_eq!(head.contains("sec-websocket-protocol: muxado.1\r\n"), agreed, "{head}");
    }
}
