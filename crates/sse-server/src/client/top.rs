//! `top`: what the admin listener tells, as a picture that keeps up.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use anyhow::{Context, anyhow, ensure};
use tokio::io::AsyncReadExt;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::target::Target;
use crate::config::{Scalar, TopArgs};

mod picture;
mod snapshot;
mod terminal;

use picture::{Size, picture};
use snapshot::Snapshot;
use terminal::Terminal;

/// How long each picture stands.
const INTERVAL: Duration = Duration::from_secs(2);
/// More often nobody reads it, and the server has other things to do.
const INTERVAL_MIN: Duration = Duration::from_millis(200);

pub(super) async fn run(args: &TopArgs) -> anyhow::Result<()> {
    let target = Target::parse(&args.url)?.with_token(args.token.as_ref())?;
    let interval = interval(args.interval.as_deref())?;
    // Whoever mistyped something learns of it at once.
    let first = Snapshot::take(&target).await?;
    if args.once || !io::stdout().is_terminal() {
        let text = picture(&first, &target, Size::WHOLE).join("\n");
        return match writeln!(io::stdout(), "{text}") {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error).context("printing"),
            _ => Ok(()),
        };
    }
    watch(&target, first, interval).await
}

fn interval(text: Option<&str>) -> anyhow::Result<Duration> {
    let Some(text) = text else { return Ok(INTERVAL) };
    let parsed = Duration::parse(text).map_err(|_| anyhow!("--interval: expected {}", Duration::EXPECTS))?;
    ensure!(parsed >= INTERVAL_MIN, "--interval: {} ms at least", INTERVAL_MIN.as_millis());
    Ok(parsed)
}

/// Draws until somebody has seen enough. The terminal is as it was when this returns, or panics.
async fn watch(target: &Target, first: Snapshot, interval: Duration) -> anyhow::Result<()> {
    let mut terminal = Terminal::enter().context("setting the terminal up")?;
    let mut person = Person::new().context("watching for signals")?;
    let mut resized = signal(SignalKind::window_change()).context("watching for signals")?;
    let (mut shown, mut trouble) = (first, None);
    let fresh = || async {
        tokio::time::sleep(interval).await;
        Snapshot::take(target).await
    };
    let mut next = Box::pin(fresh());
    loop {
        let mut lines: Vec<String> =
            trouble.iter().map(|error: &anyhow::Error| format!("no answer: {error:#}")).collect();
        lines.extend(picture(&shown, target, Size::of(terminal.size())));
        terminal.draw(&lines).context("drawing")?;
        tokio::select! {
            taken = &mut next => {
                match taken {
                    Ok(snapshot) => (shown, trouble) = (snapshot, None),
                    Err(error) => trouble = Some(error),
                }
                next = Box::pin(fresh());
            }
            _ = resized.recv() => (),
            () = person.has_seen_enough() => return Ok(()),
        }
    }
}

/// Who sits at the terminal.
struct Person {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
    keys: tokio::io::Stdin,
}

impl Person {
    fn new() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
            keys: tokio::io::stdin(),
        })
    }

    /// Completes at `q`, or at a signal to end.
    async fn has_seen_enough(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => (),
            _ = self.terminate.recv() => (),
            _ = self.hangup.recv() => (),
            () = pressed_q(&mut self.keys) => (),
        }
    }
}

async fn pressed_q(keys: &mut tokio::io::Stdin) {
    let mut key = [0];
    loop {
        match keys.read(&mut key).await {
            Ok(1) if key[0] != b'q' => (),
            Ok(1) => return,
            // No keys, then: signals end it.
            _ => std::future::pending().await,
        }
    }
}
