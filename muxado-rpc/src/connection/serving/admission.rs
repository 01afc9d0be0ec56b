//! Which calls of the peer are served now, which wait, and which are refused.
//!
//! A call that finds room in its [`Class`] is taken off the session at once. Else it stays in the session's backlog,
//! where what comes on it is bounded as before, and this only notes its key: who resets it takes it away. The queue
//! of each class is served
//!
//! - oldest first as long as it moves;
//! - newest first once its oldest call has waited for half of the time that it has: the calls that are begun then are
//!   those whose callers will still be there for the answer. The others are passed by until their time is over.
//!
//! A call has [`Limits::queue_timeout`] to wait, or its own time limit if that is less. After that it is refused, as
//! not executed. Calls of the last depth never wait.

use std::{
    collections::VecDeque,
    future::{Future, poll_fn},
    pin::Pin,
    sync::Arc,
    task::Context,
    time::Duration,
};

use bytes::Bytes;
use muxado::{
    ErrorCode, Stream, StreamType, TypedStream,
    rpc::{Accepted, Backlog, NextStream, StreamExt, TypedSessionExt, Waiting, WaitingKey},
};
use tokio::time::{Instant, Sleep, sleep_until};

use super::{
    call::New,
    rooms::{Class, Permit, Rooms},
};
use crate::{
    Codec, Limits, MethodInfo, Router, ServiceId, ServiceInfo, Status,
    connection::{metrics::CallGuard, shared::ConnectionShared},
    support::depth::Depth,
    wire::{Beginning, MAX_BEGINNING, codec_of, encode_response, peek_request},
};

/// The calls of one connection that are not begun yet, and the places of those that are.
pub(crate) struct Admission {
    rooms: Arc<Rooms>,
    /// Those who wait; `None` as long as nobody does.
    queue: Option<Box<Queue>>,
}

/// What is to be done next. It is done when the lock that [`Admission`] is under is released.
pub(crate) enum Next {
    /// The call that was taken begins.
    Call,
    /// This one does not.
    Refused(Refused),
    /// Nor this one, for which the session's backlog has no room.
    OverBacklog(WaitingKey),
    /// The peer has opened another control stream.
    Control(TypedStream),
    /// There is nothing to be done: the task is woken when one of those who wait may begin, and what comes is looked at
    /// with the next poll.
    Pending,
    /// Another task has taken the work over.
    TakenOver,
}

/// A call that is not begun, and why.
pub(crate) struct Refused {
    call: WaitingCall,
    why: Refusal,
}

impl Next {
    /// Refuses what is no call that begins.
    pub(crate) fn refuse(self, shared: &Arc<ConnectionShared>) {
        match self {
            Self::Call | Self::Pending | Self::TakenOver => {}
            Self::Refused(Refused { call, why }) => call.refuse(shared, why),
            Self::OverBacklog(key) => {
                tracing::debug!(peer = %shared.peer(), "call refused: over muxado::Config::accept_backlog");
                shared.typed().refuse_waiting(key);
            }
            // A peer has one control stream, which does not come this way (`PROTOCOL §10.13`).
            Self::Control(stream) => {
                tracing::debug!(peer = %shared.peer(), "a second control stream is refused");
                stream.into_inner().reset(ErrorCode::STREAM_REFUSED);
            }
        }
    }
}

impl Admission {
    pub(crate) fn new(limits: &Arc<Limits>) -> Self {
        Self { rooms: Rooms::new(limits), queue: None }
    }

    /// Forgets those who wait: the session has ended.
    pub(crate) fn end(&mut self) {
        self.queue = None;
        self.rooms.stop_waiting();
    }

    /// Returns whether any call may be taken for which there is a place of the first class: nobody waits, and one that
    /// turns out to stream can exchange its place.
    #[inline]
    pub(crate) fn may_accept_any(&self) -> bool {
        self.queue.is_none() && self.rooms.has_room_for_streams()
    }

    /// Has `spare` be a permit of the first class. Returns false if all of these are in use.
    #[inline]
    pub(crate) fn take_first(&self, spare: &mut Option<Permit>) -> bool {
        if !spare.as_ref().is_some_and(Permit::is_of_first_class) {
            match self.rooms.take(Class::FIRST) {
                Some(permit) => *spare = Some(permit),
                None => return false,
            }
        }
        true
    }

    /// Takes the next stream of the peer whatever it brings, with a permit of the first class: this one, or that of
    /// the place where it will be served. A call that turns out to stream exchanges that; one that is deeper may have a
    /// place of the first depth.
    #[inline]
    pub(crate) fn accept_any(
        shared: &Arc<ConnectionShared>,
        permit: &mut Option<Permit>,
        new: &mut Option<New>,
    ) -> Next {
        let Some(accepted) = shared.typed().accept_any() else { return Next::Pending };
        if accepted.stream.stream_type() == StreamType::CONTROL {
            return Next::Control(accepted.stream);
        }
        *new = Some(New::of(accepted, permit.take()));
        Next::Call
    }

    /// Polls for the next call that may begin, and puts it into `new`. `spare` is a place that the last call gave back.
    #[inline(never)]
    pub(crate) fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
        new: &mut Option<New>,
        spare: &mut Option<Permit>,
        shared: &Arc<ConnectionShared>,
        router: &Router,
    ) -> Next {
        let had_queue = self.queue.is_some();
        let next = self.choose_next(cx, new, spare, shared, router);
        if had_queue || self.queue.is_some() {
            shared.metrics().set_waiting(self.queue.as_ref().map_or(0, |queue| queue.len()));
        }
        next
    }

    #[inline]
    fn choose_next(
        &mut self,
        cx: &mut Context<'_>,
        new: &mut Option<New>,
        spare: &mut Option<Permit>,
        shared: &Arc<ConnectionShared>,
        router: &Router,
    ) -> Next {
        if self.queue.is_some()
            && let Some(next) = self.next_waiting(cx, new, spare, shared, router)
        {
            return next;
        }
        while let Some(next) = self.accept_next(new, spare, shared, router) {
            match next {
                Ok(next) => return next,
                Err(call) if call.look.is_over_backlog && call.look.depth.is_zero() => {
                    return Next::OverBacklog(call.key);
                }
                Err(call) if call.look.is_known && !call.look.class().waits() => {
                    return Next::Refused(Refused { call, why: Refusal::LastDepth });
                }
                Err(call) => self.queue.get_or_insert_default().push(call, shared),
            }
        }
        let waiting = self.queue.is_some().then(|| self.next_waiting(cx, new, spare, shared, router));
        waiting.flatten().unwrap_or(Next::Pending)
    }

    /// Returns the next stream of the peer, taken if it may be, or else what is known of it.
    fn accept_next(
        &self,
        new: &mut Option<New>,
        spare: &mut Option<Permit>,
        shared: &Arc<ConnectionShared>,
        router: &Router,
    ) -> Option<Result<Next, WaitingCall>> {
        let Self { rooms, queue } = self;
        let (mut seen, mut permit) = (None, None);
        let next = shared.typed().accept_next(|waiting| {
            if waiting.stream_type == Some(StreamType::CONTROL.as_u32()) {
                return true;
            }
            let look = Look::at(waiting, waiting.front(), router);
            let class = look.class();
            let is_first = queue.as_ref().is_none_or(|queue| !queue.has(class));
            permit = is_first.then(|| take(rooms, spare, class)).flatten();
            if permit.is_none() {
                seen = Some((look, waiting.came_at));
            }
            permit.is_some()
        })?;
        match (next, permit, seen) {
            (NextStream::Accepted(accepted), Some(permit), _) => {
                *new = Some(New::of(accepted, Some(permit)));
                Some(Ok(Next::Call))
            }
            (NextStream::Accepted(accepted), None, _) => Some(Ok(Next::Control(accepted.stream))),
            (NextStream::Left(key), _, Some((look, came_at))) => {
                let arrived = came_at.map_or_else(Instant::now, Instant::from_std);
                Some(Err(WaitingCall::new(key, look, arrived, shared.limits())))
            }
            // What is not taken was seen.
            (NextStream::Left(_), _, None) => None,
        }
    }

    /// Returns the next of those who wait, if one of them may begin or is to be refused.
    fn next_waiting(
        &mut self,
        cx: &mut Context<'_>,
        new: &mut Option<New>,
        spare: &mut Option<Permit>,
        shared: &Arc<ConnectionShared>,
        router: &Router,
    ) -> Option<Next> {
        let Self { rooms, queue: slot } = self;
        let queue = slot.as_mut()?;
        // Before a place is looked for, so that none that becomes free then is missed.
        rooms.wait(cx.waker());
        queue.look_again(shared, router);
        queue.poll_timeouts(cx, shared);
        let next = match queue.refused.pop() {
            Some(refused) => Some(Next::Refused(refused)),
            None => {
                *new = queue.pop(shared, |class| take(rooms, spare, class));
                new.is_some().then_some(Next::Call)
            }
        };
        // Others may have been found to be too late on the way.
        let next = next.or_else(|| queue.refused.pop().map(Next::Refused));
        if queue.is_empty() {
            *slot = None;
            rooms.stop_waiting();
        }
        next
    }
}

/// A place in a class: the spare one, if it is of it.
fn take(rooms: &Arc<Rooms>, spare: &mut Option<Permit>, class: Class) -> Option<Permit> {
    match spare.take_if(|spare| spare.class() == class) {
        Some(permit) => Some(permit),
        None => rooms.take(class),
    }
}

/// What is known of a call before it is taken.
#[derive(Clone, Copy, Debug)]
struct Look {
    service: Option<&'static ServiceInfo>,
    method: Option<&'static MethodInfo>,
    depth: Depth,
    timeout: Option<Duration>,
    /// `None` before the first byte.
    codec: Option<Codec>,
    /// More that comes changes nothing.
    is_known: bool,
    /// It has come when the backlog was full, where there is room for deeper calls only.
    is_over_backlog: bool,
}

impl Look {
    fn at(waiting: &Waiting<'_>, front: &[u8], router: &Router) -> Self {
        let service = router.service(ServiceId::new(waiting.stream_type.unwrap_or_default()));
        let mut look = Self {
            service,
            method: None,
            depth: Depth::ZERO,
            timeout: None,
            codec: codec_of(front),
            is_known: true,
            is_over_backlog: waiting.is_over_backlog,
        };
        match peek_request(front) {
            Beginning::Head(head) => {
                look.method = service.and_then(|service| service.method_named(head.method));
                (look.depth, look.timeout) = (head.depth, head.timeout);
            }
            Beginning::Incomplete => look.is_known = waiting.is_finished,
            Beginning::Unknown => {}
        }
        look
    }

    /// Where it belongs. One that nothing is known of is taken for a plain call, until it is read.
    fn class(&self) -> Class {
        match self.method {
            Some(method) => Class::new(method.shape(), self.depth),
            None => Class { depth: self.depth, ..Class::FIRST },
        }
    }
}

/// A call that is not begun, in the session's backlog.
#[derive(Debug)]
struct WaitingCall {
    key: WaitingKey,
    look: Look,
    arrived: Instant,
    /// When it has waited for too long; `None` beyond the end of time.
    until: Option<Instant>,
}

/// Why a call is not begun.
#[derive(Clone, Copy, Debug)]
enum Refusal {
    TimeOver,
    LastDepth,
}

impl WaitingCall {
    fn new(key: WaitingKey, look: Look, arrived: Instant, limits: &Limits) -> Self {
        let mut call = Self { key, look, arrived, until: None };
        call.until = arrived.checked_add(call.patience(limits));
        call
    }

    /// How long it waits at most.
    fn patience(&self, limits: &Limits) -> Duration {
        let Look { timeout, codec, .. } = self.look;
        let limit = timeout.map_or(limits.queue_timeout, |timeout| timeout.min(limits.queue_timeout));
        if codec.is_none() { limit.min(limits.first_byte_timeout) } else { limit }
    }

    fn is_over(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| until <= now)
    }

    /// Whether it has waited for half of its time.
    fn has_waited_long(&self, now: Instant) -> bool {
        let waited = now.saturating_duration_since(self.arrived);
        self.until.is_some_and(|until| waited * 2 > until.saturating_duration_since(self.arrived))
    }

    /// Answers it, without having executed anything. Of a call without a byte the stream is reset.
    fn refuse(self, shared: &Arc<ConnectionShared>, why: Refusal) {
        let Some(Accepted { stream, .. }) = shared.typed().accept_waiting(self.key) else { return };
        let Some(codec) = self.look.codec else { return };
        let status = self.status(shared.limits(), why).not_executed();
        tracing::debug!(peer = %shared.peer(), "call refused: {status}");
        let mut guard = CallGuard::begin(Arc::clone(shared));
        guard.answer(true);
        let mut response = encode_response(codec, Err(status), shared.send_limits());
        let mut stream = Some(stream.into_inner());
        let sent = Stream::finish_with(&mut stream, &mut response);
        match stream {
            // A caller that has gone needs no answer.
            _ if sent.is_err() => guard.take_back(),
            None => response.recycle(),
            Some(mut stream) => {
                shared.runtime().spawn(async move {
                    if poll_fn(|cx| stream.poll_write_final(cx, &mut response)).await.is_err() {
                        guard.take_back();
                    }
                });
            }
        }
    }

    fn status(&self, limits: &Limits, why: Refusal) -> Status {
        let (class, queue_timeout) = (self.look.class(), limits.queue_timeout);
        let what = match (self.look.method, self.look.service) {
            (Some(method), _) => method.to_string(),
            (None, Some(service)) => service.name().to_owned(),
            (None, None) => "a call of no service here".to_owned(),
        };
        let room = class.describe_limit(limits);
        match why {
            Refusal::TimeOver if self.look.timeout.is_some_and(|timeout| timeout <= queue_timeout) => {
                let timeout = self.look.timeout.unwrap_or_default();
                Status::deadline_exceeded(format!(
                    "{what}: not begun within the caller's time limit of {timeout:?}, beside {room}"
                ))
            }
            Refusal::TimeOver => Status::resource_exhausted(format!(
                "{what}: not begun within {queue_timeout:?} (Limits::queue_timeout), beside {room}"
            )),
            Refusal::LastDepth => Status::resource_exhausted(format!("{what}: no room beside {room}")),
        }
    }
}

/// The calls that wait.
#[derive(Default)]
struct Queue {
    /// Of each class that somebody waits in, the deepest first.
    lanes: Vec<Lane>,
    /// Those whose class is not known yet: they do not know for what to wait.
    unknown: Vec<WaitingCall>,
    /// Those who are to be refused.
    refused: Vec<Refused>,
    /// When the first of them has waited for too long, at the earliest.
    next_timeout: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
    /// With so many, those that have gone are looked for.
    sweep_from: usize,
}

struct Lane {
    class: Class,
    calls: VecDeque<WaitingCall>,
}

impl Queue {
    fn is_empty(&self) -> bool {
        self.refused.is_empty()
            && self.unknown.is_empty()
            && self.lanes.iter().all(|lane| lane.calls.is_empty())
    }

    fn has(&self, class: Class) -> bool {
        self.lanes.iter().any(|lane| lane.class == class && !lane.calls.is_empty())
    }

    fn len(&self) -> usize {
        self.unknown.len() + self.lanes.iter().map(|lane| lane.calls.len()).sum::<usize>()
    }

    fn push(&mut self, call: WaitingCall, shared: &Arc<ConnectionShared>) {
        self.next_timeout = [self.next_timeout, call.until].into_iter().flatten().min();
        if call.look.is_known {
            self.lane(call.look.class()).push_back(call);
        } else {
            self.unknown.push(call);
        }
        // Those who are reset leave only their keys here.
        if self.len() > self.sweep_from {
            self.sweep(shared, Instant::now());
            self.sweep_from = 2 * self.len() + 64;
        }
    }

    fn lane(&mut self, class: Class) -> &mut VecDeque<WaitingCall> {
        let at = match self.lanes.binary_search_by(|lane| class.cmp(&lane.class)) {
            Ok(at) => at,
            Err(at) => {
                self.lanes.insert(at, Lane { class, calls: VecDeque::new() });
                at
            }
        };
        &mut self.lanes[at].calls
    }

    /// Looks at those whose beginning had not come.
    fn look_again(&mut self, shared: &Arc<ConnectionShared>, router: &Router) {
        if self.unknown.is_empty() {
            return;
        }
        let mut known = Vec::new();
        shared.typed().with_backlog(|backlog| {
            self.unknown.retain_mut(|call| {
                let Some(waiting) = backlog.get(call.key) else { return false };
                let mut front = [0; MAX_BEGINNING];
                let len = waiting.copy_front(&mut front);
                call.look = Look::at(&waiting, &front[..len], router);
                if call.look.is_known {
                    known.push((call.key, call.look, call.arrived));
                }
                !call.look.is_known
            });
        });
        for (key, look, arrived) in known {
            let call = WaitingCall::new(key, look, arrived, shared.limits());
            if look.class().waits() {
                self.push(call, shared);
            } else {
                self.refused.push(Refused { call, why: Refusal::LastDepth });
            }
        }
    }

    /// Refuses those who have waited for too long.
    fn poll_timeouts(&mut self, cx: &mut Context<'_>, shared: &Arc<ConnectionShared>) {
        while let Some(at) = self.next_timeout {
            let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(at)));
            if timer.deadline() != at {
                timer.as_mut().reset(at);
            }
            if timer.as_mut().poll(cx).is_pending() {
                return;
            }
            let now = Instant::now();
            self.sweep(shared, now);
            // Many may be over soon after one another: they are looked for together.
            self.next_timeout = self.next_timeout.map(|at| at.max(now + SWEEP_AFTER));
        }
    }

    /// Forgets those who have gone, and refuses those whose time is over.
    fn sweep(&mut self, shared: &Arc<ConnectionShared>, now: Instant) {
        let over = &mut self.refused;
        let mut next_timeout = None;
        shared.typed().with_backlog(|backlog| {
            let mut stays = |call: &WaitingCall| {
                let waits = backlog.get(call.key).is_some();
                let stays = waits && !call.is_over(now);
                if stays {
                    next_timeout = [next_timeout, call.until].into_iter().flatten().min();
                }
                (waits, stays)
            };
            let mut sort = |call: WaitingCall| match stays(&call) {
                (_, true) => Some(call),
                (true, false) => {
                    over.push(Refused { call, why: Refusal::TimeOver });
                    None
                }
                (false, false) => None,
            };
            self.unknown = std::mem::take(&mut self.unknown).into_iter().filter_map(&mut sort).collect();
            for lane in &mut self.lanes {
                lane.calls = std::mem::take(&mut lane.calls).into_iter().filter_map(&mut sort).collect();
            }
        });
        self.next_timeout = next_timeout;
    }

    /// Takes the next call for which there is a place.
    fn pop(
        &mut self,
        shared: &Arc<ConnectionShared>,
        mut take: impl FnMut(Class) -> Option<Permit>,
    ) -> Option<New> {
        let now = Instant::now();
        for lane in self.lanes.iter_mut().filter(|lane| !lane.calls.is_empty()) {
            let Some(permit) = take(lane.class) else { continue };
            while let Some(call) = lane.pop(shared, now, &mut self.refused) {
                if let Some(accepted) = shared.typed().accept_waiting(call.key) {
                    return Some(New::of(accepted, Some(permit)));
                }
            }
        }
        self.pop_unknown(shared, take)
    }

    /// Takes a call of which nothing is known, if nobody else wants the place that is free.
    fn pop_unknown(
        &mut self,
        shared: &Arc<ConnectionShared>,
        mut take: impl FnMut(Class) -> Option<Permit>,
    ) -> Option<New> {
        if self.unknown.is_empty() || self.has(Class::FIRST) {
            return None;
        }
        let permit = take(Class::FIRST)?;
        let accept = |(at, call): (usize, &WaitingCall)| Some((at, shared.typed().accept_waiting(call.key)?));
        let (at, accepted) = self.unknown.iter().enumerate().find_map(accept)?;
        self.unknown.drain(..=at);
        Some(New::of(accepted, Some(permit)))
    }
}

impl Lane {
    /// Takes the call that is to begin next. Those whose time is over are to be refused.
    fn pop(
        &mut self,
        shared: &Arc<ConnectionShared>,
        now: Instant,
        refused: &mut Vec<Refused>,
    ) -> Option<WaitingCall> {
        shared.typed().with_backlog(|backlog| self.choose(&backlog, now, refused))
    }

    fn choose(
        &mut self,
        backlog: &Backlog<'_>,
        now: Instant,
        refused: &mut Vec<Refused>,
    ) -> Option<WaitingCall> {
        let mut newest_first = false;
        loop {
            let call = if newest_first { self.calls.pop_back() } else { self.calls.pop_front() }?;
            if backlog.get(call.key).is_none() {
                continue;
            }
            if call.is_over(now) {
                refused.push(Refused { call, why: Refusal::TimeOver });
            } else if !newest_first && call.has_waited_long(now) {
                newest_first = true;
                self.calls.push_front(call);
            } else {
                return Some(call);
            }
        }
    }
}

/// The least time between two searches for calls that have waited for too long.
const SWEEP_AFTER: Duration = Duration::from_millis(10);

impl New {
    #[inline]
    fn of(accepted: Accepted, permit: Option<Permit>) -> Self {
        let Accepted { stream, first, came_at } = accepted;
        let first: Option<Bytes> = first;
        let arrived = came_at.map_or_else(Instant::now, Instant::from_std);
        Self { stream, first, permit, arrived }
    }
}
