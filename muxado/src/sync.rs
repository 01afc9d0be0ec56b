//! The lock of a session. In unit tests the model checker may switch tasks before each locking; see
//! `models`.

#[cfg(not(test))]
pub(crate) use parking_lot::Mutex;
pub(crate) use parking_lot::MutexGuard;

#[cfg(test)]
pub(crate) use self::modelled::{Mutex, switch};

#[cfg(test)]
mod modelled {
    use shuttle::{
        current::try_get_current_task,
        sync::atomic::{AtomicBool, Ordering},
    };

    /// The same lock. Tasks of a model share a thread, so that one that slept with the lock held would
    /// stop them all: it is a failure instead.
    #[derive(Debug)]
    pub(crate) struct Mutex<T>(parking_lot::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) const fn new(value: T) -> Self {
            Self(parking_lot::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> parking_lot::MutexGuard<'_, T> {
            if try_get_current_task().is_none() {
                return self.0.lock();
            }
            switch();
            self.0.try_lock().expect("nothing else runs while the lock is held")
        }
    }

    /// Lets the model checker go on with another task here; outside of a model it does nothing.
    pub(crate) fn switch() {
        if try_get_current_task().is_some() {
            // Whatever shuttle does to a variable that tasks might share begins with a choice of the task.
            AtomicBool::new(false).load(Ordering::SeqCst);
        }
    }
}
