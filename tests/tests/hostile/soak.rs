//! Millions of streams on one session: nothing is left of them.
//!
//! `MUXADO_SOAK=10000000 cargo test --release -p muxado-tests --test hostile soak` runs ten million.

use std::time::{Duration, Instant};

use allocation_counter::measure;
use bytes::{Buf, BytesMut};
use muxado::{
    Config, ErrorCode, Side,
    proto::{Outbox, Read, Session, StreamKey},
};

/// Streams that a run opens, uses and ends, if the environment says nothing else.
const STREAMS: u64 = 1_000_000;

/// Ways in which streams end.
const WAYS: usize = 7;

/// Streams that are open at a time.
const AT_A_TIME: usize = 50;

fn streams() -> u64 {
    std::env::var("MUXADO_SOAK").ok().map_or(STREAMS, |count| count.parse().expect("MUXADO_SOAK is a number"))
}

/// Two cores, the client and the server, and the bytes between them.
struct Pair {
    ends: [Session; 2],
    outbox: Outbox,
    wire: BytesMut,
    now: Instant,
}

impl Pair {
    fn new(config: &Config) -> Self {
        let now = Instant::now();
        let end = |side| {
            let mut session = Session::new(side, config.clone());
            session.set_typed(now);
            session
        };
        let ends = [end(Side::Client), end(Side::Server)];
        Self { ends, outbox: Outbox::default(), wire: BytesMut::new(), now }
    }

    /// Carries everything to where it is to go.
    fn exchange(&mut self) {
        let mut moved = true;
        while moved {
            moved = false;
            for from in 0..2 {
                while self.ends[from].wants_transmit() {
                    self.ends[from].transmit(&mut self.outbox);
                    while self.outbox.has_remaining() {
                        let n = self.outbox.chunk().len();
                        self.wire.extend_from_slice(self.outbox.chunk());
                        self.outbox.advance(n);
                    }
                    self.ends[1 - from].receive(&mut self.wire, self.now);
                    moved = true;
                }
                while self.ends[from].poll_event().is_some() {}
            }
        }
    }

    fn accept(&mut self, end: usize) -> StreamKey {
        let (key, _) = self.ends[end].accept().expect("a stream waits");
        key
    }

    /// Opens streams from one side, uses them in the `n`th way, and ends them.
    fn round(&mut self, n: usize) {
        self.now += Duration::from_millis(1);
        for end in &mut self.ends {
            if end.poll_timeout().is_some_and(|at| at <= self.now) {
                end.handle_timeout(self.now);
            }
        }
        let (near, far) = (n % 2, 1 - n % 2);
        let opened: Vec<_> =
            (0..AT_A_TIME).map(|_| self.ends[near].open(Some(7)).expect("it lives")).collect();
        for key in &opened {
            self.ends[near].write(*key, &mut &b"question"[..]).expect("it lives");
        }
        self.exchange();
        let streams: Vec<_> =
            opened.into_iter().map(|key| [(near, key), (far, self.accept(far))]).enumerate().collect();
        for (index, stream) in &streams {
            self.use_up((n + index) % WAYS, *stream);
        }
        self.exchange();
        for (_, [(near, ours), (far, theirs)]) in streams {
            // Of calls the answer is read, of others what is left of them.
            while matches!(self.ends[near].read_chunk(ours, 100), Ok(Read::Data(_))) {}
            self.ends[near].release(ours);
            self.ends[far].release(theirs);
        }
        self.exchange();
    }

    /// The ways in which streams end.
    fn use_up(&mut self, way: usize, [(near, ours), (far, theirs)]: [(usize, StreamKey); 2]) {
        match way {
            // A call: question, answer, both ends finished.
            0 | 1 => {
                self.ends[near].finish(ours).expect("it lives");
                assert!(matches!(self.ends[far].read_chunk(theirs, 100), Ok(Read::Data(_))));
                self.ends[far].write(theirs, &mut &b"answer"[..]).expect("it lives");
                self.ends[far].finish(theirs).expect("it lives");
            }
            // Either side loses interest, with bytes unread.
            2 => self.ends[near].reset(ours, ErrorCode::CANCELLED),
            3 => self.ends[far].reset(theirs, ErrorCode::new(77)),
            // Both are dropped as they are.
            4 => {}
            // One direction is finished, the other dropped.
            5 => self.ends[far].finish(theirs).expect("it lives"),
            // Data crosses a reset.
            _ => {
                self.ends[far].reset(theirs, ErrorCode::CANCELLED);
                self.ends[near].write(ours, &mut &b"too late"[..]).expect("it has not heard of it");
            }
        }
    }

    fn check_nothing_is_left(&mut self, streams: u64) {
        for end in &mut self.ends {
            let stats = end.stats();
            assert_eq!((stats.streams_open, stats.bytes_unread, stats.bytes_unsent), (0, 0, 0));
            assert_eq!((end.handles(), end.end()), (0, None));
            assert!(end.is_idle() && !end.wants_transmit());
            assert_eq!(stats.streams_opened + stats.streams_accepted, streams);
        }
    }
}

#[test]
fn soak_of_streams_leaves_nothing() {
    let rounds = usize::try_from(streams()).expect("a number that fits") / AT_A_TIME;
    let mut pair = None;
    let warm_up = 100;
    let before = measure(|| {
        let mut warm = Pair::new(&Config::default());
        (0..warm_up).for_each(|n| warm.round(n));
        pair = Some(warm);
    });
    let mut pair = pair.expect("it has run");
    let during = measure(|| (warm_up..rounds.max(warm_up)).for_each(|n| pair.round(n)));
    pair.check_nothing_is_left((rounds.max(warm_up) * AT_A_TIME) as u64);
    assert!(during.bytes_current <= 4096, "{} bytes more than before", during.bytes_current);
    let after = measure(|| drop(pair));
    let left = before.bytes_current + during.bytes_current + after.bytes_current;
    assert_eq!(left, 0, "bytes that nobody owns");
}
