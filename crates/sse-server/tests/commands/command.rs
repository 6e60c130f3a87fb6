//! The binary under test, with its input and output line by line.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

/// Whatever a test waits for is there within this time, or the test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// Lines that wait to be looked at.
const LINES_MAX: usize = 1 << 16;

/// A running `sse-server`; killed when dropped.
pub(crate) struct Command {
    child: Child,
    input: Option<ChildStdin>,
    out: Receiver<String>,
    err: Receiver<String>,
}

/// How a command ended, with what it printed that nobody had looked at.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) code: Option<i32>,
    pub(crate) out: Vec<String>,
    pub(crate) err: Vec<String>,
}

/// An event as `subscribe` prints it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) event_type: String,
    pub(crate) id: String,
    pub(crate) data: String,
}

impl Command {
    pub(crate) fn start(args: &[&str]) -> Self {
        Self::spawn(args, Stdio::piped())
    }

    /// Starts it with a standard output that nobody reads any more.
    pub(crate) fn start_unread(args: &[&str]) -> Self {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        Self::spawn(args, writer.into())
    }

    fn spawn(args: &[&str], out: Stdio) -> Self {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_sse-server"));
        command.args(args).stdout(out);
        let is_setting = |name: &[u8]| name.starts_with(b"SSE_") || name.starts_with(b"OTEL_");
        for (name, _) in std::env::vars_os().filter(|(name, _)| is_setting(name.as_encoded_bytes())) {
            command.env_remove(name);
        }
        Self::of(command)
    }

    /// Any other program.
    pub(crate) fn of(mut command: std::process::Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
        let input = child.stdin.take();
        let out = child.stdout.take().map_or_else(|| sync_channel(1).1, lines);
        let err = lines(child.stderr.take().expect("it is piped"));
        Self { child, input, out, err }
    }

    /// Runs a command without input to its end.
    pub(crate) fn run(args: &[&str]) -> Outcome {
        let mut command = Self::start(args);
        command.end_input();
        command.finish()
    }

    /// Writes to its standard input.
    pub(crate) fn say(&mut self, text: &str) {
        let input = self.input.as_mut().expect("the input is open");
        input.write_all(text.as_bytes()).and_then(|()| input.flush()).expect("the command reads");
    }

    pub(crate) fn end_input(&mut self) {
        self.input = None;
    }

    /// The next line of standard output.
    pub(crate) fn line(&self) -> String {
        self.out.recv_timeout(PATIENCE).expect("a line on standard output")
    }

    /// The next event on standard output.
    pub(crate) fn event(&self) -> Event {
        let mut event = Event { event_type: "message".to_owned(), ..Event::default() };
        let mut data = Vec::new();
        loop {
            let line = self.line();
            match line.split_once(": ") {
                Some(("event", value)) => event.event_type = value.to_owned(),
                Some(("id", value)) => event.id = value.to_owned(),
                Some(("data", value)) => data.push(value.to_owned()),
                None if line.is_empty() => break,
                _ => panic!("unexpected line {line:?}"),
            }
        }
        event.data = data.join("\n");
        event
    }

    /// The next notice on standard error that contains `text`; others are passed over.
    pub(crate) fn notice(&self, text: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        let mut passed = Vec::new();
        loop {
            match self.err.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) if line.contains(text) => return line,
                Ok(line) => passed.push(line),
                Err(error) => panic!("no `{text}` on standard error ({error}) but {passed:?}"),
            }
        }
    }

    /// The notices that are there already.
    pub(crate) fn notices_so_far(&self) -> Vec<String> {
        self.err.try_iter().collect()
    }

    /// Waits until it ends.
    pub(crate) fn finish(mut self) -> Outcome {
        let deadline = Instant::now() + PATIENCE;
        let out = rest(&self.out, deadline);
        let err = rest(&self.err, deadline);
        // Its output is closed, so it is about to end.
        let code = self.child.wait().expect("it is our child").code();
        Outcome { code, out, err }
    }
}

impl Drop for Command {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Outcome {
    /// Fails unless the command failed saying `text`.
    pub(crate) fn failed_with(&self, text: &str) {
        assert_eq!(self.code, Some(1), "{self:?}");
        assert!(self.err.iter().any(|line| line.contains(text)), "no `{text}` in {self:?}");
    }

    pub(crate) fn succeeded(&self) {
        assert_eq!(self.code, Some(0), "{self:?}");
    }
}

fn lines(pipe: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = sync_channel(LINES_MAX);
    thread::spawn(move || {
        for line in BufReader::new(pipe).lines() {
            let Ok(line) = line else { return };
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

fn rest(lines: &Receiver<String>, deadline: Instant) -> Vec<String> {
    let mut rest = Vec::new();
    loop {
        match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => rest.push(line),
            Err(RecvTimeoutError::Disconnected) => return rest,
            Err(RecvTimeoutError::Timeout) => panic!("it has not ended, and printed {rest:?}"),
        }
    }
}
