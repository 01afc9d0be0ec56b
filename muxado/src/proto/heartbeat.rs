//! Heartbeats: a typed stream of each side on which the other side sends four bytes back (`PROTOCOL §9`), or probes,
//! which need no stream (`PROTOCOL §9.1`).

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{
    event::Event,
    frame::StreamId,
    probe::ProbeIds,
    session::Session,
    store::StreamKey,
    stream::Owner,
    timers::{Timer, Timers},
};
use crate::error::{ErrorCode, SessionError};

/// The stream type of heartbeats in all implementations.
pub(crate) const DEFAULT_HEARTBEAT_TYPE: u32 = 0xFFFF_FFFF;

/// What to do when a heartbeat is not answered.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum OnFailure {
    /// End the session with [`SessionError::HeartbeatTimeout`].
    #[default]
    Close,
    /// Report it, and go on.
    Report,
}

/// Settings of this side's heartbeats.
///
/// ```
/// use std::time::Duration;
///
/// use muxado::{HeartbeatConfig, OnFailure};
///
/// let config = HeartbeatConfig::default().interval(Duration::from_secs(5)).on_failure(OnFailure::Report);
/// # let _ = config;
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HeartbeatConfig {
    pub(crate) interval: Duration,
    pub(crate) tolerance: Duration,
    pub(crate) stream_type: u32,
    pub(crate) on_failure: OnFailure,
}

impl Default for HeartbeatConfig {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(10),
            tolerance: Duration::from_secs(15),
            stream_type: DEFAULT_HEARTBEAT_TYPE,
            on_failure: OnFailure::Close,
        }
    }
}

impl HeartbeatConfig {
    /// Sets the time between two heartbeats. Default 10 s, at least 1 ms.
    #[must_use]
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval.max(Duration::from_millis(1));
        self
    }

    /// Sets how long an answer may take before the peer is taken for dead. Default 15 s, at least 1 ms.
    ///
    /// Whatever the peer sends meanwhile counts as a sign of life, and starts the time anew.
    #[must_use]
    pub fn tolerance(mut self, tolerance: Duration) -> Self {
        self.tolerance = tolerance.max(Duration::from_millis(1));
        self
    }

    /// Sets the stream type of the heartbeats of both sides. Default `0xFFFF_FFFF`. Without effect on
    /// [`Session::keepalive`](crate::Session::keepalive), which opens no stream.
    #[must_use]
    pub fn stream_type(mut self, stream_type: u32) -> Self {
        self.stream_type = stream_type;
        self
    }

    /// Sets what happens when no answer comes. By default the session is closed.
    #[must_use]
    pub fn on_failure(mut self, on_failure: OnFailure) -> Self {
        self.on_failure = on_failure;
        self
    }
}

/// What became of the last heartbeat.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum HeartbeatEvent {
    /// It came back after this time.
    RoundTrip(Duration),
    /// It did not come back within the tolerance.
    TimedOut,
    /// The peer closed the heartbeat stream.
    ///
    /// It is asked again after [`HeartbeatConfig::interval`], on a new stream: a peer that does not answer heartbeats
    /// closes that one, too, and so shows that it is alive.
    Unsupported,
    /// The session ended.
    Ended,
}

/// The peer's heartbeats: the last token to send back, and the bytes of the next.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Echo {
    pending: Option<[u8; 4]>,
    partial: Token,
}

impl Echo {
    /// Length of what is sent back, in bytes.
    pub(super) const LEN: u64 = 4;

    /// Returns whether there is something to send back.
    #[inline]
    pub(super) const fn is_pending(&self) -> bool {
        self.pending.is_some()
    }

    /// Takes what is to be sent back.
    #[inline]
    pub(super) fn take(&mut self) -> Option<[u8; 4]> {
        self.pending.take()
    }

    fn receive(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            if let Some(token) = self.partial.push(byte) {
                // Only the newest matters: however many come, four bytes are sent back.
                self.pending = Some(token);
            }
        }
    }
}

/// Four bytes, of which some have come.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
struct Token {
    bytes: [u8; 4],
    have: u8,
}

impl Token {
    /// Adds a byte; returns the token once it is whole.
    fn push(&mut self, byte: u8) -> Option<[u8; 4]> {
        self.bytes[usize::from(self.have & 3)] = byte;
        self.have = (self.have + 1) & 3;
        (self.have == 0).then_some(self.bytes)
    }
}

/// The heartbeats of a session.
#[derive(Debug)]
pub(super) struct Heartbeats {
    /// The type of heartbeat streams, of both sides.
    stream_type: u32,
    /// This side's heartbeats, once they were started.
    requester: Option<Requester>,
}

/// This side's heartbeats.
#[derive(Debug)]
struct Requester {
    config: HeartbeatConfig,
    /// Heartbeats are probes, and there is no stream for them.
    probes: Option<ProbeIds>,
    stream: Option<StreamKey>,
    /// When the next one is sent, if none is on its way then.
    next_at: Option<Instant>,
    outstanding: Option<Box<Outstanding>>,
    received: Token,
    token: u32,
    last_activity: Option<Instant>,
    last: Option<HeartbeatEvent>,
    round_trip: Option<Duration>,
    events: u64,
}

#[derive(Debug)]
struct Outstanding {
    answer: Answer,
    sent_at: Instant,
    /// When the tolerance began: when it was sent, or last found missing.
    tolerated_from: Instant,
}

/// What shows that a heartbeat has arrived.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Answer {
    /// These bytes, on the stream of heartbeats.
    Token([u8; 4]),
    /// A reset of the id that was probed.
    Reset(StreamId),
}

impl Heartbeats {
    pub(super) const fn new() -> Self {
        Self { stream_type: DEFAULT_HEARTBEAT_TYPE, requester: None }
    }

    /// Returns whether streams of this type carry heartbeats.
    pub(super) const fn uses(&self, stream_type: u32) -> bool {
        self.stream_type == stream_type
    }

    pub(super) fn round_trip(&self) -> Option<Duration> {
        self.requester.as_ref()?.round_trip
    }

    /// Notes that the peer is alive.
    #[inline]
    pub(super) fn note_activity(&mut self, now: Instant, timers: &mut Timers) {
        if let Some(requester) = &mut self.requester {
            requester.last_activity = Some(now);
            if requester.outstanding.is_some() {
                requester.set_timers(timers);
            }
        }
    }
}

impl Requester {
    fn new(config: HeartbeatConfig) -> Self {
        Self {
            config,
            probes: None,
            stream: None,
            next_at: None,
            outstanding: None,
            received: Token::default(),
            token: 0,
            last_activity: None,
            last: None,
            round_trip: None,
            events: 0,
        }
    }

    /// Returns when the answer is found to be missing.
    fn deadline(&self) -> Option<Instant> {
        let since = self.outstanding.as_ref()?.tolerated_from;
        let alive_at = self.last_activity.map_or(since, |activity| activity.max(since));
        alive_at.checked_add(self.config.tolerance)
    }

    /// Sets the timers to what is next: there is never more than one heartbeat on its way.
    fn set_timers(&self, timers: &mut Timers) {
        let is_outstanding = self.outstanding.is_some();
        timers.set(Timer::Ping, self.next_at.filter(|_| !is_outstanding));
        timers.set(Timer::PingAnswer, self.deadline());
    }

    /// Notes that a heartbeat is sent.
    fn begin(&mut self, answer: Answer, now: Instant, timers: &mut Timers) {
        self.outstanding = Some(Box::new(Outstanding { answer, sent_at: now, tolerated_from: now }));
        self.set_timers(timers);
    }

    /// Notes an answer; returns whether it is that of the heartbeat on its way.
    fn note_answer(&mut self, answer: Answer, now: Instant, timers: &mut Timers) -> bool {
        let Some(outstanding) = self.outstanding.take_if(|outstanding| outstanding.answer == answer) else {
            return false;
        };
        let round_trip = now.saturating_duration_since(outstanding.sent_at);
        self.round_trip = Some(round_trip);
        self.report(HeartbeatEvent::RoundTrip(round_trip));
        self.set_timers(timers);
        true
    }

    fn report(&mut self, event: HeartbeatEvent) {
        self.last = Some(event);
        self.events += 1;
    }
}

impl Session {
    /// Starts this side's heartbeats; the first is sent one interval from now. The session must be typed. Starting
    /// again replaces the settings.
    pub fn start_heartbeat(&mut self, config: HeartbeatConfig, now: Instant) {
        self.heartbeats.stream_type = config.stream_type;
        self.start_requester(config, None, now);
    }

    /// Starts this side's heartbeats as probes, which open no stream (`PROTOCOL §9.1`); the first is sent one interval from
    /// now. The session may be of any kind. Starting again replaces the settings.
    pub fn start_probes(&mut self, config: HeartbeatConfig, now: Instant) {
        self.start_requester(config, Some(ProbeIds::default()), now);
    }

    fn start_requester(&mut self, config: HeartbeatConfig, probes: Option<ProbeIds>, now: Instant) {
        let requester = self.heartbeats.requester.get_or_insert_with(|| Requester::new(config));
        requester.config = config;
        requester.next_at = now.checked_add(config.interval);
        let mut unused = None;
        if probes.is_some() != requester.probes.is_some() {
            requester.probes = probes;
            // What is on its way is of the other kind, and not waited for.
            requester.outstanding = None;
            unused = requester.stream.take();
        }
        requester.set_timers(&mut self.timers);
        if let Some(key) = unused {
            self.reset_with(key, ErrorCode::CANCELLED);
        }
    }

    /// Sends a heartbeat now, unless one is on its way.
    pub fn ping(&mut self, now: Instant) {
        let alive = !self.has_ended();
        let peer_goes_away = self.remote_go_away().is_some();
        let is_free = |requester: &&mut Requester| alive && requester.outstanding.is_none();
        let Some(requester) = self.heartbeats.requester.as_mut().filter(is_free) else { return };
        if requester.probes.is_none() && requester.stream.is_none() && peer_goes_away {
            // The peer takes no new streams, so none for heartbeats either.
            self.heartbeat_refused();
            return;
        }
        requester.next_at = now.checked_add(requester.config.interval);
        if let Some(probes) = &mut requester.probes {
            let id = probes.next_id(&self.store);
            requester.begin(Answer::Reset(id), now, &mut self.timers);
            self.send.queue_probe(id);
            return;
        }
        requester.token = requester.token.wrapping_add(0x9E37_79B9);
        let token = requester.token.to_be_bytes();
        requester.begin(Answer::Token(token), now, &mut self.timers);
        let (stream, stream_type) = (requester.stream, requester.config.stream_type);
        let key = stream.unwrap_or_else(|| self.insert_local(Owner::HeartbeatRequester, Some(stream_type)));
        if let Some(requester) = &mut self.heartbeats.requester {
            requester.stream = Some(key);
        }
        // A failed write shows as a reset of the stream, which is handled where it happens.
        self.write(key, &mut &token[..]).ok();
    }

    /// Returns whether a heartbeat is on its way.
    pub fn is_pinging(&self) -> bool {
        self.heartbeats.requester.as_ref().is_some_and(|requester| requester.outstanding.is_some())
    }

    /// Returns how many heartbeat events there have been, and the last one.
    pub fn heartbeat_event(&self) -> (u64, Option<HeartbeatEvent>) {
        let requester = self.heartbeats.requester.as_ref();
        requester.map_or((0, None), |requester| (requester.events, requester.last))
    }

    /// Makes a stream of the peer one of its heartbeats.
    pub(super) fn adopt_responder(&mut self, key: StreamKey) {
        if let Some(stream) = self.store.get_mut(key) {
            stream.set_owner(Owner::HeartbeatResponder(Echo::default()));
            if stream.is_on_wire() {
                self.counts.turn_into_heartbeat();
            }
        }
    }

    pub(super) fn handle_heartbeat_bytes(&mut self, key: StreamKey, bytes: &[u8], now: Instant) {
        let Some(stream) = self.store.get_mut(key) else { return };
        if let Some(echo) = stream.echo_mut() {
            echo.receive(bytes);
            self.make_ready(key);
            return;
        }
        let Some(requester) = &mut self.heartbeats.requester else { return };
        for &byte in bytes {
            if let Some(token) = requester.received.push(byte)
                && requester.note_answer(Answer::Token(token), now, &mut self.timers)
            {
                self.events.push(Event::Heartbeat);
            }
        }
    }

    /// Handles a reset of an id that no stream has; returns whether it answers a probe.
    pub(super) fn handle_probe_answer(&mut self, id: StreamId) -> bool {
        let (Some(requester), Some(now)) = (&mut self.heartbeats.requester, self.timers.now()) else {
            return false;
        };
        let is_answer = requester.note_answer(Answer::Reset(id), now, &mut self.timers);
        if is_answer {
            self.events.push(Event::Heartbeat);
        }
        is_answer
    }

    /// Reports that the answer to a heartbeat is missing.
    pub(super) fn handle_missing_answer(&mut self, now: Instant) {
        let Some(requester) = &mut self.heartbeats.requester else { return };
        let (tolerance, on_failure) = (requester.config.tolerance, requester.config.on_failure);
        // It may still come back; there is never more than one on its way.
        if let Some(outstanding) = &mut requester.outstanding {
            outstanding.tolerated_from = now;
        }
        requester.report(HeartbeatEvent::TimedOut);
        requester.set_timers(&mut self.timers);
        self.events.push(Event::Heartbeat);
        if on_failure == OnFailure::Close {
            let debug = Bytes::from_static(b"heartbeat timeout");
            let reason = SessionError::HeartbeatTimeout(tolerance);
            self.end_session(reason, Some((ErrorCode::UNKNOWN, debug)));
        }
    }

    /// Notes that the peer closed this side's heartbeat stream, or takes none any more.
    ///
    /// As long as the peer takes streams, heartbeats go on: any answer to one, a reset included, shows that it is alive.
    /// Without an answer it counts as lost.
    pub(super) fn heartbeat_refused(&mut self) {
        let takes_streams = self.remote_go_away().is_none();
        let Some(requester) = &mut self.heartbeats.requester else { return };
        let next_at = self.timers.now().and_then(|now| now.checked_add(requester.config.interval));
        requester.next_at = next_at.filter(|_| takes_streams);
        requester.outstanding = None;
        requester.received = Token::default();
        requester.report(HeartbeatEvent::Unsupported);
        requester.set_timers(&mut self.timers);
        self.events.push(Event::Heartbeat);
        if let Some(key) = requester.stream.take() {
            self.reset_with(key, ErrorCode::CANCELLED);
        }
    }
}
