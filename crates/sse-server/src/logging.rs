//! Structured log lines on standard error, written by a thread of their own: a full pipe slows no stream.
//!
//! The process has one log, and so this keeps what belongs to it for the whole process: its level and its queue.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::IsTerminal;
use std::sync::OnceLock;

use metrics::counter;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Registry, fmt, registry, reload};

use crate::config::{Config, LogFormat, LogLevel};

mod queue;

pub use queue::LogGuard;
use queue::{LineQueue, LineWriter};

/// What filters the log, once that was started.
static FILTER: OnceLock<reload::Handle<Targets, Registry>> = OnceLock::new();
/// The lines on their way, likewise.
static LINES: OnceLock<LineQueue> = OnceLock::new();

/// Starts logging; what is still waiting is written when the guard is dropped.
///
/// # Errors
/// When the system gives no thread.
pub fn start(config: &Config) -> std::io::Result<LogGuard> {
    let (queue, guard) = LineQueue::start(std::io::stderr())?;
    let (filter, handle) = reload::Layer::new(lines_of(config.log_level));
    // Whoever starts a second log has the first.
    let (lines, _) = (LINES.get_or_init(|| queue), FILTER.set(handle));
    let lines = fmt::layer().with_writer(|| LineWriter::new(lines.clone())).with_target(false);
    let subscriber = registry().with(filter);
    match config.log_format {
        LogFormat::Text => subscriber.with(lines.with_ansi(std::io::stderr().is_terminal())).init(),
        LogFormat::Json => subscriber.with(lines.json().flatten_event(true)).init(),
    }
    Ok(guard)
}

/// From now on lines are written down to this level.
pub(crate) fn set_level(to: LogLevel) {
    if let Some(filter) = FILTER.get() {
        // It fails only once the subscriber is gone, with the process.
        let _ = filter.modify(|filter| *filter = lines_of(to));
    }
}

/// Lines that were dropped since the start, as nobody took them in time.
pub(crate) fn dropped_lines() -> u64 {
    LINES.get().map_or(0, LineQueue::dropped)
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

/// Which lines are written. The client of NATS tells of each attempt to connect, and of what it answers us with besides.
fn lines_of(to: LogLevel) -> Targets {
    let client = match to {
        LogLevel::Debug | LogLevel::Trace => level(to),
        LogLevel::Error | LogLevel::Warn | LogLevel::Info => LevelFilter::OFF,
    };
    Targets::new().with_default(level(to)).with_target("async_nats", client)
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

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn a_client_of_ours_does_not_talk_over_us() {
        for (to, ours, theirs) in
            [(LogLevel::Info, true, false), (LogLevel::Debug, true, true), (LogLevel::Warn, false, false)]
        {
            let lines = lines_of(to);
            assert_eq!(lines.would_enable("sse_server::backplane", &Level::INFO), ours, "{to:?}");
            assert_eq!(lines.would_enable("async_nats::connector", &Level::INFO), theirs, "{to:?}");
        }
    }
}
