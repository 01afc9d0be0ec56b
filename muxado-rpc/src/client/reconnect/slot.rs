//! One place for a connection: makes it, watches it, replaces it.

use std::{io, sync::Arc, time::Duration};

use muxado::{Heartbeat, HeartbeatConfig, PingError, Side};
use tokio::{
    task::JoinSet,
    time::{Instant, timeout},
};

use super::{
    State,
    pool::{Live, Pool, Settings},
};
use crate::{
    CallService, ConnectError, Peer,
    connection::peer::{Prepared, info_of},
    support::{
        panics::{self, CatchUnwind},
        timer,
    },
    transport::{
        dial::{DialOptions, Dialed},
        target::{AddressFailure, Target},
    },
};

/// The work of one place. Dropping it gives the connection up; calls under way keep theirs.
pub(super) struct Slot<S> {
    index: usize,
    pool: Arc<Pool>,
    peers: Prepared<S>,
    targets: Arc<[Target]>,
    /// The target of the next attempt.
    target: usize,
    /// What became of the targets since the last pause.
    failed: Vec<AddressFailure>,
    /// Attempts since the last connection that was of use.
    failures: u32,
    /// Connections that only finish what is under way.
    retired: JoinSet<()>,
}

impl<S: CallService> Slot<S> {
    pub(super) fn new(index: usize, pool: Arc<Pool>, peers: Prepared<S>, targets: Arc<[Target]>) -> Self {
        let target = index % targets.len();
        Self { index, pool, peers, targets, target, failed: Vec::new(), failures: 0, retired: JoinSet::new() }
    }

    /// Keeps a connection until there is to be none any more.
    pub(super) async fn run(mut self) {
        while self.pool.end().is_none() {
            let live = Live::new(self.index, self.connect().await);
            let begin = Instant::now();
            tracing::debug!(peer = %live.peer.peer_info(), "connected");
            if !self.pool.publish(&live) {
                return;
            }
            live.peer.going_away().await;
            self.pool.withdraw(self.index);
            tracing::debug!(peer = %live.peer.peer_info(), "connection goes away, making a new one");
            // A peer that takes connections only to end them must not be asked in a circle. Once may be
            // chance.
            let was_of_use = live.has_answered() || begin.elapsed() >= OF_USE_AFTER;
            self.failures = if was_of_use { 0 } else { self.failures.saturating_add(1) };
            self.failed.clear();
            if self.failures > 1 {
                let source = io::Error::other("the connection ended before it was of use");
                self.failed.push(AddressFailure::new(live.peer.peer_info().to_string(), source));
                self.pause_after_round().await;
            }
            self.retire(live);
        }
    }

    /// Tries the targets in turn until one answers.
    async fn connect(&mut self) -> Peer {
        loop {
            self.pool.set_state(self.index, State::Connecting { attempt: self.failures.saturating_add(1) });
            let target = self.targets[self.target].clone();
            // Also after a success: one that goes away is the last to be asked again.
            self.target = (self.target + 1) % self.targets.len();
            match self.attempt(&target).await {
                Ok(peer) => return peer,
                Err(source) => {
                    self.failures = self.failures.saturating_add(1);
                    self.failed.push(AddressFailure::new(target.name(), source));
                    self.pause_after_round().await;
                }
            }
        }
    }

    async fn attempt(&mut self, target: &Target) -> io::Result<Peer> {
        let limit = self.pool.settings.connect_timeout;
        let peers = self.peers.clone();
        let target = target.clone();
        let connecting = CatchUnwind::new(None, async move {
            let dialed = dial(target.clone(), peers.dialing().clone(), limit).await?;
            let info = info_of(&target, &dialed);
            let heartbeat = peers.heartbeat();
            let peer = peers.start(Side::Client, dialed.io, info);
            see_alive(&peer, heartbeat).await?;
            Ok(peer)
        });
        match timer::within(limit, connecting).await {
            Some(connected) => {
                introduce(&self.pool.settings, connected.unwrap_or_else(|_| Err(panicked()))?).await
            }
            None => {
                let problem =
                    format!("no answered heartbeat within {limit:?} (ReconnectBuilder::connect_timeout)");
                Err(io::Error::new(io::ErrorKind::TimedOut, problem))
            }
        }
    }

    /// Waits, once all targets have failed since the last pause.
    async fn pause_after_round(&mut self) {
        let targets = u32::try_from(self.targets.len()).unwrap_or(u32::MAX);
        if let Some(last) = self.failed.last() {
            tracing::debug!(failures = self.failures, "cannot connect to {last}");
        }
        if self.failures.is_multiple_of(targets) {
            let error = ConnectError::from(std::mem::take(&mut self.failed));
            let delay = self.pool.settings.backoff.pause(self.failures / targets);
            self.pool.set_state(self.index, State::Backoff { delay, error: Arc::new(error) });
            if self.pool.hurry.pause(delay).await {
                self.failures = 0;
            }
        }
    }

    /// Holds a connection while the peer may have calls of its own under way.
    fn retire(&mut self, live: Arc<Live>) {
        while self.retired.try_join_next().is_some() {}
        if self.retired.len() >= MAX_RETIRED {
            // Calls of this side keep their connections open by themselves.
            self.retired.abort_all();
        }
        self.retired.spawn(async move {
            // Whether it ended or was given up makes no difference.
            let _ = timeout(RETIRED_FOR, live.peer.closed()).await;
        });
    }
}

impl<S> Drop for Slot<S> {
    /// Wherever the task ends, calls must not wait for it: it may have panicked, or its runtime has ended.
    fn drop(&mut self) {
        self.pool.leave(self.index);
    }
}

/// Has the application do what it does with each new connection. One that is of no use is closed.
async fn introduce(settings: &Settings, peer: Peer) -> io::Result<Peer> {
    if let Some(hook) = &settings.on_connect
        && let Err(error) = hook.run(&peer, settings.on_connect_timeout).await
    {
        peer.close();
        return Err(error);
    }
    Ok(peer)
}

/// Connects in a task of its own: a panic of a connector must not end the client.
async fn dial(target: Target, options: DialOptions, limit: Duration) -> io::Result<Dialed> {
    // A little before the limit: that error says what became of each address of a name.
    let deadline = Instant::now().checked_add(limit - (limit / 20).min(DIAL_MARGIN));
    let mut task = JoinSet::new();
    task.spawn(async move { target.connect(&options, deadline).await });
    match task.join_next().await {
        Some(Ok(connected)) => connected,
        ended => {
            panics::discard(ended);
            Err(panicked())
        }
    }
}

/// Between the end of the attempts and that of the whole.
const DIAL_MARGIN: Duration = Duration::from_millis(100);

fn panicked() -> io::Error {
    io::Error::other("the connector panicked")
}

/// Waits for a heartbeat to come back. A listener's backlog takes connections that no server will
/// ever see: a call sent into it would be lost, and nobody could tell.
async fn see_alive(peer: &Peer, heartbeat: Option<HeartbeatConfig>) -> io::Result<()> {
    let Some(heartbeat) = heartbeat else { return Ok(()) };
    match Heartbeat::start(peer.typed(), heartbeat).ping().await {
        // A peer that refuses heartbeats is alive, too.
        Ok(_) | Err(PingError::Unsupported) => Ok(()),
        Err(error) => Err(io::Error::new(io::ErrorKind::ConnectionAborted, error)),
    }
}

/// A connection that lived as long as this was of use, with or without calls.
const OF_USE_AFTER: Duration = Duration::from_secs(1);

/// How long a connection that goes away is held for calls of the peer.
const RETIRED_FOR: Duration = Duration::from_secs(30);

/// Most connections that go away, held at a time by one place.
const MAX_RETIRED: usize = 16;
