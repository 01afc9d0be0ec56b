//! Who waits to open a stream, and in which order they may.
//!
//! Those who wait are woken in order, as many as there is room for, and the room is reserved for them for one turn of
//! the driver: otherwise newcomers could take it first again and again. After that turn it is free for all, and the next
//! ones are woken, too. A future that nobody polls therefore holds up no other: it is woken once, and passed by.

use std::{
    collections::VecDeque,
    task::{Context, Waker},
};

use super::{Core, Wakes};

/// The queue of those who wait to open a stream.
#[derive(Debug, Default)]
pub(crate) struct Openers {
    /// Those who were not called since they last asked, by rising tickets.
    waiting: VecDeque<Opener>,
    next_ticket: u64,
    /// Streams that those may open who were called in this turn of the driver.
    reserved: usize,
    /// Somebody waits for the end of the turn.
    turn_wanted: bool,
}

#[derive(Debug)]
struct Opener {
    ticket: u64,
    waker: Waker,
}

impl Openers {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn shrink(&mut self) {
        self.waiting.shrink_to_fit();
    }

    pub(super) fn take_turn_wanted(&mut self) -> bool {
        std::mem::take(&mut self.turn_wanted)
    }

    pub(super) fn wants_turn(&self) -> bool {
        self.turn_wanted
    }

    /// Returns the place of a ticket, or where it belongs: tickets rise along the queue.
    fn place(&self, ticket: u64) -> Result<usize, usize> {
        self.waiting.binary_search_by_key(&ticket, |opener| opener.ticket)
    }

    /// Wakes all, because the result no longer depends on room.
    pub(super) fn call_all(&mut self, wakes: &mut Wakes) {
        self.waiting.drain(..).for_each(|opener| wakes.push(opener.waker));
    }

    /// Wakes as many as there is room for, beside those called before in this turn.
    pub(super) fn call(&mut self, room: usize, wakes: &mut Wakes) {
        let count = room.saturating_sub(self.reserved).min(self.waiting.len());
        self.reserved += count;
        self.waiting.drain(..count).for_each(|opener| wakes.push(opener.waker));
        // Those who were called may never come.
        self.turn_wanted |= self.reserved > 0 && !self.waiting.is_empty();
    }
}

impl Core {
    /// Returns whether the opener may go on; if not, it has a place in the queue now.
    pub(crate) fn poll_open_turn(&mut self, ticket: &mut Option<u64>, cx: &Context<'_>) -> bool {
        if self.proto.refuses_opens() {
            self.leave_openers(ticket);
            return true;
        }
        let room = self.proto.open_capacity();
        let openers = &mut self.openers;
        let place = ticket.map(|ticket| openers.place(ticket));
        let called = matches!(place, Some(Err(_)));
        if called {
            openers.reserved = openers.reserved.saturating_sub(1);
        }
        if room > openers.reserved {
            self.leave_openers(ticket);
            return true;
        }
        openers.turn_wanted |= room > 0;
        match place {
            Some(Ok(index)) => {
                let waker = &mut openers.waiting[index].waker;
                if !waker.will_wake(cx.waker()) {
                    self.replaced.push(std::mem::replace(waker, cx.waker().clone()));
                }
            }
            Some(Err(index)) => {
                // It was called, and others were faster: it has its old place again.
                let ticket = ticket.expect("a place is that of a ticket");
                openers.waiting.insert(index, Opener { ticket, waker: cx.waker().clone() });
            }
            None => {
                *ticket = Some(openers.next_ticket);
                let waker = cx.waker().clone();
                openers.waiting.push_back(Opener { ticket: openers.next_ticket, waker });
                openers.next_ticket += 1;
            }
        }
        false
    }

    /// Gives up the place of an opener, because it may go on or does not wait any longer.
    pub(crate) fn leave_openers(&mut self, ticket: &mut Option<u64>) {
        let Some(place) = ticket.take().map(|ticket| self.openers.place(ticket)) else { return };
        if let Ok(index) = place {
            self.replaced.extend(self.openers.waiting.remove(index).map(|opener| opener.waker));
        }
    }

    /// Gives up the place of an opener that is dropped. If it had been woken, the next one is woken instead.
    pub(crate) fn abandon_opening(&mut self, ticket: &mut Option<u64>) {
        if ticket.is_some_and(|ticket| self.openers.place(ticket).is_err()) {
            self.openers.reserved = self.openers.reserved.saturating_sub(1);
        }
        self.leave_openers(ticket);
        self.proto.announce_capacity();
    }

    /// Frees room that was reserved and not used, because the driver begins another turn.
    pub(crate) fn begin_turn(&mut self) {
        self.openers.reserved = 0;
        self.openers.turn_wanted = false;
        if !self.openers.is_empty() && self.proto.open_capacity() > 0 {
            self.proto.announce_capacity();
        }
    }
}
