//! One connection at work: its driver and the calls it serves, in one task.

mod handover;
mod monitor;
mod parked;

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
    task::coop::has_budget_remaining,
};

use self::{
    handover::{Handover, Holder},
    monitor::Watched,
    parked::{Parked, Place},
};
use crate::{
    CallService, PeerInfo, Router,
    connection::{
        capabilities::CapabilityStreams,
        serving::{
            admission::{Admission, Next},
            call::{Begins, New, ServerCall},
            inline_policy::{Batch, InlinePolicy},
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
    /// The calls that wait for something, and are polled by whoever is at work.
    parked: Parked<Pin<Box<ServerCall<S>>>>,
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
    /// There may be calls to be started that have come before: they wait for room, or the last turn did not get to them.
    has_calls: bool,
}

/// What calls that are done have left to the next ones.
struct Spare<S: CallService> {
    /// A permit that was looked for another call.
    permit: Option<Permit>,
    /// Where the next call is polled, and waits if it has to.
    place: Option<Place>,
    /// Room in memory, with a service. The last one may have a permit of the first class.
    calls: Vec<Pin<Box<ServerCall<S>>>>,
}

impl<S: CallService> Spare<S> {
    const fn new() -> Self {
        Self { permit: None, place: None, calls: Vec::new() }
    }

    fn is_empty(&self) -> bool {
        self.calls.is_empty() && self.place.is_none() && self.permit.is_none()
    }

    fn has_first_permit(&self) -> bool {
        self.calls.last().is_some_and(|call| call.has_first_permit())
    }

    /// Keeps what is left of a call that is done.
    fn keep(&mut self, mut call: Pin<Box<ServerCall<S>>>) {
        if self.has_first_permit() || !call.has_first_permit() {
            drop(call.as_mut().take_permit());
        }
        if !call.may_serve_again() || self.calls.len() >= CALLS_PER_TURN {
            return;
        }
        let last = self.calls.len().saturating_sub(1);
        let is_behind = self.has_first_permit();
        self.calls.push(call);
        if is_behind {
            self.calls.swap(last, last + 1);
        }
    }
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
            parked: Parked::new(),
            handover: Handover::new(),
            runtime: runtime.filter(|runtime| runtime.runtime_flavor() != RuntimeFlavor::CurrentThread),
            logs: Arc::clone(&setup.logs),
        });
        let work = Work { driver, service, capabilities, has_calls: true };
        Self { shared, work: Box::new(work) }
    }

    pub(crate) fn shared(&self) -> &Arc<ConnectionShared> {
        &self.shared.connection
    }

    /// Works until the session has ended, or the transport panics.
    pub(crate) async fn run(self) {
        let Self { shared, work } = self;
        let owner = Owner(Arc::clone(&shared));
        if !Seat::new(shared, Holder::OWNER, work).run().await {
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

impl<T, S> TaskShared<T, S>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: CallService,
{
    /// Has calls that were parked end by themselves: the session is over.
    fn end_parked(self: &Arc<Self>) {
        for call in self.parked.end() {
            self.connection.runtime().spawn(CallTask { call, shared: Arc::clone(self) });
        }
    }
}

/// The task that stands for a connection: without it nobody works.
struct Owner<T, S>(Arc<TaskShared<T, S>>)
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: CallService;

impl<T, S> Drop for Owner<T, S>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: CallService,
{
    fn drop(&mut self) {
        panics::discard(self.0.handover.abandon());
        self.0.end_parked();
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
    if !Seat::new(shared, holder, work).run().await {
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
    service: CatchDrop<S>,
    spare: Spare<S>,
    /// Calls may be parked.
    has_parked: bool,
    /// How many parked calls may go on before other tasks get a turn.
    resumes: usize,
    /// Since other tasks had a turn a call got a task, or a handler waits that may have spawned one.
    has_spawned: bool,
}

/// The handlers that run in one turn of a connection's task.
struct Handlers<'a> {
    batch: Batch<'a>,
    /// Set while handlers run, if another task can take the work over.
    watch: Option<monitor::Turn>,
}

impl<T, S> Seat<T, S>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: CallService,
{
    fn new(shared: Arc<TaskShared<T, S>>, holder: Holder, work: Box<Work<T, S>>) -> Self {
        let service = work.service.clone();
        // Whoever held the work before may park calls still.
        let has_parked = holder != Holder::OWNER;
        Self {
            shared,
            holder,
            work: Some(work),
            service,
            spare: Spare::new(),
            has_parked,
            resumes: 0,
            has_spawned: false,
        }
    }

    /// Works until the session has ended, or the transport panics. Returns false if another task has taken the work
    /// over.
    async fn run(mut self) -> bool {
        let worked = poll_fn(|cx| match panics::catch(|| self.poll(cx)) {
            Ok(polled) => polled.map(Ok),
            Err(panic) => Poll::Ready(Err(panic)),
        });
        let panicked = worked.await.is_err();
        self.take_back();
        self.drop_spare();
        let Self { shared, work, service, .. } = self;
        panics::discard(service);
        let Some(work) = work else { return false };
        // In a place of its own, which a connection has no need of as long as it runs.
        Box::pin(finish(shared, work, panicked)).await;
        true
    }

    /// Ready at the end of the session, or once another task has taken the work over.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(work) = &mut self.work else { return Poll::Ready(()) };
        (self.resumes, self.has_spawned) = (CALLS_PER_TURN, false);
        let mut turn = work.driver.start_turn(cx);
        loop {
            if let Turn::Over(polled) = turn {
                self.rest();
                self.part_from_parked();
                return polled.map(|_| ());
            }
            let served = self.serve(cx);
            let Some(work) = &mut self.work else { return Poll::Ready(()) };
            turn = work.driver.finish_turn(cx, served);
        }
    }

    /// Gives the memory back that no call needs, where nothing happens for a while.
    fn rest(&mut self) {
        let is_at_rest = self.work.as_ref().is_some_and(|work| work.driver.is_at_rest());
        if is_at_rest && !self.spare.is_empty() {
            self.drop_spare();
            self.shared.parked.shrink();
            self.shared.connection.memory().shrink();
        }
    }

    /// Has calls that are parked end by themselves once the session is over, however long its transport takes to close.
    fn part_from_parked(&mut self) {
        if self.has_parked && self.shared.connection.session().is_closed() {
            self.has_parked = false;
            self.shared.end_parked();
        }
    }

    fn drop_spare(&mut self) {
        let mut spare = std::mem::replace(&mut self.spare, Spare::new());
        if let Some(place) = spare.place.take() {
            self.shared.parked.free(place);
        }
        panics::discard(spare);
    }

    /// Listens and speaks on the control streams, goes on with calls, and starts others. Ready if there may be more of
    /// them, which wait until the responses of these are on their way, or if another task has taken the work over.
    fn serve(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(work) = &mut self.work else { return Poll::Ready(()) };
        let shared = Arc::clone(&self.shared);
        let connection = &shared.connection;
        work.capabilities.poll(cx, connection.remote(), connection.limits(), &shared.router);
        // What the peer opens comes with input: a turn that only sends or keeps time looks for nothing.
        let may_have_calls = work.driver.has_read() || work.has_calls;
        if !may_have_calls && !self.has_parked {
            return Poll::Pending;
        }
        // Whoever takes the work over looks, too.
        work.has_calls = may_have_calls;
        #[cfg(feature = "metrics")]
        let _turn = turn_clock::begin();
        let batch = shared.policy.batch();
        let mut handlers = Handlers { batch, watch: None };
        self.resume(&mut handlers);
        let accepted = if may_have_calls { self.accept(cx, &mut handlers) } else { Poll::Pending };
        drop(handlers);
        self.take_back();
        let Some(work) = &mut self.work else { return Poll::Ready(()) };
        // Once the budget of the task is used up nothing more is looked for.
        let is_cut_short = accepted.is_ready() || !has_budget_remaining();
        work.has_calls = is_cut_short || (may_have_calls && !shared.admission().may_accept_any());
        if self.has_parked && shared.parked.end_turn(cx.waker()) {
            // After other tasks: handlers that are woken all the time keep neither those nor new calls waiting.
            cx.waker().wake_by_ref();
        }
        accepted
    }

    /// Goes on with parked calls that were woken.
    fn resume(&mut self, handlers: &mut Handlers<'_>) {
        if !self.has_parked {
            return;
        }
        let shared = Arc::clone(&self.shared);
        shared.parked.begin_turn();
        while self.resumes > 0 && self.goes_on(handlers) && has_budget_remaining() {
            let Some((place, mut call)) = shared.parked.next() else { return };
            self.resumes -= 1;
            if !handlers.batch.resumes_here(call.method(), &shared.router) {
                shared.parked.free(place);
                self.spawn(call);
                continue;
            }
            self.prepare(handlers);
            let polled = call.as_mut().poll(&mut Context::from_waker(place.waker()));
            self.settle(polled, call, Some(place), handlers);
        }
    }

    /// Starts the calls that have come, as far as the limit goes. Ready if there may be more of them.
    ///
    /// A call whose method has proved quick is polled where it is, and parked if it waits. Others get tasks. The tasks
    /// need no owner: each waits for nothing but its handler and its stream, which fails when the session ends or the
    /// connection is dropped.
    fn accept(&mut self, cx: &mut Context<'_>, handlers: &mut Handlers<'_>) -> Poll<()> {
        let shared = Arc::clone(&self.shared);
        let (connection, router) = (&shared.connection, &shared.router);
        for _ in 0..CALLS_PER_TURN {
            if !self.goes_on(handlers) {
                break;
            }
            if !has_budget_remaining() {
                // The others begin in the next turn of the task.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let mut new = None;
            match self.poll_next(cx, &mut new) {
                Next::Call => {}
                Next::Pending => return Poll::Pending,
                Next::TakenOver => return Poll::Ready(()),
                other => {
                    other.refuse(connection);
                    continue;
                }
            }
            let call = self.spare.calls.pop();
            let mut call = call.unwrap_or_else(|| Box::pin(ServerCall::new(self.service.clone())));
            let place = self.spare.place.take().or_else(|| shared.parked.place());
            let waker = place.as_ref().map_or_else(|| cx.waker(), Place::waker);
            let mut place_cx = Context::from_waker(waker);
            let polled = call.as_mut().poll_new(&mut place_cx, connection, router, &mut new, |request| {
                if request.deadline().is_some_and(|at| handlers.batch.is_too_late(at)) {
                    return Begins::TooLate;
                }
                if !handlers.batch.runs_here(request.method(), router) {
                    return Begins::InItsTask;
                }
                self.prepare(handlers);
                Begins::Here
            });
            self.settle(polled, call, place, handlers);
        }
        Poll::Ready(())
    }

    /// Whether more handlers may run in this turn.
    fn goes_on(&self, handlers: &Handlers<'_>) -> bool {
        !handlers.batch.is_long() && self.shared.handover.is_holder(self.holder)
    }

    /// Prepares for a handler that runs here.
    fn prepare(&mut self, handlers: &mut Handlers<'_>) {
        if handlers.watch.is_none() {
            handlers.watch = self.lend();
        }
        // One that is to wait will hardly hold its thread before that.
        if self.has_spawned && handlers.watch.is_some() && !handlers.batch.is_to_wait() {
            self.has_spawned = false;
            release_spawned();
        }
    }

    /// Keeps what is left of a call that was polled, or lets it wait.
    fn settle(
        &mut self,
        polled: Poll<()>,
        call: Pin<Box<ServerCall<S>>>,
        place: Option<Place>,
        handlers: &mut Handlers<'_>,
    ) {
        handlers.batch.note(polled.is_pending());
        if polled.is_pending() {
            match place {
                // A handler that takes all that a task may do before others get a turn leaves nothing to those beside it.
                Some(place) if call.may_be_parked() && has_budget_remaining() => {
                    (self.has_parked, self.has_spawned) = (true, true);
                    if let Some(call) = self.shared.parked.park(place, call) {
                        self.spawn(call);
                    }
                }
                place => {
                    self.keep_place(place);
                    self.spawn(call);
                }
            }
        } else {
            self.spare.keep(call);
            self.keep_place(place);
        }
    }

    fn keep_place(&mut self, place: Option<Place>) {
        if let Some(other) = std::mem::replace(&mut self.spare.place, place) {
            self.shared.parked.free(other);
        }
    }

    fn spawn(&mut self, call: Pin<Box<ServerCall<S>>>) {
        tokio::spawn(CallTask { call, shared: Arc::clone(&self.shared) });
        self.has_spawned = true;
    }

    /// Polls for the next call that may begin, unless another task has taken the work over.
    ///
    /// Whoever takes it over polls after this, so that the task that is woken later is the one that works.
    #[inline]
    fn poll_next(&mut self, cx: &mut Context<'_>, new: &mut Option<New>) -> Next {
        let Self { shared, holder, spare, .. } = self;
        let mut admission = shared.admission();
        if !shared.handover.is_holder(*holder) {
            return Next::TakenOver;
        }
        if admission.may_accept_any() {
            if spare.has_first_permit() {
                return Admission::accept_any(&shared.connection, &mut None, new);
            }
            if admission.take_first(&mut spare.permit) {
                return Admission::accept_any(&shared.connection, &mut spare.permit, new);
            }
        }
        if let Some(permit) = spare.calls.last_mut().and_then(|call| call.as_mut().take_permit()) {
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
    let Work { driver, service, capabilities, .. } = *work;
    // Without its driver the session has ended, whatever happened.
    panics::discard(driver);
    let (connection, logs) = (&shared.connection, &shared.logs);
    if panicked && let Some(line) = logs.connections.admit() {
        let suppressed = line.suppressed;
        tracing::error!(peer = %connection.peer(), suppressed, "the transport of a connection panicked");
    }
    panics::discard((service, capabilities));
    shared.admission().end();
    shared.end_parked();
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

/// Calls that are started, or go on, before the responses of those among them that are done are sent.
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
