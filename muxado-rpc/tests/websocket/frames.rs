//! Messages that are not for a session, and how connections end.

use futures_util::{SinkExt, StreamExt};
use muxado_rpc::{Peer, WebSocketError, connect};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
    sync::mpsc,
};
use tokio_tungstenite::{
    WebSocketStream, accept_async,
    tungstenite::protocol::{CloseFrame, Message},
};

use crate::{
    builder, listen,
    raw::{BINARY, CLOSE, CONTINUATION, Client, PING, PONG, TEXT, frame, header},
    support::WorkClient,
};

/// A server, a client that is written by hand, and the server's end of its connection.
async fn connected() -> (muxado_rpc::Server, Client, Peer) {
    let (seen, mut peers) = mpsc::unbounded_channel();
    let server = builder()
        .on_connect(move |peer| {
            let _ = seen.send(peer);
        })
        .listen("ws://127.0.0.1:0")
        .await
        .unwrap();
    let client = Client::connect(&server, "/").await;
    (server, client, peers.recv().await.unwrap())
}

#[tokio::test]
async fn messages_that_no_session_sends_are_refused_by_name_and_code() {
    let cut = [frame(TEXT, true, b"hello"), frame(BINARY, true, b"x")].concat();
    let two = [frame(BINARY, false, b"x"), frame(BINARY, true, b"x")].concat();
    for (frames, code, name) in [
        (cut, 1003, "a WebSocket text message"),
        (frame(CONTINUATION, true, b"x"), 1002, "nothing to continue"),
        (two, 1002, "While waiting for more fragments"),
        (frame(3, true, b"x"), 1002, "invalid opcode: 3"),
        (frame(PING, true, &[7; 126]), 1002, "Control frame too big"),
        (vec![0x82, 0x01, 0x00], 1002, "unmasked frame"),
    ] {
        let (_server, mut client, far) = connected().await;
        client.write(&frames).await;
        assert_eq!(client.read_close().await.0, code, "{name}");
        let end = far.closed().await.to_string();
        assert!(end.contains(name), "{end}");
    }
}

#[tokio::test]
async fn what_is_larger_than_the_limit_is_refused_before_it_comes() {
    const LIMIT: usize = 1024 * 1024;
    let half = [vec![0; LIMIT / 2], vec![0; LIMIT / 2 + 1]];
    let sum = [frame(BINARY, false, &half[0]), frame(CONTINUATION, true, &half[1])].concat();
    for bytes in [header(BINARY, true, LIMIT as u64 + 1), header(BINARY, true, u64::MAX >> 1), sum] {
        let (_server, mut client, far) = connected().await;
        client.write(&[&bytes[..], &[0; 4]].concat()).await;
        assert_eq!(client.read_close().await, (1009, "more than 1 MiB".to_owned()));
        let end = far.closed().await.to_string();
        assert!(end.contains("a WebSocket message of more than 1048576 bytes"), "{end}");
    }
}

#[tokio::test]
async fn a_ping_is_answered_while_nothing_is_written() {
    let (_server, mut client, far) = connected().await;
    for payload in [&b"one"[..], b"", &[7; 125]] {
        client.send(PING, payload).await;
        assert_eq!(client.read_until(PONG).await, payload);
    }
    assert!(!far.is_closed());
}

#[tokio::test]
async fn a_close_message_ends_the_session_and_is_answered() {
    let (_server, mut client, far) = connected().await;
    client.send(CLOSE, &1000_u16.to_be_bytes()).await;
    assert_eq!(client.read_close().await.0, 1000);
    while client.read().await.is_some() {}
    let end = far.closed().await.to_string();
    assert!(!end.contains("WebSocket"), "{end}");
}

#[tokio::test]
async fn a_server_that_ends_says_so_in_the_session_and_then_in_a_close_message() {
    let (server, mut client, _far) = connected().await;
    let (ended, frames) = tokio::join!(server.shutdown(std::time::Duration::ZERO), async {
        let mut opcodes = Vec::new();
        while let Some((opcode, payload)) = client.read().await {
            opcodes.push(opcode);
            if opcode == CLOSE {
                client.send(CLOSE, &payload).await;
            }
        }
        opcodes
    });
    assert_eq!(ended.cut, 0);
    assert!(frames.ends_with(&[BINARY, CLOSE]), "{frames:?}");
}

/// Runs a server of WebSockets that knows nothing of sessions; the address, and what it accepts.
async fn foreign() -> (String, mpsc::Receiver<WebSocketStream<TcpStream>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("ws://{}/", listener.local_addr().unwrap());
    let (accepted, sockets) = mpsc::channel(8);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let _ = accepted.send(accept_async(stream).await.unwrap()).await;
        }
    });
    (address, sockets)
}

#[tokio::test]
async fn a_call_fails_by_name_when_the_server_closes_the_websocket() {
    let (address, mut sockets) = foreign().await;
    let close = |code: u16, reason: &'static str| {
        Message::Close(Some(CloseFrame { code: code.into(), reason: reason.into() }))
    };
    for (message, name) in [
        (close(1011, "out of memory"), Some("closed the WebSocket with code 1011: out of memory")),
        (Message::Text("hello".into()), Some("a WebSocket text message")),
        (close(1001, "later"), None),
    ] {
        let peer = connect(&address).await.unwrap();
        let mut server = sockets.recv().await.unwrap();
        let client = WorkClient::new(peer.channel());
        let call = tokio::spawn(async move { client.hang().await.unwrap_err() });
        assert!(matches!(server.next().await, Some(Ok(Message::Binary(_)))));
        server.send(message).await.unwrap();
        let (error, end) = (call.await.unwrap().to_string(), peer.closed().await);
        match name {
            Some(name) => assert!(end.to_string().contains(name) && error.contains(name), "{error}, {end}"),
            None => assert!(!end.to_string().contains("WebSocket"), "{error}, {end}"),
        }
    }
    let named = WebSocketError::Closed { code: 1011, reason: String::new() };
    assert_eq!(WebSocketError::of(&std::io::Error::from(named.clone())), Some(&named));
}

#[tokio::test]
async fn a_connection_that_is_cut_ends_the_session_of_either_side() {
    let (_server, client, far) = connected().await;
    drop(client);
    far.closed().await;
    let (address, mut sockets) = foreign().await;
    let peer = connect(&address).await.unwrap();
    let mut server = sockets.recv().await.unwrap();
    server.get_mut().shutdown().await.unwrap();
    let error = WorkClient::new(peer.channel()).hang().await.unwrap_err();
    assert!(error.to_string().ends_with("the transport ended without a go-away"), "{error}");
    peer.closed().await;
}

#[tokio::test]
async fn what_is_written_is_not_held_back() {
    let server = listen().await;
    let peer = connect(server.local_addr()).await.unwrap();
    let client = WorkClient::new(peer.channel());
    // Each call is one message there and one back, and nothing pushes it out.
    for _ in 0..50 {
        crate::support::assert_alive(&client).await;
    }
}
