//! The commands `publish` and `subscribe`.

use crate::config::{PublishArgs, SubscribeArgs};

/// Publishes one event, or one for each line of standard input.
///
/// # Errors
/// What went wrong, for a person.
pub fn publish(_args: &PublishArgs) -> anyhow::Result<()> {
    anyhow::bail!("not there yet")
}

/// Follows and prints events.
///
/// # Errors
/// What went wrong, for a person.
pub fn subscribe(_args: &SubscribeArgs) -> anyhow::Result<()> {
    anyhow::bail!("not there yet")
}
