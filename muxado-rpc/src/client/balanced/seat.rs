//! What a stream holds of its server, whichever attempt it is of.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{endpoint::Pending, outlier::Verdict, set::Set};
use crate::BodyEnd;

/// The place of the call whose items come: its server counts it until they have ended.
#[derive(Clone, Debug)]
pub(super) struct Seat {
    set: Arc<Set>,
    taken: Arc<Mutex<Option<Pending>>>,
}

impl Seat {
    pub(super) fn new(set: Arc<Set>) -> Self {
        Self { set, taken: Arc::default() }
    }

    pub(super) fn take(&self, pending: Pending) {
        drop(self.replace(Some(pending)));
    }

    /// Gives the call back, whose items are not to come.
    pub(super) fn leave(&self) -> Option<Pending> {
        self.replace(None)
    }

    /// Notes that something of the items has come.
    pub(super) fn note_answer(&self) {
        let member = self.lock().as_ref().map(|pending| Arc::clone(pending.member()));
        if let Some(member) = member {
            member.live.note_answer();
            self.set.note(&member, Verdict::Works);
        }
    }

    /// Notes the end of the items.
    pub(super) fn end(&self, end: BodyEnd) {
        if let Some(pending) = self.leave() {
            self.set.note(pending.member(), Verdict::of_end(end));
        }
    }

    /// Returns what was there, to be dropped without the lock.
    fn replace(&self, pending: Option<Pending>) -> Option<Pending> {
        std::mem::replace(&mut *self.lock(), pending)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Pending>> {
        // Nothing that panics runs under the lock.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
