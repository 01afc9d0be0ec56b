//! Room for a number of calls, and the queue of those that wait for it.
//!
//! Waiters are woken in order, as many as there is room for, and the room is reserved for them for one turn of the
//! scheduler, so that later calls do not overtake them. After that turn anybody may take it, and the next waiters are
//! woken, too: a future that is woken and never polled holds up nobody.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use tokio::{runtime::Handle, task::yield_now};

use crate::support::panics;

/// Room for a number of calls.
#[derive(Debug)]
pub(super) struct Room {
    queue: Mutex<Queue>,
}

#[derive(Debug)]
struct Queue {
    free: usize,
    /// Of the free room, what is kept for waiters that were woken in this turn.
    reserved: usize,
    /// Waiters that were not woken since they last asked, by rising tickets.
    waiting: VecDeque<Waiter>,
    /// All who have a ticket, woken or not.
    tickets: usize,
    next_ticket: u64,
    /// A task passes by those who were woken and do not come.
    has_keeper: bool,
}

#[derive(Debug)]
struct Waiter {
    ticket: u64,
    waker: Waker,
}

/// There are as many waiters already as there may be.
#[derive(Debug)]
pub(super) struct Full;

impl Room {
    pub(super) fn new(calls: usize) -> Self {
        let queue = Queue {
            free: calls,
            reserved: 0,
            waiting: VecDeque::new(),
            tickets: 0,
            next_ticket: 0,
            has_keeper: false,
        };
        Self { queue: Mutex::new(queue) }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Nothing that panics runs under the lock.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the queue, then wakes whoever has room now.
    fn change(self: &Arc<Self>, change: impl FnOnce(&mut Queue)) {
        let mut queue = self.lock();
        change(&mut queue);
        let called = queue.call();
        let needs_keeper = queue.needs_keeper();
        drop(queue);
        wake(called);
        if needs_keeper {
            self.keep();
        }
    }

    /// Starts the task that ends the turn of those who were woken.
    fn keep(self: &Arc<Self>) {
        let keeper = Keeper { room: Arc::clone(self) };
        match Handle::try_current() {
            // If the runtime is shutting down the keeper is dropped, which ends the turn as well.
            Ok(runtime) => drop(runtime.spawn(keeper.run())),
            Err(_) => drop(keeper),
        }
    }
}

impl Queue {
    /// Takes those out of the queue for whom there is room.
    fn call(&mut self) -> Vec<Waker> {
        let count = self.free.saturating_sub(self.reserved).min(self.waiting.len());
        self.reserved += count;
        self.waiting.drain(..count).map(|waiter| waiter.waker).collect()
    }

    /// Whether somebody waits for room that is reserved for others who may never come, and no keeper is at work.
    fn needs_keeper(&mut self) -> bool {
        let needs = self.reserved > 0 && !self.waiting.is_empty() && !self.has_keeper;
        self.has_keeper |= needs;
        needs
    }

    fn place(&self, ticket: u64) -> Result<usize, usize> {
        self.waiting.binary_search_by_key(&ticket, |waiter| waiter.ticket)
    }

    /// Gives a ticket back; its waker, if it was still in the queue.
    fn leave(&mut self, ticket: Option<u64>) -> Option<Waker> {
        let ticket = ticket?;
        self.tickets -= 1;
        let at = self.place(ticket).ok()?;
        self.waiting.remove(at).map(|waiter| waiter.waker)
    }

    /// Puts a waker into the queue; the one it replaces.
    fn wait(&mut self, ticket: &mut Option<u64>, waker: &Waker) -> Option<Waker> {
        let ticket = *ticket.get_or_insert_with(|| {
            self.tickets += 1;
            self.next_ticket += 1;
            self.next_ticket
        });
        match self.place(ticket) {
            Ok(at) => Some(std::mem::replace(&mut self.waiting[at].waker, waker.clone())),
            Err(at) => {
                self.waiting.insert(at, Waiter { ticket, waker: waker.clone() });
                None
            }
        }
    }
}

/// A call's wait for room. Dropping it leaves the queue.
#[derive(Debug)]
pub(super) struct Turn {
    room: Arc<Room>,
    ticket: Option<u64>,
}

impl Turn {
    pub(super) const fn new(room: Arc<Room>) -> Self {
        Self { room, ticket: None }
    }

    /// Ready with a permit once there is room, or when `max_waiting` others wait already.
    pub(super) fn poll(&mut self, cx: &Context<'_>, max_waiting: usize) -> Poll<Result<Permit, Full>> {
        let mut queue = self.room.lock();
        if self.ticket.is_some_and(|ticket| queue.place(ticket).is_err()) {
            // It was woken, and its turn is now.
            queue.reserved = queue.reserved.saturating_sub(1);
        }
        if queue.free > queue.reserved {
            queue.free -= 1;
            let left = queue.leave(self.ticket.take());
            drop(queue);
            drop(left);
            return Poll::Ready(Ok(Permit { room: Arc::clone(&self.room) }));
        }
        if self.ticket.is_none() && queue.tickets >= max_waiting {
            return Poll::Ready(Err(Full));
        }
        let replaced = queue.wait(&mut self.ticket, cx.waker());
        let needs_keeper = queue.needs_keeper();
        drop(queue);
        drop(replaced);
        if needs_keeper {
            self.room.keep();
        }
        Poll::Pending
    }
}

impl Turn {
    /// Leaves the queue.
    pub(super) fn leave(&mut self) {
        let Some(ticket) = self.ticket.take() else { return };
        let mut left = None;
        self.room.change(|queue| {
            if queue.place(ticket).is_err() {
                // It was woken: its room is for the next.
                queue.reserved = queue.reserved.saturating_sub(1);
            }
            left = queue.leave(Some(ticket));
        });
        drop(left);
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.leave();
    }
}

/// Room that a call has. Dropping it gives the room back.
#[derive(Debug)]
pub(super) struct Permit {
    room: Arc<Room>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.room.change(|queue| queue.free += 1);
    }
}

/// Ends the turn of those who were woken, until there is no room left or nobody waits.
struct Keeper {
    room: Arc<Room>,
}

impl Keeper {
    async fn run(self) {
        loop {
            yield_now().await;
            let mut queue = self.room.lock();
            queue.reserved = 0;
            let called = queue.call();
            queue.has_keeper = queue.reserved > 0 && !queue.waiting.is_empty();
            let is_done = !queue.has_keeper;
            drop(queue);
            wake(called);
            if is_done {
                return;
            }
        }
    }
}

impl Drop for Keeper {
    /// Without a keeper nobody would pass by those who do not come: all are woken at once.
    fn drop(&mut self) {
        let mut queue = self.room.lock();
        if !queue.has_keeper {
            return;
        }
        (queue.has_keeper, queue.reserved) = (false, 0);
        let called = queue.waiting.drain(..).map(|waiter| waiter.waker).collect();
        drop(queue);
        wake(called);
    }
}

/// Wakes tasks. A waker that panics keeps the others from nothing.
fn wake(wakers: Vec<Waker>) {
    for waker in wakers {
        if panics::catch(|| waker.wake()).is_err() {
            panics::report("a waker panicked");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn poll(turn: &mut Turn, max_waiting: usize) -> Poll<Result<Permit, Full>> {
        turn.poll(&Context::from_waker(Waker::noop()), max_waiting)
    }

    #[tokio::test]
    async fn waiters_have_room_in_the_order_in_which_they_came() {
        let room = Arc::new(Room::new(1));
        let mut turns: Vec<_> = (0..4).map(|_| Turn::new(Arc::clone(&room))).collect();
        let Poll::Ready(Ok(permit)) = poll(&mut turns[0], 8) else { panic!("there is room") };
        assert!(turns[1..].iter_mut().all(|turn| poll(turn, 8).is_pending()));
        drop(permit);
        assert!(poll(&mut turns[2], 8).is_pending());
        assert!(poll(&mut Turn::new(Arc::clone(&room)), 8).is_pending());
        assert!(matches!(poll(&mut turns[1], 8), Poll::Ready(Ok(_))));
    }

    #[tokio::test]
    async fn a_waiter_that_is_woken_and_never_polled_holds_up_nobody() {
        let room = Arc::new(Room::new(1));
        let Poll::Ready(Ok(permit)) = poll(&mut Turn::new(Arc::clone(&room)), 8) else {
            panic!("there is room")
        };
        let mut lost: Vec<_> = (0..3).map(|_| Turn::new(Arc::clone(&room))).collect();
        assert!(lost.iter_mut().all(|turn| poll(turn, 8).is_pending()));
        let mut last = Turn::new(Arc::clone(&room));
        let waiting = std::future::poll_fn(|cx| last.poll(cx, 8));
        drop(permit);
        drop(waiting.await.unwrap());
        assert_eq!(lost.len(), 3);
    }

    #[test]
    fn without_a_runtime_all_are_woken() {
        let room = Arc::new(Room::new(1));
        let Poll::Ready(Ok(permit)) = poll(&mut Turn::new(Arc::clone(&room)), 8) else {
            panic!("there is room")
        };
        let mut turns: Vec<_> = (0..3).map(|_| Turn::new(Arc::clone(&room))).collect();
        assert!(turns.iter_mut().all(|turn| poll(turn, 8).is_pending()));
        drop(permit);
        assert!(room.lock().waiting.is_empty());
        assert!(matches!(poll(&mut turns[2], 8), Poll::Ready(Ok(_))));
    }

    #[tokio::test]
    async fn the_queue_is_bounded_and_left_by_those_who_are_dropped() {
        let room = Arc::new(Room::new(1));
        let Poll::Ready(Ok(permit)) = poll(&mut Turn::new(Arc::clone(&room)), 1) else {
            panic!("there is room")
        };
        let mut first = Turn::new(Arc::clone(&room));
        assert!(poll(&mut first, 1).is_pending());
        assert!(poll(&mut first, 1).is_pending());
        assert!(matches!(poll(&mut Turn::new(Arc::clone(&room)), 1), Poll::Ready(Err(Full))));
        drop(first);
        let mut second = Turn::new(Arc::clone(&room));
        assert!(poll(&mut second, 1).is_pending());
        drop(permit);
        drop(second);
        {
            let queue = room.lock();
            assert_eq!((queue.free, queue.reserved, queue.tickets), (1, 0, 0));
        }
        assert!(matches!(poll(&mut Turn::new(room), 0), Poll::Ready(Ok(_))));
    }
}
