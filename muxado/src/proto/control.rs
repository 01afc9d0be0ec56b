//! Control streams: of each side's one typed stream that serves the session itself, and is no use of it
//! (`PROTOCOL §8`).

use super::{
    event::Event,
    session::Session,
    stream::{Owner, StreamKey},
};
use crate::error::OpenError;

/// What is known of control streams.
#[derive(Debug, Default)]
pub(super) struct ControlStreams {
    /// Their type; `None` if there are none.
    stream_type: Option<u32>,
    /// The peer has opened its one.
    has_come: bool,
    /// It waits to be taken.
    waiting: Option<StreamKey>,
    /// Those of either side that have an id.
    pub(super) on_wire: usize,
}

impl Session {
    /// Sets the control streams of both sides apart: those of this type. The session must be typed.
    pub fn set_control_type(&mut self, stream_type: u32) {
        self.control_streams.stream_type = Some(stream_type);
    }

    /// Opens a control stream of this side's, whatever the limits. It must be given back with
    /// [`release`](Self::release).
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn open_control(&mut self) -> Result<StreamKey, OpenError> {
        let key = self.open(self.control_streams.stream_type)?;
        self.set_apart(key);
        Ok(key)
    }

    /// Takes the peer's control stream, once. It must be given back with [`release`](Self::release).
    pub fn accept_control(&mut self) -> Option<StreamKey> {
        let key = self.control_streams.waiting.take()?;
        self.handles += 1;
        Some(key)
    }

    /// Whether the peer has shown that it is of this family, to a side that shows it, too
    /// (`PROTOCOL §12`).
    pub const fn peer_is_family(&self) -> bool {
        self.peer_is_family && self.config.family_extension
    }

    /// Whether a stream of the peer's with this type is its control stream. A second one is a
    /// stream like any other.
    pub(super) fn is_control(&self, stream_type: u32) -> bool {
        let control = &self.control_streams;
        control.stream_type == Some(stream_type) && !control.has_come && !self.refuse_streams
    }

    pub(super) fn adopt_control(&mut self, key: StreamKey) {
        // It is no handle of the application's until it is taken, so it keeps no session open.
        if let Some(stream) = self.stream_mut(key) {
            stream.owner = Owner::Handle;
        }
        self.set_apart(key);
        self.control_streams.has_come = true;
        self.control_streams.waiting = Some(key);
        self.events.push_back(Event::Control);
    }

    /// The peer is known now.
    pub(super) fn announce_family(&mut self) {
        if self.control_streams.stream_type.is_some() {
            self.events.push_back(Event::Control);
        }
    }

    /// Counts a stream no longer: not against the limits, nor as one that the session is used for.
    fn set_apart(&mut self, key: StreamKey) {
        self.acknowledge(key);
        let Some(stream) = self.stream_mut(key).filter(|stream| stream.on_wire && !stream.apart) else {
            return;
        };
        stream.apart = true;
        let has_id = stream.id.is_some();
        if stream.opened_here {
            self.open_here -= 1;
            self.capacity_changed = true;
        } else {
            self.open_there -= 1;
        }
        self.control_streams.on_wire += usize::from(has_id);
        self.notice_idle();
    }
}
