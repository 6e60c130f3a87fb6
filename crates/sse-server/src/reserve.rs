//! Descriptors kept back for when the table is full.

use std::fs::File;

use parking_lot::Mutex;

#[derive(Debug)]
pub(crate) struct Reserve {
    spare: Mutex<Vec<File>>,
    count: usize,
}

impl Reserve {
    /// Keeps back so many, as far as there are any.
    pub(crate) fn of(count: usize) -> Self {
        let reserve = Self { spare: Mutex::default(), count };
        reserve.refill();
        reserve
    }

    /// Frees one; false if none is left.
    pub(crate) fn give(&self) -> bool {
        self.spare.lock().pop().is_some()
    }

    /// Takes back what was given, as far as there is any.
    pub(crate) fn refill(&self) {
        let mut spare = self.spare.lock();
        while spare.len() < self.count {
            let Ok(file) = File::open("/dev/null") else { return };
            spare.push(file);
        }
    }
}
