//! What gzip ends with: the CRC and the length of a text.

use crc32fast::Hasher;

/// The CRC32 and the length of a text, of which neither has to be at hand.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Sum {
    crc: u32,
    len: u64,
}

impl Sum {
    pub(crate) fn of(text: &[u8]) -> Self {
        Self { crc: crc32fast::hash(text), len: text.len() as u64 }
    }

    pub(super) fn len(self) -> u64 {
        self.len
    }

    /// Of this text and the other one behind it.
    pub(crate) fn then(self, next: Self) -> Self {
        let mut hasher = Hasher::new_with_initial_len(self.crc, self.len);
        hasher.combine(&Hasher::new_with_initial_len(next.crc, next.len));
        Self { crc: hasher.finalize(), len: self.len + next.len }
    }

    /// Of the part of this text that follows its beginning `start`.
    pub(crate) fn since(self, start: Self) -> Self {
        let len = self.len - start.len;
        // A sum of two texts is the first one's, moved on by the length of the second, XOR the second one's.
        let moved = start.then(Self { crc: 0, len });
        Self { crc: moved.crc ^ self.crc, len }
    }

    /// The last eight bytes of a gzip stream (RFC 1952, 2.3.1).
    pub(super) fn bytes(self) -> [u8; 8] {
        // The length is taken modulo 2^32.
        let [crc, len] = [self.crc, self.len as u32].map(u32::to_le_bytes);
        [crc[0], crc[1], crc[2], crc[3], len[0], len[1], len[2], len[3]]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn sums_of_parts_are_those_of_the_whole(text in prop::collection::vec(any::<u8>(), 0..300), at: prop::sample::Index) {
            let (start, rest) = text.split_at(at.index(text.len() + 1));
            prop_assert_eq!(Sum::of(start).then(Sum::of(rest)), Sum::of(&text));
            prop_assert_eq!(Sum::of(&text).since(Sum::of(start)), Sum::of(rest));
        }
    }
}
