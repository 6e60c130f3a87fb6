//! Polling many readers on one thread without a runtime: a list of those that were woken.

use std::sync::Arc;
use std::task::{Context, Wake, Waker};

use parking_lot::Mutex;

use crate::ways::Reader;

pub(crate) struct Hand {
    woken: Arc<Mutex<Vec<usize>>>,
    readers: Vec<(Reader, Waker)>,
    /// Spare room for the list, so that the two take turns.
    spare: Vec<usize>,
}

struct Mark {
    index: usize,
    woken: Arc<Mutex<Vec<usize>>>,
}

impl Wake for Mark {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.lock().push(self.index);
    }
}

impl Hand {
    /// All of them wait for news when this returns.
    pub(crate) fn new(readers: Vec<Reader>) -> Self {
        let woken = Arc::new(Mutex::new((0..readers.len()).collect()));
        let with_waker = |(index, reader)| (reader, Waker::from(Arc::new(Mark { index, woken: Arc::clone(&woken) })));
        let readers = readers.into_iter().enumerate().map(with_waker).collect();
        let mut hand = Self { woken, readers, spare: Vec::new() };
        hand.poll_woken();
        hand
    }

    pub(crate) fn poll_woken(&mut self) {
        std::mem::swap(&mut *self.woken.lock(), &mut self.spare);
        for index in self.spare.drain(..) {
            let (reader, waker) = &mut self.readers[index];
            assert!(reader.as_mut().poll(&mut Context::from_waker(waker)).is_pending(), "readers never end");
        }
    }
}
