//! The running server takes on changed settings: on SIGHUP, and when a file that they are read from has changed.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::spawn_blocking;

use crate::app::App;
use crate::config::{ConfigError, Reloaded, Reloader, Stamps};
use crate::logging;
use crate::service_manager;

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What a server needs to reload its settings.
#[derive(Debug)]
pub(crate) struct Reloading {
    reloader: Arc<Mutex<Reloader>>,
    /// From the start, as it would end the process otherwise.
    hangup: Signal,
    watch: Watch,
}

impl Reloading {
    /// # Errors
    /// When the system lets nobody watch for SIGHUP.
    pub(crate) fn new(reloader: Reloader) -> io::Result<Self> {
        let watch = Watch::of(reloader.files().clone());
        Ok(Self { reloader: Arc::new(Mutex::new(reloader)), hangup: signal(SignalKind::hangup())?, watch })
    }

    /// Reloads whenever that is due, for as long as it is polled.
    pub(crate) async fn run(mut self, app: Arc<App>) {
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let by = tokio::select! {
                _ = look.tick() => {
                    let now = self.look().await;
                    if !self.watch.has_settled(now) {
                        continue;
                    }
                    "file"
                }
                Some(()) = self.hangup.recv() => "SIGHUP",
            };
            self.reload(&app, by).await;
            // What has changed since it was read is seen at the next look.
            self.watch = Watch::of(self.reloader.lock().files().clone());
        }
    }

    /// Reads the settings and takes them on, or says why not.
    async fn reload(&self, app: &App, by: &'static str) {
        // The service manager may keep it waiting, and a panic would be logged.
        let _ = spawn_blocking(service_manager::reloading).await;
        let result = match self.read(app).await {
            Some(Ok(reloaded)) => self.take_on(app, reloaded, by).await,
            Some(Err(error)) => {
                error.faults().iter().for_each(|fault| tracing::error!(%fault, "a fault in the settings"));
                false
            }
            // A panic, which is logged.
            None => false,
        };
        app.signals.config_reloaded(result);
        if !result {
            tracing::error!(by, "the settings were not reloaded; those before stay");
        }
        let _ = spawn_blocking(service_manager::reloaded).await;
    }

    async fn read(&self, app: &App) -> Option<Result<Reloaded, ConfigError>> {
        let (reloader, running) = (self.reloader.clone(), app.config());
        spawn_blocking(move || reloader.lock().reload(&running)).await.ok()
    }

    async fn take_on(&self, app: &App, reloaded: Reloaded, by: &'static str) -> bool {
        let config = reloaded.config.clone();
        let (log_level, dangers) = (config.log_level, config.dangers());
        if let Err(error) = app.take_on(config).await {
            tracing::error!(fault = %error, "a fault in the settings");
            return false;
        }
        logging::set_level(log_level);
        let (changed, needs_restart) = (reloaded.changed.join(", "), reloaded.needs_restart.join(", "));
        app.signals.config_waiting(reloaded.needs_restart.len());
        if needs_restart.is_empty() {
            tracing::info!(by, changed, "the settings were reloaded");
        } else {
            tracing::warn!(by, changed, needs_restart, "the settings were reloaded, but for some");
        }
        if !reloaded.changed.is_empty() {
            dangers.iter().for_each(|danger| tracing::warn!("{danger}"));
        }
        self.reloader.lock().accept(reloaded);
        true
    }

    /// What the files are like now.
    async fn look(&self) -> Stamps {
        let reloader = self.reloader.clone();
        spawn_blocking(move || reloader.lock().look()).await.unwrap_or_default()
    }
}

/// Waits for files to change, and to be left alone again.
#[derive(Debug)]
struct Watch {
    /// What they were like when they were read.
    read: Stamps,
    /// What they were like at the last look.
    seen: Stamps,
}

impl Watch {
    fn of(read: Stamps) -> Self {
        Self { seen: read.clone(), read }
    }

    /// Whether they have changed, and not since the last look: somebody may be in the middle of writing one, and half a file
    /// may be good settings without a key.
    fn has_settled(&mut self, now: Stamps) -> bool {
        let has_settled = now != self.read && now == self.seen;
        self.seen = now;
        has_settled
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn a_change_counts_once_it_is_left_alone() {
        let stamps = |size| Stamps::from([(PathBuf::from("a"), Some((1, 1, 1, 1, size)))]);
        let mut watch = Watch::of(stamps(0));
        let settled: Vec<bool> = [0, 1, 2, 2, 0, 0, 3, 3].map(|size| watch.has_settled(stamps(size))).into();
        assert_eq!(settled, [false, false, false, true, false, false, false, true]);
    }
}
