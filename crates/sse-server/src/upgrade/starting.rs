//! A successor that this process starts itself, and whoever has asked for one.

use std::process::{Command, Stdio};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::link::{ANSWER_MAX, Link};
use super::message::Message;

/// A successor that somebody asked for has this long to have everything.
const START_MAX: Duration = Duration::from_secs(180);

/// One at a time.
#[derive(Debug)]
pub(super) struct Starting {
    /// The process that was started and runs.
    child: Option<u32>,
    asker: Option<Asker>,
    ends: mpsc::Sender<Ended>,
    ended: mpsc::Receiver<Ended>,
}

/// Whoever waits for the successor.
#[derive(Debug)]
struct Asker {
    link: Link,
    until: Instant,
}

/// A process that was started here has ended.
#[derive(Debug)]
struct Ended {
    pid: u32,
    status: String,
}

impl Starting {
    pub(super) fn new() -> Self {
        let (ends, ended) = mpsc::channel(1);
        Self { child: None, asker: None, ends, ended }
    }

    /// Starts the same program with the same arguments, which then asks for everything.
    pub(super) fn start(&mut self, asker: Option<Link>) {
        let started = match self.child {
            Some(_) => Err("a successor is being started already".to_owned()),
            None => spawn(&self.ends).map_err(|error| format!("cannot start a successor: {error}")),
        };
        match (started, asker) {
            (Ok(pid), asker) => {
                tracing::info!(pid, "started a successor");
                self.child = Some(pid);
                self.asker = asker.map(|link| Asker { link, until: Instant::now() + START_MAX });
            }
            (Err(reason), asker) => {
                tracing::error!("{reason}");
                asker.into_iter().for_each(|mut link| link.refuse(&reason));
            }
        }
    }

    /// Completes when a process that was started has ended without taking over, or whoever asked for it has waited too long: that
    /// one has its answer then.
    pub(super) async fn fail(&mut self) {
        let waited = async {
            match &self.asker {
                Some(asker) => sleep_until(asker.until).await,
                None => std::future::pending().await,
            }
        };
        let reason = tokio::select! {
            Some(Ended { pid, status }) = self.ended.recv() => {
                tracing::warn!(pid, status, "the successor has ended");
                if self.child != Some(pid) {
                    return;
                }
                self.child = None;
                format!("the successor has ended: {status}")
            }
            () = waited => {
                tracing::warn!(pid = self.child, "the successor does not come to serve");
                "the successor does not come to serve".to_owned()
            }
        };
        self.asker.take().into_iter().for_each(|mut asker| asker.link.refuse(&reason));
    }

    /// Another process serves.
    pub(super) fn succeed(&mut self) {
        if let Some(mut asker) = self.asker.take() {
            // Whoever asked may be gone.
            let _ = asker.link.within(ANSWER_MAX).send(&Message::Done);
        }
    }
}

/// Tells `ends` once the process has ended.
fn spawn(ends: &mpsc::Sender<Ended>) -> std::io::Result<u32> {
    let unknown = || std::io::Error::other("nobody knows where the program is");
    let mut command = Command::new(crate::server::program().ok_or_else(unknown)?);
    command.args(std::env::args_os().skip(1));
    // They speak of this process.
    for name in ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "WATCHDOG_PID"] {
        command.env_remove(name);
    }
    let mut child = command.stdin(Stdio::null()).spawn()?;
    let (pid, ends) = (child.id(), ends.clone());
    std::thread::spawn(move || {
        let status = child.wait().map_or_else(|error| error.to_string(), |status| status.to_string());
        // Nobody waits for it once another process serves.
        let _ = ends.blocking_send(Ended { pid, status });
    });
    Ok(pid)
}

#[cfg(test)]
mod tests {
    use tokio::net::UnixStream;

    use super::*;
    use crate::upgrade::LinkError;

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_longer_than_a_start_may_take() {
        let (theirs, ours) = UnixStream::pair().unwrap();
        let mut starting = Starting::new();
        let began = Instant::now();
        starting.asker = Some(Asker { link: Link::new(ours).unwrap(), until: began + START_MAX });
        starting.fail().await;
        assert_eq!(began.elapsed(), START_MAX);
        let answer = Link::new(theirs).unwrap().within(ANSWER_MAX).receive();
        assert!(matches!(answer, Err(LinkError::Refused(reason)) if reason == "the successor does not come to serve"));
        assert!(starting.asker.is_none(), "it is answered once");
    }
}
