//! Time limits that pass while the process is stopped, or while there is something to be done first.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
    time::Duration,
};

use muxado::{Config, Heartbeat, HeartbeatConfig, Session, SessionError, Side};
use muxado_tests::{
    Frame, HEADER, each_side, local_id, remote_id, run, scripted_typed, scripted_with_driver, settle,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf},
    time::{Instant, advance, sleep},
};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn process_that_was_stopped_goes_on_writing_to_a_peer_that_reads() {
    each_side(|side| async move {
        let (session, mut peer, _driver) = scripted_with_driver(side, Config::default(), 1000);
        let mut stream = session.open().await.unwrap();
        stream.write_all(&[7; 10_000]).await.unwrap();
        settle().await;
        // The output is stuck. The process stops; meanwhile the peer reads.
        let mut seen = peer.recv_bytes(1000).await.len();
        advance(Duration::from_secs(100)).await;
        settle().await;
        assert!(!session.is_closed(), "{:?}", session.closed().await);
        while seen < 10_000 + HEADER {
            seen += peer.recv_bytes(1000).await.len();
        }
        // Nothing is stuck now, so nothing is to be judged later.
        sleep(100 * SECOND).await;
        assert!(!session.is_closed());
    });
}

#[test]
fn process_that_was_stopped_has_a_moment_to_find_its_transport_ready() {
    each_side(|side| async move {
        let (session, mut peer, _driver) = scripted_with_driver(side, Config::default(), 1000);
        let mut stream = session.open().await.unwrap();
        stream.write_all(&[7; 10_000]).await.unwrap();
        settle().await;
        advance(Duration::from_secs(100)).await;
        sleep(SECOND / 2).await;
        assert!(!session.is_closed(), "{:?}", session.closed().await);
        assert_eq!(peer.recv_bytes(1000).await.len(), 1000);
        sleep(20 * SECOND).await;
        assert!(!session.is_closed(), "{:?}", session.closed().await);
    });
}

#[test]
fn peer_that_reads_nothing_is_given_up_also_by_a_process_that_was_stopped() {
    each_side(|side| async move {
        let (session, _peer, _driver) = scripted_with_driver(side, Config::default(), 1000);
        let mut stream = session.open().await.unwrap();
        stream.write_all(&[7; 10_000]).await.unwrap();
        settle().await;
        advance(Duration::from_secs(100)).await;
        sleep(2 * SECOND).await;
        assert!(session.is_closed());
        assert_eq!(session.closed().await.local, SessionError::WriteTimeout(30 * SECOND));
    });
}

#[test]
fn heartbeat_answer_that_came_while_the_process_was_stopped_counts() {
    for answer_is_late in [false, true] {
        each_side(|side| async move {
            let (session, mut peer) = scripted_typed(side, Config::default());
            let _heartbeat = Heartbeat::start(&session, HeartbeatConfig::default());
            let beat = peer.recv().await.unwrap();
            let token = &beat.payload[4..];
            if !answer_is_late {
                peer.send(Frame::data(local_id(side, 0), token)).await;
            }
            advance(Duration::from_secs(1000)).await;
            if answer_is_late {
                sleep(SECOND / 2).await;
                peer.send(Frame::data(local_id(side, 0), token)).await;
            }
            sleep(2 * SECOND).await;
            assert!(!session.session().is_closed(), "{:?}", session.session().closed().await);
        });
    }
}

#[test]
fn idle_session_to_which_something_came_while_the_process_was_stopped_lives() {
    each_side(|side| async move {
        let config = Config::default().idle_timeout(Some(60 * SECOND));
        let (session, mut peer, _driver) = scripted_with_driver(side, config, 1000);
        settle().await;
        peer.send(Frame::syn(remote_id(side, 0), "x")).await;
        advance(100 * SECOND).await;
        sleep(2 * SECOND).await;
        assert!(session.accept().await.is_some());
        assert!(!session.is_closed());
    });
}

#[test]
fn type_that_came_behind_other_data_while_the_process_was_stopped_is_in_time() {
    each_side(|side| async move {
        let (session, mut peer) = scripted_typed(side, Config::default());
        let [untyped, bulk] = [0, 1].map(|n| remote_id(side, n));
        peer.send(Frame::syn(untyped, [0, 0])).await;
        peer.send(Frame::syn(bulk, [0, 0, 0, 9])).await;
        assert_eq!(session.accept_typed().await.unwrap().stream_type().as_u32(), 9);
        // More than one read brings.
        for _ in 0..20 {
            peer.send(Frame::data(remote_id(side, 7), vec![1; 60_000])).await;
        }
        peer.send(Frame::data(untyped, [0, 7])).await;
        advance(100 * SECOND).await;
        let accepted = session.accept_typed().await.unwrap();
        assert_eq!(accepted.stream_type().as_u32(), 7);
    });
}

/// A transport that takes every write, and whose flush waits.
#[derive(Clone, Default)]
struct Flushing(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    written: usize,
    /// Bytes that it takes at most before it is flushed; all if 0.
    room: usize,
    open: bool,
    waker: Option<Waker>,
}

impl Flushing {
    fn written(&self) -> usize {
        self.0.lock().unwrap().written
    }

    /// Takes so many bytes more, or ends the flush.
    fn go_on(&self, room: usize) {
        let mut state = self.0.lock().unwrap();
        state.room += room;
        state.open |= room == 0;
        state.waker.take().into_iter().for_each(Waker::wake);
    }
}

impl AsyncRead for Flushing {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

impl AsyncWrite for Flushing {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let mut state = self.0.lock().unwrap();
        let n = if state.room == 0 { buf.len() } else { buf.len().min(state.room - state.written) };
        if n == 0 {
            state.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        state.written += n;
        Poll::Ready(Ok(n))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.0.lock().unwrap();
        if state.open {
            return Poll::Ready(Ok(()));
        }
        state.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

fn over(io: &Flushing) -> Session {
    let (session, driver) = Session::new(Side::Client, io.clone(), Config::default());
    tokio::spawn(driver);
    session
}

#[test]
fn output_is_written_while_the_transport_flushes() {
    run(async {
        let io = Flushing::default();
        let session = over(&io);
        let mut stream = session.open().await.unwrap();
        stream.write_all(b"first").await.unwrap();
        settle().await;
        assert_eq!(io.written(), HEADER + 5);
        stream.write_all(b"second").await.unwrap();
        settle().await;
        assert_eq!(io.written(), 2 * HEADER + 11);
        io.go_on(0);
        stream.flush().await.unwrap();
        sleep(100 * SECOND).await;
        assert!(!session.is_closed());
    });
}

#[test]
fn flush_of_the_transport_that_never_ends_ends_the_session() {
    run(async {
        let io = Flushing::default();
        let session = over(&io);
        let mut stream = session.open().await.unwrap();
        let start = Instant::now();
        stream.write_all(b"first").await.unwrap();
        // To write more is no sign that anything gets anywhere.
        let writing = tokio::spawn(async move {
            while stream.write_all(b"more").await.is_ok() {
                sleep(SECOND).await;
            }
        });
        assert_eq!(session.closed().await.local, SessionError::WriteTimeout(30 * SECOND));
        assert_eq!(start.elapsed().as_secs(), 30);
        writing.await.unwrap();
    });
}

#[test]
fn transport_is_asked_once_more_before_it_is_given_up() {
    run(async {
        let io = Flushing::default();
        io.0.lock().unwrap().room = 64;
        io.0.lock().unwrap().open = true;
        let session = over(&io);
        let mut stream = session.open().await.unwrap();
        stream.write_all(&[7; 100]).await.unwrap();
        sleep(29 * SECOND).await;
        assert_eq!(io.written(), 64);
        // It has room, of which the runtime has not told yet when the timer fires.
        io.0.lock().unwrap().room += 1000;
        sleep(2 * SECOND).await;
        assert_eq!(io.written(), HEADER + 100);
        sleep(100 * SECOND).await;
        assert!(!session.is_closed(), "{:?}", session.closed().await);
    });
}

#[test]
fn transport_that_gets_on_slowly_is_never_given_up() {
    run(async {
        let io = Flushing::default();
        io.0.lock().unwrap().room = 64;
        let session = over(&io);
        let mut stream = session.open().await.unwrap();
        for round in 0..20 {
            stream.write_all(&[7; 100]).await.unwrap();
            sleep(20 * SECOND).await;
            assert!(!session.is_closed(), "round {round}: {:?}", session.closed().await);
            io.go_on(108);
        }
    });
}
