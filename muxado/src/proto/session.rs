//! A session, composed of its parts, and what concerns all of them.

use std::sync::Arc;

use super::{
    abuse::AbuseBudget,
    accept::Accept,
    closing::Closing,
    control::ControlStreams,
    counts::Counts,
    event::{Event, Events},
    flow_control::FlowControl,
    heartbeat::Heartbeats,
    late_credit::LateCredit,
    peer_memory::PeerMemory,
    recv::Recv,
    reset_budget::ResetBudget,
    send::Send,
    stall::StallWatch,
    stats::SessionStats,
    store::{Side, Store, StreamKey},
    stream::Owner,
    timers::Timers,
};
use crate::{config::Config, error::OpenError};

/// The protocol state of one session. See the [module documentation](super).
///
/// Each part owns its state: the fields of a part are private to the file that defines it, and the other files use its
/// methods. What needs several parts is a method of the session, in the file of the part that it is about.
#[derive(Debug)]
pub struct Session {
    pub(super) config: Arc<Config>,
    /// The peer has shown that it has the protocol extensions.
    peer_has_extensions: bool,
    pub(super) store: Store,
    pub(super) counts: Counts,
    pub(super) recv: Recv,
    pub(super) accept: Accept,
    pub(super) send: Send,
    pub(super) flow: FlowControl,
    pub(super) peer_memory: PeerMemory,
    pub(super) late_credit: LateCredit,
    pub(super) stalls: StallWatch,
    pub(super) abuse: AbuseBudget,
    pub(super) reset_budget: ResetBudget,
    pub(super) timers: Timers,
    pub(super) heartbeats: Heartbeats,
    pub(super) control_streams: ControlStreams,
    pub(super) closing: Closing,
    pub(super) events: Events,
}

impl Session {
    /// Returns a session that has not seen a byte.
    ///
    /// Sessions may share their configuration.
    pub fn new(side: Side, config: impl Into<Arc<Config>>) -> Self {
        let mut config = config.into();
        let window = usize::try_from(config.window_size).unwrap_or(usize::MAX);
        if config.session_receive_memory < window {
            Arc::make_mut(&mut config).session_receive_memory = window;
        }
        Self {
            peer_has_extensions: false,
            store: Store::new(side),
            counts: Counts::default(),
            recv: Recv::new(&config),
            accept: Accept::default(),
            send: Send::new(&config),
            flow: FlowControl::new(&config),
            peer_memory: PeerMemory::new(config.window_size),
            late_credit: LateCredit::default(),
            stalls: StallWatch::new(),
            abuse: AbuseBudget::new(),
            reset_budget: ResetBudget::default(),
            timers: Timers::default(),
            heartbeats: Heartbeats::new(),
            control_streams: ControlStreams::default(),
            closing: Closing::default(),
            events: Events::default(),
            config,
        }
    }

    /// Opens a stream of this side; `stream_type` is put in front of its first bytes.
    ///
    /// Nothing is sent before the first write. The stream must be given back with
    /// [`release`](Self::release). The limits are not checked: ask [`may_open`](Self::may_open) before.
    ///
    /// # Errors
    ///
    /// When either side goes away or the session has ended.
    pub fn open(&mut self, stream_type: Option<u32>) -> Result<StreamKey, OpenError> {
        if let Some(end) = self.local_end() {
            return Err(OpenError::SessionClosed(end.clone()));
        }
        if let Some(remote) = self.remote_go_away() {
            return Err(OpenError::PeerGoingAway(remote.clone()));
        }
        if self.is_going_away() {
            return Err(OpenError::GoingAway);
        }
        self.counts.add_handle();
        Ok(self.insert_local(Owner::Handle, stream_type))
    }

    pub(super) fn insert_local(&mut self, owner: Owner, stream_type: Option<u32>) -> StreamKey {
        let key = self.store.insert(self.config.window_size, owner, true);
        self.counts.add_local(owner.is_heartbeat());
        if let Some(stream) = self.store.get_mut(key) {
            stream.enter_wire();
            if let Some(stream_type) = stream_type {
                stream.send.set_type(stream_type);
            }
        }
        key
    }

    /// Returns this side's role.
    pub const fn side(&self) -> Side {
        self.store.side()
    }

    /// Returns whether both sides have the protocol extensions, and show it (`PROTOCOL §12`).
    #[inline]
    pub fn extensions_negotiated(&self) -> bool {
        self.peer_has_extensions && self.config.extensions
    }

    /// Returns whether this side has the protocol extensions, and shows it.
    pub fn shows_extensions(&self) -> bool {
        self.config.extensions
    }

    /// Returns whether the peer has shown that it has the protocol extensions.
    #[inline]
    pub(super) const fn peer_has_extensions(&self) -> bool {
        self.peer_has_extensions
    }

    /// Notes that the peer has shown that it has the protocol extensions.
    #[inline]
    pub(super) fn note_extensions(&mut self) {
        if !std::mem::replace(&mut self.peer_has_extensions, true) {
            self.events.note_capacity();
            if self.config.extensions {
                self.peer_memory.enforce();
            }
            if self.control_streams.are_used() {
                self.events.push(Event::Control);
            }
        }
    }

    /// Takes the next event: something that somebody has to be told.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.poll()
    }

    /// Makes an [`Event::OpenCapacity`] due again, for an opener that did not use its turn.
    pub fn announce_capacity(&mut self) {
        self.events.note_capacity();
    }

    /// Returns whether [`poll_event`](Self::poll_event) has anything but an [`Event::OpenCapacity`].
    #[cfg(feature = "tokio")]
    pub(crate) fn has_events(&self) -> bool {
        self.events.has_any()
    }

    /// Returns whether an [`Event::OpenCapacity`] is due.
    #[cfg(feature = "tokio")]
    pub(crate) const fn has_capacity_event(&self) -> bool {
        self.events.has_capacity()
    }

    /// Returns counters, and what is held now.
    pub fn stats(&self) -> SessionStats {
        SessionStats {
            frames_sent: self.send.frames_sent(),
            frames_received: self.recv.frames_received(),
            bytes_sent: self.send.bytes_sent(),
            bytes_received: self.recv.bytes_received(),
            streams_opened: self.store.opened(),
            streams_accepted: self.accept.accepted(),
            streams_refused: self.accept.refused(),
            resets_sent: self.send.resets_sent(),
            resets_received: self.recv.resets_received(),
            window_stalls: self.send.window_stalls(),
            streams_open: self.store.ids_taken() - self.control_streams.on_wire(),
            bytes_unread: self.recv.bytes_unread(),
            bytes_unsent: self.send.bytes_unsent(),
            bytes_stalled: self.send.bytes_stalled(),
            streams_stalled: self.stalls.len(),
            stall_resets: self.stalls.resets(),
            round_trip: self.heartbeats.round_trip(),
        }
    }

    /// Gives back the memory that nothing is in: of buffers, and of lists and maps that were larger once.
    ///
    /// It looks at every stream, so it is meant for a session that has come to rest.
    pub fn shrink(&mut self) {
        self.store.shrink();
        self.recv.shrink();
        self.accept.shrink();
        self.send.shrink();
        self.stalls.shrink();
        self.events.shrink();
    }
}
