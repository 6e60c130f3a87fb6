//! The server's log lines.

use std::io::{BufRead, BufReader, Read};
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};
use serde_json::Value;

use super::DEADLINE;

/// One line: JSON, or a text that was written before logging began.
type Line = Value;

/// What the server has written to standard error so far.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Inner>);

#[derive(Default)]
struct Inner {
    lines: Mutex<Vec<Line>>,
    grown: Condvar,
}

impl Log {
    /// Collects what `stderr` brings until it ends.
    pub(super) fn collect(stderr: impl Read + Send + 'static) -> Self {
        let log = Self::default();
        let collector = log.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let line = serde_json::from_str(&line).unwrap_or(Value::String(line));
                collector.0.lines.lock().push(line);
                collector.0.grown.notify_all();
            }
        });
        log
    }

    /// All lines so far.
    pub(crate) fn lines(&self) -> Vec<Line> {
        self.0.lines.lock().clone()
    }

    /// Waits for so many lines with this message and tells what each says.
    #[track_caller]
    pub(crate) fn wait_for_all<T>(&self, message: &str, count: usize, tell: impl Fn(&Line) -> T) -> Vec<T> {
        let mut lines = self.0.lines.lock();
        loop {
            let wanted: Vec<&Line> = lines.iter().filter(|line| line["message"] == message).collect();
            if wanted.len() >= count {
                return wanted.into_iter().map(tell).collect();
            }
            let waited = self.0.grown.wait_for(&mut lines, DEADLINE);
            assert!(!waited.timed_out(), "not {count} lines {message:?}: {lines:#?}");
        }
    }

    /// Waits for a line with this message that `is_wanted`.
    #[track_caller]
    pub(crate) fn wait_for(&self, message: &str, is_wanted: impl Fn(&Line) -> bool) -> Line {
        let mut lines = self.0.lines.lock();
        loop {
            let wanted = lines.iter().find(|line| line["message"] == message && is_wanted(line));
            if let Some(line) = wanted {
                return line.clone();
            }
            let waited = self.0.grown.wait_for(&mut lines, DEADLINE);
            assert!(!waited.timed_out(), "no such line {message:?}: {lines:#?}");
        }
    }
}
