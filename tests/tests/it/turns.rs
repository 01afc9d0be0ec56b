//! What a driver does in one turn, and what it leaves for the next.

use std::{
    future::poll_fn,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use muxado::{Config, Driver, ErrorCode, Session, SessionError, Side, Stream, rpc::Turn};
use muxado_tests::{Frame, Peer, Recorder, WriteLog, encode, run, settle};
use tokio::io::{DuplexStream, duplex};

/// Counts how often it is woken.
#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A server's session, whose peer has opened and finished these streams in one write.
async fn called(
    ids: impl IntoIterator<Item = u32>,
) -> (Session, Driver<Recorder<DuplexStream>>, WriteLog, Peer) {
    let (near, far) = duplex(1 << 16);
    let (recorded, log) = Recorder::new(near);
    let (session, driver) = Session::server(recorded, Config::default());
    let mut peer = Peer::new(far, Side::Server);
    let calls: Vec<_> = ids.into_iter().flat_map(|id| [Frame::syn(id, "x"), Frame::fin(id)]).collect();
    peer.send_bytes(&encode(&calls)).await;
    (session, driver, log, peer)
}

/// Answers with what came, if all of it is there.
fn echo(cx: &mut Context<'_>, stream: &mut Stream) {
    if let Poll::Ready(Ok(Some(mut chunk))) = stream.poll_read_chunk(cx, usize::MAX) {
        assert!(stream.poll_write_final(cx, &mut chunk).is_ready());
    }
}

#[test]
fn work_beside_the_driver_answers_in_the_same_turn_and_wakes_nobody() {
    run(async {
        let (session, driver, log, _peer) = called([3, 5, 7]).await;
        let mut driver = pin!(driver);

        let wakes = Arc::new(Wakes::default());
        let waker = Waker::from(Arc::clone(&wakes));
        let polled = driver.as_mut().poll_with(&mut Context::from_waker(&waker), |cx| {
            while let Some(mut stream) = session.try_accept() {
                echo(cx, &mut stream);
            }
            Poll::Pending
        });
        assert!(polled.is_pending());
        assert_eq!(wakes.0.load(Ordering::Relaxed), 0);
        assert_eq!(log.frames_by_write(), [[3, 5, 7].map(|id| Frame::data_fin(id, "x"))]);
    });
}

#[test]
fn another_task_goes_on_with_a_driver_in_the_middle_of_a_turn() {
    run(async {
        let (session, mut driver, log, mut peer) = called([3, 5]).await;
        let wakes: [_; 2] = std::array::from_fn(|_| Arc::new(Wakes::default()));
        let [first, second] = wakes.clone().map(Waker::from);
        assert!(matches!(driver.start_turn(&mut Context::from_waker(&first)), Turn::Work));
        let mut stream = session.try_accept().unwrap();
        echo(&mut Context::from_waker(&first), &mut stream);

        // The first task does not come back. The second one begins another turn.
        let cx = &mut Context::from_waker(&second);
        let mut turn = driver.start_turn(cx);
        while let Turn::Work = turn {
            while let Some(mut stream) = session.try_accept() {
                echo(cx, &mut stream);
            }
            turn = driver.finish_turn(cx, Poll::Pending);
        }
        assert!(matches!(turn, Turn::Over(Poll::Pending)));
        assert_eq!(log.frames_by_write().concat(), [3, 5].map(|id| Frame::data_fin(id, "x")));

        // What comes next wakes the second one.
        peer.send_bytes(&encode(&[Frame::syn(7, "x")])).await;
        let count = wakes.each_ref().map(|wakes| wakes.0.load(Ordering::Relaxed));
        assert_eq!((count[0], count[1] > 0), (0, true));
    });
}

#[test]
fn work_that_is_not_done_goes_on_once_its_output_is_written() {
    run(async {
        let (session, driver, log, _peer) = called([3, 5]).await;
        let mut driver = pin!(driver);

        let polled = driver.as_mut().poll_with(&mut Context::from_waker(Waker::noop()), |cx| {
            let Some(mut stream) = session.try_accept() else { return Poll::Pending };
            echo(cx, &mut stream);
            Poll::Ready(())
        });
        assert!(polled.is_pending());
        assert_eq!(log.frames_by_write(), [3, 5].map(|id| vec![Frame::data_fin(id, "x")]));
    });
}

#[test]
fn many_streams_of_one_read_are_answered_by_portions() {
    run(async {
        let (session, driver, log, _peer) = called((0..50).map(|n| 2 * n + 3)).await;
        let mut driver = pin!(driver);
        let serving = poll_fn(|cx| {
            driver.as_mut().poll_with(cx, |cx| {
                while let Some(mut stream) = session.try_accept() {
                    echo(cx, &mut stream);
                }
                Poll::Pending
            })
        });
        tokio::select! {
            end = serving => panic!("the session ended: {end:?}"),
            () = settle() => {}
        }
        let portions: Vec<_> = log.frames_by_write().iter().map(Vec::len).collect();
        assert_eq!(portions, [20, 20, 10]);
    });
}

#[test]
fn what_was_read_and_not_taken_in_is_looked_through_for_the_go_away_of_a_peer() {
    run(async {
        let (near, far) = duplex(1 << 16);
        let (session, driver) = Session::server(near, Config::default());
        let mut peer = Peer::new(far, Side::Server);
        let mut frames: Vec<_> = (0..50).map(|n| Frame::syn(2 * n + 3, "x")).collect();
        frames.push(Frame::go_away(0, 7, "over"));
        peer.send_bytes(&encode(&frames)).await;

        let mut driver = pin!(driver);
        let mut closed = false;
        let polled = driver.as_mut().poll_with(&mut Context::from_waker(Waker::noop()), |_| {
            // The first portion is in, the others are not.
            if !std::mem::replace(&mut closed, true) {
                session.close(ErrorCode::NO_ERROR, "");
            }
            Poll::Pending
        });
        assert!(polled.is_pending());
        peer.finish().await;
        let end = session.closed();
        let (end, _) = tokio::join!(end, driver);
        assert_eq!(end.local, SessionError::Closed(ErrorCode::NO_ERROR));
        assert_eq!(end.remote.map(|go_away| go_away.code), Some(ErrorCode::new(7)));
    });
}
