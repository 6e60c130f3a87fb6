//! What an open stream is called.

use std::fmt;

/// Names a stream for as long as it is open, and never another that takes its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct StreamId {
    /// The writer, counted from 1, or [`HYPER`](Self::HYPER).
    pub(crate) owner: u32,
    /// Where it is there.
    pub(crate) key: u32,
    /// The how-manieth it was.
    pub(crate) generation: u32,
}

impl StreamId {
    /// The owner of streams that no writer has.
    pub(crate) const HYPER: u32 = 0;

    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.split('-').map(|part| {
            let is_number = part.bytes().all(|byte| byte.is_ascii_digit());
            is_number.then(|| part.parse::<u32>().ok()).flatten()
        });
        let id = Self { owner: numbers.next()??, key: numbers.next()??, generation: numbers.next()?? };
        numbers.next().is_none().then_some(id)
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.owner, self.key, self.generation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_as_they_are_written() {
        let id = StreamId { owner: 1, key: 20, generation: u32::MAX };
        assert_eq!(StreamId::parse(&id.to_string()), Some(id));
        for text in ["", "1-2", "1-2-3-4", "1-2-", "1-2-x", "+1-2-3", "1-2-4294967296", "a"] {
            assert_eq!(StreamId::parse(text), None, "{text}");
        }
    }
}
