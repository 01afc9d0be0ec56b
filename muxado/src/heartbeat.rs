//! Heartbeats: of typed sessions on a stream, of any session as probes.

use std::{fmt, sync::Arc, task::Poll, time::Duration};

use tokio::time::Instant;

use crate::{
    error::{PingError, SessionError},
    proto::{HeartbeatConfig, HeartbeatEvent, Session as Proto},
    session::Session,
    shared::{Core, Shared, Signal, Wait},
    typed::TypedSession,
};

/// A handle to this side's heartbeats: in every interval, something that the peer answers.
///
/// On a typed session these are four bytes on a stream of their own, which the peer sends back ([`start`](Self::start));
/// on any other they are probes ([`Session::keepalive`]). They are sent by the session's driver, ahead of queued data, so
/// neither a slow reader nor bulk data delays them. A typed session answers the peer's heartbeats in any case, and every
/// session answers probes.
///
/// Dropping the handle does not stop the heartbeats, and a handle does not keep the session open.
///
/// ```
/// use muxado::{Heartbeat, HeartbeatConfig, TypedSession};
///
/// # async fn example(session: TypedSession) -> Result<(), Box<dyn std::error::Error>> {
/// let heartbeat = Heartbeat::start(&session, HeartbeatConfig::default());
/// println!("the peer is {:?} away", heartbeat.ping().await?);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Heartbeat {
    shared: Arc<Shared>,
    tolerance: Duration,
    seen: u64,
}

impl Heartbeat {
    /// Starts heartbeats on a session. The first is sent one interval from now. If they were started before, the settings
    /// are replaced.
    pub fn start(session: &TypedSession, config: HeartbeatConfig) -> Self {
        Self::start_with(session.session(), config, Proto::start_heartbeat)
    }

    fn start_with(
        session: &Session,
        config: HeartbeatConfig,
        start: fn(&mut Proto, HeartbeatConfig, std::time::Instant),
    ) -> Self {
        let shared = Arc::clone(&session.shared);
        let now = Instant::now().into_std();
        let seen = shared.with_poke(|core| {
            start(&mut core.proto, config, now);
            core.proto.heartbeat_event().0
        });
        Self { shared, tolerance: config.tolerance, seen }
    }

    /// Sends a heartbeat now and waits for it to come back. If one is on its way, waits for that one instead.
    ///
    /// Returns the round-trip time.
    ///
    /// # Errors
    ///
    /// When it does not come back within the tolerance, the peer refuses heartbeats, or the session
    /// ends.
    ///
    /// # Cancel safety
    ///
    /// The heartbeat stays sent when the future is dropped.
    pub async fn ping(&self) -> Result<Duration, PingError> {
        let now = Instant::now().into_std();
        let (seen, is_refused) = self.shared.with_poke(|core| {
            core.proto.ping(now);
            let (seen, last) = core.proto.heartbeat_event();
            let is_pinging = core.proto.is_pinging() || core.proto.has_ended();
            (seen, !is_pinging && last == Some(HeartbeatEvent::Unsupported))
        });
        if is_refused {
            return Err(PingError::Unsupported);
        }
        match self.next_event(seen).await {
            (_, HeartbeatEvent::RoundTrip(round_trip)) => Ok(round_trip),
            (_, HeartbeatEvent::Unsupported) => Err(PingError::Unsupported),
            (_, HeartbeatEvent::TimedOut) => Err(PingError::TimedOut(self.tolerance)),
            (_, HeartbeatEvent::Ended) => Err(PingError::SessionClosed(self.end())),
        }
    }

    /// Sends a heartbeat now and waits for it to come back.
    ///
    /// # Errors
    ///
    /// As [`ping`](Self::ping).
    #[deprecated(note = "it is called `ping` now")]
    pub async fn beat(&self) -> Result<Duration, PingError> {
        self.ping().await
    }

    /// Waits for the next result of a heartbeat. If there have been several since the last call, returns the newest.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when the future is dropped.
    pub async fn changed(&mut self) -> HeartbeatEvent {
        let (seen, event) = self.next_event(self.seen).await;
        self.seen = seen;
        event
    }

    /// Returns the last round-trip time, if there has been one.
    pub fn round_trip(&self) -> Option<Duration> {
        self.shared.with(|core| core.proto.stats().round_trip)
    }

    async fn next_event(&self, seen: u64) -> (u64, HeartbeatEvent) {
        let next = move |core: &mut Core| match core.proto.heartbeat_event() {
            (count, Some(event)) if count > seen => Poll::Ready((count, event)),
            _ if core.proto.has_ended() => Poll::Ready((seen, HeartbeatEvent::Ended)),
            _ => Poll::Pending,
        };
        Wait::new(&self.shared, Signal::Heartbeat, next).await
    }

    fn end(&self) -> SessionError {
        self.shared.with(|core| core.proto.end()).map_or(SessionError::DriverDropped, |end| end.local)
    }
}

impl Session {
    /// Starts to send heartbeats on this session, typed or not. The first is sent one interval from now.
    ///
    /// Each is a probe: a frame of 72 bytes for a stream that does not exist. Every implementation answers such a frame
    /// with a reset, also the Go original and ngrok's crate, and no application learns of either, so that both sides need
    /// to agree on nothing (`PROTOCOL §9.1`). Whatever the peer sends is a sign of life. If it is silent for
    /// [`HeartbeatConfig::tolerance`] after a probe, the session ends with [`SessionError::HeartbeatTimeout`], unless
    /// [`HeartbeatConfig::on_failure`] says otherwise. The bytes that go back and forth also keep the entries of NATs and
    /// proxies on the way alive. A session with heartbeats is in use:
    /// [`Config::idle_timeout`](crate::Config::idle_timeout) does not end it.
    ///
    /// Heartbeats that were started before are replaced. One side is enough to keep the connection alive; the side that
    /// is to notice the loss of the other has to send its own.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use muxado::{HeartbeatConfig, Session};
    ///
    /// # async fn example(session: Session) -> Result<(), Box<dyn std::error::Error>> {
    /// let keepalive = session.keepalive(HeartbeatConfig::default().interval(Duration::from_secs(20)));
    /// println!("the peer is {:?} away", keepalive.ping().await?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn keepalive(&self, config: HeartbeatConfig) -> Heartbeat {
        Heartbeat::start_with(self, config, Proto::start_probes)
    }
}

impl fmt::Debug for Heartbeat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Heartbeat").field("round_trip", &self.round_trip()).finish_non_exhaustive()
    }
}
