//! Topics as parts of NATS subjects.

use aws_lc_rs::digest::{SHA256, digest};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sse_hub::TopicName;

/// What a subject may have, without dots, which part it, and without wildcards.
const ENCODED: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'/').remove(b':').remove(b'=').remove(b'@');
/// Bytes of an encoded topic. A subject is in every message and in the index of every file.
const TOPIC_BYTES_MAX: usize = 200;

/// The subjects of one stream.
#[derive(Debug, Clone)]
pub(super) struct Subjects {
    prefix: String,
}

impl Subjects {
    pub(super) fn new(name: &str) -> Self {
        Self { prefix: name.to_owned() }
    }

    /// What the stream takes.
    pub(super) fn all(&self) -> Vec<String> {
        vec![format!("{}.t.*", self.prefix), self.mixed()]
    }

    /// Of entries that are of several topics, or of none.
    pub(super) fn mixed(&self) -> String {
        format!("{}.m", self.prefix)
    }

    /// Of the document.
    pub(super) fn document(&self) -> String {
        format!("{}.epochs", self.prefix)
    }

    /// Of entries of one topic.
    pub(super) fn of(&self, topic: &TopicName) -> String {
        format!("{}.t.{}", self.prefix, token(topic.as_str()))
    }
}

/// As one part of a subject, another one for each topic: what is too long becomes a `#`, which is encoded otherwise, and a hash.
fn token(topic: &str) -> String {
    let encoded = utf8_percent_encode(topic, ENCODED).to_string();
    if encoded.len() <= TOPIC_BYTES_MAX {
        return encoded;
    }
    let hash = digest(&SHA256, topic.as_bytes());
    hash.as_ref().iter().fold("#".to_owned(), |text, byte| format!("{text}{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_legible_where_they_can_be() {
        for (topic, expected) in [
            ("news", "news"),
            ("https://example.com/a", "https://example%2Ecom/a"),
            ("a.b", "a%2Eb"),
            (".", "%2E"),
            ("*", "%2A"),
            ("a > b", "a%20%3E%20b"),
            ("#1", "%231"),
            ("%2E", "%252E"),
            ("grün", "gr%C3%BCn"),
        ] {
            assert_eq!(token(topic), expected);
        }
        assert_eq!(token(&"x".repeat(200)), "x".repeat(200));
        assert!(token(&"x".repeat(201)).starts_with('#'));
    }

    proptest::proptest! {
        #[test]
        fn each_topic_has_a_token_of_its_own(a in "[a.*>#%\\PC ]{1,90}", b in "[a.*>#%\\PC ]{1,90}") {
            let [one, other] = [token(&a), token(&b)];
            proptest::prop_assert_eq!(a == b, one == other);
            proptest::prop_assert!(one.len() <= TOPIC_BYTES_MAX && !one.is_empty());
            proptest::prop_assert!(one.bytes().all(|byte| byte.is_ascii_graphic() && !b".*>".contains(&byte)));
        }
    }
}
