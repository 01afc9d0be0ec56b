//! One connection at work: its driver and the calls it serves, in one task.

mod handover;
mod monitor;

use std::{
    future::poll_fn,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use muxado::{
    Driver, SessionEnd, SessionError, Side, TypedSession,
    rpc::{Turn, TypedSessionExt, session_with},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    runtime::{Handle, RuntimeFlavor},
};

use self::{
    handover::{Handover, Holder},
    monitor::Watched,
};
use crate::{
    CallService, PeerInfo, Router,
    connection::{
        capabilities::CapabilityStreams,
        serving::{
            admission::{Admission, Next},
            call::{Begins, New, ServerCall},
            inline_policy::InlinePolicy,
            rooms::Permit,
        },
        setup::Setup,
        shared::ConnectionShared,
    },
    support::{
        log_limit::SharedLogs,
        panics::{self, CatchDrop},
    },
};

#[cfg(feature = "metrics")]
use crate::support::turn_clock;

/// One connection, whose work is to be run by a task.
///
/// The task drives the session, and accepts and runs the calls of the peer: a request that was read is started, and an
/// answer that was written is sent, without waking another task. Dropping it ends them all.
pub(crate) struct Connection<T, S: CallService> {
    shared: Arc<TaskShared<T, S>>,
    work: Box<Work<T, S>>,
}

/// What a connection's task has in common with those that go on for it while a handler holds its thread.
struct TaskShared<T, S: CallService> {
    connection: Arc<ConnectionShared>,
    router: Router,
    /// The calls that wait, and the places of those that are served: a call holds its own until nothing of it is left.
    admission: Mutex<Admission>,
    policy: InlinePolicy,
    handover: Handover<Work<T, S>>,
    /// Where another task can go on; `None` if there is but one thread.
    runtime: Option<Handle>,
    logs: Arc<SharedLogs>,
}

/// What is worked on, by one task at a time.
struct Work<T, S: CallService> {
    driver: Driver<T>,
    service: CatchDrop<S>,
    capabilities: CapabilityStreams,
    spare: Spare<S>,
}

/// What a call that is done has left to the next one.
struct Spare<S: CallService> {
    /// That of a place which was looked for another call.
    permit: Option<Permit>,
    /// Its place in memory, with its service, and with its permit if that is one of the first class.
    call: Option<Pin<Box<ServerCall<S>>>>,
}

impl<T, S> Connection<T, S>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: CallService,
{
    /// To be made in the runtime of the connection's task.
    pub(crate) fn new(
        side: Side,
        io: T,
        peer: PeerInfo,
        setup: &Setup,
        router: Router,
        service: CatchDrop<S>,
    ) -> Self {
        let (session, driver) = session_with(side, io, Arc::clone(setup.config()));
        let typed = TypedSession::new(session);
        // A call that is given up while it waits to be accepted is never started, and takes nobody's place.
        typed.accept_whole_only();
        let connection = Arc::new(ConnectionShared::new(typed, peer, setup, &router));
        let capabilities = CapabilityStreams::new(connection.typed(), connection.remote());
        let runtime = Some(Handle::current());
        let shared = Arc::new(TaskShared {
            connection,
            router,
            admission: Mutex::new(Admission::new(setup.limits())),
            policy: InlinePolicy::new(setup.inline),
            handover: Handover::new(),
            runtime: runtime.filter(|runtime| runtime.runtime_flavor() != RuntimeFlavor::CurrentThread),
            logs: Arc::clone(&setup.logs),
        });
        let spare = Spare { permit: None, call: None };
        let work = Work { driver, service, capabilities, spare };
        Self { shared, work: Box::new(work) }
    }

    pub(crate) fn shared(&self) -> &Arc<ConnectionShared> {
        &self.shared.connection
    }

    /// Works until the session has ended, or the transport panics.
    pub(crate) async fn run(self) {
        let Self { shared, work } = self;
        let owner = Owner(Arc::clone(&shared));
        if !(Seat { shared, holder: Holder::OWNER, work: Some(work) }).run().await {
            poll_fn(|cx| owner.0.handover.poll_finished(cx)).await;
        }
    }
}

impl<T, S: CallService> TaskShared<T, S> {
    fn admission(&self) -> MutexGuard<'_, Admission> {
        // Nothing that panics runs under the lock.
        self.admission.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The task that stands for a connection: without it nobody works.
struct Owner<T, S: CallService>(Arc<TaskShared<T, S>>);

impl<T, S: CallService> Drop for Owner<T, S> {
    fn drop(&mut self) {
        panics::discard(self.0.handover.abandon());
    }
}

impl<T, S> Watched for TaskShared<T, S>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: CallService,
{
    fn note_late(self: Arc<Self>, number: u64) {
        let Some(runtime) = &self.runtime else { return };
        if number == NOTHING_LENT {
            // The thread may be the one that waited for the system's events, and the others may sleep: one of them takes
            // its place.
            drop(runtime.spawn(async {}));
            return;
        }
        let deputy = runtime.spawn(stand_in(Arc::clone(&self), number));
        self.handover.add_deputy(deputy.abort_handle());
    }
}

/// Goes on with the work of a connection whose handlers hold their thread, if they still do.
async fn stand_in<T, S>(shared: Arc<TaskShared<T, S>>, number: u64)
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: CallService,
{
    let Some((work, holder)) = shared.handover.take_over(number) else { return };
    tracing::debug!(peer = %shared.connection.peer(), "a handler holds its thread; the connection goes on elsewhere");
    shared.policy.note_late(&shared.router);
    work.capabilities.note_moved();
    let mut end = Finish(Some(Arc::clone(&shared)));
    if !(Seat { shared, holder, work: Some(work) }).run().await {
        // Another one goes on.
        end.0 = None;
    }
}

/// Tells the owner that the work is done, or can be done no more.
struct Finish<T, S: CallService>(Option<Arc<TaskShared<T, S>>>);

impl<T, S: CallService> Drop for Finish<T, S> {
    fn drop(&mut self) {
        if let Some(shared) = &self.0 {
            shared.handover.finish();
        }
    }
}

/// A task at the work of a connection.
struct Seat<T, S: CallService> {
    shared: Arc<TaskShared<T, S>>,
    holder: Holder,
    /// `None` while it is lent, and after it was taken over.
    work: Option<Box<Work<T, S>>>,
}

impl<T, S> Seat<T, S>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: CallService,
{
    /// Works until the session has ended, or the transport panics. Returns false if another task has taken the work
    /// over.
    async fn run(mut self) -> bool {
        let worked = poll_fn(|cx| match panics::catch(|| self.poll(cx)) {
            Ok(polled) => polled.map(Ok),
            Err(panic) => Poll::Ready(Err(panic)),
        });
        let panicked = worked.await.is_err();
        self.take_back();
        let Self { shared, work, .. } = self;
        let Some(work) = work else { return false };
        // In a place of its own, which a connection has no need of as long as it runs.
        Box::pin(finish(shared, work, panicked)).await;
        true
    }

    /// Ready at the end of the session, or once another task has taken the work over.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(work) = &mut self.work else { return Poll::Ready(()) };
        let mut turn = work.driver.start_turn(cx);
        loop {
            if let Turn::Over(polled) = turn {
                self.rest();
                return polled.map(|_| ());
            }
            let accepted = self.serve(cx);
            let Some(work) = &mut self.work else { return Poll::Ready(()) };
            turn = work.driver.finish_turn(cx, accepted);
        }
    }

    /// Frees what only the next call would need, if there has been none for a while.
    #[inline]
    fn rest(&mut self) {
        if let Some(work) = &mut self.work
            && work.driver.is_at_rest()
        {
            work.spare.call = None;
        }
    }

    /// Listens and speaks on the control streams, and starts calls.
    fn serve(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(work) = &mut self.work else { return Poll::Ready(()) };
        let (connection, router) = (&self.shared.connection, &self.shared.router);
        work.capabilities.poll(cx, connection.remote(), connection.limits(), router);
        let mut spare = Spare { permit: work.spare.permit.take(), call: work.spare.call.take() };
        #[cfg(feature = "metrics")]
        let _turn = turn_clock::begin();
        let accepted = self.accept(cx, &mut spare);
        self.take_back();
        if let Some(work) = &mut self.work {
            work.spare = spare;
        }
        accepted
    }

    /// Starts the calls that have come, as far as the limit goes. Ready if there may be more of them,
    /// which wait until the answers of these are on their way, or if another task has taken the work over.
    ///
    /// A call whose method has proved quick is polled once where it is: if its handler has nothing to wait for, it is
    /// done, and costs no task. Others get one. The tasks need no owner: each waits for nothing but its handler and its
    /// stream, which fails when the session ends or the connection is dropped.
    fn accept(&mut self, cx: &mut Context<'_>, spare: &mut Spare<S>) -> Poll<()> {
        let shared = Arc::clone(&self.shared);
        let (connection, router) = (&shared.connection, &shared.router);
        let mut batch = shared.policy.batch();
        // Set while handlers run here.
        let mut watch = None;
        let mut has_spawned = false;
        for _ in 0..CALLS_PER_TURN {
            if spare.call.is_none() && self.work.is_none() {
                drop(watch.take());
                self.take_back();
                if self.work.is_none() {
                    return Poll::Ready(());
                }
            }
            let mut new = None;
            match self.poll_next(cx, spare, &mut new) {
                Next::Call => {}
                Next::Pending => return Poll::Pending,
                Next::TakenOver => return Poll::Ready(()),
                other => {
                    other.refuse(connection);
                    continue;
                }
            }
            let work = self.work.as_ref();
            let place = spare.call.take().or_else(|| Some(Box::pin(ServerCall::new(work?.service.clone()))));
            let Some(mut call) = place else { return Poll::Ready(()) };
            let polled = call.as_mut().poll_new(cx, connection, router, &mut new, |request| {
                if request.deadline().is_some_and(|at| batch.is_too_late(at)) {
                    return Begins::TooLate;
                }
                let runs_here = batch.runs_here(request.method(), router);
                if runs_here && watch.is_none() {
                    watch = self.lend();
                }
                if runs_here && std::mem::take(&mut has_spawned) && watch.is_some() {
                    release_spawned();
                }
                if runs_here { Begins::Here } else { Begins::InItsTask }
            });
            batch.note(polled.is_pending());
            if polled.is_pending() {
                tokio::spawn(CallTask { call, shared: Arc::clone(&shared) });
                has_spawned = true;
            } else {
                if !call.has_first_permit() {
                    drop(call.as_mut().take_permit());
                }
                spare.call = call.may_serve_again().then_some(call);
            }
            if batch.is_long() || !shared.handover.is_holder(self.holder) {
                return Poll::Ready(());
            }
        }
        Poll::Ready(())
    }

    /// Polls for the next call that may begin, unless another task has taken the work over.
    ///
    /// Whoever takes it over polls after this, so that the task that is woken later is the one that works.
    #[inline]
    fn poll_next(&self, cx: &mut Context<'_>, spare: &mut Spare<S>, new: &mut Option<New>) -> Next {
        let Self { shared, holder, .. } = self;
        let mut admission = shared.admission();
        if !shared.handover.is_holder(*holder) {
            return Next::TakenOver;
        }
        if admission.may_accept_any() && spare.call.as_ref().is_some_and(|call| call.has_first_permit()) {
            return Admission::accept_any(&shared.connection, new);
        }
        if let Some(permit) = spare.call.as_mut().and_then(|call| call.as_mut().take_permit()) {
            spare.permit = Some(permit);
        }
        admission.poll_next(cx, new, &mut spare.permit, &shared.connection, &shared.router)
    }

    /// Lends the work while handlers run, if another task can take it over.
    fn lend(&mut self) -> Option<monitor::Turn> {
        self.shared.runtime.as_ref()?;
        let number = self.shared.handover.lend(self.work.take()?);
        Some(monitor::watch(&self.shared, number))
    }

    /// Takes lent work back, unless another task has taken it over.
    fn take_back(&mut self) {
        if self.work.is_none() {
            self.work = self.shared.handover.take_back(self.holder);
        }
    }
}

/// Drops what the work of a connection consists of, and waits for the end of its session.
async fn finish<T, S>(shared: Arc<TaskShared<T, S>>, work: Box<Work<T, S>>, panicked: bool)
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: CallService,
{
    let Work { driver, service, capabilities, spare } = *work;
    // Without its driver the session has ended, whatever happened.
    panics::discard(driver);
    let (connection, logs) = (&shared.connection, &shared.logs);
    if panicked && let Some(line) = logs.connections.admit() {
        let suppressed = line.suppressed;
        tracing::error!(peer = %connection.peer(), suppressed, "the transport of a connection panicked");
    }
    panics::discard((service, capabilities, spare));
    shared.admission().end();
    report(&connection.session().closed().await, connection.peer(), logs);
    connection.log().write_count();
}

/// A call in a task of its own.
struct CallTask<T, S: CallService> {
    call: Pin<Box<ServerCall<S>>>,
    shared: Arc<TaskShared<T, S>>,
}

impl<T, S> Future for CallTask<T, S>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: CallService,
{
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let shared = &self.shared;
        let _watch = shared.runtime.as_ref().map(|_| monitor::watch(shared, NOTHING_LENT));
        self.call.as_mut().poll(cx)
    }
}

/// The number of a turn for which the work of the connection is not lent.
const NOTHING_LENT: u64 = 0;

/// Has the task that was spawned last run on any thread: the runtime keeps the last one for the thread that spawned it,
/// which may be held up now.
fn release_spawned() {
    drop(tokio::spawn(async {}));
}

/// Calls that are started before the answers of those among them that are done already are sent.
const CALLS_PER_TURN: usize = 64;

/// A peer that does not speak the protocol is worth a line, an ordinary end is not.
///
/// There may be one such peer after the other.
fn report(end: &SessionEnd, peer: &PeerInfo, logs: &SharedLogs) {
    let is_fault = matches!(&end.local, SessionError::Protocol(_));
    match is_fault.then(|| logs.connections.admit()).flatten() {
        Some(line) => tracing::warn!(%peer, suppressed = line.suppressed, "connection closed: {end}"),
        None => tracing::debug!(%peer, "connection closed: {end}"),
    }
}

#[cfg(test)]
mod tests;
