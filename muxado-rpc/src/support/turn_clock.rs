//! The last reading of a clock in the turn of a connection.
//!
//! A connection serves the calls that it has read one after the other. The end of one is the moment at which it turns to
//! the next, so one reading of the clock does for both.

use std::cell::Cell;

/// That a connection serves calls on this thread, until this is dropped.
#[derive(Debug)]
pub(crate) struct Turn(());

#[derive(Clone, Copy)]
enum State {
    /// No connection serves calls on this thread.
    Outside,
    Inside,
    /// A call has ended at the time `at`, on the clock of `owner`.
    Ended {
        owner: usize,
        at: u64,
    },
}

thread_local! {
    static STATE: Cell<State> = const { Cell::new(State::Outside) };
}

/// Begins a turn.
#[inline]
pub(crate) fn begin() -> Turn {
    STATE.set(State::Inside);
    Turn(())
}

impl Drop for Turn {
    #[inline]
    fn drop(&mut self) {
        STATE.set(State::Outside);
    }
}

/// Notes that a call has ended, if that was within a turn. The owner is an address, so that clocks are told apart.
#[inline]
pub(crate) fn note_end(owner: usize, at: u64) {
    if !matches!(STATE.get(), State::Outside) {
        STATE.set(State::Ended { owner, at });
    }
}

/// Takes the time at which the last call of this turn ended, if it was told by the same owner.
#[inline]
pub(crate) fn take_end(owner: usize) -> Option<u64> {
    match STATE.get() {
        State::Ended { owner: own, at } => {
            STATE.set(State::Inside);
            (own == owner).then_some(at)
        }
        State::Outside | State::Inside => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reading_is_taken_once_by_its_owner_within_the_turn() {
        note_end(1, 10);
        assert_eq!(take_end(1), None);
        let turn = begin();
        assert_eq!(take_end(1), None);
        note_end(1, 20);
        assert_eq!((take_end(1), take_end(1)), (Some(20), None));
        note_end(1, 30);
        assert_eq!((take_end(2), take_end(1)), (None, None));
        note_end(1, 40);
        drop(turn);
        assert_eq!(take_end(1), None);
        let _turn = begin();
        assert_eq!(take_end(1), None);
    }
}
