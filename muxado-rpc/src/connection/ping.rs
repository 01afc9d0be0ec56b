//! Round trips that an application asks for.

use std::time::Duration;

use muxado::{Heartbeat, HeartbeatConfig, OnFailure, PingError, TypedSession};

use crate::Peer;

/// The heartbeats of a connection, by which round trips are measured. Where heartbeats are off, none is sent that nobody
/// has asked for.
#[derive(Debug)]
pub(crate) struct Pings {
    heartbeat: Heartbeat,
}

impl Pings {
    /// Starts the heartbeats of a session. With `None` they never come by themselves, and a ping without an answer ends
    /// nothing.
    pub(crate) fn start(session: &TypedSession, config: Option<HeartbeatConfig>) -> Self {
        let asked_only = || HeartbeatConfig::default().interval(Duration::MAX).on_failure(OnFailure::Report);
        Self { heartbeat: Heartbeat::start(session, config.unwrap_or_else(asked_only)) }
    }

    pub(crate) async fn ping(&self) -> Result<Duration, PingError> {
        self.heartbeat.ping().await
    }
}

impl Peer {
    /// Measures a round trip: sends a heartbeat and waits for its answer. The other side answers in its connection, whatever
    /// its handlers do.
    ///
    /// It works with [heartbeats](crate::PeerBuilder::heartbeat) turned off as well. Pings at the same time share one.
    ///
    /// ```
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let peer = muxado_rpc::connect("tcp://127.0.0.1:7000").await?;
    /// println!("{:?}", peer.ping().await?);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Returns [`PingError::TimedOut`] if no answer came within the tolerance of the heartbeats (15 s unless
    /// [`HeartbeatConfig::tolerance`] says otherwise), [`PingError::Unsupported`] if the other side answers none, and
    /// [`PingError::SessionClosed`] if the connection has ended.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost if the future is dropped.
    pub async fn ping(&self) -> Result<Duration, PingError> {
        self.shared().pings().ping().await
    }
}
