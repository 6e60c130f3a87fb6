//! A directory as the disk may have it when the power goes: what was synced, and any part of what was not.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::calls::Call;
use super::crash::Random;

/// What a disk writes at once, or not at all.
const SECTOR: usize = 512;

/// The files of a data directory.
#[derive(Debug, Default)]
pub struct Disk {
    files: BTreeMap<String, OnDisk>,
    /// How many changes of a file a sync under way covers, by thread.
    under_way: HashMap<u32, usize>,
}

#[derive(Debug, Default)]
struct OnDisk {
    bytes: Vec<u8>,
    /// What may have reached the disk.
    unsynced: Vec<Change>,
}

#[derive(Debug, Clone)]
enum Change {
    Write { at: usize, bytes: Vec<u8> },
    Truncate(usize),
}

impl Disk {
    /// A directory that is wholly on the disk. The index of the write-ahead log is memory that only looks like a file.
    pub fn read(dir: &Path) -> Result<Self> {
        let mut disk = Self::default();
        for file in fs::read_dir(dir).context("reading a data directory")? {
            let file = file?;
            let name = file.file_name().to_string_lossy().into_owned();
            if !name.ends_with("-shm") {
                disk.files.insert(name, OnDisk { bytes: fs::read(file.path())?, unsynced: Vec::new() });
            }
        }
        Ok(disk)
    }

    pub fn take(&mut self, call: Call) {
        match call {
            Call::Write { file, at, bytes } => self.change(&file, Change::Write { at: at as usize, bytes }),
            Call::Truncate { file, length } => self.change(&file, Change::Truncate(length as usize)),
            Call::SyncBegins { thread, file } => {
                let covers = self.files.get(&file).map_or(0, |file| file.unsynced.len());
                self.under_way.insert(thread, covers);
            }
            Call::SyncEnds { thread, file, is_done } => {
                let covers = self.under_way.remove(&thread).filter(|_| is_done).unwrap_or(0);
                if let Some(file) = self.files.get_mut(&file) {
                    let synced: Vec<Change> = file.unsynced.drain(..covers).collect();
                    synced.into_iter().for_each(|change| change.apply(&mut file.bytes));
                }
            }
            Call::Answer { .. } => (),
        }
    }

    fn change(&mut self, file: &str, change: Change) {
        if let Some(file) = self.files.get_mut(file) {
            file.unsynced.push(change);
        }
    }

    /// Writes the directory as it may be after a loss of power now: of each file a prefix of what was not synced, the last
    /// change torn, or any of the changes.
    pub fn after_a_loss(&self, dir: &Path, random: &mut Random) -> Result<()> {
        fs::create_dir_all(dir)?;
        for (name, file) in &self.files {
            let mut bytes = file.bytes.clone();
            let is_prefix = random.below(2) == 0;
            let kept = random.below(file.unsynced.len() as u64 + 1) as usize;
            for (place, change) in file.unsynced.iter().enumerate() {
                let is_there = if is_prefix { place < kept } else { random.below(2) == 0 };
                match change {
                    change if is_there => change.clone().apply(&mut bytes),
                    Change::Write { at, bytes: torn } if is_prefix && place == kept => {
                        let sectors = random.below((torn.len() / SECTOR) as u64 + 1) as usize;
                        Change::Write { at: *at, bytes: torn[..sectors * SECTOR].to_vec() }.apply(&mut bytes);
                    }
                    _ => (),
                }
            }
            fs::write(dir.join(name), bytes).context("writing an image")?;
        }
        Ok(())
    }
}

impl Change {
    fn apply(self, file: &mut Vec<u8>) {
        match self {
            Self::Write { at, bytes } => {
                if file.len() < at + bytes.len() {
                    file.resize(at + bytes.len(), 0);
                }
                file[at..at + bytes.len()].copy_from_slice(&bytes);
            }
            Self::Truncate(length) => file.resize(length, 0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_synced_is_there_whatever_comes() {
        let dir = std::env::temp_dir().join(format!("xtask-image-{}", std::process::id()));
        let mut disk = Disk::default();
        disk.files.insert("wal".to_owned(), OnDisk::default());
        let write = |at, byte| Call::Write { file: "wal".to_owned(), at, bytes: vec![byte; 1_024] };
        disk.take(write(0, 1));
        disk.take(Call::SyncBegins { thread: 1, file: "wal".to_owned() });
        disk.take(write(1_024, 2));
        disk.take(Call::SyncEnds { thread: 1, file: "wal".to_owned(), is_done: true });
        let mut random = Random::seeded();
        let mut lengths = std::collections::BTreeSet::new();
        for _ in 0..100 {
            disk.after_a_loss(&dir, &mut random).unwrap();
            let found = fs::read(dir.join("wal")).unwrap();
            assert_eq!(found[..1_024], [1; 1_024], "it was synced");
            lengths.insert(found.len());
        }
        assert_eq!(lengths.into_iter().collect::<Vec<_>>(), [1_024, 1_536, 2_048], "not there, torn, there");
        fs::remove_dir_all(dir).unwrap();
    }
}
