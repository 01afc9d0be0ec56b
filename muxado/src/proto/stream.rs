//! One stream's state.
//!
//! Each direction has its own half; a reset ends both.
//!
//! ```text
//!  send:  Open ──finish──▶ Finishing ──FIN sent──▶ Done
//!            └──────── reset, either side ───────────▲
//!  recv:  Open ──FIN received──▶ Finished
//!            └──reset, either side──▶ Reset
//! ```

use std::time::Instant;

use super::{buffer::RecvBuffer, frame::StreamId, growth::Growth, outbox::SendQueue};
use crate::error::ErrorCode;

/// Names a stream of a session for as long as its handle lives, also before it has an id.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct StreamKey {
    pub(super) index: u32,
    pub(super) serial: u32,
}

impl StreamKey {
    /// The slot's index: small, dense, used again once the stream is gone.
    pub const fn index(self) -> usize {
        self.index as usize
    }
}

/// The sending direction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum SendState {
    /// More may be written.
    Open,
    /// The FIN follows what is queued.
    Finishing,
    /// The FIN was sent, or the stream was reset.
    Done,
}

/// The receiving direction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum RecvState {
    /// More may come.
    Open,
    /// The peer's FIN came.
    Finished,
    /// A reset came first.
    Reset,
}

/// Who reset a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Reset {
    ByPeer(ErrorCode),
    Locally(ErrorCode),
}

impl Reset {
    /// This side's application did it: the peer has neither reset the stream nor broken its rules.
    pub(super) const fn is_no_fault_of_the_peers(self) -> bool {
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

/// What the first bytes of a stream are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Typing {
    /// Plain data.
    Untyped,
    /// A type of which so many bytes have come.
    Awaiting { bytes: [u8; 4], have: usize, listed: bool },
    /// This type.
    Typed(u32),
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
    /// The peer's heartbeats: the last token to send back, and the bytes of the next.
    HeartbeatResponder { echo: Option<[u8; 4]>, partial: [u8; 4], have: usize },
}

impl Owner {
    pub(super) const fn is_heartbeat(self) -> bool {
        matches!(self, Self::HeartbeatRequester | Self::HeartbeatResponder { .. })
    }
}

#[derive(Debug)]
pub(super) struct Stream {
    /// Taken when the SYN is queued.
    pub(super) id: Option<StreamId>,
    pub(super) serial: u32,
    pub(super) owner: Owner,
    pub(super) opened_here: bool,
    /// It counts as open: from `open`, or its SYN, until it has ended in both directions.
    pub(super) on_wire: bool,
    /// It is a control stream, and not counted.
    pub(super) apart: bool,
    /// Of a stream opened here: the peer gave a sign of having taken it. Of the peer's: this side
    /// gave one.
    pub(super) acknowledged: bool,
    /// A DATA frame was sent.
    pub(super) data_sent: bool,
    pub(super) typing: Typing,
    pub(super) reset: Option<Reset>,
    /// Of a stream of the peer's: when it came.
    pub(super) came_at: Option<Instant>,

    pub(super) send: SendState,
    pub(super) send_window: u64,
    pub(super) queue: SendQueue,
    /// The four type bytes, until they leave in front of the first data.
    pub(super) prefix: Option<[u8; 4]>,
    /// The peer is to be told of the stream now, even if there is nothing else to say.
    pub(super) announce: bool,
    /// Bytes of the queue that the window has no room for, as counted in the session.
    pub(super) stalled: usize,
    /// In the list of streams with something to send.
    pub(super) ready: bool,
    /// A writer waits for room.
    pub(super) write_blocked: bool,
    /// It waits for room in the session, and is in the list of those who do.
    pub(super) in_send_waiters: bool,

    pub(super) recv: RecvState,
    pub(super) buffer: RecvBuffer,
    /// Bytes that the peer may still send.
    pub(super) recv_window: u32,
    /// Bytes consumed for which no credit went back yet.
    pub(super) consumed: u32,
    /// Whether the window holds the peer up, once much of it was used.
    pub(super) growth: Option<Box<Growth>>,
    /// What comes is thrown away: the reading half's handle is gone.
    pub(super) discard: bool,

    /// In the list of streams that owe a control frame.
    pub(super) control: bool,
    /// A reset to be sent.
    pub(super) rst_owed: Option<ErrorCode>,
    /// An empty frame to be sent that says that the stream was taken.
    pub(super) ack_owed: bool,
}

impl Stream {
    pub(super) fn new(serial: u32, window: u32, owner: Owner, opened_here: bool) -> Self {
        Self {
            id: None,
            serial,
            owner,
            opened_here,
            on_wire: false,
            apart: false,
            acknowledged: false,
            data_sent: false,
            typing: Typing::Untyped,
            reset: None,
            came_at: None,
            send: SendState::Open,
            send_window: u64::from(window),
            queue: SendQueue::default(),
            prefix: None,
            announce: false,
            stalled: 0,
            ready: false,
            write_blocked: false,
            in_send_waiters: false,
            recv: RecvState::Open,
            buffer: RecvBuffer::default(),
            recv_window: window,
            consumed: 0,
            growth: None,
            discard: false,
            control: false,
            rst_owed: None,
            ack_owed: false,
        }
    }

    /// Credit to be given beyond what was consumed.
    pub(super) fn extra_credit(&self) -> u32 {
        self.growth.as_ref().map_or(0, |growth| growth.extra)
    }

    /// There is something for whoever accepts it, though nothing more comes: its end, or bytes that came before it
    /// was cut. With `whole_only` the latter do not count, nor does what cannot be answered any more.
    pub(super) fn is_worth_accepting(&self, whole_only: bool) -> bool {
        let is_whole = self.recv == RecvState::Finished && !(whole_only && self.reset.is_some());
        !matches!(self.typing, Typing::Awaiting { .. }) && (is_whole || (self.buffer.len() > 0 && !whole_only))
    }

    /// Both directions have ended on the wire.
    pub(super) fn is_over(&self) -> bool {
        self.send == SendState::Done && self.recv != RecvState::Open
    }

    /// Whether there is something that may be sent now: an echo, data within the window, or a FIN.
    pub(super) fn can_send(&self) -> bool {
        if self.reset.is_some() {
            return false;
        }
        if let Owner::HeartbeatResponder { echo: Some(_), .. } = self.owner {
            return self.send_window >= 4;
        }
        if self.queue.is_empty() {
            return self.send == SendState::Finishing || (self.announce && self.id.is_none());
        }
        self.sendable() > 0
    }

    /// Bytes of data that the peer's window has room for.
    pub(super) fn window_left(&self) -> usize {
        usize::try_from(self.send_window.saturating_sub(self.prefix_len())).unwrap_or(usize::MAX)
    }

    /// Bytes that are queued and that the window has room for. Crumbs of a window are saved up: a peer that grants a
    /// byte at a time gets no frame a byte.
    pub(super) fn sendable(&self) -> usize {
        let n = self.queue.len().min(self.window_left());
        if n < self.queue.len().min(MIN_PIECE) { 0 } else { n }
    }

    /// Bytes of data that the window has room for beside what is queued.
    pub(super) fn window_room(&self) -> usize {
        self.window_left().saturating_sub(self.queue.len())
    }

    /// Bytes of the type that has yet to leave.
    pub(super) fn prefix_len(&self) -> u64 {
        if self.prefix.is_some() { 4 } else { 0 }
    }
}

/// Least bytes of window for which a frame is sent, unless it ends the queue.
const MIN_PIECE: usize = 256;
