//! The queue over files that take what they are let take.

use std::sync::Arc;

use parking_lot::{Condvar, Mutex};

use super::*;

/// A file that takes nothing until it is opened.
#[derive(Clone, Default)]
struct Gate(Arc<(Mutex<State>, Condvar)>);

#[derive(Default)]
struct State {
    is_open: bool,
    is_broken: bool,
    is_asked: bool,
    written: Vec<u8>,
}

impl Gate {
    fn set(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.0.0.lock());
        self.0.1.notify_all();
    }

    fn wait_for(&self, fact: impl Fn(&State) -> bool) {
        let mut state = self.0.0.lock();
        while !fact(&state) {
            let waited = self.0.1.wait_for(&mut state, Duration::from_secs(20));
            assert!(!waited.timed_out());
        }
    }
}

impl Write for Gate {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.set(|state| state.is_asked = true);
        self.wait_for(|state| state.is_open || state.is_broken);
        let mut state = self.0.0.lock();
        if state.is_broken {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        state.written.extend_from_slice(text);
        drop(state);
        self.0.1.notify_all();
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn push(queue: &LineQueue, text: &str) {
    write!(LineWriter::new(queue.clone()), "{text}").unwrap();
}

#[test]
fn what_is_too_much_is_dropped_and_counted() {
    let gate = Gate::default();
    let (queue, guard) = LineQueue::start(gate.clone()).unwrap();
    push(&queue, "first\n");
    gate.wait_for(|state| state.is_asked);
    for _ in 0..LINES_MAX + 7 {
        push(&queue, "x\n");
    }
    assert_eq!(queue.dropped(), 7, "one line is with the writer, as many as may wait do");
    gate.set(|state| state.is_open = true);
    drop(guard);
    assert_eq!(gate.0.0.lock().written.len(), "first\n".len() + LINES_MAX * 2);
    assert_eq!(queue.tally.bytes_waiting.load(Ordering::Relaxed), 0);
    push(&queue, "after the end\n");
    gate.wait_for(|state| state.written.ends_with(b"after the end\n"));
}

#[test]
fn large_lines_are_bounded_in_bytes() {
    let gate = Gate::default();
    let (queue, _guard) = LineQueue::start(gate.clone()).unwrap();
    let large = "x".repeat(BYTES_MAX / 4);
    for _ in 0..6 {
        push(&queue, &large);
    }
    assert_eq!(queue.dropped(), 2);
    gate.set(|state| state.is_open = true);
}

#[test]
fn the_end_waits_no_longer_than_a_second_for_a_stuck_file() {
    let gate = Gate::default();
    let (queue, guard) = LineQueue::start(gate.clone()).unwrap();
    push(&queue, "x\n");
    let started = Instant::now();
    drop(guard);
    assert!((LAST_LINES_MAX..LAST_LINES_MAX * 5).contains(&started.elapsed()), "{:?}", started.elapsed());
    gate.set(|state| state.is_open = true);
}

#[test]
fn what_a_broken_file_does_not_take_is_counted() {
    let gate = Gate::default();
    gate.set(|state| state.is_broken = true);
    let (queue, guard) = LineQueue::start(gate).unwrap();
    push(&queue, "x\n");
    push(&queue, "y\n");
    drop(guard);
    assert_eq!(queue.dropped(), 2);
}
