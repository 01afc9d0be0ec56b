//! The connections that calls can go over now, and those who wait for one.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::{State, managed::Hurry, on_connect::OnConnect, state::States};
use crate::{
    Backoff, CallStats, MethodInfo, Origin, Peer, Status, connection::past_calls::PastCalls, support::panics,
};

/// What the builder was told.
#[derive(Clone, Debug)]
pub(in crate::client) struct Settings {
    pub(super) connections: usize,
    pub(super) connect_timeout: Duration,
    pub(super) on_connect: Option<OnConnect>,
    pub(super) on_connect_timeout: Duration,
    pub(super) backoff: Backoff,
    pub(in crate::client) retry_backoff: Backoff,
    pub(in crate::client) attempts: u32,
    /// Calls that may wait for a connection; `None` if they fail at once.
    pub(in crate::client) max_waiting: Option<usize>,
}

/// A connection that calls go over. Whoever holds it keeps the connection open.
#[derive(Debug)]
pub(in crate::client) struct Live {
    slot: usize,
    pub(in crate::client) peer: Peer,
    /// A call has had an answer over it.
    answered: AtomicBool,
}

impl Live {
    pub(super) fn new(slot: usize, peer: Peer) -> Arc<Self> {
        Arc::new(Self { slot, peer, answered: AtomicBool::new(false) })
    }

    pub(in crate::client) fn note_answer(&self) {
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
    states: watch::Sender<States>,
    /// Where the round goes on.
    next: AtomicUsize,
    places: Arc<Semaphore>,
    pub(super) hurry: Hurry,
}

#[derive(Debug, Default)]
pub(super) struct Connected {
    connections: Vec<Arc<Live>>,
    /// The calls of connections that were in the round.
    past: PastCalls,
    /// Why there will be none any more.
    end: Option<End>,
}

impl Connected {
    /// Takes a connection out of the round.
    fn retire(&mut self, at: usize) -> Arc<Live> {
        let live = self.connections.remove(at);
        self.past.add(Arc::clone(live.peer.shared()));
        live
    }
}

/// Why there will be no connection any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It was closed.
    Closed,
    /// The tasks that connect are gone: with their runtime, as a rule.
    Stopped,
}

impl End {
    /// What to say of a call.
    pub(super) fn status_of(self, method: &MethodInfo) -> Status {
        Status::unavailable(format!("{method}: {}", self.reason())).not_executed()
    }

    pub(super) fn status(self) -> Status {
        Status::unavailable(self.reason()).not_executed()
    }

    const fn reason(self) -> &'static str {
        match self {
            Self::Closed => "the reconnecting client is closed",
            Self::Stopped => {
                "the reconnecting client has stopped: the runtime that it was built in has ended, or its tasks have \
                 panicked"
            }
        }
    }
}

impl Pool {
    pub(super) fn new(settings: Settings) -> Arc<Self> {
        let places = settings.max_waiting.unwrap_or(0).min(Semaphore::MAX_PERMITS);
        Arc::new(Self {
            connected: watch::Sender::new(Connected::default()),
            states: watch::Sender::new(States::new(settings.connections)),
            next: AtomicUsize::new(0),
            places: Arc::new(Semaphore::new(places)),
            hurry: Hurry::default(),
            settings,
        })
    }

    /// Takes a connection into the round; false if there is to be none any more.
    pub(super) fn publish(&self, live: &Arc<Live>) -> bool {
        let goes_on = self.connected.send_if_modified(|connected| {
            let goes_on = connected.end.is_none();
            if goes_on {
                connected.connections.push(Arc::clone(live));
            }
            goes_on
        });
        // Who learns of the connection by the state finds it in the round.
        let mut info = Some(live.peer.peer_info().clone());
        let mut before = None;
        self.states.send_if_modified(|states| {
            before = info.take().and_then(|info| states.connect(live.slot, info));
            before.is_some()
        });
        panics::discard(before);
        goes_on
    }

    /// Takes a connection out of the round.
    pub(super) fn withdraw(&self, slot: usize) {
        let mut withdrawn = None;
        self.connected.send_if_modified(|connected| {
            let at = connected.connections.iter().position(|live| live.slot == slot);
            withdrawn = at.map(|at| (connected.retire(at), connected.past.fold()));
            withdrawn.is_some()
        });
        // The last handle of a connection closes it, which is not to be under the lock.
        panics::discard(withdrawn);
    }

    /// Takes a place out of the round for good. Without any, calls need not wait.
    pub(super) fn leave(&self, slot: usize) {
        self.withdraw(slot);
        self.set_state(slot, State::Closed);
        if self.states.borrow().slots().iter().all(|state| matches!(state, State::Closed)) {
            drop(self.end_with(End::Stopped));
        }
    }

    /// Ends the round for good; the connections that were in it.
    pub(super) fn close(&self) -> Vec<Arc<Live>> {
        self.end_with(End::Closed)
    }

    /// The first end counts.
    fn end_with(&self, end: End) -> Vec<Arc<Live>> {
        let mut last = Vec::new();
        self.connected.send_modify(|connected| {
            connected.end.get_or_insert(end);
            last = (0..connected.connections.len()).map(|_| connected.retire(0)).collect();
        });
        let mut before = Vec::new();
        self.states.send_modify(|states| before = states.close());
        panics::discard(before);
        last
    }

    /// Why there will be no connection any more, if there will be none.
    pub(super) fn end(&self) -> Option<End> {
        self.connected.borrow().end
    }

    pub(super) fn set_state(&self, slot: usize, mut state: State) {
        self.states.send_if_modified(|states| states.swap(slot, &mut state));
        // The previous state may contain an error of user code.
        panics::discard(state);
    }

    pub(super) fn watch_states(&self) -> watch::Receiver<States> {
        self.states.subscribe()
    }

    pub(super) fn watch_connected(&self) -> watch::Receiver<Connected> {
        self.connected.subscribe()
    }

    /// Returns the state of each slot.
    pub(super) fn states(&self) -> Vec<State> {
        self.states.borrow().slots().to_vec()
    }

    /// Returns how many connections there were.
    pub(super) fn generation(&self) -> u64 {
        self.states.borrow().generation()
    }

    /// Returns the peers of the connections that take calls, as handles that keep none of them open.
    pub(super) fn peers(&self) -> Vec<Peer> {
        let connected = self.connected.borrow();
        let takes_calls = connected.connections.iter().filter(|live| !live.peer.is_going_away());
        takes_calls.map(|live| Peer::lent(Arc::clone(live.peer.shared()))).collect()
    }

    /// Returns what became of the calls of the peers, over connections that are gone, too.
    pub(super) fn call_stats(&self) -> CallStats {
        let connected = self.connected.borrow();
        let mut sum = connected.past.stats();
        connected.connections.iter().for_each(|live| sum += live.peer.call_stats());
        sum
    }

    /// Returns what all connections have sent, received and hold, past ones included.
    #[cfg(feature = "metrics")]
    pub(super) fn totals(&self) -> crate::connection::totals::Totals {
        let connected = self.connected.borrow();
        let mut sum = connected.past.totals();
        sum.calls = connected.past.stats();
        for live in &connected.connections {
            sum.add(live.peer.shared());
            sum.calls += live.peer.call_stats();
        }
        sum
    }

    /// Returns how many calls wait for a connection.
    #[cfg(feature = "metrics")]
    pub(super) fn waiting(&self) -> usize {
        let places = self.settings.max_waiting.unwrap_or(0).min(Semaphore::MAX_PERMITS);
        places.saturating_sub(self.places.available_permits())
    }

    /// Returns the next connection of the round that takes calls, of those whose peers take a request of so many
    /// bytes if there are any.
    pub(super) fn pick(&self, bytes: usize) -> Option<Arc<Live>> {
        let connected = self.connected.borrow();
        let connections = &connected.connections;
        let (first, count) = (self.next.fetch_add(1, Ordering::Relaxed), connections.len());
        let round = (0..count).map(|step| &connections[first.wrapping_add(step) % count]);
        let mut round = round.filter(|live| !live.peer.is_going_away());
        let next = round.next()?;
        let taking = if next.peer.takes_message_of(bytes) {
            None
        } else {
            round.find(|live| live.peer.takes_message_of(bytes))
        };
        Some(Arc::clone(taking.unwrap_or(next)))
    }

    /// Waits for a connection that takes calls.
    pub(super) async fn wait(&self, bytes: usize) -> Result<Arc<Live>, End> {
        let mut connected = self.connected.subscribe();
        loop {
            if let Some(end) = connected.borrow_and_update().end {
                return Err(end);
            }
            // One that goes away is still in the round for a moment; its leaving is a change.
            if let Some(live) = self.pick(bytes) {
                return Ok(live);
            }
            if connected.changed().await.is_err() {
                return Err(End::Closed);
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
        let failed = states.slots().iter().find_map(|state| match state {
            State::Backoff { error, .. } => Some(error.to_string()),
            _ => None,
        });
        failed.unwrap_or_else(|| "a connection is being made".to_owned())
    }
}
