//! Heartbeats: a typed stream of each side's on which the other sends four bytes back (`PROTOCOL §9`).

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{
    event::Event,
    session::Session,
    stream::{Owner, StreamKey},
};
use crate::error::{ErrorCode, SessionError};

/// The stream type of heartbeats in all implementations.
pub(crate) const DEFAULT_HEARTBEAT_TYPE: u32 = 0xFFFF_FFFF;

/// What to do when a heartbeat stays without an answer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum OnFailure {
    /// End the session with [`SessionError::HeartbeatTimeout`].
    #[default]
    Close,
    /// Say so, and go on.
    Report,
}

/// How heartbeats are sent and judged.
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
    /// Time between two heartbeats. Default 10 s, at least 1 ms.
    #[must_use]
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval.max(Duration::from_millis(1));
        self
    }

    /// How long an answer may take before the peer is held to be dead. Default 15 s, at least 1 ms.
    ///
    /// Whatever the peer sends meanwhile counts as a sign of life.
    #[must_use]
    pub fn tolerance(mut self, tolerance: Duration) -> Self {
        self.tolerance = tolerance.max(Duration::from_millis(1));
        self
    }

    /// The stream type of heartbeats, of both sides. Default `0xFFFF_FFFF`.
    #[must_use]
    pub fn stream_type(mut self, stream_type: u32) -> Self {
        self.stream_type = stream_type;
        self
    }

    /// What follows when no answer comes. Default: the session is closed.
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
    /// The peer closed the heartbeat stream. It is asked again after [`HeartbeatConfig::interval`], on a new
    /// stream: a peer that does not answer heartbeats closes that, too, and so shows that it is alive.
    Unsupported,
    /// The session ended.
    Ended,
}

/// This side's heartbeats.
#[derive(Debug)]
pub(super) struct Requester {
    config: HeartbeatConfig,
    stream: Option<StreamKey>,
    next_at: Option<Instant>,
    outstanding: Option<Outstanding>,
    received: [u8; 4],
    have: usize,
    token: u32,
    last_heard: Option<Instant>,
    last: Option<HeartbeatEvent>,
    round_trip: Option<Duration>,
    events: u64,
}

#[derive(Debug)]
struct Outstanding {
    token: [u8; 4],
    sent_at: Instant,
    /// When the tolerance began: when it was sent, or last found missing.
    judged_from: Instant,
}

impl Requester {
    pub(super) const fn round_trip(&self) -> Option<Duration> {
        self.round_trip
    }

    fn deadline(&self) -> Option<Instant> {
        let outstanding = self.outstanding.as_ref()?;
        let since = outstanding.judged_from;
        let alive_at = self.last_heard.map_or(since, |heard| heard.max(since));
        alive_at.checked_add(self.config.tolerance)
    }

    fn report(&mut self, event: HeartbeatEvent) {
        self.last = Some(event);
        self.events += 1;
    }
}

impl Session {
    /// Starts this side's heartbeats; the first is sent one interval from now. The session must be
    /// typed. Starting again replaces the settings.
    pub fn start_heartbeat(&mut self, config: HeartbeatConfig, now: Instant) {
        self.heartbeat_type = config.stream_type;
        let next_at = now.checked_add(config.interval);
        match &mut self.heartbeat {
            Some(requester) => (requester.config, requester.next_at) = (config, next_at),
            None => {
                self.heartbeat = Some(Requester {
                    config,
                    stream: None,
                    next_at,
                    outstanding: None,
                    received: [0; 4],
                    have: 0,
                    token: 0,
                    last_heard: None,
                    last: None,
                    round_trip: None,
                    events: 0,
                });
            }
        }
    }

    /// Sends a heartbeat now, unless one is on its way.
    pub fn beat(&mut self, now: Instant) {
        let alive = self.end.is_none();
        let idle = |requester: &&mut Requester| alive && requester.outstanding.is_none();
        let Some(requester) = self.heartbeat.as_mut().filter(idle) else { return };
        if requester.stream.is_none() && self.remote.is_some() {
            // The peer takes no new streams, so none for heartbeats either.
            self.heartbeat_refused();
            return;
        }
        requester.token = requester.token.wrapping_add(0x9E37_79B9);
        requester.next_at = now.checked_add(requester.config.interval);
        let token = requester.token.to_be_bytes();
        requester.outstanding = Some(Outstanding { token, sent_at: now, judged_from: now });
        let (stream, stream_type) = (requester.stream, requester.config.stream_type);
        let key = stream.unwrap_or_else(|| self.insert_local(Owner::HeartbeatRequester, Some(stream_type)));
        if let Some(requester) = &mut self.heartbeat {
            requester.stream = Some(key);
        }
        // A failed write shows as a reset of the stream, which is handled where it happens.
        self.write(key, &mut &token[..]).ok();
    }

    /// Whether a heartbeat is on its way.
    pub fn is_beating(&self) -> bool {
        self.heartbeat.as_ref().is_some_and(|requester| requester.outstanding.is_some())
    }

    /// How many heartbeat events there have been, and the last one.
    pub fn heartbeat_event(&self) -> (u64, Option<HeartbeatEvent>) {
        self.heartbeat.as_ref().map_or((0, None), |requester| (requester.events, requester.last))
    }

    /// Notes that the peer is alive.
    pub(super) fn heard(&mut self, now: Instant) {
        self.now = Some(now);
        self.quiet_since = self.last_input.replace(now);
        if let Some(requester) = &mut self.heartbeat {
            requester.last_heard = Some(now);
        }
    }

    pub(super) fn adopt_responder(&mut self, key: StreamKey) {
        if let Some(stream) = self.stream_mut(key) {
            stream.owner = Owner::HeartbeatResponder { echo: None, partial: [0; 4], have: 0 };
            let open = stream.on_wire;
            self.heartbeat_streams += usize::from(open);
        }
    }

    pub(super) fn handle_heartbeat_bytes(&mut self, key: StreamKey, bytes: &[u8], now: Instant) {
        let Some(stream) = self.stream_mut(key) else { return };
        if let Owner::HeartbeatResponder { echo, partial, have } = &mut stream.owner {
            for &byte in bytes {
                if let Some(token) = collect(partial, have, byte) {
                    // Only the newest matters: however many come, four bytes are owed.
                    *echo = Some(token);
                }
            }
            self.make_ready(key);
            return;
        }
        let Some(requester) = &mut self.heartbeat else { return };
        for &byte in bytes {
            let token = collect(&mut requester.received, &mut requester.have, byte);
            if let Some(outstanding) = &requester.outstanding
                && token == Some(outstanding.token)
            {
                let round_trip = now.saturating_duration_since(outstanding.sent_at);
                requester.outstanding = None;
                requester.round_trip = Some(round_trip);
                requester.report(HeartbeatEvent::RoundTrip(round_trip));
                self.events.push_back(Event::Heartbeat);
            }
        }
    }

    /// When heartbeats have something to do: the next one, or the judgement on the last.
    pub(super) fn heartbeat_due(&self) -> Option<Instant> {
        let requester = self.heartbeat.as_ref()?;
        match requester.outstanding {
            Some(_) => requester.deadline(),
            None => requester.next_at,
        }
    }

    /// Sends the heartbeat that is due, unless one is on its way.
    pub(super) fn beat_if_due(&mut self, now: Instant) {
        let is_due = |requester: &Requester| {
            requester.outstanding.is_none() && requester.next_at.is_some_and(|at| at <= now)
        };
        if self.heartbeat.as_ref().is_some_and(is_due) {
            self.beat(now);
        }
    }

    /// Judges the heartbeat that is missing.
    pub(super) fn judge_heartbeat(&mut self, now: Instant) {
        let Some(requester) = &mut self.heartbeat else { return };
        if requester.deadline().is_none_or(|deadline| deadline > now) {
            return;
        }
        let (tolerance, on_failure) = (requester.config.tolerance, requester.config.on_failure);
        // It may still come back; there is never more than one on its way.
        if let Some(outstanding) = &mut requester.outstanding {
            outstanding.judged_from = now;
        }
        requester.report(HeartbeatEvent::TimedOut);
        self.events.push_back(Event::Heartbeat);
        if on_failure == OnFailure::Close {
            let debug = Bytes::from_static(b"heartbeat timeout");
            let reason = SessionError::HeartbeatTimeout(tolerance);
            self.finish_session(reason, Some((ErrorCode::UNKNOWN, debug)));
        }
    }

    /// The peer closed this side's heartbeat stream, or takes none any more. As long as it takes streams it is asked
    /// again: what it answers then, a reset included, is a sign of life, and silence is none.
    pub(super) fn heartbeat_refused(&mut self) {
        let (now, takes_streams) = (self.now, self.remote.is_none());
        let Some(requester) = &mut self.heartbeat else { return };
        let next_at = now.and_then(|now| now.checked_add(requester.config.interval));
        requester.next_at = next_at.filter(|_| takes_streams);
        requester.outstanding = None;
        requester.have = 0;
        requester.report(HeartbeatEvent::Unsupported);
        self.events.push_back(Event::Heartbeat);
        if let Some(key) = requester.stream.take() {
            self.reset_with(key, ErrorCode::CANCELLED);
        }
    }
}

/// Adds a byte to a token; gives the token once it is whole.
fn collect(token: &mut [u8; 4], have: &mut usize, byte: u8) -> Option<[u8; 4]> {
    token[*have & 3] = byte;
    *have = (*have + 1) & 3;
    (*have == 0).then_some(*token)
}
