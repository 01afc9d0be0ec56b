//! Peers that take little or nothing, or vanish: A10, A18, A21. (A20 needs virtual time: `it::link`.)

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use muxado::{Config, ReadError, SessionError, Side, Stream};
use muxado_tests::{DATA, FIN, Frame, SYN};
use tokio::io::AsyncWrite;

use crate::{
    app::{App, Endings},
    arena::{attack, attack_with},
    attacker::Attacker,
};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
const WINDOW: usize = 256 * KIB;

fn id(n: usize) -> u32 {
    2 * n as u32 + 3
}

#[test]
fn a10_answers_that_are_not_read_wait_outside_of_the_session() {
    const STREAMS: usize = 1000;
    let outcome = attack(App::Answer(64 * KIB), |peer| {
        peer.flood(STREAMS, |n| vec![Frame::syn(id(n), "x")]);
        peer.stats()
    });
    outcome.survived().bounded(STREAMS * 2 * KIB + 5 * MIB);
    assert!(outcome.result.bytes_unsent <= 2 * MIB, "{:?}", outcome.result);
}

#[test]
fn a10_credit_of_a_byte_at_a_time_gets_no_frame_for_each() {
    const CREDITS: usize = 20_000;
    let outcome = attack(App::Answer(WINDOW + 100 * KIB), |peer| {
        peer.send(&[Frame::syn(3, "x")]);
        let mut data = 0;
        while data < WINDOW {
            data += peer.recv().expect("the session lives").payload.len();
        }
        // The writer fills its buffer again.
        peer.check_bystander();
        let before = peer.stats();
        peer.flood(CREDITS, |_| vec![Frame::wndinc(3, 1)]);
        let after = peer.stats();
        (after.frames_sent - before.frames_sent, after.bytes_sent - before.bytes_sent)
    });
    outcome.survived().bounded(4 * MIB);
    let (frames, bytes) = outcome.result;
    assert!(frames <= (CREDITS / 256) as u64 + 1, "{frames} frames for {CREDITS} credits");
    assert!(bytes >= CREDITS as u64 - 256, "{bytes} bytes for {CREDITS} bytes of credit");
}

/// A stream of ours is opened by the attacker's thread; nothing of it needs a runtime.
fn open(peer: &Attacker) -> Stream {
    let session = peer.session();
    let mut opening = std::pin::pin!(session.open());
    match opening.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Ok(stream)) => stream,
        other => panic!("a stream can be opened: {other:?}"),
    }
}

#[test]
fn a21_write_that_is_given_up_has_sent_what_it_said_and_nothing_else() {
    let config = Config::default().stream_send_buffer(10_000);
    let outcome = attack_with(Side::Client, config, App::Hold, |peer| {
        let mut stream = open(peer);
        let (mut written, mut given_up) = (0, 0);
        let mut cx = Context::from_waker(Waker::noop());
        // Writes of a byte's value each; one that has to wait is dropped, and never said again.
        for value in 0..200_u8 {
            let piece = [value; 7000];
            match Pin::new(&mut stream).poll_write(&mut cx, &piece) {
                Poll::Ready(Ok(n)) => written += n,
                Poll::Ready(Err(error)) => panic!("{error}"),
                Poll::Pending => given_up += 1,
            }
        }
        stream.finish().expect("the session lives");
        let mut read = 0;
        loop {
            let frame = peer.recv().expect("the session lives");
            read += frame.payload.len();
            if frame.has(FIN) {
                break;
            }
            peer.send(&[Frame::wndinc(frame.id, frame.payload.len() as u32)]);
        }
        (written, read, given_up)
    });
    outcome.survived();
    let (written, read, given_up) = outcome.result;
    assert_eq!(written, read);
    assert!(given_up > 0, "no write had to wait");
}

#[test]
fn a21_session_that_is_given_up_says_so_to_every_writer() {
    let config = Config::default().write_timeout(std::time::Duration::ZERO);
    let outcome = attack_with(Side::Client, config, App::Hold, |peer| {
        let mut stream = open(peer);
        let mut cx = Context::from_waker(Waker::noop());
        let ended = loop {
            match Pin::new(&mut stream).poll_write(&mut cx, &[1; 7000]) {
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => break error.kind(),
                Poll::Pending => std::thread::yield_now(),
            }
        };
        let finished = stream.finish();
        (ended, finished.is_err())
    });
    assert_eq!(outcome.result, (std::io::ErrorKind::TimedOut, true));
    let end = outcome.end.expect("it has ended").local;
    assert!(matches!(end, SessionError::WriteTimeout(_)), "{end}");
}

/// Opens streams, finishes some, and cuts the connection; says how each ended for its reader.
fn cut(bytes: Vec<u8>, streams: usize) -> Vec<(usize, Option<ReadError>)> {
    let endings = Endings::default();
    let outcome = attack(App::Witness(Arc::clone(&endings)), move |peer| {
        peer.send_bytes(&bytes);
        peer.cut();
        peer.wait(|_| false);
    });
    assert!(outcome.end.is_some());
    let mut endings = endings.lock().expect("nobody panics").clone();
    endings.sort_by_key(|(bytes, _)| *bytes);
    assert!(endings.len() <= streams, "{endings:?}");
    endings
}

#[test]
fn a18_cut_is_never_the_end_of_a_stream() {
    let lost = Some(ReadError::SessionClosed(SessionError::PeerEof { mid_frame: false }));
    let torn = Some(ReadError::SessionClosed(SessionError::PeerEof { mid_frame: true }));
    let frames = |frames: &[Frame]| muxado_tests::encode(frames);
    let whole = [Frame::syn(3, [1; 100]), Frame::syn(5, [1; 200]), Frame::fin(5), Frame::syn(7, "")];
    assert_eq!(
        cut(frames(&whole), 3),
        [(0, lost.clone()), (100, lost), (200, None)],
        "finished streams are whole, the others are not"
    );
    let mut half = frames(&[Frame::syn(3, [1; 100]), Frame::data_fin(3, [1; 100])]);
    half.truncate(half.len() - 1);
    assert_eq!(cut(half, 1), [(199, torn)], "one byte is missing, and the FIN with it");
}

#[test]
fn a18_cut_at_every_byte_is_never_the_end_of_a_stream() {
    let frames = [Frame::new(DATA, SYN, 3, [1; 20]), Frame::data(3, [1; 10]), Frame::data_fin(3, [1; 5])];
    let bytes = muxado_tests::encode(&frames);
    for len in 8..bytes.len() {
        for (read, end) in cut(bytes[..len].to_vec(), 1) {
            assert!(read < 35 && end.is_some(), "{read} bytes of 35 look like all after {len}");
        }
    }
    assert_eq!(cut(bytes, 1), [(35, None)]);
}
