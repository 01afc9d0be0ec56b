//! The transport ends or fails: an error for whatever was not complete, never an end of file.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use muxado::{Config, Heartbeat, HeartbeatConfig, OpenError, PingError, ReadError, SessionEnd, SessionError};
use muxado_tests::{
    Frame, drain, each_side, local_id, remote_id, run, scripted, scripted_typed, scripted_with_driver,
    settle, write_final,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf},
    time::{Instant, sleep},
};

fn eof(mid_frame: bool) -> SessionError {
    SessionError::PeerEof { mid_frame }
}

#[test]
fn end_of_the_transport_is_an_error_on_open_streams_behind_their_data() {
    each_side(|side| async move {
        let (session, mut peer, driver) = scripted_with_driver(side, Config::default(), 1 << 20);
        peer.send(Frame::syn(remote_id(side, 0), "before")).await;
        peer.send(Frame::syn_fin(remote_id(side, 1), "complete")).await;
        let mut open = session.accept().await.unwrap();
        let mut complete = session.accept().await.unwrap();
        peer.finish().await;
        let lost = Err(ReadError::SessionClosed(eof(false)));
        assert_eq!(drain(&mut open).await, (b"before".to_vec(), lost));
        assert_eq!(drain(&mut complete).await, (b"complete".to_vec(), Ok(())));
        assert!(complete.write_chunk("answer".into()).await.is_err());
        assert_eq!(session.closed().await, SessionEnd { local: eof(false), remote: None });
        assert_eq!(driver.await.unwrap(), Err(eof(false)));
    });
}

#[test]
fn end_of_the_transport_wakes_whoever_waits() {
    each_side(|side| async move {
        let (session, mut peer) = scripted_typed(side, Config::default().max_open_streams(1));
        let plain = session.session().clone();
        let stream = plain.open().await.unwrap();
        let (mut sender, mut receiver) = stream.into_split();
        let heartbeat = Heartbeat::start(&session, HeartbeatConfig::default());
        let writing = tokio::spawn(async move { sender.write_chunk(vec![0; 1 << 20].into()).await });
        let reading = tokio::spawn(async move { receiver.read_chunk().await });
        let beating = tokio::spawn(async move { heartbeat.ping().await });
        settle().await;
        let opener = plain.clone();
        let opening = tokio::spawn(async move { opener.open().await.map(drop) });
        let accepting = tokio::spawn(async move { session.accept_typed().await.is_none() });
        settle().await;
        peer.finish().await;
        settle().await;
        let lost = eof(false);
        assert_eq!(reading.await.unwrap(), Err(ReadError::SessionClosed(lost.clone())));
        assert!(writing.await.unwrap().is_err());
        assert_eq!(beating.await.unwrap(), Err(PingError::SessionClosed(lost.clone())));
        assert_eq!(opening.await.unwrap(), Err(OpenError::SessionClosed(lost)));
        assert!(accepting.await.unwrap());
    });
}

#[test]
fn end_inside_a_frame_is_said_to_be() {
    let id = 3;
    let whole = Frame::syn(id, "0123456789").encode();
    for cut in 1..whole.len() {
        let whole = whole.clone();
        run(async move {
            let (session, mut peer) = scripted(muxado::Side::Server, Config::default());
            peer.send_bytes(&whole[..cut]).await;
            peer.finish().await;
            let end = session.closed().await;
            assert_eq!(end.local, eof(true), "cut after {cut} bytes");
            assert_eq!(end.local.to_string(), "the transport ended in the middle of a frame");
        });
    }
}

#[test]
fn end_without_any_stream_is_reported_as_such() {
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default());
        peer.finish().await;
        let end = session.closed().await;
        assert_eq!(end.local.to_string(), "the transport ended without a go-away");
        assert!(!end.local.is_clean());
        peer.expect_end().await;
    });
}

#[test]
fn part_of_a_frame_is_readable_before_the_cut() {
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default());
        let frame = Frame::syn_fin(remote_id(side, 0), "0123456789").encode();
        peer.send_bytes(&frame[..frame.len() - 1]).await;
        let mut stream = session.accept().await.unwrap();
        peer.finish().await;
        let lost = Err(ReadError::SessionClosed(eof(true)));
        assert_eq!(drain(&mut stream).await, (b"012345678".to_vec(), lost));
    });
}

#[test]
fn complete_stream_can_be_accepted_after_the_transport_ended() {
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default());
        peer.send(Frame::syn_fin(remote_id(side, 0), "complete")).await;
        peer.finish().await;
        settle().await;
        let mut stream = session.accept().await.expect("it was complete before the end");
        assert_eq!(drain(&mut stream).await, (b"complete".to_vec(), Ok(())));
        assert!(session.accept().await.is_none());
    });
}

#[test]
fn write_side_that_breaks_ends_the_session() {
    each_side(|side| async move {
        let (session, peer, driver) = scripted_with_driver(side, Config::default(), 1 << 20);
        let mut stream = session.open().await.unwrap();
        drop(peer);
        // The peer's end is seen first or the write fails; either way the stream does.
        write_final(&mut stream, "q").await.ok();
        let (_, end) = drain(&mut stream).await;
        assert!(matches!(end, Err(ReadError::SessionClosed(_))), "{end:?}");
        assert!(driver.await.unwrap().is_err());
    });
}

/// Reads nothing for a while, then fails; writing fails or not.
struct Broken {
    read: Option<io::ErrorKind>,
    write: Option<io::ErrorKind>,
}

impl AsyncRead for Broken {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.read {
            Some(kind) => Poll::Ready(Err(io::Error::new(kind, "read broke"))),
            None => Poll::Pending,
        }
    }
}

impl AsyncWrite for Broken {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(match self.write {
            Some(io::ErrorKind::WriteZero) => Ok(0),
            Some(kind) => Err(io::Error::new(kind, "write broke")),
            None => Ok(buf.len()),
        })
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[test]
fn error_of_the_transport_is_reported_in_its_own_words() {
    each_side(|side| async move {
        let broken = Broken { read: Some(io::ErrorKind::ConnectionReset), write: None };
        let (session, driver) = muxado::Session::new(side, broken, Config::default());
        let mut stream = session.open().await.unwrap();
        let result = driver.await;
        let kind = io::ErrorKind::ConnectionReset;
        let error = SessionError::Transport { kind, message: "read broke".into() };
        assert_eq!(result, Err(error.clone()));
        assert_eq!(session.closed().await.local, error);
        assert_eq!(error.to_string(), "the transport failed: read broke");
        assert_eq!(stream.read_chunk().await, Err(ReadError::SessionClosed(error)));
        assert_eq!(stream.write_all(b"x").await.unwrap_err().kind(), kind);
    });
}

#[test]
fn transport_that_cannot_be_written_ends_the_session() {
    for kind in [io::ErrorKind::BrokenPipe, io::ErrorKind::WriteZero] {
        each_side(|side| async move {
            let broken = Broken { read: None, write: Some(kind) };
            let (session, driver) = muxado::Session::new(side, broken, Config::default());
            let driver = tokio::spawn(driver);
            let mut stream = session.open().await.unwrap();
            stream.write_all(b"x").await.unwrap();
            let reading = stream.read_chunk().await;
            let SessionEnd { local, remote: None } = session.closed().await else { panic!() };
            let SessionError::Transport { kind: reported, .. } = &local else { panic!("{local:?}") };
            assert_eq!(*reported, kind);
            assert_eq!(reading, Err(ReadError::SessionClosed(local.clone())));
            assert_eq!(driver.await.unwrap(), Err(local));
        });
    }
}

#[test]
fn peer_that_half_closes_its_transport_has_left() {
    // Even though our answer could still be written: no implementation sends this on purpose.
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default());
        let id = local_id(side, 0);
        let mut stream = session.open().await.unwrap();
        write_final(&mut stream, "q").await.unwrap();
        peer.expect_all([Frame::syn_ext(id, "q"), Frame::fin(id)]).await;
        peer.finish().await;
        assert_eq!(drain(&mut stream).await, (vec![], Err(ReadError::SessionClosed(eof(false)))));
    });
}

#[test]
fn peer_that_does_not_read_is_given_up_after_the_write_timeout() {
    each_side(|side| async move {
        let (session, mut peer, driver) = scripted_with_driver(side, Config::default(), 1000);
        let mut stream = session.open().await.unwrap();
        stream.write_all(&[1; 10_000]).await.unwrap();
        let begin = Instant::now();
        // It goes on talking all the while: that is no reason to keep what it does not take.
        let talking = async {
            for _ in 0..100 {
                sleep(Duration::from_secs(1)).await;
                if session.is_closed() {
                    break;
                }
                peer.send(Frame::new(9, 0, 0, "")).await;
            }
        };
        let (end, ()) = tokio::join!(session.closed(), talking);
        let stalled = SessionError::WriteTimeout(Duration::from_secs(30));
        assert_eq!(end.local, stalled);
        assert!((Duration::from_secs(30)..Duration::from_secs(32)).contains(&begin.elapsed()));
        assert_eq!(stream.read_chunk().await, Err(ReadError::SessionClosed(stalled.clone())));
        assert_eq!(driver.await.unwrap(), Err(stalled));
    });
}

#[test]
fn silent_peer_that_does_not_read_is_given_up_too() {
    each_side(|side| async move {
        let config = Config::default().write_timeout(Duration::from_secs(3));
        let (session, _peer, _driver) = scripted_with_driver(side, config, 1000);
        let mut stream = session.open().await.unwrap();
        stream.write_all(&[1; 10_000]).await.unwrap();
        let begin = Instant::now();
        let end = session.closed().await;
        assert_eq!(end.local, SessionError::WriteTimeout(Duration::from_secs(3)));
        assert_eq!(begin.elapsed(), Duration::from_secs(3));
    });
}

#[test]
fn slow_peer_is_not_taken_for_a_stalled_one() {
    each_side(|side| async move {
        let (session, mut peer, _driver) = scripted_with_driver(side, Config::default(), 1000);
        let mut stream = session.open().await.unwrap();
        stream.write_all(&[1; 10_000]).await.unwrap();
        let mut got = 0;
        while got < 10_008 {
            sleep(Duration::from_secs(20)).await;
            got += peer.recv_bytes(600).await.len();
        }
        assert!(!session.is_closed());
    });
}
