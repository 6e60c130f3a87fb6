//! What the log keeps about itself, and its clock.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, OptionalExtension, params};
use xxhash_rust::xxh3::xxh3_64;

use crate::Epoch;
use crate::epochs::{Epochs, PastEpoch};
use crate::log::Durability;

/// How the log was left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Closed in order.
    Clean,
    /// In use, every promise kept by a sync.
    Synced,
    /// In use, with promises that a crash may break.
    Unsynced,
    /// In use, and sequences were given that the log does not hold.
    Unlogged,
}

impl State {
    const ALL: [(Self, &'static str); 4] =
        [(Self::Clean, "clean"), (Self::Synced, "synced"), (Self::Unsynced, "unsynced"), (Self::Unlogged, "unlogged")];

    pub(super) fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(state, _)| *state == self).map_or("unlogged", |(_, word)| word)
    }

    pub(super) fn in_use(durability: Durability) -> Self {
        if durability == Durability::Fsync { Self::Synced } else { Self::Unsynced }
    }

    fn parse(word: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, known)| *known == word).map(|(state, _)| *state)
    }
}

/// The log's facts, each a row with a checksum of its own.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fact {
    State,
    /// The last sequence in the log.
    Newest,
    /// The last sequence given, when the log was opened or closed.
    Given,
    /// How many events are kept, and the bytes of their records.
    Kept,
    /// Sequences that stand for losses.
    Holes,
    /// The last sequence of a topic that was forgotten.
    ForgottenTo,
    Epochs,
    /// Nothing: it takes up room, once a disk was full.
    Room,
}

impl Fact {
    fn key(self) -> &'static str {
        match self {
            Self::State => "state",
            Self::Newest => "newest",
            Self::Given => "given",
            Self::Kept => "kept",
            Self::Holes => "holes",
            Self::ForgottenTo => "forgotten_to",
            Self::Epochs => "epochs",
            Self::Room => "room",
        }
    }

    pub(super) fn write(self, connection: &Connection, value: &str) -> rusqlite::Result<()> {
        let sum = sum(self.key(), value);
        connection
            .prepare_cached("INSERT OR REPLACE INTO facts (key, value, sum) VALUES (?, ?, ?)")?
            .execute(params![self.key(), value, sum])?;
        Ok(())
    }

    /// The value; `Ok(None)` if it is not there or damaged.
    pub(super) fn read(self, connection: &Connection) -> rusqlite::Result<Option<String>> {
        let row = connection
            .query_row("SELECT value, sum FROM facts WHERE key = ?", [self.key()], |row| {
                Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?))
            })
            .optional()?;
        Ok(row.filter(|(value, found)| *found == sum(self.key(), value)).map(|(value, _)| value))
    }
}

/// Writes how much is kept.
pub(super) fn write_kept(connection: &Connection, events: u64, bytes: u64) -> rusqlite::Result<()> {
    Fact::Kept.write(connection, &format!("{events} {bytes}"))
}

/// How much is kept; counted, if nobody has noted it.
pub(super) fn read_kept(connection: &Connection) -> rusqlite::Result<(u64, u64)> {
    let noted = Fact::Kept.read(connection)?;
    let noted = noted.as_deref().and_then(|text| text.split_once(' '));
    if let Some((events, bytes)) = noted.and_then(|(events, bytes)| Some((events.parse().ok()?, bytes.parse().ok()?))) {
        return Ok((events, bytes));
    }
    connection.query_row("SELECT count(*), coalesce(sum(length(record)), 0) FROM records", [], |row| {
        Ok((row.get::<_, i64>(0)?.cast_unsigned(), row.get::<_, i64>(1)?.cast_unsigned()))
    })
}

pub(super) fn sum(key: &str, value: &str) -> i64 {
    xxh3_64(format!("{key}={value}").as_bytes()).cast_signed()
}

pub(super) fn read_state(connection: &Connection) -> rusqlite::Result<Option<State>> {
    Ok(Fact::State.read(connection)?.as_deref().and_then(State::parse))
}

/// `epoch:last` of each past epoch, the oldest first, and the present epoch.
pub(super) fn epochs_text(epochs: &Epochs) -> String {
    let past = epochs.past().iter().map(|past| format!("{}:{} ", past.epoch.as_str(), past.last));
    past.chain([epochs.current().as_str().to_owned()]).collect()
}

pub(super) fn parse_epochs(text: &str) -> Option<Epochs> {
    let (past, current) = text.rsplit_once(' ').unwrap_or(("", text));
    let past_epoch = |text: &str| {
        let (epoch, last) = text.split_once(':')?;
        Some(PastEpoch { epoch: Epoch::parse(epoch.as_bytes())?, last: last.parse().ok()? })
    };
    let past = past.split_whitespace().map(past_epoch).collect::<Option<Vec<_>>>()?;
    Some(Epochs::with_past(Epoch::parse(current.as_bytes())?, past))
}

/// As the clock counts.
pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Milliseconds that never go back, whatever becomes of the system's clock: the time at which the log was opened, or its last
/// record if that is later, and what has passed since.
#[derive(Debug)]
pub(super) struct Clock {
    base: u64,
    opened: Instant,
}

impl Clock {
    pub(super) fn new(last_record: u64) -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let now = millis(since_epoch);
        Self { base: now.max(last_record), opened: Instant::now() }
    }

    pub(super) fn now(&self) -> u64 {
        self.base.saturating_add(millis(self.opened.elapsed()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epochs_are_read_as_they_were_written() {
        let epochs = Epochs::new(Epoch::from_entropy(1)).followed_by(Epoch::from_entropy(2), 10);
        let epochs =
            [Epochs::new(Epoch::from_entropy(9)), epochs.clone().followed_by(Epoch::from_entropy(3), 20), epochs];
        for epochs in epochs {
            assert_eq!(parse_epochs(&epochs_text(&epochs)), Some(epochs));
        }
        assert_eq!(parse_epochs("rubbish"), None);
    }
}
