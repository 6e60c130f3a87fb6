//! Descriptors kept back, so that metrics can be read while the public listener has taken all the others.

use std::fs::File;

use parking_lot::Mutex;

/// Scrapes at a time that a full descriptor table allows.
const SPARE_MAX: usize = 2;

#[derive(Debug)]
pub(super) struct Reserve(Mutex<Vec<File>>);

impl Reserve {
    pub(super) fn new() -> Self {
        let reserve = Self(Mutex::default());
        reserve.refill();
        reserve
    }

    /// Frees one descriptor; false if none is left.
    pub(super) fn give(&self) -> bool {
        self.0.lock().pop().is_some()
    }

    /// Takes back what was given, as far as there is any. Called at once when an admin connection has closed: the public
    /// listener pauses after a shortage, and would take the descriptor next.
    pub(super) fn refill(&self) {
        let mut spare = self.0.lock();
        while spare.len() < SPARE_MAX {
            let Ok(file) = File::open("/dev/null") else { return };
            spare.push(file);
        }
    }
}
