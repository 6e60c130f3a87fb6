//! The committer's thread.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};
use metrics::{Histogram, gauge, histogram};
use sse_hub::{Commit, Committer, DiskLog, LogError};

use super::IDLE;
use crate::fan_out::publishing;
use crate::pulse::Pulse;

/// How often the log is tended between commits.
const TEND_EVERY: Duration = Duration::from_millis(10);
/// How often its size is looked at.
const MEASURE_EVERY: Duration = Duration::from_secs(1);
/// How often a disk that was full is tried: nobody may publish to a server that is not ready.
const TRY_EVERY: Duration = Duration::from_secs(1);
/// How often a full disk is told of.
const COMPLAIN_EVERY: Duration = Duration::from_secs(10);

/// Has the log left to another process.
#[derive(Debug)]
pub(super) struct LettingGo {
    /// The log's lock, once everything is committed.
    pub(super) done: Sender<Result<OwnedFd, LogError>>,
    /// Something comes here once the other process has the log; dropped instead, it stays.
    pub(super) taken: Receiver<()>,
}

/// Commits what was submitted, and tends the log.
pub(super) struct Keeper {
    committer: Committer,
    log: Arc<DiskLog>,
    /// How often to sync, if commits do not.
    sync_every: Option<Duration>,
    is_full: Arc<AtomicBool>,
    pulse: Arc<Pulse>,
    leaving: Receiver<LettingGo>,
    duration: Histogram,
    synced_at: Instant,
    tended_at: Instant,
    measured_at: Instant,
    complained_at: Option<Instant>,
    tried_at: Instant,
    /// Tending has more to do.
    has_more: bool,
}

/// Whose the log is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner {
    This,
    Another,
}

impl Keeper {
    pub(super) fn new(
        committer: Committer,
        log: Arc<DiskLog>,
        sync_every: Option<Duration>,
        is_full: Arc<AtomicBool>,
        pulse: Arc<Pulse>,
        leaving: Receiver<LettingGo>,
    ) -> Self {
        let now = Instant::now();
        Self {
            committer,
            log,
            sync_every,
            is_full,
            pulse,
            leaving,
            duration: histogram!("sse_log_commit_duration_seconds"),
            synced_at: now,
            tended_at: now,
            measured_at: now,
            complained_at: None,
            tried_at: now,
            has_more: false,
        }
    }

    /// Waits until a log that was taken over is this process's, and keeps it then.
    pub(super) fn run_if_ours(self, is_ours: &Receiver<()>) {
        if is_ours.recv().is_err() {
            return;
        }
        match self.log.begin() {
            Err(LogError::Full(_)) => self.is_full.store(true, Ordering::Relaxed),
            Err(error) => {
                self.committer.fail();
                failed(&error);
            }
            Ok(()) => (),
        }
        self.run();
    }

    pub(super) fn run(mut self) {
        loop {
            match self.commit() {
                Commit::Stopped => break,
                Commit::Idle => self.rest(),
                Commit::Done(_) | Commit::Full(_) | Commit::Failed(_) => (),
            }
            if let Err(error) = self.keep() {
                failed(&error);
            }
            self.pulse.beat();
            if let Ok(leaving) = self.leaving.try_recv()
                && self.let_go(&leaving) == Owner::Another
            {
                return;
            }
        }
        if let Err(error) = self.committer.close() {
            failed(&error);
        }
    }

    fn commit(&mut self) -> Commit {
        let started = Instant::now();
        let commit = self.committer.step(|began_at, deliver| publishing(began_at.unwrap_or(started), deliver));
        match &commit {
            Commit::Done(_) => {
                self.duration.record(started.elapsed().as_secs_f64());
                self.is_full.store(false, Ordering::Relaxed);
            }
            Commit::Full(error) => self.complain(error),
            Commit::Failed(error) => failed(error),
            Commit::Idle | Commit::Stopped => (),
        }
        commit
    }

    /// Commits what waits, while nobody publishes, and has another process decide whose the log is.
    fn let_go(&mut self, leaving: &LettingGo) -> Owner {
        while let Commit::Done(_) = self.commit() {}
        let given = match self.committer.let_go() {
            Ok(given) => given,
            Err(error) => {
                // Whoever has given up waiting drops the other channel as well.
                let _ = leaving.done.send(Err(error));
                return Owner::This;
            }
        };
        let lock = self.log.lock().map_err(|error| LogError::Failed(error.into()));
        if leaving.done.send(lock).is_ok() && leaving.taken.recv().is_ok() {
            return Owner::Another;
        }
        match self.log.go_on(given) {
            Err(error @ LogError::Full(_)) => self.complain(&error),
            Err(error) => {
                self.committer.fail();
                failed(&error);
            }
            Ok(()) => (),
        }
        Owner::This
    }

    /// Waits for work.
    fn rest(&self) {
        let until_sync = self.sync_every.filter(|_| self.committer.is_dirty());
        let until_sync = until_sync.map_or(IDLE, |every| every.saturating_sub(self.synced_at.elapsed()));
        self.committer.wait(if self.has_more { Duration::ZERO } else { until_sync.min(IDLE) });
    }

    /// What is due besides commits.
    fn keep(&mut self) -> Result<(), LogError> {
        if self.committer.has_failed() {
            return Ok(());
        }
        if self.sync_every.is_some_and(|every| self.committer.is_dirty() && self.synced_at.elapsed() >= every) {
            self.committer.sync()?;
            self.synced_at = Instant::now();
        }
        if self.measured_at.elapsed() >= MEASURE_EVERY {
            self.measured_at = Instant::now();
            gauge!("sse_log_bytes").set(self.log.disk_bytes() as f64);
        }
        self.try_room()?;
        if self.has_more || self.tended_at.elapsed() >= TEND_EVERY {
            self.tended_at = Instant::now();
            let tended = self.log.tend();
            if let Some(retained) = self.unless_full(tended)? {
                self.has_more = retained.has_more;
            }
        }
        Ok(())
    }

    /// Whether a disk that was full has room again.
    fn try_room(&mut self) -> Result<(), LogError> {
        if self.is_full.load(Ordering::Relaxed) && self.tried_at.elapsed() >= TRY_EVERY {
            self.tried_at = Instant::now();
            let tried = self.log.try_room();
            if self.unless_full(tried)?.is_some() {
                self.is_full.store(false, Ordering::Relaxed);
            }
        }
        Ok(())
    }

    /// What was done, or nothing on a full disk. Any other failure ends publishing.
    fn unless_full<T>(&mut self, done: Result<T, LogError>) -> Result<Option<T>, LogError> {
        match done {
            Ok(done) => Ok(Some(done)),
            Err(error @ LogError::Full(_)) => {
                self.complain(&error);
                Ok(None)
            }
            Err(error) => {
                self.committer.fail();
                Err(error)
            }
        }
    }

    fn complain(&mut self, error: &LogError) {
        self.is_full.store(true, Ordering::Relaxed);
        if self.complained_at.is_none_or(|at| at.elapsed() >= COMPLAIN_EVERY) {
            self.complained_at = Some(Instant::now());
            tracing::error!(error = chain(error), "the log's disk is full: publishing is refused");
        }
    }
}

fn failed(error: &LogError) {
    tracing::error!(error = chain(error), "the log failed: nothing is published until the next start");
}

fn chain(error: &LogError) -> String {
    let cause = std::error::Error::source(error);
    cause.map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"))
}
