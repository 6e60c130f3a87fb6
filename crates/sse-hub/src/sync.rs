//! The one place that locks and atomics come from, so that loom and shuttle can stand in for them.

#[cfg(not(any(loom, shuttle)))]
pub(crate) use parking_lot::{Condvar, Mutex, MutexGuard};
#[cfg(not(any(loom, shuttle)))]
pub(crate) use std::sync::atomic::{AtomicU64, Ordering};

/// For what is read far more often than written. Loom's models do without it.
#[cfg(not(shuttle))]
pub(crate) use parking_lot::RwLock;

#[cfg(loom)]
use loom::sync as checked;
#[cfg(shuttle)]
use shuttle::sync as checked;

#[cfg(any(loom, shuttle))]
pub(crate) use checked::atomic::{AtomicU64, Ordering};
#[cfg(any(loom, shuttle))]
pub(crate) use stand_in::*;

/// Their locks with parking_lot's signatures: a poisoned lock means that the model has failed already.
#[cfg(any(loom, shuttle))]
mod stand_in {
    use std::ops::{Deref, DerefMut};
    use std::time::Duration;

    use super::checked;

    const SOUND: &str = "no thread of the model panics while it holds a lock";

    #[derive(Debug, Default)]
    pub(crate) struct Mutex<T>(checked::Mutex<T>);

    /// Without a lock only while it waits.
    pub(crate) struct MutexGuard<'a, T>(Option<checked::MutexGuard<'a, T>>);

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(checked::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            MutexGuard(Some(self.0.lock().expect(SOUND)))
        }
    }

    impl<T> Deref for MutexGuard<'_, T> {
        type Target = T;

        fn deref(&self) -> &T {
            self.0.as_ref().expect("nobody looks while it waits")
        }
    }

    impl<T> DerefMut for MutexGuard<'_, T> {
        fn deref_mut(&mut self) -> &mut T {
            self.0.as_mut().expect("nobody looks while it waits")
        }
    }

    /// Waits never time out: a wake-up that is lost is a deadlock.
    #[derive(Debug)]
    pub(crate) struct Condvar(checked::Condvar);

    impl Condvar {
        pub(crate) fn new() -> Self {
            Self(checked::Condvar::new())
        }

        pub(crate) fn notify_one(&self) {
            self.0.notify_one();
        }

        pub(crate) fn notify_all(&self) {
            self.0.notify_all();
        }

        pub(crate) fn wait_for<T>(&self, guard: &mut MutexGuard<'_, T>, _timeout: Duration) {
            guard.0 = guard.0.take().map(|lock| self.0.wait(lock).expect(SOUND));
        }
    }

    #[cfg(shuttle)]
    #[derive(Debug, Default)]
    pub(crate) struct RwLock<T>(checked::RwLock<T>);

    #[cfg(shuttle)]
    impl<T> RwLock<T> {
        pub(crate) fn read(&self) -> checked::RwLockReadGuard<'_, T> {
            self.0.read().expect(SOUND)
        }

        pub(crate) fn write(&self) -> checked::RwLockWriteGuard<'_, T> {
            self.0.write().expect(SOUND)
        }
    }
}
