//! Reading what is kept, a page at a time, by consumers that live no longer than that.

use std::time::Duration;

use async_nats::jetstream::Message;
use async_nats::jetstream::consumer::pull::Config;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, PullConsumer};
use futures_util::StreamExt;

use super::super::engine::{ANSWER_BYTES_MAX, Entry, Found, Range};
use super::super::slot::Fault;
use super::link::Link;
use super::{Store, not_now};

/// A range that is read whole, whichever topic is wanted: two consumers cost more than a few messages too many.
const RANGE_SMALL: u64 = 256;
/// How long messages that are there may take.
const FETCH_MAX: Duration = Duration::from_secs(2);
/// How long NATS keeps a consumer that nobody deleted.
const CONSUMER_IDLE_MAX: Duration = Duration::from_secs(10);

/// A consumer that begins behind the number `after`, of one subject or (empty) of all.
pub(super) fn consumer_config(after: u64, filter_subject: String, inactive_threshold: Duration) -> Config {
    Config {
        deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: after + 1 },
        ack_policy: AckPolicy::None,
        memory_storage: true,
        num_replicas: 1,
        filter_subject,
        inactive_threshold,
        ..Config::default()
    }
}

/// A message as an entry, and how many more there were behind it.
pub(super) fn entry(message: &Message) -> Result<(Entry, u64), Fault> {
    let info = message.info().map_err(not_now)?;
    let (number, pending) = (info.stream_sequence, info.pending);
    Ok((Entry { number, bytes: message.payload.clone() }, pending))
}

pub(super) async fn read(store: &Store, link: &Link, range: &Range) -> Result<Found, Fault> {
    match &range.topic {
        Some(topic) if range.up_to.saturating_sub(range.after) > RANGE_SMALL => {
            let one = page(store, link, range, store.subjects.of(topic));
            let several = page(store, link, range, store.subjects.mixed());
            let (one, several) = tokio::join!(one, several);
            Ok(merged(one?, several?, range.entries_max))
        }
        _ => page(store, link, range, String::new()).await,
    }
}

/// Both in one order, as far as both go.
fn merged(one: Found, other: Found, entries_max: usize) -> Found {
    let mut covered_to = one.covered_to.min(other.covered_to);
    let mut entries = one.entries;
    entries.extend(other.entries);
    entries.retain(|entry| entry.number <= covered_to);
    entries.sort_unstable_by_key(|entry| entry.number);
    if entries.len() > entries_max {
        entries.truncate(entries_max);
        covered_to = entries.last().map_or(covered_to, |entry| entry.number);
    }
    Found { entries, covered_to }
}

async fn page(store: &Store, link: &Link, range: &Range, subject: String) -> Result<Found, Fault> {
    let stream = link.stream(&store.settings.name).await?;
    let config = consumer_config(range.after, subject, CONSUMER_IDLE_MAX);
    let consumer: PullConsumer = stream.create_consumer(config).await.map_err(not_now)?;
    let found = fetch(&consumer, range, ANSWER_BYTES_MAX).await;
    discard(link, &consumer).await;
    found
}

/// Has the consumer deleted, and does not wait for it: if that comes to nothing, it goes by itself.
async fn discard(link: &Link, consumer: &PullConsumer) {
    let info = consumer.cached_info();
    let subject = format!("$JS.API.CONSUMER.DELETE.{}.{}", info.stream_name, info.name);
    let nobody = link.client().new_inbox();
    let _ = link.client().publish_with_reply(subject, nobody, bytes::Bytes::new()).await;
}

async fn fetch(consumer: &PullConsumer, range: &Range, bytes_max: usize) -> Result<Found, Fault> {
    let most = usize::try_from(range.up_to.saturating_sub(range.after)).unwrap_or(usize::MAX).min(range.entries_max);
    let there = usize::try_from(consumer.cached_info().num_pending).unwrap_or(usize::MAX);
    let (wanted, mut rest) = (most.min(there), there);
    let mut found = Found { entries: Vec::with_capacity(wanted.min(1024)), covered_to: range.after };
    if wanted > 0 {
        let batch = consumer.batch().max_messages(wanted).max_bytes(bytes_max).expires(FETCH_MAX);
        let mut batch = batch.messages().await.map_err(not_now)?;
        // What is not a message says that the next one would be too much.
        while let Some(Ok(message)) = batch.next().await {
            let (entry, pending) = entry(&message)?;
            rest = if entry.number > range.up_to { 0 } else { usize::try_from(pending).unwrap_or(usize::MAX) };
            if entry.number <= range.up_to {
                found.covered_to = entry.number;
                found.entries.push(entry);
            }
            if rest == 0 {
                break;
            }
        }
    }
    if rest == 0 {
        found.covered_to = range.up_to.max(range.after);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(numbers: &[u64], covered_to: u64) -> Found {
        let entries = numbers.iter().map(|&number| Entry { number, bytes: bytes::Bytes::new() }).collect();
        Found { entries, covered_to }
    }

    #[test]
    fn two_subjects_are_one_as_far_as_both_were_read() {
        for (one, other, entries_max, expected) in [
            (found(&[1, 5], 9), found(&[2, 7], 9), 9, found(&[1, 2, 5, 7], 9)),
            (found(&[1, 5], 5), found(&[2, 7], 9), 9, found(&[1, 2, 5], 5)),
            (found(&[1, 5], 9), found(&[2, 7], 9), 3, found(&[1, 2, 5], 5)),
            (found(&[], 9), found(&[2, 7], 9), 2, found(&[2, 7], 9)),
            (found(&[], 9), found(&[], 9), 2, found(&[], 9)),
            (found(&[], 3), found(&[4], 9), 2, found(&[], 3)),
        ] {
            assert_eq!(merged(one, other, entries_max), expected);
        }
    }
}
