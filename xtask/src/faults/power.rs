//! A2 and A3: what is on the disk when an answer leaves, and what a loss of power leaves of it.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::BufReader;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::bench::{Bench, Quota, expect};
use super::calls::{self, Call};
use super::crash::{Random, clear};
use super::disk_image::Disk;
use super::finding::Findings;
use super::foreign::copy;
use super::history::{Verdict, judge, replay};
use super::press::{Journal, Press, origin};
use super::server::Server;
use super::tracer::{self, Tracer};

const WAL: &str = "log.sqlite-wal";

/// A run under strace: where it wrote to, and what publishers were told.
struct Traced {
    journals: Vec<Journal>,
    path: std::path::PathBuf,
}

/// Publishes so many events under strace; what the directory was before is in `base`.
fn trace(bench: &Bench, publishers: usize, events: &Quota, dir: &Path, base: &Path) -> Result<Traced> {
    tracer::check()?;
    clear(dir)?;
    clear(base)?;
    let server = Server::start(bench, &[&format!("--data-dir={}", dir.display()), "--durability=fsync"])?;
    let tracer = Tracer::of_all(bench, &server, &calls::FLAGS)?;
    copy(dir, base)?;
    let press = Press::start(server.address(), vec![Journal::default(); publishers], 200);
    expect("publishes under strace", Duration::from_secs(3_000), || {
        Ok(!events.is_open(press.acked() as usize) || !press.is_running())
    })?;
    let pressed = press.finish()?;
    ensure!(pressed.errors.is_empty(), "publishing fails under strace: {:?}", pressed.errors);
    let path = tracer.detach();
    server.kill();
    Ok(Traced { journals: pressed.journals, path })
}

/// Each answer leaves after the sync that covers its event has returned.
pub fn answers_follow_syncs(bench: &Bench) -> Result<Findings> {
    let (dir, base) = (bench.file("data"), bench.file("base"));
    let events = bench.quota(5_000, 100_000);
    let traced = trace(bench, 16, &events, &dir, &base)?;
    let origins = origins(&traced.journals);
    let mut order = Order::default();
    let file = File::open(&traced.path).context("opening the trace")?;
    let (mut answered, mut early, mut unknown) = (0, 0, 0);
    calls::read(BufReader::new(file), |call| {
        if let Call::Answer { ids } = &call {
            for id in ids {
                answered += 1;
                match origins.get(id.as_str()) {
                    Some(origin) => early += u64::from(!order.is_synced(*origin)),
                    None => unknown += 1,
                }
            }
        }
        order.take(call);
        Ok(())
    })?;
    fs::remove_file(&traced.path).context("removing the trace")?;
    let mut findings = Findings::default();
    findings.none("answers that left before their sync had returned", early);
    findings.none("answers to nobody", unknown);
    findings.all("answers seen, of those that publishers got", answered, origins.len());
    findings.amount("answers looked at", answered, &events);
    findings.note("syncs", order.syncs);
    Ok(findings)
}

fn origins(journals: &[Journal]) -> HashMap<&str, (usize, u32)> {
    let mut origins = HashMap::new();
    for (name, journal) in journals.iter().enumerate() {
        origins.extend(journal.acked.iter().map(|(number, id)| (id.as_str(), (name, *number))));
    }
    origins
}

/// Which events are on the disk.
#[derive(Debug, Default)]
struct Order {
    /// Writes to the write-ahead log so far.
    writes: u64,
    /// The write that a whole transaction ends with.
    committed: u64,
    /// Where each event was written first.
    written: HashMap<(usize, u32), u64>,
    /// Up to where a sync under way reaches, by thread.
    under_way: HashMap<u32, u64>,
    synced: u64,
    syncs: u64,
}

impl Order {
    fn is_synced(&self, origin: (usize, u32)) -> bool {
        self.written.get(&origin).is_some_and(|write| *write <= self.synced)
    }

    fn take(&mut self, call: Call) {
        match call {
            Call::Write { file, bytes, .. } if file == WAL => {
                self.writes += 1;
                // A frame's header comes by itself; one that ends a transaction says how large the database is then.
                if bytes.len() == 24 && bytes[4..8] != [0; 4] {
                    self.committed = self.writes + 1;
                }
                for origin in origins_in(&bytes) {
                    self.written.entry(origin).or_insert(self.writes);
                }
            }
            Call::SyncBegins { thread, file } if file == WAL => {
                self.under_way.insert(thread, self.committed.min(self.writes));
            }
            Call::SyncEnds { thread, file, is_done } if file == WAL => {
                let reached = self.under_way.remove(&thread).filter(|_| is_done);
                self.synced = self.synced.max(reached.unwrap_or(0));
                self.syncs += 1;
            }
            _ => (),
        }
    }
}

/// The events in a page.
fn origins_in(page: &[u8]) -> HashSet<(usize, u32)> {
    let text = String::from_utf8_lossy(page);
    text.split("data: ").skip(1).filter_map(origin).collect()
}

/// The power goes at any moment, and what was not synced may be there or not: what was acknowledged by then is there.
pub fn is_lost(bench: &Bench) -> Result<Findings> {
    let images = bench.pick(40, 200);
    let (dir, base, image) = (bench.file("data"), bench.file("base"), bench.file("image"));
    let traced = trace(bench, 8, &bench.quota(2_000, 6_000), &dir, &base)?;
    let mut calls = Vec::new();
    calls::read(BufReader::new(File::open(&traced.path).context("opening the trace")?), |call| {
        calls.push(call);
        Ok(())
    })?;
    fs::remove_file(&traced.path).context("removing the trace")?;
    let mut random = Random::seeded();
    let mut moments: Vec<usize> = (0..images).map(|_| random.below(calls.len() as u64) as usize).collect();
    moments.sort_unstable();
    let mut disk = Disk::read(&base)?;
    let (mut sum, mut told, mut refused) = (Verdict::default(), 0, Vec::new());
    let mut answered = HashSet::new();
    let mut calls = calls.into_iter();
    let mut taken = 0;
    for moment in moments {
        for call in calls.by_ref().take(moment - taken) {
            if let Call::Answer { ids } = &call {
                answered.extend(ids.iter().cloned());
            }
            disk.take(call);
        }
        taken = moment;
        clear(&image)?;
        disk.after_a_loss(&image, &mut random)?;
        match start_on(bench, &image, &traced.journals, &answered) {
            Ok(verdict) => {
                told += u64::from(verdict.gaps > 0);
                sum.add(&verdict);
            }
            Err(error) => refused.push(format!("{error:#}")),
        }
    }
    let mut findings = Findings::default();
    findings.none("acknowledged events lost", sum.lost);
    findings.none("repeated, out of order or foreign", sum.repeated + sum.reordered + sum.foreign);
    findings.none("images that were not started from", refused.len() as u64);
    findings.at_least("events read back in all", sum.kept as f64, 1_000.0, "");
    findings.note("images", images);
    findings.note("images after which a loss was told", told);
    findings.note("refused", refused);
    Ok(findings)
}

fn start_on(bench: &Bench, dir: &Path, journals: &[Journal], answered: &HashSet<String>) -> Result<Verdict> {
    let server = Server::start(bench, &[&format!("--data-dir={}", dir.display()), "--durability=fsync"])?;
    let replayed = replay(server.address(), "earliest")?;
    server.kill();
    let by_then = |journal: &Journal| Journal {
        sent: journal.sent,
        acked: journal.acked.iter().filter(|(_, id)| answered.contains(id)).cloned().collect(),
    };
    let journals: Vec<Journal> = journals.iter().map(by_then).collect();
    Ok(judge(&journals, &replayed, false))
}
