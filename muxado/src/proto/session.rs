//! The session's state, and the commands that concern it as a whole.

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

use bytes::Bytes;
use slab::Slab;

use super::{
    control::ControlStreams,
    event::Event,
    frame::StreamId,
    heartbeat::{DEFAULT_HEARTBEAT_TYPE, Requester},
    ids::{RecentlyReset, Side},
    incoming::Incoming,
    open_level::OpenLevel,
    outbox::Outbox,
    reset_budget::ResetBudget,
    stats::SessionStats,
    stream::{Owner, SendState, Stream, StreamKey},
};
use crate::{
    config::Config,
    error::{ErrorCode, GoAway, OpenError, SessionEnd, SessionError},
    log_limit::LogLimit,
};

/// The protocol state of one session. See the [module documentation](super).
#[derive(Debug)]
pub struct Session {
    pub(super) side: Side,
    pub(super) config: Config,
    pub(super) streams: Slab<Stream>,
    pub(super) ids: HashMap<StreamId, u32, foldhash::fast::RandomState>,
    pub(super) next_serial: u32,
    pub(super) next_id: u32,
    /// Ids have been used up once and start again.
    pub(super) wrapped: bool,
    /// The highest id the peer has opened.
    pub(super) highest_remote_id: u32,
    /// Streams of this side and of the peer that are on the wire (or reserved by `open`), without
    /// control streams.
    pub(super) open_here: usize,
    pub(super) open_there: usize,
    pub(super) unacknowledged: usize,
    /// Those of the open streams, of either side, that carry heartbeats.
    pub(super) heartbeat_streams: usize,
    /// Those of them that this side has opened: they take nobody's place.
    pub(super) heartbeats_here: usize,
    /// Handles that the application holds.
    pub(super) handles: usize,
    pub(super) typed: bool,
    /// Streams that are reset before the peer's FIN are of no use to whoever accepts.
    pub(super) whole_only: bool,
    pub(super) refuse_streams: bool,
    pub(super) peer_is_family: bool,
    /// The last batch had no room for any of the streams that were ready.
    pub(super) turns_missed: bool,

    /// Streams to be accepted; entries of streams that were reset meanwhile are skipped.
    pub(super) backlog: VecDeque<StreamKey>,
    pub(super) backlog_len: usize,
    pub(super) untyped: VecDeque<(StreamKey, Instant)>,
    pub(super) untyped_len: usize,

    pub(super) incoming: Incoming,
    /// A go-away of which the text has not come yet, and what has come of it.
    pub(super) go_away_coming: Option<(GoAway, Vec<u8>)>,
    pub(super) recently_reset: RecentlyReset,
    pub(super) first_bytes_seen: bool,
    /// Useless frames that the peer may still send.
    pub(super) patience: u32,
    pub(super) reset_budget: ResetBudget,
    /// Bytes of payload that have not earned any yet.
    pub(super) unrewarded: u32,
    /// Frames of credit, and resets for streams that are closed, that came.
    pub(super) control_received: u64,
    /// Streams that got something in the last `receive`.
    pub(super) touched: usize,
    pub(super) bytes_unread: usize,

    pub(super) out: Outbox,
    pub(super) ready: VecDeque<StreamKey>,
    pub(super) control: VecDeque<StreamKey>,
    pub(super) replies: VecDeque<(u32, ErrorCode)>,
    pub(super) bytes_unsent: usize,
    /// Those of them that the windows of their streams have no room for.
    pub(super) bytes_stalled: usize,
    pub(super) send_waiters: VecDeque<StreamKey>,
    pub(super) go_away_owed: Option<(ErrorCode, Bytes)>,
    /// The session has ended, and its go-away waits for streams that were finished before.
    pub(super) last_words: Option<(ErrorCode, Bytes)>,
    /// A close that waits for what is being sent, and until when.
    pub(super) close_owed: Option<(ErrorCode, Instant)>,
    pub(super) ack_at: Option<Instant>,
    pub(super) accepted_unacknowledged: VecDeque<(StreamKey, Instant)>,

    /// When the last frame came or went, or streams were last found open: the limit on idle time
    /// counts from here.
    pub(super) unused_since: Option<Instant>,
    /// Frames of both directions until then.
    pub(super) frames_noted: u64,
    /// The time of the last input or timeout.
    pub(super) now: Option<Instant>,
    /// When the input before the present one came.
    pub(super) quiet_since: Option<Instant>,
    pub(super) last_input: Option<Instant>,
    /// Bytes by which the windows of all streams together may still grow.
    pub(super) growth_left: usize,
    pub(super) heartbeat: Option<Requester>,
    pub(super) heartbeat_type: u32,
    pub(super) control_streams: ControlStreams,
    pub(super) events: VecDeque<Event>,
    /// An [`Event::OpenCapacity`] is due.
    pub(super) capacity_changed: bool,
    pub(super) going_away: bool,
    pub(super) remote: Option<GoAway>,
    pub(super) end: Option<SessionError>,
    pub(super) stats: SessionStats,
    pub(super) logged: Logged,
}

/// Limits on what the peer makes this session write into the log.
#[derive(Debug, Default)]
pub(super) struct Logged {
    /// Streams reset because too much is unread.
    pub(super) overfull: LogLimit,
    pub(super) refused: LogLimit,
}

impl Session {
    /// A session that has not seen a byte.
    pub fn new(side: Side, mut config: Config) -> Self {
        let window = usize::try_from(config.window_size).unwrap_or(usize::MAX);
        config.session_receive_memory = config.session_receive_memory.max(window);
        let growth_left = config.window_growth;
        Self {
            side,
            config,
            streams: Slab::new(),
            ids: HashMap::default(),
            next_serial: 0,
            next_id: side.first_id(),
            wrapped: false,
            highest_remote_id: 0,
            open_here: 0,
            open_there: 0,
            unacknowledged: 0,
            heartbeat_streams: 0,
            heartbeats_here: 0,
            handles: 0,
            typed: false,
            whole_only: false,
            refuse_streams: false,
            peer_is_family: false,
            turns_missed: false,
            backlog: VecDeque::new(),
            backlog_len: 0,
            untyped: VecDeque::new(),
            untyped_len: 0,
            incoming: Incoming::Header,
            go_away_coming: None,
            recently_reset: RecentlyReset::default(),
            first_bytes_seen: false,
            patience: PATIENCE,
            reset_budget: ResetBudget::default(),
            unrewarded: 0,
            control_received: 0,
            touched: 0,
            bytes_unread: 0,
            out: Outbox::default(),
            ready: VecDeque::new(),
            control: VecDeque::new(),
            replies: VecDeque::new(),
            bytes_unsent: 0,
            bytes_stalled: 0,
            send_waiters: VecDeque::new(),
            go_away_owed: None,
            last_words: None,
            close_owed: None,
            ack_at: None,
            accepted_unacknowledged: VecDeque::new(),
            unused_since: None,
            frames_noted: 0,
            now: None,
            quiet_since: None,
            last_input: None,
            growth_left,
            heartbeat: None,
            heartbeat_type: DEFAULT_HEARTBEAT_TYPE,
            control_streams: ControlStreams::default(),
            events: VecDeque::new(),
            capacity_changed: false,
            going_away: false,
            remote: None,
            end: None,
            stats: SessionStats::default(),
            logged: Logged::default(),
        }
    }

    /// Makes a stream of this side's; `stream_type` is put in front of its first bytes.
    ///
    /// Nothing is sent before the first write. The stream must be given back with
    /// [`release`](Self::release).
    ///
    /// # Errors
    ///
    /// When either side goes away or the session has ended. Whether the limits allow a stream is
    /// to be asked before, by [`may_open`](Self::may_open).
    pub fn open(&mut self, stream_type: Option<u32>) -> Result<StreamKey, OpenError> {
        if let Some(end) = &self.end {
            return Err(OpenError::SessionClosed(end.clone()));
        }
        if let Some(remote) = &self.remote {
            return Err(OpenError::PeerGoingAway(remote.clone()));
        }
        if self.going_away {
            return Err(OpenError::GoingAway);
        }
        self.handles += 1;
        Ok(self.insert_local(Owner::Handle, stream_type))
    }

    pub(super) fn insert_local(&mut self, owner: Owner, stream_type: Option<u32>) -> StreamKey {
        let key = self.insert(owner, true);
        self.open_here += 1;
        self.unacknowledged += 1;
        self.heartbeat_streams += usize::from(owner.is_heartbeat());
        self.heartbeats_here += usize::from(owner.is_heartbeat());
        if let Some(stream) = self.stream_mut(key) {
            stream.on_wire = true;
            stream.prefix = stream_type.map(u32::to_be_bytes);
        }
        key
    }

    /// Whether one more stream may be opened: within the limits for open and for unacknowledged
    /// streams, or the answer of [`open`](Self::open) is an error anyway.
    pub fn may_open(&self) -> bool {
        self.refuses_opens() || self.open_capacity() > 0
    }

    /// Whether [`open`](Self::open) is an error, whatever the limits.
    pub fn refuses_opens(&self) -> bool {
        self.end.is_some() || self.remote.is_some() || self.going_away
    }

    /// Has an [`Event::OpenCapacity`] said again, for a turn that was not used.
    pub fn announce_capacity(&mut self) {
        self.capacity_changed = true;
    }

    /// How many more streams may be opened now.
    pub fn open_capacity(&self) -> usize {
        self.open_capacity_at(OpenLevel::ALL)
    }

    /// How many more streams may be opened now by those of this level.
    pub fn open_capacity_at(&self, level: OpenLevel) -> usize {
        let (open, unacknowledged) = self.open_limits();
        (level.of(open).saturating_sub(self.open_here - self.heartbeats_here))
            .min(level.of(unacknowledged).saturating_sub(self.unacknowledged))
    }

    fn open_limits(&self) -> (usize, usize) {
        let (open, unacknowledged) = (self.config.max_open_streams, self.config.max_unacknowledged_opens);
        if self.peer_is_family {
            (open, unacknowledged.max(FAMILY_BACKLOG))
        } else {
            (open.min(STRANGER_STREAMS), unacknowledged)
        }
    }

    /// Takes the next stream that the peer opened, with its type on a typed session.
    ///
    /// It must be given back with [`release`](Self::release).
    pub fn accept(&mut self) -> Option<(StreamKey, Option<u32>)> {
        let key = self.look_at_next()?;
        let stream_type = self.waiting(key)?.stream_type;
        self.accept_waiting(key).then_some((key, stream_type))
    }

    /// Reads the first four bytes of every stream of the peer's as its type, from now on and of
    /// those not accepted yet.
    pub fn set_typed(&mut self, now: Instant) {
        if std::mem::replace(&mut self.typed, true) {
            return;
        }
        for key in std::mem::take(&mut self.backlog) {
            if self.stream(key).is_some_and(|stream| stream.owner == Owner::Backlog) {
                self.backlog_len -= 1;
                self.await_type(key, now);
            }
        }
    }

    /// Has streams that are reset leave the backlog at once, with what came on them: whoever accepts takes whole
    /// messages, and answers them.
    pub fn accept_whole_only(&mut self) {
        self.whole_only = true;
    }

    /// Refuses every stream that the peer opens from now on: nobody can accept any more.
    pub fn refuse_streams(&mut self) {
        self.refuse_streams = true;
        self.backlog.clear();
        for key in self.waiting_keys() {
            let Some(stream) = self.stream_mut(key) else { continue };
            stream.owner = Owner::Nobody;
            self.backlog_len -= 1;
            self.reset(key, ErrorCode::STREAM_REFUSED);
            self.settle(key);
        }
    }

    /// Says go-away to the peer and refuses new streams, in both directions; open ones run on.
    pub fn go_away(&mut self) {
        if !self.going_away && self.end.is_none() {
            self.going_away = true;
            self.go_away_owed = Some((ErrorCode::NO_ERROR, Bytes::new()));
            self.capacity_changed = true;
            self.notice_idle();
        }
    }

    /// Ends the session: streams fail, and a GOAWAY with this code is the last frame sent. What was finished before is
    /// still sent as far as the windows allow.
    pub fn close(&mut self, code: ErrorCode, debug: Bytes) {
        self.finish_session(SessionError::Closed(code), Some((code, debug)));
    }

    /// As [`close`](Self::close), but what was finished before is sent to its end, as credit for it comes; the GOAWAY
    /// follows then, or with [`stop_draining`](Self::stop_draining). Until then
    /// [`is_draining`](Self::is_draining) is true, and input is still to be given to
    /// [`receive`](Self::receive).
    pub fn close_draining(&mut self, code: ErrorCode, debug: Bytes) {
        self.drain_and_end(SessionError::Closed(code), (code, debug));
    }

    /// Ends the session in good order once all that was finished is sent, after `close_timeout` in
    /// any case: nobody uses it any more.
    pub fn close_when_sent(&mut self, code: ErrorCode, now: Instant) {
        if self.end.is_none() {
            self.refuse_streams();
            self.close_owed = Some((code, now.checked_add(self.config.close_timeout).unwrap_or(now)));
            self.close_if_sent();
        }
    }

    /// Does what [`close_when_sent`](Self::close_when_sent) promised, if it is time.
    pub(super) fn close_if_sent(&mut self) {
        if let Some((code, _)) = self.close_owed
            && !self.streams.iter().any(|(_, stream)| stream.send == SendState::Finishing)
        {
            self.close(code, Bytes::new());
        }
    }

    /// As [`close_draining`](Self::close_draining), and says of the streams that nobody has taken yet that they
    /// are refused: their openers may try again. How many others were open, but for those of heartbeats.
    pub fn close_refusing(&mut self, code: ErrorCode, debug: Bytes) -> usize {
        let waiting = self.streams.iter().filter(|(_, s)| s.on_wire && s.owner == Owner::Backlog).count();
        let cut = self.streams_in_use().saturating_sub(waiting);
        self.refuse_streams();
        self.close_draining(code, debug);
        cut
    }

    /// The transport has taken nothing of what waits for it for so long: the peer does not read.
    pub fn handle_write_stall(&mut self, timeout: Duration) {
        self.finish_session(SessionError::WriteTimeout(timeout), None);
    }

    /// Why the session has ended, if it has.
    pub fn end(&self) -> Option<SessionEnd> {
        let local = self.end.clone()?;
        Some(SessionEnd { local, remote: self.remote.clone() })
    }

    /// Whether [`poll_event`](Self::poll_event) has anything but an [`Event::OpenCapacity`].
    #[cfg(feature = "tokio")]
    pub(crate) fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    /// Whether an [`Event::OpenCapacity`] is due.
    #[cfg(feature = "tokio")]
    pub(crate) const fn has_capacity_event(&self) -> bool {
        self.capacity_changed
    }

    /// The next thing that somebody has to be told.
    pub fn poll_event(&mut self) -> Option<Event> {
        let event = self.events.pop_front();
        if event.is_none() && std::mem::take(&mut self.capacity_changed) {
            return Some(Event::OpenCapacity);
        }
        event
    }

    /// Counters, and what is held now.
    pub fn stats(&self) -> SessionStats {
        SessionStats {
            streams_open: self.ids.len() - self.control_streams.on_wire,
            bytes_unread: self.bytes_unread,
            bytes_unsent: self.bytes_unsent,
            round_trip: self.heartbeat.as_ref().and_then(Requester::round_trip),
            ..self.stats
        }
    }

    /// Frames put into the output so far.
    pub const fn frames_sent(&self) -> u64 {
        self.stats.frames_sent
    }

    /// Whether the session has ended.
    pub const fn has_ended(&self) -> bool {
        self.end.is_some()
    }

    /// This side's role.
    pub const fn side(&self) -> Side {
        self.side
    }

    /// Handles of streams that the application holds.
    pub const fn handles(&self) -> usize {
        self.handles
    }

    /// No stream is open, but for control streams and those of heartbeats.
    pub fn is_idle(&self) -> bool {
        self.streams_in_use() == 0
    }

    /// Streams that are open, but for control streams and those of heartbeats.
    pub const fn streams_in_use(&self) -> usize {
        self.open_here + self.open_there - self.heartbeat_streams
    }

    pub(super) fn insert(&mut self, owner: Owner, opened_here: bool) -> StreamKey {
        let serial = self.next_serial;
        self.next_serial = serial.wrapping_add(1);
        let stream = Stream::new(serial, self.config.window_size, owner, opened_here);
        let index = self.streams.insert(stream);
        StreamKey { index: u32::try_from(index).unwrap_or(u32::MAX), serial }
    }

    pub(super) fn stream(&self, key: StreamKey) -> Option<&Stream> {
        self.streams.get(key.index()).filter(|stream| stream.serial == key.serial)
    }

    pub(super) fn stream_mut(&mut self, key: StreamKey) -> Option<&mut Stream> {
        self.streams.get_mut(key.index()).filter(|stream| stream.serial == key.serial)
    }
}

/// Unacknowledged streams that a peer of this family takes.
const FAMILY_BACKLOG: usize = 1024;

/// Most streams opened to a peer that is not known to be of this family: ngrok's crate ends the
/// session at 512, its own included, and counts streams for a while after they have ended.
const STRANGER_STREAMS: usize = 256;

/// Useless frames that a peer may send before it has done anything useful. Each stream that ends in
/// good order and every 64 bytes of payload earn it one or more.
pub(super) const PATIENCE: u32 = 10_000;
