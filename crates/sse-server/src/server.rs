//! The life of one server: bound, running, drained.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use metrics_exporter_prometheus::PrometheusHandle;
use serde::Serialize;
use sse_hub::OpenLogError;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::task::JoinSet;

use crate::admin;
use crate::app::App;
use crate::backplane;
use crate::config::{Config, Reloader};
use crate::event_log;
use crate::history::History;
use crate::inherited::Inherited;
use crate::listener::{self, PublicListener};
use crate::logging;
use crate::memory;
use crate::reload::Reloading;
use crate::service_manager::Watchdog;
use crate::upgrade::{Handles, Keeps, Link, Predecessor, TakeOverError, Upgrades, serve_passed_on};
use crate::writer::Writers;

/// Where a server with these settings keeps its events.
pub(crate) fn keeps(config: &Config) -> Keeps {
    match (&config.data_dir, &config.backplane) {
        (Some(_), _) => Keeps::Log,
        (None, Some(_)) => Keeps::Engine,
        (None, None) => Keeps::Memory,
    }
}

/// How often the hub is told the time.
const SWEEP_EVERY: Duration = Duration::from_millis(250);
/// How often metrics are tidied up: unscraped, the exporter would keep every sample (TRAPS S8).
const UPKEEP_EVERY: Duration = Duration::from_secs(5);
/// How often the number of connections is looked at, to give memory back when it has changed.
const TRIM_EVERY: Duration = Duration::from_secs(1);
/// A smaller change than this leaves too little behind to be worth a trim.
const TRIM_FROM: usize = 500;
/// Fewer topics leave too little behind.
const TRIM_TOPICS_FROM: usize = 1_000;
/// With fewer coming or going between two looks, a crowd has come or gone.
const TRIM_SETTLED: usize = 100;
/// What a drain may take beyond its window.
const DRAIN_GRACE: Duration = Duration::from_secs(2);

/// A server whose listeners are bound, and that has not accepted anything yet.
#[derive(Debug)]
pub struct Server {
    app: Arc<App>,
    public: Vec<PublicListener>,
    admin: Option<TcpListener>,
    /// The service manager opened the listeners.
    are_activated: bool,
    /// From a predecessor, which is still given events to publish.
    passed_on: Option<Link>,
    upgrades: Option<Upgrades>,
    reloading: Option<Reloading>,
}

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Addresses {
    /// The public listeners.
    pub listen: Vec<SocketAddr>,
    /// The admin listener, unless it is off.
    pub admin: Option<SocketAddr>,
}

/// A server that could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// An address is taken, or is not this machine's.
    #[error("cannot listen on {addr}")]
    Bind {
        /// The address.
        addr: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The data directory cannot be used.
    #[error("cannot open the log")]
    Log(#[from] OpenLogError),
    /// A server that runs was not taken over.
    #[error("cannot go on in the place of the running server")]
    TakeOver(#[from] TakeOverError),
    /// The system gives no random number, thread or poller.
    #[error("cannot set up the server")]
    Setup(#[source] io::Error),
}

/// A part of the server panicked that it cannot go on without.
#[derive(Debug, thiserror::Error)]
#[error("{part} of the server failed, see the log")]
pub struct RunError {
    part: String,
}

impl Server {
    /// Binds every listener of the configuration. Call it inside a tokio runtime; a metrics recorder has to be installed
    /// before, and `metrics` is what `/metrics` shows of it.
    ///
    /// # Errors
    /// A [`StartError`].
    pub fn bind(config: Config, metrics: Option<PrometheusHandle>) -> Result<Self, StartError> {
        Self::bind_with(config, Inherited::default(), metrics)
    }

    /// As [`Self::bind`], but for the addresses at which one of `sockets` listens already.
    ///
    /// # Errors
    /// A [`StartError`].
    pub fn bind_with(
        config: Config,
        sockets: Inherited,
        metrics: Option<PrometheusHandle>,
    ) -> Result<Self, StartError> {
        Self::bind_as(config, sockets, metrics, None)
    }

    /// As [`Self::bind_with`], but in the place of a server that runs: with its listeners, and what it has.
    ///
    /// # Errors
    /// A [`StartError`]; then that server goes on, unless it held a data directory.
    pub fn succeed(
        config: Config,
        mut predecessor: Predecessor,
        metrics: Option<PrometheusHandle>,
    ) -> Result<Self, StartError> {
        let sockets = predecessor.listeners();
        let mut server = Self::bind_as(config, sockets, metrics, Some(&mut predecessor))?;
        server.passed_on = predecessor.take_over(&server.app)?;
        Ok(server)
    }

    fn bind_as(
        config: Config,
        mut sockets: Inherited,
        metrics: Option<PrometheusHandle>,
        mut predecessor: Option<&mut Predecessor>,
    ) -> Result<Self, StartError> {
        let failed = |addr: SocketAddr| move |source: io::Error| StartError::Bind { addr, source };
        let are_activated = predecessor.as_ref().map_or(!sockets.is_empty(), |predecessor| predecessor.is_activated());
        let mut public = |&addr: &SocketAddr| {
            let listener = sockets.take_public(addr).map_or_else(|| PublicListener::bind(addr), PublicListener::adopt);
            listener.map_err(failed(addr))
        };
        let public = config.listen.iter().map(&mut public).collect::<Result<_, _>>()?;
        let mut admin =
            |addr| sockets.take_admin(addr).map_or_else(|| listener::bind(addr), listener::adopt).map_err(failed(addr));
        let admin = config.admin_listen.map(&mut admin).transpose()?;
        // As late as can be: what fails behind it leaves nobody who serves.
        let lock = predecessor.as_mut().map_or(Ok(None), |predecessor| predecessor.vacate())?;
        let log = event_log::open(&config, lock)?;
        let epoch = predecessor.and_then(|predecessor| predecessor.epoch());
        let app = App::new(config, log, metrics, epoch).map_err(StartError::Setup)?;
        Ok(Self { app, public, admin, are_activated, passed_on: None, upgrades: None, reloading: None })
    }

    /// Has it hand over to a successor that asks at this path.
    ///
    /// # Errors
    /// When the path cannot be listened at.
    pub fn succeeded_at(&mut self, path: &Path) -> io::Result<()> {
        program();
        let duplicate = |listener: &TcpListener| listener.as_fd().try_clone_to_owned();
        let public = self.public.iter().map(PublicListener::duplicate);
        let handles = Handles::of(public, self.admin.as_ref().map(duplicate), self.are_activated)?;
        self.upgrades = Some(Upgrades::listen(path, handles)?);
        Ok(())
    }

    /// Has it reload its settings from where they came from: on SIGHUP, and when a file of theirs changes.
    ///
    /// # Errors
    /// When the system lets nobody watch for SIGHUP.
    pub fn reload_from(self, reloader: Reloader) -> io::Result<Self> {
        Ok(Self { reloading: Some(Reloading::new(reloader)?), ..self })
    }

    /// What tells its settings, as they are when it is asked.
    pub fn settings(&self) -> impl Fn() -> Arc<Config> + use<> {
        let app = self.app.clone();
        move || app.config()
    }

    /// Where it listens: ports that were 0 have their numbers.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn addresses(&self) -> io::Result<Addresses> {
        Ok(Addresses {
            listen: self.public.iter().map(PublicListener::local_addr).collect::<io::Result<_>>()?,
            admin: self.admin.as_ref().map(TcpListener::local_addr).transpose()?,
        })
    }

    /// Serves until `shutdown` completes, then drains: new streams are asked to come back, those there are ended evenly over
    /// the drain window.
    ///
    /// # Errors
    /// A [`RunError`], at once: streams are cut, and whoever watches over the process starts it anew.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), RunError> {
        let Self { app, public, admin, passed_on, upgrades, reloading, .. } = self;
        if let Some(link) = passed_on {
            let (app, runtime) = (app.clone(), Handle::current());
            tokio::task::spawn_blocking(move || serve_passed_on(&app, link, &runtime));
        }
        let (mut tasks, mut accepting) = (JoinSet::new(), JoinSet::new());
        for listener in public {
            accepting.spawn(listener::accept_loop(app.clone(), listener));
        }
        if let Some(listener) = admin {
            tasks.spawn(history(app.clone()));
            tasks.spawn(admin::accept_loop(app.clone(), listener));
        }
        tasks.spawn(sweep(app.clone()));
        tasks.spawn(upkeep(app.clone()));
        tasks.spawn(trim(app.clone()));
        tasks.spawn(keys(app.clone()));
        tasks.spawn(certificate(app.clone()));
        tasks.spawn(revocations(app.clone()));
        tasks.spawn(traces(app.clone()));
        tasks.spawn(backplane(app.clone()));
        tasks.spawn(peers(app.clone()));
        if let Some(reloading) = reloading {
            tasks.spawn(reloading.run(app.clone()));
        }
        let mut upgrading = JoinSet::new();
        if let Some(upgrades) = upgrades {
            upgrading.spawn(upgrades.run(app.clone()));
        }
        let outcome = tokio::select! {
            () = shutdown => Ok(app.config().drain_window),
            window = app.succession.over() => Ok(window),
            thread = app.vitals.failed() => Err(RunError { part: thread }),
            // They go on for ever.
            _ = tasks.join_next() => Err(RunError { part: "a task".to_owned() }),
            _ = accepting.join_next() => Err(RunError { part: "a listener".to_owned() }),
        };
        if !app.succession.is_over() {
            // No successor takes over what ends.
            upgrading.shutdown().await;
        }
        if let Ok(window) = outcome {
            drain(&app, window, accepting).await;
        }
        tasks.shutdown().await;
        let stopping = tokio::task::spawn_blocking(move || {
            if let Some(writers) = &app.writers {
                writers.stop();
            }
            if let Some(log) = &app.log {
                log.stop();
            }
            if let Some(backplane) = &app.backplane {
                backplane.stop();
            }
        });
        // A writer that panicked has been logged.
        let _ = stopping.await;
        outcome.map(|_| ())
    }
}

/// The program that runs, as it was called at the start: by now another may have its place.
pub(crate) fn program() -> Option<&'static PathBuf> {
    static PROGRAM: OnceLock<Option<PathBuf>> = OnceLock::new();
    PROGRAM.get_or_init(|| std::env::current_exe().ok()).as_ref()
}

async fn drain(app: &App, window: Duration, mut accepting: JoinSet<()>) {
    let open = app.connections.open();
    // First the state, then the word for it: who reads the log finds the server as it says.
    app.drain.send_replace(Some(window));
    tracing::info!(open, window_ms = window.as_millis() as u64, "draining");
    if let Some(writers) = &app.writers {
        writers.drain(window);
    }
    let window_over = Instant::now() + window;
    emptied(app, window_over).await;
    // What was accepted is answered. Who comes from here on waits for the next server, if the listener is inherited.
    accepting.shutdown().await;
    emptied(app, window_over + DRAIN_GRACE).await;
    tracing::info!(left = app.connections.open(), "drained");
}

/// Until no connection is open, or the time is over.
async fn emptied(app: &App, deadline: Instant) {
    while app.connections.open() > 0 && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn sweep(app: Arc<App>) {
    let mut interval = tokio::time::interval(SWEEP_EVERY);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut watchdog = Watchdog::new(Instant::now());
    loop {
        interval.tick().await;
        app.hub.sweep(Instant::now());
        // The runtime turns, and the hub's locks were free.
        watchdog.beat(Instant::now());
    }
}

/// Notes what goes through, for those who come to look.
async fn history(app: Arc<App>) {
    History::run(&app).await;
}

/// Keeps the certificate fresh.
async fn certificate(app: Arc<App>) {
    match &app.tls {
        Some(tls) => tls.keep_fresh().await,
        None => std::future::pending().await,
    }
}

/// Keeps the keys for tokens fresh.
async fn keys(app: Arc<App>) {
    app.access.run().await;
}

/// Has what other nodes publish come here, and what is published here go there.
async fn backplane(app: Arc<App>) {
    match &app.backplane {
        Some(backplane) => backplane::run(backplane.node.clone()).await,
        None => std::future::pending().await,
    }
}

/// Tells the other nodes what they have to know, and does what they were told.
async fn peers(app: Arc<App>) {
    let Some(peers) = app.peers.clone() else { return std::future::pending().await };
    tokio::join!(peers.run(), admin::kick_as_told(&app));
}

/// Sends traces to their collector.
async fn traces(app: Arc<App>) {
    match &app.tracer {
        Some(tracer) => tracer.run().await,
        None => std::future::pending().await,
    }
}

/// Tells the writers of revocations; hyper's streams look for themselves.
async fn revocations(app: Arc<App>) {
    let mut changes = app.access.revocations.changes();
    while changes.changed().await.is_ok() {
        let app = app.clone();
        // A busy writer may keep it waiting.
        let told = tokio::task::spawn_blocking(move || app.writers.iter().for_each(Writers::end_revoked));
        // A panic there is logged, and no reason to tell nobody any more.
        let _ = told.await;
    }
}

async fn upkeep(app: Arc<App>) {
    let mut interval = tokio::time::interval(UPKEEP_EVERY);
    let mut told = 0;
    loop {
        interval.tick().await;
        app.metrics.iter().for_each(PrometheusHandle::run_upkeep);
        let dropped = logging::dropped_lines();
        if dropped > told {
            tracing::warn!(count = dropped - told, "lines of the log were dropped");
            told = dropped;
        }
    }
}

/// Gives memory back once a crowd has come or gone: opening a stream takes buffers that the open stream does not need. And
/// once most of many topics are forgotten.
async fn trim(app: Arc<App>) {
    let mut interval = tokio::time::interval(TRIM_EVERY);
    let (mut seen, mut trimmed_at, mut topics_most) = (0, 0, 0);
    loop {
        interval.tick().await;
        let (open, topics) = (app.connections.open(), app.hub.topics());
        topics_most = topics_most.max(topics);
        let has_settled = open.abs_diff(std::mem::replace(&mut seen, open)) < TRIM_SETTLED;
        let has_crowd_changed = has_settled && open.abs_diff(trimmed_at) >= TRIM_FROM;
        let are_topics_gone = topics_most >= TRIM_TOPICS_FROM && topics <= topics_most / 4;
        if has_crowd_changed || are_topics_gone {
            memory::trim();
            (trimmed_at, topics_most) = (open, topics);
        }
    }
}
