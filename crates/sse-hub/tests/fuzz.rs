//! Fuzz targets. `cargo test` runs each for a second on random input; `cargo xtask fuzz` runs them guided by coverage.
#![expect(clippy::unwrap_used, reason = "these are tests")]

#[cfg(feature = "disk")]
#[path = "fuzz/logs.rs"]
mod logs;
#[path = "fuzz/templates.rs"]
mod templates;

use bolero::{TypeGenerator, check};
use sse_hub::{Cursor, Epoch, IdForm, TopicName, TopicNameError};

/// An id as the hub writes it, and what becomes of it on its way.
#[derive(Debug, Clone, TypeGenerator)]
struct Id {
    entropy: u64,
    sequence: u64,
    is_urn: bool,
    /// Bytes put in the place of others.
    spoiled: Vec<(u8, u8)>,
    any: Vec<u8>,
}

#[test]
fn cursor_text() {
    check!().with_type::<Id>().for_each(|input| {
        let form = if input.is_urn { IdForm::Urn } else { IdForm::Cursor };
        let sequence = input.sequence % (Cursor::SEQUENCE_MAX + 1);
        let cursor = Cursor { epoch: Epoch::from_entropy(input.entropy), sequence };
        let text = cursor.text(form);
        assert_eq!(Cursor::parse(&text), Some(cursor));

        let mut bytes = text.into_bytes();
        for &(at, byte) in &input.spoiled {
            let at = usize::from(at) % bytes.len();
            bytes[at] = byte;
        }
        for bytes in [&bytes, &input.any] {
            let text = String::from_utf8_lossy(bytes);
            // Two texts of one position would be two ids of one event.
            let forms = |cursor: Cursor| [cursor.text(IdForm::Cursor), cursor.text(IdForm::Urn)];
            assert!(Cursor::parse(&text).is_none_or(|cursor| forms(cursor).contains(&text.clone().into_owned())));
        }
    });
}

#[test]
fn topic_names() {
    check!().with_type::<(Vec<u8>, u8)>().for_each(|(bytes, repeat)| {
        let text = String::from_utf8_lossy(bytes).repeat(1 + usize::from(*repeat));
        match TopicName::parse(&text) {
            Ok(name) => {
                assert_eq!(name.as_str(), text);
                assert!((1..=1024).contains(&text.len()) && !text.chars().any(char::is_control));
            }
            Err(TopicNameError::Empty) => assert!(text.is_empty()),
            Err(TopicNameError::TooLong { len }) => assert!(len == text.len() && len > 1024),
            Err(TopicNameError::ControlCharacter { at_byte }) => {
                assert!(text[at_byte..].starts_with(char::is_control) && !text[..at_byte].contains(char::is_control));
            }
            Err(other) => panic!("{other}"),
        }
    });
}
