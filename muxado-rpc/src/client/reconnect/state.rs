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
    /// There is a connection, the peer answers, and [`on_connect`](super::ReconnectBuilder::on_connect) is done.
    Connected {
        /// Who is at the other end; with several connections, of the one that was made last.
        peer: PeerInfo,
        /// How many connections the client has made so far, this one included: it differs if the connection was replaced,
        /// however short the time between was. See [`Reconnect::generation`](super::Reconnect::generation).
        generation: u64,
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

    /// The greater, the better; of several connections the one that was made last.
    const fn rank(&self) -> (u8, u64) {
        match self {
            Self::Connected { generation, .. } => (3, *generation),
            Self::Connecting { .. } => (2, 0),
            Self::Backoff { .. } => (1, 0),
            Self::Closed => (0, 0),
        }
    }

    fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Connecting { attempt }, Self::Connecting { attempt: before }) => attempt == before,
            (
                Self::Connected { peer, generation },
                Self::Connected { peer: peer_before, generation: before },
            ) => generation == before && peer.is_same(peer_before),
            (Self::Backoff { error, .. }, Self::Backoff { error: before, .. }) => Arc::ptr_eq(error, before),
            (Self::Closed, Self::Closed) => true,
            _ => false,
        }
    }
}

/// The states of all connections of a client.
#[derive(Debug)]
pub(super) struct States {
    slots: Vec<State>,
    /// How many connections there were.
    generation: u64,
}

impl States {
    pub(super) fn new(slots: usize) -> Self {
        Self { slots: vec![State::Connecting { attempt: 1 }; slots], generation: 0 }
    }

    /// Puts a state in place of that of a slot, which is the one that is left in `state`. Returns whether it is a change:
    /// a slot that is closed stays so.
    pub(super) fn swap(&mut self, slot: usize, state: &mut State) -> bool {
        match self.slots.get_mut(slot) {
            None | Some(State::Closed) => false,
            Some(known) => {
                std::mem::swap(known, state);
                true
            }
        }
    }

    /// Notes a new connection of a slot. Otherwise the same as [`swap`](Self::swap).
    pub(super) fn connect(&mut self, slot: usize, peer: PeerInfo) -> Option<State> {
        let mut state = State::Connected { peer, generation: self.generation + 1 };
        let is_change = self.swap(slot, &mut state);
        self.generation += u64::from(is_change);
        is_change.then_some(state)
    }

    /// Closes all. Returns what they were before.
    pub(super) fn close(&mut self) -> Vec<State> {
        let closed = vec![State::Closed; self.slots.len()];
        std::mem::replace(&mut self.slots, closed)
    }

    pub(super) fn slots(&self) -> &[State] {
        &self.slots
    }

    pub(super) const fn generation(&self) -> u64 {
        self.generation
    }

    /// Returns what the client is doing: of several connections the best says so.
    fn best(&self) -> State {
        match self.slots.iter().max_by_key(|state| state.rank()) {
            // Every new connection counts, not only the one that is shown.
            Some(State::Connected { peer, .. }) => {
                State::Connected { peer: peer.clone(), generation: self.generation }
            }
            best => best.cloned().unwrap_or(State::Closed),
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
    states: watch::Receiver<States>,
    seen: State,
}

impl StateWatch {
    pub(super) fn new(states: watch::Receiver<States>) -> Self {
        let seen = states.borrow().best();
        Self { states, seen }
    }

    /// Returns the current state. With several connections it is the best of theirs: connected, if any is.
    pub fn state(&self) -> State {
        if self.states.has_changed().is_err() { State::Closed } else { self.states.borrow().best() }
    }

    /// Returns how many connections the client has made so far; see
    /// [`Reconnect::generation`](super::Reconnect::generation).
    pub fn generation(&self) -> u64 {
        self.states.borrow().generation()
    }

    /// Waits for a state that differs from the last one returned. States that do not last may be left out, but a new
    /// connection is not: it differs by its [generation](State::Connected::generation). After [`State::Closed`] it
    /// returns at once.
    ///
    /// # Cancel safety
    ///
    /// No state is lost if the future is dropped.
    pub async fn changed(&mut self) -> State {
        loop {
            let now = self.states.borrow_and_update().best();
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

    /// Waits for a state of which `is_awaited` returns true; the current one counts, too. Returns that state, or
    /// [`State::Closed`] once there will be no other.
    ///
    /// ```
    /// use muxado_rpc::reconnect::{Reconnect, State};
    ///
    /// async fn offline(channel: &Reconnect) {
    ///     channel.watch().wait_for(|state| !state.is_connected()).await;
    /// }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// The future may be dropped and the method called again at any time.
    pub async fn wait_for(&mut self, mut is_awaited: impl FnMut(&State) -> bool) -> State {
        let mut state = self.states.borrow_and_update().best();
        while !is_awaited(&state) && !matches!(state, State::Closed) {
            state = self.changed().await;
        }
        self.seen = state.clone();
        state
    }
}
