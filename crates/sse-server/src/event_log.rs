//! The durable log's threads: one commits and tends, a few read for subscribers.

mod keeper;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Sender, bounded};
use parking_lot::Mutex;
use sse_hub::{DiskLog, DiskLogOptions, Durability, Hub, LogContents, LogError, OpenLogError, Retention};

use crate::config::{self, Config};
use crate::pulse::Pulse;
use crate::vital::Vitals;

use keeper::{Keeper, LettingGo};

/// Threads that read the log: a slow read holds up one, and live streams none.
const READERS: usize = 2;
/// A tenth of what a thread of the usual niceness gets, when both want to run.
#[cfg(target_os = "linux")]
const READER_NICENESS: i32 = 10;
/// How long a thread without work sleeps: it is woken by work, and looks around now and then.
const IDLE: Duration = Duration::from_secs(1);

/// The log of a server that has one.
#[derive(Debug)]
pub(crate) struct EventLog {
    hub: Hub,
    log: Arc<DiskLog>,
    leaving: Sender<LettingGo>,
    /// Has the log, if it was taken over, be this process's.
    ours: Mutex<Option<Sender<()>>>,
    is_full: Arc<AtomicBool>,
    pulse: Arc<Pulse>,
    threads: Mutex<Threads>,
}

#[derive(Debug, Default)]
struct Threads {
    committer: Option<JoinHandle<()>>,
    readers: Vec<JoinHandle<()>>,
}

/// A log that was opened.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) log: Arc<DiskLog>,
    pub(crate) contents: LogContents,
    /// Another process may still go on with it, until it [is ours](EventLog::be_ours).
    pub(crate) is_lent: bool,
}

/// A log that this process does not write any more. Dropped, it does again.
#[derive(Debug)]
pub(crate) struct LeftLog {
    lock: OwnedFd,
    taken: Sender<()>,
}

impl LeftLog {
    /// What keeps everybody else out of the directory.
    pub(crate) fn lock(&self) -> BorrowedFd<'_> {
        self.lock.as_fd()
    }

    /// It is another process's.
    pub(crate) fn release(self) {
        // Whoever waits for it is there until it is told.
        let _ = self.taken.send(());
    }
}

/// Why a log cannot be left to another process.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LeaveError {
    #[error("the log is not left in time")]
    TooSlow,
    #[error("the log cannot be left")]
    Log(#[from] LogError),
}

/// Opens the log that the settings name, if they name one: by its lock, if another process has left it.
///
/// # Errors
/// An [`OpenLogError`].
pub(crate) fn open(config: &Config, lock: Option<OwnedFd>) -> Result<Option<Opened>, OpenLogError> {
    let Some(dir) = &config.data_dir else { return Ok(None) };
    let started = Instant::now();
    let rules =
        config.topics.iter().filter_map(|rule| Some((rule.pattern.selector().clone(), rule.retention(config)?)));
    let options = DiskLogOptions {
        dir: dir.clone(),
        durability: durability(config),
        retention: retention(config),
        retention_by_topic: rules.collect(),
        closed_topic_age: config.closed_topic_age,
        idempotency_window: config.idempotency_window,
    };
    let is_lent = lock.is_some();
    let (log, contents) = match lock {
        Some(lock) => DiskLog::take_over(&options, lock)?,
        None => DiskLog::open(options)?,
    };
    let opening_ms = started.elapsed().as_millis() as u64;
    tracing::info!(events = log.events(), newest = contents.newest, opening_ms, "opened the log");
    if !log.has_begun() && !is_lent {
        tracing::error!("the log's disk is full: publishing is refused until there is room");
    }
    if contents.incomplete_bytes > 0 {
        tracing::warn!(bytes = contents.incomplete_bytes, "dropped an incomplete commit at the log's end");
    }
    if contents.is_damaged {
        tracing::error!("the log is damaged: events are lost, and who comes back from before them is told");
    }
    Ok(Some(Opened { log: Arc::new(log), contents, is_lent }))
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
    pub(crate) fn start(
        hub: &Hub,
        log: Arc<DiskLog>,
        is_lent: bool,
        config: &Config,
        vitals: &Vitals,
    ) -> io::Result<Self> {
        let is_full = Arc::new(AtomicBool::new(!log.has_begun() && !is_lent));
        let pulse = Arc::new(Pulse::new());
        let (leaving, orders) = bounded(1);
        let (ours, is_ours) = bounded(1);
        let mut threads = Threads::default();
        if let Some(committer) = hub.committer() {
            let sync_every = (hub.durability() == Durability::Interval).then_some(config.sync_interval);
            let keeper = Keeper::new(committer, log.clone(), sync_every, is_full.clone(), pulse.clone(), orders);
            let run = move || if is_lent { keeper.run_if_ours(&is_ours) } else { keeper.run() };
            threads.committer = Some(vitals.spawn("log".to_owned(), run)?);
        }
        threads.readers = start_readers(hub, vitals)?;
        let (hub, ours, threads) = (hub.clone(), Mutex::new(Some(ours)), Mutex::new(threads));
        Ok(Self { hub, log, leaving, ours, is_full, pulse, threads })
    }

    /// The process that has left the log to this one does not go on with it: from now on it is written here.
    pub(crate) fn be_ours(&self) {
        // Nobody waits for it where the log was always this process's.
        let _ = self.ours.lock().take().map(|ours| ours.send(()));
    }

    /// Whether another process may go on with it in this directory.
    pub(crate) fn can_be_left_to(&self, dir: &Path) -> bool {
        self.log.is_in(dir) && self.trouble().is_none()
    }

    /// Commits what was submitted, and writes nothing from then on. Nobody may publish meanwhile.
    ///
    /// # Errors
    /// A [`LeaveError`]; then it is written as before.
    pub(crate) fn let_go(&self, within: Duration) -> Result<LeftLog, LeaveError> {
        let ((done, outcome), (taken, decision)) = (bounded(1), bounded(1));
        let order = LettingGo { done, taken: decision };
        self.leaving.send_timeout(order, within).map_err(|_| LeaveError::TooSlow)?;
        self.hub.nudge_committer();
        let lock = outcome.recv_timeout(within).map_err(|_| LeaveError::TooSlow)??;
        Ok(LeftLog { lock, taken })
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
        // One that never was this process's is not written to.
        drop(self.ours.lock().take());
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
