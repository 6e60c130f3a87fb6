//! One event and its record: a checksum of our own, a header, the payload.

use anyhow::{Result, ensure};
use xxhash_rust::xxh3::xxh3_64;

pub struct Event {
    pub seq: u64,
    pub topic: u32,
    /// Hash of the publisher's id; one event in ten has one.
    pub id: Option<u64>,
    pub payload: Vec<u8>,
}

/// Checksum, sequence, topic, whether there is an id, id.
const HEADER_LEN: usize = 8 + 8 + 4 + 1 + 8;

impl Event {
    pub fn random(seq: u64, topics: u32, size: usize) -> Self {
        let id = seq.is_multiple_of(10).then(|| xxh3_64(&seq.to_le_bytes()));
        let mut payload = vec![0; size];
        fastrand::fill(&mut payload);
        Self { seq, topic: fastrand::u32(..topics), id, payload }
    }

    pub fn record(&self) -> Vec<u8> {
        let mut record = Vec::with_capacity(HEADER_LEN + self.payload.len());
        record.extend_from_slice(&[0; 8]);
        record.extend_from_slice(&self.seq.to_le_bytes());
        record.extend_from_slice(&self.topic.to_le_bytes());
        record.push(u8::from(self.id.is_some()));
        record.extend_from_slice(&self.id.unwrap_or(0).to_le_bytes());
        record.extend_from_slice(&self.payload);
        let checksum = xxh3_64(&record[8..]);
        record[..8].copy_from_slice(&checksum.to_le_bytes());
        record
    }
}

pub struct Header {
    pub seq: u64,
    pub topic: u32,
    pub id: Option<u64>,
}

impl Header {
    /// Checks the record against its checksum and reads the header.
    pub fn read(record: &[u8]) -> Result<Self> {
        ensure!(record.len() >= HEADER_LEN, "record of {} bytes", record.len());
        ensure!(record[..8] == xxh3_64(&record[8..]).to_le_bytes(), "own checksum differs");
        let id = (record[20] == 1).then(|| u64_at(record, 21));
        let topic = u32::from_le_bytes([record[16], record[17], record[18], record[19]]);
        Ok(Self { seq: u64_at(record, 8), topic, id })
    }
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes[at..at + 8].iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
}
