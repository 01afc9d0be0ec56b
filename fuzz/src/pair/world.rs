//! Both sides, the pipes, and what each stream must carry.
//!
//! The model plays the tasks: a reader or writer tries again only after an event woke it, so an event
//! that is missing shows as a state in which somebody waits and nothing moves.

use std::time::Duration;

use arbitrary::Unstructured;
use bytes::{Buf, BytesMut};
use muxado::{
    ErrorCode, HeartbeatConfig, Side,
    proto::{Finish, Read, StreamKey},
};

use super::end::End;
use crate::{
    checked::HEARTBEATS,
    settings::{Settings, choose},
};

/// Rounds in which everything must have come to an end.
const MOST_ROUNDS: usize = 1_000_000;

/// Longest write where the pipes are tiny.
const SHORT: u64 = 300;

/// What is known of one direction of a stream.
#[derive(Clone, Copy, Debug, Default)]
struct Flow {
    /// Bytes that the writer has yet to write, and whether that is all.
    wants: u64,
    last: bool,
    written: u64,
    read: u64,
    finished: bool,
    /// The writer has stopped for another reason.
    given_up: bool,
    /// The reader has its end, or is gone.
    ended: bool,
    /// The reader throws away what comes.
    stopped: bool,
    /// A reset may cut it.
    torn: bool,
}

/// One stream; of two, the first is its opener's.
#[derive(Debug)]
struct Stream {
    opener: usize,
    keys: [Option<StreamKey>; 2],
    accepted: bool,
    /// Each by its writer.
    flows: [Flow; 2],
}

pub(super) struct World {
    ends: [End; 2],
    /// By who writes.
    pipes: [BytesMut; 2],
    capacity: usize,
    /// By type, which is the index.
    streams: Vec<Stream>,
    /// Limits may refuse or reset any stream.
    loose: bool,
    /// The control stream of each side, once it was opened.
    control: [Option<usize>; 2],
}

/// The byte at this place of what a side writes on a stream.
fn content(stream: usize, side: usize, at: u64) -> u8 {
    (stream as u64 * 31 + side as u64 * 101 + at * 7 + (at >> 8)) as u8
}

impl World {
    /// Settings that the next bytes choose.
    pub(super) fn new(input: &mut Unstructured<'_>) -> Self {
        let mut ends =
            [Side::Client, Side::Server].map(|side| Settings { side, typed: true, ..Settings::take(input) });
        let loose = choose(input, [false, true]);
        let control = ends.iter().any(|end| end.control);
        // The protocol has no way to agree on a window.
        let window = ends[0].window;
        for end in &mut ends {
            end.window = window;
            end.control = control;
            if loose {
                end.session_receive_memory = end.session_receive_memory.max(window as usize);
            } else {
                (end.max_streams, end.accept_backlog, end.max_untyped_streams) = (4096, 1024, 64);
                end.session_receive_memory = 1 << 30;
            }
        }
        let capacity = choose(input, [100_000, 1, 13, 64, 1000]);
        let pipes = [BytesMut::new(), BytesMut::new()];
        let ends = ends.map(End::new);
        Self { ends, pipes, capacity, streams: Vec::new(), loose, control: [None; 2] }
    }

    /// One of the streams opened last.
    pub(super) fn tag(&self, stream: u8) -> Option<usize> {
        let last = self.streams.len().checked_sub(1)?;
        Some(last - usize::from(stream % 16).min(last))
    }

    pub(super) fn push(&mut self, from: usize, most: usize) -> usize {
        let (end, pipe) = (&mut self.ends[from], &mut self.pipes[from]);
        if end.output.is_empty() && end.checked.session.wants_transmit() {
            end.output.extend_from_slice(&end.checked.transmit());
            end.settle();
        }
        let n = most.min(end.output.len()).min(self.capacity - pipe.len());
        pipe.extend_from_slice(&end.output.split_to(n));
        n
    }

    pub(super) fn pull(&mut self, to: usize, most: usize) -> usize {
        let (end, pipe) = (&mut self.ends[to], &mut self.pipes[1 - to]);
        let fresh = pipe.split_to(most.min(pipe.len()));
        end.inbox.extend_from_slice(&fresh);
        let events = end.checked.receive(&mut end.inbox, &fresh);
        end.note(&events);
        fresh.len()
    }

    /// Moves what can be moved, so many times; whether anything was.
    pub(super) fn flush(&mut self, times: usize) -> bool {
        let mut moved = false;
        for _ in 0..times {
            let bytes = [0, 1].map(|n| self.push(n, usize::MAX) + self.pull(1 - n, usize::MAX));
            if bytes == [0, 0] {
                break;
            }
            moved = true;
        }
        moved
    }

    pub(super) fn open(&mut self, side: usize) {
        let (tag, torn) = (self.streams.len(), self.loose || self.ends[1 - side].draining);
        let end = &mut self.ends[side];
        if !end.checked.session.may_open() {
            end.may_open = false;
            return;
        }
        assert!(end.may_open, "nobody told an opener of capacity");
        let Ok(key) = end.checked.session.open(Some(tag as u32)) else { return };
        self.note_opened(side, key, torn);
    }

    /// Opens this side's control stream, if there are any and it was not opened before.
    pub(super) fn open_control(&mut self, side: usize) {
        let torn = self.loose || self.ends[1 - side].draining;
        let end = &mut self.ends[side];
        if !end.checked.settings.control || self.control[side].is_some() {
            return;
        }
        let Some(key) = end.checked.open_control() else { return };
        self.control[side] = Some(self.streams.len());
        self.note_opened(side, key, torn);
    }

    fn note_opened(&mut self, side: usize, key: StreamKey, torn: bool) {
        let end = &mut self.ends[side];
        end.watch(key);
        end.settle();
        let torn = torn || end.checked.session.has_ended();
        let flows = [Flow { torn, ..Flow::default() }; 2];
        self.streams.push(Stream { opener: side, keys: [Some(key), None], accepted: false, flows });
    }

    pub(super) fn accept_control(&mut self, side: usize) -> bool {
        let Some(key) = self.ends[side].checked.accept_control() else { return false };
        let tag = self.control[1 - side].expect("the peer has opened it");
        self.note_accepted(side, key, tag);
        true
    }

    pub(super) fn accept(&mut self, side: usize) -> bool {
        let end = &mut self.ends[side];
        if !end.acceptable {
            return false;
        }
        let Some((key, tag)) = end.checked.session.accept() else {
            end.acceptable = false;
            return false;
        };
        self.note_accepted(side, key, tag.expect("the session is typed") as usize);
        true
    }

    fn note_accepted(&mut self, side: usize, key: StreamKey, tag: usize) {
        let end = &mut self.ends[side];
        end.watch(key);
        end.settle();
        let stream = &mut self.streams[tag];
        assert_eq!((stream.opener, stream.accepted), (1 - side, false), "a stream from nowhere");
        (stream.keys[1], stream.accepted) = (Some(key), true);
    }

    /// The side at which `who` of a stream is: its opener or its acceptor.
    fn side_of(&self, tag: usize, who: usize) -> usize {
        let opener = self.streams[tag].opener;
        if who == 0 { opener } else { 1 - opener }
    }

    pub(super) fn want(&mut self, tag: usize, who: usize, len: u64) {
        let short = self.capacity < 1000;
        let flow = &mut self.streams[tag].flows[who];
        if !flow.last {
            flow.wants += if short { len % SHORT } else { len };
        }
    }

    /// What a side wants to write now is all.
    pub(super) fn finish(&mut self, tag: usize, who: usize) {
        self.streams[tag].flows[who].last = true;
    }

    pub(super) fn write(&mut self, tag: usize, who: usize) -> bool {
        let side = self.side_of(tag, who);
        let (stream, end) = (&mut self.streams[tag], &mut self.ends[side]);
        let Some(key) = stream.keys[who] else { return false };
        let flow = &mut stream.flows[who];
        let idle = flow.wants == 0 && !flow.last;
        if flow.finished || flow.given_up || idle || !end.writable.contains(&key) {
            return false;
        }
        let data: Vec<u8> =
            (flow.written..).take(flow.wants as usize).map(|at| content(tag, who, at)).collect();
        let finish = if flow.last { Finish::Yes } else { Finish::No };
        match end.checked.session.write_with(key, &mut &data[..], finish) {
            Ok(taken) => {
                flow.written += taken as u64;
                flow.wants -= taken as u64;
                if flow.wants > 0 {
                    end.writable.remove(&key);
                } else {
                    flow.finished = flow.last;
                }
            }
            Err(error) => {
                assert!(flow.torn, "stream {tag}: {error}");
                flow.given_up = true;
            }
        }
        end.settle();
        true
    }

    pub(super) fn read(&mut self, tag: usize, who: usize, most: usize) -> bool {
        let side = self.side_of(tag, who);
        let (stream, end) = (&mut self.streams[tag], &mut self.ends[side]);
        let Some(key) = stream.keys[who] else { return false };
        let flow = &mut stream.flows[1 - who];
        if flow.ended || !end.readable.contains(&key) {
            return false;
        }
        match end.checked.session.read_chunk(key, most) {
            Ok(Read::Data(chunk)) => {
                let expected = (flow.read..).take(chunk.len()).map(|at| content(tag, 1 - who, at));
                assert!(chunk.iter().copied().eq(expected), "stream {tag}: other bytes at {}", flow.read);
                flow.read += chunk.remaining() as u64;
                assert!(flow.read <= flow.written, "stream {tag}: bytes from nowhere");
            }
            Ok(Read::Finished) => {
                flow.ended = true;
                let whole = flow.finished && flow.read == flow.written;
                assert!(whole, "stream {tag} looks complete: {flow:?}");
            }
            Ok(Read::Pending) => drop(end.readable.remove(&key)),
            Err(error) => {
                flow.ended = true;
                assert!(flow.torn, "stream {tag}: {error}");
            }
        }
        end.settle();
        true
    }

    /// Gives a handle back, in whatever state the stream is; or resets it first.
    pub(super) fn drop_handle(&mut self, tag: usize, who: usize, reset: Option<u32>) {
        let side = self.side_of(tag, who);
        let (stream, end) = (&mut self.streams[tag], &mut self.ends[side]);
        let Some(key) = stream.keys[who].take() else { return };
        // Unfinished output tears both directions. With it finished, only the input is given up.
        let cut = reset.is_some() || !stream.flows[who].finished;
        stream.flows[who].torn |= cut;
        stream.flows[who].given_up |= cut;
        let input = &mut stream.flows[1 - who];
        input.torn |= cut || !input.ended || input.stopped;
        input.ended = true;
        if let Some(code) = reset {
            end.checked.session.reset(key, ErrorCode::new(code));
        }
        end.checked.session.release(key);
        end.forget(key);
        end.settle();
    }

    pub(super) fn stop_reading(&mut self, tag: usize, who: usize) {
        let side = self.side_of(tag, who);
        let (stream, end) = (&mut self.streams[tag], &mut self.ends[side]);
        let Some(key) = stream.keys[who] else { return };
        let flow = &mut stream.flows[1 - who];
        flow.stopped |= !flow.ended;
        flow.ended = true;
        end.checked.session.stop_reading(key);
        end.settle();
    }

    pub(super) fn announce(&mut self, tag: usize, who: usize) {
        let side = self.side_of(tag, who);
        if let Some(key) = self.streams[tag].keys[who] {
            self.ends[side].checked.session.announce(key);
            self.ends[side].settle();
        }
    }

    /// Lets time pass; never as much as a limit on time.
    pub(super) fn pass(&mut self, ms: u64) {
        for end in &mut self.ends {
            let events = end.checked.pass(Duration::from_millis(ms));
            end.note(&events);
        }
    }

    pub(super) fn start_heartbeat(&mut self, side: usize) {
        let hour = Duration::from_secs(3600);
        let config = HeartbeatConfig::default().interval(Duration::from_millis(3)).tolerance(hour);
        let checked = &mut self.ends[side].checked;
        checked.session.start_heartbeat(config, checked.now);
        self.ends[side].settle();
    }

    /// This side takes no new streams; the peer's that it has not taken may be refused.
    pub(super) fn go_away(&mut self, side: usize) {
        self.ends[side].draining = true;
        self.ends[side].checked.session.go_away();
        self.ends[side].settle();
        let unseen = self.streams.iter_mut().filter(|stream| stream.opener != side && !stream.accepted);
        unseen.flat_map(|stream| &mut stream.flows).for_each(|flow| flow.torn = true);
    }

    pub(super) fn close_when_sent(&mut self, side: usize) {
        self.tear_all();
        let checked = &mut self.ends[side].checked;
        checked.session.close_when_sent(ErrorCode::NO_ERROR, checked.now);
        self.ends[side].settle();
    }

    /// The transport breaks. Whatever had not arrived is lost, and everybody must notice.
    pub(super) fn cut(&mut self) {
        self.tear_all();
        for (end, pipe) in self.ends.iter_mut().zip(&mut self.pipes) {
            end.checked.session.handle_transport_end(None, end.inbox.len());
            end.settle();
            end.checked.transmit_all(drop);
            end.output.clear();
            pipe.clear();
        }
    }

    fn tear_all(&mut self) {
        self.loose = true;
        self.streams.iter_mut().flat_map(|stream| &mut stream.flows).for_each(|flow| flow.torn = true);
    }

    /// Lets everybody do what they can until nobody can do anything.
    pub(super) fn run_out(&mut self) {
        (0..self.streams.len()).for_each(|tag| (0..2).for_each(|who| self.finish(tag, who)));
        for _ in 0..MOST_ROUNDS {
            let mut busy = self.flush(200) | self.accept(0) | self.accept(1);
            busy |= self.accept_control(0) | self.accept_control(1);
            for tag in 0..self.streams.len() {
                for who in 0..2 {
                    busy |= self.write(tag, who);
                    busy |= self.read(tag, who, usize::MAX);
                }
            }
            if !busy && !self.end_both() {
                return;
            }
        }
        panic!("busy for ever");
    }

    /// Where one side has ended, the transport ends once all is said.
    fn end_both(&mut self) -> bool {
        let ended = self.ends.each_ref().map(|end| end.checked.session.has_ended());
        let half = ended[0] != ended[1];
        if half {
            self.cut();
        }
        half
    }

    /// Whatever was not torn has arrived whole, and nobody waits.
    pub(super) fn check_nothing_is_stuck(&self) {
        for (tag, stream) in self.streams.iter().enumerate() {
            for who in 0..2 {
                let (flow, output) = (&stream.flows[1 - who], &stream.flows[who]);
                if stream.keys[who].is_some() {
                    assert!(
                        output.finished || output.given_up,
                        "a writer of {tag} waits for ever: {stream:?}"
                    );
                    assert!(flow.ended, "a reader of {tag} waits for ever: {stream:?}");
                }
            }
        }
        for end in &self.ends {
            assert!(end.is_silent());
            assert!(end.may_open || !end.checked.session.may_open(), "nobody told an opener of capacity");
        }
    }

    /// Everybody leaves, those who use control streams last: nothing is left.
    pub(super) fn drop_all(&mut self) {
        let control = self.control;
        for tag in (0..self.streams.len()).filter(|tag| !control.contains(&Some(*tag))) {
            (0..2).for_each(|who| self.drop_handle(tag, who, None));
        }
        self.run_out();
        for end in &self.ends {
            let stats = end.checked.session.stats();
            assert!(end.checked.session.is_idle(), "it is in use for control streams: {stats:?}");
            assert!(stats.streams_open <= HEARTBEATS, "control streams are counted: {stats:?}");
        }
        for tag in control.into_iter().flatten() {
            (0..2).for_each(|who| self.drop_handle(tag, who, None));
        }
        self.run_out();
        for end in &mut self.ends {
            let stats = end.checked.session.stats();
            let left = (stats.bytes_unread, stats.bytes_unsent, end.checked.session.handles());
            assert_eq!(left, (0, 0, 0), "{stats:?}");
            assert!(end.checked.session.is_idle());
            if end.checked.session.has_ended() {
                end.checked.check_end([]);
            }
        }
    }
}
