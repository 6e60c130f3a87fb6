//! What the service manager is told, by `sd_notify`'s protocol. Without one, and so without `NOTIFY_SOCKET`, nobody is.

use std::time::{Duration, Instant};

use sd_notify::NotifyState;

use crate::server::Addresses;

/// What ending takes beyond the drain: the log's last batch, threads that are joined.
const ENDING_GRACE: Duration = Duration::from_secs(10);

/// The server listens, here.
pub fn ready(addresses: &Addresses) {
    let listen = addresses.listen.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    tell(&[NotifyState::Ready, NotifyState::Status(&format!("serving on {listen}"))]);
}

/// The server reads its settings again, until [`reloaded`].
pub(crate) fn reloading() {
    let Ok(now) = NotifyState::monotonic_usec_now() else { return };
    tell(&[NotifyState::Reloading, now]);
}

/// It is done with that, whatever came of it: the log says.
pub(crate) fn reloaded() {
    tell(&[NotifyState::Ready]);
}

/// The server ends its streams, which takes about this long. Without being told, systemd would kill it after a time that knows
/// nothing of `drain_window`.
pub fn stopping(within: Duration) {
    let microseconds = u32::try_from((within + ENDING_GRACE).as_micros()).unwrap_or(u32::MAX);
    let status = format!("draining over {} s", within.as_secs());
    tell(&[NotifyState::Stopping, NotifyState::ExtendTimeoutUsec(microseconds), NotifyState::Status(&status)]);
}

/// Another process goes on as the service. It says itself when it is ready.
pub(crate) fn succeeded_by(process: rustix::process::Pid) {
    if let Ok(process) = u32::try_from(process.as_raw_nonzero().get()) {
        tell(&[NotifyState::MainPid(process)]);
    }
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "cannot notify the service manager");
    }
}

/// Tells the service manager, if it asks for that (`WatchdogSec=`), that the server still does its work.
#[derive(Debug)]
pub(crate) struct Watchdog {
    /// How often, and when next.
    beats: Option<(Duration, Instant)>,
}

impl Watchdog {
    pub(crate) fn new(now: Instant) -> Self {
        // Half of the time it is given, as sd_watchdog_enabled(3) advises.
        Self { beats: sd_notify::watchdog_enabled().map(|within| (within / 2, now)) }
    }

    /// Called whenever the work is seen to go on.
    pub(crate) fn beat(&mut self, now: Instant) {
        let Some((every, due)) = &mut self.beats else { return };
        if now < *due {
            return;
        }
        *due = now + *every;
        // Should the manager itself hang, its socket does not take the message, and nothing here may wait for it.
        tokio::task::spawn_blocking(|| tell(&[NotifyState::Watchdog]));
    }
}
