//! What a batch of events costs the log: encoded, checked and written, without and with its sync.

use std::time::Duration;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use sse_hub::{DiskLog, DiskLogOptions, Durability, Log, Record, RecordKind, Retention, SyncWhen, TopicName};
use sse_wire::{Event, EventId};

const DATA_BYTES: usize = 200;
/// Old events are dropped now and then, as in a server, and the file stays small.
const TEND_EVERY: u64 = 200;

fn append(c: &mut Criterion) {
    let mut group = c.benchmark_group("log append");
    for (name, sync) in [("written", SyncWhen::Later), ("synced", SyncWhen::Now)] {
        for batch in [1, 16, 256] {
            let dir = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("append-{}", std::process::id()));
            let (log, _) = DiskLog::open(options(&dir)).expect("a log can be begun here");
            let (mut sequence, mut batches) = (0, 0);
            group.throughput(Throughput::Elements(batch));
            group.bench_function(BenchmarkId::new(name, batch), |b| {
                let setup = || {
                    let first = sequence + 1;
                    sequence += batch;
                    (first..=sequence).map(record).collect::<Vec<_>>()
                };
                let append = |records: Vec<Record>| {
                    log.append(&records, sync).expect("there is room");
                    batches += 1;
                    if batches % TEND_EVERY == 0 {
                        log.tend().expect("there is room");
                    }
                };
                b.iter_batched(setup, append, BatchSize::PerIteration);
            });
            drop(log);
            std::fs::remove_dir_all(&dir).expect("it is this program's own");
        }
    }
}

fn record(sequence: u64) -> Record {
    let id = EventId::parse(&format!("1abcdefg-{sequence:016}")).expect("an id is one line");
    Record {
        sequence,
        kind: RecordKind::Event,
        topics: Box::new([TopicName::parse("prices/1").expect("it is short and printable")]),
        frame: Event::new("x".repeat(DATA_BYTES)).with_id(id).encode(),
        private: false,
        given_id: None,
        key: None,
    }
}

fn options(dir: &std::path::Path) -> DiskLogOptions {
    DiskLogOptions {
        dir: dir.to_owned(),
        durability: Durability::Fsync,
        retention: Retention { age_max: Duration::MAX, events_max: 10_000, bytes_max: u64::MAX },
        retention_by_topic: Vec::new(),
        closed_topic_age: Duration::MAX,
        idempotency_window: Duration::from_secs(120),
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    targets = append
}
criterion_main!(benches);
