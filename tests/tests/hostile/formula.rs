//! The memory formula of SECURITY.md, and the worst peers for each of its terms.

use muxado::{Config, Side};
use muxado_tests::Frame;

use crate::{
    app::App,
    arena::{Outcome, attack_with},
    attacker::Attacker,
};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// The settings that memory depends on.
#[derive(Clone, Copy, Debug)]
struct Shape {
    max_streams: usize,
    accept_backlog: usize,
    session_send_buffer: usize,
    session_receive_memory: usize,
}

/// The defaults.
const DEFAULT: Shape = Shape {
    max_streams: 4096,
    accept_backlog: 1024,
    session_send_buffer: MIB,
    session_receive_memory: 64 * MIB,
};

/// Settings of a server for many small peers.
const SMALL: Shape = Shape {
    max_streams: 64,
    accept_backlog: 16,
    session_send_buffer: 32 * KIB,
    session_receive_memory: 512 * KIB,
};

/// Few streams with much in them.
const DEEP: Shape = Shape {
    max_streams: 20,
    accept_backlog: 20,
    session_send_buffer: 4 * MIB,
    session_receive_memory: 5 * MIB,
};

/// Many streams with little in them.
const WIDE: Shape = Shape {
    max_streams: 8192,
    accept_backlog: 8192,
    session_send_buffer: 16 * KIB,
    session_receive_memory: MIB,
};

impl Shape {
    fn config(self) -> Config {
        Config::default()
            .max_streams(self.max_streams)
            .accept_backlog(self.accept_backlog)
            .session_send_buffer(self.session_send_buffer)
            .session_receive_memory(self.session_receive_memory)
    }

    /// `mem(session)` of SECURITY.md, where this side opens no streams.
    fn bound(self) -> usize {
        let streams = self.max_streams + self.accept_backlog;
        let received = self.session_receive_memory;
        MIB + 2 * KIB * streams + 4 * self.session_send_buffer + 2 * received + 3 * received.min(4 * MIB)
    }

    /// The same where the application has read a part of what came, and stopped.
    fn bound_half_read(self) -> usize {
        self.bound() + 2 * self.session_receive_memory
    }

    fn attack<T: Send + 'static>(
        self,
        app: App,
        script: impl FnOnce(&mut Attacker) -> T + Send + 'static,
    ) -> Outcome<T> {
        attack_with(Side::Server, self.config(), app, script)
    }
}

/// Memory of the application's task for a stream, which is counted with the session's.
const TASK: usize = KIB;

fn id(n: usize) -> u32 {
    2 * n as u32 + 3
}

#[test]
fn defaults_are_as_the_document_says() {
    // 1 MiB + 10 MiB + 4 MiB + 128 MiB + 12 MiB.
    assert_eq!(DEFAULT.bound(), 155 * MIB);
}

/// Pieces of a size that leaves the most room unused in the buffers they are copied to.
#[test]
fn unread_bytes_in_awkward_pieces() {
    for shape in [DEFAULT, SMALL, DEEP, WIDE] {
        let outcome = shape.attack(App::Hold, move |peer| {
            let streams = shape.max_streams;
            peer.open_all(streams, |n| Frame::syn(id(n), ""));
            let per_stream = shape.session_receive_memory / streams;
            // Buffers double; the last one is to hold a byte.
            let fill = (1_usize << per_stream.min(128 * KIB).ilog2()).min(per_stream);
            peer.flood(streams, |n| {
                let mut pieces: Vec<_> = vec![1; fill.saturating_sub(1)]
                    .chunks(4 * KIB)
                    .map(|piece| Frame::data(id(n), piece))
                    .collect();
                pieces.push(Frame::data(id(n), "x"));
                pieces.push(Frame::data(id(n), "x"));
                pieces
            });
        });
        outcome.survived().bounded(shape.bound() + TASK * shape.max_streams);
    }
}

/// As many bytes as may be kept as slices of read buffers, each in a buffer of its own.
#[test]
fn unread_bytes_in_slices() {
    for shape in [DEFAULT, SMALL, DEEP] {
        let outcome = shape.attack(App::Hold, move |peer| {
            let streams = shape.max_streams.min(64);
            peer.open_all(streams, |n| Frame::syn(id(n), ""));
            peer.flood(shape.session_receive_memory.min(8 * MIB) / (16 * KIB), |n| {
                let stream = id(n % streams);
                let slice = vec![1; 16 * KIB];
                vec![
                    Frame::data(stream, "x"),
                    Frame::data(stream, slice),
                    Frame::new(9, 0, 0, vec![0; 48 * KIB]),
                ]
            });
        });
        outcome.survived().bounded(shape.bound() + TASK * shape.max_streams);
    }
}

/// The application has taken the larger part of each stream's bytes, and no more.
#[test]
fn unread_bytes_behind_read_ones() {
    const LEFT: usize = 17 * KIB;
    let shape = Shape {
        max_streams: 470,
        accept_backlog: 470,
        session_send_buffer: 0,
        session_receive_memory: 8 * MIB,
    };
    for pieces in [64 * KIB, 16 * KIB, 3 * KIB] {
        let outcome = shape.attack(App::Leave { of: 64 * KIB, left: LEFT }, move |peer| {
            for n in 0..shape.max_streams {
                let mut frames = vec![Frame::syn(id(n), "")];
                frames.extend(vec![1; 64 * KIB].chunks(pieces).map(|piece| Frame::data(id(n), piece)));
                peer.send(&frames);
                peer.wait(|stats| stats.bytes_unread == (n + 1) * LEFT);
            }
        });
        outcome.survived().bounded(shape.bound_half_read() + TASK * shape.max_streams);
    }
}

/// An idle stream costs its state and no more.
#[test]
fn idle_streams() {
    let outcome = DEFAULT.attack(App::Ignore, |peer| peer.open_all(1024, |n| Frame::syn(id(n), "")));
    outcome.survived();
    assert!(outcome.held < 1024 * KIB + 64 * KIB, "{} bytes for 1024 streams", outcome.held);
}

/// Every stream has much to say, and nothing is read.
#[test]
fn unsent_bytes() {
    for shape in [DEFAULT, SMALL, DEEP, WIDE] {
        let outcome = shape.attack(App::Answer(300 * KIB), move |peer| {
            let streams = shape.max_streams.min(2000);
            peer.open_all(streams, |n| Frame::syn(id(n), "x"));
            // Credit makes stalled bytes moving ones, and room for more stalled ones.
            for _ in 0..20 {
                peer.flood(streams, |n| vec![Frame::wndinc(id(n), 8 * KIB as u32)]);
            }
        });
        outcome.survived().bounded(shape.bound() + TASK * shape.max_streams);
    }
}

/// Bytes in both directions, resets and credit owed, streams refused: all of it at once.
#[test]
fn everything_at_once() {
    for shape in [DEFAULT, SMALL, DEEP, WIDE] {
        let outcome = shape.attack(App::Answer(300 * KIB), move |peer| {
            let streams = shape.max_streams.min(4096);
            let per_stream = (shape.session_receive_memory / streams).min(200 * KIB);
            peer.open_all(streams + 100, |n| Frame::syn(id(n), vec![1; per_stream / 2 + 1]));
            peer.flood(streams, |n| vec![Frame::data(id(n), vec![1; per_stream / 2 + 1])]);
            peer.flood(streams / 4, |n| vec![Frame::fin(id(4 * n)), Frame::data(id(4 * n), "late")]);
            peer.flood(1000, |n| vec![Frame::data(id(100_000 + n), "nobody's")]);
        });
        outcome.bounded(shape.bound() + TASK * shape.max_streams);
    }
}
