//! Peers that follow the protocol as the known implementations do: however long, none runs out of what it may cost.

use std::time::{Duration, Instant};

use bytes::BytesMut;
use muxado::{
    Config, Side,
    proto::{Event, Outbox, Read, Session, StreamKey},
};
use muxado_tests::{Frame, encode};

/// Streams of each side: many times the budget for useless frames.
const STREAMS: usize = 20_000;

/// A session, and a peer that is played by hand.
struct Peer {
    session: Session,
    now: Instant,
    sent: Outbox,
}

impl Peer {
    fn new() -> Self {
        Self {
            session: Session::new(Side::Server, Config::default()),
            now: Instant::now(),
            sent: Outbox::default(),
        }
    }

    fn send(&mut self, frames: &[Frame]) {
        self.now += Duration::from_millis(1);
        let mut bytes = BytesMut::from(&encode(frames)[..]);
        self.session.receive(&mut bytes, self.now);
        self.transmit();
    }

    fn transmit(&mut self) {
        while let Some(event) = self.session.poll_event() {
            assert_ne!(event, Event::Ended, "{:?}", self.session.end());
        }
        while self.session.wants_transmit() {
            self.sent = Outbox::default();
            self.session.transmit(&mut self.sent, self.now);
        }
    }

    /// What came is read, and the answer is written and finished.
    fn answer(&mut self, key: StreamKey, answer: &[u8]) {
        while let Ok(Read::Data(_)) = self.session.read_chunk(key, usize::MAX) {}
        self.session.write(key, &mut &answer[..]).ok();
        self.session.finish(key).ok();
        self.transmit();
    }
}

#[test]
fn peer_that_credits_every_byte_it_reads_and_finishes_twice_is_never_cut() {
    // As the Go original: credit for each read, also behind the end, FIN by `CloseWrite` and by `Close`.
    let mut peer = Peer::new();
    for n in 0..STREAMS as u32 {
        let id = 2 * n + 3;
        peer.send(&[Frame::syn(id, "q"), Frame::data(id, "uestion"), Frame::fin(id), Frame::fin(id)]);
        let (key, _) = peer.session.accept().unwrap();
        peer.answer(key, b"answer");
        peer.session.release(key);
        peer.send(&[(); 6].map(|()| Frame::wndinc(id, 1)));
        peer.send(&[Frame::fin(id)]);
    }
    assert!(peer.session.end().is_none());
}

#[test]
fn peer_that_answers_every_late_frame_with_a_reset_is_never_cut() {
    // Both others reset a stream that is closed for each frame that comes for it.
    let mut peer = Peer::new();
    for n in 0..STREAMS as u32 {
        let key = peer.session.open(None).unwrap();
        peer.session.write(key, &mut &b"request"[..]).unwrap();
        peer.transmit();
        let id = 2 * n + 2;
        peer.send(&[Frame::data_fin(id, "no")]);
        peer.session.write(key, &mut &b"more"[..]).unwrap();
        peer.session.finish(key).unwrap();
        peer.transmit();
        peer.session.release(key);
        peer.send(&[Frame::rst(id, 4), Frame::rst(id, 4), Frame::rst(id, 4), Frame::fin(id)]);
    }
    assert!(peer.session.end().is_none());
}

#[test]
fn peer_that_sends_on_while_a_reset_is_under_way_to_it_is_never_cut() {
    let mut peer = Peer::new();
    for n in 0..STREAMS as u32 {
        let id = 2 * n + 3;
        peer.send(&[Frame::syn(id, "stream")]);
        let (key, _) = peer.session.accept().unwrap();
        peer.session.release(key);
        // A whole window that it had credit for, in frames as small as they are worth their header.
        peer.send(&[(); 10].map(|()| Frame::data(id, [7; 64])));
        peer.send(&[Frame::fin(id)]);
    }
    assert!(peer.session.end().is_none());
}
