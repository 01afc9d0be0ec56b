//! The task of a server: takes connections, owns their tasks, ends them.

use std::{
    collections::HashMap,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use muxado::{ErrorCode, Session, Side};
use tokio::{
    sync::watch,
    task::{Id, JoinError, JoinSet},
    time::sleep,
};

use super::{OnConnect, Order, listener::Listener};
use crate::{CallService, Peer, PeerInfo, Router, connection::Connection, peer::Transport, setup::Setup};

/// What a server needs to run its connections.
pub(super) struct Acceptor<S> {
    setup: Setup,
    router: Router,
    service: S,
    on_connect: Option<OnConnect>,
    connections: Connections,
}

/// The connections at work. Dropping it ends their tasks.
#[derive(Default)]
struct Connections {
    tasks: JoinSet<()>,
    sessions: HashMap<Id, Session>,
}

impl<S: CallService> Acceptor<S> {
    pub(super) fn new(setup: Setup, router: Router, service: S, on_connect: Option<OnConnect>) -> Self {
        Self { setup, router, service, on_connect, connections: Connections::default() }
    }

    /// Serves until it is told to stop or its handle is dropped; true if all calls had finished.
    pub(super) async fn run(mut self, listener: Listener, mut orders: watch::Receiver<Order>) -> bool {
        let order = self.serve(&listener, &mut orders).await;
        drop(listener);
        match order {
            Some(grace) => {
                let drained = self.connections.drain(grace);
                tokio::select! {
                    finished = drained => return finished,
                    // The handle is gone: nobody waits for the rest.
                    _ = orders.changed() => {}
                }
                self.connections.close().await
            }
            None => self.connections.close().await,
        }
    }

    /// Takes connections; the time calls under way are given if it is told to stop, `None` if its
    /// handle is dropped.
    async fn serve(&mut self, listener: &Listener, orders: &mut watch::Receiver<Order>) -> Option<Duration> {
        let mut pause = Duration::ZERO;
        loop {
            let has_room = self.connections.tasks.len() < self.setup.limits.max_connections;
            tokio::select! {
                changed = orders.changed() => match (changed, *orders.borrow()) {
                    (Err(_), _) => return None,
                    (Ok(()), Order::Drain(grace)) => return Some(grace),
                    (Ok(()), Order::Serve) => {}
                },
                Some(ended) = self.connections.tasks.join_next_with_id() => self.connections.forget(ended),
                accepted = accept_after(listener, pause), if has_room => match accepted {
                    Ok((io, peer)) => {
                        pause = Duration::ZERO;
                        self.start(io, peer);
                    }
                    Err(error) => pause = self.pause_after(pause, &error),
                },
            }
        }
    }

    fn start(&mut self, io: Transport, peer: PeerInfo) {
        tracing::debug!(%peer, "connection accepted");
        let (router, service) = (self.router.clone(), self.service.clone());
        let connection = Connection::new(Side::Server, io, peer, &self.setup, router, service);
        let peer = Peer::of_connection(&connection, false);
        let session = connection.link().session().clone();
        let id = self.connections.tasks.spawn(connection.run()).id();
        self.connections.sessions.insert(id, session);
        if let Some(hook) = &self.on_connect {
            // Code of the user's must not end the server.
            if catch_unwind(AssertUnwindSafe(|| hook(peer))).is_err() {
                tracing::error!("the hook of on_connect panicked");
            }
        }
    }

    /// How long to wait after a failure to accept. One is that no more files can be opened, which
    /// asking again at once does not mend.
    fn pause_after(&self, before: Duration, error: &io::Error) -> Duration {
        let connections = self.connections.tasks.len();
        tracing::warn!(connections, "cannot accept a connection: {error}");
        (before * 2).clamp(MIN_PAUSE, MAX_PAUSE)
    }
}

/// Takes the next connection after a pause. Cancel safe.
async fn accept_after(listener: &Listener, pause: Duration) -> io::Result<(Transport, PeerInfo)> {
    if !pause.is_zero() {
        sleep(pause).await;
    }
    listener.accept().await
}

impl Connections {
    fn forget(&mut self, ended: Result<(Id, ()), JoinError>) {
        let id = ended.map_or_else(|error| error.id(), |(id, ())| id);
        self.sessions.remove(&id);
    }

    /// Lets calls under way finish within `grace`; true if all did.
    async fn drain(&mut self, grace: Duration) -> bool {
        let mut drains = JoinSet::new();
        for session in self.sessions.values() {
            let session = session.clone();
            drains.spawn(async move { session.shutdown(grace).await });
        }
        let finished = drains.join_all().await;
        self.ended().await;
        finished.into_iter().all(|finished| finished)
    }

    /// Ends all connections now.
    async fn close(&mut self) -> bool {
        for session in self.sessions.values() {
            session.close(ErrorCode::NO_ERROR, "the server has stopped");
        }
        self.ended().await;
        false
    }

    async fn ended(&mut self) {
        while let Some(ended) = self.tasks.join_next_with_id().await {
            self.forget(ended);
        }
    }
}

/// Between two failures to accept: at first, and at most.
const MIN_PAUSE: Duration = Duration::from_millis(5);
const MAX_PAUSE: Duration = Duration::from_secs(1);
