//! How much of what was read is taken in before answers to it leave.

/// A part of the frames that were read together.
///
/// If all of them were taken in at once and all answers left in one write, the peer would have nothing
/// to do until then, and we nothing after it: two peers would work in turn, and each turn cost a sleep
/// and a wake. A few at a time keep both at work. Where so many are under way that both are anyway,
/// small portions only cost more writes.
#[derive(Debug, Default)]
pub(super) struct Portion {
    /// Frames of the last read so far.
    running: usize,
    /// How many the read before had.
    last: usize,
}

impl Portion {
    /// Frames with something for a stream.
    pub(super) fn size(&self) -> usize {
        if self.last.max(self.running) < MANY { SMALL } else { LARGE }
    }

    /// So many were taken in; `more` of the same read wait.
    pub(super) const fn note(&mut self, frames: usize, more: bool) {
        self.running += frames;
        if !more {
            self.last = self.running;
            self.running = 0;
        }
    }
}

/// Frames of a read from which on portions are large.
const MANY: usize = 72;

/// Frames in a portion of a few.
const SMALL: usize = 20;

/// Frames in a portion of many: what answers may have to wait for.
const LARGE: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    fn portions(portion: &mut Portion, mut frames: usize) -> Vec<usize> {
        let mut sizes = Vec::new();
        while frames > 0 {
            let size = portion.size().min(frames);
            frames -= size;
            portion.note(size, frames > 0);
            sizes.push(size);
        }
        sizes
    }

    #[test]
    fn a_few_frames_are_taken_in_together_and_more_by_portions() {
        let mut portion = Portion::default();
        assert_eq!(portions(&mut portion, 20), [20]);
        assert_eq!(portions(&mut portion, 3), [3]);
        assert_eq!(portions(&mut portion, 64), [20, 20, 20, 4]);
        assert_eq!(portions(&mut portion, 64), [20, 20, 20, 4]);
    }

    #[test]
    fn portions_are_large_where_many_come_together() {
        let mut portion = Portion::default();
        assert_eq!(portions(&mut portion, 180), [20, 20, 20, 20, 100]);
        assert_eq!(portions(&mut portion, 300), [256, 44]);
        assert_eq!(portions(&mut portion, 10), [10]);
        assert_eq!(portions(&mut portion, 30), [20, 10]);
    }
}
