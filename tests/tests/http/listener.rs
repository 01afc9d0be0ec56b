//! The listener itself: order, end, cancellation.

use futures_util::StreamExt;
use muxado::{Config, ErrorCode, Session, SessionListener, Side};
use muxado_tests::{Frame, Pair, assert_pending, each_side, remote_id, run, scripted, settle};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A listener with two streams that wait.
async fn two_wait(side: Side) -> (Session, SessionListener, Vec<muxado::Stream>) {
    let Pair { client, server, .. } = Pair::new();
    let (listening, peer) = if side == Side::Client { (client, server) } else { (server, client) };
    let mut streams = Vec::new();
    for word in ["one", "two"] {
        let mut stream = peer.open().await.unwrap();
        stream.write_all(word.as_bytes()).await.unwrap();
        streams.push(stream);
    }
    settle().await;
    (peer, listening.into_listener(), streams)
}

#[test]
fn connections_come_in_order_also_as_a_stream() {
    each_side(|side| async move {
        let (_peer, mut listener, _streams) = two_wait(side).await;
        for word in ["one", "two"] {
            let mut stream = listener.next().await.expect("a connection").unwrap();
            let mut read = [0; 3];
            stream.read_exact(&mut read).await.unwrap();
            assert_eq!(read, word.as_bytes());
        }
        assert_pending(Box::pin(listener.next()).as_mut());
    });
}

#[test]
fn dropped_accept_loses_no_connection_and_leaves_nobody_waiting() {
    run(async {
        let Pair { client, server, .. } = Pair::new();
        let mut listener = server.into_listener();
        for _ in 0..3 {
            assert_pending(Box::pin(listener.accept()).as_mut());
        }
        let mut stream = client.open().await.unwrap();
        stream.write_all(b"x").await.unwrap();
        settle().await;
        assert!(listener.accept().await.is_some());
        // As a session again, it accepts what comes.
        assert_pending(Box::pin(listener.accept()).as_mut());
        let session = listener.into_session();
        let mut stream = client.open().await.unwrap();
        stream.write_all(b"y").await.unwrap();
        assert!(session.accept().await.is_some());
    });
}

#[test]
fn listener_ends_when_either_side_goes_away_after_what_came_before() {
    for by_peer in [true, false] {
        each_side(|side| async move {
            let (peer, mut listener, _streams) = two_wait(side).await;
            let mut ended = task(listener.ended());
            if by_peer {
                peer.go_away();
            } else {
                listener.session().go_away();
            }
            settle().await;
            assert!(!ended.is_finished(), "two connections wait to be taken");
            let first = listener.accept().await.expect("what came before is there");
            settle().await;
            assert!(!ended.is_finished());
            let second = listener.accept().await.expect("what came before is there");
            settle().await;
            assert!(ended.is_finished());
            assert!(listener.accept().await.is_none() && listener.next().await.is_none());
            (&mut ended).await.unwrap();
            listener.ended().await;
            drop((first, second));
        });
    }
}

#[test]
fn listener_that_waits_ends_with_its_session() {
    each_side(|side| async move {
        let (session, peer) = scripted(side, Config::default());
        let mut listener = session.into_listener();
        let ended = task(listener.ended());
        let accepting = task(async move { listener.accept().await.is_none() });
        settle().await;
        assert!(!ended.is_finished() && !accepting.is_finished());
        drop(peer);
        assert!(accepting.await.unwrap());
        ended.await.unwrap();
    });
}

#[test]
fn waiting_for_the_end_keeps_no_session_open() {
    run(async {
        let Pair { client, server, .. } = Pair::new();
        let listener = server.into_listener();
        let ended = listener.ended();
        drop(listener);
        ended.await;
        assert!(client.closed().await.local.is_clean());
    });
}

#[test]
fn peer_that_is_greeted_first_hears_of_nothing_but_the_streams() {
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default());
        let mut listener = session.into_listener();
        // A protocol in which the server speaks first: the opener says nothing, but that there is a stream.
        peer.send(Frame::syn(remote_id(side, 0), "")).await;
        let mut stream = listener.accept().await.unwrap();
        stream.write_all(b"220 ready").await.unwrap();
        peer.expect(Frame::data(remote_id(side, 0), "220 ready")).await;
        stream.reset(ErrorCode::CANCELLED);
        peer.expect(Frame::rst(remote_id(side, 0), 6)).await;
    });
}

#[test]
fn server_speaks_first_through_a_tunnel_in_both_directions() {
    each_side(|side| async move {
        let Pair { client, server, .. } = Pair::new();
        let (listening, opening) = if side == Side::Client { (client, server) } else { (server, client) };
        let mut listener = listening.into_listener();
        tokio::spawn(async move {
            while let Some(mut stream) = listener.accept().await {
                stream.write_all(b"220 ready\n").await.unwrap();
                let mut said = String::new();
                stream.read_to_string(&mut said).await.unwrap();
                stream.write_all(format!("221 {said}").as_bytes()).await.unwrap();
                stream.shutdown().await.unwrap();
            }
        });
        // The bytes of a client that waits for the greeting, copied as a tunnel does it.
        let (mut user, mut public) = tokio::io::duplex(1024);
        tokio::spawn(async move {
            let mut stream = opening.open().await.unwrap();
            tokio::io::copy_bidirectional(&mut public, &mut stream).await.unwrap();
        });
        let mut greeting = [0; 10];
        user.read_exact(&mut greeting).await.unwrap();
        assert_eq!(&greeting, b"220 ready\n");
        user.write_all(b"bye").await.unwrap();
        user.shutdown().await.unwrap();
        let mut rest = String::new();
        user.read_to_string(&mut rest).await.unwrap();
        assert_eq!(rest, "221 bye");
    });
}

fn task<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> tokio::task::JoinHandle<T> {
    tokio::spawn(future)
}
