//! What a reconnecting client is doing, for those who want to see it.

use std::{sync::Arc, time::Duration};

use tokio::sync::watch;

use crate::{ConnectError, PeerInfo};

/// What a [`Reconnect`](super::Reconnect) is doing.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum State {
    /// A connection is being made.
    Connecting {
        /// Which attempt since the last connection that was of use, from 1.
        attempt: u32,
    },
    /// There is a connection, and the peer answers.
    Connected {
        /// Who is at the other end.
        peer: PeerInfo,
    },
    /// No attempt is made for a while.
    Backoff {
        /// For how long.
        delay: Duration,
        /// Why the last attempt failed.
        error: Arc<ConnectError>,
    },
    /// There will be no connection any more: it was closed, or the runtime that it was built in has ended.
    Closed,
}

impl State {
    /// Whether there is a connection.
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

/// Sees the states of a [`Reconnect`](super::Reconnect) change, without keeping it alive.
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

    /// The state now. Of several connections the best counts: one that is connected, if there is one.
    pub fn state(&self) -> State {
        if self.states.has_changed().is_err() { State::Closed } else { State::best(&self.states.borrow()) }
    }

    /// Waits for a state that differs from the last one given, and gives it. A state that did not
    /// last may be left out. After [`State::Closed`] it is ready at once.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when the future is dropped.
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
