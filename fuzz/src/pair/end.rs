//! One side of a pair: its session, and whom its events woke.

use std::collections::HashSet;

use bytes::BytesMut;
use muxado::proto::{Event, StreamKey};

use crate::{checked::Checked, settings::Settings};

pub(super) struct End {
    pub(super) checked: Checked,
    pub(super) inbox: BytesMut,
    pub(super) output: BytesMut,
    /// Whoever was woken, or has not slept yet.
    pub(super) readable: HashSet<StreamKey>,
    pub(super) writable: HashSet<StreamKey>,
    pub(super) watched: HashSet<StreamKey>,
    pub(super) acceptable: bool,
    pub(super) may_open: bool,
    pub(super) draining: bool,
}

impl End {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            checked: Checked::new(settings),
            inbox: BytesMut::new(),
            output: BytesMut::new(),
            readable: HashSet::new(),
            writable: HashSet::new(),
            watched: HashSet::new(),
            acceptable: true,
            may_open: true,
            draining: false,
        }
    }

    pub(super) fn settle(&mut self) {
        let events = self.checked.settle();
        self.note(&events);
    }

    pub(super) fn note(&mut self, events: &[Event]) {
        for event in events {
            match *event {
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

    pub(super) fn watch(&mut self, key: StreamKey) {
        for set in [&mut self.watched, &mut self.readable, &mut self.writable] {
            set.insert(key);
        }
    }

    pub(super) fn forget(&mut self, key: StreamKey) {
        for set in [&mut self.watched, &mut self.readable, &mut self.writable] {
            set.remove(&key);
        }
    }

    pub(super) fn is_silent(&self) -> bool {
        self.output.is_empty() && !self.checked.session.wants_transmit()
    }
}
