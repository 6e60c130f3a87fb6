//! Records into a log and back, and logs whose files are spoiled.

use std::fs;
use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

use bolero::{TypeGenerator, check};
use sse_hub::{
    DiskLog, DiskLogOptions, Durability, History, Log, LogContents, LogRead, OpenLogError, Record, RecordKind,
    Retention, Selector, Step, SyncWhen, TopicName,
};
use sse_wire::{Event, EventId};
use tempfile::TempDir;

const TOPICS: [&str; 4] = ["a", "b/c", "https://example.com/é", "*x"];

#[derive(Debug, Clone, TypeGenerator)]
enum Action {
    Append(Vec<Planned>),
    Tend,
    /// The process is killed, and starts again.
    Crash,
    /// It ends as it should, and starts again.
    Close,
}

#[derive(Debug, Clone, TypeGenerator)]
struct Planned {
    skipped: u8,
    topics: u8,
    is_private: bool,
    has_id: bool,
    data: Vec<u8>,
}

impl Planned {
    fn record(&self, sequence: u64) -> Record {
        // One topic at least.
        let is_of = |at: &usize| usize::from(self.topics) >> at & 1 == 1 || *at == usize::from(self.topics >> 4) % 4;
        let given_id = self.has_id.then(|| EventId::parse(&format!("given {sequence}")).unwrap());
        let event = Event::new(String::from_utf8_lossy(&self.data).into_owned());
        let id = given_id.clone().unwrap_or_else(|| EventId::parse(&format!("{sequence}")).unwrap());
        Record {
            sequence,
            kind: RecordKind::Event,
            topics: (0..TOPICS.len()).filter(is_of).map(|at| TopicName::parse(TOPICS[at]).unwrap()).collect(),
            frame: event.with_id(id).encode(),
            private: self.is_private,
            given_id,
            key: None,
        }
    }
}

fn open(dir: &Path) -> Result<(DiskLog, LogContents), OpenLogError> {
    DiskLog::open(DiskLogOptions {
        dir: dir.to_owned(),
        // The bytes are the same, and nobody waits for the disk.
        durability: Durability::Memory,
        retention: Retention { age_max: Duration::from_secs(1 << 30), events_max: u64::MAX, bytes_max: u64::MAX },
        retention_by_topic: Vec::new(),
        closed_topic_age: Duration::from_secs(3600),
        idempotency_window: Duration::from_secs(60),
    })
}

/// All that is read of `followed`, and whether a loss was told; `None` when reading fails.
fn read(log: &DiskLog, followed: &[&str], mut after: u64, up_to: u64) -> Option<(Vec<Record>, bool)> {
    let followed: Vec<Selector> = followed.iter().map(|text| Selector::parse(text).unwrap()).collect();
    let (mut records, mut is_told) = (Vec::new(), false);
    while after < up_to {
        let page = log.read(&LogRead { followed: &followed, after, up_to }).ok()?;
        assert!(page.covered_to > after, "a page goes on");
        after = page.covered_to;
        for step in page.steps {
            match step {
                Step::Record(record) => records.push(record),
                Step::Lost { .. } => is_told = true,
            }
        }
    }
    Some((records, is_told))
}

/// What of `records` follows one of `followed`, after that.
fn expected(records: &[Record], followed: &[&str], after: u64) -> Vec<Record> {
    let is_of = |record: &&Record| {
        let is_followed = record.topics.iter().any(|topic| followed.contains(&topic.as_str()));
        record.sequence > after && (followed == ["*"] || is_followed)
    };
    records.iter().filter(is_of).cloned().collect()
}

#[test]
fn log_records() {
    check!().with_type::<(Vec<Action>, u8)>().for_each(|(actions, after)| {
        let dir = TempDir::new().unwrap();
        let (mut log, _) = open(dir.path()).unwrap();
        let (mut records, mut newest) = (Vec::new(), 0);
        for action in actions.iter().take(12) {
            match action {
                Action::Append(planned) if !planned.is_empty() => {
                    let number = |planned: &Planned| {
                        newest += 1 + u64::from(planned.skipped % 4);
                        planned.record(newest)
                    };
                    let batch: Vec<Record> = planned.iter().take(20).map(number).collect();
                    log.append(&batch, SyncWhen::Later).unwrap();
                    records.extend(batch);
                }
                Action::Append(_) => (),
                Action::Tend => drop(log.tend().unwrap()),
                Action::Crash | Action::Close => {
                    if matches!(action, Action::Close) {
                        log.close(newest).unwrap();
                    }
                    drop(log);
                    let (opened, contents) = open(dir.path()).unwrap();
                    assert!(!contents.is_damaged);
                    assert_eq!(contents.newest, newest);
                    log = opened;
                }
            }
        }
        let after = u64::from(*after) % (newest + 1);
        for followed in [&["*"][..], &["a"], &["b/c", "*x"], &TOPICS] {
            let (found, is_told) = read(&log, followed, after, newest).unwrap();
            assert!(!is_told, "nothing was lost");
            assert_eq!(found, expected(&records, followed, after), "{followed:?} after {after}");
        }
    });
}

const EVENTS: u64 = 60;
const FILES: [&str; 2] = ["log.sqlite", "log.sqlite-wal"];

fn sample_records() -> Vec<Record> {
    let planned = |sequence: u64| Planned {
        skipped: 0,
        topics: 1 << (sequence % 4) | ((sequence % 4) as u8) << 4,
        is_private: sequence.is_multiple_of(3),
        has_id: sequence.is_multiple_of(5),
        data: format!("event {sequence} ").repeat(9).into_bytes(),
    };
    (1..=EVENTS).map(|sequence| planned(sequence).record(sequence)).collect()
}

/// The files of a log that was closed, and of one whose process was killed.
static SAMPLES: LazyLock<[Vec<Vec<u8>>; 2]> = LazyLock::new(|| {
    [true, false].map(|is_closed| {
        let dir = TempDir::new().unwrap();
        let (log, _) = open(dir.path()).unwrap();
        sample_records().chunks(7).for_each(|batch| log.append(batch, SyncWhen::Now).unwrap());
        if is_closed {
            log.close(EVENTS).unwrap();
        }
        FILES.iter().map(|name| fs::read(dir.path().join(name)).unwrap_or_default()).collect()
    })
});

#[derive(Debug, Clone, TypeGenerator)]
enum Spoil {
    Flip { at: u32, bit: u8 },
    Fill { at: u32, len: u8, byte: u8 },
    Cut { at: u32 },
    Swap { one: u16, other: u16 },
}

impl Spoil {
    fn apply(&self, file: &mut Vec<u8>) {
        const SECTOR: usize = 512;
        let len = file.len().max(1);
        match *self {
            _ if file.is_empty() => (),
            Self::Flip { at, bit } => file[at as usize % len] ^= 1 << (bit % 8),
            Self::Fill { at, len: count, byte } => {
                let at = at as usize % len;
                let end = (at + usize::from(count) * 16).min(len);
                file[at..end].fill(byte);
            }
            Self::Cut { at } => file.truncate(at as usize % len),
            Self::Swap { one, other } => {
                let sectors = (len / SECTOR).max(1);
                let (one, other) = (usize::from(one) % sectors * SECTOR, usize::from(other) % sectors * SECTOR);
                for at in 0..SECTOR.min(len - one.max(other)) {
                    file.swap(one + at, other + at);
                }
            }
        }
    }
}

#[derive(Debug, Clone, TypeGenerator)]
struct Damage {
    is_closed: bool,
    spoils: Vec<(bool, Spoil)>,
}

/// Never a panic, never wrong bytes, and after one flipped bit nothing is missing in silence.
#[test]
fn log_recovery() {
    check!().with_type::<Damage>().for_each(|damage| {
        let mut files = SAMPLES[usize::from(!damage.is_closed)].clone();
        for (is_wal, spoil) in damage.spoils.iter().take(4) {
            spoil.apply(&mut files[usize::from(*is_wal)]);
        }
        let dir = TempDir::new().unwrap();
        for (name, bytes) in FILES.iter().zip(&files).filter(|(_, bytes)| !bytes.is_empty()) {
            fs::write(dir.path().join(name), bytes).unwrap();
        }
        let Ok((log, contents)) = open(dir.path()) else { return };
        let is_flip = matches!(&damage.spoils[..], [] | [(_, Spoil::Flip { .. })]);
        for followed in [&["*"][..], &["a"], &["b/c", "*x"]] {
            let Some((found, is_told)) = read(&log, followed, 0, contents.newest.max(EVENTS)) else { continue };
            let sample = expected(&sample_records(), followed, 0);
            let mut rest = sample.iter();
            assert!(found.iter().all(|found| rest.any(|record| record == found)), "{followed:?}: not what was written");
            assert!(found.len() == sample.len() || is_told || !is_flip, "{followed:?}: some are missing, none is told");
        }
    });
}
