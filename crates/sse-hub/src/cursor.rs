//! Positions in the history and their text form.

use std::fmt;

use sse_wire::{EventId, Frame};
use uuid::Uuid;

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

    /// The epoch that `text` names, if it names one.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let text: [u8; 8] = text.try_into().ok()?;
        let valid = text[0].is_ascii_digit() && text.iter().all(|byte| EPOCH_ALPHABET.contains(byte));
        valid.then_some(Self(text))
    }

    /// The number below [`NUMBER_MAX`](Self::NUMBER_MAX) that [`from_entropy`](Self::from_entropy) makes it of.
    fn number(self) -> u64 {
        let index = |byte: u8| u64::from(if byte.is_ascii_digit() { byte - b'0' } else { byte - b'a' + 10 });
        let rest = self.0[1..].iter().rev().fold(0, |number, &byte| number * 36 + index(byte));
        rest * 10 + index(self.0[0])
    }

    /// How many epochs there are; they fit 40 bits.
    const NUMBER_MAX: u64 = 10 * 36_u64.pow(7);

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

    /// Tells a client that it stands here, without an event.
    pub fn frame(self) -> Frame {
        Frame::id(&EventId::parse(&self.to_string()).expect("a cursor is one line"))
    }

    /// The cursor that `text` spells in either [`IdForm`], if it spells one.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() == IdForm::Urn.len() {
            return Self::parse_urn(text);
        }
        let text = text.as_bytes();
        if text.len() != Self::TEXT_LEN || text[8] != b'-' || !text[9..].iter().all(u8::is_ascii_digit) {
            return None;
        }
        let sequence = text[9..].iter().fold(0, |sequence, digit| sequence * 10 + u64::from(digit - b'0'));
        Some(Self { epoch: Epoch::parse(&text[..8])?, sequence })
    }

    /// A UUID of version 8 (RFC 9562, 5.8): 40 bits of epoch, 20 that mark it as one of these, 54 of sequence.
    fn to_uuid(self) -> Uuid {
        let head = (self.epoch.number() << 8) | u64::from(UUID_MARK.0);
        let mut bytes = [0; 16];
        bytes[..6].copy_from_slice(&head.to_be_bytes()[2..]);
        bytes[6..8].copy_from_slice(&UUID_MARK.1.to_be_bytes());
        bytes[8..].copy_from_slice(&self.sequence.to_be_bytes());
        // This sets the version and the variant.
        Uuid::new_v8(bytes)
    }

    fn parse_urn(text: &str) -> Option<Self> {
        let uuid = Uuid::try_parse(text).ok()?;
        let (head, sequence) = uuid.as_u64_pair();
        let epoch = Epoch::from_entropy(head >> 24);
        let cursor = Self { epoch, sequence: sequence & ((1 << 62) - 1) };
        // One text for each cursor: what differs in its mark, its case or beyond the numbers' ends is somebody else's.
        let is_ours = head >> 24 < Epoch::NUMBER_MAX && cursor.sequence <= Self::SEQUENCE_MAX;
        (is_ours && cursor.text(IdForm::Urn) == text).then_some(cursor)
    }

    /// The text in this form.
    pub fn text(self, form: IdForm) -> String {
        let mut room = [0; IdForm::LEN_MAX];
        let room = &mut room[..form.len()];
        self.write_as(form, room);
        std::str::from_utf8(room).expect("both forms are ASCII").to_owned()
    }

    /// Writes the text in this form into exactly as many bytes as it has.
    pub(crate) fn write_as(self, form: IdForm, room: &mut [u8]) {
        match form {
            IdForm::Cursor => self.write(room),
            IdForm::Urn => {
                self.to_uuid().urn().encode_lower(room);
            }
        }
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

/// How a cursor is spelt in the id of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum IdForm {
    /// `<epoch>-<sequence>`.
    #[default]
    Cursor,
    /// `urn:uuid:` and a UUID that carries the same, for protocols whose ids are IRIs.
    Urn,
}

/// What the bits of a UUID that are left over say: that it is a cursor, and no other UUID of version 8.
const UUID_MARK: (u8, u16) = (0x5e, 0x0e5e);

impl IdForm {
    const LEN_MAX: usize = 45;

    /// Bytes of every id of this form.
    pub(crate) fn len(self) -> usize {
        match self {
            Self::Cursor => Cursor::TEXT_LEN,
            Self::Urn => Self::LEN_MAX,
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
            assert!(cursor.to_string().starts_with(epoch.as_str()) && epoch.as_str().len() == 8);
        }
    }

    #[test]
    fn urns_and_cursors_are_one_to_one() {
        for entropy in [0, 7, Epoch::NUMBER_MAX - 1, 0x1234_5678_9abc_def0] {
            for sequence in [0, 1, 42, Cursor::SEQUENCE_MAX] {
                let cursor = Cursor { epoch: Epoch::from_entropy(entropy), sequence };
                let urn = cursor.text(IdForm::Urn);
                assert!(urn.starts_with("urn:uuid:") && &urn[23..24] == "8", "{urn}");
                assert_eq!(Cursor::parse(&urn), Some(cursor), "{urn}");
            }
        }
        let cursor = |sequence| Cursor { epoch: Epoch::from_entropy(5), sequence }.text(IdForm::Urn);
        assert!(cursor(9) < cursor(10) && cursor(99) < cursor(1 << 40), "they sort as they were given");
    }

    #[test]
    fn other_uuids_are_no_cursors() {
        let ours = Cursor { epoch: Epoch::from_entropy(5), sequence: 0xabc }.text(IdForm::Urn);
        for text in [
            "urn:uuid:018e5c8f-1c1a-7c3e-8f0a-1234567890ab",
            "urn:uuid:018e5c8f-1c1a-8c3e-8f0a-1234567890ab",
            "urn:uuid:ffffffff-ff5e-8e5e-8000-000000000001",
            &ours.to_uppercase(),
            &ours.replace("URN", "urn").replace('a', "A"),
            &ours.replace("-8e5e-", "-8e5d-"),
            &ours.replace("-8000-", "-bfff-"),
            &ours.replacen("urn:uuid:", "urn-uuid:", 1),
        ] {
            assert_eq!(Cursor::parse(text), None, "{text}");
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
