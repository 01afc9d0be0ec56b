//! Streams on which something is owed and nothing moves.

use std::time::Duration;

use muxado::{Config, ErrorCode, ReadError, Session, Side, Stream, WriteError, rpc::StreamExt};
use muxado_tests::{
    Frame, Pair, Peer, RST, drain, each_side, local_id, read_exactly, remote_id, run, scripted, settle,
    write_final,
};
use tokio::time::{Instant, sleep};

const KIB: usize = 1024;
const WINDOW: usize = 256 * KIB;
const WRITE_TIMEOUT: u32 = 13;

/// The default of `Config::stall_timeout`, and what is added by looking only now and then.
const LIMIT: Duration = Duration::from_secs(60);
const COARSE: Duration = Duration::from_secs(22);

fn stall_limited(side: Side) -> (Session, Peer) {
    scripted(side, Config::default())
}

/// Writes a megabyte on each of so many streams, and says what became of it.
async fn write_much(
    session: &Session,
    streams: usize,
) -> Vec<tokio::task::JoinHandle<Result<(), WriteError>>> {
    let mut writers = Vec::new();
    for _ in 0..streams {
        let mut stream = session.open().await.unwrap();
        writers.push(tokio::spawn(async move { write_final(&mut stream, vec![7; 1024 * KIB]).await }));
    }
    writers
}

/// Waits until the peer is told of a reset, and says after how long; it sends something every few seconds.
async fn reset_after(peer: &mut Peer, begin: Instant, mut sign: impl FnMut() -> Frame) -> (Frame, Duration) {
    loop {
        let frames = peer.recv_until_silence().await;
        if let Some(reset) = frames.into_iter().find(|frame| frame.kind == RST) {
            return (reset, begin.elapsed());
        }
        assert!(begin.elapsed() < 10 * LIMIT, "nothing was reset");
        sleep(Duration::from_secs(5)).await;
        peer.send(sign()).await;
    }
}

#[test]
fn streams_whose_bytes_get_no_credit_worth_the_name_are_reset() {
    each_side(|side| async move {
        let ((session, mut peer), begin) = (stall_limited(side), Instant::now());
        let mut writers = write_much(&session, 60).await;
        let mut pinned = write_much(&session, 1).await;
        writers.append(&mut pinned);
        peer.recv_until_silence().await;
        assert_eq!(session.stats().streams_stalled, 61);
        assert!(session.stats().bytes_stalled > 512 * KIB, "{:?}", session.stats());
        let mut n = 0;
        // 12 bytes every 5 s: credit for one byte, of one stream after the other.
        let sign = || {
            n += 1;
            Frame::wndinc(local_id(side, n % 61), 1)
        };
        let (reset, after) = reset_after(&mut peer, begin, sign).await;
        assert_eq!(reset.number(0), WRITE_TIMEOUT);
        assert!((LIMIT..LIMIT + COARSE).contains(&after), "{after:?}");
        for writer in writers {
            let error = writer.await.unwrap().unwrap_err();
            assert_eq!(error, WriteError::ResetLocally(ErrorCode::WRITE_TIMEOUT));
            assert!(error.to_string().contains("Config::stall_timeout"), "{error}");
        }
        let stats = session.stats();
        assert_eq!((stats.bytes_unsent, stats.streams_stalled, stats.stall_resets), (0, 0, 61));
        assert!(!session.is_closed());
    });
}

#[test]
fn stream_that_was_finished_and_dropped_is_reset_too() {
    each_side(|side| async move {
        let ((session, mut peer), begin) = (stall_limited(side), Instant::now());
        let mut stream = session.open().await.unwrap();
        write_final(&mut stream, vec![7; WINDOW + 100]).await.unwrap();
        drop(stream);
        peer.recv_until_silence().await;
        let (_, after) = reset_after(&mut peer, begin, || Frame::rst(remote_id(side, 50), 6)).await;
        assert!((LIMIT..LIMIT + COARSE).contains(&after), "{after:?}");
        assert_eq!(session.stats().streams_open, 0);
    });
}

#[test]
fn stream_that_gets_credit_however_slowly_lives() {
    each_side(|side| async move {
        let (session, mut peer) = stall_limited(side);
        let writer = write_much(&session, 1).await.remove(0);
        for _ in 0..100 {
            sleep(Duration::from_secs(30)).await;
            peer.send(Frame::wndinc(local_id(side, 0), 600)).await;
        }
        assert!(!writer.is_finished());
        assert_eq!(session.stats().stall_resets, 0);
        peer.send(Frame::wndinc(local_id(side, 0), 1024 * 1024)).await;
        assert_eq!(writer.await.unwrap(), Ok(()));
        settle().await;
        sleep(2 * LIMIT).await;
        assert_eq!(session.stats().streams_stalled, 0, "what moves again is not looked at");
    });
}

#[test]
fn stream_on_which_nothing_is_owed_rests_for_hours() {
    each_side(|side| async move {
        let (session, mut peer) = stall_limited(side);
        let mut opened = session.open().await.unwrap();
        opened.write_chunk(vec![7; WINDOW].into()).await.unwrap();
        peer.send(Frame::syn(remote_id(side, 0), "the beginning of something")).await;
        let mut accepted = session.accept().await.unwrap();
        read_exactly(&mut accepted, 26).await;
        let reading = tokio::spawn(async move { accepted.read_chunk().await });
        sleep(Duration::from_secs(5 * 3600)).await;
        assert!(!reading.is_finished() && !session.is_closed());
        assert_eq!(session.stats().stall_resets, 0);
        peer.send(Frame::data(remote_id(side, 0), "x")).await;
        assert_eq!(reading.await.unwrap().unwrap().unwrap(), "x");
    });
}

/// Reads until nothing is there, and waits for the rest of a message.
async fn read_rest(stream: &mut Stream) -> Result<(), ReadError> {
    std::future::poll_fn(|cx| {
        loop {
            match stream.poll_read_chunk(cx, usize::MAX) {
                std::task::Poll::Ready(Ok(Some(_))) => {}
                std::task::Poll::Ready(end) => return std::task::Poll::Ready(end.map(drop)),
                std::task::Poll::Pending => {
                    stream.await_rest();
                    return std::task::Poll::Pending;
                }
            }
        }
    })
    .await
}

#[test]
fn rest_of_a_message_that_comes_in_crumbs_is_not_waited_for() {
    each_side(|side| async move {
        let ((session, mut peer), begin) = (stall_limited(side), Instant::now());
        let id = remote_id(side, 0);
        peer.send(Frame::syn(id, vec![7; 200 * KIB])).await;
        let mut stream = session.accept().await.unwrap();
        let reading = tokio::spawn(async move { read_rest(&mut stream).await });
        peer.recv_until_silence().await;
        let (reset, after) = reset_after(&mut peer, begin, || Frame::data(id, "crumb")).await;
        assert_eq!((reset.id, reset.number(0)), (id, WRITE_TIMEOUT));
        assert!((LIMIT..LIMIT + COARSE).contains(&after), "{after:?}");
        assert_eq!(reading.await.unwrap(), Err(ReadError::ResetLocally(ErrorCode::WRITE_TIMEOUT)));
    });
}

#[test]
fn message_that_comes_slowly_is_waited_for() {
    each_side(|side| async move {
        let (session, mut peer) = stall_limited(side);
        let id = remote_id(side, 0);
        peer.send(Frame::syn(id, "x")).await;
        let mut stream = session.accept().await.unwrap();
        let reading = tokio::spawn(async move { read_rest(&mut stream).await });
        for _ in 0..100 {
            sleep(Duration::from_secs(50)).await;
            peer.send(Frame::data(id, vec![7; KIB])).await;
        }
        peer.send(Frame::fin(id)).await;
        assert_eq!(reading.await.unwrap(), Ok(()));
    });
}

#[test]
fn limit_can_be_set_and_switched_off() {
    run(async {
        let config = Config::default().stall_timeout(Some(Duration::ZERO));
        let (session, _peer) = scripted(Side::Client, config);
        let begin = Instant::now();
        let writers = write_much(&session, 1).await;
        for writer in writers {
            assert!(writer.await.unwrap().is_err());
        }
        assert!((1000..=1500).contains(&begin.elapsed().as_millis()), "{:?}", begin.elapsed());

        let (session, mut peer) = scripted(Side::Client, Config::default().stall_timeout(None));
        let writers = write_much(&session, 3).await;
        peer.recv_until_silence().await;
        sleep(Duration::from_secs(40 * 60)).await;
        assert!(writers.iter().all(|writer| !writer.is_finished()) && !session.is_closed());
    });
}

#[test]
fn reader_that_takes_little_at_a_time_is_seen_to_move() {
    run(async {
        let pair = Pair::new();
        let writer = write_much(&pair.client, 1).await.remove(0);
        let mut stream = pair.server.accept().await.unwrap();
        // Half an hour, in which less is read than credit is given for at a time.
        for _ in 0..100 {
            sleep(Duration::from_secs(20)).await;
            read_exactly(&mut stream, KIB).await;
        }
        assert_eq!(pair.client.stats().stall_resets, 0);
        assert!(!writer.is_finished());
        assert_eq!(drain(&mut stream).await.0.len(), 924 * KIB);
        assert_eq!(writer.await.unwrap(), Ok(()));
    });
}

#[test]
fn reader_that_takes_nothing_loses_the_stream() {
    run(async {
        let pair = Pair::new();
        let writer = write_much(&pair.client, 1).await.remove(0);
        let mut stream = pair.server.accept().await.unwrap();
        assert_eq!(writer.await.unwrap(), Err(WriteError::ResetLocally(ErrorCode::WRITE_TIMEOUT)));
        let (read, end) = drain(&mut stream).await;
        assert_eq!((read.len(), end), (WINDOW, Err(ReadError::Reset(ErrorCode::WRITE_TIMEOUT))));
    });
}
