//! Heartbeats of a typed session.

use std::{fmt, sync::Arc, task::Poll, time::Duration};

use tokio::time::Instant;

use crate::{
    error::{PingError, SessionError},
    proto::{HeartbeatConfig, HeartbeatEvent},
    shared::{Core, Shared, Signal, Wait},
    typed::TypedSession,
};

/// A handle to this side's heartbeats: in every interval, four bytes that the peer sends back.
///
/// They are sent by the session's driver, ahead of queued data, so neither a slow reader nor bulk data delays them. A
/// typed session answers the peer's heartbeats in any case.
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
        let shared = Arc::clone(&session.session().shared);
        let now = Instant::now().into_std();
        let seen = shared.with_poke(|core| {
            core.proto.start_heartbeat(config, now);
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

impl fmt::Debug for Heartbeat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Heartbeat").field("round_trip", &self.round_trip()).finish_non_exhaustive()
    }
}
