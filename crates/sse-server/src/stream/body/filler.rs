//! What fills a piece of a stream up, where its client cannot do with many small ones.

use bytes::{BufMut, Bytes, BytesMut};

/// A deflate block of nothing: not the last, stored, no bytes (RFC 1951, 3.2.4).
const EMPTY_BLOCK: [u8; 5] = [0, 0, 0, 0xff, 0xff];
const COMMENT_BYTES_MIN: usize = 3;

/// What a piece is made of, at whose end something may be added that nobody sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Matter {
    /// Whole events.
    Text,
    /// Deflate blocks, which end at a byte.
    Blocks,
}

/// The piece, made as long as this or a few bytes longer.
pub(super) fn filled(piece: &Bytes, len: usize, matter: Matter) -> Bytes {
    let lack = len.saturating_sub(piece.len());
    let mut out = BytesMut::with_capacity(len + EMPTY_BLOCK.len());
    out.put_slice(piece);
    match matter {
        Matter::Text => {
            out.put_u8(b':');
            out.put_bytes(b' ', lack.saturating_sub(COMMENT_BYTES_MIN));
            out.put_slice(b"\n\n");
        }
        Matter::Blocks => (0..lack.div_ceil(EMPTY_BLOCK.len())).for_each(|_| out.put_slice(&EMPTY_BLOCK)),
    }
    out.freeze()
}

#[cfg(test)]
mod tests {
    use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
    use sse_wire::Parser;

    use super::*;

    #[test]
    fn a_text_that_is_filled_has_the_same_events() {
        let text = "id: 1\ndata: a\n\n";
        for bytes in 0..300 {
            let filled = filled(&Bytes::from_static(text.as_bytes()), bytes, Matter::Text);
            assert!((bytes..bytes + 3).contains(&filled.len()) || filled.len() == text.len() + 3, "{bytes}");
            let mut parsed = Vec::new();
            Parser::new(1000).feed(&filled, |one| parsed.push(format!("{one:?}"))).unwrap();
            assert!(parsed[0].contains("Event") && parsed[1].contains("Comment"), "{parsed:?}");
            assert_eq!(parsed.len(), 2);
        }
    }

    #[test]
    fn blocks_that_are_filled_have_the_same_text() {
        let mut compress = Compress::new(Compression::default(), false);
        let mut inflate = Decompress::new(false);
        let (mut text, mut told) = (String::new(), Vec::with_capacity(10_000));
        for n in 0..100 {
            let piece = format!("id: {n}\ndata: much alike\n\n");
            text.push_str(&piece);
            let mut blocks = Vec::with_capacity(200);
            compress.compress_vec(piece.as_bytes(), &mut blocks, FlushCompress::Sync).unwrap();
            let filled = filled(&blocks.into(), 256, Matter::Blocks);
            assert!((256..261).contains(&filled.len()));
            inflate.decompress_vec(&filled, &mut told, FlushDecompress::Sync).unwrap();
            assert_eq!(told, text.as_bytes(), "at once");
        }
    }
}
