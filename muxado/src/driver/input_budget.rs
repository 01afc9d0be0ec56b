//! How much of what was read is processed before answers to it leave.

/// How many of the frames that were read together are processed at a time.
///
/// If all of them were processed at once and all answers left in one write, the peer would have nothing
/// to do until then, and we nothing after it: two peers would work in turn, and each turn cost a sleep
/// and a wake. A few at a time keep both at work. Where so many are under way that both are anyway,
/// a small budget only costs more writes.
#[derive(Debug, Default)]
pub(super) struct InputBudget {
    /// Frames of the last read so far.
    running: usize,
    /// How many the read before had.
    last: usize,
}

impl InputBudget {
    /// Returns how many frames with something for a stream are processed next.
    pub(super) fn frames(&self) -> usize {
        if self.last.max(self.running) < MANY { SMALL } else { LARGE }
    }

    /// Notes that so many were processed, and whether more of the same read wait.
    pub(super) const fn note(&mut self, frames: usize, more: bool) {
        self.running += frames;
        if !more {
            self.last = self.running;
            self.running = 0;
        }
    }
}

/// Frames of a read from which on the budget is large.
const MANY: usize = 72;

/// A small budget, in frames.
const SMALL: usize = 20;

/// A large one: what answers may have to wait for.
const LARGE: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(budget: &mut InputBudget, mut frames: usize) -> Vec<usize> {
        let mut sizes = Vec::new();
        while frames > 0 {
            let size = budget.frames().min(frames);
            frames -= size;
            budget.note(size, frames > 0);
            sizes.push(size);
        }
        sizes
    }

    #[test]
    fn a_few_frames_are_processed_together_and_more_in_parts() {
        let mut budget = InputBudget::default();
        assert_eq!(parts(&mut budget, 20), [20]);
        assert_eq!(parts(&mut budget, 3), [3]);
        assert_eq!(parts(&mut budget, 64), [20, 20, 20, 4]);
        assert_eq!(parts(&mut budget, 64), [20, 20, 20, 4]);
    }

    #[test]
    fn budget_is_large_where_many_frames_come_together() {
        let mut budget = InputBudget::default();
        assert_eq!(parts(&mut budget, 180), [20, 20, 20, 20, 100]);
        assert_eq!(parts(&mut budget, 300), [256, 44]);
        assert_eq!(parts(&mut budget, 10), [10]);
        assert_eq!(parts(&mut budget, 30), [20, 10]);
    }
}
