//! A long link in virtual time: two cores, and bytes that take a while from one to the other.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use bytes::{Buf, Bytes, BytesMut};
use muxado::{
    Config, Side,
    proto::{Outbox, Read, Session, StreamKey},
};
use muxado_tests::{DATA, EXT, Frame, SYN, WNDINC, encode};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
const WINDOW: usize = 256 * KIB;

/// One way, of a link on which credit takes 100 ms to have an effect.
const LONG: Duration = Duration::from_millis(50);

/// One way, of a local network.
const SHORT: Duration = Duration::from_micros(50);

/// Bytes under way in one direction.
#[derive(Debug)]
struct Line {
    delay: Duration,
    bytes_per_ms: usize,
    /// When the line has sent what it was given.
    free_at: Instant,
    /// With the time of arrival.
    under_way: VecDeque<(Instant, Bytes)>,
    inbox: BytesMut,
}

/// Bytes that arrive together.
const SEGMENT: usize = 1500;

impl Line {
    fn carry(&mut self, mut bytes: Bytes, now: Instant) {
        self.free_at = self.free_at.max(now);
        while !bytes.is_empty() {
            let segment = bytes.split_to(bytes.len().min(SEGMENT));
            let nanoseconds = 1_000_000 * segment.len() / self.bytes_per_ms;
            self.free_at += Duration::from_nanos(nanoseconds as u64);
            self.under_way.push_back((self.free_at + self.delay, segment));
        }
    }
}

/// A sender of bulk data, and a receiver, with a line between them in each direction.
struct Link {
    now: Instant,
    sender: Session,
    receiver: Session,
    /// What the sender writes, and what the receiver does.
    lines: [Line; 2],
    streams: Vec<Stream>,
    /// Bytes that the writers may still write, if not for ever.
    allowance: Option<usize>,
    /// What the receiver has granted on each stream beyond the first window, by id.
    granted: BTreeMap<u32, usize>,
}

#[derive(Debug)]
struct Stream {
    sending: StreamKey,
    receiving: Option<StreamKey>,
    read: usize,
}

/// How much a reader takes at a time.
#[derive(Clone, Copy, Debug)]
enum Reader {
    AtOnce,
    /// So many bytes in every millisecond.
    Slow(usize),
}

impl Link {
    fn new(config: &Config, family: bool, delay: Duration, bytes_per_ms: usize, streams: usize) -> Self {
        let now = Instant::now();
        let line =
            || Line { delay, bytes_per_ms, free_at: now, under_way: VecDeque::new(), inbox: BytesMut::new() };
        let mut sender = Session::new(Side::Client, config.clone().extensions(family));
        let receiver = Session::new(Side::Server, config.clone());
        let open = |_| Stream { sending: sender.open(None).expect("it lives"), receiving: None, read: 0 };
        let streams = (0..streams).map(open).collect();
        Self {
            now,
            sender,
            receiver,
            lines: [line(), line()],
            streams,
            allowance: None,
            granted: BTreeMap::new(),
        }
    }

    /// Lets this much time pass; says how many bytes were read in it.
    fn run(&mut self, time: Duration, reader: Reader) -> usize {
        let end = self.now + time;
        let before = self.read();
        while self.now < end {
            self.deliver();
            self.write();
            self.read_some(reader);
            self.transmit();
            let arrivals = self.lines.iter().filter_map(|line| Some(line.under_way.front()?.0));
            let next = arrivals.min().map_or(end, |at| at.max(self.now + Duration::from_micros(10)));
            let tick =
                if matches!(reader, Reader::Slow(_)) { self.now + Duration::from_millis(1) } else { end };
            // A line that is busy takes the next bytes when it is free.
            let busy = Some(self.lines[0].free_at).filter(|at| *at > self.now).unwrap_or(end);
            self.now = next.min(tick).min(busy).min(end);
        }
        self.read() - before
    }

    fn read(&self) -> usize {
        self.streams.iter().map(|stream| stream.read).sum()
    }

    fn deliver(&mut self) {
        for (line, to) in self.lines.iter_mut().zip([&mut self.receiver, &mut self.sender]) {
            while line.under_way.front().is_some_and(|(at, _)| *at <= self.now) {
                let Some((_, bytes)) = line.under_way.pop_front() else { break };
                line.inbox.extend_from_slice(&bytes);
                to.receive(&mut line.inbox, self.now);
            }
            while to.poll_event().is_some() {}
        }
        while let Some((key, _)) = self.receiver.accept() {
            let waiting = self.streams.iter_mut().find(|stream| stream.receiving.is_none());
            waiting.expect("no more streams than were opened").receiving = Some(key);
        }
    }

    /// Writers always have something to say, or as much as they are allowed.
    fn write(&mut self) {
        static PIECE: [u8; 64 * 1024] = [7; 64 * 1024];
        for stream in &mut self.streams {
            loop {
                let most = self.allowance.unwrap_or(PIECE.len()).min(PIECE.len());
                let mut piece = Bytes::from_static(&PIECE[..most]);
                let taken = self.sender.write(stream.sending, &mut piece).expect("it lives");
                if let Some(allowance) = &mut self.allowance {
                    *allowance -= taken;
                }
                if taken < PIECE.len() {
                    break;
                }
            }
        }
    }

    fn read_some(&mut self, reader: Reader) {
        for stream in &mut self.streams {
            let Some(key) = stream.receiving else { continue };
            let mut most = match reader {
                Reader::AtOnce => usize::MAX,
                Reader::Slow(bytes) => bytes,
            };
            while most > 0 {
                match self.receiver.read_chunk(key, most).expect("it lives") {
                    Read::Data(chunk) => {
                        stream.read += chunk.len();
                        most -= chunk.len();
                    }
                    _ => break,
                }
            }
        }
    }

    fn transmit(&mut self) {
        for (from, line) in self.lines.iter_mut().enumerate() {
            let session = if from == 0 { &mut self.sender } else { &mut self.receiver };
            // The transport holds little: the queue is where frames of other streams can overtake.
            while line.free_at <= self.now && session.wants_transmit() {
                let mut out = Outbox::default();
                session.transmit(&mut out, self.now);
                let bytes = out.copy_to_bytes(out.remaining());
                if from == 1 {
                    for frame in muxado_tests::decode(&bytes).iter().filter(|frame| frame.kind == WNDINC) {
                        *self.granted.entry(frame.id).or_default() += frame.number(0) as usize;
                    }
                }
                line.carry(bytes, self.now);
            }
        }
    }

    /// The window of each stream: what was granted and is not read yet.
    fn windows(&self) -> Vec<usize> {
        let ids = (0..self.streams.len()).map(|n| 2 * n as u32 + 3);
        let granted = ids.map(|id| self.granted.get(&id).copied().unwrap_or(0));
        granted.zip(&self.streams).map(|(granted, stream)| WINDOW + granted - stream.read).collect()
    }
}

/// Bytes per ms of a fast link.
const FAST: usize = MIB;

/// Runs streams for ten seconds of a link; gives what they carried, and their windows in the end.
fn carry(config: &Config, family: bool, delay: Duration, rate: usize, streams: usize) -> (usize, Vec<usize>) {
    let mut link = Link::new(config, family, delay, rate, streams);
    let carried = link.run(Duration::from_secs(10), Reader::AtOnce);
    (carried, link.windows())
}

#[test]
fn bulk_over_a_long_link_carries_twenty_times_what_a_fixed_window_allows() {
    let fixed = carry(&Config::default().window_growth(0), true, LONG, FAST, 1);
    assert!(fixed.1[0] <= WINDOW, "{fixed:?}");
    assert!((45 * WINDOW..=101 * WINDOW).contains(&fixed.0), "{fixed:?}");
    let grown = carry(&Config::default(), true, LONG, FAST, 1);
    assert!(grown.0 >= 20 * fixed.0, "{grown:?} to {fixed:?}");
    assert!(grown.1[0] <= 8 * MIB && grown.1[0] > 7 * MIB, "{grown:?}");
}

#[test]
fn bulk_of_32_mib_over_a_long_link_takes_eight_flights() {
    let mut link = Link::new(&Config::default(), true, LONG, 200 * KIB, 1);
    link.allowance = Some(32 * MIB);
    link.run(Duration::from_millis(25), Reader::AtOnce);
    for flight in [WINDOW, WINDOW, 4 * WINDOW, 16 * WINDOW, 8 * MIB, 8 * MIB, 8 * MIB] {
        let came = link.run(2 * LONG, Reader::AtOnce);
        // Credit for the last bytes may be held back, as ever.
        assert!((flight - 64 * KIB..=flight).contains(&came), "{came} instead of {flight}");
    }
    link.run(2 * LONG, Reader::AtOnce);
    assert_eq!(link.read(), 32 * MIB);
}

#[test]
fn window_grows_to_what_a_long_link_holds() {
    // Of a round trip of 100 ms, and no further: more would only wait in the link's queue.
    for rate in [4 * KIB, 5 * KIB, 10 * KIB, 20 * KIB, 40 * KIB] {
        let (carried, windows) = carry(&Config::default(), true, LONG, rate, 1);
        let held = 100 * rate;
        // Credit is gathered to 64 KiB, for which the window has to last as well.
        assert!((held * 9 / 10..=held + 64 * KIB).contains(&windows[0]), "{rate} bytes a ms: {windows:?}");
        assert!(carried * 10 > 10_000 * rate * 9, "{rate} bytes a ms: {carried}");
    }
}

#[test]
fn strangers_get_at_most_one_mib() {
    let config = Config::default();
    let (carried, windows) = carry(&config, false, LONG, FAST, 1);
    assert!(windows[0] <= MIB && windows[0] > 3 * MIB / 4, "{windows:?}");
    assert!(carried > 3 * 100 * WINDOW, "{carried}");
}

#[test]
fn windows_of_all_streams_together_keep_to_the_budget() {
    for budget in [0, 300 * KIB, 2 * MIB] {
        let config = Config::default().window_growth(budget);
        for streams in [1, 3, 20] {
            let (_, windows) = carry(&config, true, LONG, FAST, streams);
            let extra: usize = windows.iter().map(|window| window.saturating_sub(WINDOW)).sum();
            assert!(extra <= budget, "{streams} streams: {windows:?}");
        }
    }
}

#[test]
fn slow_reader_gets_no_larger_window_however_fast_or_long_the_link() {
    for delay in [SHORT, LONG] {
        let mut link = Link::new(&Config::default(), true, delay, FAST, 1);
        for _ in 0..100 {
            link.run(Duration::from_millis(100), Reader::Slow(KIB));
            assert!(link.windows()[0] <= WINDOW, "{:?}", link.windows());
        }
    }
}

#[test]
fn full_link_gets_no_larger_window() {
    // The line is the bottleneck: its queue makes round trips long, and must not be taken for a hold-up.
    for (delay, rate) in [(SHORT, 10 * KIB), (SHORT, 100), (Duration::from_millis(10), 4 * KIB)] {
        let (carried, windows) = carry(&Config::default(), true, delay, rate, 1);
        assert!(windows[0] <= WINDOW, "{rate} bytes a ms: {windows:?}");
        assert!(carried * 10 > 10_000 * rate * 8, "{rate} bytes a ms: {carried}");
    }
}

#[test]
fn fast_link_with_a_fast_reader_is_not_held_up() {
    let (_, windows) = carry(&Config::default(), true, SHORT, 50 * KIB, 1);
    assert!(windows[0] <= WINDOW, "{windows:?}");
}

#[test]
fn lone_stream_of_a_fast_link_gets_what_comes_in_a_millisecond() {
    for (rate, most) in [(FAST, MIB), (512 * KIB, 600 * KIB), (200 * KIB, WINDOW)] {
        let (_, windows) = carry(&Config::default(), true, SHORT, rate, 1);
        assert!(windows[0] <= most, "{rate} bytes a ms: {windows:?}");
        assert!(windows[0] >= rate.min(MIB) * 9 / 10, "{rate} bytes a ms: {windows:?}");
    }
}

#[test]
fn neither_strangers_nor_several_streams_get_more_for_being_fast() {
    for (family, streams) in [(false, 1), (true, 2)] {
        let (_, windows) = carry(&Config::default(), family, SHORT, FAST, streams);
        assert!(windows.iter().all(|window| *window <= WINDOW), "{windows:?}");
    }
}

#[test]
fn sender_that_pauses_by_itself_gets_no_larger_window() {
    let short = [64 * KIB, 128 * KIB, 100_000, 512 * KIB, 1000 * KIB, MIB].map(|burst| (SHORT, burst));
    let long = [8 * KIB, 16 * KIB, 32 * KIB].map(|burst| (LONG, burst));
    for (delay, burst) in short.into_iter().chain(long) {
        let mut link = Link::new(&Config::default(), true, delay, 200 * KIB, 1);
        for _ in 0..200 {
            link.allowance = Some(link.allowance.unwrap_or(0) + burst);
            link.run(Duration::from_millis(20), Reader::AtOnce);
            assert!(link.windows()[0] <= WINDOW, "{burst} bytes at a time: {:?}", link.windows());
        }
    }
}

/// A20: a peer that is silent on purpose, again and again, on as many streams as it likes.
#[test]
fn a20_feigned_hold_ups_buy_no_more_than_the_budget() {
    const STREAMS: u32 = 200;
    let config = Config::default();
    let (mut session, mut now) = (Session::new(Side::Server, config), Instant::now());
    let mut inbox = BytesMut::new();
    let ids: Vec<_> = (0..STREAMS).map(|n| 2 * n + 3).collect();
    let syns: Vec<_> = ids.iter().map(|id| Frame::new(DATA, SYN | EXT, *id, "")).collect();
    inbox.extend_from_slice(&encode(&syns));
    session.receive(&mut inbox, now);
    let keys: Vec<_> = std::iter::from_fn(|| session.accept().map(|(key, _)| key)).collect();
    let mut allowed: BTreeMap<_, _> = ids.iter().map(|id| (*id, WINDOW)).collect();
    for round in 0..10 {
        for (id, key) in ids.iter().zip(&keys) {
            now += Duration::from_millis(100);
            let window = allowed.insert(*id, 0).expect("each has one");
            for piece in vec![1; window].chunks(64 * KIB) {
                inbox.extend_from_slice(&Frame::data(*id, piece).encode());
                session.receive(&mut inbox, now);
            }
            while let Ok(Read::Data(_)) = session.read_chunk(*key, usize::MAX) {}
            let mut out = Outbox::default();
            session.transmit(&mut out, now);
            let bytes = out.copy_to_bytes(out.remaining());
            for frame in muxado_tests::decode(&bytes).iter().filter(|frame| frame.kind == WNDINC) {
                *allowed.entry(frame.id).or_default() += frame.number(0) as usize;
            }
        }
        let largest = allowed.values().max().copied().unwrap_or(0);
        let all: usize = allowed.values().map(|window| window.saturating_sub(WINDOW)).sum();
        assert!(largest <= 8 * MIB && all <= 16 * MIB, "round {round}: {largest}, {all}");
    }
}
