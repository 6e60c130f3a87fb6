//! Following the stream, on a connection of its own.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ::redis::cmd;
use tokio::time::timeout;

use super::super::engine::{ANSWER_BYTES_MAX, Answer, EngineError, Entry, PATIENCE, Range, Tail, in_time};
use super::link::Link;
use super::script::{Script, millis};
use super::{Store, reply};

/// How long Redis lets us wait for entries.
const WAIT: Duration = Duration::from_secs(1);
/// Entries of an answer whose bytes nobody bounds. What comes faster is read by script.
const AWAITED_MAX: usize = 8;
/// Entries of an answer whose bytes are bounded.
const READ_MAX: usize = 1024;
/// How often old entries are looked for.
const TEND_EVERY: Duration = Duration::from_secs(1);

/// A place in the stream.
#[derive(Debug)]
pub(super) struct Follower {
    store: Arc<Store>,
    link: Link,
    after: u64,
    /// More is there already, as far as we know.
    behind: bool,
    tended: Option<Instant>,
}

impl Follower {
    pub(super) async fn open(store: Arc<Store>, after: u64) -> Result<Self, EngineError> {
        let link = Link::open(&store).await?;
        Ok(Self { store, link, after, behind: true, tended: None })
    }

    async fn next_now(&mut self) -> Result<Vec<Entry>, EngineError> {
        if self.tended.is_none_or(|tended| tended.elapsed() >= TEND_EVERY) {
            in_time(self.tend()).await?;
            self.tended = Some(Instant::now());
        }
        let entries = match self.behind {
            true => in_time(self.read()).await?,
            false => match timeout(WAIT + PATIENCE, self.wait()).await {
                Ok(entries) => entries?,
                Err(_) => return Err(EngineError::Unavailable("it hangs".to_owned())),
            },
        };
        self.after = entries.last().map_or(self.after, |entry| entry.number);
        Ok(entries)
    }

    async fn wait(&mut self) -> Result<Vec<Entry>, EngineError> {
        let mut command = cmd("XREAD");
        command.arg("COUNT").arg(AWAITED_MAX).arg("BLOCK").arg(millis(WAIT)).arg("STREAMS");
        command.arg(&self.store.names.events).arg(format!("0-{}", self.after));
        let news = reply::news(self.link.ask(&command).await?)?;
        self.behind = news.len() == AWAITED_MAX;
        if news.iter().any(Option::is_none) {
            self.store.heal(&self.link).await?;
        }
        Ok(news.into_iter().flatten().collect())
    }

    async fn read(&mut self) -> Result<Vec<Entry>, EngineError> {
        let range = Range { after: self.after, up_to: u64::MAX, entries_max: READ_MAX, topic: None };
        let command = self.store.read_command(&self.link, &range, ANSWER_BYTES_MAX);
        let found = reply::found(self.link.ask(&command).await?, &range)?;
        self.behind = found.covered_to < range.up_to;
        Ok(found.entries)
    }

    /// Has Redis drop what is too old or too much, which it does not do by itself with ids such as ours. Tells as well whether the
    /// stream has begun anew: there, nothing would come until it is as long as it was.
    async fn tend(&self) -> Result<(), EngineError> {
        let Store { names, settings, .. } = &*self.store;
        let mut command = self.link.script(Script::Tend);
        command.arg(2).arg(&names.events).arg(&names.marks);
        command.arg(millis(settings.retain_age)).arg(settings.retain_bytes);
        let last = reply::text(&self.link.ask(&command).await?)?;
        match reply::id_number(&last) {
            Some(last) if last < self.after => {
                Err(EngineError::Unavailable(format!("the stream ends at {last}, before {}", self.after)))
            }
            // An id that is none of ours: reading comes upon it.
            _ => Ok(()),
        }
    }
}

impl Tail for Follower {
    fn next(&mut self) -> Answer<'_, Vec<Entry>> {
        Box::pin(self.next_now())
    }
}
