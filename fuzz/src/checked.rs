//! A session that is checked after every call: its events end, its bounds hold, its output is lawful.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use bytes::{Buf, Bytes, BytesMut};
use muxado::{
    Side,
    proto::{Event, Outbox, Session, StreamKey},
};
use muxado_tests::{DATA, Frame, HEADER, Law, SYN, decode};

use crate::settings::{CONTROL, Settings};

/// Most bytes of an incomplete header that `receive` may leave.
const MOST_LEFT: usize = 15;

/// Calls after which a session must have nothing more to say, or to do at one time.
const MOST_CALLS: usize = 10_000;

/// Streams that are open beside the limits: heartbeats of both sides.
pub(crate) const HEARTBEATS: usize = 2;

pub(crate) struct Checked {
    pub(crate) session: Session,
    pub(crate) settings: Settings,
    pub(crate) now: Instant,
    law: Option<Law>,
    scanner: Scanner,
    /// Ids that the peer named. One that is opened afterwards makes old and new hard to tell apart.
    named: HashSet<u32>,
    /// Streams of the session's whose SYN has left.
    opened: u32,
    /// Whether the peer's control stream may have come since it was last looked for.
    control_may_come: bool,
    control_has_come: bool,
}

impl Checked {
    pub(crate) fn new(settings: Settings) -> Self {
        let now = Instant::now();
        let mut session = Session::new(settings.side, settings.config());
        session.handle_timeout(now);
        let mut law = Law::new(settings.side);
        law.window(settings.window);
        if settings.typed {
            session.set_typed(now);
            law.typed();
        }
        if settings.control {
            session.set_control_type(CONTROL);
        }
        let (scanner, named) = (Scanner::default(), HashSet::new());
        Self {
            session,
            settings,
            now,
            law: Some(law),
            scanner,
            named,
            opened: 0,
            control_may_come: false,
            control_has_come: false,
        }
    }

    /// Opens a control stream, which no limit forbids.
    pub(crate) fn open_control(&mut self) -> Option<StreamKey> {
        let (open, capacity) = (self.session.stats().streams_open, self.session.open_capacity());
        let opened = self.session.open_control();
        assert!(opened.is_ok() || self.session.refuses_opens());
        let now = (self.session.stats().streams_open, self.session.open_capacity());
        assert_eq!((open, capacity), now, "a control stream is counted");
        opened.ok()
    }

    /// Takes the peer's control stream, of which there is one, and of which somebody was told.
    pub(crate) fn accept_control(&mut self) -> Option<StreamKey> {
        let may_come = std::mem::take(&mut self.control_may_come);
        let key = self.session.accept_control()?;
        assert!(may_come, "nobody told of a control stream");
        assert!(!std::mem::replace(&mut self.control_has_come, true), "a second control stream");
        Some(key)
    }

    /// Without the law from now on: streams that were opened before it applied are exempt.
    pub(crate) fn suspend_law(&mut self) {
        self.law = None;
    }

    /// Gives the session what the peer sent, and checks it.
    pub(crate) fn receive(&mut self, bytes: &mut BytesMut, fresh: &[u8]) -> Vec<Event> {
        for frame in self.scanner.scan(fresh) {
            let reopened = !self.named.insert(frame.id) && frame.kind == DATA && frame.has(SYN);
            if reopened || self.is_of_ours_to_come(frame.id) {
                self.law = None;
            }
            if let Some(law) = &mut self.law {
                law.peer_sends(&frame);
            }
        }
        self.session.receive(bytes, self.now);
        assert!(bytes.len() <= MOST_LEFT, "{} bytes are left", bytes.len());
        self.settle()
    }

    /// Whether it is the id of a stream of which the peer cannot have heard.
    fn is_of_ours_to_come(&self, id: u32) -> bool {
        let first = first_id(self.settings.side);
        id % 2 == first % 2 && id >= first + 2 * self.opened
    }

    /// What has to be done after every call; gives the events.
    pub(crate) fn settle(&mut self) -> Vec<Event> {
        let events: Vec<_> = std::iter::from_fn(|| self.session.poll_event()).collect();
        self.control_may_come |= events.contains(&Event::Control);
        let (stats, settings) = (self.session.stats(), &self.settings);
        assert!(stats.bytes_unread <= settings.session_receive_memory, "{stats:?} {settings:?}");
        assert!(stats.bytes_unsent <= settings.most_unsent(), "{stats:?} {settings:?}");
        let most_open = settings.max_streams + settings.max_open_streams + HEARTBEATS;
        assert!(stats.streams_open <= most_open, "{stats:?} {settings:?}");
        if self.session.has_ended() {
            assert_eq!((stats.streams_open, stats.bytes_unsent), (0, 0), "{stats:?}");
            assert_eq!(self.session.poll_timeout(), None);
        }
        events
    }

    /// One batch of output, checked.
    pub(crate) fn transmit(&mut self) -> Bytes {
        let mut outbox = Outbox::default();
        let wanted = self.session.wants_transmit();
        self.session.transmit(&mut outbox, self.now);
        assert!(wanted || outbox.is_empty(), "output that nobody was told of");
        let bytes = outbox.copy_to_bytes(outbox.len());
        let frames = decode(&bytes);
        self.opened += frames.iter().filter(|frame| frame.kind == DATA && frame.has(SYN)).count() as u32;
        if let Some(law) = &mut self.law {
            frames.iter().for_each(|frame| law.check(frame));
        }
        bytes
    }

    /// Everything that the session has to say now.
    pub(crate) fn transmit_all(&mut self, mut events: impl FnMut(Vec<Event>)) -> Vec<u8> {
        let mut all = Vec::new();
        for _ in 0..MOST_CALLS {
            if !self.session.wants_transmit() {
                return all;
            }
            all.extend_from_slice(&self.transmit());
            events(self.settle());
        }
        panic!("the session never stops talking");
    }

    /// Lets time pass and fires what is due.
    pub(crate) fn pass(&mut self, time: Duration) -> Vec<Event> {
        self.now += time;
        // A session at rest gives memory back, which must not show.
        self.session.shrink();
        let mut events = Vec::new();
        for _ in 0..MOST_CALLS {
            if self.session.poll_timeout().is_none_or(|at| at > self.now) {
                return events;
            }
            self.session.handle_timeout(self.now);
            events.extend(self.settle());
        }
        panic!("the same time is due for ever");
    }

    /// Checks a session that has ended: nobody waits, and once all handles are back nothing is left.
    pub(crate) fn check_end(&mut self, handles: impl IntoIterator<Item = StreamKey>) {
        assert!(self.session.has_ended());
        let mut keys: Vec<_> = handles.into_iter().collect();
        keys.extend(std::iter::from_fn(|| self.session.accept()).map(|(key, _)| key));
        keys.extend(self.accept_control());
        for key in keys {
            let read = std::iter::from_fn(|| match self.session.read_chunk(key, usize::MAX) {
                Ok(muxado::proto::Read::Data(_)) => Some(()),
                Ok(muxado::proto::Read::Pending) => panic!("a reader waits for ever"),
                Ok(muxado::proto::Read::Finished) | Err(_) => None,
            });
            assert!(read.count() <= self.settings.session_receive_memory);
            assert!(self.session.write(key, &mut &b"x"[..]).is_err(), "a write that nobody reads");
            self.session.release(key);
            self.settle();
        }
        assert!(self.session.open(None).is_err());
        self.transmit_all(drop);
        let stats = self.session.stats();
        assert_eq!((stats.bytes_unread, stats.bytes_unsent, self.session.handles()), (0, 0, 0));
    }
}

/// The first id of this side's.
pub(crate) fn first_id(side: Side) -> u32 {
    match side {
        Side::Client => 3,
        Side::Server => 2,
    }
}

pub(crate) fn other(side: Side) -> Side {
    match side {
        Side::Client => Side::Server,
        Side::Server => Side::Client,
    }
}

/// Finds the frames in what the peer sends; DATA as soon as its header is there, as the session does.
#[derive(Default)]
struct Scanner {
    header: Vec<u8>,
    skip: usize,
}

impl Scanner {
    fn scan(&mut self, mut bytes: &[u8]) -> Vec<Frame> {
        let mut frames = Vec::new();
        while !bytes.is_empty() {
            let n = self.skip.min(bytes.len());
            (self.skip, bytes) = (self.skip - n, &bytes[n..]);
            let Some((byte, rest)) = bytes.split_first() else { break };
            self.header.push(*byte);
            bytes = rest;
            let Some(header) = self.header.first_chunk::<HEADER>() else { continue };
            let length = u32::from_be_bytes([0, header[0], header[1], header[2]]) as usize;
            let is_data = header[3] >> 4 == DATA;
            // Of the others, credit counts, which has four bytes.
            if !is_data && length <= 4 && self.header.len() < HEADER + length {
                continue;
            }
            let id = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
            frames.push(Frame::new(header[3] >> 4, header[3] & 0x0F, id, &self.header[HEADER..]));
            self.skip = HEADER + length - self.header.len();
            self.header.clear();
        }
        frames
    }
}
