//! What the application does with one stream.

use bytes::{BufMut, Bytes};

use super::{
    event::Event,
    frame::StreamId,
    late_credit::LEAST_CREDIT,
    outbox::Source,
    output::FRAME,
    session::Session,
    stream::{Owner, RecvState, Reset, SendState, StreamKey},
};
use crate::error::{ErrorCode, ReadError, SessionError, WriteError};

/// What a stream has for its reader.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Read<T> {
    /// This.
    Data(T),
    /// The peer finished the stream; all of it was read.
    Finished,
    /// Nothing yet; an [`Event::Readable`] follows.
    Pending,
}

/// Whether the FIN goes with the last byte written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Finish {
    /// More is to come.
    No,
    /// The stream ends behind these bytes.
    Yes,
}

impl Session {
    /// Takes the next received chunk, at most `max` bytes of it, without copying.
    ///
    /// # Errors
    ///
    /// When the stream was reset or the session ended, and all that came before was read.
    pub fn read_chunk(&mut self, key: StreamKey, max: usize) -> Result<Read<Bytes>, ReadError> {
        let Some(stream) = self.stream_mut(key) else { return Err(gone(self.end.clone())) };
        stream.awaits_rest = false;
        match stream.buffer.pop(max.max(1)) {
            Some(chunk) => {
                self.bytes_unread -= chunk.len();
                self.consumed(key, chunk.len());
                Ok(Read::Data(chunk))
            }
            None => self.end_of(key),
        }
    }

    /// Copies received bytes into `dst`, as many as fit; says how many.
    ///
    /// # Errors
    ///
    /// As [`read_chunk`](Self::read_chunk).
    pub fn read(&mut self, key: StreamKey, dst: &mut impl BufMut) -> Result<Read<usize>, ReadError> {
        let Some(stream) = self.stream_mut(key) else { return Err(gone(self.end.clone())) };
        stream.awaits_rest = false;
        let n = stream.buffer.read(dst);
        if n == 0 && dst.has_remaining_mut() {
            return self.end_of(key);
        }
        self.bytes_unread -= n;
        self.consumed(key, n);
        Ok(Read::Data(n))
    }

    fn end_of<T>(&self, key: StreamKey) -> Result<Read<T>, ReadError> {
        let Some(stream) = self.stream(key) else { return Err(gone(self.end.clone())) };
        match (stream.recv, stream.reset, &self.end) {
            (RecvState::Finished, ..) => Ok(Read::Finished),
            (_, Some(Reset::ByPeer(code)), _) => Err(ReadError::Reset(code)),
            (_, Some(Reset::Locally(code)), _) => Err(ReadError::ResetLocally(code)),
            (_, None, Some(end)) => Err(ReadError::SessionClosed(end.clone())),
            (_, None, None) => Ok(Read::Pending),
        }
    }

    /// Whether the stream can bring nothing more but what an error says: it was reset by either
    /// side, or the session ended before both directions had.
    pub fn failure(&self, key: StreamKey) -> Option<ReadError> {
        let Some(stream) = self.stream(key) else { return Some(gone(self.end.clone())) };
        match (stream.reset, &self.end) {
            (Some(Reset::ByPeer(code)), _) => Some(ReadError::Reset(code)),
            (Some(Reset::Locally(code)), _) => Some(ReadError::ResetLocally(code)),
            (None, Some(end)) => Some(ReadError::SessionClosed(end.clone())),
            (None, None) => None,
        }
    }

    /// Takes bytes to be sent from the front of `src`, as many as there is room for; says how many.
    /// Where that is none, an [`Event::Writable`] follows.
    ///
    /// # Errors
    ///
    /// When the stream was finished or reset, or the session ended.
    pub fn write(&mut self, key: StreamKey, src: &mut impl Source) -> Result<usize, WriteError> {
        self.write_with(key, src, Finish::No)
    }

    /// The same, and the FIN behind the last byte if all were taken. An empty `src` finishes at once.
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write).
    pub fn write_with(
        &mut self,
        key: StreamKey,
        src: &mut impl Source,
        finish: Finish,
    ) -> Result<usize, WriteError> {
        self.writable(key)?;
        let len = src.remaining();
        if self.write_direct(key, src, finish) {
            return Ok(len);
        }
        let room = self.send_room(key);
        let window = room.window;
        let lacks_room = self.stream(key).is_some_and(|stream| self.lacks_room(stream));
        let Some(stream) = self.stream_mut(key) else { return Ok(0) };
        let mut most = room.within_window + room.beyond_window;
        if most < len {
            // Of what does not fit, whole frames: a small rest would be one of its own before more is written.
            let queued = stream.queue.len();
            let frames = (queued + most) / FRAME * FRAME;
            most = if frames == 0 { most } else { frames.saturating_sub(queued) };
        }
        let taken = stream.queue.push(src, most);
        self.bytes_unsent += taken;
        let Some(stream) = self.stream_mut(key) else { return Ok(taken) };
        if taken == len {
            if finish == Finish::Yes {
                stream.send = SendState::Finishing;
            }
        } else {
            stream.write_blocked = true;
            let for_stall = window == 0;
            let for_session = room.within_window < window;
            if for_session && !std::mem::replace(&mut stream.in_send_waiters, true) {
                self.queue_send_waiter(key);
            }
            if for_stall {
                self.watch_for_stall(key);
            }
            if lacks_room {
                self.wait_for_room(key);
            }
        }
        self.stats.window_stalls += u64::from(taken < len && window < len);
        self.restate(key);
        self.make_ready(key);
        Ok(taken)
    }

    /// How much a stream's writer may hand over now.
    ///
    /// What the peer's window has no room for has a budget of its own: streams that nobody reads
    /// must not hold the buffers of those that are read.
    fn send_room(&self, key: StreamKey) -> SendRoom {
        let Some(stream) = self.stream(key) else { return SendRoom::default() };
        let budget = self.config.session_send_buffer;
        let stream_room = self.config.stream_send_buffer.saturating_sub(stream.queue.len());
        let moving = self.bytes_unsent - self.bytes_stalled;
        let (window, free) = self.send_window_room(stream);
        // Credit can turn any amount of stalled bytes into moving ones, so there is a bound for both. A part is kept
        // for what never waits for the peer's memory: that of others, which do, must not hold it up.
        let all = (2 * budget).saturating_sub(self.bytes_unsent);
        let unused = if free < window { all.saturating_sub(budget / 4).max(free.min(all)) } else { all };
        let within_window = window.min(budget.saturating_sub(moving)).min(stream_room).min(unused);
        let both = unused - within_window;
        let beyond_window = if within_window == window {
            budget.saturating_sub(self.bytes_stalled).min(both).min(stream_room - within_window)
        } else {
            0
        };
        SendRoom { window, within_window, beyond_window }
    }

    /// Counts anew what of a stream's queue its window has no room for.
    pub(super) fn restate(&mut self, key: StreamKey) {
        let Some(stream) = self.stream_mut(key) else { return };
        let stalled = stream.queue.len() - stream.sendable();
        let before = std::mem::replace(&mut stream.stalled, stalled);
        self.bytes_stalled = self.bytes_stalled + stalled - before;
        if stalled > 0 {
            self.watch_for_stall(key);
        }
    }

    fn writable(&self, key: StreamKey) -> Result<(), WriteError> {
        let Some(stream) = self.stream(key) else {
            return Err(WriteError::SessionClosed(self.end.clone().unwrap_or(FORGOTTEN)));
        };
        match (stream.reset, &self.end) {
            (Some(Reset::ByPeer(code)), _) => Err(WriteError::Reset(code)),
            (Some(Reset::Locally(code)), _) => Err(WriteError::ResetLocally(code)),
            (None, Some(end)) => Err(WriteError::SessionClosed(end.clone())),
            (None, None) if stream.send != SendState::Open => Err(WriteError::Finished),
            (None, None) => Ok(()),
        }
    }

    /// Sends a FIN behind what was written. Finishing twice is harmless.
    ///
    /// # Errors
    ///
    /// When the stream was reset or the session ended.
    pub fn finish(&mut self, key: StreamKey) -> Result<(), WriteError> {
        match self.write_with(key, &mut &[][..], Finish::Yes) {
            Ok(_) | Err(WriteError::Finished) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Lets the peer know of a stream before there is anything to say on it: by an empty frame, or by one with
    /// its type. Of a stream that it knows of, nothing is sent.
    pub fn announce(&mut self, key: StreamKey) {
        if let Some(stream) = self.stream_mut(key).filter(|stream| stream.id.is_none()) {
            stream.announce = true;
            self.make_ready(key);
        }
    }

    /// Whether all that was written is in the output, and what announces the stream at least. If not, an
    /// [`Event::Writable`] follows.
    ///
    /// # Errors
    ///
    /// When the stream was reset, or the session ended.
    pub fn poll_sent(&mut self, key: StreamKey) -> Result<bool, WriteError> {
        match self.writable(key) {
            Ok(()) | Err(WriteError::Finished) => {}
            Err(error) => return Err(error),
        }
        self.announce(key);
        let Some(stream) = self.stream_mut(key) else { return Ok(true) };
        let sent = stream.queue.is_empty() && stream.id.is_some() && stream.send != SendState::Finishing;
        stream.write_blocked |= !sent;
        Ok(sent)
    }

    /// Ends a stream in both directions; what was not sent is dropped. The peer gets an RST, if it
    /// has heard of the stream and does not consider it over.
    pub fn reset(&mut self, key: StreamKey, code: ErrorCode) {
        self.discard_unread(key);
        self.reset_with(key, code);
    }

    pub(super) fn reset_with(&mut self, key: StreamKey, code: ErrorCode) {
        let alive = self.end.is_none();
        let Some(stream) = self.stream_mut(key).filter(|stream| stream.reset.is_none()) else { return };
        // Towards ngrok's crate a code of 0 would read as no reset at all (PROTOCOL §6).
        let code = if code == ErrorCode::NO_ERROR { ErrorCode::CANCELLED } else { code };
        if let Some(id) = stream.id.filter(|_| alive && !stream.is_over()) {
            stream.rst_owed = Some(code);
            if !std::mem::replace(&mut stream.control, true) {
                self.queue_control(key);
            }
            self.recently_reset.insert(id);
        }
        self.mark_reset(key, Reset::Locally(code));
    }

    /// Gives a stream's handle back. An unfinished stream is reset with `CANCELLED`; what was
    /// finished is still sent first.
    pub fn release(&mut self, key: StreamKey) {
        self.handles -= 1;
        let freed = self.discard_unread(key);
        let (ended, draining) = (self.end.is_some(), self.is_draining());
        let Some(stream) = self.stream_mut(key) else { return };
        stream.owner = Owner::Nobody;
        let still_sending = stream.send == SendState::Finishing;
        if ended && draining && stream.is_drained() {
            // It is sent to its end, and credited, before the session's.
        } else if ended {
            self.remove(key);
        } else if stream.is_over() {
            self.settle(key);
        } else if still_sending {
            // The reset follows the FIN, if the peer has not finished by then.
            // Until then what comes is thrown away, and credited: the peer may write before it reads.
            stream.discard = true;
            self.consumed(key, freed);
        } else {
            self.reset_with(key, ErrorCode::CANCELLED);
        }
    }

    /// The reading half's handle is gone while the writing half lives: what comes is thrown away.
    pub fn stop_reading(&mut self, key: StreamKey) {
        let freed = self.discard_unread(key);
        if let Some(stream) = self.stream_mut(key) {
            stream.discard = true;
            self.consumed(key, freed);
        }
    }

    /// The stream's id; `None` before its SYN is queued.
    pub fn stream_id(&self, key: StreamKey) -> Option<StreamId> {
        self.stream(key)?.id
    }

    /// Whether all that was written has been put into frames.
    pub fn is_sent(&self, key: StreamKey) -> bool {
        self.stream(key).is_none_or(|stream| stream.queue.is_empty())
    }

    /// Whether both directions have ended.
    pub fn is_over(&self, key: StreamKey) -> bool {
        self.end.is_some() || self.stream(key).is_none_or(super::stream::Stream::is_over)
    }

    /// Whether both directions have ended, and all that came was read.
    pub fn is_read_out(&self, key: StreamKey) -> bool {
        self.stream(key).is_some_and(|stream| stream.is_over() && stream.buffer.len() == 0)
    }

    /// Counts bytes that are out of the way, and owes credit once it is worth a frame. There is
    /// none for streams that will bring nothing more.
    pub(super) fn consumed(&mut self, key: StreamKey, n: usize) {
        let least = (self.config.window_size / 2).min(LEAST_CREDIT);
        let ended = self.end.is_some() && !self.is_draining();
        let Some(stream) = self.stream_mut(key) else { return };
        if stream.recv != RecvState::Open {
            self.consumed_late(key, n);
            return;
        }
        stream.consumed = stream.consumed.saturating_add(u32::try_from(n).unwrap_or(u32::MAX));
        let consumed = stream.consumed;
        if consumed < least || ended || consumed < self.credit_threshold() {
            return;
        }
        let Some(stream) = self.stream_mut(key) else { return };
        if !std::mem::replace(&mut stream.control, true) {
            self.queue_control(key);
        }
    }

    pub(super) fn wake_writer(&mut self, key: StreamKey) {
        if let Some(stream) = self.stream_mut(key).filter(|stream| stream.write_blocked) {
            stream.write_blocked = false;
            self.events.push_back(Event::Writable(key));
        }
    }
}

/// Bytes that may be taken from a writer.
#[derive(Clone, Copy, Default)]
struct SendRoom {
    /// As far as the peer is concerned.
    window: usize,
    within_window: usize,
    beyond_window: usize,
}

/// A key that names nothing: the session ended before the stream could.
const FORGOTTEN: SessionError = SessionError::Closed(ErrorCode::NO_ERROR);

fn gone(end: Option<SessionError>) -> ReadError {
    ReadError::SessionClosed(end.unwrap_or(FORGOTTEN))
}
