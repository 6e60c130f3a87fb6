//! The commands besides serving: `publish`, `subscribe`, `top` and `health`, a server's clients over plain HTTP/1.1, `token` and
//! `log`.

use std::future::Future;

use anyhow::Context;

use crate::config::{HealthArgs, LogArgs, PublishArgs, SubscribeArgs, TokenArgs, TopArgs};

mod backoff;
mod exchange;
mod health;
mod log;
mod publish;
mod show;
mod subscribe;
mod target;
mod token;
mod top;

/// Publishes one event, or one for each line of standard input, in order and over one connection; prints the ids. Stops
/// at the first refusal.
///
/// # Errors
/// What went wrong, for a person; with the line's number if lines are published.
pub fn publish(args: &PublishArgs) -> anyhow::Result<()> {
    block_on(publish::run(args))
}

/// Prints events as they come. A stream that is cut is resumed after the last event printed, until the server says that
/// it is over or standard output is closed; standard error tells of cuts and gaps.
///
/// # Errors
/// What went wrong, for a person.
pub fn subscribe(args: &SubscribeArgs) -> anyhow::Result<()> {
    block_on(subscribe::run(args))
}

/// Shows what the admin listener tells, until somebody has seen enough; once where standard output is no terminal.
///
/// # Errors
/// What went wrong, for a person.
pub fn top(args: &TopArgs) -> anyhow::Result<()> {
    block_on(top::run(args))
}

/// Asks a server whether it is well, and prints what it says.
///
/// # Errors
/// It does not answer, or not that it is.
pub fn health(args: &HealthArgs) -> anyhow::Result<()> {
    block_on(health::run(args))
}

/// Makes a token.
///
/// # Errors
/// What is wrong with the arguments, for a person.
pub fn token(args: &TokenArgs) -> anyhow::Result<String> {
    token::make(args, std::time::SystemTime::now())
}

/// Looks after a data directory.
///
/// # Errors
/// What went wrong, or what is damaged, for a person.
pub fn log(args: &LogArgs) -> anyhow::Result<()> {
    log::run(args, std::io::stdin().lock(), std::io::stdout().lock())
}

fn block_on(command: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting the runtime")?;
    let done = runtime.block_on(command);
    // A thread may still wait for standard input, or for a name's address: nobody else does.
    runtime.shutdown_background();
    done
}
