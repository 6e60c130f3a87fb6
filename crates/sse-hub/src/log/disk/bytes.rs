//! A record as bytes: checksum, head, topics, the publisher's id, the frame's text.

use sse_wire::{EventId, Frame};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::TopicName;
use crate::log::{Record, RecordKind};

/// A record with what only the log knows of it.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) record: Record,
    /// The sequence of the event before it in each of its topics; 0 if there was none.
    pub(super) previous: Box<[u64]>,
    /// Milliseconds of the log's own clock.
    pub(super) at: u64,
}

const FORMAT: u8 = 1;
const IS_END: u8 = 1;
const IS_PRIVATE: u8 = 2;
const HAS_GIVEN_ID: u8 = 4;
const CHECKSUM: usize = 8;

/// The record's bytes; `previous` belong to its topics, in their order.
pub(super) fn encode(record: &Record, previous: &[u64], at: u64) -> Vec<u8> {
    let text = record.frame.text_bytes();
    let mut bytes = Vec::with_capacity(CHECKSUM + 64 + text.len());
    bytes.extend_from_slice(&[0; CHECKSUM]);
    let mut flags = 0;
    if record.kind == RecordKind::End {
        flags |= IS_END;
    }
    if record.private {
        flags |= IS_PRIVATE;
    }
    if record.given_id.is_some() {
        flags |= HAS_GIVEN_ID;
    }
    bytes.extend_from_slice(&[FORMAT, flags]);
    bytes.extend_from_slice(&at.to_le_bytes());
    put_len(&mut bytes, record.topics.len());
    for (topic, previous) in record.topics.iter().zip(previous) {
        put_text(&mut bytes, topic.as_str());
        bytes.extend_from_slice(&previous.to_le_bytes());
    }
    if let Some(id) = &record.given_id {
        put_text(&mut bytes, id.as_str());
    }
    bytes.extend_from_slice(text);
    let checksum = checksum(record.sequence, &bytes[CHECKSUM..]);
    bytes[..CHECKSUM].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

/// The record that `bytes` are, if they are one with this sequence and whole.
pub(super) fn decode(sequence: u64, bytes: &[u8]) -> Option<Stored> {
    let (sum, body) = bytes.split_first_chunk::<CHECKSUM>()?;
    if u64::from_le_bytes(*sum) != checksum(sequence, body) {
        return None;
    }
    let mut rest = Rest(body);
    let [format, flags] = rest.take::<2>()?;
    if format != FORMAT {
        return None;
    }
    let at = u64::from_le_bytes(rest.take()?);
    let count = rest.len()?;
    let (mut topics, mut previous) = (Vec::with_capacity(count), Vec::with_capacity(count));
    for _ in 0..count {
        topics.push(TopicName::parse(rest.text()?).ok()?);
        previous.push(u64::from_le_bytes(rest.take()?));
    }
    let given_id = if flags & HAS_GIVEN_ID != 0 { Some(EventId::parse(rest.text()?).ok()?) } else { None };
    let record = Record {
        sequence,
        kind: if flags & IS_END != 0 { RecordKind::End } else { RecordKind::Event },
        topics: topics.into(),
        frame: Frame::from_text(rest.0)?,
        private: flags & IS_PRIVATE != 0,
        given_id,
        // The table of keys has it, for as long as it matters.
        key: None,
    };
    (!record.topics.is_empty()).then_some(Stored { record, previous: previous.into(), at })
}

/// Of the bytes and of their place: a record that turns up under another sequence is as wrong as a flipped bit.
fn checksum(sequence: u64, body: &[u8]) -> u64 {
    xxh3_64_with_seed(body, sequence)
}

fn put_len(bytes: &mut Vec<u8>, len: usize) {
    bytes.extend_from_slice(&(len as u32).to_le_bytes());
}

fn put_text(bytes: &mut Vec<u8>, text: &str) {
    put_len(bytes, text.len());
    bytes.extend_from_slice(text.as_bytes());
}

/// What is left to decode.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*taken)
    }

    /// A length, which can be no more than what is left.
    fn len(&mut self) -> Option<usize> {
        let len = u32::from_le_bytes(self.take()?) as usize;
        (len <= self.0.len()).then_some(len)
    }

    fn text(&mut self) -> Option<&'a str> {
        let len = self.len()?;
        let (text, rest) = self.0.split_at(len);
        self.0 = rest;
        std::str::from_utf8(text).ok()
    }
}

#[cfg(test)]
mod tests {
    use sse_wire::Event;

    use super::*;

    fn record() -> Record {
        let topic = |name| TopicName::parse(name).unwrap();
        Record {
            sequence: 77,
            kind: RecordKind::End,
            topics: [topic("a/тема"), topic("b")].into(),
            frame: Event::new("one\ntwo").encode(),
            private: true,
            given_id: Some(EventId::parse("given").unwrap()),
            key: None,
        }
    }

    #[test]
    fn what_was_encoded_is_decoded() {
        for record in [record(), Record { given_id: None, private: false, kind: RecordKind::Event, ..record() }] {
            let stored = decode(77, &encode(&record, &[5, 6], 99)).unwrap();
            assert_eq!((stored.record, &*stored.previous, stored.at), (record, &[5, 6][..], 99));
        }
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let bytes = encode(&record(), &[5, 6], 99);
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(77, &flipped).is_none(), "bit {bit}");
        }
        assert!((0..bytes.len()).all(|len| decode(77, &bytes[..len]).is_none()));
        assert!(decode(78, &bytes).is_none(), "it is another's place");
    }
}
