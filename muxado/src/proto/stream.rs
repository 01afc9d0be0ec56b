//! One stream: its two halves, who holds it, and how it ends.
//!
//! Each direction has a half of its own; a reset ends both.
//!
//! ```text
//!  send:  Open ──finish──▶ Finishing ──FIN sent──▶ Done
//!            └──────── reset, either side ───────────▲
//!  recv:  Open ──FIN received──▶ Finished
//!            └──reset, either side──▶ Reset
//! ```

use super::{
    accept::Typing, event::Event, frame::StreamId, heartbeat::Echo, recv::RecvHalf, send::SendHalf,
    session::Session, stall::StallState, store::StreamKey, timers::Moment,
};
use crate::error::{ErrorCode, ReadError, SessionError};

/// Who reset a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Reset {
    ByPeer(ErrorCode),
    Locally(ErrorCode),
}

impl Reset {
    pub(super) const fn code(self) -> ErrorCode {
        match self {
            Self::ByPeer(code) | Self::Locally(code) => code,
        }
    }

    /// Returns whether this side's application did it: the peer neither reset the stream nor broke its rules.
    const fn is_no_fault_of_the_peer(self) -> bool {
        match self {
            Self::ByPeer(_) => false,
            Self::Locally(code) => !matches!(
                code,
                ErrorCode::FLOW_CONTROL_ERROR
                    | ErrorCode::STREAM_CLOSED
                    | ErrorCode::STREAM_RESET
                    | ErrorCode::ENHANCE_YOUR_CALM
            ),
        }
    }
}

/// Who uses a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Owner {
    /// It waits to be accepted.
    Backlog,
    /// The application holds a handle.
    Handle,
    /// Its handle is gone; what was finished is still being sent.
    Nobody,
    /// This side's heartbeats.
    HeartbeatRequester,
    /// The peer's heartbeats, which this side echoes.
    HeartbeatResponder(Echo),
}

impl Owner {
    pub(super) const fn is_heartbeat(self) -> bool {
        matches!(self, Self::HeartbeatRequester | Self::HeartbeatResponder(_))
    }
}

/// A stream of either side.
#[derive(Debug)]
pub(super) struct Stream {
    /// Taken when the SYN is queued.
    id: Option<StreamId>,
    serial: u32,
    owner: Owner,
    opened_here: bool,
    /// It counts as open: from `open`, or its SYN, until it has ended in both directions.
    on_wire: bool,
    /// It is a control stream, which is not counted.
    is_control: bool,
    /// Of a stream of this side: the peer gave a sign of having taken it. Of one of the peer: this side gave one.
    acknowledged: bool,
    reset: Option<Reset>,
    /// When a stream of the peer came.
    came_at: Option<Moment>,
    /// The backlog was full then.
    over_backlog: bool,
    pub(super) typing: Typing,
    pub(super) send: SendHalf,
    pub(super) recv: RecvHalf,
    pub(super) stall: StallState,
}

impl Stream {
    pub(super) fn new(serial: u32, window: u32, owner: Owner, opened_here: bool) -> Self {
        Self {
            id: None,
            serial,
            owner,
            opened_here,
            on_wire: false,
            is_control: false,
            acknowledged: false,
            reset: None,
            came_at: None,
            over_backlog: false,
            typing: Typing::Untyped,
            send: SendHalf::new(window),
            recv: RecvHalf::new(window),
            stall: StallState::default(),
        }
    }

    #[inline]
    pub(super) const fn id(&self) -> Option<StreamId> {
        self.id
    }

    pub(super) fn set_id(&mut self, id: StreamId) {
        self.id = Some(id);
    }

    #[inline]
    pub(super) const fn serial(&self) -> u32 {
        self.serial
    }

    #[inline]
    pub(super) const fn owner(&self) -> Owner {
        self.owner
    }

    pub(super) fn set_owner(&mut self, owner: Owner) {
        self.owner = owner;
    }

    /// Returns the echo of a stream of the peer's heartbeats.
    #[inline]
    pub(super) fn echo_mut(&mut self) -> Option<&mut Echo> {
        match &mut self.owner {
            Owner::HeartbeatResponder(echo) => Some(echo),
            _ => None,
        }
    }

    #[inline]
    pub(super) const fn opened_here(&self) -> bool {
        self.opened_here
    }

    #[inline]
    pub(super) const fn is_on_wire(&self) -> bool {
        self.on_wire
    }

    pub(super) fn enter_wire(&mut self) {
        self.on_wire = true;
    }

    /// Returns when a stream of the peer came.
    pub(super) const fn came_at(&self) -> Option<Moment> {
        self.came_at
    }

    /// Returns whether the backlog was full when a stream of the peer came.
    pub(super) const fn is_over_backlog(&self) -> bool {
        self.over_backlog
    }

    /// Notes that the peer opens the stream.
    pub(super) fn come(&mut self, at: Option<Moment>, over_backlog: bool) {
        self.on_wire = true;
        self.came_at = at;
        self.over_backlog = over_backlog;
    }

    /// Makes it a control stream; returns whether that is news of a stream that counts as open.
    pub(super) fn turn_into_control(&mut self) -> bool {
        let counted = self.on_wire && !self.is_control;
        self.is_control |= counted;
        counted
    }

    pub(super) const fn is_control(&self) -> bool {
        self.is_control
    }

    #[inline]
    pub(super) const fn is_acknowledged(&self) -> bool {
        self.acknowledged
    }

    /// Notes a sign that a stream was taken; returns whether it was the first.
    #[inline]
    pub(super) fn acknowledge(&mut self) -> bool {
        !std::mem::replace(&mut self.acknowledged, true)
    }

    /// Notes that this side sends something on the stream, which acknowledges one of the peer.
    #[inline]
    pub(super) fn acknowledge_by_frame(&mut self) {
        self.acknowledged |= !self.opened_here;
    }

    #[inline]
    pub(super) const fn reset(&self) -> Option<Reset> {
        self.reset
    }

    /// Returns whether there is something for whoever accepts the stream, though nothing more comes: its end, or bytes
    /// that came before it was cut. With `whole_only` the latter do not count, nor does what cannot be answered any more.
    pub(super) fn is_worth_accepting(&self, whole_only: bool) -> bool {
        let is_whole = self.recv.is_finished() && !(whole_only && self.reset.is_some());
        !self.typing.is_awaited() && (is_whole || (self.recv.unread() > 0 && !whole_only))
    }

    /// Returns whether both directions have ended on the wire.
    #[inline]
    pub(super) fn is_over(&self) -> bool {
        self.send.is_done() && !self.recv.is_open()
    }

    /// Returns whether all was written, and not all of it is sent.
    pub(super) fn is_finishing(&self) -> bool {
        self.send.is_finishing() && self.reset.is_none() && !self.owner.is_heartbeat()
    }

    /// Returns whether the stream matters while the session drains.
    ///
    /// It does if it is still being sent, or if what the peer still sends on it is to be credited or echoed, so that
    /// the peer comes to its own end and does not take this side for dead.
    pub(super) fn is_draining(&self) -> bool {
        let is_read = self.id.is_some() && self.recv.is_open() && self.reset.is_none();
        self.is_finishing() || (is_read && self.owner != Owner::HeartbeatRequester)
    }

    /// Takes the stream off the wire, because its session has ended.
    pub(super) fn outlive_session(&mut self) {
        self.on_wire = false;
        self.acknowledged = true;
        self.send.leave_lists();
    }

    /// Leaves a stream of the peer to nobody, with what it has said of its type so far.
    pub(super) fn abandon(&mut self) {
        self.owner = Owner::Nobody;
        self.typing = Typing::Untyped;
    }

    /// Gives back memory that nothing is in.
    pub(super) fn shrink(&mut self) {
        self.recv.shrink();
        self.send.shrink();
    }
}

/// The end of a session of which there is no record: the key names nothing, since the session ended before the stream
/// could.
pub(super) const FORGOTTEN: SessionError = SessionError::Closed(ErrorCode::NO_ERROR);

impl Session {
    /// Returns why the stream can bring nothing more: it was reset by either side, or the session ended before both
    /// directions had. `None` while it has not failed.
    pub fn failure(&self, key: StreamKey) -> Option<ReadError> {
        let end = self.local_end();
        let Some(stream) = self.store.get(key) else {
            return Some(ReadError::SessionClosed(end.cloned().unwrap_or(FORGOTTEN)));
        };
        match (stream.reset, end) {
            (Some(Reset::ByPeer(code)), _) => Some(ReadError::Reset(code)),
            (Some(Reset::Locally(code)), _) => Some(ReadError::ResetLocally(code)),
            (None, Some(end)) => Some(ReadError::SessionClosed(end.clone())),
            (None, None) => None,
        }
    }

    /// Returns the stream's id; `None` before its SYN is queued.
    pub fn stream_id(&self, key: StreamKey) -> Option<StreamId> {
        self.store.get(key)?.id
    }

    /// Returns whether both directions have ended.
    pub fn is_over(&self, key: StreamKey) -> bool {
        self.has_ended() || self.store.get(key).is_none_or(Stream::is_over)
    }

    /// Returns whether both directions have ended, and all that came was read up to the peer's FIN. A reset behind it is
    /// still to be read.
    pub fn is_read_out(&self, key: StreamKey) -> bool {
        let is_out =
            |stream: &Stream| stream.is_over() && stream.recv.is_finished() && stream.recv.unread() == 0;
        self.store.get(key).is_some_and(is_out)
    }

    /// Ends a stream in both directions; what was not sent is dropped. The peer gets an RST, if it
    /// has heard of the stream and does not consider it over.
    pub fn reset(&mut self, key: StreamKey, code: ErrorCode) {
        self.discard_unread(key);
        self.reset_with(key, code);
    }

    /// As [`reset`](Self::reset), but what came can still be read.
    pub(super) fn reset_with(&mut self, key: StreamKey, code: ErrorCode) {
        let alive = !self.has_ended();
        let Some(stream) = self.store.get(key).filter(|stream| stream.reset.is_none()) else { return };
        // Towards ngrok's crate a code of 0 would read as no reset at all (PROTOCOL §6).
        let code = if code == ErrorCode::NO_ERROR { ErrorCode::CANCELLED } else { code };
        if let Some(id) = stream.id.filter(|_| alive && !stream.is_over()) {
            self.queue_reset(key);
            self.store.note_reset(id);
        }
        self.mark_reset(key, Reset::Locally(code));
    }

    /// Ends a stream in both directions. Nothing is sent.
    pub(super) fn mark_reset(&mut self, key: StreamKey, reset: Reset) {
        let Some(stream) = self.store.get_mut(key) else { return };
        stream.reset.get_or_insert(reset);
        stream.recv.cut();
        self.send.end(&mut stream.send);
        self.events.push(Event::Readable(key));
        self.events.push(Event::Writable(key));
        self.try_release(key);
    }

    /// Gives a stream's handle back. An unfinished stream is reset with `CANCELLED`; what was
    /// finished is still sent first.
    pub fn release(&mut self, key: StreamKey) {
        self.counts.remove_handle();
        let freed = self.discard_unread(key);
        let (ended, draining) = (self.has_ended(), self.is_draining());
        let Some(stream) = self.store.get_mut(key) else { return };
        stream.owner = Owner::Nobody;
        if ended && draining && stream.is_draining() {
            // It is sent to its end, and credited, before the session's.
        } else if ended {
            self.remove(key);
        } else if stream.is_over() {
            self.try_release(key);
        } else if stream.send.is_finishing() {
            // The reset follows the FIN, if the peer has not finished by then.
            // Until then what comes is thrown away, and credited: the peer may write before it reads.
            stream.recv.start_discarding();
            self.consumed(key, freed);
        } else {
            self.reset_with(key, ErrorCode::CANCELLED);
        }
    }

    /// Frees what an ended stream no longer needs: its id, and its slot once nobody holds it.
    #[inline]
    pub(super) fn try_release(&mut self, key: StreamKey) {
        // Called after each step of a stream's end, of which the last one counts.
        if self.store.get(key).is_some_and(|stream| stream.is_over() && !stream.send.has_pending_reset()) {
            self.release_ended(key);
        }
    }

    #[inline(never)]
    fn release_ended(&mut self, key: StreamKey) {
        let draining = self.is_draining();
        let Some(stream) = self.store.get_mut(key) else { return };
        let id = stream.id;
        let left_wire = std::mem::take(&mut stream.on_wire);
        if let Some(id) = id.filter(|_| draining || left_wire) {
            self.store.free_id(id);
        }
        if left_wire {
            self.leave_wire(key);
        }
        let Some(stream) = self.store.get(key) else { return };
        match stream.owner {
            Owner::Handle => return,
            Owner::Backlog if !self.accept.forget(stream) => return,
            _ => {}
        }
        self.remove(key);
    }

    /// Stops counting a stream that has ended in both directions.
    fn leave_wire(&mut self, key: StreamKey) {
        let Some(stream) = self.store.get_mut(key) else { return };
        let window = stream.recv.window_mut();
        if stream.reset.is_some() {
            window.forget_credit();
        }
        self.late_credit.add(stream.id, window.take_consumed());
        if stream.send.has_bulk() {
            self.release_bulk(key);
        }
        let Some(stream) = self.store.get_mut(key) else { return };
        let opened_here = stream.opened_here;
        let earns = opened_here || stream.reset.is_none_or(Reset::is_no_fault_of_the_peer);
        if stream.recv.unread() == 0 {
            self.flow.release(stream.recv.window_mut());
        }
        if earns && stream.id.is_some() {
            self.abuse.reward_stream();
        }
        if !opened_here && stream.reset.is_none() {
            self.reset_budget.reward_answer();
        }
        if stream.is_control {
            self.control_streams.remove(stream.id.is_some());
        } else {
            self.counts.remove(opened_here);
            if stream.owner.is_heartbeat() {
                self.counts.remove_heartbeat(opened_here);
            }
            if opened_here {
                if stream.acknowledge() {
                    self.counts.acknowledge();
                }
                self.events.note_capacity();
            }
        }
        self.recv.skip_payload_of(key);
        self.notice_idle();
    }

    /// Notes that the peer took a stream of this side: it no longer counts against the limit on unacknowledged ones.
    #[inline]
    pub(super) fn acknowledge(&mut self, key: StreamKey) {
        if let Some(stream) = self.store.get_mut(key).filter(|stream| stream.opened_here)
            && stream.acknowledge()
        {
            self.counts.acknowledge();
            self.events.note_capacity();
        }
    }

    /// Drops a stream, whatever state it is in.
    fn remove(&mut self, key: StreamKey) {
        let Some(mut stream) = self.store.remove(key) else { return };
        let is_open = stream.recv.is_open();
        let window = stream.recv.window_mut();
        self.flow.release(window);
        if !is_open {
            // What is unread is credited, too.
            window.consume_late(usize::MAX);
            self.late_credit.add(stream.id, window.take_consumed());
        }
        self.recv.forget(&stream.recv);
        self.send.forget(&stream.send);
        self.recv.skip_payload_of(key);
    }
}
