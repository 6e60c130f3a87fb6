//! A log in a directory of its own, and events for it.

use std::time::Duration;

use sse_hub::{
    DiskLog, DiskLogOptions, Durability, GapReason, History, Log, LogContents, LogRead, OpenLogError, Page, Record,
    RecordKind, Retention, Selector, Step, SyncWhen, TopicName,
};
use sse_wire::{Event, EventId};
use tempfile::TempDir;

pub(crate) const KEEP_ALL: Retention =
    Retention { age_max: Duration::from_secs(1 << 30), events_max: u64::MAX, bytes_max: u64::MAX };

pub(crate) struct Setting {
    pub(crate) dir: TempDir,
    pub(crate) retention: Retention,
    pub(crate) by_topic: Vec<(Selector, Retention)>,
    pub(crate) durability: Durability,
}

impl Setting {
    pub(crate) fn new() -> Self {
        Self { dir: TempDir::new().unwrap(), retention: KEEP_ALL, by_topic: Vec::new(), durability: Durability::Fsync }
    }

    pub(crate) fn options(&self) -> DiskLogOptions {
        DiskLogOptions {
            dir: self.dir.path().to_owned(),
            durability: self.durability,
            retention: self.retention,
            retention_by_topic: self.by_topic.clone(),
            closed_topic_age: Duration::from_secs(3600),
            idempotency_window: Duration::from_secs(60),
        }
    }

    pub(crate) fn try_open(&self) -> Result<(DiskLog, LogContents), OpenLogError> {
        DiskLog::open(self.options())
    }

    pub(crate) fn open(&self) -> (DiskLog, LogContents) {
        self.try_open().unwrap()
    }
}

pub(crate) fn topic(name: &str) -> TopicName {
    TopicName::parse(name).unwrap()
}

pub(crate) fn record(sequence: u64, topics: &[&str]) -> Record {
    let event = Event::new(format!("event {sequence}")).with_id(EventId::parse(&format!("id-{sequence}")).unwrap());
    Record {
        sequence,
        kind: RecordKind::Event,
        topics: topics.iter().map(|name| topic(name)).collect(),
        frame: event.encode(),
        private: false,
        given_id: None,
        key: None,
    }
}

pub(crate) fn append(log: &DiskLog, records: &[Record]) {
    log.append(records, SyncWhen::Now).unwrap();
}

/// Everything that is followed, page after page, in words: `3` for an event, `lost:trimmed>2` for a loss.
pub(crate) fn read(log: &DiskLog, followed: &[&str], after: u64, up_to: u64) -> Vec<String> {
    let followed: Vec<Selector> = followed.iter().map(|text| Selector::parse(text).unwrap()).collect();
    let (mut words, mut after) = (Vec::new(), after);
    while after < up_to {
        // What the hub makes of an error.
        let damaged = |_| Page { steps: vec![Step::Lost { up_to, reason: GapReason::Damaged }], covered_to: up_to };
        let read = log.read(&LogRead { followed: &followed, after, up_to });
        let Page { steps, covered_to } = read.unwrap_or_else(damaged);
        assert!(covered_to > after, "a page goes on");
        for step in &steps {
            words.push(match step {
                Step::Record(found) => {
                    let text = String::from_utf8(found.frame.text_bytes().to_vec()).unwrap();
                    assert!(text.contains(&format!("data: event {}\n", found.sequence)), "{text}");
                    found.sequence.to_string()
                }
                Step::Lost { up_to, reason } => format!("lost:{}>{up_to}", reason.as_str()),
            });
        }
        after = covered_to;
    }
    words
}

pub(crate) fn words(sequences: impl IntoIterator<Item = u64>) -> Vec<String> {
    sequences.into_iter().map(|sequence| sequence.to_string()).collect()
}
