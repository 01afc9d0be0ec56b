//! Who waits to open a stream, and in which order they may.
//!
//! Those who wait are woken in order, as many as there is room for, and the room is reserved for them for one turn of
//! the driver: otherwise newcomers could take it first again and again. After that turn it is free for all, and the next
//! ones are woken, too. A future that nobody polls therefore holds up no other: it is woken once, and passed by.
//!
//! Each [`OpenLevel`] has a queue of its own, so that openers of a level that has room do not stand behind those of one
//! that has none. Where openers have only so much time, and the oldest has waited for half of it, the newest are woken
//! first: they are the ones that still have the time to use their streams.

use std::{
    collections::VecDeque,
    num::NonZeroU64,
    task::{Context, Waker},
    time::{Duration, Instant},
};

use super::{Core, Wakes};
use crate::proto::OpenLevel;

/// The queue of those who wait to open a stream.
#[derive(Debug, Default)]
pub(crate) struct Openers {
    /// Those who were not called since they last asked. Nobody waits in most sessions, ever.
    waiting: Option<Box<Queues>>,
    /// How many there are, which is asked for at each unlock.
    len: usize,
    /// How many tickets there were.
    tickets: u64,
    /// Streams that those may open who were called in this turn of the driver.
    reserved: usize,
    /// Somebody waits for the end of the turn.
    turn_wanted: bool,
}

/// Those of each level, by rising tickets.
type Queues = [VecDeque<Opener>; OpenLevel::COUNT];

#[derive(Debug)]
struct Opener {
    ticket: NonZeroU64,
    waker: Waker,
    /// When half of its time is over; `None` if it has all the time in the world.
    half_time: Option<Instant>,
}

/// How an opener waits for its stream.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OpenWait {
    level: OpenLevel,
    /// Half of the time that it has, in milliseconds; 0 if that has no end.
    half_time_ms: u32,
}

impl OpenWait {
    /// Waits without an end, for all that the limits allow.
    pub(crate) const ANY: Self = Self { level: OpenLevel::ALL, half_time_ms: 0 };

    pub(crate) fn new(level: OpenLevel, time: Option<Duration>) -> Self {
        let half_time_ms = time.map_or(0, |time| u32::try_from(time.as_millis() / 2).unwrap_or(0).max(1));
        Self { level, half_time_ms }
    }

    fn half_time(self) -> Option<Instant> {
        let half_time = Duration::from_millis(self.half_time_ms.into());
        if half_time.is_zero() { None } else { now().checked_add(half_time) }
    }
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

impl Openers {
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn shrink(&mut self) {
        if self.len == 0 {
            self.waiting = None;
        }
        self.waiting.iter_mut().flat_map(|waiting| waiting.iter_mut()).for_each(VecDeque::shrink_to_fit);
    }

    pub(super) fn take_turn_wanted(&mut self) -> bool {
        std::mem::take(&mut self.turn_wanted)
    }

    pub(super) fn wants_turn(&self) -> bool {
        self.turn_wanted
    }

    /// Returns the place of a ticket, or where it belongs: tickets rise along the queue.
    fn place(&self, level: OpenLevel, ticket: NonZeroU64) -> Result<usize, usize> {
        let Some(waiting) = &self.waiting else { return Err(0) };
        waiting[level.index()].binary_search_by_key(&ticket, |opener| opener.ticket)
    }

    /// Wakes all, because the result no longer depends on room.
    pub(super) fn call_all(&mut self, wakes: &mut Wakes) {
        self.len = 0;
        let waiting = self.waiting.iter_mut().flat_map(|waiting| waiting.iter_mut());
        waiting.flat_map(|waiting| waiting.drain(..)).for_each(|opener| wakes.push(opener.waker));
    }

    /// Wakes as many as there is room for at their level, beside those called before in this turn.
    pub(super) fn call(&mut self, room_at: impl Fn(OpenLevel) -> usize, wakes: &mut Wakes) {
        let Some(waiting) = &mut self.waiting else { return };
        for level in OpenLevel::all() {
            let waiting = &mut waiting[level.index()];
            if waiting.is_empty() {
                continue;
            }
            let count = room_at(level).saturating_sub(self.reserved).min(waiting.len());
            self.reserved += count;
            self.len -= count;
            let stands = count > 0 && waiting[0].half_time.is_some_and(|half_time| half_time <= now());
            let from = if stands { waiting.len() - count } else { 0 };
            waiting.drain(from..from + count).for_each(|opener| wakes.push(opener.waker));
        }
        // Those who were called may never come.
        self.turn_wanted |= self.reserved > 0 && !self.is_empty();
    }

    /// Whether somebody waits for whom there is room.
    fn may_call(&self, room_at: impl Fn(OpenLevel) -> usize) -> bool {
        let Some(waiting) = self.waiting.as_ref().filter(|_| !self.is_empty()) else { return false };
        OpenLevel::all().any(|level| !waiting[level.index()].is_empty() && room_at(level) > 0)
    }
}

impl Core {
    /// Returns whether the opener may go on; if not, it has a place in the queue now.
    pub(crate) fn poll_open_turn(
        &mut self,
        wait: OpenWait,
        ticket: &mut Option<NonZeroU64>,
        cx: &Context<'_>,
    ) -> bool {
        let level = wait.level;
        if self.proto.refuses_opens() {
            self.leave_openers(level, ticket);
            return true;
        }
        let room = self.proto.open_capacity_at(level);
        let openers = &mut self.openers;
        let place = ticket.map(|ticket| openers.place(level, ticket));
        let called = matches!(place, Some(Err(_)));
        if called {
            openers.reserved = openers.reserved.saturating_sub(1);
        }
        if room > openers.reserved {
            self.leave_openers(level, ticket);
            return true;
        }
        openers.turn_wanted |= room > 0;
        let waiting = &mut openers.waiting.get_or_insert_default()[level.index()];
        match place {
            Some(Ok(index)) => {
                let waker = &mut waiting[index].waker;
                if !waker.will_wake(cx.waker()) {
                    self.replaced.push(std::mem::replace(waker, cx.waker().clone()));
                }
            }
            Some(Err(index)) => {
                // It was called, and others were faster: it has its old place again.
                let ticket = ticket.expect("a place is that of a ticket");
                let opener = Opener { ticket, waker: cx.waker().clone(), half_time: wait.half_time() };
                waiting.insert(index, opener);
                openers.len += 1;
            }
            None => {
                openers.tickets += 1;
                let last = NonZeroU64::new(openers.tickets).expect("it was counted up");
                *ticket = Some(last);
                let opener = Opener { ticket: last, waker: cx.waker().clone(), half_time: wait.half_time() };
                waiting.push_back(opener);
                openers.len += 1;
            }
        }
        false
    }

    /// Gives up the place of an opener, because it may go on or does not wait any longer.
    fn leave_openers(&mut self, level: OpenLevel, ticket: &mut Option<NonZeroU64>) {
        let Some(place) = ticket.take().map(|ticket| self.openers.place(level, ticket)) else { return };
        if let (Ok(index), Some(waiting)) = (place, &mut self.openers.waiting) {
            let left = waiting[level.index()].remove(index);
            self.openers.len -= usize::from(left.is_some());
            self.replaced.extend(left.map(|opener| opener.waker));
        }
    }

    /// Gives up the place of an opener that is dropped. If it had been woken, the next one is woken instead.
    pub(crate) fn abandon_opening(&mut self, wait: OpenWait, ticket: &mut Option<NonZeroU64>) {
        let level = wait.level;
        if ticket.is_some_and(|ticket| self.openers.place(level, ticket).is_err()) {
            self.openers.reserved = self.openers.reserved.saturating_sub(1);
        }
        self.leave_openers(level, ticket);
        self.proto.announce_capacity();
    }

    /// Frees room that was reserved and not used, because the driver begins another turn.
    pub(crate) fn begin_turn(&mut self) {
        self.openers.reserved = 0;
        self.openers.turn_wanted = false;
        if self.openers.may_call(|level| self.proto.open_capacity_at(level)) {
            self.proto.announce_capacity();
        }
    }
}
