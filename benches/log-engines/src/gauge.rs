//! What the system says of this process and of a directory.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};
use rustix::{
    fs::{Advice, fadvise},
    time::{ClockId, clock_gettime},
};

/// Processor time of all threads.
pub fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Bytes this process caused to be written to storage.
pub fn written_bytes() -> Result<u64> {
    number_after("/proc/self/io", "write_bytes:")
}

pub fn rss_mib() -> Result<f64> {
    Ok(number_after("/proc/self/status", "VmRSS:")? as f64 / 1024.0)
}

fn number_after(path: &str, name: &str) -> Result<u64> {
    let text = fs::read_to_string(path)?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)).context("no such line")?;
    Ok(line.split_whitespace().next().context("no number")?.parse()?)
}

pub fn files(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() { found.extend(files(&path)?) } else { found.push(path) }
    }
    found.sort();
    Ok(found)
}

/// Allocated, not apparent: a preallocated journal is sparse.
pub fn disk_bytes(dir: &Path) -> Result<u64> {
    use std::os::unix::fs::MetadataExt;
    // A file may vanish between listing and looking: engines delete in the background.
    Ok(files(dir)?.iter().filter_map(|path| fs::metadata(path).ok()).map(|meta| meta.blocks() * 512).sum())
}

/// Reads all files once, so that no measured read waits for the disk.
pub fn fill_page_cache(dir: &Path) -> Result<()> {
    for path in files(dir)? {
        std::io::copy(&mut File::open(path)?, &mut std::io::sink())?;
    }
    Ok(())
}

/// Asks the system to forget what it cached of these files.
pub fn drop_page_cache(dir: &Path) -> Result<()> {
    for path in files(dir)? {
        let file = File::open(path)?;
        file.sync_all()?;
        fadvise(&file, 0, None, Advice::DontNeed)?;
    }
    Ok(())
}
