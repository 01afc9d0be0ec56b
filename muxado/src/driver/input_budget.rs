//! How much of what was read is processed before answers to it leave.

use std::cell::Cell;

/// How many of the frames that were read together are processed at a time.
///
/// If all of them were processed at once and all answers left in one write, the peer would have nothing
/// to do until then, and we nothing after it: two peers would work in turn, and each turn cost a sleep
/// and a wake. A few at a time keep both at work. Where so many are under way that both are anyway,
/// a small budget only costs more writes.
///
/// Best is about a third of what is under way: a third is worked on at each end, and a third is on its way. That is done of
/// a few, and of many if reads often find nothing, for as long as the thread runs no other connection, which would have its
/// turn while this one waits.
#[derive(Debug, Default)]
pub(super) struct InputBudget {
    /// Frames of the last read so far.
    running: usize,
    /// How many the read before had.
    last: usize,
    /// The most that a read has had: of the last window, and of this one so far.
    most: [usize; 2],
    /// Reads of this window.
    reads: u32,
    /// How often a read found nothing, of [`ALWAYS`]: lately more than before.
    starved: u32,
    /// What [`TURNS`] was after this connection's last turn.
    turn: u64,
    /// Turns in a row since which no other connection of this thread had one.
    alone: u32,
}

thread_local! {
    /// Turns that the connections of this thread have had.
    static TURNS: Cell<u64> = const { Cell::new(1) };
}

impl InputBudget {
    /// Notes that a turn of the connection begins.
    pub(super) fn begin_turn(&mut self) {
        let turn = TURNS.get();
        self.alone = if turn == self.turn { self.alone.saturating_add(1) } else { 0 };
        self.turn = turn.wrapping_add(1);
        TURNS.set(self.turn);
    }

    /// Returns how many frames with something for a stream are processed next.
    ///
    /// `since` is how many streams this side has opened since that of the next frame, which is as many as are busy at a time;
    /// 0 for a stream of the peer's. `None` for a frame of some size: those are few, and what is split costs more.
    pub(super) fn frames(&self, since: Option<usize>) -> usize {
        let most = self.last.max(self.running);
        let usual = if most < MANY { SMALL } else { LARGE };
        match since.filter(|_| self.alone >= ALONE_FROM) {
            None => usual,
            Some(since @ FEW..) => {
                let third = since / 3 + since / 32;
                if since <= SEVERAL || self.starved >= OFTEN { usual.min(third) } else { usual }
            }
            // How many are busy at the peer is not known. What a read has is a third to all of it.
            Some(_) => match most.max(self.most[0]).max(self.most[1]) {
                most @ FEW..SMALL => most / 3,
                most @ SMALL..=SEVERAL if self.starved >= OFTEN => most / 2,
                _ => usual,
            },
        }
    }

    /// Notes whether a read found something.
    pub(super) fn note_read(&mut self, has_input: bool) {
        self.starved -= self.starved / 8;
        if !has_input {
            self.starved += ALWAYS / 8;
        }
    }

    /// Notes that so many were processed, and whether more of the same read wait.
    pub(super) fn note(&mut self, frames: usize, more: bool) {
        self.running += frames;
        if more {
            return;
        }
        self.last = std::mem::take(&mut self.running);
        self.most[1] = self.most[1].max(self.last);
        self.reads += 1;
        if self.reads == WINDOW {
            (self.most, self.reads) = ([self.most[1], 0], 0);
        }
    }
}

/// Frames of a read from which on the budget is large.
const MANY: usize = 72;

/// A small budget, in frames.
const SMALL: usize = 20;

/// A large one: what answers may have to wait for.
const LARGE: usize = 256;

/// Streams under way from which on it pays to split what is read.
const FEW: usize = 8;

/// Streams under way up to which a part of them is less than a small budget.
const SEVERAL: usize = 40;

/// What [`InputBudget::starved`] comes to where no read finds anything.
const ALWAYS: u32 = 256;

/// From here on two peers work in turn: after nearly every read that brings something one finds nothing.
const OFTEN: u32 = 115;

/// Turns in a row from which on a connection is alone. In fewer it may have woken itself to gather output, and the others are
/// still waiting for theirs.
const ALONE_FROM: u32 = 3;

/// Reads for which it is remembered how much one has had.
const WINDOW: u32 = 64;

#[cfg(test)]
mod tests {
    use super::*;

    /// How a read of so many frames is split; `since` as for [`InputBudget::frames`].
    fn parts(budget: &mut InputBudget, since: Option<usize>, mut frames: usize) -> Vec<usize> {
        let mut sizes = Vec::new();
        while frames > 0 {
            let size = budget.frames(since).min(frames);
            frames -= size;
            budget.note(size, frames > 0);
            sizes.push(size);
        }
        sizes
    }

    fn take_turns(budget: &mut InputBudget) {
        (0..=ALONE_FROM).for_each(|_| budget.begin_turn());
    }

    /// A budget whose connection had the last turns of the thread.
    fn alone() -> InputBudget {
        let mut budget = InputBudget::default();
        take_turns(&mut budget);
        budget
    }

    #[test]
    fn a_few_frames_are_processed_together_and_more_in_parts() {
        let mut budget = InputBudget::default();
        assert_eq!(parts(&mut budget, Some(0), 20), [20]);
        assert_eq!(parts(&mut budget, Some(0), 3), [3]);
        assert_eq!(parts(&mut budget, Some(0), 64), [20, 20, 20, 4]);
        assert_eq!(parts(&mut budget, Some(64), 64), [20, 20, 20, 4]);
    }

    #[test]
    fn budget_is_large_where_many_frames_come_together() {
        let mut budget = alone();
        assert_eq!(parts(&mut budget, Some(256), 180), [20, 20, 20, 20, 100]);
        assert_eq!(parts(&mut budget, Some(0), 300), [256, 44]);
        assert_eq!(parts(&mut budget, None, 10), [10]);
        assert_eq!(parts(&mut budget, None, 30), [20, 10]);
    }

    #[test]
    fn who_has_opened_the_streams_processes_a_third_of_them_at_a_time() {
        let mut budget = alone();
        assert_eq!(parts(&mut budget, Some(8), 8), [2, 2, 2, 2]);
        assert_eq!(parts(&mut budget, Some(16), 16), [5, 5, 5, 1]);
        assert_eq!(parts(&mut budget, Some(40), 40), [14, 14, 12]);
        assert_eq!(parts(&mut budget, Some(41), 41), [20, 20, 1]);
        assert_eq!(parts(&mut budget, Some(7), 7), [7]);
    }

    #[test]
    fn a_third_of_many_is_processed_at_a_time_only_if_reads_often_find_nothing() {
        let mut budget = alone();
        parts(&mut budget, Some(256), 256);
        assert_eq!(parts(&mut budget, Some(256), 256), [256]);
        (0..33).for_each(|n| budget.note_read(n % 2 > 0));
        assert_eq!(parts(&mut budget, Some(256), 256), [93, 93, 70]);
        assert_eq!(parts(&mut budget, Some(48), 48), [17, 17, 14]);
        // No more than otherwise.
        assert_eq!(parts(&mut budget, Some(256), 64), [20, 20, 20, 4]);
    }

    #[test]
    fn who_serves_them_processes_a_part_of_the_most_that_came_together() {
        let mut budget = alone();
        assert_eq!(parts(&mut budget, Some(0), 12), [12], "nothing is known yet");
        assert_eq!(parts(&mut budget, Some(0), 12), [4, 4, 4]);
        assert_eq!(parts(&mut budget, Some(0), 18), [4, 4, 4, 4, 2]);
        assert_eq!(parts(&mut budget, Some(0), 18), [6, 6, 6]);
        // What has not been seen for a window or two is forgotten.
        (0..2 * WINDOW).for_each(|_| assert_eq!(parts(&mut budget, Some(0), 1), [1]));
        assert_eq!(parts(&mut budget, Some(0), 7), [7]);
    }

    #[test]
    fn who_serves_many_splits_them_further_only_if_reads_often_find_nothing() {
        let mut budget = alone();
        (0..8).for_each(|n| budget.note_read(n % 3 > 0));
        assert_eq!(parts(&mut budget, Some(0), 32), [20, 12]);
        assert_eq!(parts(&mut budget, Some(0), 32), [20, 12]);
        (0..32).for_each(|n| budget.note_read(n % 2 > 0));
        budget.note_read(false);
        assert_eq!(parts(&mut budget, Some(0), 32), [16, 16]);
        assert_eq!(parts(&mut budget, Some(0), 64), [16, 16, 16, 16]);
        assert_eq!(parts(&mut budget, Some(0), 64), [20, 20, 20, 4]);
    }

    #[test]
    fn little_is_not_split_where_other_connections_have_turns_between() {
        let (mut budget, mut other) = (alone(), alone());
        for _ in 0..ALONE_FROM {
            assert_eq!(parts(&mut other, Some(16), 16), [5, 5, 5, 1]);
            budget.begin_turn();
            assert_eq!(parts(&mut budget, Some(16), 16), [16]);
            assert_eq!(parts(&mut budget, Some(0), 16), [16]);
        }
        budget.begin_turn();
        assert_eq!(parts(&mut budget, Some(16), 16), [5, 5, 5, 1]);
        other.begin_turn();
        assert_eq!(parts(&mut other, Some(16), 16), [16]);
    }

    #[test]
    fn frames_of_some_size_are_not_split() {
        assert_eq!(parts(&mut alone(), None, 16), [16]);
    }
}
