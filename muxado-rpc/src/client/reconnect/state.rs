//! The state of a reconnecting client.

use std::{sync::Arc, time::Duration};

use tokio::sync::watch;

use crate::{ConnectError, PeerInfo};

/// The state of a [`Reconnect`](super::Reconnect).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum State {
    /// A connection is being made.
    Connecting {
        /// The number of the attempt since the last usable connection, from 1.
        attempt: u32,
    },
    /// There is a connection, and the peer answers.
    Connected {
        /// Who is at the other end.
        peer: PeerInfo,
    },
    /// The client pauses between attempts.
    Backoff {
        /// How long the pause is.
        delay: Duration,
        /// Why the last attempt failed.
        error: Arc<ConnectError>,
    },
    /// The client was closed, or the runtime in which it was built has ended.
    Closed,
}

impl State {
    /// Returns whether there is a connection.
    pub fn is_connected(&self) -> bool {
        matches!(self, Self::Connected { .. })
    }

    /// Of several connections the best says what the client is doing.
    pub(super) fn best(states: &[Self]) -> Self {
        let rank = |state: &&Self| match state {
            Self::Connected { .. } => 3,
            Self::Connecting { .. } => 2,
            Self::Backoff { .. } => 1,
            Self::Closed => 0,
        };
        states.iter().max_by_key(rank).cloned().unwrap_or(Self::Closed)
    }

    fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Connecting { attempt }, Self::Connecting { attempt: before }) => attempt == before,
            (Self::Connected { peer }, Self::Connected { peer: before }) => peer.is_same(before),
            (Self::Backoff { error, .. }, Self::Backoff { error: before, .. }) => Arc::ptr_eq(error, before),
            (Self::Closed, Self::Closed) => true,
            _ => false,
        }
    }
}

/// A watch on the state of a [`Reconnect`](super::Reconnect). It does not keep the client alive.
///
/// ```
/// use muxado_rpc::reconnect::{Reconnect, State};
///
/// async fn log(channel: &Reconnect) {
///     let mut states = channel.watch();
///     while !matches!(states.state(), State::Closed) {
///         println!("{:?}", states.changed().await);
///     }
/// }
/// ```
#[derive(Clone, Debug)]
pub struct StateWatch {
    states: watch::Receiver<Vec<State>>,
    seen: State,
}

impl StateWatch {
    pub(super) fn new(states: watch::Receiver<Vec<State>>) -> Self {
        let seen = State::best(&states.borrow());
        Self { states, seen }
    }

    /// Returns the current state. With several connections it is the best of theirs: connected, if any is.
    pub fn state(&self) -> State {
        if self.states.has_changed().is_err() { State::Closed } else { State::best(&self.states.borrow()) }
    }

    /// Waits for a state that differs from the last one returned. States that do not last may be left out. After
    /// [`State::Closed`] it returns at once.
    ///
    /// # Cancel safety
    ///
    /// No state is lost if the future is dropped.
    pub async fn changed(&mut self) -> State {
        loop {
            let now = State::best(&self.states.borrow_and_update());
            if !now.is_same(&self.seen) || matches!(now, State::Closed) {
                self.seen = now.clone();
                return now;
            }
            if self.states.changed().await.is_err() {
                self.seen = State::Closed;
                return State::Closed;
            }
        }
    }
}
