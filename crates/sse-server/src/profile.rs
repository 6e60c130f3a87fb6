//! Where the process spends its time: samples of all threads, for as long as somebody asks for them.
//!
//! While a profile is taken, a timer of the processor time interrupts whichever thread runs. The handler walks that thread's
//! stack into memory that was set aside before; names are looked up afterwards.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use hyper::StatusCode;
use pprof::{ProfilerGuard, ProfilerGuardBuilder, Report};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use crate::memory;

mod encoding;
#[cfg(feature = "heap-profile")]
pub(crate) mod heap;
#[cfg(not(feature = "heap-profile"))]
#[path = "profile/heap_absent.rs"]
pub(crate) mod heap;

use encoding::{Measure, Sample};

/// Samples per second of processor time. Not a hundred: it would keep step with what happens every ten milliseconds.
const PER_SECOND: i32 = 99;
/// The time that each stands for, in nanoseconds.
const PERIOD: u64 = 1_000_000_000 / PER_SECOND as u64;
/// What must not be walked through by a handler that may have interrupted it: the unwinder itself, and what the kernel maps in.
const NOT_WALKED: [&str; 2] = ["libgcc", "vdso"];

/// One at a time: the process has one such timer, and names are looked up in tables that are large.
static TURN: Semaphore = Semaphore::const_new(1);

/// Why there is no profile.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProfileError {
    /// Somebody else takes one.
    #[error("a profile is being taken already")]
    Busy,
    /// This build has nothing to take it from.
    #[cfg_attr(feature = "heap-profile", expect(dead_code, reason = "this build has all"))]
    #[error("{0}")]
    Absent(&'static str),
    /// The system does not let it be taken.
    #[error("no profile can be taken: {0}")]
    Failed(String),
}

impl ProfileError {
    /// What an answer says to programs.
    pub(crate) fn status(&self) -> (StatusCode, &'static str) {
        match self {
            Self::Busy => (StatusCode::CONFLICT, "profile_running"),
            Self::Absent(_) => (StatusCode::NOT_IMPLEMENTED, "profile_unsupported"),
            Self::Failed(_) => (StatusCode::SERVICE_UNAVAILABLE, "profile_unavailable"),
        }
    }
}

/// Takes a profile of the next `time`, as pprof reads it. Dropping the future ends it.
///
/// # Errors
/// A [`ProfileError`].
pub(crate) async fn take(time: Duration) -> Result<Bytes, ProfileError> {
    let turn = TURN.try_acquire().map_err(|_| ProfileError::Busy)?;
    let began_at = SystemTime::now();
    let guard = off_the_runtime(|| {
        let profiler = ProfilerGuardBuilder::default().frequency(PER_SECOND).blocklist(&NOT_WALKED);
        profiler.build().map_err(failed)
    })
    .await?;
    tokio::time::sleep(time).await;
    // Looking up names takes a second or two of one core, the first time more.
    let profile = off_the_runtime(move || {
        let _turn = turn;
        encode(guard, began_at, time)
    });
    profile.await
}

fn encode(guard: ProfilerGuard<'static>, began_at: SystemTime, time: Duration) -> Result<Bytes, ProfileError> {
    // Stopped only after the report: a report of a stopped profiler is empty.
    let report = guard.report().build().map_err(failed);
    drop(guard);
    forget_names();
    Ok(encode_report(&report?, began_at, time))
}

fn encode_report(report: &Report, began_at: SystemTime, time: Duration) -> Bytes {
    let cpu = ("cpu", "nanoseconds");
    let measure = Measure { values: [("samples", "count"), cpu], of: cpu, period: PERIOD };
    let samples = report.data.iter().map(|(of, count)| {
        let count = u64::try_from(*count).unwrap_or(0);
        let frames = of.frames.iter().map(Vec::as_slice).collect();
        Sample { frames, thread: Some(of.thread_name_or_id()), values: [count, count * PERIOD] }
    });
    encoding::encode(measure, samples, began_at, time)
}

/// Names come from a table that is larger than all that the process holds otherwise, and is rarely asked again.
fn forget_names() {
    backtrace::clear_symbol_cache();
    memory::trim();
}

async fn off_the_runtime<T: Send + 'static>(
    run: impl FnOnce() -> Result<T, ProfileError> + Send + 'static,
) -> Result<T, ProfileError> {
    spawn_blocking(run).await.unwrap_or_else(|_| Err(ProfileError::Failed("it panicked".to_owned())))
}

fn failed(error: pprof::Error) -> ProfileError {
    ProfileError::Failed(error.to_string())
}
