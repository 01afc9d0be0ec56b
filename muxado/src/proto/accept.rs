//! How streams of the peer come in: refused before anything of them is kept, or taken into the
//! backlog, on a typed session once their type is known; and how the peer learns that they were accepted.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::{
    error::ProtocolError,
    event::Event,
    frame::{FrameHeader, StreamId},
    open_level::room_beyond,
    session::Session,
    store::{Store, StreamKey},
    stream::{Owner, Stream},
    timers::Timer,
    waiting::Waiting,
};
use crate::{config::Config, error::ErrorCode, log_limit::RareLogLimit};

/// Accepted streams without an answer from which on the peer is told that they were taken.
const ACK_FROM: usize = 16;

/// Such streams from which on a peer is told at once that cannot know of the protocol extensions yet: as many as the
/// openers of level 0 leave without a sign by default.
const SHOW_FROM: usize = 48;

/// How long after its acceptance such a stream is acknowledged.
const ACK_DELAY: Duration = Duration::from_millis(5);

/// What the first bytes of a stream are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Typing {
    /// Plain data.
    Untyped,
    /// A type of which so many bytes have come; `listed` if there is a time limit on the rest.
    Awaiting { bytes: [u8; 4], have: u8, listed: bool },
    /// This type.
    Typed(u32),
}

impl Typing {
    const AWAITED: Self = Self::Awaiting { bytes: [0; 4], have: 0, listed: false };

    #[inline]
    pub(super) const fn is_awaited(self) -> bool {
        matches!(self, Self::Awaiting { .. })
    }

    /// Returns the type, if it has come.
    #[inline]
    const fn known(self) -> Option<u32> {
        match self {
            Self::Typed(stream_type) => Some(stream_type),
            Self::Untyped | Self::Awaiting { .. } => None,
        }
    }

    /// Takes what is missing of an awaited type off the front of `data`; returns how much, and the type if it is whole
    /// now. `None` if no type is awaited.
    #[inline]
    pub(super) fn take_in(&mut self, data: &[u8]) -> Option<(usize, Option<u32>)> {
        let Self::Awaiting { bytes, have, .. } = self else { return None };
        let at = usize::from(*have);
        let n = data.len().min(4 - at);
        bytes[at..at + n].copy_from_slice(&data[..n]);
        *have += n as u8;
        Some((n, (*have == 4).then(|| u32::from_be_bytes(*bytes))))
    }
}

/// The streams of the peer that wait: to be accepted, for their type, or for a sign that they were accepted.
#[derive(Debug, Default)]
pub(super) struct Accept {
    /// The first four bytes of each stream are its type.
    typed: bool,
    /// Streams that are reset before the peer's FIN are of no use to whoever accepts.
    whole_only: bool,
    /// Nobody can accept any more.
    refuses: bool,
    /// Streams to be accepted; entries of streams that were reset meanwhile are skipped.
    backlog: VecDeque<StreamKey>,
    backlog_len: usize,
    /// Streams whose type must come by a time; entries of those whose type has come are skipped.
    untyped: VecDeque<(StreamKey, Instant)>,
    untyped_len: usize,
    /// Streams that the peer does not know to be accepted, and since when they are.
    unacknowledged: VecDeque<(StreamKey, Instant)>,
    accepted: u64,
    refused: u64,
    refusal_log: RareLogLimit,
}

impl Accept {
    /// Returns how many streams of the peer were taken into the backlog, ever.
    pub(super) const fn accepted(&self) -> u64 {
        self.accepted
    }

    /// Returns how many streams of the peer were refused, ever.
    pub(super) const fn refused(&self) -> u64 {
        self.refused
    }

    pub(super) const fn whole_only(&self) -> bool {
        self.whole_only
    }

    fn is_full(&self, untyped: bool, config: &Config) -> bool {
        let beyond = if self.whole_only { room_beyond(config.accept_backlog) } else { 0 };
        self.waiting() >= config.accept_backlog.saturating_add(beyond)
            || (untyped && self.untyped_len >= config.max_untyped_streams)
    }

    /// Returns how many streams wait, with those whose type is awaited.
    fn waiting(&self) -> usize {
        self.backlog_len + self.untyped_len
    }

    /// Notes that a stream that waits has ended. Returns whether it is gone with that: what came on one that is worth
    /// accepting stays, whatever followed (`PROTOCOL §4.4`).
    pub(super) fn forget(&mut self, stream: &Stream) -> bool {
        if stream.typing.is_awaited() {
            self.untyped_len -= 1;
        } else if stream.is_worth_accepting(self.whole_only) {
            return false;
        } else {
            self.backlog_len -= 1;
        }
        true
    }

    /// Forgets all streams but those of the backlog: the session has ended.
    pub(super) fn end(&mut self) {
        self.untyped.clear();
        self.untyped_len = 0;
        self.unacknowledged.clear();
    }

    /// Sets how many streams of the backlog can still be accepted after the session's end.
    pub(super) fn set_backlog_len(&mut self, len: usize) {
        self.backlog_len = len;
    }

    fn pop_untyped(&mut self, store: &Store, now: Instant) -> Option<StreamKey> {
        loop {
            let (key, deadline) = self.untyped.front().copied()?;
            let waits = awaits_type(store, key);
            if waits && deadline > now {
                return None;
            }
            self.untyped.pop_front();
            if waits {
                return Some(key);
            }
        }
    }

    pub(super) fn shrink(&mut self) {
        self.untyped.shrink_to_fit();
        self.unacknowledged.shrink_to_fit();
        self.backlog.shrink_to_fit();
    }
}

fn awaits_type(store: &Store, key: StreamKey) -> bool {
    store.get(key).is_some_and(|stream| stream.typing.is_awaited())
}

#[inline]
fn is_in_backlog(store: &Store, key: StreamKey) -> bool {
    store.get(key).is_some_and(waits)
}

/// Returns whether a stream can be accepted.
#[inline]
fn waits(stream: &Stream) -> bool {
    stream.owner() == Owner::Backlog && !stream.typing.is_awaited()
}

/// Returns whether the peer does not know that a stream was accepted, and can be told.
fn is_unanswered(stream: &Stream) -> bool {
    !stream.is_acknowledged() && stream.is_on_wire()
}

impl Session {
    /// Takes the next stream that the peer opened, with its type on a typed session.
    ///
    /// It must be given back with [`release`](Self::release).
    pub fn accept(&mut self) -> Option<(StreamKey, Option<u32>)> {
        let key = self.look_at_next()?;
        let stream_type = self.waiting(key)?.stream_type;
        self.accept_waiting(key).then_some((key, stream_type))
    }

    /// Takes the next stream that the peer opened, as [`accept`](Self::accept) does, and puts what had come on it into
    /// `first`, as [`take_chunk`](Self::take_chunk) does. Returns the type on a typed session, and when it came.
    #[inline]
    pub fn accept_with_chunk(
        &mut self,
        first: &mut Option<Bytes>,
    ) -> Option<(StreamKey, Option<u32>, Option<Instant>)> {
        let (key, stream) = loop {
            let key = self.accept.backlog.pop_front()?;
            if is_in_backlog(&self.store, key) {
                break (key, self.store.get_mut(key)?);
            }
        };
        stream.set_owner(Owner::Handle);
        let stream_type = stream.typing.known();
        let came_at = stream.came_at().and_then(|moment| self.timers.instant(moment));
        self.recv.pop(&mut stream.recv, usize::MAX, first);
        self.accept.backlog_len -= 1;
        self.counts.add_handle();
        self.note_accepted(key);
        if let Some(len) = first.as_ref().map(Bytes::len) {
            self.consumed(key, len);
        }
        Some((key, stream_type, came_at))
    }

    /// Returns the oldest stream of the backlog that this did not return before, and leaves it there.
    ///
    /// It is taken with [`accept_waiting`](Self::accept_waiting); [`accept`](Self::accept) passes over it.
    #[inline]
    pub fn look_at_next(&mut self) -> Option<StreamKey> {
        while let Some(key) = self.accept.backlog.pop_front() {
            if is_in_backlog(&self.store, key) {
                return Some(key);
            }
        }
        None
    }

    /// Returns what has come on a stream of the backlog; `None` once it was taken, reset or refused.
    #[inline]
    pub fn waiting(&self, key: StreamKey) -> Option<Waiting<'_>> {
        let stream = self.store.get(key).filter(|stream| waits(stream))?;
        let stream_type = stream.typing.known();
        let came_at = stream.came_at().and_then(|moment| self.timers.instant(moment));
        Some(Waiting::new(stream_type, came_at, stream))
    }

    /// Returns how many streams of the peer can be accepted now.
    pub const fn backlog_len(&self) -> usize {
        self.accept.backlog_len
    }

    /// Refuses a stream of the backlog, which came when that was [full](Waiting::is_over_backlog).
    pub fn refuse_waiting(&mut self, key: StreamKey) {
        let Some(stream) = self.store.get_mut(key).filter(|stream| waits(stream)) else { return };
        stream.set_owner(Owner::Nobody);
        self.accept.backlog_len -= 1;
        self.accept.refused += 1;
        self.reset(key, ErrorCode::ACCEPT_QUEUE_FULL);
        self.try_release(key);
    }

    /// Takes a stream out of the backlog, as [`accept`](Self::accept) does; returns false if it is not there any more.
    ///
    /// It must be given back with [`release`](Self::release).
    #[inline]
    pub fn accept_waiting(&mut self, key: StreamKey) -> bool {
        let Some(stream) = self.store.get_mut(key).filter(|stream| waits(stream)) else { return false };
        stream.set_owner(Owner::Handle);
        self.accept.backlog_len -= 1;
        self.counts.add_handle();
        self.note_accepted(key);
        true
    }

    /// Makes the session a typed one: the first four bytes of every stream of the peer that comes, or was not accepted
    /// yet, are its type.
    pub fn set_typed(&mut self, now: Instant) {
        if std::mem::replace(&mut self.accept.typed, true) {
            return;
        }
        for key in std::mem::take(&mut self.accept.backlog) {
            if is_in_backlog(&self.store, key) {
                self.accept.backlog_len -= 1;
                self.await_type(key, now);
            }
        }
    }

    /// Drops streams that are reset from the backlog at once, with what came on them: for an application that takes whole
    /// messages, and answers them.
    pub fn accept_whole_only(&mut self) {
        self.accept.whole_only = true;
    }

    /// Refuses every stream that the peer opens from now on, and those not accepted yet: nobody can accept any more.
    pub fn refuse_streams(&mut self) {
        self.accept.refuses = true;
        self.accept.backlog.clear();
        // Those that were looked at are no longer in the list.
        let waiting: Vec<_> =
            self.store.iter().filter(|(_, stream)| waits(stream)).map(|(key, _)| key).collect();
        for key in waiting {
            let Some(stream) = self.store.get_mut(key) else { continue };
            stream.set_owner(Owner::Nobody);
            self.accept.backlog_len -= 1;
            self.reset(key, ErrorCode::STREAM_REFUSED);
            self.try_release(key);
        }
    }

    /// Decides on a new stream before anything of it is kept.
    pub(super) fn handle_syn(
        &mut self,
        id: StreamId,
        header: FrameHeader,
        now: Instant,
    ) -> Result<Option<StreamKey>, ProtocolError> {
        if self.side().owns(id) {
            return Err(ProtocolError::WrongParity(id));
        }
        self.store.note_remote_id(id);
        if let Some(code) = self.refusal(header.length) {
            let accept = &mut self.accept;
            accept.refused += 1;
            if let Some(line) = accept.refusal_log.admit(now) {
                tracing::debug!(%id, %code, suppressed = line.suppressed, "stream refused");
            }
            self.store.note_reset(id);
            self.send.reply(id, code)?;
            return Ok(None);
        }
        let key = self.store.insert(self.config.window_size, Owner::Backlog, false);
        self.store.name(key, id);
        self.counts.add_remote();
        self.accept.accepted += 1;
        let typed = self.accept.typed;
        let is_over_backlog = self.accept.waiting() >= self.config.accept_backlog;
        let moment = self.timers.moment();
        if let Some(stream) = self.store.get_mut(key) {
            stream.come(moment, is_over_backlog);
            if typed {
                stream.typing = Typing::AWAITED;
            }
        }
        if typed {
            self.accept.untyped_len += 1;
            if header.length == 0 {
                self.limit_typing(key, now);
            }
        } else {
            self.enqueue(key);
        }
        Ok(Some(key))
    }

    /// Returns why a new stream whose first frame has this length is refused, if it is.
    fn refusal(&self, length: u32) -> Option<ErrorCode> {
        let untyped = self.accept.typed && length < 4;
        let refuses = self.is_going_away() || self.accept.refuses || self.has_ended();
        if refuses || self.counts.remote() >= self.config.max_streams {
            Some(ErrorCode::STREAM_REFUSED)
        } else if length > self.config.window_size {
            Some(ErrorCode::FLOW_CONTROL_ERROR)
        } else if self.accept.is_full(untyped, &self.config) {
            Some(ErrorCode::ACCEPT_QUEUE_FULL)
        } else {
            None
        }
    }

    /// Moves a stream from the backlog to those whose type is awaited, with what has come on it.
    fn await_type(&mut self, key: StreamKey, now: Instant) {
        let Some(stream) = self.store.get_mut(key) else { return };
        let mut read = [0; 4];
        let have = self.recv.read(&mut stream.recv, &mut &mut read[..]);
        let finished = stream.recv.is_finished();
        stream.typing = Typing::Awaiting { bytes: read, have: have as u8, listed: false };
        self.accept.untyped_len += 1;
        self.consumed(key, have);
        if have == read.len() {
            self.handle_type(key, u32::from_be_bytes(read));
            self.hand_over_heartbeats(key, now);
        } else if finished {
            // It ended before it said what it was.
            self.reset_with(key, ErrorCode::STREAM_RESET);
            self.try_release(key);
        } else {
            self.limit_typing(key, now);
        }
    }

    /// Handles what came behind the type of a stream that turned out to be one of heartbeats.
    fn hand_over_heartbeats(&mut self, key: StreamKey, now: Instant) {
        let is_heartbeat = |stream: &&mut Stream| matches!(stream.owner(), Owner::HeartbeatResponder(_));
        let Some(stream) = self.store.get_mut(key).filter(is_heartbeat) else { return };
        let mut early = self.recv.take_unread(&mut stream.recv);
        if stream.recv.is_finished() {
            stream.send.finish();
        }
        while let Some(chunk) = early.pop(usize::MAX) {
            self.handle_heartbeat_bytes(key, &chunk, now);
            self.consumed(key, chunk.len());
        }
        self.make_ready(key);
        self.try_release(key);
    }

    /// Sets a time limit for the type of a stream whose first frame did not bring all of it.
    pub(super) fn limit_typing(&mut self, key: StreamKey, now: Instant) {
        let Some(stream) = self.store.get_mut(key) else { return };
        let Typing::Awaiting { listed: listed @ false, .. } = &mut stream.typing else { return };
        *listed = true;
        let Some(deadline) = now.checked_add(self.config.type_timeout) else { return };
        let Accept { untyped, untyped_len, .. } = &mut self.accept;
        if untyped.len() > 2 * *untyped_len + 64 {
            untyped.retain(|(key, _)| awaits_type(&self.store, *key));
        }
        untyped.push_back((key, deadline));
        self.set_type_timer();
    }

    fn set_type_timer(&mut self) {
        self.timers.set(Timer::StreamType, self.accept.untyped.front().map(|(_, deadline)| *deadline));
    }

    fn enqueue(&mut self, key: StreamKey) {
        if self.accept.refuses {
            if let Some(stream) = self.store.get_mut(key) {
                stream.set_owner(Owner::Nobody);
            }
            self.reset_with(key, ErrorCode::STREAM_REFUSED);
            return;
        }
        let Accept { backlog, backlog_len, .. } = &mut self.accept;
        if backlog.len() > 2 * *backlog_len + 64 {
            backlog.retain(|key| is_in_backlog(&self.store, *key));
        }
        backlog.push_back(key);
        *backlog_len += 1;
        if *backlog_len == 1 {
            // Whoever waits for a second one was told of the first.
            self.events.push(Event::Acceptable);
        }
    }

    pub(super) fn handle_type(&mut self, key: StreamKey, stream_type: u32) {
        let Some(stream) = self.store.get_mut(key) else { return };
        stream.typing = Typing::Typed(stream_type);
        self.accept.untyped_len -= 1;
        if self.heartbeats.uses(stream_type) {
            self.adopt_responder(key);
        } else if self.control_streams.awaits(stream_type) && !self.accept.refuses {
            self.adopt_control(key);
        } else {
            self.enqueue(key);
        }
    }

    /// Resets streams whose type did not come in time.
    pub(super) fn expire_untyped(&mut self, now: Instant) {
        if !self.timers.is_set(Timer::StreamType) {
            return;
        }
        while let Some(key) = self.accept.pop_untyped(&self.store, now) {
            self.reset_with(key, ErrorCode::CANCELLED);
        }
        self.set_type_timer();
    }

    /// Notes that the application took a stream; if no answer follows soon, the peer is told.
    ///
    /// Peers with the protocol extensions count the streams that nobody has taken yet. Without a sign, a burst of calls
    /// that are slow to answer would keep them from opening more (`PROTOCOL §12`).
    fn note_accepted(&mut self, key: StreamKey) {
        // The time of the last input: at worst the sign comes early.
        let Some(now) = self.timers.now().filter(|_| self.extensions_negotiated()) else { return };
        let unacknowledged = &mut self.accept.unacknowledged;
        unacknowledged.push_back((key, now));
        if self.store.may_hold_gone(unacknowledged.len()) {
            unacknowledged.retain(|(key, _)| self.store.get(*key).is_some());
        }
        if unacknowledged.len() >= ACK_FROM && !self.timers.is_set(Timer::Acknowledge) {
            self.timers.set(Timer::Acknowledge, now.checked_add(ACK_DELAY));
            self.events.push(Event::Timer);
        }
    }

    /// Acknowledges one of many accepted streams at once, if nothing has shown the peer yet that this side has the protocol
    /// extensions: until then it leaves so few without an answer that it may be waiting already. Returns whether it does.
    #[inline]
    pub(super) fn show_extensions(&mut self) -> bool {
        let has_many = self.accept.unacknowledged.len() >= SHOW_FROM;
        has_many && !self.send.extensions_shown() && self.acknowledge_oldest()
    }

    #[cold]
    fn acknowledge_oldest(&mut self) -> bool {
        let store = &self.store;
        let mut keys = self.accept.unacknowledged.iter().map(|(key, _)| *key);
        let oldest = keys.find(|key| store.get(*key).is_some_and(is_unanswered));
        oldest.into_iter().for_each(|key| self.queue_acknowledgement(key));
        oldest.is_some()
    }

    /// Tells the peer of streams that were accepted a while ago, and on which nothing was sent since.
    pub(super) fn acknowledge_accepted(&mut self, now: Instant) {
        let mut waiting = std::mem::take(&mut self.accept.unacknowledged);
        waiting.retain(|(key, since)| {
            if !self.store.get(*key).is_some_and(is_unanswered) {
                return false;
            }
            let is_due = now.saturating_duration_since(*since) >= ACK_DELAY;
            if is_due {
                self.queue_acknowledgement(*key);
            }
            !is_due
        });
        let next = if waiting.len() >= ACK_FROM { now.checked_add(ACK_DELAY) } else { None };
        self.timers.set(Timer::Acknowledge, next);
        self.accept.unacknowledged = waiting;
    }
}
