//! How a session ends: go-away, close, and the time in between in which what was finished is still being sent.

use std::time::Duration;

use bytes::Bytes;

use super::{
    error::ProtocolError,
    event::Event,
    session::Session,
    stream::{Owner, Stream},
    timers::Timer,
};
use crate::error::{ErrorCode, GoAway, SessionEnd, SessionError};

/// How far the end of a session has come.
#[derive(Debug, Default)]
pub(super) struct Closing {
    /// This side takes and opens no new streams.
    going_away: bool,
    /// What the peer's go-away said.
    remote: Option<Box<GoAway>>,
    /// Why the session has ended.
    end: Option<Box<SessionError>>,
    /// The session has ended, and its go-away waits for streams that were finished before.
    draining: Option<Box<(ErrorCode, Bytes)>>,
    /// The session is closed with this code once what was finished is sent.
    pending_close: Option<ErrorCode>,
}

impl Session {
    /// Sends a go-away and refuses new streams, in both directions; open ones run on.
    pub fn go_away(&mut self) {
        if !self.closing.going_away && !self.has_ended() {
            self.closing.going_away = true;
            self.send.queue_go_away();
            self.events.note_capacity();
            self.notice_idle();
        }
    }

    /// Ends the session: streams fail, and a GOAWAY with this code is the last frame sent. What was finished before is
    /// still sent as far as the windows allow.
    pub fn close(&mut self, code: ErrorCode, debug: Bytes) {
        self.end_session(SessionError::Closed(code), Some((code, debug)));
    }

    /// Ends the session as [`close`](Self::close) does, but what was finished before is sent to its end, as credit for it
    /// comes.
    ///
    /// The GOAWAY follows then, or with [`stop_draining`](Self::stop_draining). Until then
    /// [`is_draining`](Self::is_draining) is true, and input is still to be given to [`receive`](Self::receive).
    pub fn close_draining(&mut self, code: ErrorCode, debug: Bytes) {
        if self.has_ended() {
            return;
        }
        self.flush_finished();
        let reason = SessionError::Closed(code);
        if self.is_anything_finishing() {
            self.closing.draining = Some(Box::new((code, debug)));
            self.end_session(reason, None);
            self.answer_what_came();
        } else {
            self.end_session(reason, Some((code, debug)));
        }
    }

    /// Ends the session once all that was finished is sent, after `Config::close_timeout` in any case: nobody uses it
    /// any more.
    pub fn close_when_sent(&mut self, code: ErrorCode, now: std::time::Instant) {
        if !self.has_ended() {
            self.refuse_streams();
            self.closing.pending_close = Some(code);
            let deadline = now.checked_add(self.config.close_timeout).unwrap_or(now);
            self.timers.set(Timer::Close, Some(deadline));
            self.close_if_sent();
        }
    }

    /// Closes the session, if [`close_when_sent`](Self::close_when_sent) was called and all is sent.
    #[inline]
    pub(super) fn close_if_sent(&mut self) {
        if self.closing.pending_close.is_some()
            && !self.store.iter().any(|(_, stream)| stream.send.is_finishing())
        {
            self.close_pending();
        }
    }

    /// Closes the session, if [`close_when_sent`](Self::close_when_sent) was called.
    pub(super) fn close_pending(&mut self) {
        if let Some(code) = self.closing.pending_close {
            self.close(code, Bytes::new());
        }
    }

    /// Ends the session as [`close_draining`](Self::close_draining) does, and refuses the streams that were not
    /// accepted yet, so that their openers may try again. Returns how many others were open, apart from those of
    /// heartbeats.
    pub fn close_refusing(&mut self, code: ErrorCode, debug: Bytes) -> usize {
        let waits = |stream: &Stream| stream.is_on_wire() && stream.owner() == Owner::Backlog;
        let waiting = self.store.iter().filter(|(_, stream)| waits(stream)).count();
        let cut = self.streams_in_use().saturating_sub(waiting);
        self.refuse_streams();
        self.close_draining(code, debug);
        cut
    }

    /// Ends the session because the transport has taken nothing of what waits for it for so long: the peer does not read.
    pub fn handle_write_stall(&mut self, timeout: Duration) {
        self.end_session(SessionError::WriteTimeout(timeout), None);
    }

    /// Ends the session because the transport has ended: cleanly with `None`, or with this error. `bytes_left` is how
    /// many bytes [`receive`](Self::receive) has left.
    pub fn handle_transport_end(&mut self, error: Option<std::io::Error>, bytes_left: usize) {
        let mid_frame = bytes_left > 0 || self.recv.is_mid_frame();
        let reason = match (self.closing.remote.clone(), error) {
            (Some(go_away), _) => SessionError::ClosedByPeer(*go_away),
            (None, Some(error)) => error.into(),
            (None, None) => SessionError::PeerEof { mid_frame },
        };
        self.end_session(reason, None);
    }

    /// Ends the session because its driver is gone: nothing is read or written any more. What is not needed for what can
    /// still be read is freed, whatever handles there are.
    pub fn handle_driver_dropped(&mut self) {
        self.end_session(SessionError::DriverDropped, None);
        self.stop_draining();
        self.send.drop_output();
        self.free_ended();
    }

    /// Frees what belonged to streams that are over, and memory that nothing is in.
    fn free_ended(&mut self) {
        let whole_only = self.accept.whole_only();
        let (recv, send) = (&mut self.recv, &mut self.send);
        self.store.retain(|stream| {
            send.drop_queued(&mut stream.send);
            let held = match stream.owner() {
                Owner::Handle => true,
                Owner::Backlog => stream.is_worth_accepting(whole_only),
                _ => false,
            };
            if !held {
                recv.forget(&stream.recv);
            }
            held
        });
        self.store.forget_ids();
        self.shrink();
    }

    /// Ends the session because the peer broke a rule.
    pub(super) fn handle_violation(&mut self, error: ProtocolError) {
        if self.has_ended() {
            self.recv.discard_input();
            self.stop_draining();
            return;
        }
        // Behind a go-away, ngrok's crate sends bytes that are no frame (PROTOCOL §7).
        let is_framing = !matches!(error, ProtocolError::Excessive(_));
        if let Some(go_away) = self.closing.remote.clone().filter(|_| is_framing) {
            self.end_session(SessionError::ClosedByPeer(*go_away), None);
            return;
        }
        let code = error.code();
        let debug = Bytes::from(error.to_string());
        self.end_session(SessionError::Protocol(error), Some((code, debug)));
    }

    /// Returns why the session has ended, if it has.
    pub fn end(&self) -> Option<SessionEnd> {
        let local = self.local_end()?.clone();
        Some(SessionEnd { local, remote: self.remote_go_away().cloned() })
    }

    /// Returns this side's reason of the session's end.
    #[inline]
    pub(super) fn local_end(&self) -> Option<&SessionError> {
        self.closing.end.as_deref()
    }

    /// Returns whether the session has ended.
    #[inline]
    pub const fn has_ended(&self) -> bool {
        self.closing.end.is_some()
    }

    /// Returns whether the session has ended, but what was finished before is still being sent.
    #[inline]
    pub const fn is_draining(&self) -> bool {
        self.closing.draining.is_some()
    }

    /// Returns whether [`open`](Self::open) is an error, whatever the limits.
    pub fn refuses_opens(&self) -> bool {
        self.has_ended() || self.closing.remote.is_some() || self.closing.going_away
    }

    /// Returns whether this side takes no new streams.
    pub(super) const fn is_going_away(&self) -> bool {
        self.closing.going_away
    }

    /// Returns what the peer's go-away said, if there was one.
    #[inline]
    pub(super) fn remote_go_away(&self) -> Option<&GoAway> {
        self.closing.remote.as_deref()
    }

    /// Notes the peer's go-away; returns whether it is the first.
    pub(super) fn note_remote_go_away(&mut self, go_away: GoAway) -> bool {
        let is_first = self.closing.remote.is_none();
        if is_first {
            self.closing.remote = Some(Box::new(go_away));
            self.events.note_capacity();
        }
        is_first
    }

    /// Tells whoever waits for it that no stream is open any more, if that is so.
    pub(super) fn notice_idle(&mut self) {
        if self.closing.going_away && self.is_idle() {
            self.events.push(Event::Idle);
        }
    }

    /// Ends the session for `reason`; the peer gets `go_away` as the last frame, if there is any.
    pub(super) fn end_session(&mut self, reason: SessionError, go_away: Option<(ErrorCode, Bytes)>) {
        if self.has_ended() {
            return;
        }
        tracing::debug!(side = ?self.side(), %reason, "session ends");
        if let Some(suppressed) = self.recv.take_suppressed_log() {
            tracing::warn!(suppressed, "further streams were reset over Config::session_receive_memory");
        }
        // What was finished before is still sent; everything else is cut.
        self.forget_peer_memory();
        self.flush_finished();
        self.send.clear_lists();
        self.accept.end();
        self.stalls.end();
        self.timers.stop_all();
        if !self.is_draining() {
            self.recv.end(matches!(reason, SessionError::Closed(_) | SessionError::IdleTimeout(_)));
        }
        if let Some((code, debug)) = go_away {
            self.send.put_go_away(self.store.highest_remote_id(), code, &debug);
        }
        self.closing.end = Some(Box::new(reason));
        self.drop_streams();
        self.events.push(Event::Ended);
    }

    /// Drops the streams that nothing more can become of.
    fn drop_streams(&mut self) {
        let (draining, whole_only) = (self.is_draining(), self.accept.whole_only());
        let (recv, send) = (&mut self.recv, &mut self.send);
        let mut backlog = 0;
        self.store.retain(|stream| {
            stream.outlive_session();
            let finishing = draining && stream.is_finishing();
            let drains = draining && stream.is_draining();
            if whole_only && stream.recv.is_cut() && !drains {
                // It failed before the session did, and what came of it is no message.
                recv.discard(&mut stream.recv);
            }
            let is_worth_accepting = stream.is_worth_accepting(whole_only);
            if drains {
                // Nobody reads it any more; the peer may write before it reads.
                stream.recv.start_discarding();
                if stream.owner() == Owner::Backlog && !is_worth_accepting {
                    stream.abandon();
                }
            }
            if !finishing {
                send.drop_queued(&mut stream.send);
            }
            let is_backlog = stream.owner() == Owner::Backlog;
            // What waits can still be accepted, and read to its end.
            let held = drains || stream.owner() == Owner::Handle || (is_backlog && is_worth_accepting);
            if held {
                backlog += usize::from(is_backlog);
            } else {
                recv.forget(&stream.recv);
                send.forget(&stream.send);
            }
            held
        });
        self.accept.set_backlog_len(backlog);
        self.store.retain_ids(|stream| draining && stream.is_draining());
        self.counts.clear_streams();
        self.control_streams.end();
    }

    /// Gives up what is still being sent: the go-away is next.
    pub fn stop_draining(&mut self) {
        if let Some((code, debug)) = self.closing.draining.take().map(|go_away| *go_away) {
            self.send.clear_lists();
            self.store.free_all_ids();
            self.send.put_go_away(self.store.highest_remote_id(), code, &debug);
        }
    }

    /// Sends the go-away, if the session is draining and all is in the output.
    #[inline]
    pub(super) fn end_drain_if_sent(&mut self) {
        if self.is_draining() && !self.is_anything_finishing() {
            self.stop_draining();
        }
    }

    /// Credits or echoes what came before the session's end, as what comes behind it: nobody need read it.
    fn answer_what_came(&mut self) {
        let kept = self.store.iter().filter(|(_, stream)| stream.is_draining());
        let kept: Vec<_> = kept.map(|(key, stream)| (key, stream.recv.unread())).collect();
        for (key, unread) in kept {
            self.consumed(key, unread);
            self.make_ready(key);
        }
    }

    fn is_anything_finishing(&self) -> bool {
        self.store.iter().any(|(_, stream)| stream.is_finishing())
    }
}
