//! How much the connections of one builder may write into the log: of what a peer can cause as often as it
//! likes, the first lines, and then a count.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use muxado::rpc::{LogLimit, LogLine};
use tokio::time::Instant;

/// Limits for what connections have in common: those of a server, or those that replace one another.
#[derive(Debug)]
pub(crate) struct SharedLogs {
    /// Connections that cannot be accepted.
    pub(crate) accepting: LogLimiter,
    /// Connections that are closed at once.
    pub(crate) refusing: LogLimiter,
    /// Handshakes that fail, at level info.
    pub(crate) handshakes: LogLimiter,
    /// Connections that end badly, one line each.
    pub(crate) connections: LogLimiter,
    /// Hooks of the application that panic.
    pub(crate) hooks: LogLimiter,
    /// Lines within connections, each of which has a limit of its own besides.
    within: Arc<LogLimiter>,
}

impl Default for SharedLogs {
    fn default() -> Self {
        let within = LogLimiter::new(OVERALL);
        Self {
            accepting: LogLimiter::default(),
            refusing: LogLimiter::default(),
            handshakes: LogLimiter { is_info: true, ..LogLimiter::default() },
            connections: LogLimiter::default(),
            hooks: LogLimiter::default(),
            within: Arc::new(within),
        }
    }
}

impl SharedLogs {
    /// Returns the limit of one connection.
    pub(crate) fn of_connection(&self) -> LogLimiter {
        LogLimiter { overall: Some(Arc::clone(&self.within)), ..LogLimiter::default() }
    }

    /// Returns when a count is to be written.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.all().filter_map(LogLimiter::due).min()
    }

    /// Writes the counts whose minute is over.
    pub(crate) fn write_due(&self) {
        let now = Instant::now();
        self.all()
            .filter(|limiter| limiter.due().is_some_and(|due| due <= now))
            .for_each(LogLimiter::write_count);
    }

    /// Writes all counts: there will be no further lines.
    pub(crate) fn write_counts(&self) {
        self.all().for_each(LogLimiter::write_count);
    }

    fn all(&self) -> impl Iterator<Item = &LogLimiter> {
        let Self { accepting, refusing, handshakes, connections, hooks, within } = self;
        [accepting, refusing, handshakes, connections, hooks, within].into_iter()
    }
}

/// A limit of lines a minute.
#[derive(Debug, Default)]
pub(crate) struct LogLimiter {
    limit: Mutex<LogLimit>,
    overall: Option<Arc<Self>>,
    /// The count is no warning either.
    is_info: bool,
}

impl LogLimiter {
    /// Returns a limit of `most` lines a minute.
    pub(crate) const fn new(most: u32) -> Self {
        Self { limit: Mutex::new(LogLimit::new(most)), overall: None, is_info: false }
    }

    /// Returns the line to be written; `None` if it is to be left out.
    pub(crate) fn admit(&self) -> Option<LogLine> {
        let line = self.lock().admit(Instant::now().into_std())?;
        let Some(overall) = &self.overall else { return Some(line) };
        let also = overall.admit()?;
        let suppressed = line.suppressed.unwrap_or(0).saturating_add(also.suppressed.unwrap_or(0));
        Some(LogLine { suppressed: Some(suppressed).filter(|suppressed| *suppressed > 0) })
    }

    /// Writes how many lines were left out, if any were.
    pub(crate) fn write_count(&self) {
        let suppressed = self.lock().take_suppressed();
        match suppressed {
            Some(suppressed) if self.is_info => {
                tracing::info!(suppressed, "lines like those before were left out of the log");
            }
            Some(suppressed) => {
                tracing::warn!(suppressed, "lines like those before were left out of the log");
            }
            None => {}
        }
    }

    fn due(&self) -> Option<Instant> {
        self.lock().due().map(Instant::from_std)
    }

    fn lock(&self) -> MutexGuard<'_, LogLimit> {
        // Nothing that panics runs under the lock.
        self.limit.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lines a minute of all connections together, of those within connections: of ten that are noisy.
const OVERALL: u32 = 10 * LogLimit::LINES;
