//! Structured log lines on standard error, written by a thread of their own: a full pipe slows no stream.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::BufWriter;

use metrics::counter;
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::LevelFilter;

use crate::config::{Config, LogFormat, LogLevel};

/// Lines that may wait for standard error; beyond it they are dropped.
const LINES_MAX: usize = 64 * 1024;

/// Starts logging; what is still waiting is written when the guard is dropped.
pub fn start(config: &Config) -> WorkerGuard {
    // The thread flushes whenever no line waits: many lines leave in one write, a single one at once.
    let stderr = BufWriter::new(std::io::stderr());
    let (writer, guard) = NonBlockingBuilder::default().buffered_lines_limit(LINES_MAX).lossy(true).finish(stderr);
    let subscriber =
        tracing_subscriber::fmt().with_writer(writer).with_max_level(level(config.log_level)).with_target(false);
    match config.log_format {
        LogFormat::Text => subscriber.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).init(),
        LogFormat::Json => subscriber.json().flatten_event(true).init(),
    }
    guard
}

/// Has panics logged as a line like any other, and counted. A panic ends what it happens in, a connection or a vital thread.
pub fn report_panics() {
    std::panic::set_hook(Box::new(|panic| {
        counter!("sse_panics_total").increment(1);
        let thread = std::thread::current();
        let location = panic.location().map(ToString::to_string);
        let backtrace = Some(Backtrace::capture()).filter(|trace| trace.status() == BacktraceStatus::Captured);
        tracing::error!(
            thread = thread.name(),
            location,
            reason = panic.payload_as_str(),
            backtrace = backtrace.map(|trace| trace.to_string()),
            "panicked"
        );
    }));
}

fn level(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}
