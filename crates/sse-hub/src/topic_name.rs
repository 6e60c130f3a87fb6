//! The name that events go to.

use std::borrow::Borrow;
use std::fmt;

use smol_str::SmolStr;

/// Why a text cannot name a topic.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TopicNameError {
    /// A topic has at least one byte.
    #[error("a topic's name is empty")]
    Empty,
    /// A topic has at most [`TopicName::LEN_MAX`] bytes.
    #[error("a topic's name has {len} bytes, more than {}", TopicName::LEN_MAX)]
    TooLong {
        /// Its bytes.
        len: usize,
    },
    /// Control characters would let a name break log lines and header fields.
    #[error("a topic's name has a control character at byte {at_byte}")]
    ControlCharacter {
        /// Where the first one stands.
        at_byte: usize,
    },
}

/// A topic's name: UTF-8, 1 to 1,024 bytes, no control characters. Cloning shares a long one and copies a
/// short one, which is kept in place.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicName(SmolStr);

impl TopicName {
    /// The most bytes a name may have.
    pub const LEN_MAX: usize = 1024;

    /// Checks `text`.
    ///
    /// # Errors
    /// A [`TopicNameError`] that says which rule it breaks.
    pub fn parse(text: &str) -> Result<Self, TopicNameError> {
        if text.is_empty() {
            return Err(TopicNameError::Empty);
        }
        if text.len() > Self::LEN_MAX {
            return Err(TopicNameError::TooLong { len: text.len() });
        }
        match text.char_indices().find(|(_, c)| c.is_control()) {
            Some((at_byte, _)) => Err(TopicNameError::ControlCharacter { at_byte }),
            None => Ok(Self(text.into())),
        }
    }

    /// The name's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for TopicName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_bounded_and_printable() {
        assert!(TopicName::parse("https://example.com/books/1?é").is_ok());
        assert!(TopicName::parse(&"x".repeat(1024)).is_ok());
        assert_eq!(TopicName::parse(&"x".repeat(1025)), Err(TopicNameError::TooLong { len: 1025 }));
        assert_eq!(TopicName::parse(""), Err(TopicNameError::Empty));
        assert_eq!(TopicName::parse("a\nb"), Err(TopicNameError::ControlCharacter { at_byte: 1 }));
        assert_eq!(TopicName::parse("é\u{85}"), Err(TopicNameError::ControlCharacter { at_byte: 2 }));
    }
}
