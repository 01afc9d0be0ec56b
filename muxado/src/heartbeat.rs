//! Heartbeats of a typed session.

use std::{fmt, sync::Arc, task::Poll, time::Duration};

use tokio::time::Instant;

use crate::{
    error::{BeatError, SessionError},
    proto::{HeartbeatConfig, HeartbeatEvent},
    shared::{Core, Shared, Signal, Wait},
    typed::TypedSession,
};

/// This side's heartbeats: every interval, four bytes that the peer sends back.
///
/// They are sent by the session's driver, ahead of queued data, so neither a slow reader nor bulk
/// data delays them. Whether or not a side runs its own, a typed session answers the peer's.
///
/// Dropping the handle does not stop the heartbeats, and does not keep the session open.
///
/// ```
/// use muxado::{Heartbeat, HeartbeatConfig, TypedSession};
///
/// # async fn example(session: TypedSession) -> Result<(), Box<dyn std::error::Error>> {
/// let heartbeat = Heartbeat::start(&session, HeartbeatConfig::default());
/// println!("the peer is {:?} away", heartbeat.beat().await?);
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
    /// Starts heartbeats on a session. The first is sent one interval from now. On a session that
    /// has heartbeats already, the settings are replaced.
    pub fn start(session: &TypedSession, config: HeartbeatConfig) -> Self {
        let shared = Arc::clone(&session.session().shared);
        let now = Instant::now().into_std();
        let seen = shared.with_poke(|core| {
            core.proto.start_heartbeat(config, now);
            core.proto.heartbeat_event().0
        });
        Self { shared, tolerance: config.tolerance, seen }
    }

    /// Sends a heartbeat now and waits for it to come back; if one is on its way, waits for that.
    ///
    /// # Errors
    ///
    /// When it does not come back within the tolerance, the peer refuses heartbeats, or the session
    /// ends.
    ///
    /// # Cancel safety
    ///
    /// The heartbeat stays sent when the future is dropped.
    pub async fn beat(&self) -> Result<Duration, BeatError> {
        let now = Instant::now().into_std();
        let (seen, is_refused) = self.shared.with_poke(|core| {
            core.proto.beat(now);
            let (seen, last) = core.proto.heartbeat_event();
            let is_beating = core.proto.is_beating() || core.proto.has_ended();
            (seen, !is_beating && last == Some(HeartbeatEvent::Unsupported))
        });
        if is_refused {
            return Err(BeatError::Unsupported);
        }
        match self.next_event(seen).await {
            (_, HeartbeatEvent::RoundTrip(round_trip)) => Ok(round_trip),
            (_, HeartbeatEvent::Unsupported) => Err(BeatError::Unsupported),
            (_, HeartbeatEvent::TimedOut) => Err(BeatError::TimedOut(self.tolerance)),
            (_, HeartbeatEvent::Ended) => Err(BeatError::SessionClosed(self.end())),
        }
    }

    /// Waits for the next thing that becomes of a heartbeat. If several have happened since the
    /// last call, the newest is given.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when the future is dropped.
    pub async fn changed(&mut self) -> HeartbeatEvent {
        let (seen, event) = self.next_event(self.seen).await;
        self.seen = seen;
        event
    }

    /// The last round trip, if there has been one.
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
