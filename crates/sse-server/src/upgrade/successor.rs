//! The process that takes over.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{PidfdFlags, pidfd_open};
use sse_hub::Epoch;
use tokio::runtime::Handle;

use super::forms;
use super::history::{take_floors, take_keys, take_revocations, take_tickets, take_topics};
use super::link::{Link, LinkError, Received};
use super::message::{Message, StateForm, Terms, VERSION, Welcome};
use super::streams::{Arrived, arrived};
use crate::app::App;
use crate::config::Config;
use crate::event_log::EventLog;
use crate::inherited::Inherited;
use crate::server::keeps;

/// A greeting is short; an incumbent that is busy with another successor answers later.
const GREETING_MAX: Duration = Duration::from_secs(15);
/// To copy what the rings hold.
const COPY_MAX: Duration = Duration::from_secs(120);
/// The switch itself: the incumbent gives up earlier.
const SWITCH_MAX: Duration = Duration::from_secs(10);
/// The holder of a data directory may take so long to leave it, beyond the ends of its streams.
const LEAVING_MAX: Duration = Duration::from_secs(30);
/// How long a process whose connection is gone takes to be gone itself.
const EXIT_MAX: Duration = Duration::from_secs(1);

/// The server that runs at the same socket, and lets itself be succeeded.
#[derive(Debug)]
pub struct Predecessor {
    link: Link,
    /// Tells once the process is gone, whatever has its number then.
    process: Option<OwnedFd>,
    welcome: Welcome,
    listeners: Option<Inherited>,
    /// What came of the switch before there was anything to take it.
    waiting: VecDeque<Received>,
}

/// What cannot be taken over.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TakeOverError {
    /// The socket cannot be used.
    #[error("cannot ask at the upgrade socket")]
    Socket(#[source] io::Error),
    /// The two processes do not come to an end.
    #[error("the running server was not taken over, and goes on")]
    Link(#[from] LinkError),
    /// It holds the data directory.
    #[error("the running server does not leave its data directory")]
    Stays,
}

impl Predecessor {
    /// Whoever listens at the upgrade socket of these settings, if anybody does, with its listeners. It goes on, whatever
    /// becomes of this. Call it inside a tokio runtime.
    ///
    /// # Errors
    /// When somebody is there who cannot be succeeded.
    pub fn find(config: &Config) -> Result<Option<Self>, TakeOverError> {
        let keeps = keeps(config);
        let Some(mut link) = config.upgrade_socket.as_deref().map(connect).transpose()?.flatten() else {
            return Ok(None);
        };
        let process = pidfd_open(link.peer, PidfdFlags::empty()).ok();
        // One that is not there yet is nobody's.
        let directory = config.data_dir.as_deref().and_then(|dir| dir.canonicalize().ok());
        let hello = Message::Hello { version: VERSION, keeps, directory };
        link.within(GREETING_MAX).send(&hello)?;
        let received = link.receive()?;
        let Message::Welcome(welcome) = received.message else { return Err(forms::wrong("a welcome").into()) };
        let mut listeners = received.descriptors.into_iter().map(TcpListener::from);
        let public: Vec<TcpListener> = listeners.by_ref().take(welcome.public.len()).collect();
        let inherited = Inherited::passed_on(&welcome.public, public, welcome.admin.zip(listeners.next()));
        Ok(Some(Self { link, process, welcome, listeners: Some(inherited), waiting: VecDeque::new() }))
    }

    /// Has whoever listens at `path` start a successor, and waits until that serves. Call it inside a tokio runtime.
    ///
    /// # Errors
    /// When nobody is there, or the successor does not come to serve.
    pub fn replace(path: &Path) -> Result<(), TakeOverError> {
        let nobody = || io::Error::new(ErrorKind::NotFound, "no server listens there");
        let mut link = connect(path)?.ok_or_else(nobody).map_err(TakeOverError::Socket)?;
        link.within(COPY_MAX * 2).send(&Message::Start)?;
        match link.receive()?.message {
            Message::Done => Ok(()),
            _ => Err(forms::wrong("an answer").into()),
        }
    }

    /// Its listeners, once.
    pub fn listeners(&mut self) -> Inherited {
        self.listeners.take().unwrap_or_default()
    }

    /// Whether its listeners are the service manager's, which no setting names.
    pub(crate) fn is_activated(&self) -> bool {
        self.welcome.is_activated
    }

    /// The addresses of those, each with the setting whose place it takes.
    pub fn settings(&self) -> Vec<(&'static str, SocketAddr)> {
        let listeners = self.listeners.iter().filter(|_| self.is_activated());
        listeners.flat_map(Inherited::settings).collect()
    }

    /// The history that goes on, if it does.
    pub(crate) fn epoch(&self) -> Option<Epoch> {
        match &self.welcome.terms {
            Terms::History { epoch } => Epoch::parse(epoch.as_bytes()),
            _ => None,
        }
    }

    /// Has it leave its data directory, if it holds one: the directory's lock, if that passes. If it has to end instead, there is
    /// no way back from here on.
    ///
    /// # Errors
    /// When it does not leave.
    pub(crate) fn vacate(&mut self) -> Result<Option<OwnedFd>, TakeOverError> {
        match self.welcome.terms {
            Terms::Directory => self.await_directory().map(Some).map_err(Into::into),
            Terms::Exit => self.await_exit().map(|()| None),
            Terms::History { .. } | Terms::Nothing => Ok(None),
        }
    }

    fn await_exit(&mut self) -> Result<(), TakeOverError> {
        self.link.within(GREETING_MAX).send(&Message::Release)?;
        match self.link.within(LEAVING_MAX).receive() {
            Err(LinkError::Gone) if self.has_exited(LEAVING_MAX) => Ok(()),
            _ => Err(TakeOverError::Stays),
        }
    }

    /// Has it begin the switch, of which all that comes has to wait: first the log is opened.
    fn await_directory(&mut self) -> Result<OwnedFd, LinkError> {
        self.link.within(COPY_MAX).send(&Message::Copy)?;
        let Message::Copied = self.link.receive()?.message else { return Err(forms::wrong("a copy")) };
        self.link.send(&Message::Ready)?;
        self.link.within(SWITCH_MAX);
        let mut lock = None;
        loop {
            let mut received = self.link.receive()?;
            if let Message::Directory = received.message {
                lock = received.descriptors.pop();
                continue;
            }
            let is_last = matches!(received.message, Message::Complete { .. });
            self.waiting.push_back(received);
            if is_last {
                return lock.ok_or_else(|| forms::wrong("a directory"));
            }
        }
    }

    /// Takes everything over. When this returns the predecessor touches nothing of it any more; what is given to it to publish
    /// comes over what this returns.
    ///
    /// # Errors
    /// When it did not come to that: then it goes on.
    pub(crate) fn take_over(mut self, app: &Arc<App>) -> Result<Option<Link>, TakeOverError> {
        match self.welcome.terms {
            Terms::Exit => return Ok(None),
            Terms::Nothing => {
                self.link.within(GREETING_MAX).send(&Message::Release)?;
                return Ok(None);
            }
            Terms::History { .. } => self.copy(app)?,
            Terms::Directory => (),
        }
        let (StateForm { newest, seconds }, streams) = self.receive_switch(app)?;
        // A log knows where it stands, and its keys are counted in this process's seconds.
        if let Terms::History { .. } = self.welcome.terms {
            app.hub.go_on_after(newest, seconds);
        }
        let count = streams.len();
        self.commit(count)?;
        app.log.iter().for_each(EventLog::be_ours);
        let began = Instant::now();
        let link = self.link;
        for stream in streams {
            let remote_addr = stream.client();
            let adopted = stream.adopt(app);
            if !app.writers.as_ref().is_some_and(|writers| writers.adopt(adopted)) {
                tracing::warn!(%remote_addr, "a stream that was taken over cannot go on: its writer is too busy");
            }
        }
        app.signals.taken_over(count);
        tracing::info!(streams = count, adopting_us = began.elapsed().as_micros() as u64, "took over");
        Ok(Some(link))
    }

    /// What there is, while the predecessor serves on.
    fn copy(&mut self, app: &App) -> Result<(), LinkError> {
        self.link.within(COPY_MAX).send(&Message::Copy)?;
        loop {
            let received = self.link.receive()?;
            match received.message {
                Message::Topics(topics) => take_topics(app, topics, &received.payload)?,
                Message::Floors(floors) => take_floors(app, floors)?,
                Message::Keys(keys) => take_keys(app, keys)?,
                Message::Copied => return self.link.send(&Message::Ready),
                _ => return Err(forms::wrong("a copy")),
            }
        }
    }

    /// What has come since, and the streams.
    fn receive_switch(&mut self, app: &App) -> Result<(StateForm, Vec<Arrived>), LinkError> {
        let (mut state, mut all) = (None, Vec::new());
        self.link.within(SWITCH_MAX);
        loop {
            let received = self.waiting.pop_front().map_or_else(|| self.link.receive(), Ok)?;
            match received.message {
                Message::Topics(topics) => take_topics(app, topics, &received.payload)?,
                Message::Floors(floors) => take_floors(app, floors)?,
                Message::Keys(keys) => take_keys(app, keys)?,
                Message::Tickets(tickets) => take_tickets(app, tickets)?,
                Message::Revocations(revocations) => take_revocations(app, revocations)?,
                Message::Streams { lanes, streams } => {
                    all.extend(arrived(app, &lanes, streams, received.payload, received.descriptors)?);
                }
                Message::State(form) => state = Some(form),
                Message::Complete { streams } if streams == all.len() => {
                    return state.map(|state| (state, all)).ok_or_else(|| forms::wrong("a state"));
                }
                _ => return Err(forms::wrong("a switch")),
            }
        }
    }

    /// The one moment at which everything changes hands. A predecessor that was killed owns nothing any more either; one that
    /// has only given up says so.
    fn commit(&mut self, streams: usize) -> Result<(), LinkError> {
        let agreed = self.link.send(&Message::Prepared { streams }).and_then(|()| match self.link.receive()?.message {
            Message::Commit => self.link.send(&Message::Taken),
            _ => Err(forms::wrong("a commit")),
        });
        match agreed {
            Err(LinkError::Gone) => match self.link.within(EXIT_MAX).receive() {
                Err(LinkError::Gone) if self.has_exited(EXIT_MAX) => Ok(()),
                Err(refused @ LinkError::Refused(_)) => Err(refused),
                _ => Err(LinkError::Gone),
            },
            agreed => agreed,
        }
    }

    fn has_exited(&self, within: Duration) -> bool {
        let Some(process) = &self.process else { return false };
        let within = Timespec { tv_sec: within.as_secs() as i64, tv_nsec: i64::from(within.subsec_nanos()) };
        poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&within)).is_ok_and(|ready| ready > 0)
    }
}

/// A connection to whoever listens there; nothing if nobody does.
fn connect(path: &Path) -> Result<Option<Link>, TakeOverError> {
    let connected = UnixStream::connect(path).and_then(|socket| {
        socket.set_nonblocking(true)?;
        tokio::net::UnixStream::from_std(socket)
    });
    match connected {
        Ok(socket) => Ok(Some(Link::new(socket)?)),
        // The socket outlives the process that made it.
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => Ok(None),
        Err(error) => Err(TakeOverError::Socket(error)),
    }
}

/// Publishes what the predecessor is still given, until it is gone.
pub(crate) fn serve_passed_on(app: &Arc<App>, mut link: Link, runtime: &Handle) {
    /// The predecessor ends within its drain window; it closes the link then.
    const SILENCE_MAX: Duration = Duration::from_secs(24 * 60 * 60);
    while let Ok(received) = link.within(SILENCE_MAX).receive() {
        let Message::Publish(publications) = received.message else { return };
        let publications: Result<Vec<_>, _> = publications.iter().map(forms::publication_of).collect();
        let Ok(publications) = publications else { return };
        let outcomes = runtime.block_on(async {
            let mut outcomes = Vec::with_capacity(publications.len());
            for submission in app.submit_all(publications).await {
                outcomes.push(forms::outcome(&submission.await));
            }
            outcomes
        });
        if link.within(GREETING_MAX).send(&Message::Published(outcomes)).is_err() {
            return;
        }
    }
}
