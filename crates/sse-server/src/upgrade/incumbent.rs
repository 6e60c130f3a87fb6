//! The process that serves, and hands over.

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::net::UnixListener;
use tokio::runtime::Handle;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::forms;
use super::history::{send_history, send_state};
use super::link::{ANSWER_MAX, Link, LinkError};
use super::message::{Keeps, Message, Terms, VERSION, Welcome};
use super::passage::{Phase, Successor};
use super::starting::Starting;
use crate::app::App;
use crate::event_log::{EventLog, LeftLog};
use crate::server::keeps;
use crate::service_manager;

/// To copy what the rings hold; the successor's own start is part of it. Nobody waits meanwhile.
const COPY_MAX: Duration = Duration::from_secs(120);
/// The switch itself, in which streams stand still: beyond it the incumbent goes on.
const SWITCH_MAX: Duration = Duration::from_secs(3);
/// Streams end in this time, if the successor waits for the end of this process.
const EXIT_WINDOW_MAX: Duration = Duration::from_secs(2);

/// The listeners once more, for a successor.
#[derive(Debug)]
pub(crate) struct Handles {
    pub(crate) public: Vec<(SocketAddr, StdListener)>,
    pub(crate) admin: Option<(SocketAddr, StdListener)>,
    pub(crate) are_activated: bool,
}

/// What waits for successors.
#[derive(Debug)]
pub(crate) struct Upgrades {
    socket: UnixListener,
    handles: Arc<Handles>,
    signal: Signal,
}

/// How a conversation has ended.
enum Outcome {
    /// Another process serves.
    Succeeded(Duration),
    /// A successor is wanted.
    Start(Link),
}

impl Upgrades {
    /// Listens where a successor looks.
    ///
    /// # Errors
    /// When the path cannot be had, or nobody may watch for the signal.
    pub(crate) fn listen(path: &Path, handles: Handles) -> io::Result<Self> {
        // Under a name of its own first: who finds the path finds somebody who answers, and nobody else's socket is lost before.
        let mut own = path.as_os_str().to_owned();
        own.push(format!(".{}", std::process::id()));
        let own = PathBuf::from(own);
        let _ = std::fs::remove_file(&own);
        let socket = UnixListener::bind(&own)?;
        std::fs::set_permissions(&own, std::fs::Permissions::from_mode(0o600))?;
        std::fs::rename(&own, path)?;
        Ok(Self { socket, handles: Arc::new(handles), signal: signal(SignalKind::user_defined2())? })
    }

    /// Hands over to the first that takes everything; until then it goes on for ever.
    pub(crate) async fn run(mut self, app: Arc<App>) {
        let mut starting = Starting::new();
        loop {
            let accepted = tokio::select! {
                accepted = self.socket.accept() => accepted,
                _ = self.signal.recv() => {
                    starting.start(None);
                    continue;
                }
                () = starting.fail() => continue,
            };
            // One at a time: who comes meanwhile waits to be accepted.
            let link = accepted.map_err(LinkError::from).and_then(|(socket, _)| Link::new(socket));
            let (shared, handles, runtime) = (app.clone(), self.handles.clone(), Handle::current());
            let talk = move || link.and_then(|link| converse(&shared, &handles, link, &runtime));
            match tokio::task::spawn_blocking(talk).await {
                Ok(Ok(Outcome::Succeeded(window))) => {
                    starting.succeed();
                    tracing::info!(
                        window_ms = window.as_millis() as u64,
                        "another process goes on in the place of this one"
                    );
                    // Whoever asks from now on is refused by the kernel, until it finds the successor's.
                    drop(self);
                    return std::future::pending().await;
                }
                Ok(Ok(Outcome::Start(link))) => starting.start(Some(link)),
                Ok(Err(error)) => {
                    app.signals.upgrade_failed();
                    tracing::warn!(%error, "nothing was handed over, and nothing has changed");
                }
                Err(error) => {
                    app.signals.upgrade_failed();
                    tracing::error!(%error, "an upgrade failed");
                }
            }
        }
    }
}

fn converse(app: &Arc<App>, handles: &Handles, mut link: Link, runtime: &Handle) -> Result<Outcome, LinkError> {
    let (theirs, directory) = match link.within(ANSWER_MAX).receive()?.message {
        Message::Hello { version, keeps, directory } if version == VERSION => (keeps, directory),
        Message::Hello { version, .. } => {
            link.refuse(&format!("it speaks version {VERSION} of the hand-over, not {version}"));
            return Err(LinkError::Unexpected(format!("version {version} of the hand-over")));
        }
        Message::Start => return Ok(Outcome::Start(link)),
        _ => return Err(LinkError::Unexpected("no greeting".to_owned())),
    };
    if app.is_draining() {
        link.refuse("it is ending");
        return Err(LinkError::Refused("this process is ending".to_owned()));
    }
    let config = app.config();
    let terms = terms(app, theirs, directory.as_deref());
    let welcome = Welcome {
        public: handles.public.iter().map(|(addr, _)| *addr).collect(),
        admin: handles.admin.as_ref().map(|(addr, _)| *addr),
        is_activated: handles.are_activated,
        terms: terms.clone(),
    };
    let listeners = handles.public.iter().chain(&handles.admin).map(|(_, listener)| listener.as_fd());
    let listeners: Vec<BorrowedFd<'_>> = listeners.collect();
    link.send_with(&Message::Welcome(welcome), &[], &listeners)?;
    match link.within(COPY_MAX).receive()?.message {
        Message::Copy if matches!(terms, Terms::History { .. } | Terms::Directory) => {
            hand_over(app, link, &terms, runtime).map(|()| Outcome::Succeeded(config.drain_window))
        }
        Message::Release => {
            let window = match terms {
                Terms::Exit => config.drain_window.min(EXIT_WINDOW_MAX),
                _ => config.drain_window,
            };
            service_manager::succeeded_by(link.peer);
            app.succession.enter(Phase::Succeeded(window));
            // Closed with this process: then the directory is free.
            std::mem::forget(link);
            Ok(Outcome::Succeeded(window))
        }
        _ => Err(LinkError::Unexpected("neither a copy nor a release".to_owned())),
    }
}

/// What passes to a successor that keeps its events as it says.
fn terms(app: &App, theirs: Keeps, directory: Option<&Path>) -> Terms {
    let ours = keeps(&app.config());
    let can_leave = |log: &EventLog| directory.is_some_and(|directory| log.can_be_left_to(directory));
    match [ours, theirs] {
        [Keeps::Memory, Keeps::Memory] if app.writers.is_some() => {
            Terms::History { epoch: app.hub.epoch().as_str().to_owned() }
        }
        [Keeps::Log, Keeps::Log] if app.writers.is_some() && app.log.as_ref().is_some_and(can_leave) => {
            Terms::Directory
        }
        [Keeps::Log, _] => Terms::Exit,
        _ => Terms::Nothing,
    }
}

/// Copies everything while this process serves, then has it change hands.
fn hand_over(app: &Arc<App>, mut link: Link, terms: &Terms, runtime: &Handle) -> Result<(), LinkError> {
    let copied_to = app.hub.settled();
    if *terms != Terms::Directory {
        send_history(app, 0, &mut link)?;
    }
    link.send(&Message::Copied)?;
    let Message::Ready = link.receive()?.message else { return Err(forms::wrong("readiness")) };
    let began = Instant::now();
    app.succession.enter(Phase::Switching);
    let link = Arc::new(Mutex::new(link));
    let switched = switch(app, &link, terms, copied_to, runtime);
    if let Err(error) = &switched {
        // A successor that still runs is to know that its predecessor has not died.
        link.lock().refuse("the switch was called off");
        app.presence.iter().for_each(|presence| presence.be_silent(false));
        app.succession.enter(Phase::Serving);
        tracing::warn!(%error, after_ms = began.elapsed().as_millis() as u64, "the switch was called off");
    }
    switched
}

fn switch(
    app: &Arc<App>,
    link: &Arc<Mutex<Link>>,
    terms: &Terms,
    copied_to: u64,
    runtime: &Handle,
) -> Result<(), LinkError> {
    let Some(writers) = &app.writers else { return Err(LinkError::Unexpected("no writers".to_owned())) };
    let began = Instant::now();
    let peer = link.lock().within(SWITCH_MAX).peer;
    let frozen = writers.pass(link, SWITCH_MAX)?;
    // From here on publishers wait.
    let mut way = runtime
        .block_on(async { tokio::time::timeout(SWITCH_MAX, app.passage.close()).await })
        .map_err(|_| LinkError::TooSlow)?;
    let paused = Instant::now();
    app.presence.iter().for_each(|presence| presence.be_silent(true));
    let left = match &app.log {
        Some(log) if *terms == Terms::Directory => Some(log.let_go(SWITCH_MAX)?),
        _ => None,
    };
    {
        let mut link = link.lock();
        match &left {
            Some(left) => link.send_with(&Message::Directory, &[], &[left.lock()])?,
            None => send_history(app, copied_to, &mut link)?,
        }
        send_state(app, &mut link)?;
        link.send(&Message::Complete { streams: frozen.streams() })?;
        match link.receive()?.message {
            Message::Prepared { streams } if streams == frozen.streams() => (),
            _ => return Err(forms::wrong("a list of streams")),
        }
        if app.is_draining() {
            return Err(LinkError::Unexpected("a signal to end".to_owned()));
        }
        link.send(&Message::Commit)?;
        await_taken(&mut link)?;
    }
    // It is the successor's.
    let streams = frozen.streams();
    frozen.release();
    left.into_iter().for_each(LeftLog::release);
    *way = Some(Successor::new(link.clone()));
    service_manager::succeeded_by(peer);
    app.succession.enter(Phase::Succeeded(app.config().drain_window));
    let (switch_us, pause_us) = (began.elapsed().as_micros() as u64, paused.elapsed().as_micros() as u64);
    tracing::info!(streams, switch_us, pause_us, "handed over");
    Ok(())
}

/// Whether it is the successor's is decided by this one message: if it can still come, it is waited for, and if it has not come
/// when the link is shut, the successor cannot send it any more, and does not touch anything.
fn await_taken(link: &mut Link) -> Result<(), LinkError> {
    let is_taken =
        |link: &mut Link| matches!(link.receive(), Ok(received) if matches!(received.message, Message::Taken));
    if is_taken(link) {
        return Ok(());
    }
    link.refuse("it took too long to say that it has everything");
    link.shut();
    if is_taken(link) { Ok(()) } else { Err(LinkError::Gone) }
}

impl Handles {
    /// Duplicates of listening sockets.
    ///
    /// # Errors
    /// When the system has no descriptor left.
    pub(crate) fn of(
        public: impl Iterator<Item = io::Result<OwnedFd>>,
        admin: Option<io::Result<OwnedFd>>,
        are_activated: bool,
    ) -> io::Result<Self> {
        let listener = |descriptor: io::Result<OwnedFd>| {
            let listener = StdListener::from(descriptor?);
            Ok::<_, io::Error>((listener.local_addr()?, listener))
        };
        Ok(Self {
            public: public.map(listener).collect::<io::Result<_>>()?,
            admin: admin.map(listener).transpose()?,
            are_activated,
        })
    }
}
