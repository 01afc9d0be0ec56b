//! The task of a server: takes connections, owns their tasks, ends them.

use std::{io, sync::Arc, time::Duration};

use muxado::{ErrorCode, Side};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::watch,
    task::{Id, JoinError, JoinSet},
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{
    Handshake, Hooks, Order,
    addresses::Addresses,
    connections::LiveConnections,
    handshake::shake,
    handshakes::{Handshakes, UnderWay},
    listener::{Accept, Accepted, Proxied},
    proxy_protocol::read_header,
    websocket::ServerWebSocket,
};
use crate::{
    Address, BoxError, BoxIo, CallService, Drained, Peer, PeerInfo, Router, Socket,
    connection::{setup::Setup, task::Connection},
    support::{
        log_limit::SharedLogs,
        panics::{self, CatchDrop},
        timer,
        truncate::Brief,
    },
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
    live: Arc<LiveConnections>,
    addresses: Arc<Addresses>,
    handshakes: Arc<Handshakes>,
}

impl<S: CallService> Acceptor<S> {
    pub(super) fn new(
        setup: Setup,
        router: Router,
        service: S,
        hooks: Hooks,
        live: Arc<LiveConnections>,
        handshakes: Arc<Handshakes>,
    ) -> Self {
        let addresses = Arc::new(Addresses::new(setup.limits().max_connections_per_address));
        let connections = Connections { tasks: JoinSet::new(), live, addresses, handshakes };
        let starter = Starter { setup, router, service: CatchDrop::new(service), hooks };
        Self { starter, stopping: CancellationToken::new(), connections }
    }

    /// Serves until it is told to stop or its handle is dropped; what became of the calls then.
    pub(super) async fn run(mut self, listener: impl Accept, orders: watch::Receiver<Order>) -> Drained {
        let drained = self.serve_and_end(listener, orders).await;
        // Services and hooks are dropped before the server is reported to have ended.
        panics::discard(self);
        drained
    }

    async fn serve_and_end(&mut self, listener: impl Accept, mut orders: watch::Receiver<Order>) -> Drained {
        let order = self.serve(&listener, &mut orders).await;
        drop(listener);
        self.stopping.cancel();
        let drained = self.end(order, orders).await;
        self.starter.setup.logs.write_counts();
        drained
    }

    async fn end(&mut self, order: Option<Duration>, mut orders: watch::Receiver<Order>) -> Drained {
        match order {
            Some(grace) => {
                let (connections, router) = (&mut self.connections, &self.starter.router);
                let drained = async {
                    let end = Instant::now().checked_add(grace);
                    if let Some(health) = router.health_of_services() {
                        health.tell_all(grace.min(TELLING)).await;
                    }
                    let left = end.map_or(grace, |end| end.saturating_duration_since(Instant::now()));
                    connections.drain(left).await
                };
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
    async fn serve(
        &mut self,
        listener: &impl Accept,
        orders: &mut watch::Receiver<Order>,
    ) -> Option<Duration> {
        let mut backoff = Backoff::default();
        let logs = Arc::clone(&self.starter.setup.logs);
        let handshakes = Arc::clone(&self.connections.handshakes);
        loop {
            let has_room = self.connections.tasks.len() < self.starter.setup.limits().max_connections;
            let due = logs.due();
            // What is waited for has a time of its own: other events end this turn, and not the wait.
            tokio::select! {
                changed = orders.changed() => match (changed, *orders.borrow()) {
                    (Err(_), _) => return None,
                    (Ok(()), Order::Drain(grace)) => return Some(grace),
                    (Ok(()), Order::Serve) => {}
                },
                Some(ended) = self.connections.tasks.join_next_with_id() => self.connections.forget(ended),
                accepted = accept_after(listener, backoff.until, &handshakes), if has_room => match accepted {
                    Ok(accepted) => {
                        backoff = Backoff::default();
                        self.admit(accepted);
                    }
                    Err(error) => self.failed(&mut backoff, &error),
                },
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => logs.write_due(),
            }
        }
    }

    /// Starts a connection, unless its address has as many as it may have: then it is closed.
    fn admit(&mut self, accepted: Accepted) {
        let Accepted { socket, peer, proxied, is_tls, websocket } = accepted;
        let entrance = self.starter.entrance(&self.connections, is_tls, &websocket);
        // That of a client behind a proxy is not known yet.
        let address = if proxied == Proxied::No { socket.peer_ip() } else { None };
        if proxied == Proxied::Untrusted {
            return entrance.refused(&peer, "it is not from a trusted proxy (Bind::proxy_protocol)");
        }
        if !self.connections.addresses.has_room(address) {
            return entrance.full(&peer);
        }
        if let Some(task) = self.start(entrance, socket, peer, proxied == Proxied::Yes) {
            self.connections.addresses.insert(task, address);
        }
    }

    /// Starts a connection, if it is not refused.
    fn start(&mut self, entrance: Entrance, socket: Socket, peer: PeerInfo, is_proxied: bool) -> Option<Id> {
        tracing::debug!(%peer, "connection accepted");
        if is_proxied || entrance.handshake.is_some() {
            return Some(self.start_with_steps(entrance, socket, peer, is_proxied));
        }
        let Some(connection) = self.starter.connection(socket, peer) else {
            self.connections.live.note_refused();
            return None;
        };
        let (peer, shared) = (Peer::of_connection(&connection, false), Arc::clone(connection.shared()));
        self.starter.hooks.age.watch(&shared);
        let id = self.connections.tasks.spawn(connection.run()).id();
        self.connections.live.insert(id, shared);
        self.starter.tell(peer);
        Some(id)
    }

    /// Starts a connection that begins with the header of a proxy, a handshake, or both, in its task.
    fn start_with_steps(
        &mut self,
        entrance: Entrance,
        socket: Socket,
        mut peer: PeerInfo,
        is_proxied: bool,
    ) -> Id {
        let (starter, live) = (self.starter.clone(), Arc::clone(&self.connections.live));
        let stopping = self.stopping.clone();
        let address = if is_proxied { None } else { socket.peer_ip() };
        let under_way = self.connections.handshakes.begin(address);
        let task = self.connections.tasks.spawn(async move {
            let entering = entrance.enter(socket, &mut peer, is_proxied, under_way);
            let Some(Some(io)) = stopping.run_until_cancelled(entering).await else { return };
            let Some(connection) = starter.connection(io, peer) else { return live.note_refused() };
            let peer = Peer::of_connection(&connection, false);
            live.insert(tokio::task::id(), Arc::clone(connection.shared()));
            starter.hooks.age.watch(connection.shared());
            // Who stops the server cancels first, and then ends the connections that it knows.
            if !stopping.is_cancelled() {
                starter.tell(peer);
                connection.run().await;
            }
        });
        task.id()
    }

    /// Notes a failure to accept.
    fn failed(&self, backoff: &mut Backoff, error: &io::Error) {
        if is_of_one_connection(error) {
            return tracing::debug!("a connection ended before it was accepted: {error}");
        }
        backoff.note_failure();
        if let Some(line) = self.starter.setup.logs.accepting.admit() {
            let connections = self.connections.tasks.len();
            let suppressed = line.suppressed;
            tracing::warn!(connections, suppressed, "cannot accept a connection: {error}");
        }
    }
}

/// What a connection passes before its session.
struct Entrance {
    limit: Duration,
    /// When the limit, which is one for all steps, is over.
    deadline: Option<Instant>,
    /// That of TLS, if it is to be, the upgrade to WebSocket, and that of the application.
    handshake: Option<Arc<dyn Handshake>>,
    is_tls: bool,
    addresses: Arc<Addresses>,
    live: Arc<LiveConnections>,
    logs: Arc<SharedLogs>,
}

impl Entrance {
    /// Goes through all steps, unless this one has to give way to another. Returns the transport; `None` if the
    /// connection is to be closed.
    async fn enter(
        &self,
        socket: Socket,
        peer: &mut PeerInfo,
        is_proxied: bool,
        under_way: UnderWay,
    ) -> Option<BoxIo> {
        tokio::select! {
            biased;
            io = self.go_through(socket, peer, is_proxied) => return io,
            () = under_way.given_up() => {}
        }
        let limit = under_way.limit();
        self.live.note_failed_handshake();
        let problem = format!("it gave way to a new one, {limit} were under way (Limits::max_handshakes)");
        self.note_failure(peer, problem.into());
        None
    }

    /// Reads the header of a proxy if there is to be one, then does the handshake.
    async fn go_through(&self, mut socket: Socket, peer: &mut PeerInfo, is_proxied: bool) -> Option<BoxIo> {
        if is_proxied && !self.take_address(&mut socket, peer).await {
            return None;
        }
        let Some(handshake) = &self.handshake else { return Some(Box::new(socket)) };
        match shake(&**handshake, (self.limit, self.deadline), socket, peer).await {
            Ok(io) => Some(io),
            Err(error) => {
                self.live.note_failed_handshake();
                self.note_failure(peer, error);
                None
            }
        }
    }

    /// Sets the address of the peer to that in the header. Returns whether the connection may go on.
    async fn take_address(&self, socket: &mut Socket, peer: &mut PeerInfo) -> bool {
        let (client, known) = match timer::before(self.deadline, read_header(socket)).await {
            Some(Ok(Some(client))) => (Some(client.ip()), Some(client)),
            Some(Ok(None)) => (socket.peer_ip(), None),
            Some(Err(error)) => {
                self.refused(peer, &error.to_string());
                return false;
            }
            None => {
                let limit = self.limit;
                self.refused(peer, &format!("no PROXY header within {limit:?} (Limits::handshake_timeout)"));
                return false;
            }
        };
        if let Some(client) = known {
            let address = if self.is_tls { Address::tls(client) } else { client.into() };
            peer.set_address(address.to_string());
        }
        let has_room = client.is_none_or(|client| self.addresses.try_insert(tokio::task::id(), client));
        if !has_room {
            self.full(peer);
        }
        has_room
    }

    fn full(&self, peer: &PeerInfo) {
        let limit = self.addresses.limit();
        self.refused(peer, &format!("its address has {limit} others (Limits::max_connections_per_address)"));
    }

    /// Counts a connection that is closed without a session, and says why.
    fn refused(&self, peer: &PeerInfo, reason: &str) {
        self.live.note_refused();
        if let Some(line) = self.logs.refusing.admit() {
            tracing::warn!(%peer, suppressed = line.suppressed, "a connection is closed: {reason}");
        }
    }

    /// Says why a handshake failed. The error may be the user's: it may panic, also when it is dropped.
    fn note_failure(&self, peer: &PeerInfo, error: BoxError) {
        let line = self.logs.handshakes.admit();
        let say = move || {
            if let Some(line) = line {
                tracing::info!(%peer, suppressed = line.suppressed, "handshake failed: {}", Brief(&error));
            }
            drop(error);
        };
        if panics::catch(say).is_err() {
            panics::report("the error of a handshake panicked");
        }
    }
}

impl<S: CallService> Starter<S> {
    fn entrance(&self, connections: &Connections, is_tls: bool, websocket: &ServerWebSocket) -> Entrance {
        let Hooks { security, handshake, .. } = &self.hooks;
        let limit = self.setup.limits().handshake_timeout;
        Entrance {
            limit,
            // A limit beyond the end of time is none.
            deadline: Instant::now().checked_add(limit),
            handshake: security.handshake(is_tls, websocket, handshake.as_ref()),
            is_tls,
            addresses: Arc::clone(&connections.addresses),
            live: Arc::clone(&connections.live),
            logs: Arc::clone(&self.setup.logs),
        }
    }

    /// Returns a connection that sees what it may see of the services; `None` if it is refused.
    fn connection<T>(&self, io: T, peer: PeerInfo) -> Option<Connection<T, S>>
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let router = match &self.hooks.access {
            Some(access) => access.view(&peer, &self.router),
            None => Some(self.router.clone()),
        };
        let Some(router) = router else {
            if let Some(line) = self.setup.logs.handshakes.admit() {
                tracing::info!(%peer, suppressed = line.suppressed, "a connection is refused (ServerBuilder::access)");
            }
            // Its values are the application's, and may panic when they are dropped.
            panics::discard((io, peer));
            return None;
        };
        Some(Connection::new(Side::Server, io, peer, &self.setup, router, self.service.clone()))
    }

    fn tell(&self, peer: Peer) {
        // Code of the user's must not end the server.
        if let Some(hook) = &self.hooks.on_connect
            && panics::catch(|| hook(peer)).is_err()
            && let Some(line) = self.setup.logs.hooks.admit()
        {
            tracing::error!(suppressed = line.suppressed, "the hook of on_connect panicked");
        }
    }
}

/// Takes the next connection, not before a time, nor before there is room for its handshake. Cancel safe.
async fn accept_after(
    listener: &impl Accept,
    time: Option<Instant>,
    handshakes: &Handshakes,
) -> io::Result<Accepted> {
    if let Some(time) = time {
        sleep_until(time).await;
    }
    handshakes.room().await;
    listener.accept().await
}

/// Whether the failure is that of the connection that would have been next, and not of the listener.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// When to accept again after failures. One is that no more files can be opened, which asking again at once
/// does not mend.
#[derive(Debug, Default)]
struct Backoff {
    pause: Duration,
    until: Option<Instant>,
}

impl Backoff {
    fn note_failure(&mut self) {
        self.pause = (self.pause * 2).clamp(MIN_PAUSE, MAX_PAUSE);
        self.until = Some(Instant::now() + self.pause);
    }
}

impl Connections {
    fn forget(&mut self, ended: Result<(Id, ()), JoinError>) {
        let id = ended.as_ref().map_or_else(JoinError::id, |(id, ())| *id);
        self.live.remove(id);
        self.addresses.remove(id);
        // What a panic left behind may panic, too.
        panics::discard(ended);
    }

    /// Lets calls under way finish within `grace`.
    async fn drain(&mut self, grace: Duration) -> Drained {
        let mut drains = JoinSet::new();
        for shared in self.live.all() {
            drains.spawn(async move { shared.drain(grace).await });
        }
        let mut sum = Drained::default();
        drains.join_all().await.into_iter().for_each(|drained| sum += drained);
        self.ended().await;
        sum
    }

    /// Ends all connections now.
    async fn close(&mut self) -> Drained {
        let before = self.live.call_stats();
        for shared in self.live.all() {
            shared.session().close(ErrorCode::NO_ERROR, "the server has stopped");
        }
        self.ended().await;
        Drained::between(&before, &self.live.call_stats(), 0, true)
    }

    async fn ended(&mut self) {
        while let Some(ended) = self.tasks.join_next_with_id().await {
            self.forget(ended);
        }
    }
}

/// How long those who watch the health of a server that shuts down may take to be told.
const TELLING: Duration = Duration::from_millis(100);

/// Between two failures to accept: at first, and at most.
const MIN_PAUSE: Duration = Duration::from_millis(5);
const MAX_PAUSE: Duration = Duration::from_secs(1);

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::sync::Mutex;

    use tokio::{net::UnixStream, sync::mpsc, time::sleep};

    use super::*;

    /// Gives sockets as long as there are any, and fails then.
    struct Failing {
        sockets: tokio::sync::Mutex<mpsc::Receiver<UnixStream>>,
        kind: io::ErrorKind,
        failures: Arc<Mutex<Vec<Instant>>>,
    }

    impl Failing {
        fn note_failure(&self) -> usize {
            let mut failures = self.failures.lock().unwrap();
            failures.push(Instant::now());
            failures.len()
        }
    }

    impl Accept for Failing {
        async fn accept(&self) -> io::Result<Accepted> {
            if let Some(socket) = self.sockets.lock().await.recv().await {
                let (socket, peer) = (Socket::Unix(socket), PeerInfo::default());
                let websocket = ServerWebSocket::default();
                return Ok(Accepted { socket, peer, proxied: Proxied::No, is_tls: false, websocket });
            }
            if self.note_failure() >= 100 {
                std::future::pending::<()>().await;
            }
            Err(self.kind.into())
        }
    }

    /// A server of `count` connections, that cannot accept more; the other ends, and when it tried.
    async fn failing(
        count: usize,
        kind: io::ErrorKind,
    ) -> (Vec<UnixStream>, Arc<Mutex<Vec<Instant>>>, watch::Sender<Order>) {
        let (send, sockets) = mpsc::channel(count + 1);
        let mut ends = Vec::new();
        for _ in 0..count {
            let (near, far) = UnixStream::pair().unwrap();
            send.send(far).await.unwrap();
            ends.push(near);
        }
        drop(send);
        let failures = Arc::default();
        let listener = Failing { sockets: sockets.into(), kind, failures: Arc::clone(&failures) };
        let setup = Setup::new();
        let router = setup.router().unwrap();
        let handshakes = Handshakes::new(1, Duration::from_secs(10));
        let acceptor =
            Acceptor::new(setup, router.clone(), router, Hooks::default(), Arc::default(), handshakes);
        let (orders, ordered) = watch::channel(Order::Serve);
        tokio::spawn(acceptor.run(listener, ordered));
        while failures.lock().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        (ends, failures, orders)
    }

    #[tokio::test(start_paused = true)]
    async fn connections_that_end_do_not_put_off_when_to_accept_again() {
        let (ends, failures, _orders) = failing(100, io::ErrorKind::Other).await;
        for end in ends {
            drop(end);
            sleep(Duration::from_millis(50)).await;
        }
        let failures = failures.lock().unwrap();
        let pauses: Vec<_> = failures.windows(2).map(|pair| (pair[1] - pair[0]).as_millis()).collect();
        assert_eq!(pauses[..9], [5, 10, 20, 40, 80, 160, 320, 640, 1000]);
    }

    #[tokio::test(start_paused = true)]
    async fn connections_that_end_before_they_are_accepted_hold_nobody_up() {
        let (_ends, failures, _orders) = failing(0, io::ErrorKind::ConnectionAborted).await;
        sleep(Duration::from_secs(1)).await;
        let failures = failures.lock().unwrap();
        assert_eq!((failures.len(), failures[99] - failures[0]), (100, Duration::ZERO));
    }
}
