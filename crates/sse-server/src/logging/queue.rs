//! Lines on their way to a file that may be slow, or stuck.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};

/// Lines that may wait; beyond it they are dropped.
const LINES_MAX: usize = 16 * 1024;
/// Bytes of lines that may wait: a line that names a hundred long topics is a hundred kilobytes.
const BYTES_MAX: usize = 8 << 20;
/// Many lines leave in one write, which a pipe takes whole if it is empty.
const WRITE_BYTES: usize = 64 * 1024;
/// How long the first line waits for others. Connections come many at once, and to wake this thread for each costs more than
/// the line itself.
const LINGER: Duration = Duration::from_millis(1);
/// How long the end of the process waits for the last lines.
const LAST_LINES_MAX: Duration = Duration::from_secs(1);

enum Message {
    Line(Vec<u8>),
    /// Nothing after this matters; the sender is dropped once all before it is written.
    End(Sender<()>),
}

/// Takes lines without ever waiting.
#[derive(Clone)]
pub(super) struct LineQueue {
    messages: Sender<Message>,
    tally: Arc<Tally>,
}

#[derive(Default)]
struct Tally {
    bytes_waiting: AtomicUsize,
    dropped: AtomicU64,
}

impl LineQueue {
    /// Starts the thread that writes.
    ///
    /// # Errors
    /// When the system gives none.
    pub(super) fn start(file: impl Write + Send + 'static) -> io::Result<(Self, LogGuard)> {
        let (messages, waiting) = bounded(LINES_MAX);
        let tally = Arc::new(Tally::default());
        let of_writer = tally.clone();
        thread::Builder::new().name("log-lines".to_owned()).spawn(move || write_all(file, &waiting, &of_writer))?;
        Ok((Self { messages: messages.clone(), tally }, LogGuard { messages }))
    }

    /// Lines that were dropped since the start.
    pub(super) fn dropped(&self) -> u64 {
        self.tally.dropped.load(Ordering::Relaxed)
    }

    fn push(&self, line: Vec<u8>) {
        let bytes = line.len();
        let waiting = self.tally.bytes_waiting.fetch_add(bytes, Ordering::Relaxed);
        if waiting + bytes > BYTES_MAX || self.messages.try_send(Message::Line(line)).is_err() {
            self.tally.bytes_waiting.fetch_sub(bytes, Ordering::Relaxed);
            self.tally.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Writes until the end; a file that takes nothing holds up only this thread.
fn write_all(mut file: impl Write, waiting: &Receiver<Message>, tally: &Tally) {
    let mut batch = Vec::with_capacity(WRITE_BYTES);
    while let Ok(first) = waiting.recv() {
        thread::sleep(LINGER);
        let (mut next, mut lines) = (Some(first), 0);
        let mut end = None;
        while let Some(message) = next {
            match message {
                Message::Line(line) => {
                    batch.extend_from_slice(&line);
                    lines += 1;
                }
                Message::End(done) => end = Some(done),
            }
            next = if batch.len() < WRITE_BYTES && end.is_none() { waiting.try_recv().ok() } else { None };
        }
        // Whoever reads it has gone away: the server goes on without.
        if file.write_all(&batch).and_then(|()| file.flush()).is_err() {
            tally.dropped.fetch_add(lines, Ordering::Relaxed);
        }
        tally.bytes_waiting.fetch_sub(batch.len(), Ordering::Relaxed);
        batch.clear();
        drop(end);
    }
}

/// One line in the making.
pub(super) struct LineWriter {
    queue: LineQueue,
    line: Vec<u8>,
}

impl LineWriter {
    pub(super) fn new(queue: LineQueue) -> Self {
        Self { queue, line: Vec::new() }
    }
}

impl Write for LineWriter {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.line.extend_from_slice(text);
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for LineWriter {
    fn drop(&mut self) {
        if !self.line.is_empty() {
            self.queue.push(std::mem::take(&mut self.line));
        }
    }
}

/// Dropping it waits until what was logged is written, for a second at most.
#[must_use]
pub struct LogGuard {
    messages: Sender<Message>,
}

impl Drop for LogGuard {
    fn drop(&mut self) {
        let deadline = Instant::now() + LAST_LINES_MAX;
        let (done, is_done) = bounded(0);
        // A file that takes nothing any more gets no last lines.
        if self.messages.send_deadline(Message::End(done), deadline).is_ok() {
            let _ = is_done.recv_deadline(deadline);
        }
    }
}

impl std::fmt::Debug for LogGuard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LogGuard")
    }
}

#[cfg(test)]
mod tests;
