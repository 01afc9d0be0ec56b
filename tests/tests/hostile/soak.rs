//! Millions of streams on one session: nothing is left of them.
//!
//! `MUXADO_SOAK=10000000 cargo test --release -p muxado-tests --test hostile soak` runs ten million.

use std::time::{Duration, Instant};

use allocation_counter::measure;
use bytes::{Buf, BytesMut};
use muxado::{
    Config, ErrorCode, Side,
    proto::{Outbox, Read, Session, StreamId, StreamKey},
};

/// Streams that a run opens, uses and ends, if the environment says nothing else.
const STREAMS: u64 = 1_000_000;

/// The first and the last ids of both sides.
const FIRST_IDS: [u32; 2] = [3, 2];
const LAST_IDS: [u32; 2] = [StreamId::MAX, StreamId::MAX - 1];

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
                    self.ends[from].transmit(&mut self.outbox, self.now);
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

    /// Opens streams from one side, uses them in the `n`th way, and ends them. Gives their ids.
    fn round(&mut self, n: usize) -> Vec<u32> {
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
        let ids = opened.iter().map(|key| self.id(near, *key)).collect();
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
        ids
    }

    fn id(&self, end: usize, key: StreamKey) -> u32 {
        self.ends[end].stream_id(key).expect("its SYN was sent").as_u32()
    }

    /// A stream that stays open, as both of its ends hold it.
    fn hold(&mut self, near: usize) -> Held {
        let far = 1 - near;
        let ours = self.ends[near].open(Some(7)).expect("it lives");
        self.write(near, ours, b"held");
        let theirs = self.accept(far);
        assert_eq!(self.read(far, theirs), b"held");
        Held { near, ours, theirs, id: self.id(near, ours) }
    }

    /// Both directions of a stream that was held, and its end.
    fn end(&mut self, Held { near, ours, theirs, id }: Held) {
        let far = 1 - near;
        assert_eq!([self.id(near, ours), self.id(far, theirs)], [id, id]);
        for (from, key, to, other) in [(near, ours, far, theirs), (far, theirs, near, ours)] {
            self.write(from, key, &id.to_be_bytes());
            assert_eq!(self.read(to, other), id.to_be_bytes());
            self.ends[from].finish(key).expect("it lives");
        }
        self.exchange();
        self.ends[near].release(ours);
        self.ends[far].release(theirs);
        self.exchange();
    }

    fn write(&mut self, end: usize, key: StreamKey, mut bytes: &[u8]) {
        let len = bytes.len();
        assert_eq!(self.ends[end].write(key, &mut bytes), Ok(len));
        self.exchange();
    }

    fn read(&mut self, end: usize, key: StreamKey) -> Vec<u8> {
        match self.ends[end].read_chunk(key, usize::MAX) {
            Ok(Read::Data(bytes)) => bytes.to_vec(),
            other => panic!("{other:?} instead of data"),
        }
    }

    /// The next streams of both sides are so many before the last of their ids.
    fn near_the_end_of_ids(&mut self, streams: u32) {
        for (end, last) in self.ends.iter_mut().zip(LAST_IDS) {
            let id = StreamId::new(last - 2 * (streams - 1)).expect("an id");
            end.set_next_id(id);
        }
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

/// A stream that is open for long: the side that opened it, its handles there and here, and its id.
struct Held {
    near: usize,
    ours: StreamKey,
    theirs: StreamKey,
    id: u32,
}

/// The ids that a side uses from this one on, those of streams that are held left out.
fn ids_from(end: usize, mut next: u32, held: &[u32]) -> impl Iterator<Item = u32> {
    std::iter::repeat_with(move || {
        let id = next;
        next = if id == LAST_IDS[end] { FIRST_IDS[end] } else { id + 2 };
        id
    })
    .filter(|id| !held.contains(id))
}

#[test]
fn ids_begin_again_and_leave_out_those_in_use() {
    let mut pair = Pair::new(&Config::default());
    // Of the first ids some are held, and others are free again.
    let mut held: Vec<_> = (0..12).map(|n| pair.hold(n % 2)).collect();
    for index in [10, 7, 4, 1] {
        let stream = held.swap_remove(index);
        pair.end(stream);
    }
    let streams_before = 1000;
    let mut opened = 12;
    for _ in 0..2 {
        pair.near_the_end_of_ids(streams_before);
        let first = LAST_IDS.map(|last| last - 2 * (streams_before - 1));
        let known: Vec<_> = held.iter().map(|stream| stream.id).collect();
        let mut expected = [0, 1].map(|end| ids_from(end, first[end], &known));
        for n in 0..60 {
            if n == 38 {
                // The last ones before the end; they are in use when the end comes again.
                let late = [0, 1].map(|end| pair.hold(end));
                assert_eq!(
                    late.each_ref().map(|stream| Some(stream.id)),
                    expected.each_mut().map(Iterator::next)
                );
                held.extend(late);
                opened += 2;
            }
            let ids = pair.round(n);
            assert_eq!(ids, expected[n % 2].by_ref().take(AT_A_TIME).collect::<Vec<_>>(), "round {n}");
            opened += AT_A_TIME as u64;
        }
    }
    for stream in held {
        pair.end(stream);
    }
    pair.check_nothing_is_left(opened);
}

#[test]
fn soak_of_streams_leaves_nothing() {
    let rounds = usize::try_from(streams()).expect("a number that fits") / AT_A_TIME;
    let mut pair = None;
    let warm_up = 100;
    let before = measure(|| {
        let mut warm = Pair::new(&Config::default());
        (0..warm_up).for_each(|n| drop(warm.round(n)));
        pair = Some(warm);
    });
    let mut pair = pair.expect("it has run");
    let during = measure(|| (warm_up..rounds.max(warm_up)).for_each(|n| drop(pair.round(n))));
    pair.check_nothing_is_left((rounds.max(warm_up) * AT_A_TIME) as u64);
    assert!(during.bytes_current <= 4096, "{} bytes more than before", during.bytes_current);
    let after = measure(|| drop(pair));
    let left = before.bytes_current + during.bytes_current + after.bytes_current;
    assert_eq!(left, 0, "bytes that nobody owns");
}
