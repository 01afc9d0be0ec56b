//! A configuration that is read from files, and again when they have changed.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{task::spawn_blocking, time::Instant};

use super::{error::TlsConfigError, pem::Stamp};

/// What a configuration is made from.
pub(super) trait Source: Send + Sync + 'static {
    type Config: Send + Sync + 'static;

    /// Reads the files, and makes a configuration of them. Blocks.
    fn load(&self) -> Result<Self::Config, TlsConfigError>;

    /// The files that are read, first those by which people know it.
    fn files(&self) -> Vec<PathBuf>;
}

/// A configuration in use. All that share it see a new one at once.
pub(super) struct Reloading<C> {
    state: Mutex<State<C>>,
}

struct State<C> {
    current: Option<Arc<C>>,
    /// Those of the files when they were last read, whatever came of it.
    stamps: Vec<Stamp>,
    /// When the files are looked at again.
    next_look: Option<Instant>,
}

impl<C> Default for Reloading<C> {
    fn default() -> Self {
        Self { state: Mutex::new(State { current: None, stamps: Vec::new(), next_look: None }) }
    }
}

impl<C: Send + Sync + 'static> Reloading<C> {
    /// Returns the configuration for a new connection. Looks at the files if that was not done for `every`: one
    /// connection waits for it, others go on with what there is.
    pub(super) async fn get<S>(
        self: &Arc<Self>,
        source: &Arc<S>,
        every: Duration,
    ) -> Result<Arc<C>, TlsConfigError>
    where
        S: Source<Config = C>,
    {
        if let Some(current) = self.still_good(every) {
            return Ok(current);
        }
        let (this, source) = (Arc::clone(self), Arc::clone(source));
        let looked = spawn_blocking(move || this.look(&*source)).await;
        match (looked, self.lock().current.clone()) {
            (Ok(Err(error)), None) => Err(error),
            (_, Some(current)) => Ok(current),
            // A panic, or the runtime ends.
            (_, None) => Err(TlsConfigError::Unread),
        }
    }

    /// Reads the files whether they have changed or not. An error leaves the configuration as it was. Blocks.
    pub(super) fn reload<S>(&self, source: &S) -> Result<(), TlsConfigError>
    where
        S: Source<Config = C>,
    {
        // Before they are read: what is written meanwhile is seen as another change.
        let stamps = stamps(source);
        let loaded = source.load();
        let mut state = self.lock();
        state.stamps = stamps;
        state.current = Some(Arc::new(loaded?));
        Ok(())
    }

    /// Returns the configuration if it is too early to look at the files.
    fn still_good(&self, every: Duration) -> Option<Arc<C>> {
        let mut state = self.lock();
        let now = Instant::now();
        let current = state.current.clone()?;
        if state.stamps.is_empty() || state.next_look.is_some_and(|next| now < next) {
            return Some(current);
        }
        let is_first = state.next_look.is_none();
        // A time beyond the end of time never comes.
        state.next_look = Some(now.checked_add(every).unwrap_or(now + FAR));
        is_first.then_some(current)
    }

    /// Reads the files if they have changed, and says in the log what came of it.
    fn look<S>(&self, source: &S) -> Result<(), TlsConfigError>
    where
        S: Source<Config = C>,
    {
        let is_first = {
            let state = self.lock();
            if state.current.is_some() && state.stamps == stamps(source) {
                return Ok(());
            }
            state.current.is_none()
        };
        let loaded = self.reload(source);
        if !is_first {
            let files = source.files();
            let file = files.first().map_or_else(String::new, |path| path.display().to_string());
            match &loaded {
                Ok(()) => {
                    tracing::info!(file, "the certificate has changed, new connections have the new one");
                }
                Err(error) => {
                    tracing::warn!(file, "the new certificate is refused, the old one stays: {error}");
                }
            }
        }
        loaded
    }

    fn lock(&self) -> MutexGuard<'_, State<C>> {
        // Nothing that panics runs under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn stamps(source: &impl Source) -> Vec<Stamp> {
    source.files().iter().map(|path| Stamp::of(path)).collect()
}

/// A century.
const FAR: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
