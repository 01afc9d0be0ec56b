//! A value that is only reached through `&mut`, and may be shared because of that.

use std::{fmt, sync::Mutex};

/// Holds what is `Send` only and makes it `Sync`: a shared reference gives no access to it.
///
/// The lock is never locked. It is the one type of the standard library that may be shared whatever is in it.
pub(crate) struct Exclusive<T>(Mutex<T>);

impl<T> Exclusive<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(Mutex::new(value))
    }

    pub(crate) fn get_mut(&mut self) -> &mut T {
        // Nobody locks it, so nobody can have panicked with it.
        self.0.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub(crate) fn into_inner(self) -> T {
        self.0.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl<T> fmt::Debug for Exclusive<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exclusive").finish_non_exhaustive()
    }
}
