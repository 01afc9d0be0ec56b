//! Control streams: one typed stream of each side that serves the session itself, and for which the session does not
//! count as used (`PROTOCOL §8`).

use super::{event::Event, session::Session, store::StreamKey, stream::Owner};
use crate::error::OpenError;

/// What is known of the control streams of both sides.
#[derive(Debug, Default)]
pub(super) struct ControlStreams {
    /// Their type; `None` if there are none.
    stream_type: Option<u32>,
    /// The peer has opened its one.
    has_come: bool,
    /// It waits to be taken.
    waiting: Option<StreamKey>,
    /// Those of either side that have an id.
    on_wire: usize,
}

impl ControlStreams {
    /// Returns whether a stream of the peer with this type is its control stream. A second one is a stream like any
    /// other.
    pub(super) fn awaits(&self, stream_type: u32) -> bool {
        self.stream_type == Some(stream_type) && !self.has_come
    }

    /// Returns whether the application uses control streams.
    pub(super) const fn are_used(&self) -> bool {
        self.stream_type.is_some()
    }

    /// Returns how many control streams have an id.
    pub(super) const fn on_wire(&self) -> usize {
        self.on_wire
    }

    /// Notes that a control stream was given an id.
    pub(super) fn add(&mut self) {
        self.on_wire += 1;
    }

    /// Notes that a control stream has ended.
    pub(super) fn remove(&mut self, had_id: bool) {
        self.on_wire -= usize::from(had_id);
    }

    /// Notes that the session has ended, and all its streams with it.
    pub(super) fn end(&mut self) {
        self.on_wire = 0;
    }
}

impl Session {
    /// Makes streams of this type the control streams of both sides. The session must be typed.
    pub fn set_control_type(&mut self, stream_type: u32) {
        self.control_streams.stream_type = Some(stream_type);
    }

    /// Opens a control stream of this side, whatever the limits. It must be given back with
    /// [`release`](Self::release).
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn open_control(&mut self) -> Result<StreamKey, OpenError> {
        let key = self.open(self.control_streams.stream_type)?;
        self.turn_into_control(key);
        Ok(key)
    }

    /// Takes the peer's control stream, once. It must be given back with [`release`](Self::release).
    pub fn accept_control(&mut self) -> Option<StreamKey> {
        let key = self.control_streams.waiting.take()?;
        self.counts.add_handle();
        Some(key)
    }

    pub(super) fn adopt_control(&mut self, key: StreamKey) {
        // It is no handle of the application until it is taken, so it keeps no session open.
        if let Some(stream) = self.store.get_mut(key) {
            stream.set_owner(Owner::Handle);
        }
        self.turn_into_control(key);
        self.control_streams.has_come = true;
        self.control_streams.waiting = Some(key);
        self.events.push(Event::Control);
    }

    /// Stops counting a stream, against the limits and as one for which the session is used.
    fn turn_into_control(&mut self, key: StreamKey) {
        self.acknowledge(key);
        let Some(stream) = self.store.get_mut(key) else { return };
        if !stream.turn_into_control() {
            return;
        }
        let opened_here = stream.opened_here();
        if stream.id().is_some() {
            self.control_streams.add();
        }
        self.counts.remove(opened_here);
        if opened_here {
            self.events.note_capacity();
        }
        self.notice_idle();
    }
}
