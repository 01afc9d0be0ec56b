//! One connection at work: its driver and the calls it serves, in one task.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use muxado::{
    Driver, ErrorCode, Heartbeat, Session, SessionEnd, SessionError, Side, StreamType, TypedSession,
    TypedStream, rpc::TypedSessionExt,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_util::sync::PollSemaphore;

use crate::{
    CallService, PeerInfo, Router,
    connection::{
        capabilities::CapabilityStreams,
        serving::{
            call::{New, ServerCall},
            pace::{Batch, Pace},
        },
        setup::Setup,
        shared::ConnectionShared,
    },
    support::{
        log_limit::{LogLimiter, SharedLogs},
        panics::{self, CatchDrop},
    },
};

/// The work of one connection. Polling it moves bytes and starts calls; dropping it ends them all.
///
/// Driver and accepting share a task: a request that was read is started, and an answer that was
/// written is sent, without waking another task.
pub(crate) struct Connection<T, S: CallService> {
    driver: Driver<T>,
    calls: Calls<S>,
    logs: Arc<SharedLogs>,
}

/// The calls that the peer makes.
struct Calls<S: CallService> {
    shared: Arc<ConnectionShared>,
    router: Router,
    service: CatchDrop<S>,
    /// One permit per call that may be served; the call holds it until nothing of it is left.
    permits: PollSemaphore,
    permit: Option<OwnedSemaphorePermit>,
    /// A call that is done: the next one takes its place in memory, and its service.
    spare: Option<Pin<Box<ServerCall<S>>>>,
    pace: Pace,
    capabilities: CapabilityStreams,
}

impl<T, S> Connection<T, S>
where
    T: AsyncRead + AsyncWrite + Unpin,
    S: CallService,
{
    pub(crate) fn new(
        side: Side,
        io: T,
        peer: PeerInfo,
        setup: &Setup,
        router: Router,
        service: CatchDrop<S>,
    ) -> Self {
        let (session, driver) = Session::new(side, io, setup.config.clone());
        let typed = TypedSession::new(session);
        // A call that is given up while it waits to be accepted is never started, and takes nobody's place.
        typed.accept_whole_only();
        if let Some(heartbeat) = &setup.heartbeat {
            Heartbeat::start(&typed, *heartbeat);
        }
        let permits = Arc::new(Semaphore::new(setup.limits.max_in_flight.min(Semaphore::MAX_PERMITS)));
        let shared = Arc::new(ConnectionShared::new(typed, peer, setup));
        let permits = PollSemaphore::new(permits);
        let capabilities = CapabilityStreams::new(shared.typed(), shared.remote());
        let pace = Pace::default();
        let calls = Calls { shared, router, service, permits, permit: None, spare: None, pace, capabilities };
        Self { driver, calls, logs: Arc::clone(&setup.logs) }
    }

    pub(crate) fn shared(&self) -> &Arc<ConnectionShared> {
        &self.calls.shared
    }

    /// Works until the session has ended, or the transport panics.
    pub(crate) async fn run(mut self) {
        let worked = poll_fn(|cx| match panics::catch(|| self.poll(cx)) {
            Ok(polled) => polled.map(Ok),
            Err(panic) => Poll::Ready(Err(panic)),
        });
        let worked = worked.await;
        let Self { driver, calls, logs } = self;
        // Without its driver the session has ended, whatever happened.
        panics::discard(driver);
        let shared = Arc::clone(&calls.shared);
        if worked.is_err()
            && let Some(line) = logs.connections.admit()
        {
            let suppressed = line.suppressed;
            tracing::error!(peer = %shared.peer(), suppressed, "the transport of a connection panicked");
        }
        panics::discard(calls);
        report(&shared.session().closed().await, shared.peer(), &logs.connections);
        shared.log().write_count();
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Self { driver, calls, .. } = self;
        Pin::new(driver).poll_with(cx, |cx| calls.poll(cx)).map(|_| ())
    }
}

impl<S: CallService> Calls<S> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.capabilities.poll(cx, self.shared.remote(), self.shared.limits(), &self.router);
        self.accept(cx)
    }

    /// Starts the calls that have come, as far as the limit goes. Ready if there may be more of them,
    /// which wait until the answers of these are on their way.
    fn accept(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut batch = None;
        let mut accepted = Poll::Ready(());
        for _ in 0..CALLS_PER_TURN {
            if self.permit.is_none() {
                let Poll::Ready(permit) = self.permits.poll_acquire(cx) else {
                    accepted = Poll::Pending;
                    break;
                };
                self.permit = permit;
            }
            let Some((stream, first)) = self.shared.typed().try_accept_with_chunk() else {
                accepted = Poll::Pending;
                break;
            };
            if stream.stream_type() == StreamType::CONTROL {
                refuse_control(stream, self.shared.peer());
                continue;
            }
            let batch = batch.get_or_insert_with(|| self.pace.begin());
            self.start(cx, stream, first, batch);
        }
        if let Some(batch) = batch {
            self.pace.end(&batch);
        }
        accepted
    }

    /// Polls a call once where it is: if its handler has nothing to wait for, it is done, and costs no
    /// task. Else it gets one.
    ///
    /// The tasks need no owner: each waits for nothing but its handler and its stream, which fails
    /// when the session ends or the connection is dropped.
    fn start(&mut self, cx: &mut Context<'_>, stream: TypedStream, first: Option<Bytes>, batch: &mut Batch) {
        let spare = self.spare.take();
        let mut serve = spare.unwrap_or_else(|| Box::pin(ServerCall::new(self.service.clone())));
        let permit = self.permit.take();
        if !batch.takes_another() {
            serve.as_mut().take_up(&self.shared, &self.router, New { stream, first, permit });
            tokio::spawn(serve);
        } else if serve
            .as_mut()
            .poll_new(cx, &self.shared, &self.router, New { stream, first, permit })
            .is_ready()
        {
            self.permit = serve.as_mut().take_permit();
            if serve.may_serve_again() {
                self.spare = Some(serve);
            }
        } else {
            tokio::spawn(serve);
        }
    }
}

/// Calls that are started before the answers of those among them that are done already are sent.
const CALLS_PER_TURN: usize = 64;

/// A peer has one control stream, which does not come this way (`PROTOCOL §10.13`).
fn refuse_control(stream: TypedStream, peer: &PeerInfo) {
    tracing::debug!(%peer, "a second control stream is refused");
    stream.into_inner().reset(ErrorCode::STREAM_REFUSED);
}

/// A peer that does not speak the protocol is worth a line, an ordinary end is not.
///
/// There may be one such peer after the other.
fn report(end: &SessionEnd, peer: &PeerInfo, log: &LogLimiter) {
    let is_fault = matches!(&end.local, SessionError::Protocol(_));
    match is_fault.then(|| log.admit()).flatten() {
        Some(line) => tracing::warn!(%peer, suppressed = line.suppressed, "connection closed: {end}"),
        None => tracing::debug!(%peer, "connection closed: {end}"),
    }
}

#[cfg(test)]
mod tests;
