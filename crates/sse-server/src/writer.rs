//! Writer threads: they own the sockets of plain HTTP/1.1 streams.
//!
//! A subscriber spends a moment in HTTP and hours receiving. Once its request is checked, its socket leaves hyper and
//! tokio and joins one of these threads, where it is an entry of about a hundred bytes. When a topic has news, the thread
//! builds the batch once and calls `send` once for each of those who are caught up.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Sender, TrySendError, bounded};
use parking_lot::Mutex;
use sse_hub::TopicName;

use crate::access::Revocations;
use crate::compression::Compressors;
use crate::config::{Config, IoUring};
use crate::signals::Signals;
use crate::stream::{Source, StreamPlan};
use crate::transport::RawTransport;
use crate::upgrade::{Link, LinkError};
use crate::vital::Vitals;

mod behind;
mod deadlines;
mod entry;
mod errand;
#[cfg(test)]
mod fuzz_tests;
mod gzip;
mod lane;
mod logged;
mod news;
mod passing;
mod ring;
mod round;
mod secure;
mod thread;
mod wheel;

pub(crate) use errand::Errand;
use news::NewsBox;
use passing::Passing;
pub(crate) use passing::{Adopted, Passed};
use ring::Ring;
use thread::WriterThread;

/// Commands that may wait for a writer. At the bound a new stream waits, and then is turned away.
const COMMANDS_MAX: usize = 1024;
/// How long a new stream waits for a busy writer.
const JOIN_PATIENCE: Duration = Duration::from_secs(5);
/// A topic's first followers share one writer, so that a publish wakes one thread; a hot topic spreads over all.
const FOLLOWERS_TOGETHER: usize = 256;

/// What a writer is told.
#[derive(Debug)]
pub(crate) enum Command {
    Join(Box<Joining>),
    /// Go on with a stream that another process had.
    Adopt(Box<(Adopted, Seat)>),
    /// Send all streams to another process, which may take them.
    Pass(Box<Passing>),
    /// End every stream, evenly over this time.
    Drain(Duration),
    /// End the streams whose tokens were revoked.
    EndRevoked,
    /// Look through the streams for an operator.
    Run(Box<Errand>),
    /// Close every stream now and end the thread.
    Stop,
}

/// A stream on its way to its writer.
#[derive(Debug)]
pub(crate) struct Joining {
    pub(crate) transport: RawTransport,
    pub(crate) plan: StreamPlan,
    pub(crate) seat: Seat,
    /// Of its one topic, it included, wherever they are.
    pub(crate) followers: usize,
}

/// What every writer needs to know.
#[derive(Debug, Clone)]
pub(crate) struct WriterSettings {
    pub(crate) heartbeat_interval: Duration,
    pub(crate) write_timeout: Duration,
    pub(crate) connection_age_max: Option<Duration>,
    pub(crate) coalesce_window: Duration,
    pub(crate) io_uring: IoUring,
    pub(crate) signals: Signals,
    pub(crate) revocations: Arc<Revocations>,
    pub(crate) compressors: Arc<Compressors>,
}

impl WriterSettings {
    pub(crate) fn new(
        config: &Config,
        signals: Signals,
        revocations: Arc<Revocations>,
        compressors: Arc<Compressors>,
    ) -> Self {
        Self {
            heartbeat_interval: config.heartbeat_interval,
            write_timeout: config.write_timeout,
            connection_age_max: config.connection_age_max,
            coalesce_window: config.coalesce_window,
            io_uring: config.io_uring,
            signals,
            revocations,
            compressors,
        }
    }
}

impl WriterSettings {
    /// For the thread that asks. Where the kernel has none, or gives us none, `send` does the same for more CPU.
    fn ring(&self) -> Option<Ring> {
        if self.io_uring == IoUring::Off {
            return None;
        }
        Ring::open().inspect_err(|error| tracing::info!(%error, "no io_uring: each stream is sent to by itself")).ok()
    }
}

/// All the writers.
#[derive(Debug)]
pub(crate) struct Writers {
    handles: Vec<WriterHandle>,
    placement: Arc<Placement>,
    signals: Signals,
}

#[derive(Debug)]
struct WriterHandle {
    commands: Sender<Command>,
    news: Arc<NewsBox>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Writers {
    /// Starts `count` threads.
    ///
    /// # Errors
    /// When the system gives no thread or no poller.
    pub(crate) fn start(count: usize, settings: &WriterSettings, vitals: &Vitals) -> io::Result<Self> {
        let placement = Arc::new(Placement::new(count));
        let start = |index: usize| {
            let (sender, receiver) = bounded(COMMANDS_MAX);
            let writer = WriterThread::new(index as u32 + 1, receiver, settings.clone())?;
            let news = writer.news();
            let thread = vitals.spawn(format!("writer-{index}"), move || writer.run())?;
            Ok(WriterHandle { commands: sender, news, thread: Mutex::new(Some(thread)) })
        };
        let handles = (0..count).map(start).collect::<io::Result<_>>()?;
        Ok(Self { handles, placement, signals: settings.signals.clone() })
    }

    /// Hands a stream over. A writer that is too busy for too long turns it away.
    pub(crate) async fn join(&self, transport: RawTransport, plan: StreamPlan) {
        let topic = match &plan.source {
            Source::Topic { feed, .. } => Some(feed.topic().clone()),
            Source::Own { topic, .. } => topic.as_ref().map(|(topic, _)| topic.clone()),
        };
        let (seat, followers) = self.placement.seat(topic);
        let handle = &self.handles[seat.writer];
        let command = Command::Join(Box::new(Joining { transport, plan, seat, followers }));
        if !handle.tell(command).await {
            self.signals.connection_rejected("writer_busy");
        }
    }

    /// Goes on with a stream that another process had; false if its writer is too busy for too long.
    pub(crate) fn adopt(&self, adopted: Adopted) -> bool {
        let (seat, _) = self.placement.seat(Some(adopted.feed.topic().clone()));
        let handle = &self.handles[seat.writer];
        let told = handle.commands.send_timeout(Command::Adopt(Box::new((adopted, seat))), JOIN_PATIENCE).is_ok();
        handle.news.wake();
        told
    }

    /// Has every writer send its streams over the link, and stand still until it is decided whose they are.
    ///
    /// # Errors
    /// When one could not send them in time; then all go on.
    pub(crate) fn pass(&self, link: &Arc<Mutex<Link>>, within: Duration) -> Result<Frozen, LinkError> {
        let deadline = Instant::now() + within;
        let mut frozen = Frozen { writers: Vec::new(), streams: 0 };
        for handle in &self.handles {
            let ((sent, streams), (taken, decision)) = (bounded(1), bounded(1));
            let passing = Passing { link: link.clone(), sent, taken: decision };
            let command = Command::Pass(Box::new(passing));
            handle.commands.send_deadline(command, deadline).map_err(|_| LinkError::TooSlow)?;
            handle.news.wake();
            frozen.writers.push(taken);
            frozen.streams += streams.recv_deadline(deadline).map_err(|_| LinkError::TooSlow)??;
        }
        Ok(frozen)
    }

    /// Ends every stream evenly over `window`.
    pub(crate) fn drain(&self, window: Duration) {
        self.tell_all(|| Command::Drain(window));
    }

    /// Ends the streams whose tokens were revoked.
    pub(crate) fn end_revoked(&self) {
        self.tell_all(|| Command::EndRevoked);
    }

    /// Has each writer run an errand that `make` makes.
    pub(crate) async fn run(&self, mut make: impl FnMut() -> Errand) {
        for owner in 1..=self.handles.len() as u32 {
            self.run_on(owner, make()).await;
        }
    }

    /// Has one writer run an errand. Where there is no such writer, or it is too busy for too long, the errand's answer is
    /// dropped.
    pub(crate) async fn run_on(&self, owner: u32, errand: Errand) {
        let Some(handle) = owner.checked_sub(1).and_then(|index| self.handles.get(index as usize)) else { return };
        handle.tell(Command::Run(Box::new(errand))).await;
    }

    /// How many follow this topic alone.
    pub(crate) fn followers(&self, topic: &TopicName) -> usize {
        self.placement.followers.lock().get(topic).copied().unwrap_or(0)
    }

    /// Closes what is left and waits for the threads.
    pub(crate) fn stop(&self) {
        self.tell_all(|| Command::Stop);
        for handle in &self.handles {
            let thread = handle.thread.lock().take();
            if thread.is_some_and(|thread| thread.join().is_err()) {
                tracing::error!("a writer thread panicked");
            }
        }
    }

    /// A writer's queue may be full: it is being emptied, so this waits for room.
    fn tell_all(&self, command: impl Fn() -> Command) {
        for handle in &self.handles {
            if handle.commands.send_timeout(command(), JOIN_PATIENCE).is_err() {
                tracing::error!("a writer thread takes no commands");
            }
            handle.news.wake();
        }
    }
}

/// Writers that stand still; dropped, they go on as if nothing had been.
#[derive(Debug)]
pub(crate) struct Frozen {
    writers: Vec<Sender<()>>,
    streams: usize,
}

impl Frozen {
    /// How many streams were sent.
    pub(crate) fn streams(&self) -> usize {
        self.streams
    }

    /// Those that were sent are another process's: the writers forget them, and go on with the others.
    pub(crate) fn release(self) {
        // A writer that does not wait any more has panicked.
        self.writers.iter().for_each(|taken| _ = taken.send(()));
    }
}

impl WriterHandle {
    /// Waits for room in its queue; false if there was none for too long.
    async fn tell(&self, command: Command) -> bool {
        let mut command = command;
        let deadline = Instant::now() + JOIN_PATIENCE;
        loop {
            match self.commands.try_send(command) {
                Ok(()) => {
                    self.news.wake();
                    return true;
                }
                Err(TrySendError::Full(refused)) if Instant::now() < deadline => command = refused,
                Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => return false,
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

/// Which writer a stream goes to.
#[derive(Debug)]
struct Placement {
    /// Streams per writer.
    loads: Box<[AtomicUsize]>,
    followers: Mutex<HashMap<TopicName, usize, ahash::RandomState>>,
    hasher: ahash::RandomState,
}

/// A stream's place on a writer; dropping it frees the place.
#[derive(Debug)]
pub(crate) struct Seat {
    placement: Arc<Placement>,
    topic: Option<TopicName>,
    writer: usize,
}

impl Placement {
    fn new(writers: usize) -> Self {
        Self {
            loads: (0..writers).map(|_| AtomicUsize::new(0)).collect(),
            followers: Mutex::default(),
            hasher: ahash::RandomState::new(),
        }
    }

    /// A seat, and how many its topic has taken with it.
    fn seat(self: &Arc<Self>, topic: Option<TopicName>) -> (Seat, usize) {
        let followers = topic.as_ref().map_or(0, |topic| self.count(topic));
        let home = topic.as_ref().filter(|_| followers <= FOLLOWERS_TOGETHER).map(|topic| self.home_of(topic));
        let writer = home.unwrap_or_else(|| self.least_loaded());
        self.loads[writer].fetch_add(1, Ordering::Relaxed);
        (Seat { placement: self.clone(), topic, writer }, followers)
    }

    /// One more follower of the topic.
    fn count(&self, topic: &TopicName) -> usize {
        let mut followers = self.followers.lock();
        let count = followers.entry(topic.clone()).or_insert(0);
        *count += 1;
        *count
    }

    /// The writer of a topic with few followers.
    fn home_of(&self, topic: &TopicName) -> usize {
        (self.hasher.hash_one(topic) % self.loads.len() as u64) as usize
    }

    fn least_loaded(&self) -> usize {
        let loads = self.loads.iter().enumerate();
        loads.min_by_key(|(_, load)| load.load(Ordering::Relaxed)).map_or(0, |(writer, _)| writer)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.placement.loads[self.writer].fetch_sub(1, Ordering::Relaxed);
        let Some(topic) = &self.topic else { return };
        let mut followers = self.placement.followers.lock();
        let Some(count) = followers.get_mut(topic) else { return };
        *count -= 1;
        if *count == 0 {
            followers.remove(topic);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_topic_stays_together_and_a_hot_one_spreads() {
        let placement = Arc::new(Placement::new(4));
        let topic = TopicName::parse("hot").unwrap();
        let seats: Vec<Seat> = (0..2000).map(|_| placement.seat(Some(topic.clone())).0).collect();
        assert!(seats[..FOLLOWERS_TOGETHER].iter().all(|seat| seat.writer == seats[0].writer));
        let loads: Vec<usize> = placement.loads.iter().map(|load| load.load(Ordering::Relaxed)).collect();
        assert_eq!(loads, [500; 4]);
        drop(seats);
        assert!(placement.followers.lock().is_empty());
        assert!(placement.loads.iter().all(|load| load.load(Ordering::Relaxed) == 0));
    }
}
