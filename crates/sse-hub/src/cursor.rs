//! Positions in the history and their text form.

use std::fmt;

/// Names one continuous history: within an epoch no sequence is ever given twice.
///
/// Eight characters of `0-9a-z`, the first a digit, so that hardly any id that a publisher chooses looks like one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Epoch([u8; 8]);

const EPOCH_ALPHABET: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";

impl Epoch {
    /// An epoch nobody has used, from the system's random numbers.
    ///
    /// # Errors
    /// When the system has none to give.
    pub fn random() -> Result<Self, getrandom::Error> {
        Ok(Self::from_entropy(getrandom::u64()?))
    }

    /// The epoch that `entropy` names; for tests and for hosts with a source of their own.
    pub fn from_entropy(mut entropy: u64) -> Self {
        let mut text = [0; 8];
        for (place, byte) in text.iter_mut().enumerate() {
            let base = if place == 0 { 10 } else { 36 };
            *byte = EPOCH_ALPHABET[(entropy % base) as usize];
            entropy /= base;
        }
        Self(text)
    }

    fn parse(text: &[u8]) -> Option<Self> {
        let text: [u8; 8] = text.try_into().ok()?;
        let valid = text[0].is_ascii_digit() && text.iter().all(|byte| EPOCH_ALPHABET.contains(byte));
        valid.then_some(Self(text))
    }

    /// The epoch's text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("an epoch is ASCII")
    }
}

/// A position in the history: everything up to and including `sequence` has been seen.
///
/// Its text is `<epoch>-<sequence>`, the sequence in [`Cursor::SEQUENCE_DIGITS`] decimal digits, so that ids sort as
/// text and can be filled into an encoded frame in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// The history it is a position in.
    pub epoch: Epoch,
    /// The last event seen; 0 before the first.
    pub sequence: u64,
}

impl Cursor {
    /// Decimal digits of a sequence.
    pub const SEQUENCE_DIGITS: usize = 16;
    /// The largest sequence: at ten million events per second it is reached after 31 years.
    pub const SEQUENCE_MAX: u64 = 10_u64.pow(Self::SEQUENCE_DIGITS as u32) - 1;
    /// Bytes of the text form.
    pub const TEXT_LEN: usize = 8 + 1 + Self::SEQUENCE_DIGITS;

    /// The cursor that `text` spells, if it spells one.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.as_bytes();
        if text.len() != Self::TEXT_LEN || text[8] != b'-' || !text[9..].iter().all(u8::is_ascii_digit) {
            return None;
        }
        let sequence = text[9..].iter().fold(0, |sequence, digit| sequence * 10 + u64::from(digit - b'0'));
        Some(Self { epoch: Epoch::parse(&text[..8])?, sequence })
    }

    /// Writes the text form into exactly [`Cursor::TEXT_LEN`] bytes.
    pub(crate) fn write(self, room: &mut [u8]) {
        room[..8].copy_from_slice(&self.epoch.0);
        room[8] = b'-';
        let mut rest = self.sequence;
        for digit in room[9..].iter_mut().rev() {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut room = [0; Self::TEXT_LEN];
        self.write(&mut room);
        f.write_str(std::str::from_utf8(&room).expect("a cursor is ASCII"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_cursor_are_one_to_one() {
        let epoch = Epoch::from_entropy(0x1234_5678_9abc_def0);
        for sequence in [0, 1, 42, 9_999_999, Cursor::SEQUENCE_MAX] {
            let cursor = Cursor { epoch, sequence };
            assert_eq!(Cursor::parse(&cursor.to_string()), Some(cursor));
            assert_eq!(cursor.to_string().len(), Cursor::TEXT_LEN);
        }
    }

    #[test]
    fn other_text_is_no_cursor() {
        for text in [
            "",
            "earliest",
            "-1",
            "1abcdefg-1",
            "1abcdefg-000000000000000x",
            "1abcdefg-00000000000000001",
            "1abcdefg_0000000000000001",
            "abcdefgh-0000000000000001",
            "1Abcdefg-0000000000000001",
            "1abcdef\u{e9}0000000000000001",
            "1abcdefg-18446744073709551616",
        ] {
            assert_eq!(Cursor::parse(text), None, "{text}");
        }
        assert!(Cursor::parse("1abcdefg-0000000000000001").is_some());
    }
}
