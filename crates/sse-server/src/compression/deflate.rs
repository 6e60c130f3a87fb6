//! Deflate (RFC 1951) in pieces that end at a byte, and what gzip (RFC 1952) puts around them.

use flate2::{Compress, CompressError, Compression, FlushCompress};

use super::sum::Sum;

/// What every gzip stream begins with: no name, no time, an unknown system.
pub(super) const HEAD: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
/// An empty last block.
const LAST_BLOCK: [u8; 2] = [3, 0];
/// A stored block's length has 16 bits.
const STORED_BYTES_MAX: usize = 0xffff;

/// How a lane's context compresses. See docs/decisions/compression.md for the figures.
const SHARED_LEVEL: Compression = Compression::new(6);
/// How far back it looks, as a power of two: about as far as a context lasts.
const SHARED_WINDOW_BITS: u8 = 14;
/// What is compressed for one stream by itself is compressed in a hurry.
const ALONE_LEVEL: Compression = Compression::new(1);
const ALONE_WINDOW_BITS: u8 = 15;
/// A text of fewer bytes by itself gains next to nothing.
const ALONE_BYTES_MIN: usize = 1024;
/// Larger texts leave as they are: compressing one would hold up the writer's other streams for milliseconds.
pub(super) const COMPRESSED_BYTES_MAX: usize = 128 * 1024;

/// The end of a gzip stream whose text has this sum.
pub(super) fn tail(sum: Sum) -> Vec<u8> {
    [&LAST_BLOCK[..], &sum.bytes()].concat()
}

/// Appends the text as it is, in blocks that are not compressed.
pub(super) fn push_stored(out: &mut Vec<u8>, text: &[u8]) {
    for piece in text.chunks(STORED_BYTES_MAX) {
        let len = piece.len() as u16;
        out.push(0);
        out.extend_from_slice(&len.to_le_bytes());
        out.extend_from_slice(&(!len).to_le_bytes());
        out.extend_from_slice(piece);
    }
}

/// A deflate stream without an end.
#[derive(Debug)]
pub(super) struct Deflater {
    compress: Compress,
}

impl Deflater {
    /// One for a lane.
    pub(super) fn shared() -> Self {
        Self { compress: Compress::new_with_window_bits(SHARED_LEVEL, false, SHARED_WINDOW_BITS) }
    }

    /// Forgets everything: what is compressed from here on refers to nothing before.
    pub(super) fn restart(&mut self) {
        self.compress.reset();
    }

    /// Compresses the text up to its last byte. The blocks end with an empty one, so that they end at a byte.
    pub(super) fn deflate(&mut self, text: &[u8]) -> Result<Vec<u8>, CompressError> {
        // Enough for a single event at once, and for what many come to.
        let mut out = Vec::with_capacity(text.len() / 2 + 128);
        let begun_at = self.compress.total_in();
        loop {
            let taken = (self.compress.total_in() - begun_at) as usize;
            self.compress.compress_vec(&text[taken..], &mut out, FlushCompress::Sync)?;
            if out.len() < out.capacity() {
                return Ok(out);
            }
            out.reserve(text.len() / 2 + 128);
        }
    }
}

/// Compresses for streams by themselves, one after the other: each text refers to nothing but itself.
#[derive(Debug, Default)]
pub(crate) struct Alone {
    /// Made when it is first needed.
    deflater: Option<Deflater>,
}

impl Alone {
    /// The blocks of this text, which is left as it is where that is no larger.
    pub(super) fn blocks(&mut self, text: &[u8]) -> Vec<u8> {
        if (ALONE_BYTES_MIN..=COMPRESSED_BYTES_MAX).contains(&text.len()) {
            let new = || Deflater { compress: Compress::new_with_window_bits(ALONE_LEVEL, false, ALONE_WINDOW_BITS) };
            let deflater = self.deflater.get_or_insert_with(new);
            deflater.restart();
            if let Ok(blocks) = deflater.deflate(text)
                && blocks.len() < text.len()
            {
                return blocks;
            }
        }
        stored(text)
    }
}

pub(super) fn stored(text: &[u8]) -> Vec<u8> {
    let mut blocks = Vec::with_capacity(text.len() + 5 * (text.len() / STORED_BYTES_MAX + 1));
    push_stored(&mut blocks, text);
    blocks
}
