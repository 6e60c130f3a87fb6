//! Structured log lines on standard error, written by a thread of their own: a full pipe slows no stream.

use std::io::BufWriter;

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

fn level(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}
