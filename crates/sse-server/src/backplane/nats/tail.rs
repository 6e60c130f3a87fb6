//! Following the stream, on a connection of its own.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::Message;
use async_nats::jetstream::consumer::PullConsumer;
use async_nats::jetstream::consumer::pull::Batch;
use futures_util::{FutureExt, StreamExt};
use tokio::time::{Instant, timeout, timeout_at};

use super::super::engine::{ANSWER_BYTES_MAX, Answer, EngineError, Entry, Tail};
use super::super::slot::Fault;
use super::link::Link;
use super::page::{consumer_config, entry};
use super::{Store, not_now};

/// How long NATS lets us wait for entries.
const WAIT: Duration = Duration::from_secs(1);
/// How long it may take to say that there are none.
const SILENCE_MAX: Duration = Duration::from_secs(4);
/// After so long beyond [`WAIT`] they are asked for again: NATS 2.9 says nothing at all when the time is up as an entry comes.
const WORD_WITHIN: Duration = Duration::from_millis(250);
/// Entries that are asked for together.
const ENTRIES_MAX: usize = 1024;
/// How long the consumer outlives a connection that is lost.
const CONSUMER_IDLE_MAX: Duration = Duration::from_secs(30);

/// A place in the stream.
pub(super) struct Follower {
    link: Link,
    consumer: PullConsumer,
    /// What was asked for and has not all come, and until when it may.
    batch: Option<(Batch, Instant)>,
    after: u64,
    /// What the consumer has given, by its own count.
    given: u64,
}

impl std::fmt::Debug for Follower {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Follower").field("after", &self.after).finish_non_exhaustive()
    }
}

impl Follower {
    pub(super) async fn open(store: &Arc<Store>, after: u64) -> Result<Self, EngineError> {
        let link = Link::open(&store.settings.address).await?;
        let last = store.extent(&link).await?.last;
        if last < after {
            // Nothing would come until it is as long as it was.
            return Err(EngineError::Unavailable(format!("the stream ends at {last}, before {after}")));
        }
        let stream = link.stream(&store.settings.name).await?;
        let config = consumer_config(after, String::new(), CONSUMER_IDLE_MAX);
        let consumer = stream.create_consumer(config).await.map_err(not_now)?;
        Ok(Self { link, consumer, batch: None, after, given: 0 })
    }

    /// The next message, and all that have come with it.
    async fn next_now(&mut self) -> Result<Vec<Entry>, Fault> {
        let (batch, until) = match &mut self.batch {
            Some(asked) => asked,
            None => {
                let batch = self.consumer.batch().max_messages(ENTRIES_MAX).max_bytes(ANSWER_BYTES_MAX).expires(WAIT);
                let until = Instant::now() + WAIT + WORD_WITHIN;
                self.batch.insert((batch.messages().await.map_err(not_now)?, until))
            }
        };
        let mut messages = Vec::new();
        let Ok(mut next) = timeout_at(*until, batch.next()).await else {
            // What comes of it all the same is missed by its count.
            self.batch = None;
            return Ok(Vec::new());
        };
        loop {
            match next {
                Some(Ok(message)) => messages.push(message),
                Some(Err(error)) if messages.is_empty() && !is_full(&*error) => {
                    self.batch = None;
                    return Err(not_now(error));
                }
                Some(Err(_)) | None => {
                    self.batch = None;
                    break;
                }
            }
            next = match batch.next().now_or_never() {
                Some(next) => next,
                None => break,
            };
        }
        messages.into_iter().map(|message| self.entry(&message)).collect()
    }

    fn entry(&mut self, message: &Message) -> Result<Entry, Fault> {
        let given = message.info().map_err(not_now)?.consumer_sequence;
        let (entry, _) = entry(message)?;
        if given != self.given + 1 || entry.number <= self.after {
            return Err(Fault::not_now("entries were lost on the way"));
        }
        (self.given, self.after) = (given, entry.number);
        Ok(entry)
    }
}

/// The rest of a batch would be too many bytes.
fn is_full(error: &(dyn std::error::Error + Send + Sync)) -> bool {
    error.to_string().contains("MaxBytes")
}

impl Tail for Follower {
    fn next(&mut self) -> Answer<'_, Vec<Entry>> {
        Box::pin(async move {
            let mut lost = self.link.lost();
            tokio::select! {
                biased;
                news = timeout(WAIT + SILENCE_MAX, self.next_now()) => match news {
                    Ok(news) => Ok(news?),
                    Err(_) => Err(EngineError::Unavailable("it hangs".to_owned())),
                },
                () = lost.gone() => Err(EngineError::Unavailable("the connection is lost".to_owned())),
            }
        })
    }
}
