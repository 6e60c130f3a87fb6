//! Measurement 6: a sync that fails, a full disk, damaged files. Each prints what happened.

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    os::unix::fs::FileExt,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

use anyhow::{Context, Result};

use crate::{
    append::Groups,
    event::Header,
    gauge,
    store::{self, Durability, Store},
};

/// Commits while strace fails one of the syncs, then opens again and counts what was promised and is there.
pub fn sync_error(engine: &str, dir: &Path) -> Result<()> {
    let mut store = store::open(engine, dir)?;
    let mut groups = Groups { next_seq: 1, topics: 1, size: 200, group: 8 };
    let (mut promised, mut failed) = (0, 0);
    for commit in 1..=400 {
        let first = groups.next_seq;
        match store.append(&groups.make(), Durability::Fsync) {
            Ok(()) => promised += groups.next_seq - first,
            Err(error) => {
                failed += 1;
                if failed <= 4 {
                    println!("  commit {commit}: {error:#}");
                }
                // The hub would stop here; going on shows whether the engine would pretend.
                groups.next_seq = store.last_seq().map_or(first, |last| last + 1);
            }
        }
    }
    let reads = count(store.as_ref()).map_or_else(|error| format!("{error:#}"), |found| format!("{found} events"));
    println!("  {failed} of 400 commits failed, promised {promised} events, read: {reads}");
    println!("  close: {:?}", store.close().map_err(|error| error.to_string()));
    let store = store::open(engine, dir)?;
    println!("  open again: {} events", count(store.as_ref())?);
    Ok(())
}

/// Fills a small file system, frees a ballast file, goes on without opening anew.
pub fn full_disk(engine: &str, dir: &Path) -> Result<()> {
    let ballast = dir.join("ballast");
    fs::File::create(&ballast)?.write_all(&vec![1; 16 << 20])?;
    let data = dir.join("data");
    let mut store = store::open(engine, &data)?;
    let mut groups = Groups { next_seq: 1, topics: 1, size: 4096, group: 8 };
    let mut promised = 0;
    let mut refused = 0;
    while refused < 5 {
        let first = groups.next_seq;
        match store.append(&groups.make(), Durability::Fsync) {
            Ok(()) => promised += 8,
            Err(error) => {
                println!("  after {promised} events: {error:#}");
                groups.next_seq = store.last_seq().map_or(first, |last| last + 1);
                refused += 1;
            }
        }
    }
    println!("  full: reads {}", count(store.as_ref()).map_or_else(|error| format!("{error:#}"), |n| n.to_string()));
    fs::remove_file(ballast)?;
    for _ in 0..3 {
        let first = groups.next_seq;
        match store.append(&groups.make(), Durability::Fsync) {
            Ok(()) => promised += 8,
            Err(error) => {
                println!("  with space again: {error:#}");
                groups.next_seq = store.last_seq().map_or(first, |last| last + 1);
            }
        }
    }
    println!("  close: {:?}", store.close().map_err(|error| error.to_string()));
    match store::open(engine, &data).and_then(|mut store| {
        let found = count(store.as_ref())?;
        groups.next_seq = store.last_seq()? + 1;
        store.append(&groups.make(), Durability::Fsync)?;
        Ok(found)
    }) {
        Ok(found) => println!("  opened again: promised {promised}, found {found}, appends go on"),
        Err(error) => println!("  opening again: {error:#}"),
    }
    Ok(())
}

fn count(store: &dyn Store) -> Result<usize> {
    let mut reader = store.reader()?;
    let (mut cursor, mut total) = (0, 0);
    loop {
        let found = reader.read_topic(0, cursor, 256, &mut |seq, _| cursor = seq)?;
        total += found;
        if found == 0 {
            return Ok(total);
        }
    }
}

/// Written before the damage. Few before a cut: SQLite must not have begun to write over the start of its WAL.
const FLIP_EVENTS: u64 = 3_000;
const CUT_EVENTS: u64 = 600;

/// Damages copies of the files of a stopped or killed process: one bit each, or up to 4 KiB cut from the end of
/// the file that was written last.
pub fn damage(engine: &str, dir: &Path, rounds: u64, cut: bool, clean: bool) -> Result<()> {
    let original = dir.join("original");
    let mut store = store::open(engine, &original)?;
    let mut groups = Groups { next_seq: 1, topics: 1, size: 200, group: 10 };
    let events = if cut { CUT_EVENTS } else { FLIP_EVENTS };
    while groups.next_seq <= events {
        store.append(&groups.make(), Durability::Fsync)?;
    }
    // Copied while open, after the last sync: what kill -9 leaves.
    let left = dir.join("left");
    copy(&original, &left)?;
    store.close()?;
    let left = if clean { original } else { left };
    let mut outcomes = BTreeMap::<String, u64>::new();
    for _ in 0..rounds {
        let damaged = dir.join("damaged");
        copy(&left, &damaged)?;
        if cut {
            cut_tail(&damaged)?
        } else {
            flip_bit(&damaged)?
        }
        let outcome = catch_unwind(AssertUnwindSafe(|| outcome(engine, &damaged, events)));
        *outcomes.entry(outcome.unwrap_or_else(|_| "panic".into())).or_default() += 1;
    }
    println!("  {outcomes:?}");
    Ok(())
}

fn outcome(engine: &str, dir: &Path, events: u64) -> String {
    let store = match store::open(engine, dir) {
        Ok(store) => store,
        Err(error) => return format!("refused to open: {}", short(&error)),
    };
    let mut seen = 0;
    let (mut cursor, mut wrong) = (0, false);
    let mut reader = match store.reader() {
        Ok(reader) => reader,
        Err(error) => return format!("error at read: {}", short(&error)),
    };
    loop {
        let step = reader.read_topic(0, cursor, 256, &mut |seq, record| {
            wrong |= !Header::read(record).is_ok_and(|header| header.seq == seq);
            (cursor, seen) = (seq, seen + 1);
        });
        match step {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) => return format!("error at read: {}", short(&error)),
        }
    }
    match (wrong, seen) {
        (true, _) => "WRONG BYTES".into(),
        (_, seen) if seen == events => "harmless".into(),
        (_, 0) => "opened EMPTY".into(),
        (_, seen) if cursor == seen => "SILENT: a run at the end is missing".into(),
        _ => "SILENT: a hole".into(),
    }
}

fn short(error: &anyhow::Error) -> String {
    let text = format!("{error:#}");
    text.split(|c: char| c.is_ascii_digit()).next().unwrap_or("").chars().take(60).collect()
}

fn flip_bit(dir: &Path) -> Result<()> {
    let files: Vec<_> = gauge::files(dir)?.into_iter().filter(|path| used_bytes(path) > 0).collect();
    let total: u64 = files.iter().map(|path| used_bytes(path)).sum();
    let mut at = fastrand::u64(..total);
    for path in files {
        let len = used_bytes(&path);
        if at < len {
            let file = fs::OpenOptions::new().read(true).write(true).open(path)?;
            let mut byte = [0];
            file.read_exact_at(&mut byte, at)?;
            byte[0] ^= 1 << fastrand::u8(..8);
            return Ok(file.write_all_at(&byte, at)?);
        }
        at -= len;
    }
    Ok(())
}

/// Up to the last byte that is not zero: preallocated space is no data. The index of the WAL is rebuilt anyway.
fn used_bytes(path: &Path) -> u64 {
    if path.to_string_lossy().ends_with("-shm") {
        return 0;
    }
    let bytes = fs::read(path).unwrap_or_default();
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last as u64 + 1)
}

fn cut_tail(dir: &Path) -> Result<()> {
    let files = gauge::files(dir)?;
    let newest = files
        .iter()
        .filter(|path| [".jnl", "-wal", ".redb", ".log"].iter().any(|end| path.to_string_lossy().ends_with(end)))
        .max_by_key(|path| (path.to_string_lossy().ends_with("-wal"), path.to_path_buf()))
        .context("no file that is appended to")?;
    let len = used_bytes(newest);
    Ok(fs::OpenOptions::new().write(true).open(newest)?.set_len(len.saturating_sub(fastrand::u64(1..=4096)))?)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    if to.exists() {
        fs::remove_dir_all(to)?;
    }
    for path in gauge::files(from)? {
        let target = to.join(path.strip_prefix(from)?);
        fs::create_dir_all(target.parent().context("a file has a directory")?)?;
        fs::copy(&path, target)?;
    }
    Ok(())
}
