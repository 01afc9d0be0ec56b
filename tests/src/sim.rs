//! Two protocol cores joined by byte pipes of a bounded size, without a runtime or a clock.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use bytes::{BufMut, BytesMut};
use muxado::{
    Config, Side,
    proto::{Event, Outbox, Session, StreamKey},
};

use crate::{frame::decode, law::Law};

/// One side: a core, what it has to write, and what was read for it.
#[derive(Debug)]
pub struct End {
    /// The protocol core.
    pub session: Session,
    /// Streams whose reader was woken, or has not slept yet.
    pub readable: HashSet<StreamKey>,
    /// Streams whose writer was woken, or has not slept yet.
    pub writable: HashSet<StreamKey>,
    /// Whether accepting was worth a try since it last gave nothing.
    pub acceptable: bool,
    /// Whether opening was worth a try since it was last not allowed.
    pub may_open: bool,
    watched: HashSet<StreamKey>,
    law: Law,
    outbox: BytesMut,
    inbox: BytesMut,
}

impl End {
    fn new(side: Side, config: Config, now: Instant) -> Self {
        let mut law = Law::new(side);
        law.typed();
        law.window(config.window_size_bytes());
        let mut session = Session::new(side, config);
        session.set_typed(now);
        Self {
            session,
            law,
            watched: HashSet::new(),
            readable: HashSet::new(),
            writable: HashSet::new(),
            acceptable: true,
            may_open: true,
            outbox: BytesMut::new(),
            inbox: BytesMut::new(),
        }
    }

    /// Notes whom the core wants woken. To be called after every call to it.
    pub fn collect(&mut self) {
        while let Some(event) = self.session.poll_event() {
            match event {
                Event::Readable(key) => drop(self.readable.insert(key)),
                Event::Writable(key) => drop(self.writable.insert(key)),
                Event::Acceptable => self.acceptable = true,
                Event::OpenCapacity => self.may_open = true,
                Event::Ended => {
                    self.readable.clone_from(&self.watched);
                    self.writable.clone_from(&self.watched);
                    (self.acceptable, self.may_open) = (true, true);
                }
                _ => {}
            }
        }
    }

    /// Starts to watch a stream: its reader and writer have not slept yet.
    pub fn watch(&mut self, key: StreamKey) {
        self.watched.insert(key);
        self.readable.insert(key);
        self.writable.insert(key);
    }

    /// The stream's handle is gone.
    pub fn forget(&mut self, key: StreamKey) {
        self.watched.remove(&key);
        self.readable.remove(&key);
        self.writable.remove(&key);
    }
}

/// The bytes under way in one direction.
#[derive(Debug)]
struct Pipe {
    bytes: BytesMut,
    capacity: usize,
}

/// Two ends and the pipes between them. All that they say is checked against the [`Law`].
#[derive(Debug)]
pub struct Sim {
    /// The client and the server.
    pub ends: [End; 2],
    /// `pipes[n]` carries what `ends[n]` writes.
    pipes: [Pipe; 2],
    now: Instant,
}

impl Sim {
    /// Two typed sessions with the same configuration, and pipes that hold so many bytes.
    pub fn new(config: &Config, capacity: usize) -> Self {
        let now = Instant::now();
        let pipe = || Pipe { bytes: BytesMut::new(), capacity };
        let end = |side| End::new(side, config.clone(), now);
        Self { ends: [end(Side::Client), end(Side::Server)], pipes: [pipe(), pipe()], now }
    }

    /// Moves up to `most` bytes of what `from` has to say into its pipe; says how many.
    pub fn push(&mut self, from: usize, most: usize) -> usize {
        if self.ends[from].outbox.is_empty() && self.ends[from].session.wants_transmit() {
            self.transmit(from);
        }
        let (end, pipe) = (&mut self.ends[from], &mut self.pipes[from]);
        let n = most.min(end.outbox.len()).min(pipe.capacity - pipe.bytes.len());
        pipe.bytes.extend_from_slice(&end.outbox.split_to(n));
        n
    }

    fn transmit(&mut self, from: usize) {
        let mut out = Outbox::default();
        self.ends[from].session.transmit(&mut out, self.now);
        self.ends[from].collect();
        self.ends[from].outbox.put(out);
        for frame in decode(&self.ends[from].outbox) {
            self.ends[from].law.check(&frame);
            self.ends[1 - from].law.peer_sends(&frame);
        }
    }

    /// Gives `to` up to `most` bytes out of the pipe; says how many.
    pub fn pull(&mut self, to: usize, most: usize) -> usize {
        let (end, pipe) = (&mut self.ends[to], &mut self.pipes[1 - to]);
        let n = most.min(pipe.bytes.len());
        end.inbox.extend_from_slice(&pipe.bytes.split_to(n));
        end.session.receive(&mut end.inbox, self.now);
        end.collect();
        n
    }

    /// Lets time pass, and fires what is due.
    pub fn pass(&mut self, time: Duration) {
        self.now += time;
        for end in &mut self.ends {
            if end.session.poll_timeout().is_some_and(|at| at <= self.now) {
                end.session.handle_timeout(self.now);
                end.collect();
            }
        }
    }

    /// The transport breaks: whatever is under way is lost.
    pub fn cut(&mut self) {
        for end in &mut self.ends {
            end.session.handle_transport_end(None, end.inbox.len());
            end.collect();
            end.outbox.clear();
            end.session.transmit(&mut Outbox::default(), self.now);
        }
        self.pipes.iter_mut().for_each(|pipe| pipe.bytes.clear());
    }

    /// Nothing is under way, and nobody has anything to say.
    pub fn is_quiet(&self) -> bool {
        let silent = |end: &End| end.outbox.is_empty() && !end.session.wants_transmit();
        self.ends.iter().all(silent) && self.pipes.iter().all(|pipe| pipe.bytes.is_empty())
    }
}
