//! Streams that the peer resets: right after it opened them they are charged, later they are not.

use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use muxado::{
    Config, ErrorCode, SessionError, Side,
    proto::{Outbox, Read, Session, StreamKey},
};
use muxado_tests::{Frame, encode};

const MS: Duration = Duration::from_millis(1);

/// A server whose application takes whole messages, and a peer that is played by hand.
struct Server {
    session: Session,
    now: Instant,
    next: u32,
    /// Messages that were taken.
    started: usize,
}

impl Server {
    fn new() -> Self {
        let mut session = Session::new(Side::Server, Config::default());
        session.accept_whole_only();
        Self { session, now: Instant::now(), next: 3, started: 0 }
    }

    fn id(&mut self) -> u32 {
        self.next += 2;
        self.next - 2
    }

    /// What the peer sends is read at once; then each message that has come is taken.
    fn receive(&mut self, frames: &[Frame]) -> Vec<StreamKey> {
        self.session.receive(&mut BytesMut::from(&encode(frames)[..]), self.now);
        let taken: Vec<_> = std::iter::from_fn(|| self.session.accept()).map(|(key, _)| key).collect();
        self.started += taken.len();
        self.transmit();
        taken
    }

    fn transmit(&mut self) {
        while self.session.poll_event().is_some() {}
        while self.session.wants_transmit() {
            let mut out = Outbox::default();
            self.session.transmit(&mut out, self.now);
            out.advance(out.remaining());
        }
    }

    /// A call that is served for so long, and then reset.
    fn cut_call(&mut self, after: Duration) {
        let id = self.id();
        let taken = self.receive(&[Frame::syn_fin(id, [7; 64])]);
        self.now += after;
        self.receive(&[Frame::rst(id, 6)]);
        taken.into_iter().for_each(|key| self.session.release(key));
    }

    fn answered_call(&mut self) {
        let id = self.id();
        for key in self.receive(&[Frame::syn_fin(id, [7; 64])]) {
            while let Ok(Read::Data(_)) = self.session.read_chunk(key, usize::MAX) {}
            self.session.finish(key).unwrap();
            self.session.release(key);
        }
        self.transmit();
    }

    fn is_broken_off(&self) -> bool {
        let end = self.session.end();
        let Some(SessionError::Protocol(error)) = end.map(|end| end.local) else { return false };
        assert!(error.to_string().contains("reset right after they were opened"), "{error}");
        error.code() == ErrorCode::ENHANCE_YOUR_CALM
    }
}

#[test]
fn message_whose_reset_was_read_with_it_is_never_taken_and_padding_earns_nothing() {
    let mut server = Server::new();
    let mut sent = 0;
    while sent < 187_885 && !server.session.has_ended() {
        let id = server.id();
        let padding = Frame::new(9, 0, 0, [0; 512]);
        server.receive(&[Frame::syn_fin(id, [7; 640]), padding, Frame::rst(id, 6)]);
        sent += 1;
    }
    assert_eq!(server.started, 0);
    assert!(server.is_broken_off(), "{sent} times");
    assert_eq!(sent, 10_001);
}

#[test]
fn messages_that_are_reset_at_once_are_charged_against_those_that_are_answered() {
    let mut server = Server::new();
    for _ in 0..2_000 {
        server.answered_call();
        (0..8).for_each(|_| server.cut_call(Duration::ZERO));
    }
    assert!(!server.session.has_ended());
    for _ in 0..12_000 {
        server.cut_call(Duration::ZERO);
    }
    assert!(server.is_broken_off());
    assert!(server.started < 2_000 * 9 + 10_010, "{} handlers were started", server.started);
}

#[test]
fn honest_time_limits_never_end_a_session() {
    // Limits of 100 ms, of which none is met; limits of 1 ms, of which one of nine is met.
    for (limit, answered) in [(100 * MS, false), (10 * MS, false), (MS, true)] {
        let mut server = Server::new();
        for n in 0..148_000 {
            server.cut_call(limit);
            if answered && n % 8 == 0 {
                server.answered_call();
            }
        }
        assert!(!server.session.has_ended(), "{limit:?}: {:?}", server.session.end());
    }
}

#[test]
fn time_limits_that_pass_while_this_process_does_not_read_never_end_a_session() {
    let mut server = Server::new();
    for _ in 0..30 {
        // Five seconds of 500 calls each, read together with their resets.
        server.now += 5000 * MS;
        let mut frames = Vec::new();
        for _ in 0..2_500 {
            let id = server.id();
            frames.extend([Frame::syn_fin(id, [7; 64]), Frame::rst(id, 6)]);
        }
        server.receive(&frames);
    }
    assert_eq!(server.started, 0);
    assert!(!server.session.has_ended(), "{:?}", server.session.end());
}

#[test]
fn plain_messages_that_need_no_answer_are_taken_whatever_follows_them() {
    let mut session = Session::new(Side::Server, Config::default());
    let now = Instant::now();
    for n in 0..30_000 {
        let id = 2 * n + 3;
        let frames = encode(&[Frame::syn_fin(id, [7; 64]), Frame::rst(id, 6)]);
        // Taken between the message and its reset, or behind both.
        let at = if n % 2 == 0 { frames.len() } else { frames.len() - 12 };
        session.receive(&mut BytesMut::from(&frames[..at]), now);
        let (key, _) = session.accept().expect("a message");
        session.receive(&mut BytesMut::from(&frames[at..]), now);
        assert_eq!(session.read_chunk(key, usize::MAX).unwrap(), Read::Data(vec![7; 64].into()));
        session.release(key);
        while session.poll_event().is_some() {}
    }
    assert!(!session.has_ended(), "{:?}", session.end());
}
