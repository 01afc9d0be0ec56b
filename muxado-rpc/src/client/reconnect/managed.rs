//! Clients of one place each, which a balancer starts, watches and retires.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{Notify, watch},
    time::sleep,
};

use super::{
    Reconnect, State,
    pool::{Connected, Live, Pool, Settings},
    slot::Slot,
};
use crate::{CallService, connection::peer::Prepared, transport::target::Target};

/// All that clients are started from. They share the layers around the services.
#[derive(Clone, Debug)]
pub(in crate::client) struct Starter<S> {
    prepared: Prepared<S>,
    settings: Settings,
}

impl<S: CallService> Starter<S> {
    pub(super) const fn new(prepared: Prepared<S>, settings: Settings) -> Self {
        Self { prepared, settings }
    }

    pub(in crate::client) const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Starts a client of these targets. Its tasks run on the current tokio runtime.
    pub(in crate::client) fn start(&self, targets: &Arc<[Target]>) -> Reconnect {
        let pool = Pool::new(self.settings.clone());
        let start = |index| {
            let slot = Slot::new(index, Arc::clone(&pool), self.prepared.clone(), Arc::clone(targets));
            // The task is aborted with the last handle.
            tokio::spawn(slot.run()).abort_handle()
        };
        let tasks = (0..self.settings.connections).map(start).collect();
        Reconnect::new(pool, tasks)
    }
}

/// What a balancer does with the client of one place.
impl Reconnect {
    pub(in crate::client) fn connections(&self) -> Connections {
        Connections { pool: Arc::clone(&self.handle.pool), changes: self.handle.pool.watch_connected() }
    }

    /// Ends the pause between attempts: there is reason to think that the next one succeeds.
    pub(in crate::client) fn hurry(&self) {
        self.handle.pool.hurry.now();
    }

    /// Makes no further connections, and lets go of those there are: they end with the calls on them.
    pub(in crate::client) fn retire(&self) {
        drop(self.handle.pool.close());
        self.handle.abort();
    }

    /// Returns why there is no connection, if the client pauses after a failure.
    pub(in crate::client) fn problem(&self) -> Option<String> {
        match self.state() {
            State::Backoff { error, .. } => Some(error.to_string()),
            _ => None,
        }
    }
}

/// The connections of a client, one after the other. It keeps neither the client nor a connection.
#[derive(Debug)]
pub(in crate::client) struct Connections {
    pool: Arc<Pool>,
    changes: watch::Receiver<Connected>,
}

impl Connections {
    /// Returns the connection that takes calls now.
    pub(in crate::client) fn current(&mut self) -> Option<Arc<Live>> {
        drop(self.changes.borrow_and_update());
        self.pool.pick(0)
    }

    /// Waits until the connection may be another one. Returns whether there may be further ones.
    pub(in crate::client) async fn changed(&mut self) -> bool {
        self.changes.changed().await.is_ok() && self.pool.end().is_none()
    }
}

/// Cuts pauses short.
#[derive(Debug, Default)]
pub(super) struct Hurry {
    wanted: Notify,
}

impl Hurry {
    fn now(&self) {
        self.wanted.notify_one();
    }

    /// Pauses. Returns whether the pause was cut short: the next one is to begin anew.
    pub(super) async fn pause(&self, time: Duration) -> bool {
        // However many have reasons to hurry, a place that does not answer has some rest.
        let least = time.min(LEAST);
        sleep(least).await;
        if least == time {
            return false;
        }
        tokio::select! {
            () = self.wanted.notified() => true,
            () = sleep(time - least) => false,
        }
    }
}

/// What is left of a pause that is cut short.
const LEAST: Duration = Duration::from_millis(100);
