//! The end of a session on which something that was finished is still being sent.

use bytes::Bytes;

use super::{
    session::Session,
    stream::{Owner, RecvState, SendState, Stream, StreamKey},
};
use crate::error::{ErrorCode, SessionError};

impl Session {
    /// Ends the session for `reason`; the go-away follows what was finished before.
    pub(super) fn drain_and_end(&mut self, reason: SessionError, go_away: (ErrorCode, Bytes)) {
        if self.end.is_some() {
            return;
        }
        self.flush_all_finished();
        if self.is_anything_finishing() {
            self.last_words = Some(go_away);
            self.finish_session(reason, None);
            self.answer_what_came();
        } else {
            self.finish_session(reason, Some(go_away));
        }
    }

    /// Whether the session has ended, but for what was finished before and is still being sent.
    pub const fn is_draining(&self) -> bool {
        self.last_words.is_some()
    }

    /// Gives up what is still being sent: the go-away is next.
    pub fn stop_draining(&mut self) {
        if let Some((code, debug)) = self.last_words.take() {
            self.ready.clear();
            self.control.clear();
            self.replies.clear();
            self.ids.clear();
            self.put_go_away(code, &debug);
        }
    }

    /// The go-away follows once all is in the output.
    pub(super) fn end_drain_if_sent(&mut self) {
        if self.is_draining() && !self.is_anything_finishing() {
            self.stop_draining();
        }
    }

    /// What came before the session's end is credited, or echoed, as what comes behind it: nobody need read it.
    fn answer_what_came(&mut self) {
        let kept = self.streams.iter().filter(|(_, stream)| stream.is_drained());
        let kept: Vec<_> = kept
            .map(|(index, s)| (StreamKey { index: index as u32, serial: s.serial }, s.buffer.len()))
            .collect();
        for (key, unread) in kept {
            self.consumed(key, unread);
            self.make_ready(key);
        }
    }

    fn is_anything_finishing(&self) -> bool {
        self.streams.iter().any(|(_, stream)| stream.is_finishing())
    }

    fn flush_all_finished(&mut self) {
        let keys: Vec<_> = self.ready.drain(..).collect();
        self.flush_finished(&keys);
    }
}

impl Stream {
    /// It is of concern while the session drains: it is still being sent, or what the peer still sends on it is
    /// credited, or echoed, so that the peer comes to its own end and does not take this side for dead.
    pub(super) fn is_drained(&self) -> bool {
        let is_read = self.id.is_some() && self.recv == RecvState::Open && self.reset.is_none();
        self.is_finishing() || (is_read && self.owner != Owner::HeartbeatRequester)
    }

    /// All was written, and not all of it is sent.
    pub(super) fn is_finishing(&self) -> bool {
        self.send == SendState::Finishing && self.reset.is_none() && !self.owner.is_heartbeat()
    }
}
