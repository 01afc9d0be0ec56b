//! Two protocol cores, random operations, pipes of random sizes: every byte arrives once, in order,
//! an end of file means all of it, and nothing is ever stuck.
//!
//! Tasks are played by the model: a reader tries again only after an event woke it, so an event that
//! is missing shows as a stuck state. A failure prints the seed; it is the same in every run.

use std::{collections::HashMap, time::Duration};

use muxado::{
    Config, ErrorCode, ReadError,
    proto::{Read, StreamKey},
};
use muxado_tests::{Rng, Sim};

use crate::seeds::for_each_seed;

/// What the model knows of one direction of a stream.
#[derive(Debug, Default, Clone, Copy)]
struct Flow {
    written: u64,
    read: u64,
    /// The FIN was asked for.
    finished: bool,
    /// The writer has stopped for another reason.
    given_up: bool,
    /// The reader has its end, or is gone.
    ended: bool,
    /// A reset may cut it.
    torn: bool,
}

/// One stream; index 0 is its opener's view, 1 its acceptor's.
#[derive(Debug)]
struct Model {
    opener: usize,
    keys: [Option<StreamKey>; 2],
    accepted: bool,
    /// `flows[n]` is what `n` writes.
    flows: [Flow; 2],
    /// What each side may still want to write.
    wants: [u64; 2],
}

struct World {
    sim: Sim,
    rng: Rng,
    /// By type, which is unique in a run.
    streams: Vec<Model>,
    /// Most that a side wants to write on one stream.
    most: usize,
    content: Content,
    /// Who said go-away.
    draining: Option<usize>,
    seed: u64,
}

/// The bytes of all streams: each begins at a place of its own in one random sequence.
struct Content(Vec<u8>);

impl Content {
    const PERIOD: usize = 1 << 16;

    fn new(rng: &mut Rng, most: usize) -> Self {
        Self((0..(Self::PERIOD + most) / 8 + 1).flat_map(|_| rng.next_u64().to_be_bytes()).collect())
    }

    /// `len` bytes that side `who` writes on stream `tag` from `at` on.
    fn of(&self, tag: usize, who: usize, at: u64, len: usize) -> &[u8] {
        let begin = (tag * 997 + who * 331 + 31) % Self::PERIOD + at as usize;
        &self.0[begin..begin + len]
    }
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let windows = [1024, 4096, 65_536];
        let pipe = [1, 13, 64, 1000, 100_000][rng.below(5)];
        let most = if pipe < 1000 { 600 } else { 40_000 };
        let config = Config::default()
            .window_size(windows[rng.below(3)])
            .stream_send_buffer([1024, 10_000, 65_536][rng.below(3)])
            .session_send_buffer([16 * 1024, 1024 * 1024][rng.below(2)])
            .max_open_streams([2, 10, 1000][rng.below(3)])
            .extensions(rng.one_in(2));
        let content = Content::new(&mut rng, most);
        Self { sim: Sim::new(&config, pipe), rng, streams: Vec::new(), most, content, draining: None, seed }
    }

    fn open(&mut self, end: usize) {
        let (opener, tag) = (&mut self.sim.ends[end], self.streams.len());
        if !opener.may_open {
            return;
        }
        if !opener.session.may_open() {
            opener.may_open = false;
            return;
        }
        let Ok(key) = opener.session.open(Some(tag as u32)) else { return };
        opener.watch(key);
        opener.collect();
        let wants = [(); 2].map(|()| self.rng.below(self.most) as u64);
        let flows = [Flow { torn: self.draining == Some(1 - end), ..Flow::default() }; 2];
        self.streams.push(Model { opener: end, keys: [Some(key), None], accepted: false, flows, wants });
    }

    fn accept(&mut self, end: usize) -> bool {
        let acceptor = &mut self.sim.ends[end];
        if !acceptor.acceptable {
            return false;
        }
        let Some((key, tag)) = acceptor.session.accept() else {
            acceptor.acceptable = false;
            return false;
        };
        acceptor.watch(key);
        acceptor.collect();
        let stream = &mut self.streams[tag.expect("the session is typed") as usize];
        assert_eq!((stream.opener, stream.accepted), (1 - end, false), "seed {}", self.seed);
        (stream.keys[1], stream.accepted) = (Some(key), true);
        true
    }

    /// The end at which side `who` of a stream is.
    fn end_of(&self, tag: usize, who: usize) -> usize {
        let opener = self.streams[tag].opener;
        if who == 0 { opener } else { 1 - opener }
    }

    fn write(&mut self, tag: usize, who: usize, most: u64) -> bool {
        let at = self.end_of(tag, who);
        let (stream, end) = (&mut self.streams[tag], &mut self.sim.ends[at]);
        let Some(key) = stream.keys[who] else { return false };
        let flow = &mut stream.flows[who];
        if flow.finished || flow.given_up || !end.writable.contains(&key) {
            return false;
        }
        let n = most.min(stream.wants[who]);
        let mut data = self.content.of(tag, who, flow.written, n as usize);
        match end.session.write(key, &mut data) {
            Ok(taken) => {
                flow.written += taken as u64;
                stream.wants[who] -= taken as u64;
                if taken < n as usize {
                    end.writable.remove(&key);
                } else if stream.wants[who] == 0 {
                    flow.finished = true;
                    end.session.finish(key).unwrap();
                }
            }
            Err(error) => {
                assert!(flow.torn, "seed {}: stream {tag}: {error}", self.seed);
                flow.given_up = true;
            }
        }
        self.sim.ends[at].collect();
        true
    }

    fn read(&mut self, tag: usize, who: usize, most: usize) -> bool {
        let at = self.end_of(tag, who);
        let (stream, end) = (&mut self.streams[tag], &mut self.sim.ends[at]);
        let Some(key) = stream.keys[who] else { return false };
        let writer = 1 - who;
        let flow = &mut stream.flows[writer];
        if flow.ended || !end.readable.contains(&key) {
            return false;
        }
        match end.session.read_chunk(key, most) {
            Ok(Read::Data(chunk)) => {
                let expected = self.content.of(tag, writer, flow.read, chunk.len());
                assert!(chunk == expected, "seed {}: stream {tag} at {}", self.seed, flow.read);
                flow.read += chunk.len() as u64;
                assert!(flow.read <= flow.written, "seed {}: bytes from nowhere", self.seed);
            }
            Ok(Read::Finished) => {
                flow.ended = true;
                let whole = flow.finished && flow.read == flow.written;
                assert!(whole, "seed {}: stream {tag} looks complete: {flow:?}", self.seed);
            }
            Ok(Read::Pending) => drop(end.readable.remove(&key)),
            Err(error) => {
                flow.ended = true;
                assert!(
                    flow.torn && !matches!(error, ReadError::ResetLocally(_)),
                    "seed {}: stream {tag}: {error}",
                    self.seed
                );
            }
        }
        self.sim.ends[at].collect();
        true
    }

    /// Gives a handle back, in whatever state the stream is; or resets it first.
    fn drop_handle(&mut self, tag: usize, who: usize, reset: bool) {
        let at = self.end_of(tag, who);
        let (stream, end) = (&mut self.streams[tag], &mut self.sim.ends[at]);
        let Some(key) = stream.keys[who].take() else { return };
        // Unfinished output tears both directions. With it finished, only the input is given up.
        let cut = reset || !stream.flows[who].finished;
        stream.flows[who].torn |= cut;
        stream.flows[who].given_up |= cut;
        let input = &mut stream.flows[1 - who];
        input.torn |= cut || !input.ended;
        input.ended = true;
        if reset {
            end.session.reset(key, ErrorCode::new(50));
        }
        end.session.release(key);
        end.forget(key);
        end.collect();
    }

    /// The transport breaks. Whatever had not arrived is lost, and everybody must notice.
    fn cut(&mut self) {
        self.sim.cut();
        self.streams.iter_mut().flat_map(|stream| &mut stream.flows).for_each(|flow| flow.torn = true);
    }

    /// This end takes no new streams; the peer's that it has not taken may be refused.
    fn go_away(&mut self, end: usize) {
        self.draining = Some(end);
        self.sim.ends[end].session.go_away();
        self.sim.ends[end].collect();
        let unseen = self.streams.iter_mut().filter(|stream| stream.opener != end && !stream.accepted);
        unseen.flat_map(|stream| &mut stream.flows).for_each(|flow| flow.torn = true);
    }

    fn step(&mut self) {
        let end = self.rng.below(2);
        let count = self.streams.len();
        let (tag, who) = (self.rng.below(count.max(1)), self.rng.below(2));
        let size = 1 + self.rng.below(3000);
        match self.rng.below(100) {
            0..8 => self.open(end),
            8..16 => drop(self.accept(end)),
            16..36 if count > 0 => drop(self.write(tag, who, size as u64)),
            36..56 if count > 0 => drop(self.read(tag, who, size)),
            56 if count > 0 => self.drop_handle(tag, who, true),
            57 if count > 0 => self.drop_handle(tag, who, false),
            58 => self.sim.pass(Duration::from_millis(3)),
            59..80 => drop(self.sim.push(end, size)),
            _ => drop(self.sim.pull(end, size)),
        }
    }

    /// Lets everybody do what they can until nobody can do anything.
    fn run_out(&mut self) {
        for _ in 0..1_000_000 {
            // Tiny pipes are emptied often before everybody gets a turn.
            let mut busy = false;
            for _ in 0..200 {
                let moved = |n| self.sim.push(n, usize::MAX) + self.sim.pull(1 - n, usize::MAX);
                if [0, 1].map(moved) == [0, 0] {
                    break;
                }
                busy = true;
            }
            busy |= self.accept(0) | self.accept(1);
            for tag in 0..self.streams.len() {
                for who in 0..2 {
                    busy |= self.write(tag, who, u64::MAX);
                    busy |= self.read(tag, who, usize::MAX);
                }
            }
            if !busy {
                return;
            }
        }
        panic!("seed {}: busy for ever", self.seed);
    }

    /// Whatever was not torn has arrived whole, and nobody waits.
    fn check_nothing_is_stuck(&self) {
        assert!(self.sim.is_quiet(), "seed {}: output that nobody takes", self.seed);
        for (tag, stream) in self.streams.iter().enumerate() {
            for who in 0..2 {
                let flow = &stream.flows[who];
                let state = || format!("seed {}: stream {tag}, side {who}: {stream:?}", self.seed);
                let announced = stream.flows[0].written > 0 || stream.flows[0].finished;
                if stream.keys[who].is_some() {
                    assert!(flow.finished || flow.given_up, "a writer waits for ever: {}", state());
                }
                if stream.keys[1 - who].is_some() && announced {
                    assert!(flow.ended, "a reader waits for ever: {}", state());
                    assert!(flow.torn || flow.read == flow.written, "bytes are missing: {}", state());
                }
            }
        }
        for end in &self.sim.ends {
            assert!(end.may_open || !end.session.may_open(), "seed {}: an opener sleeps", self.seed);
        }
    }

    fn drop_all_and_check_nothing_is_left(&mut self) {
        for tag in 0..self.streams.len() {
            for who in 0..2 {
                self.drop_handle(tag, who, false);
            }
        }
        self.run_out();
        for end in &self.sim.ends {
            let stats = end.session.stats();
            let left = (stats.streams_open, stats.bytes_unread, stats.bytes_unsent, end.session.handles());
            assert_eq!(left, (0, 0, 0, 0), "seed {}", self.seed);
            assert_eq!(end.session.end(), None, "seed {}", self.seed);
            assert!(end.session.is_idle(), "seed {}", self.seed);
        }
    }
}

/// So many random operations, then everything that can still happen.
fn simulate(seed: u64) -> HashMap<&'static str, u64> {
    let mut world = World::new(seed);
    for _ in 0..600 {
        world.step();
    }
    world.run_out();
    world.check_nothing_is_stuck();
    let accepted = world.streams.iter().filter(|stream| stream.keys[1].is_some()).count();
    let bytes = world.streams.iter().flat_map(|stream| stream.flows.map(|flow| flow.read)).sum();
    let torn = world.streams.iter().filter(|stream| stream.flows[0].torn).count();
    world.drop_all_and_check_nothing_is_left();
    HashMap::from([("accepted", accepted as u64), ("bytes", bytes), ("torn", torn as u64)])
}

#[test]
fn random_runs_deliver_everything_and_never_get_stuck() {
    let mut totals = HashMap::<_, u64>::new();
    let runs = for_each_seed(60, simulate);
    let count = runs.len() as u64;
    for (what, count) in runs.into_iter().flatten() {
        *totals.entry(what).or_default() += count;
    }
    // The runs are worth something only if they do what they are meant to.
    let enough = |what, a_run| totals[what] > a_run * count;
    assert!(
        count < 1000 || (enough("accepted", 14) && enough("bytes", 70_000) && enough("torn", 3)),
        "{count} runs: {totals:?}"
    );
}

#[test]
fn same_seed_gives_the_same_run() {
    assert_eq!(simulate(7), simulate(7));
}

#[test]
fn cut_at_a_random_point_is_noticed_by_everybody_and_never_looks_like_an_end() {
    for_each_seed(20, |seed| {
        let mut world = World::new(seed);
        let steps = world.rng.below(600);
        (0..steps).for_each(|_| world.step());
        world.cut();
        world.run_out();
        world.check_nothing_is_stuck();
        for tag in 0..world.streams.len() {
            (0..2).for_each(|who| world.drop_handle(tag, who, false));
        }
        for end in &world.sim.ends {
            let stats = end.session.stats();
            let left = (stats.streams_open, stats.bytes_unread, stats.bytes_unsent, end.session.handles());
            assert_eq!(left, (0, 0, 0, 0), "seed {seed}");
        }
    });
}

#[test]
fn drain_at_a_random_point_lets_every_stream_finish() {
    for_each_seed(20, |seed| {
        let mut world = World::new(seed);
        let steps = world.rng.below(600);
        (0..steps).for_each(|_| world.step());
        world.go_away(world.seed as usize % 2);
        (0..100).for_each(|_| world.step());
        world.run_out();
        world.check_nothing_is_stuck();
        world.drop_all_and_check_nothing_is_left();
    });
}
