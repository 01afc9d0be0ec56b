//! The task of a server: takes connections, owns their tasks, ends them.

use std::{io, sync::Arc, time::Duration};

use muxado::{ErrorCode, Side};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::watch,
    task::{Id, JoinError, JoinSet},
    time::sleep,
};
use tokio_util::sync::CancellationToken;

use super::{Handshake, Hooks, Order, handshake::shake, links::Links, listener::Listener};
use crate::{
    BoxError, CallService, Drained, Peer, PeerInfo, Router, Socket,
    connection::Connection,
    panics::{self, CatchDrop},
    setup::Setup,
};

/// What a server needs to run its connections.
pub(super) struct Acceptor<S> {
    starter: Starter<S>,
    /// Ends handshakes, whose connections nobody else knows.
    stopping: CancellationToken,
    connections: Connections,
}

/// What each connection is started from.
#[derive(Clone)]
struct Starter<S> {
    setup: Setup,
    router: Router,
    service: CatchDrop<S>,
    hooks: Hooks,
}

/// The connections at work. Dropping it ends their tasks.
struct Connections {
    tasks: JoinSet<()>,
    links: Arc<Links>,
}

impl<S: CallService> Acceptor<S> {
    pub(super) fn new(setup: Setup, router: Router, service: S, hooks: Hooks, links: Arc<Links>) -> Self {
        let connections = Connections { tasks: JoinSet::new(), links };
        let starter = Starter { setup, router, service: CatchDrop::new(service), hooks };
        Self { starter, stopping: CancellationToken::new(), connections }
    }

    /// Serves until it is told to stop or its handle is dropped; what became of the calls then.
    pub(super) async fn run(mut self, listener: Listener, orders: watch::Receiver<Order>) -> Drained {
        let drained = self.serve_and_end(listener, orders).await;
        // Services and hooks of the user's are dropped before the server is said to have ended.
        panics::discard(self);
        drained
    }

    async fn serve_and_end(&mut self, listener: Listener, mut orders: watch::Receiver<Order>) -> Drained {
        let order = self.serve(&listener, &mut orders).await;
        drop(listener);
        self.stopping.cancel();
        match order {
            Some(grace) => {
                let drained = self.connections.drain(grace);
                tokio::select! {
                    drained = drained => return drained,
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
            let has_room = self.connections.tasks.len() < self.starter.setup.limits.max_connections;
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

    fn start(&mut self, socket: Socket, peer: PeerInfo) {
        tracing::debug!(%peer, "connection accepted");
        if let Some(handshake) = self.starter.hooks.handshake.clone() {
            return self.start_with(handshake, socket, peer);
        }
        let connection = self.starter.connection(socket, peer);
        let (peer, link) = (Peer::of_connection(&connection, false), Arc::clone(connection.link()));
        let id = self.connections.tasks.spawn(connection.run()).id();
        self.connections.links.insert(id, link);
        self.starter.hooks.tell(peer);
    }

    /// Starts a connection that begins with a handshake, in its task.
    fn start_with(&mut self, handshake: Arc<dyn Handshake>, socket: Socket, mut peer: PeerInfo) {
        let (starter, links) = (self.starter.clone(), Arc::clone(&self.connections.links));
        let stopping = self.stopping.clone();
        self.connections.tasks.spawn(async move {
            let limit = starter.setup.limits.handshake_timeout;
            let shaken = shake(&*handshake, limit, socket, &mut peer);
            let Some(shaken) = stopping.run_until_cancelled(shaken).await else { return };
            let io = match shaken {
                Ok(io) => io,
                Err(error) => return note_failure(&peer, error),
            };
            let connection = starter.connection(io, peer);
            let peer = Peer::of_connection(&connection, false);
            links.insert(tokio::task::id(), Arc::clone(connection.link()));
            // Who stops the server cancels first, and then ends the connections that it knows.
            if !stopping.is_cancelled() {
                starter.hooks.tell(peer);
                connection.run().await;
            }
        });
    }

    /// How long to wait after a failure to accept. One is that no more files can be opened, which
    /// asking again at once does not mend.
    fn pause_after(&self, before: Duration, error: &io::Error) -> Duration {
        let connections = self.connections.tasks.len();
        tracing::warn!(connections, "cannot accept a connection: {error}");
        (before * 2).clamp(MIN_PAUSE, MAX_PAUSE)
    }
}

impl<S: CallService> Starter<S> {
    fn connection<T>(&self, io: T, peer: PeerInfo) -> Connection<T, S>
    where
        T: AsyncRead + AsyncWrite + Unpin,
    {
        let (router, service) = (self.router.clone(), self.service.clone());
        Connection::new(Side::Server, io, peer, &self.setup, router, service)
    }
}

impl Hooks {
    fn tell(&self, peer: Peer) {
        // Code of the user's must not end the server.
        if let Some(hook) = &self.on_connect
            && panics::catch(|| hook(peer)).is_err()
        {
            tracing::error!("the hook of on_connect panicked");
        }
    }
}

/// Says why a handshake failed. The error is the user's: it may panic, also when it is dropped.
fn note_failure(peer: &PeerInfo, error: BoxError) {
    if panics::catch(move || tracing::debug!(%peer, "handshake failed: {error}")).is_err() {
        tracing::error!(%peer, "the error of a handshake panicked");
    }
}

/// Takes the next connection after a pause. Cancel safe.
async fn accept_after(listener: &Listener, pause: Duration) -> io::Result<(Socket, PeerInfo)> {
    if !pause.is_zero() {
        sleep(pause).await;
    }
    listener.accept().await
}

impl Connections {
    fn forget(&mut self, ended: Result<(Id, ()), JoinError>) {
        let id = ended.as_ref().map_or_else(JoinError::id, |(id, ())| *id);
        self.links.remove(id);
        // What a panic left behind may panic, too.
        panics::discard(ended);
    }

    /// Lets calls under way finish within `grace`.
    async fn drain(&mut self, grace: Duration) -> Drained {
        let mut drains = JoinSet::new();
        for link in self.links.all() {
            drains.spawn(async move { link.drain(grace).await });
        }
        let mut sum = Drained::default();
        drains.join_all().await.into_iter().for_each(|drained| sum += drained);
        self.ended().await;
        sum
    }

    /// Ends all connections now.
    async fn close(&mut self) -> Drained {
        let before = self.links.call_stats();
        for link in self.links.all() {
            link.session().close(ErrorCode::NO_ERROR, "the server has stopped");
        }
        self.ended().await;
        Drained::between(&before, &self.links.call_stats(), 0, true)
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
