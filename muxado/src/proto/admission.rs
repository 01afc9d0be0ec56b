//! How streams of the peer come in: refused before anything of them is kept, or taken into the
//! backlog, on a typed session once their type is known.

use std::time::Instant;

use super::{
    event::Event,
    frame::{FrameHeader, ProtocolError, StreamId},
    session::Session,
    stream::{Owner, RecvState, SendState, Stream, StreamKey, Typing},
};
use crate::error::ErrorCode;

impl Session {
    /// Decides on a new stream before anything of it is kept.
    pub(super) fn handle_syn(
        &mut self,
        id: StreamId,
        header: FrameHeader,
        now: Instant,
    ) -> Result<Option<StreamKey>, ProtocolError> {
        if self.side.owns(id) {
            return Err(ProtocolError::WrongParity(id));
        }
        self.recently_reset.remove(id);
        self.highest_remote_id = self.highest_remote_id.max(id.as_u32());
        let untyped = self.typed && header.length < 4;
        let backlog_full = self.backlog_len + self.untyped_len >= self.config.accept_backlog
            || (untyped && self.untyped_len >= self.config.max_untyped_streams);
        let refuses = self.going_away || self.refuse_streams || self.end.is_some();
        let refusal = if refuses || self.open_there >= self.config.max_streams {
            Some(ErrorCode::STREAM_REFUSED)
        } else if header.length > self.config.window_size {
            Some(ErrorCode::FLOW_CONTROL_ERROR)
        } else if backlog_full {
            Some(ErrorCode::ACCEPT_QUEUE_FULL)
        } else {
            None
        };
        if let Some(code) = refusal {
            if let Some(line) = self.logged.refused.admit(now) {
                tracing::debug!(%id, %code, suppressed = line.suppressed, "stream refused");
            }
            self.stats.streams_refused += 1;
            self.recently_reset.insert(id);
            self.reply(id, code)?;
            return Ok(None);
        }
        let key = self.insert(Owner::Backlog, false);
        self.ids.insert(id, key.index);
        self.open_there += 1;
        self.stats.streams_accepted += 1;
        if let Some(stream) = self.stream_mut(key) {
            stream.id = Some(id);
            stream.on_wire = true;
            stream.came_at = Some(now);
        }
        if self.typed {
            self.untyped_len += 1;
            if let Some(stream) = self.stream_mut(key) {
                stream.typing = Typing::Awaiting { bytes: [0; 4], have: 0, listed: false };
            }
            if header.length == 0 {
                self.limit_typing(key, now);
            }
        } else {
            self.enqueue(key);
        }
        Ok(Some(key))
    }

    /// A stream that says nothing of itself yet: it waits beside the backlog, in nobody's way.
    pub(super) fn await_type(&mut self, key: StreamKey, now: Instant) {
        let Some(stream) = self.stream_mut(key) else { return };
        let mut read = [0; 4];
        let have = stream.buffer.read(&mut &mut read[..]);
        let finished = stream.recv == RecvState::Finished;
        stream.typing = Typing::Awaiting { bytes: read, have, listed: false };
        self.bytes_unread -= have;
        self.untyped_len += 1;
        self.consumed(key, have);
        if have == read.len() {
            self.handle_type(key, u32::from_be_bytes(read));
            self.hand_over_heartbeats(key, now);
        } else if finished {
            // It ended before it said what it was.
            self.reset_with(key, ErrorCode::STREAM_RESET);
            self.settle(key);
        } else {
            self.limit_typing(key, now);
        }
    }

    /// What came behind the type of a stream that turned out to be one of heartbeats.
    fn hand_over_heartbeats(&mut self, key: StreamKey, now: Instant) {
        let is_heartbeat = |stream: &&mut Stream| matches!(stream.owner, Owner::HeartbeatResponder { .. });
        let Some(stream) = self.stream_mut(key).filter(is_heartbeat) else { return };
        let mut early = std::mem::take(&mut stream.buffer);
        if stream.recv == RecvState::Finished && stream.send == SendState::Open {
            stream.send = SendState::Finishing;
        }
        self.bytes_unread -= early.len();
        while let Some(chunk) = early.pop(usize::MAX) {
            self.handle_heartbeat_bytes(key, &chunk, now);
            self.consumed(key, chunk.len());
        }
        self.make_ready(key);
        self.settle(key);
    }

    /// A stream whose first frame did not bring all of its type has only so much time for it.
    pub(super) fn limit_typing(&mut self, key: StreamKey, now: Instant) {
        let Some(stream) = self.stream_mut(key) else { return };
        let Typing::Awaiting { listed: listed @ false, .. } = &mut stream.typing else { return };
        *listed = true;
        let Some(deadline) = now.checked_add(self.config.type_timeout) else { return };
        if self.untyped.len() > 2 * self.untyped_len + 64 {
            let mut untyped = std::mem::take(&mut self.untyped);
            untyped.retain(|(key, _)| self.awaits_type(*key));
            self.untyped = untyped;
        }
        self.untyped.push_back((key, deadline));
    }

    pub(super) fn awaits_type(&self, key: StreamKey) -> bool {
        self.stream(key).is_some_and(|stream| matches!(stream.typing, Typing::Awaiting { .. }))
    }

    fn enqueue(&mut self, key: StreamKey) {
        if self.refuse_streams {
            if let Some(stream) = self.stream_mut(key) {
                stream.owner = Owner::Nobody;
            }
            self.reset_with(key, ErrorCode::STREAM_REFUSED);
            return;
        }
        if self.backlog.len() > 2 * self.backlog_len + 64 {
            let mut backlog = std::mem::take(&mut self.backlog);
            backlog.retain(|key| self.stream(*key).is_some_and(|stream| stream.owner == Owner::Backlog));
            self.backlog = backlog;
        }
        self.backlog.push_back(key);
        self.backlog_len += 1;
        if self.backlog_len == 1 {
            // Who waits for a second one was told of the first.
            self.events.push_back(Event::Acceptable);
        }
    }

    pub(super) fn handle_type(&mut self, key: StreamKey, stream_type: u32) {
        let heartbeat = self.heartbeat_type == stream_type;
        let Some(stream) = self.stream_mut(key) else { return };
        stream.typing = Typing::Typed(stream_type);
        self.untyped_len -= 1;
        if heartbeat {
            self.adopt_responder(key);
        } else if self.is_control(stream_type) {
            self.adopt_control(key);
        } else {
            self.enqueue(key);
        }
    }

    /// Resets streams whose type did not come in time.
    pub(super) fn expire_untyped(&mut self, now: Instant) {
        while let Some((key, deadline)) = self.untyped.front().copied() {
            let waiting = self.awaits_type(key);
            if waiting && deadline > now {
                return;
            }
            self.untyped.pop_front();
            if waiting {
                self.reset_with(key, ErrorCode::CANCELLED);
            }
        }
    }
}
