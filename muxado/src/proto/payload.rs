//! What becomes of the payload of DATA, and of the end behind it.

use std::time::Instant;

use super::{
    buffer::SHARE_FROM,
    event::Event,
    incoming::Input,
    session::Session,
    stream::{Owner, RecvState, SendState, StreamKey, Typing},
};
use crate::error::ErrorCode;

/// Unread bytes of the session from which on payloads are copied, however large: a slice keeps the
/// whole read buffer alive, up to four times its size.
const SHARE_WHILE: usize = 4 * 1024 * 1024;

impl Session {
    pub(super) fn handle_payload(
        &mut self,
        key: StreamKey,
        input: &mut Input<'_>,
        mut n: usize,
        now: Instant,
    ) {
        let Some(stream) = self.stream_mut(key) else {
            input.advance(n);
            return;
        };
        stream.received += n as u64;
        if let Typing::Awaiting { bytes: mut read, mut have, listed } = stream.typing {
            let part = n.min(4 - have);
            read[have..have + part].copy_from_slice(&input.rest()[..part]);
            have += part;
            input.advance(part);
            n -= part;
            stream.consumed += part as u32;
            stream.typing = Typing::Awaiting { bytes: read, have, listed };
            if have < 4 {
                self.limit_typing(key, now);
                return;
            }
            self.handle_type(key, u32::from_be_bytes(read));
        }
        if n == 0 {
            return;
        }
        let share = self.bytes_unread < SHARE_WHILE;
        let Some(stream) = self.stream_mut(key) else {
            input.advance(n);
            return;
        };
        if stream.owner.is_heartbeat() {
            self.handle_heartbeat_bytes(key, &input.rest()[..n], now);
            input.advance(n);
            self.consumed(key, n);
        } else if stream.discard || stream.reset.is_some() {
            input.advance(n);
            self.consumed(key, n);
        } else {
            if n >= SHARE_FROM && share {
                stream.buffer.push_shared(input.split_to(n));
            } else {
                stream.buffer.push_copy(&input.rest()[..n]);
                input.advance(n);
            }
            // Before it is accepted nobody can wait for it.
            if stream.owner == Owner::Handle {
                self.events.push_back(Event::Readable(key));
            }
            self.bytes_unread += n;
            self.bound_unread(now);
        }
    }

    pub(super) fn handle_fin(&mut self, key: StreamKey) {
        let ended = self.end.is_some();
        let Some(stream) = self.stream_mut(key).filter(|stream| stream.recv == RecvState::Open) else {
            return;
        };
        // What came behind the session's end was thrown away: that is no end of data.
        stream.recv = if ended { RecvState::Reset } else { RecvState::Finished };
        let (typing, owner) = (stream.typing, stream.owner);
        self.begin_late_credit(key);
        let Some(stream) = self.stream_mut(key) else { return };
        match (typing, owner) {
            // It ended before it said what it was.
            (Typing::Awaiting { .. }, _) => self.reset_with(key, ErrorCode::STREAM_RESET),
            (_, Owner::HeartbeatRequester) => self.heartbeat_refused(),
            (_, Owner::HeartbeatResponder { .. }) => {
                if stream.send == SendState::Open {
                    stream.send = SendState::Finishing;
                }
                self.make_ready(key);
            }
            (_, owner) => {
                let is_told = self.events.back() == Some(&Event::Readable(key));
                if owner == Owner::Handle && !is_told {
                    self.events.push_back(Event::Readable(key));
                }
                self.settle(key);
            }
        }
    }

    /// Over the session's receive memory the fullest stream goes; the reader never stops.
    fn bound_unread(&mut self, now: Instant) {
        if self.bytes_unread <= self.config.session_receive_memory / 4 {
            return;
        }
        self.press_credit();
        while self.bytes_unread > self.config.session_receive_memory {
            let fullest = self.streams.iter().max_by_key(|(_, stream)| stream.buffer.len());
            let Some((index, stream)) = fullest else { return };
            let key = StreamKey { index: index as u32, serial: stream.serial };
            if let Some(line) = self.logged.overfull.admit(now) {
                tracing::warn!(stream = ?stream.id, unread = stream.buffer.len(), suppressed = line.suppressed,
                    "session holds more than Config::session_receive_memory unread; resetting the fullest stream");
            }
            self.discard_unread(key);
            self.reset_with(key, ErrorCode::ENHANCE_YOUR_CALM);
        }
    }

    pub(super) fn discard_unread(&mut self, key: StreamKey) -> usize {
        let Some(stream) = self.stream_mut(key) else { return 0 };
        let freed = stream.buffer.clear();
        if freed > 0 && stream.recv == RecvState::Finished {
            // What was thrown away must not look as if it had never been there.
            stream.recv = RecvState::Reset;
        }
        self.bytes_unread -= freed;
        freed
    }
}
