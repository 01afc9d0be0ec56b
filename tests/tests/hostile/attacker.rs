//! The peers in an attack: one that sends what it likes, and an honest one.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use bytes::BytesMut;
use muxado::{Session, SessionStats, Side};
use muxado_tests::{FIN, Frame, GOAWAY, encode, remote_id};

use crate::target::View;

/// Time after which something is held to hang.
const PATIENCE: Duration = Duration::from_secs(120);

/// Bytes that are gathered for one write of a flood.
const BATCH: usize = 64 * 1024;

/// Frames of a flood between two looks at the bystander.
const LOOKS: usize = 4;

/// A peer that sends what it likes and reads when it likes.
#[derive(Debug)]
pub struct Attacker {
    wire: Wire,
    view: View,
    side: Side,
    bystander: Bystander,
    sent: u64,
}

impl Attacker {
    pub fn new(tcp: TcpStream, view: View, side: Side, bystander: Bystander) -> Self {
        Self { wire: Wire::new(tcp), view, side, bystander, sent: 0 }
    }

    /// The id of the `n`th stream that this peer opens.
    pub fn id(&self, n: usize) -> u32 {
        remote_id(self.side, n as u32)
    }

    /// The session under attack, for what its own application does.
    pub fn session(&self) -> Session {
        match &self.view {
            View::Session(session) => session.clone(),
            View::Peer(_) => panic!("calls are made by clients"),
        }
    }

    /// Sends frames in one write; false if the session is gone.
    pub fn send(&mut self, frames: &[Frame]) -> bool {
        self.send_bytes(&encode(frames))
    }

    /// Sends bytes that need not be frames; false if the session is gone.
    pub fn send_bytes(&mut self, bytes: &[u8]) -> bool {
        self.sent += bytes.len() as u64;
        match self.wire.tcp.write_all(bytes) {
            Ok(()) => true,
            Err(error) if is_timeout(&error) => panic!("the session has stopped reading: {:?}", self.stats()),
            Err(_) => false,
        }
    }

    /// Sends the frames of `count` rounds; every so often the bystander has to get its answer.
    /// Says how many rounds were sent before the session was gone.
    pub fn flood(&mut self, count: usize, mut round: impl FnMut(usize) -> Vec<Frame>) -> usize {
        let mut bytes = Vec::new();
        for n in 0..count {
            bytes.extend(encode(&round(n)));
            if (bytes.len() >= BATCH || n + 1 == count) && !self.send_bytes(&std::mem::take(&mut bytes)) {
                return n;
            }
            if n % (count / LOOKS).max(1) == 0 {
                self.check_bystander();
            }
        }
        self.settle();
        count
    }

    /// Opens `count` streams, no faster than an application accepts them.
    pub fn open_all(&mut self, count: usize, mut syn: impl FnMut(usize) -> Frame) {
        for n in 0..count {
            self.send(&[syn(n)]);
            if n % 500 == 0 || n + 1 == count {
                self.settle();
                // By the time it has its answer, everybody else had a turn, too.
                self.check_bystander();
            }
        }
    }

    /// Waits until the session has seen all that was sent, or has ended.
    pub fn settle(&self) -> SessionStats {
        self.wait(|stats| stats.bytes_received >= self.sent)
    }

    /// Waits until the counters are as they should be, or the session has ended.
    pub fn wait(&self, reached: impl Fn(&SessionStats) -> bool) -> SessionStats {
        let begin = Instant::now();
        loop {
            let (closed, stats) = (self.view.is_closed(), self.view.stats());
            if closed || reached(&stats) {
                return stats;
            }
            assert!(begin.elapsed() < PATIENCE, "that never happens: {} bytes sent, {stats:?}", self.sent);
            thread::yield_now();
        }
    }

    /// The session's counters.
    pub fn stats(&self) -> SessionStats {
        self.view.stats()
    }

    /// The next frame; `None` once the session has closed the connection.
    pub fn recv(&mut self) -> Option<Frame> {
        self.wire.recv()
    }

    /// The frames up to the end of the connection, which comes with a GOAWAY of this code.
    #[track_caller]
    pub fn expect_closing(&mut self, code: u32) {
        let frames: Vec<_> = std::iter::from_fn(|| self.recv()).collect();
        let last = frames.last().map(|frame| (frame.kind, frame.number(1)));
        assert_eq!(last, Some((GOAWAY, code)), "the last of {} frames", frames.len());
    }

    /// Cuts the connection; with unread bytes in the session's direction, by a TCP reset.
    pub fn cut(&mut self) {
        self.wire.tcp.shutdown(std::net::Shutdown::Both).ok();
    }

    /// The other connection answers.
    pub fn check_bystander(&mut self) {
        self.bystander.check();
    }
}

/// An honest peer of another session in the process under attack.
#[derive(Debug)]
pub struct Bystander {
    wire: Wire,
    next_id: u32,
}

impl Bystander {
    pub fn new(tcp: TcpStream) -> Self {
        Self { wire: Wire::new(tcp), next_id: 3 }
    }

    /// Sends a few bytes and gets them back.
    fn check(&mut self) {
        let id = self.next_id;
        self.next_id += 2;
        let frames = encode(&[Frame::syn(id, "are you there?"), Frame::fin(id)]);
        self.wire.tcp.write_all(&frames).expect("the bystander's session reads");
        let mut answer = Vec::new();
        loop {
            let frame = self.wire.recv().expect("the bystander's session lives");
            assert_eq!(frame.id, id, "{frame:?}");
            answer.extend_from_slice(&frame.payload);
            if frame.has(FIN) {
                break;
            }
        }
        assert_eq!(answer, b"are you there?");
    }
}

/// A socket, and what was read from it beyond the last frame.
#[derive(Debug)]
struct Wire {
    tcp: TcpStream,
    inbox: BytesMut,
}

impl Wire {
    fn new(tcp: TcpStream) -> Self {
        tcp.set_nodelay(true).expect("a TCP socket");
        tcp.set_read_timeout(Some(PATIENCE)).expect("not zero");
        tcp.set_write_timeout(Some(PATIENCE)).expect("not zero");
        Self { tcp, inbox: BytesMut::new() }
    }

    fn recv(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = Frame::take(&mut self.inbox) {
                return Some(frame);
            }
            if self.fill() == 0 {
                return None;
            }
        }
    }

    fn fill(&mut self) -> usize {
        let mut piece = [0; 16 * 1024];
        match self.tcp.read(&mut piece) {
            Ok(n) => {
                self.inbox.extend_from_slice(&piece[..n]);
                n
            }
            Err(error) if is_timeout(&error) => panic!("the session has nothing to say"),
            Err(_) => 0,
        }
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}
