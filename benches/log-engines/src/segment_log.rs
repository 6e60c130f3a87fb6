//! The baseline of our own: segments of length and record, and an index in memory, rebuilt by reading all of them.
//! Only what the append and open measurements need: no retention, no reader, no damage in the middle.

use std::{
    collections::HashMap,
    fs::{File, OpenOptions},
    io::{BufReader, ErrorKind, Read, Write},
    path::{Path, PathBuf},
};

use anyhow::{Result, bail};

use crate::{
    event::{Event, Header},
    store::{Durability, Reader, Store},
};

const SEGMENT_BYTES: u64 = 64 * 1024 * 1024;

pub struct SegmentLog {
    dir: PathBuf,
    file: File,
    segment: u32,
    at: u64,
    last: u64,
    /// Topic to sequence, segment and position of its records.
    index: HashMap<u32, Vec<(u64, u32, u32)>>,
    ids: HashMap<(u32, u64), u64>,
}

impl SegmentLog {
    pub fn open(dir: &Path) -> Result<Self> {
        let file = segment_file(dir, 0)?;
        let (index, ids) = (HashMap::new(), HashMap::new());
        let mut log = Self { dir: dir.to_owned(), file, segment: 0, at: 0, last: 0, index, ids };
        log.rebuild()?;
        Ok(log)
    }

    fn rebuild(&mut self) -> Result<()> {
        loop {
            self.file = segment_file(&self.dir, self.segment)?;
            self.at = 0;
            let mut input = BufReader::with_capacity(1 << 20, File::open(segment_path(&self.dir, self.segment))?);
            while let Some(record) = next_record(&mut input)? {
                self.note(&Header::read(&record)?, record.len());
            }
            if self.at < self.file.metadata()?.len() {
                self.file.set_len(self.at)?;
            }
            if !segment_path(&self.dir, self.segment + 1).exists() {
                return Ok(());
            }
            self.segment += 1;
        }
    }

    fn note(&mut self, header: &Header, len: usize) {
        self.index.entry(header.topic).or_default().push((header.seq, self.segment, self.at as u32));
        if let Some(id) = header.id {
            self.ids.insert((header.topic, id), header.seq);
        }
        self.last = header.seq;
        self.at += 4 + len as u64;
    }
}

fn segment_path(dir: &Path, segment: u32) -> PathBuf {
    dir.join(format!("{segment:08}.log"))
}

fn segment_file(dir: &Path, segment: u32) -> Result<File> {
    Ok(OpenOptions::new().create(true).append(true).open(segment_path(dir, segment))?)
}

/// None at the end, and for a record that is not complete.
fn next_record(input: &mut impl Read) -> Result<Option<Vec<u8>>> {
    let mut len = [0; 4];
    let mut record = Vec::new();
    let read = input.read_exact(&mut len).and_then(|()| {
        record.resize(u32::from_le_bytes(len) as usize, 0);
        input.read_exact(&mut record)
    });
    match read {
        Ok(()) => Ok(Some(record)),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error.into()),
    }
}

impl Store for SegmentLog {
    fn append(&mut self, group: &[Event], durability: Durability) -> Result<()> {
        let mut bytes = Vec::new();
        for event in group {
            let record = event.record();
            bytes.extend_from_slice(&(record.len() as u32).to_le_bytes());
            bytes.extend_from_slice(&record);
            self.note(&Header { seq: event.seq, topic: event.topic, id: event.id }, record.len());
        }
        self.file.write_all(&bytes)?;
        if durability == Durability::Fsync {
            self.file.sync_data()?;
        }
        if self.at >= SEGMENT_BYTES {
            self.file.sync_all()?;
            self.segment += 1;
            self.at = 0;
            self.file = segment_file(&self.dir, self.segment)?;
            File::open(&self.dir)?.sync_all()?;
        }
        Ok(())
    }

    fn delete_oldest(&mut self, _: u32, _: u64, _: usize) -> Result<(usize, u64)> {
        bail!("not part of the baseline")
    }

    fn reader(&self) -> Result<Box<dyn Reader>> {
        bail!("not part of the baseline")
    }

    fn last_seq(&self) -> Result<u64> {
        Ok(self.last)
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(self.file.sync_all()?)
    }
}
