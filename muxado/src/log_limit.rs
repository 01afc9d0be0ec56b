//! A limit on what one source may write into the log.

use std::time::{Duration, Instant};

/// A limit on lines a minute, which counts those that are left out.
///
/// It is for every place whose lines a peer can cause as often as it likes.
#[derive(Debug)]
pub struct LogLimit {
    most: u32,
    /// When the present minute began, with its first line.
    began: Option<Instant>,
    lines: u32,
    suppressed: u64,
}

/// A line that may be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// Lines that were left out before it, if any: a field of the line.
    pub suppressed: Option<u64>,
}

impl LogLimit {
    /// Lines a minute that tell enough of one source.
    pub const LINES: u32 = 10;

    /// Returns a limit of `most` lines a minute.
    pub const fn new(most: u32) -> Self {
        Self { most, began: None, lines: 0, suppressed: 0 }
    }

    /// Returns the line to be written; `None` if it is to be left out, which is counted.
    pub fn admit(&mut self, now: Instant) -> Option<LogLine> {
        if self.began.is_none_or(|began| now.saturating_duration_since(began) >= WINDOW) {
            self.began = Some(now);
            self.lines = 0;
        }
        if self.lines >= self.most {
            self.suppressed = self.suppressed.saturating_add(1);
            return None;
        }
        self.lines += 1;
        Some(LogLine { suppressed: self.take_suppressed() })
    }

    /// Returns how many lines were left out since this was last asked, if any.
    pub fn take_suppressed(&mut self) -> Option<u64> {
        Some(std::mem::take(&mut self.suppressed)).filter(|suppressed| *suppressed > 0)
    }

    /// Returns when the count is to be written, if lines were left out: at the end of the minute.
    pub fn due(&self) -> Option<Instant> {
        self.began.filter(|_| self.suppressed > 0)?.checked_add(WINDOW)
    }
}

impl Default for LogLimit {
    fn default() -> Self {
        Self::new(Self::LINES)
    }
}

/// A [`LogLimit`] of a place that most sessions never come to: without memory until then.
#[derive(Debug, Default)]
pub(crate) struct RareLogLimit(Option<Box<LogLimit>>);

impl RareLogLimit {
    pub(crate) fn admit(&mut self, now: Instant) -> Option<LogLine> {
        self.0.get_or_insert_default().admit(now)
    }

    pub(crate) fn take_suppressed(&mut self) -> Option<u64> {
        self.0.as_mut()?.take_suppressed()
    }
}

const WINDOW: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_lines_a_minute_are_let_through_and_the_rest_is_counted() {
        let (mut limit, start) = (LogLimit::default(), Instant::now());
        let lines = |limit: &mut LogLimit, at| (0..1000).filter_map(|_| limit.admit(at)).collect::<Vec<_>>();
        let first = lines(&mut limit, start);
        assert_eq!(first, vec![LogLine { suppressed: None }; 10]);
        assert_eq!(limit.due(), Some(start + WINDOW));
        // The minute is that of the first line, not of the last.
        assert!(lines(&mut limit, start + WINDOW / 2).is_empty());
        let second = lines(&mut limit, start + WINDOW);
        assert_eq!((second.len(), second[0].suppressed, second[1].suppressed), (10, Some(1990), None));
        assert_eq!((limit.take_suppressed(), limit.take_suppressed(), limit.due()), (Some(990), None, None));
    }

    #[test]
    fn nothing_is_said_of_lines_that_were_not_left_out() {
        let (mut limit, start) = (LogLimit::default(), Instant::now());
        for n in 0..100 {
            assert_eq!(limit.admit(start + n * WINDOW), Some(LogLine { suppressed: None }));
            assert_eq!(limit.due(), None);
        }
    }
}
