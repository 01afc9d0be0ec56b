//! How much of what was read is taken in before answers to it leave.

/// A share of the frames that were read together.
///
/// If all of them were taken in at once and all answers left in one write, the peer would have nothing
/// to do until then, and we nothing after it: two peers would work in turn, and each turn cost a sleep
/// and a wake. A quarter at a time keeps both at work. Small portions cost more writes than they save,
/// however.
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
        (self.last.max(self.running) / SHARE).clamp(MIN, MAX)
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

/// Portions into which what was read is divided.
const SHARE: usize = 4;

/// Frames in a portion.
const MIN: usize = 16;
const MAX: usize = 64;

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
    fn a_few_frames_are_taken_in_together() {
        let mut portion = Portion::default();
        assert_eq!(portions(&mut portion, 16), [16]);
        assert_eq!(portions(&mut portion, 3), [3]);
    }

    #[test]
    fn many_are_divided_by_what_came_before() {
        let mut portion = Portion::default();
        assert_eq!(portions(&mut portion, 64), [16; 4]);
        assert_eq!(portions(&mut portion, 200)[..4], [16; 4]);
        assert_eq!(portions(&mut portion, 200), [50; 4]);
        assert_eq!(portions(&mut portion, 1000)[..2], [50; 2]);
        assert_eq!(portions(&mut portion, 128), [64; 2]);
    }
}
