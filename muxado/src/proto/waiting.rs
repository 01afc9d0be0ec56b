//! Streams of the peer that were looked at and stay in the backlog.
//!
//! Who takes calls has to know what a stream brings before it decides when to take it. Until then it is one of
//! the backlog as before: what comes on it stays within its window and the session's memory, the peer gets no
//! sign that it was taken, and it leaves by itself when it is reset.

use std::time::Instant;

use super::{
    buffer::RecvBuffer,
    session::Session,
    stream::{Owner, RecvState, Stream, StreamKey, Typing},
};

/// A stream in the backlog, and what has come on it.
#[derive(Clone, Copy, Debug)]
pub struct Waiting<'a> {
    /// Its type, on a typed session.
    pub stream_type: Option<u32>,
    /// When its first frame was read.
    pub came_at: Option<Instant>,
    /// Whether its end has come.
    pub is_finished: bool,
    buffer: &'a RecvBuffer,
}

impl<'a> Waiting<'a> {
    /// Returns the first bytes, as far as they lie in one piece; empty if none came.
    pub fn front(&self) -> &'a [u8] {
        self.buffer.front()
    }

    /// Copies the first bytes into `dst`, as many as came and fit, and returns how many.
    pub fn copy_front(&self, dst: &mut [u8]) -> usize {
        self.buffer.copy_front(dst)
    }
}

impl Session {
    /// Returns the oldest stream of the backlog that this did not return before, and leaves it there.
    ///
    /// It is taken by [`accept_waiting`](Self::accept_waiting); [`accept`](Self::accept) passes over it.
    pub fn look_at_next(&mut self) -> Option<StreamKey> {
        while let Some(key) = self.backlog.pop_front() {
            if self.waiting(key).is_some() {
                return Some(key);
            }
        }
        None
    }

    /// Returns what has come on a stream of the backlog; `None` once it was taken, reset or refused.
    pub fn waiting(&self, key: StreamKey) -> Option<Waiting<'_>> {
        let stream = self.stream(key).filter(|stream| stream.waits_in_backlog())?;
        let stream_type = match stream.typing {
            Typing::Typed(stream_type) => Some(stream_type),
            Typing::Untyped | Typing::Awaiting { .. } => None,
        };
        let is_finished = stream.recv == RecvState::Finished;
        Some(Waiting { stream_type, came_at: stream.came_at, is_finished, buffer: &stream.buffer })
    }

    /// Takes a stream out of the backlog, as [`accept`](Self::accept) does; false if it is not there any more.
    ///
    /// It must be given back with [`release`](Self::release).
    pub fn accept_waiting(&mut self, key: StreamKey) -> bool {
        let Some(stream) = self.stream_mut(key).filter(|stream| stream.waits_in_backlog()) else {
            return false;
        };
        stream.owner = Owner::Handle;
        self.backlog_len -= 1;
        self.handles += 1;
        self.note_accepted(key);
        true
    }

    /// All streams in the backlog, whether they were looked at or not.
    pub(super) fn waiting_keys(&self) -> Vec<StreamKey> {
        let waiting = self.streams.iter().filter(|(_, stream)| stream.waits_in_backlog());
        let key = |(index, stream): (usize, &Stream)| StreamKey {
            index: u32::try_from(index).unwrap_or(u32::MAX),
            serial: stream.serial,
        };
        waiting.map(key).collect()
    }
}

impl Stream {
    fn waits_in_backlog(&self) -> bool {
        self.owner == Owner::Backlog && !matches!(self.typing, Typing::Awaiting { .. })
    }
}
