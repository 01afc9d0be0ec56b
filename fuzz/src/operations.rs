//! A list of operations and frames on one session: what the application does, what a mostly honest
//! peer sends, and time, in any order.

use std::{collections::HashSet, time::Duration};

use arbitrary::{Arbitrary, Unstructured};
use bytes::{Bytes, BytesMut};
use muxado::{
    ErrorCode, HeartbeatConfig,
    proto::{Event, Finish, Read, StreamKey},
};
use muxado_tests::decode;

use crate::{
    checked::{Checked, first_id},
    peer::{Peer, Send, Sent, content},
    settings::Settings,
};

/// One step.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Operation {
    /// The peer puts this into its output.
    Send(Send),
    /// So much of the peer's output arrives.
    Deliver(u16),
    DeliverAll,
    Transmit,
    Open {
        typed: bool,
    },
    Accept,
    Write {
        stream: u8,
        len: u16,
        how: How,
    },
    Read {
        stream: u8,
        most: u16,
    },
    ReadAll {
        stream: u8,
    },
    Finish {
        stream: u8,
    },
    Release {
        stream: u8,
    },
    Reset {
        stream: u8,
        code: u8,
    },
    Wait {
        ms: u16,
    },
    Other {
        operation: Other,
        stream: u8,
        chance: u8,
    },
}

/// What is done seldom. Where the chance of a go-away or a refusal is missed, a control stream is opened or taken:
/// a choice of its own would change what older inputs mean.
#[derive(Arbitrary, Clone, Copy, Debug, PartialEq, Eq)]
enum Other {
    StopReading,
    Announce,
    SetTyped,
    StartHeartbeat,
    Beat,
    GoAway,
    RefuseStreams,
    Close,
    CloseWhenSent,
    TransportEnd,
    WriteStall,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum How {
    Copied,
    Shared,
    Final,
}

/// The first bytes choose the settings; the rest is operations.
pub fn operations(data: &[u8]) {
    let mut input = Unstructured::new(data);
    let mut world = World::new(Settings::take(&mut input));
    let trace = std::env::var_os("MUXADO_FUZZ_TRACE").is_some();
    while !input.is_empty() && !world.checked.session.has_ended() {
        let Ok(operation) = Operation::arbitrary(&mut input) else { break };
        if trace {
            eprintln!("{operation:?}");
        }
        world.apply(operation);
    }
    world.end();
}

/// A stream that the application holds.
struct Handle {
    key: StreamKey,
    /// Bytes of what the peer sent that were read, or are its type.
    read: u64,
    ended: bool,
    stopped: bool,
}

struct World {
    checked: Checked,
    peer: Peer,
    /// What the peer has sent, and has not arrived.
    wire: BytesMut,
    inbox: BytesMut,
    handles: Vec<Handle>,
    /// Readers that were told to wait, and not woken since.
    asleep: HashSet<StreamKey>,
    /// Whether nobody could open, and nobody was told otherwise since.
    no_capacity: bool,
    /// The peer's streams are refused.
    refusing: bool,
}

impl World {
    fn new(settings: Settings) -> Self {
        Self {
            peer: Peer::new(settings.clone()),
            checked: Checked::new(settings),
            wire: BytesMut::new(),
            inbox: BytesMut::new(),
            handles: Vec::new(),
            asleep: HashSet::new(),
            no_capacity: false,
            refusing: false,
        }
    }

    fn apply(&mut self, operation: Operation) {
        match operation {
            Operation::Send(send) => self.wire.extend_from_slice(&self.peer.encode(send)),
            Operation::Deliver(n) => self.deliver(usize::from(n)),
            Operation::DeliverAll => self.deliver(usize::MAX),
            Operation::Transmit => self.transmit(),
            Operation::Open { typed } => self.open(typed),
            Operation::Accept => _ = self.accept(),
            Operation::Write { stream, len, how } => self.write(stream, usize::from(len), how),
            Operation::Read { stream, most } => self.read(stream, usize::from(most)),
            Operation::ReadAll { stream } => (0..8).for_each(|_| self.read(stream, usize::MAX)),
            Operation::Wait { ms } => {
                let events = self.checked.pass(Duration::from_millis(ms.into()));
                self.note(&events);
            }
            Operation::Finish { stream } => self.with(stream, |checked, key| _ = checked.session.finish(key)),
            Operation::Reset { stream, code } => {
                let code = ErrorCode::new(code.into());
                self.with(stream, |checked, key| checked.session.reset(key, code));
            }
            Operation::Release { stream } => self.release(stream),
            Operation::Other { operation, stream, chance } => self.other(operation, stream, chance),
        }
        self.settle();
    }

    fn other(&mut self, operation: Other, stream: u8, chance: u8) {
        let now = self.checked.now;
        match operation {
            Other::StopReading => {
                let Some(index) = self.index(stream) else { return };
                self.handles[index].stopped = true;
                self.checked.session.stop_reading(self.handles[index].key);
            }
            Other::Announce => self.with(stream, |checked, key| checked.session.announce(key)),
            Other::SetTyped => {
                self.checked.suspend_law();
                self.checked.session.set_typed(now);
                self.checked.settings.typed = true;
            }
            Other::StartHeartbeat if self.checked.settings.typed => {
                self.checked.session.start_heartbeat(HeartbeatConfig::default(), now);
            }
            Other::Beat => self.checked.session.ping(now),
            Other::GoAway if chance > 25 => self.open_control(),
            Other::RefuseStreams if chance > 25 => _ = self.accept_control(),
            _ if chance > 25 => {}
            Other::GoAway => {
                self.refusing = true;
                self.checked.session.go_away();
            }
            Other::RefuseStreams => {
                self.refusing = true;
                self.checked.session.refuse_streams();
            }
            Other::Close => self.checked.session.close(ErrorCode::new(chance.into()), Bytes::from("closed")),
            Other::CloseWhenSent => {
                self.refusing = true;
                self.checked.session.close_when_sent(ErrorCode::NO_ERROR, now);
            }
            Other::TransportEnd => self.checked.session.handle_transport_end(None, self.inbox.len()),
            Other::WriteStall => self.checked.session.handle_write_stall(Duration::from_secs(1)),
            Other::StartHeartbeat => {}
        }
    }

    fn settle(&mut self) {
        let events = self.checked.settle();
        self.note(&events);
        assert_eq!(self.checked.session.handles(), self.handles.len());
        for handle in &self.handles {
            let failed = self.checked.session.failure(handle.key).is_some();
            assert!(!failed || !self.asleep.contains(&handle.key), "nobody told a reader of a failure");
        }
        assert!(!self.no_capacity || !self.checked.session.may_open(), "nobody told an opener of capacity");
    }

    fn note(&mut self, events: &[Event]) {
        for event in events {
            match event {
                Event::Readable(key) => drop(self.asleep.remove(key)),
                Event::OpenCapacity => self.no_capacity = false,
                Event::Ended => {
                    self.asleep.clear();
                    self.no_capacity = false;
                }
                _ => {}
            }
        }
    }

    fn deliver(&mut self, n: usize) {
        let fresh = self.wire.split_to(n.min(self.wire.len()));
        self.inbox.extend_from_slice(&fresh);
        let events = self.checked.receive(&mut self.inbox, &fresh);
        self.note(&events);
    }

    fn transmit(&mut self) {
        let output = self.checked.transmit();
        self.peer.note_output(&decode(&output));
    }

    fn transmit_all(&mut self) {
        let mut events = Vec::new();
        let output = self.checked.transmit_all(|more| events.extend(more));
        self.peer.note_output(&decode(&output));
        self.note(&events);
    }

    fn open(&mut self, typed: bool) {
        if !self.checked.session.may_open() {
            self.no_capacity = true;
            return;
        }
        // On a typed session each stream has a type.
        let stream_type = (typed || self.checked.settings.typed).then_some(5);
        match self.checked.session.open(stream_type) {
            Ok(key) => self.handles.push(Handle { key, read: 0, ended: false, stopped: false }),
            Err(_) => assert!(self.checked.session.refuses_opens()),
        }
    }

    fn open_control(&mut self) {
        let settings = &self.checked.settings;
        if settings.typed && settings.control {
            let key = self.checked.open_control();
            self.handles.extend(key.map(|key| Handle { key, read: 0, ended: false, stopped: false }));
        }
    }

    fn accept(&mut self) -> bool {
        let Some((key, stream_type)) = self.checked.session.accept() else { return false };
        let read = if stream_type.is_some() { 4 } else { 0 };
        self.handles.push(Handle { key, read, ended: false, stopped: false });
        true
    }

    fn accept_control(&mut self) -> bool {
        let Some(key) = self.checked.accept_control() else { return false };
        self.handles.push(Handle { key, read: 4, ended: false, stopped: false });
        true
    }

    fn write(&mut self, stream: u8, len: usize, how: How) {
        let Some(index) = self.index(stream) else { return };
        let (key, session) = (self.handles[index].key, &mut self.checked.session);
        let data = vec![7; len];
        let written = match how {
            How::Copied => session.write(key, &mut &data[..]),
            How::Shared => session.write(key, &mut Bytes::from(data)),
            How::Final => session.write_with(key, &mut &data[..], Finish::Yes),
        };
        assert!(
            written.is_ok_and(|n| n <= len) || session.failure(key).is_some() || session.finish(key).is_ok()
        );
    }

    fn read(&mut self, stream: u8, most: usize) {
        let Some(index) = self.index(stream) else { return };
        let (handle, session) = (&mut self.handles[index], &mut self.checked.session);
        let id = session.stream_id(handle.key).filter(|_| !self.peer.is_garbled());
        let sent = id.map(|id| (id.as_u32(), self.peer.sent(id.as_u32()))).filter(|(_, sent)| !sent.early);
        match session.read_chunk(handle.key, most) {
            Ok(Read::Data(chunk)) => {
                assert!(!self.asleep.contains(&handle.key), "nobody told a reader of data");
                assert!(!handle.ended && !handle.stopped, "data behind the end");
                assert!(chunk.len() <= most.max(1));
                if let Some((id, _)) = sent {
                    let expected = (handle.read..).take(chunk.len()).map(|at| content(id, at));
                    assert!(chunk.iter().copied().eq(expected), "other bytes than were sent on {id}");
                }
                handle.read += chunk.len() as u64;
            }
            Ok(Read::Finished) => {
                assert!(!self.asleep.contains(&handle.key), "nobody told a reader of the end");
                handle.ended = true;
                // An id that was used again says nothing of the stream before.
                let known = |(_, sent): &(u32, Sent)| sent.opened <= 1 && !handle.stopped;
                if let Some((id, sent)) = sent.filter(known) {
                    assert!(sent.finished && sent.bytes == handle.read, "{id} looks complete: {sent:?}");
                }
            }
            Ok(Read::Pending) => {
                assert!(!handle.ended, "an end that was none");
                self.asleep.insert(handle.key);
            }
            Err(_) => assert!(session.failure(handle.key).is_some()),
        }
    }

    fn release(&mut self, stream: u8) {
        let Some(index) = self.index(stream) else { return };
        let handle = self.handles.swap_remove(index);
        self.asleep.remove(&handle.key);
        self.checked.session.release(handle.key);
    }

    fn with(&mut self, stream: u8, act: impl FnOnce(&mut Checked, StreamKey)) {
        if let Some(index) = self.index(stream) {
            act(&mut self.checked, self.handles[index].key);
        }
    }

    /// Streams opened last are used most.
    fn index(&self, stream: u8) -> Option<usize> {
        let last = self.handles.len().checked_sub(1)?;
        Some(last - usize::from(stream % 16).min(last))
    }

    /// Everybody leaves, and the peer resets all there is: nothing must be left.
    fn end(mut self) {
        if self.checked.session.has_ended() {
            return self.checked.check_end(self.handles.into_iter().map(|handle| handle.key));
        }
        self.apply(Operation::DeliverAll);
        while self.accept() || self.accept_control() {}
        while !self.handles.is_empty() {
            self.release(0);
            self.settle();
        }
        self.transmit_all();
        if !self.checked.session.has_ended() {
            self.check_nothing_is_left();
        }
        if !self.checked.session.has_ended() {
            self.checked.session.close(ErrorCode::NO_ERROR, Bytes::new());
            self.checked.settle();
        }
        self.checked.check_end([]);
    }

    fn check_nothing_is_left(&mut self) {
        self.reset_all();
        if self.peer.is_garbled() || self.checked.session.has_ended() {
            return;
        }
        let (session, settings) = (&self.checked.session, &self.checked.settings);
        let stats = session.stats();
        assert_eq!((stats.streams_open, stats.bytes_unread, stats.bytes_unsent), (0, 0, 0), "{stats:?}");
        assert!(session.is_idle());
        // A peer that is not of this family gets 256 streams at most.
        let capacity = settings.max_open_streams.min(settings.max_unacknowledged_opens).min(256);
        assert!(session.refuses_opens() || session.open_capacity() >= capacity, "capacity is lost");
        if !self.refusing {
            self.check_streams_come_in();
        }
    }

    /// The backlog is empty, so as many new streams as it holds are taken.
    fn check_streams_come_in(&mut self) {
        let settings = &self.checked.settings;
        let most = settings.accept_backlog.min(settings.max_streams).min(8);
        for _ in 0..most {
            let frame = self.peer.encode(Send::Open { len: 8, fin: false, ext: false });
            self.wire.extend_from_slice(&frame);
        }
        self.deliver(usize::MAX);
        let accepted = std::iter::from_fn(|| (self.accept() || self.accept_control()).then_some(())).count();
        assert!(accepted == most || self.checked.session.has_ended(), "{accepted} of {most} streams");
        while !self.handles.is_empty() {
            self.release(0);
        }
        self.reset_all();
    }

    fn reset_all(&mut self) {
        let opened = self.checked.session.stats().streams_opened as u32;
        let first = first_id(self.checked.settings.side);
        let resets = self.peer.reset_all((0..opened).map(|index| first + 2 * index));
        self.wire.extend_from_slice(&resets);
        self.deliver(usize::MAX);
        self.transmit_all();
    }
}
