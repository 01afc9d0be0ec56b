//! Control streams: the session is not used for them (`PROTOCOL §8`).

use std::{
    future::poll_fn,
    task::{Context, Poll, Waker},
    time::Duration,
};

use muxado::{Config, ControlStreams, ErrorCode, OpenError, ReadError, Side, StreamType, TypedSession};
use muxado_tests::{
    Frame, Pair, Peer, assert_pending, drain, each_side, local_id, remote_id, run, scripted_typed, settle,
    write_final,
};
use tokio::{io::AsyncWriteExt, time::Instant};

const CONTROL: &[u8] = &[0xFF, 0xFF, 0xFF, 0xFE];

/// A session with control streams, whose peer is scripted.
fn controlled(side: Side, config: Config) -> (TypedSession, ControlStreams, Peer) {
    let (session, peer) = scripted_typed(side, config);
    let control = ControlStreams::start(&session, StreamType::CONTROL);
    (session, control, peer)
}

/// A frame's payload: the type of control streams, and this.
fn control(said: &str) -> Vec<u8> {
    [CONTROL, said.as_bytes()].concat()
}

/// Two sessions with control streams.
fn pair(config: Config) -> (Pair, [(TypedSession, ControlStreams); 2]) {
    let pair = Pair::with(config, 1 << 16);
    let (client, server) = pair.typed();
    let ends = [client, server].map(|session| {
        let control = ControlStreams::start(&session, StreamType::CONTROL);
        (session, control)
    });
    (pair, ends)
}

#[test]
fn type_and_first_bytes_leave_in_one_frame() {
    each_side(|side| async move {
        let (_session, streams, mut peer) = controlled(side, Config::default());
        streams.open().unwrap().write_all(b"hello").await.unwrap();
        peer.expect(Frame::syn_ext(local_id(side, 0), control("hello"))).await;
    });
}

#[test]
fn own_control_stream_counts_against_no_limit() {
    each_side(|side| async move {
        let config = Config::default().max_open_streams(1).max_unacknowledged_opens(1);
        let (session, streams, mut peer) = controlled(side, config);
        let mut ours = streams.open().unwrap();
        ours.write_all(b"a").await.unwrap();
        peer.expect(Frame::syn_ext(local_id(side, 0), control("a"))).await;
        let mut stream = session.open_typed(StreamType::new(7)).await.unwrap();
        stream.write_all(b"b").await.unwrap();
        peer.expect(Frame::syn_ext(local_id(side, 1), [0, 0, 0, 7, b'b'])).await;
        assert_pending(std::pin::pin!(session.open_typed(StreamType::new(7))));
        // Its end makes no room for another, either.
        peer.send(Frame::rst(local_id(side, 0), 6)).await;
        settle().await;
        assert_pending(std::pin::pin!(session.open_typed(StreamType::new(7))));
        peer.send(Frame::rst(local_id(side, 1), 6)).await;
        session.open_typed(StreamType::new(7)).await.unwrap();
    });
}

#[test]
fn control_stream_of_the_peer_counts_against_no_limit() {
    each_side(|side| async move {
        let config = Config::default().max_streams(1).accept_backlog(1);
        let (session, streams, mut peer) = controlled(side, config);
        peer.send(Frame::syn(remote_id(side, 0), control("a"))).await;
        peer.send(Frame::syn(remote_id(side, 1), [0, 0, 0, 7, b'b'])).await;
        peer.send(Frame::syn(remote_id(side, 2), [0, 0, 0, 7, b'c'])).await;
        peer.expect(Frame::rst(remote_id(side, 2), 5)).await;
        let mut theirs = streams.accept().await.unwrap();
        let mut stream = session.accept_typed().await.unwrap().into_inner();
        for (stream, said) in [(&mut theirs, "a"), (&mut stream, "b")] {
            assert_eq!(stream.read_chunk().await.unwrap().unwrap(), said);
        }
        // Its end makes no room for another, either.
        peer.send(Frame::rst(remote_id(side, 0), 6)).await;
        peer.send(Frame::syn(remote_id(side, 3), [0, 0, 0, 7])).await;
        peer.expect(Frame::rst(remote_id(side, 3), 5)).await;
    });
}

#[test]
fn type_of_a_control_stream_may_come_in_pieces() {
    each_side(|side| async move {
        let (_session, streams, mut peer) = controlled(side, Config::default());
        let id = remote_id(side, 0);
        peer.send(Frame::syn(id, &CONTROL[..1])).await;
        peer.send(Frame::data(id, &CONTROL[1..3])).await;
        assert_pending(std::pin::pin!(streams.accept()));
        peer.send(Frame::data(id, [CONTROL[3], b'x'])).await;
        let mut theirs = streams.accept().await.unwrap();
        assert_eq!(theirs.read_chunk().await.unwrap().unwrap(), "x");
    });
}

#[test]
fn second_control_stream_of_the_peer_is_one_like_any_other() {
    each_side(|side| async move {
        let (session, streams, mut peer) = controlled(side, Config::default());
        for n in 0..2 {
            peer.send(Frame::syn(remote_id(side, n), control("x"))).await;
        }
        let first = streams.accept().await.unwrap();
        let second = session.accept_typed().await.unwrap();
        assert_eq!(first.id().unwrap().as_u32(), remote_id(side, 0));
        assert_eq!(second.stream_type(), StreamType::CONTROL);
        assert_pending(std::pin::pin!(streams.accept()));
    });
}

#[test]
fn without_control_streams_their_type_is_one_like_any_other() {
    each_side(|side| async move {
        let (session, mut peer) = scripted_typed(side, Config::default());
        peer.send(Frame::syn(remote_id(side, 0), control("x"))).await;
        assert_eq!(session.accept_typed().await.unwrap().stream_type(), StreamType::CONTROL);
    });
}

#[test]
fn session_with_nothing_but_control_streams_drains_at_once() {
    run(async {
        let (_pair, [(client, ours), (server, theirs)]) = pair(Config::default());
        let mut near = ours.open().unwrap();
        near.write_all(b"x").await.unwrap();
        let mut far = theirs.open().unwrap();
        far.write_all(b"x").await.unwrap();
        let taken = (theirs.accept().await.unwrap(), ours.accept().await.unwrap());
        let start = Instant::now();
        assert_eq!(client.session().drain(Duration::from_secs(60)).await, 0);
        server.session().closed().await;
        assert_eq!(start.elapsed(), Duration::ZERO);
        drop(taken);
    });
}

#[test]
fn session_with_nothing_but_control_streams_is_closed_when_idle() {
    run(async {
        let limit = Duration::from_secs(30);
        let (_pair, [(client, ours), (_server, theirs)]) = pair(Config::default().idle_timeout(Some(limit)));
        let mut near = ours.open().unwrap();
        near.write_all(b"x").await.unwrap();
        let _taken = theirs.accept().await.unwrap();
        let start = Instant::now();
        client.session().closed().await;
        assert_eq!(start.elapsed(), limit);
        assert_eq!(near.write_all(b"y").await.unwrap_err().kind(), std::io::ErrorKind::NotConnected);
    });
}

#[test]
fn control_stream_that_nobody_takes_keeps_no_session_open() {
    each_side(|side| async move {
        let (session, streams, mut peer) = controlled(side, Config::default());
        peer.send(Frame::syn(remote_id(side, 0), control("x"))).await;
        settle().await;
        drop(session);
        peer.expect_closing(0).await;
        peer.finish().await;
        settle().await;
        // What came before the end is there, and then nothing.
        let mut theirs = streams.accept().await.unwrap();
        assert_eq!(theirs.read_chunk().await.unwrap().unwrap(), "x");
        assert!(matches!(theirs.read_chunk().await, Err(ReadError::SessionClosed(_))));
        assert!(streams.accept().await.is_none());
    });
}

#[test]
fn control_stream_that_is_over_leaves_nothing() {
    run(async {
        let (_pair, [(client, ours), (server, theirs)]) = pair(Config::default());
        let mut near = ours.open().unwrap();
        write_final(&mut near, "all").await.unwrap();
        let mut far = theirs.accept().await.unwrap();
        // They are not counted, either.
        assert_eq!((client.session().stats().streams_open, server.session().stats().streams_open), (0, 0));
        assert_eq!(drain(&mut far).await, (b"all".to_vec(), Ok(())));
        far.finish().unwrap();
        assert_eq!(drain(&mut near).await, (Vec::new(), Ok(())));
        drop((near, far));
        settle().await;
        for session in [&client, &server] {
            assert_eq!(session.session().stats().streams_open, 0);
        }
        // The counts are right: one more stream opens, and is waited for.
        let mut stream = client.open_typed(StreamType::new(7)).await.unwrap();
        stream.write_all(b"x").await.unwrap();
        let _taken = server.accept_typed().await.unwrap();
        assert_eq!(client.session().drain(Duration::from_secs(1)).await, 1);
    });
}

#[test]
fn no_control_stream_is_opened_behind_a_go_away() {
    each_side(|side| async move {
        let (session, streams, mut peer) = controlled(side, Config::default());
        let mut ours = streams.open().unwrap();
        ours.write_all(b"x").await.unwrap();
        peer.expect(Frame::syn_ext(local_id(side, 0), control("x"))).await;
        peer.send(Frame::go_away(0, 0, "")).await;
        session.session().going_away().await;
        assert!(matches!(streams.open(), Err(OpenError::PeerGoingAway(_))));
        // The peer never looked at it.
        assert_eq!(poll_fn(|cx| ours.poll_reset(cx)).await, ReadError::Reset(ErrorCode::REMOTE_GONE_AWAY));
    });
}

#[test]
fn peer_is_known_by_its_first_flag() {
    each_side(|side| async move {
        let (session, streams, mut peer) = controlled(side, Config::default());
        let waiting = tokio::spawn({
            let streams = streams.clone();
            async move { poll_fn(|cx| streams.poll_extensions_negotiated(cx)).await }
        });
        peer.send(Frame::syn(remote_id(side, 0), [0, 0, 0, 7])).await;
        settle().await;
        assert!(!waiting.is_finished() && !session.session().extensions_negotiated());
        peer.send(Frame::syn_ext(remote_id(side, 1), [0, 0, 0, 7])).await;
        assert!(waiting.await.unwrap());
        assert!(session.session().extensions_negotiated());
    });
}

#[test]
fn peer_is_not_known_where_the_extension_is_off_or_the_session_over() {
    each_side(|side| async move {
        let (session, streams, mut peer) = controlled(side, Config::default().extensions(false));
        peer.send(Frame::syn_ext(remote_id(side, 0), [0, 0, 0, 7])).await;
        settle().await;
        assert!(!session.session().extensions_negotiated());
        let mut cx = Context::from_waker(Waker::noop());
        assert_eq!(streams.poll_extensions_negotiated(&mut cx), Poll::Pending);
        session.session().close(ErrorCode::NO_ERROR, "");
        assert_eq!(streams.poll_extensions_negotiated(&mut cx), Poll::Ready(false));
    });
}
