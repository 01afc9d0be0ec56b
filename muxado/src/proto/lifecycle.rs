//! How streams and the session end, and what is freed then.

use bytes::Bytes;

use super::{
    event::Event,
    session::{PATIENCE, Session},
    stream::{Owner, RecvState, Reset, SendState, Stream, StreamKey, Typing},
};
use crate::error::{ErrorCode, SessionError};

impl Session {
    /// Ends the session for `reason`; the peer gets `go_away` as the last frame, if there is any.
    pub(super) fn finish_session(&mut self, reason: SessionError, go_away: Option<(ErrorCode, Bytes)>) {
        if self.end.is_some() {
            return;
        }
        tracing::debug!(side = ?self.side, %reason, "session ends");
        if let Some(suppressed) = self.logged.overfull.take_suppressed() {
            tracing::warn!(suppressed, "further streams were reset over Config::session_receive_memory");
        }
        // What was finished before is still sent; everything else is cut.
        let keys: Vec<_> = self.ready.drain(..).collect();
        self.flush_finished(&keys);
        self.ready.clear();
        self.control.clear();
        self.replies.clear();
        self.untyped.clear();
        self.untyped_len = 0;
        self.send_waiters.clear();
        self.accepted_unacknowledged.clear();
        self.ack_at = None;
        if !self.is_draining() {
            self.incoming.close(matches!(reason, SessionError::Closed(_) | SessionError::IdleTimeout(_)));
        }
        if let Some((code, debug)) = go_away {
            self.put_go_away(code, &debug);
        }
        self.end = Some(reason);
        self.drop_streams();
        self.events.push_back(Event::Ended);
    }

    fn drop_streams(&mut self) {
        let (draining, whole_only) = (self.is_draining(), self.whole_only);
        let (mut unread, mut waiting) = (0, 0);
        (self.bytes_unsent, self.bytes_stalled) = (0, 0);
        self.streams.retain(|_, stream| {
            stream.on_wire = false;
            stream.acknowledged = true;
            stream.ready = false;
            stream.control = false;
            let finishing = draining && stream.is_finishing();
            let drains = draining && stream.is_drained();
            if drains {
                // Nobody reads it any more; the peer may write before it reads.
                stream.discard = true;
                if stream.owner == Owner::Backlog && !stream.is_worth_accepting(whole_only) {
                    (stream.owner, stream.typing) = (Owner::Nobody, Typing::Untyped);
                }
            }
            if finishing {
                self.bytes_unsent += stream.queue.len();
                self.bytes_stalled += stream.stalled;
            } else {
                stream.queue.clear();
                stream.stalled = 0;
            }
            let held = match stream.owner {
                Owner::Handle => true,
                _ if drains => true,
                // It can still be accepted, and read to its end.
                Owner::Backlog => stream.is_worth_accepting(whole_only),
                _ => false,
            };
            waiting += usize::from(held && stream.owner == Owner::Backlog);
            unread += if held { stream.buffer.len() } else { 0 };
            held
        });
        self.backlog_len = waiting;
        self.bytes_unread = unread;
        let streams = &self.streams;
        self.ids.retain(|_, index| draining && streams.get(*index as usize).is_some_and(Stream::is_drained));
        self.open_here = 0;
        self.open_there = 0;
        self.unacknowledged = 0;
        self.heartbeat_streams = 0;
        self.heartbeats_here = 0;
        self.control_streams.on_wire = 0;
    }

    /// Ends a stream in both directions. Nothing is sent.
    pub(super) fn mark_reset(&mut self, key: StreamKey, reset: Reset) {
        let Some(stream) = self.stream_mut(key) else { return };
        stream.reset.get_or_insert(reset);
        stream.send = SendState::Done;
        if stream.recv == RecvState::Open {
            stream.recv = RecvState::Reset;
        }
        let unsent = stream.queue.clear();
        self.bytes_unsent -= unsent;
        self.restate(key);
        self.events.push_back(Event::Readable(key));
        self.events.push_back(Event::Writable(key));
        self.settle(key);
    }

    /// Frees what an ended stream no longer needs: its id, and its slot once nobody holds it.
    #[inline]
    pub(super) fn settle(&mut self, key: StreamKey) {
        // Asked after each step of a stream's end, of which the last one counts.
        if self.stream(key).is_some_and(|stream| stream.is_over() && stream.rst_owed.is_none()) {
            self.settle_ended(key);
        }
    }

    #[inline(never)]
    fn settle_ended(&mut self, key: StreamKey) {
        let base = self.config.window_size;
        let (draining, whole_only) = (self.is_draining(), self.whole_only);
        let Some(stream) = self.stream_mut(key) else { return };
        if let Some(id) = stream.id.filter(|_| draining) {
            self.ids.remove(&id);
        }
        let Some(stream) = self.stream_mut(key) else { return };
        if stream.on_wire {
            stream.on_wire = false;
            let (id, opened_here) = (stream.id, stream.opened_here);
            let earns = opened_here || stream.reset.is_none_or(Reset::is_no_fault_of_the_peers);
            let grown = stream.growth.as_ref().map_or(0, |growth| growth.held(base));
            let (beats, apart) = (stream.owner.is_heartbeat(), stream.apart);
            self.growth_left += grown;
            if let Some(id) = id {
                self.ids.remove(&id);
                self.control_streams.on_wire -= usize::from(apart);
            }
            self.heartbeat_streams -= usize::from(beats);
            self.heartbeats_here -= usize::from(beats && opened_here);
            self.leave_wire(key, opened_here, apart);
            if earns && id.is_some() {
                self.patience = self.patience.saturating_add(PATIENCE_PER_STREAM).min(PATIENCE);
            }
            self.reward_answer(key);
        }
        let Some(stream) = self.stream_mut(key) else { return };
        match stream.owner {
            Owner::Handle => return,
            Owner::Backlog if matches!(stream.typing, Typing::Awaiting { .. }) => self.untyped_len -= 1,
            // What came stays for whoever accepts it, whatever followed (PROTOCOL §4.4).
            Owner::Backlog if stream.is_worth_accepting(whole_only) => return,
            Owner::Backlog => self.backlog_len -= 1,
            Owner::Nobody | Owner::HeartbeatRequester | Owner::HeartbeatResponder { .. } => {}
        }
        self.remove(key);
    }

    fn leave_wire(&mut self, key: StreamKey, opened_here: bool, apart: bool) {
        self.incoming.forget(key);
        if apart {
            // It is not among those that are counted.
        } else if opened_here {
            self.acknowledge(key);
            self.open_here -= 1;
            self.capacity_changed = true;
        } else {
            self.open_there -= 1;
        }
        self.notice_idle();
    }

    /// The peer took a stream of ours (or it is over): it no longer counts against the burst limit.
    pub(super) fn acknowledge(&mut self, key: StreamKey) {
        if let Some(stream) = self.stream_mut(key).filter(|stream| stream.opened_here && !stream.acknowledged)
        {
            stream.acknowledged = true;
            self.unacknowledged -= 1;
            self.capacity_changed = true;
        }
    }

    pub(super) fn remove(&mut self, key: StreamKey) {
        if self.stream(key).is_none() {
            return;
        }
        let stream = self.streams.remove(key.index());
        self.bytes_unread -= stream.buffer.len();
        self.bytes_unsent -= stream.queue.len();
        self.bytes_stalled -= stream.stalled;
        self.incoming.forget(key);
    }

    /// Gives the memory back that nothing is in: of buffers, and of lists and maps that were larger
    /// once. It looks at every stream, so it is meant for a session that has come to rest.
    pub fn shrink(&mut self) {
        self.out.shrink();
        self.recently_reset.shrink();
        for (_, stream) in &mut self.streams {
            stream.buffer.shrink();
            stream.queue.shrink();
        }
        if self.streams.len() < self.streams.capacity() / 2 {
            self.streams.shrink_to_fit();
            self.ids.shrink_to_fit();
        }
        self.untyped.shrink_to_fit();
        self.accepted_unacknowledged.shrink_to_fit();
        self.replies.shrink_to_fit();
        self.events.shrink_to_fit();
        for keys in [&mut self.backlog, &mut self.ready, &mut self.control, &mut self.send_waiters] {
            keys.shrink_to_fit();
        }
    }

    pub(super) fn notice_idle(&mut self) {
        if self.going_away && self.is_idle() {
            self.events.push_back(Event::Idle);
        }
    }
}

/// Useless frames that a stream earns: what the other implementations send late for one, of their own or because a reset
/// was still under way to them.
const PATIENCE_PER_STREAM: u32 = 8;
