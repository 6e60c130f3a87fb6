//! Tokens that count no longer although their time is not over.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::RwLock;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::Token;
use super::claims::LEEWAY;

/// Revocations at a time. At the bound further ones are refused, as forgetting one would let its token in again.
const REVOCATIONS_MAX: usize = 100_000;

/// Whose tokens are revoked.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Revoked {
    /// The token with this `jti`.
    Id(Box<str>),
    /// Every token with this `sub`.
    Subject(Box<str>),
}

impl Revoked {
    /// By the one of both names that is given.
    pub(crate) fn named(jti: Option<Box<str>>, subject: Option<Box<str>>) -> Option<Self> {
        match (jti, subject) {
            (Some(jti), None) => Some(Self::Id(jti)),
            (None, Some(subject)) => Some(Self::Subject(subject)),
            _ => None,
        }
    }

    /// What is named by it.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Id(name) | Self::Subject(name) => name,
        }
    }

    /// What is named: the name itself belongs into no log.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Id(_) => "jti",
            Self::Subject(_) => "subject",
        }
    }
}

/// A revocation as it is sent, shown, and told to other nodes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Revocation {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    jti: Option<Box<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    subject: Option<Box<str>>,
    /// In seconds since 1970; without it until it is taken back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires_at: Option<u64>,
}

impl Revocation {
    /// Beyond any token's end, and no clock overflows.
    const SECONDS_MAX: u64 = 100_000_000_000;

    pub(crate) fn new(revoked: Revoked, until: Option<SystemTime>) -> Self {
        let (jti, subject) = match revoked {
            Revoked::Id(jti) => (Some(jti), None),
            Revoked::Subject(subject) => (None, Some(subject)),
        };
        let expires_at = until.and_then(|until| until.duration_since(UNIX_EPOCH).ok()).map(|since| since.as_secs());
        Self { jti, subject, expires_at }
    }

    /// Whose tokens, and until when; `None` unless it names one thing.
    pub(crate) fn read(self) -> Option<(Revoked, Option<SystemTime>)> {
        let revoked = Revoked::named(self.jti, self.subject)?;
        let until = self.expires_at.map(|seconds| UNIX_EPOCH + Duration::from_secs(seconds.min(Self::SECONDS_MAX)));
        Some((revoked, until))
    }
}

/// All revocations. They are kept in memory: whoever needs them to outlive the process gives tokens a short life.
#[derive(Debug)]
pub(crate) struct Revocations {
    /// Until when each holds; `None` for until it is taken back.
    table: RwLock<HashMap<Revoked, Option<SystemTime>, ahash::RandomState>>,
    /// How many there are, so that looking costs nothing while there are none.
    count: AtomicUsize,
    /// Counts changes, for the streams that are open.
    changes: watch::Sender<u64>,
}

/// There are as many revocations as there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there are {REVOCATIONS_MAX} revocations already")]
pub(crate) struct RevocationsFull;

impl Revocations {
    pub(crate) fn new() -> Self {
        Self { table: RwLock::default(), count: AtomicUsize::new(0), changes: watch::Sender::new(0) }
    }

    /// Revokes until that time: a token's `exp`, after which it counts no longer anyway.
    ///
    /// # Errors
    /// [`RevocationsFull`] at the bound.
    pub(crate) fn add(
        &self,
        revoked: Revoked,
        until: Option<SystemTime>,
        now: SystemTime,
    ) -> Result<(), RevocationsFull> {
        let mut table = self.table.write();
        if table.len() >= REVOCATIONS_MAX && !table.contains_key(&revoked) {
            table.retain(|_, until| holds(*until, now));
            if table.len() >= REVOCATIONS_MAX {
                return Err(RevocationsFull);
            }
        }
        // A second one never shortens the first.
        let until = match table.get(&revoked) {
            Some(earlier) => earlier.zip(until).map(|(earlier, until)| earlier.max(until)),
            None => until,
        };
        table.insert(revoked, until);
        self.count.store(table.len(), Ordering::Release);
        drop(table);
        self.changes.send_modify(|changes| *changes += 1);
        Ok(())
    }

    /// Takes a revocation back; false if there was none.
    pub(crate) fn remove(&self, revoked: &Revoked) -> bool {
        let mut table = self.table.write();
        let was_there = table.remove(revoked).is_some();
        self.count.store(table.len(), Ordering::Release);
        was_there
    }

    /// Whether there is this one.
    pub(crate) fn has(&self, revoked: &Revoked) -> bool {
        self.table.read().contains_key(revoked)
    }

    /// How many there are, those that are over and not yet forgotten among them.
    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Whether the token was revoked.
    pub(crate) fn holds_for(&self, token: &Token, now: SystemTime) -> bool {
        if self.count.load(Ordering::Acquire) == 0 {
            return false;
        }
        let table = self.table.read();
        let revoked = |key: Revoked| table.get(&key).is_some_and(|until| holds(*until, now));
        token.id.clone().is_some_and(|id| revoked(Revoked::Id(id)))
            || token.subject.clone().is_some_and(|subject| revoked(Revoked::Subject(subject)))
    }

    /// Those that hold, in order, at most so many; and how many there are.
    pub(crate) fn list(&self, count_max: usize, now: SystemTime) -> (Vec<(Revoked, Option<SystemTime>)>, usize) {
        let table = self.table.read();
        let current = table.iter().filter(|(_, until)| holds(**until, now));
        let mut listed: Vec<_> = current.map(|(revoked, until)| (revoked.clone(), *until)).collect();
        let total = listed.len();
        listed.sort_unstable();
        listed.truncate(count_max);
        (listed, total)
    }

    /// Completes at the next change, for a receiver that has seen those before.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}

/// A token is let in for the leeway longer than it says, so it stays revoked for as long.
fn holds(until: Option<SystemTime>, now: SystemTime) -> bool {
    until.is_none_or(|until| until + LEEWAY + Duration::from_secs(1) > now)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(id: &str, subject: &str) -> Token {
        Token { id: Some(id.into()), subject: Some(subject.into()), ..Token::default() }
    }

    #[test]
    fn a_revocation_holds_until_the_token_would_have_ended() {
        let revocations = Revocations::new();
        let now = SystemTime::now();
        let end = now + Duration::from_secs(60);
        revocations.add(Revoked::Id("a".into()), Some(end), now).unwrap();
        revocations.add(Revoked::Subject("s".into()), None, now).unwrap();
        assert!(revocations.holds_for(&token("a", "x"), now) && revocations.holds_for(&token("x", "s"), now));
        assert!(!revocations.holds_for(&token("s", "a"), now) && !revocations.holds_for(&Token::default(), now));
        // As long as the leeway would let it in.
        assert!(revocations.holds_for(&token("a", "x"), end + LEEWAY));
        assert!(!revocations.holds_for(&token("a", "x"), end + LEEWAY * 2));
        // A shorter one does not take the longer back.
        revocations.add(Revoked::Id("a".into()), Some(now), now).unwrap();
        assert!(revocations.holds_for(&token("a", "x"), end));
        assert!(revocations.remove(&Revoked::Id("a".into())) && !revocations.remove(&Revoked::Id("a".into())));
        assert!(!revocations.holds_for(&token("a", "x"), now));
        assert_eq!(revocations.list(10, now), (vec![(Revoked::Subject("s".into()), None)], 1));
    }

    #[test]
    fn revocations_are_bounded_and_none_is_forgotten() {
        let revocations = Revocations::new();
        let now = SystemTime::now();
        let end = now + Duration::from_secs(60);
        let add = |n: usize, now| revocations.add(Revoked::Id(n.to_string().into()), Some(end), now);
        for n in 0..REVOCATIONS_MAX {
            add(n, now).unwrap();
        }
        assert_eq!(add(REVOCATIONS_MAX, now), Err(RevocationsFull));
        assert!(add(0, now).is_ok());
        assert!(revocations.holds_for(&token("0", ""), now) && !revocations.holds_for(&token("100000", ""), now));
        // Those that are over make room.
        assert!(add(REVOCATIONS_MAX, end + LEEWAY * 2).is_ok());
        assert_eq!(revocations.table.read().len(), 1);
    }

    #[test]
    fn a_revocation_names_one_thing() {
        let (id, subject) = (Revoked::Id("a".into()), Revoked::Subject("s".into()));
        assert_eq!(Revoked::named(Some("a".into()), None), Some(id.clone()));
        assert_eq!(Revoked::named(None, Some("s".into())), Some(subject.clone()));
        assert_eq!(Revoked::named(None, None), None);
        assert_eq!(Revoked::named(Some("a".into()), Some("s".into())), None);
        assert_eq!((id.name(), id.kind(), subject.name(), subject.kind()), ("a", "jti", "s", "subject"));
    }

    #[test]
    fn a_revocation_is_read_as_it_was_written() {
        let read = |text: &str| serde_json::from_str::<Revocation>(text).ok().and_then(Revocation::read);
        let end = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        for (revoked, until) in [
            (Revoked::Id("a".into()), Some(end)),
            (Revoked::Id("a".into()), None),
            (Revoked::Subject("s".into()), Some(end)),
            (Revoked::Subject("s".into()), None),
        ] {
            let text = serde_json::to_string(&Revocation::new(revoked.clone(), until)).unwrap();
            assert_eq!(read(&text), Some((revoked, until)), "{text}");
        }
        let far = read(r#"{"jti":"a","expires_at":18446744073709551615}"#);
        assert_eq!(far, Some((Revoked::Id("a".into()), Some(UNIX_EPOCH + Duration::from_secs(100_000_000_000)))));
        for wrong in ["{}", r#"{"jti":"a","subject":"s"}"#, r#"{"jti":"a","x":1}"#, r#"{"jti":"a","expires_at":-1}"#] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn changes_are_counted_and_those_that_are_over_not_listed() {
        let revocations = Revocations::new();
        let mut changes = revocations.changes();
        let now = SystemTime::now();
        assert!(revocations.count() == 0 && !changes.has_changed().unwrap());
        let (id, subject) = (Revoked::Id("a".into()), Revoked::Subject("s".into()));
        revocations.add(id.clone(), Some(now), now).unwrap();
        assert!(changes.has_changed().unwrap());
        changes.mark_unchanged();
        revocations.add(subject.clone(), None, now).unwrap();
        assert!(changes.has_changed().unwrap());
        assert_eq!(revocations.count(), 2);
        assert!(revocations.has(&id) && !revocations.has(&Revoked::Id("s".into())));
        let both = vec![(id.clone(), Some(now)), (subject.clone(), None)];
        assert_eq!(revocations.list(10, now), (both.clone(), 2));
        assert_eq!(revocations.list(1, now), (both[..1].to_vec(), 2));
        // To the second after the leeway.
        let (last, over) = (now + LEEWAY, now + LEEWAY + Duration::from_secs(1));
        assert_eq!(revocations.list(10, last), (both, 2));
        assert_eq!(revocations.list(10, over), (vec![(subject, None)], 1));
        assert!(revocations.remove(&id));
        assert_eq!(revocations.count(), 1);
    }

    #[test]
    fn the_later_end_counts() {
        let revocations = Revocations::new();
        let now = SystemTime::now();
        let (soon, late) = (now + Duration::from_secs(60), now + Duration::from_secs(120));
        let of = |ends: &[Option<SystemTime>]| {
            let revoked = Revoked::Id("a".into());
            revocations.remove(&revoked);
            ends.iter().for_each(|until| revocations.add(revoked.clone(), *until, now).unwrap());
            revocations.list(1, now).0[0].1
        };
        assert_eq!((of(&[Some(soon), Some(late)]), of(&[Some(late), Some(soon)])), (Some(late), Some(late)));
        assert_eq!((of(&[None, Some(late)]), of(&[Some(late), None])), (None, None));
    }
}
