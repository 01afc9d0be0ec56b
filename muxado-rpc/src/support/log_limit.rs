//! How much the connections of one builder may write into the log: of what a peer can cause as often as it
//! likes, the first lines, and then a count.

use std::{
    ops::Deref,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use muxado::rpc::{LogLimit, LogLine};
use tokio::time::Instant;

/// Limits for what connections have in common: those of a server, or those that replace one another. Without memory
/// until there is a line.
#[derive(Debug, Default)]
pub(crate) struct SharedLogs(OnceLock<Box<Logs>>);

/// The limits of [`SharedLogs`].
#[derive(Debug)]
pub(crate) struct Logs {
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
    within: LogLimiter,
}

impl Default for Logs {
    fn default() -> Self {
        let within = LogLimiter::new(OVERALL);
        Self {
            accepting: LogLimiter::default(),
            refusing: LogLimiter::default(),
            handshakes: LogLimiter { is_info: true, ..LogLimiter::default() },
            connections: LogLimiter::default(),
            hooks: LogLimiter::default(),
            within,
        }
    }
}

impl SharedLogs {
    /// Returns the limit of one connection.
    pub(crate) fn of_connection(self: &Arc<Self>) -> LogLimiter {
        LogLimiter { overall: Some(Arc::clone(self)), ..LogLimiter::default() }
    }

    /// Writes all counts: there will be no further lines.
    pub(crate) fn write_counts(&self) {
        if let Some(logs) = self.0.get() {
            logs.all().for_each(LogLimiter::write_count);
        }
    }
}

impl Deref for SharedLogs {
    type Target = Logs;

    fn deref(&self) -> &Logs {
        self.0.get_or_init(Box::default)
    }
}

impl Logs {
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

    fn all(&self) -> impl Iterator<Item = &LogLimiter> {
        let Self { accepting, refusing, handshakes, connections, hooks, within } = self;
        [accepting, refusing, handshakes, connections, hooks, within].into_iter()
    }
}

/// A limit of lines a minute.
#[derive(Debug)]
pub(crate) struct LogLimiter {
    /// `None` as long as there was no line, which is the rule.
    limit: Mutex<Option<Box<LogLimit>>>,
    most: u32,
    /// The limit `within` of these holds as well.
    overall: Option<Arc<SharedLogs>>,
    /// The count is no warning either.
    is_info: bool,
}

impl Default for LogLimiter {
    fn default() -> Self {
        Self::new(LogLimit::LINES)
    }
}

impl LogLimiter {
    /// Returns a limit of `most` lines a minute.
    pub(crate) const fn new(most: u32) -> Self {
        Self { limit: Mutex::new(None), most, overall: None, is_info: false }
    }

    /// Returns the line to be written; `None` if it is to be left out.
    pub(crate) fn admit(&self) -> Option<LogLine> {
        let new = || Box::new(LogLimit::new(self.most));
        let line = self.lock().get_or_insert_with(new).admit(Instant::now().into_std())?;
        let Some(overall) = &self.overall else { return Some(line) };
        let also = overall.within.admit()?;
        let suppressed = line.suppressed.unwrap_or(0).saturating_add(also.suppressed.unwrap_or(0));
        Some(LogLine { suppressed: Some(suppressed).filter(|suppressed| *suppressed > 0) })
    }

    /// Writes how many lines were left out, if any were.
    pub(crate) fn write_count(&self) {
        let suppressed = self.lock().as_mut().and_then(|limit| limit.take_suppressed());
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
        self.lock().as_ref()?.due().map(Instant::from_std)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Box<LogLimit>>> {
        // Nothing that panics runs under the lock.
        self.limit.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lines a minute of all connections together, of those within connections: of ten that are noisy.
const OVERALL: u32 = 10 * LogLimit::LINES;
