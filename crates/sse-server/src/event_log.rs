//! The durable log's threads: one commits and tends, a few read for subscribers.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use metrics::{gauge, histogram};
use parking_lot::Mutex;
use sse_hub::{
    Commit, Committer, DiskLog, DiskLogOptions, Durability, Hub, LogContents, LogError, OpenLogError, Retention,
};

use crate::config::{self, Config};
use crate::fan_out::publishing;
use crate::pulse::Pulse;
use crate::vital::Vitals;

/// Threads that read the log: a slow read holds up one, and live streams none.
const READERS: usize = 2;
/// A tenth of what a thread of the usual niceness gets, when both want to run.
#[cfg(target_os = "linux")]
const READER_NICENESS: i32 = 10;
/// How long a thread without work sleeps: it is woken by work, and looks around now and then.
const IDLE: Duration = Duration::from_secs(1);
/// How often the log is tended between commits.
const TEND_EVERY: Duration = Duration::from_millis(10);
/// How often its size is looked at.
const MEASURE_EVERY: Duration = Duration::from_secs(1);
/// How often a disk that was full is tried: nobody may publish to a server that is not ready.
const TRY_EVERY: Duration = Duration::from_secs(1);
/// How often a full disk is told of.
const COMPLAIN_EVERY: Duration = Duration::from_secs(10);

/// The log of a server that has one.
#[derive(Debug)]
pub(crate) struct EventLog {
    hub: Hub,
    is_full: Arc<AtomicBool>,
    pulse: Arc<Pulse>,
    threads: Mutex<Threads>,
}

#[derive(Debug, Default)]
struct Threads {
    committer: Option<JoinHandle<()>>,
    readers: Vec<JoinHandle<()>>,
}

/// Opens the log that the settings name, if they name one.
///
/// # Errors
/// An [`OpenLogError`].
pub(crate) fn open(config: &Config) -> Result<Option<(Arc<DiskLog>, LogContents)>, OpenLogError> {
    let Some(dir) = &config.data_dir else { return Ok(None) };
    let started = Instant::now();
    let rules =
        config.topics.iter().filter_map(|rule| Some((rule.pattern.selector().clone(), rule.retention(config)?)));
    let (log, contents) = DiskLog::open(DiskLogOptions {
        dir: dir.clone(),
        durability: durability(config),
        retention: retention(config),
        retention_by_topic: rules.collect(),
        closed_topic_age: config.closed_topic_age,
        idempotency_window: config.idempotency_window,
    })?;
    let opening_ms = started.elapsed().as_millis() as u64;
    tracing::info!(events = log.events(), newest = contents.newest, opening_ms, "opened the log");
    if !log.has_begun() {
        tracing::error!("the log's disk is full: publishing is refused until there is room");
    }
    if contents.incomplete_bytes > 0 {
        tracing::warn!(bytes = contents.incomplete_bytes, "dropped an incomplete commit at the log's end");
    }
    if contents.is_damaged {
        tracing::error!("the log is damaged: events are lost, and who comes back from before them is told");
    }
    Ok(Some((Arc::new(log), contents)))
}

/// What an answered publish stands for.
pub(crate) fn durability(config: &Config) -> Durability {
    match config.durability {
        config::Durability::Memory => Durability::Memory,
        config::Durability::Interval => Durability::Interval,
        config::Durability::Fsync => Durability::Fsync,
    }
}

fn retention(config: &Config) -> Retention {
    Retention {
        age_max: config.retain_age,
        events_max: config.retain_events.get() as u64,
        bytes_max: config.retain_bytes.get() as u64,
    }
}

impl config::TopicRule {
    /// What the log keeps of the topics of this rule, if it says anything of that.
    fn retention(&self, server: &Config) -> Option<Retention> {
        if self.retain_age.is_none() && self.retain_events.is_none() && self.retain_bytes.is_none() {
            return None;
        }
        let whole = retention(server);
        Some(Retention {
            age_max: self.retain_age.unwrap_or(whole.age_max),
            events_max: self.retain_events.map_or(whole.events_max, |events| events.get() as u64),
            bytes_max: self.retain_bytes.map_or(whole.bytes_max, |bytes| bytes.get() as u64),
        })
    }
}

impl EventLog {
    /// Starts the threads of a hub that was built with this log.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(crate) fn start(hub: &Hub, log: Arc<DiskLog>, config: &Config, vitals: &Vitals) -> io::Result<Self> {
        let is_full = Arc::new(AtomicBool::new(!log.has_begun()));
        let pulse = Arc::new(Pulse::new());
        let mut threads = Threads::default();
        if let Some(committer) = hub.committer() {
            let sync_every = (hub.durability() == Durability::Interval).then_some(config.sync_interval);
            let keeper = Keeper::new(committer, log, sync_every, is_full.clone(), pulse.clone());
            threads.committer = Some(vitals.spawn("log".to_owned(), move || keeper.run())?);
        }
        threads.readers = start_readers(hub, vitals)?;
        Ok(Self { hub: hub.clone(), is_full, pulse, threads: Mutex::new(threads) })
    }

    /// Why publishing does not work, if it does not.
    pub(crate) fn trouble(&self) -> Option<&'static str> {
        if self.hub.log_has_failed() {
            return Some("log_failed");
        }
        self.is_full.load(Ordering::Relaxed).then_some("log_full")
    }

    /// How long the committing thread has been at what it does: a second at most, unless the disk keeps it.
    pub(crate) fn stalled(&self) -> Duration {
        self.pulse.age()
    }

    /// Commits what was submitted, and ends. It waits for the threads.
    pub(crate) fn stop(&self) {
        let Threads { committer, readers } = std::mem::take(&mut *self.threads.lock());
        self.hub.stop_publishing();
        // A thread that panicked has been logged.
        committer.into_iter().for_each(|thread| drop(thread.join()));
        self.hub.stop_log_reads();
        readers.into_iter().for_each(|thread| drop(thread.join()));
    }
}

/// Threads that read what the rings no longer hold, until the hub's [`Hub::stop_log_reads`].
///
/// # Errors
/// When the system gives no thread.
pub(crate) fn start_readers(hub: &Hub, vitals: &Vitals) -> io::Result<Vec<JoinHandle<()>>> {
    let start = |index| {
        let hub = hub.clone();
        let read = move || {
            go_behind();
            while !hub.log_is_stopped() {
                hub.serve_log_read(IDLE);
            }
        };
        vitals.spawn(format!("log-reader-{index}"), read)
    };
    (0..READERS).map(start).collect()
}

/// Reading for those who come back goes behind what happens now: the kernel takes niceness as the thread's own.
#[cfg(target_os = "linux")]
fn go_behind() {
    use rustix::process::{getpriority_process, setpriority_process};
    let behind = getpriority_process(None).map(|niceness| niceness + READER_NICENESS);
    if let Err(error) = behind.and_then(|niceness| setpriority_process(None, niceness)) {
        tracing::debug!(%error, "log readers run at the priority of all");
    }
}

/// Elsewhere it would be that of the whole process.
#[cfg(not(target_os = "linux"))]
fn go_behind() {}

/// The committer's thread.
struct Keeper {
    committer: Committer,
    log: Arc<DiskLog>,
    /// How often to sync, if commits do not.
    sync_every: Option<Duration>,
    is_full: Arc<AtomicBool>,
    pulse: Arc<Pulse>,
    synced_at: Instant,
    tended_at: Instant,
    measured_at: Instant,
    complained_at: Option<Instant>,
    tried_at: Instant,
    /// Tending has more to do.
    has_more: bool,
}

impl Keeper {
    fn new(
        committer: Committer,
        log: Arc<DiskLog>,
        sync_every: Option<Duration>,
        is_full: Arc<AtomicBool>,
        pulse: Arc<Pulse>,
    ) -> Self {
        let now = Instant::now();
        Self {
            committer,
            log,
            sync_every,
            is_full,
            pulse,
            synced_at: now,
            tended_at: now,
            measured_at: now,
            complained_at: None,
            tried_at: now,
            has_more: false,
        }
    }

    fn run(mut self) {
        let duration = histogram!("sse_log_commit_duration_seconds");
        loop {
            let started = Instant::now();
            let commit = self.committer.step(|began_at, deliver| publishing(began_at.unwrap_or(started), deliver));
            match commit {
                Commit::Done(_) => {
                    duration.record(started.elapsed().as_secs_f64());
                    self.is_full.store(false, Ordering::Relaxed);
                }
                Commit::Full(error) => self.complain(&error),
                Commit::Failed(error) => failed(&error),
                Commit::Idle => self.rest(),
                Commit::Stopped => break,
            }
            if let Err(error) = self.keep() {
                failed(&error);
            }
            self.pulse.beat();
        }
        if let Err(error) = self.committer.close() {
            failed(&error);
        }
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
