//! What each event carries in its `data`: who published it, its number in its topic, and when it was meant to go out.

/// The fields of a stamp, as text of a fixed width that needs no escaping in JSON, forms or URLs:
/// `sse1.<run>.<topic>.<publisher>.<sequence>.<intended>.`, all in hexadecimal, then padding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) topic: u32,
    pub(crate) publisher: u16,
    /// Counts from 0 in each topic.
    pub(crate) sequence: u32,
    /// When the schedule meant the event to go out, in nanoseconds since the start of the run.
    pub(crate) intended: u64,
}

/// What the data of an event turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decoded {
    Stamped(Stamp),
    /// Somebody else's event, or another run's.
    Foreign,
    /// It began as one of ours, but is not what was published.
    Damaged,
}

const MAGIC: &[u8] = b"sse1.";
const RUN: usize = MAGIC.len();
const TOPIC: usize = RUN + 8 + 1;
const PUBLISHER: usize = TOPIC + 8 + 1;
const SEQUENCE: usize = PUBLISHER + 4 + 1;
const INTENDED: usize = SEQUENCE + 8 + 1;
/// The smallest event that can carry a stamp.
pub(crate) const STAMP_BYTES: usize = INTENDED + 16 + 1;

const ALPHABET: &[u8; 26] = b"abcdefghijklmnopqrstuvwxyz";

/// Writes and reads the stamps of one run.
#[derive(Debug, Clone)]
pub(crate) struct Stamper {
    run: u32,
    event_bytes: usize,
    /// The alphabet over and over. An event's padding begins at its sequence modulo 26, so that a piece of another
    /// event is not taken for its own.
    pattern: Box<[u8]>,
}

impl Stamper {
    /// Stamps for events of `event_bytes`, at least [`STAMP_BYTES`].
    pub(crate) fn new(run: u32, event_bytes: usize) -> Self {
        let event_bytes = event_bytes.max(STAMP_BYTES);
        let pattern = ALPHABET.iter().copied().cycle().take(event_bytes + ALPHABET.len()).collect();
        Self { run, event_bytes, pattern }
    }

    /// Appends the data of one event.
    pub(crate) fn encode(&self, stamp: Stamp, out: &mut Vec<u8>) {
        out.extend_from_slice(MAGIC);
        push_hex(out, u64::from(self.run), 8);
        push_hex(out, u64::from(stamp.topic), 8);
        push_hex(out, u64::from(stamp.publisher), 4);
        push_hex(out, u64::from(stamp.sequence), 8);
        push_hex(out, stamp.intended, 16);
        out.extend_from_slice(self.padding(stamp.sequence));
    }

    /// What was published by this tool and lies somewhere within the data of one event.
    pub(crate) fn decode_within<'d>(&self, data: &'d [u8]) -> Vec<(&'d [u8], Decoded)> {
        let mut found = Vec::new();
        let mut rest = data;
        while let Some(at) = rest.windows(MAGIC.len()).position(|five| five == MAGIC) {
            let own = &rest[at..rest.len().min(at + self.event_bytes)];
            found.push((own, self.decode(own)));
            rest = &rest[at + own.len()..];
        }
        if found.is_empty() {
            found.push((data, Decoded::Foreign));
        }
        found
    }

    pub(crate) fn decode(&self, data: &[u8]) -> Decoded {
        if !data.starts_with(MAGIC) {
            return Decoded::Foreign;
        }
        match self.fields(data) {
            Some((run, _)) if run != u64::from(self.run) => Decoded::Foreign,
            Some((_, stamp)) if data[STAMP_BYTES..] == *self.padding(stamp.sequence) => Decoded::Stamped(stamp),
            _ => Decoded::Damaged,
        }
    }

    fn fields(&self, data: &[u8]) -> Option<(u64, Stamp)> {
        let data = data.get(..STAMP_BYTES)?;
        let stamp = Stamp {
            topic: hex(&data[TOPIC..], 8)? as u32,
            publisher: hex(&data[PUBLISHER..], 4)? as u16,
            sequence: hex(&data[SEQUENCE..], 8)? as u32,
            intended: hex(&data[INTENDED..], 16)?,
        };
        Some((hex(&data[RUN..], 8)?, stamp))
    }

    fn padding(&self, sequence: u32) -> &[u8] {
        let from = sequence as usize % ALPHABET.len();
        &self.pattern[from..from + self.event_bytes - STAMP_BYTES]
    }
}

fn push_hex(out: &mut Vec<u8>, value: u64, digits: u32) {
    for digit in (0..digits).rev() {
        out.push(b"0123456789abcdef"[(value >> (digit * 4) & 0xf) as usize]);
    }
    out.push(b'.');
}

/// Reads `digits` hexadecimal digits and the dot behind them; at most 16, so the value fits.
fn hex(text: &[u8], digits: usize) -> Option<u64> {
    if text.get(digits) != Some(&b'.') {
        return None;
    }
    text[..digits].iter().try_fold(0, |value, digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(value << 4 | u64::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_stamped_is_read_back(
            run: u32, topic: u32, publisher: u16, sequence: u32, intended: u64, event_bytes in 0_usize..400,
        ) {
            let stamper = Stamper::new(run, event_bytes);
            let stamp = Stamp { topic, publisher, sequence, intended };
            let mut data = Vec::new();
            stamper.encode(stamp, &mut data);
            prop_assert_eq!(data.len(), event_bytes.max(STAMP_BYTES));
            prop_assert!(data.is_ascii());
            prop_assert_eq!(stamper.decode(&data), Decoded::Stamped(stamp));
            prop_assert_eq!(Stamper::new(run.wrapping_add(1), event_bytes).decode(&data), Decoded::Foreign);
        }

        #[test]
        fn any_change_is_noticed(at in 0_usize..200, to: u8) {
            let stamper = Stamper::new(7, 200);
            let stamp = Stamp { topic: 1, publisher: 2, sequence: 3, intended: 4 };
            let mut data = Vec::new();
            stamper.encode(stamp, &mut data);
            prop_assume!(data[at] != to);
            data[at] = to;
            prop_assert_ne!(stamper.decode(&data), Decoded::Stamped(stamp));
        }
    }

    #[test]
    fn what_lies_within_an_event_is_found() {
        let stamper = Stamper::new(7, 100);
        let stamp = |sequence| Stamp { topic: 1, publisher: 2, sequence, intended: 4 };
        let mut data = br#"{"pub":{"data":""#.to_vec();
        stamper.encode(stamp(3), &mut data);
        data.extend_from_slice(br#"","#);
        stamper.encode(stamp(4), &mut data);
        let decoded =
            |data: &[u8]| stamper.decode_within(data).into_iter().map(|(_, decoded)| decoded).collect::<Vec<_>>();
        assert_eq!(decoded(&data), [Decoded::Stamped(stamp(3)), Decoded::Stamped(stamp(4))]);
        assert_eq!(decoded(b"{}"), [Decoded::Foreign]);
        data.pop();
        assert_eq!(decoded(&data), [Decoded::Stamped(stamp(3)), Decoded::Damaged]);
    }

    #[test]
    fn a_cut_or_grown_event_is_damaged() {
        let stamper = Stamper::new(7, 100);
        let mut data = Vec::new();
        stamper.encode(Stamp { topic: 1, publisher: 2, sequence: 3, intended: 4 }, &mut data);
        for cut in [STAMP_BYTES - 1, STAMP_BYTES, 99] {
            assert_eq!(stamper.decode(&data[..cut]), Decoded::Damaged, "cut to {cut}");
        }
        data.push(b'x');
        assert_eq!(stamper.decode(&data), Decoded::Damaged);
        assert_eq!(stamper.decode(b"hello"), Decoded::Foreign);
    }
}
