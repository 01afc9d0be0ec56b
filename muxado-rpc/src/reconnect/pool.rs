//! The connections that calls can go over now, and those who wait for one.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::State;
use crate::{Backoff, MethodInfo, Origin, Peer, Status};

/// What the builder was told.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) connections: usize,
    pub(super) connect_timeout: Duration,
    pub(super) backoff: Backoff,
    pub(super) retry_backoff: Backoff,
    pub(super) attempts: u32,
    /// Calls that may wait for a connection; `None` if they fail at once.
    pub(super) max_waiting: Option<usize>,
}

/// A connection that calls go over. Whoever holds it keeps the connection open.
#[derive(Debug)]
pub(super) struct Live {
    slot: usize,
    pub(super) peer: Peer,
    /// A call has had an answer over it.
    answered: AtomicBool,
}

impl Live {
    pub(super) fn new(slot: usize, peer: Peer) -> Arc<Self> {
        Arc::new(Self { slot, peer, answered: AtomicBool::new(false) })
    }

    pub(super) fn note_answer(&self) {
        self.answered.store(true, Ordering::Relaxed);
    }

    pub(super) fn has_answered(&self) -> bool {
        self.answered.load(Ordering::Relaxed)
    }
}

/// What the clones of a client and its tasks share.
#[derive(Debug)]
pub(super) struct Pool {
    pub(super) settings: Settings,
    connected: watch::Sender<Connected>,
    /// By slot.
    states: watch::Sender<Vec<State>>,
    /// Where the round goes on.
    next: AtomicUsize,
    places: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct Connected {
    connections: Vec<Arc<Live>>,
    closed: bool,
}

impl Pool {
    pub(super) fn new(settings: Settings) -> Arc<Self> {
        let places = settings.max_waiting.unwrap_or(0).min(Semaphore::MAX_PERMITS);
        Arc::new(Self {
            connected: watch::Sender::new(Connected::default()),
            states: watch::Sender::new(vec![State::Connecting { attempt: 1 }; settings.connections]),
            next: AtomicUsize::new(0),
            places: Arc::new(Semaphore::new(places)),
            settings,
        })
    }

    /// Takes a connection into the round; false if there is to be none any more.
    pub(super) fn publish(&self, live: Arc<Live>) -> bool {
        self.set_state(live.slot, State::Connected { peer: live.peer.info().clone() });
        self.connected.send_if_modified(|connected| {
            if !connected.closed {
                connected.connections.push(live);
            }
            !connected.closed
        })
    }

    /// Takes a connection out of the round.
    pub(super) fn withdraw(&self, slot: usize) {
        self.connected.send_modify(|connected| connected.connections.retain(|live| live.slot != slot));
    }

    /// Ends the round for good; the connections that were in it.
    pub(super) fn close(&self) -> Vec<Arc<Live>> {
        let mut last = Vec::new();
        self.connected.send_modify(|connected| {
            connected.closed = true;
            last = std::mem::take(&mut connected.connections);
        });
        self.states.send_modify(|states| states.fill(State::Closed));
        last
    }

    pub(super) fn is_closed(&self) -> bool {
        self.connected.borrow().closed
    }

    pub(super) fn set_state(&self, slot: usize, state: State) {
        self.states.send_if_modified(|states| match states.get_mut(slot) {
            None | Some(State::Closed) => false,
            Some(known) => {
                *known = state;
                true
            }
        });
    }

    pub(super) fn watch_states(&self) -> watch::Receiver<Vec<State>> {
        self.states.subscribe()
    }

    /// The next connection of the round that takes calls.
    pub(super) fn pick(&self) -> Option<Arc<Live>> {
        let connected = self.connected.borrow();
        let connections = &connected.connections;
        let (first, count) = (self.next.fetch_add(1, Ordering::Relaxed), connections.len());
        let mut round = (0..count).map(|step| &connections[first.wrapping_add(step) % count]);
        round.find(|live| !live.peer.is_going_away()).cloned()
    }

    /// Waits for a connection that takes calls; `None` if there will be none.
    pub(super) async fn wait(&self) -> Option<Arc<Live>> {
        let mut connected = self.connected.subscribe();
        loop {
            if connected.borrow_and_update().closed {
                return None;
            }
            // One that goes away is still in the round for a moment; its leaving is a change.
            if let Some(live) = self.pick() {
                return Some(live);
            }
            if connected.changed().await.is_err() {
                return None;
            }
        }
    }

    /// A place among those who wait.
    pub(super) fn place(&self, method: &MethodInfo) -> Result<OwnedSemaphorePermit, Status> {
        let Some(limit) = self.settings.max_waiting else {
            return Err(self.not_connected(method));
        };
        Arc::clone(&self.places).try_acquire_owned().map_err(|_| {
            Status::unavailable(format!(
                "{method}: {limit} calls wait for a connection already (ReconnectBuilder::max_waiting): {}",
                self.why()
            ))
            .not_executed()
        })
    }

    pub(super) fn not_connected(&self, method: &MethodInfo) -> Status {
        let problem = format!("{method}: not connected: {}", self.why());
        Status::unavailable(problem).with_origin(Origin::Transport).not_executed()
    }

    /// Why there is no connection.
    pub(super) fn why(&self) -> String {
        let states = self.states.borrow();
        let failed = states.iter().find_map(|state| match state {
            State::Backoff { error, .. } => Some(error.to_string()),
            _ => None,
        });
        failed.unwrap_or_else(|| "a connection is being made".to_owned())
    }

    pub(super) fn closed(method: &MethodInfo) -> Status {
        Status::unavailable(format!("{method}: the reconnecting client is closed")).not_executed()
    }
}
