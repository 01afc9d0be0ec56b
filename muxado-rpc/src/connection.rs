//! One connection at work: its driver and the calls it serves, in one task.

mod call;

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use muxado::{Driver, Heartbeat, Session, SessionEnd, SessionError, Side, TypedSession};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::{JoinError, JoinSet},
};

use self::call::Handling;
use crate::{CallService, Channel, PeerInfo, Router, link::Link, setup::Setup};

/// The work of one connection. Polling it moves bytes and starts calls; dropping it ends them all.
///
/// Driver and accepting share a task: a request that was read is started, and an answer that was
/// written is sent, without waking another task.
pub(crate) struct Connection<T, S> {
    driver: Driver<T>,
    link: Arc<Link>,
    handling: Handling<S>,
    calls: JoinSet<()>,
}

impl<T, S> Connection<T, S>
where
    T: AsyncRead + AsyncWrite + Unpin,
    S: CallService,
{
    pub(crate) fn new(side: Side, io: T, peer: PeerInfo, setup: &Setup, router: Router, service: S) -> Self {
        let (session, driver) = Session::new(side, io, setup.config.clone());
        let typed = TypedSession::new(session);
        if let Some(heartbeat) = &setup.heartbeat {
            Heartbeat::start(&typed, *heartbeat);
        }
        let link = Arc::new(Link::new(typed, setup.limits.clone(), peer));
        let handling = Handling::new(Channel::new(Arc::clone(&link)), router, service);
        Self { driver, link, handling, calls: JoinSet::new() }
    }

    pub(crate) fn link(&self) -> &Arc<Link> {
        &self.link
    }

    /// Works until the session has ended. Handlers that still run then are dropped.
    pub(crate) async fn run(mut self) {
        poll_fn(|cx| self.poll(cx)).await;
        self.calls.abort_all();
        report(&self.link.session().closed().await, self.link.peer());
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if Pin::new(&mut self.driver).poll(cx).is_ready() {
            return Poll::Ready(());
        }
        loop {
            self.accept(cx);
            // At the limit nothing was accepted: what has ended makes room.
            let was_full = self.is_full();
            let reaped = self.reap(cx);
            if !(was_full && reaped) {
                return Poll::Pending;
            }
        }
    }

    /// Starts the calls that have come, as far as the limit goes.
    fn accept(&mut self, cx: &mut Context<'_>) {
        while !self.is_full() {
            let Poll::Ready(Some(stream)) = self.link.typed().poll_accept_typed(cx) else { return };
            self.calls.spawn(self.handling.clone().serve(stream));
        }
    }

    /// Forgets the calls that have ended. A call counts as long as anything of it is left.
    fn reap(&mut self, cx: &mut Context<'_>) -> bool {
        let mut reaped = false;
        while let Poll::Ready(Some(ended)) = self.calls.poll_join_next(cx) {
            reaped = true;
            if ended.is_err_and(|error: JoinError| error.is_panic()) {
                tracing::error!(peer = %self.link.peer(), "a call panicked outside its handler");
            }
        }
        reaped
    }

    fn is_full(&self) -> bool {
        self.calls.len() >= self.link.limits().max_in_flight
    }
}

/// A peer that does not speak the protocol is worth a line, an ordinary end is not.
fn report(end: &SessionEnd, peer: &PeerInfo) {
    match &end.local {
        SessionError::Protocol(_) => tracing::warn!(%peer, "connection closed: {end}"),
        _ => tracing::debug!(%peer, "connection closed: {end}"),
    }
}
