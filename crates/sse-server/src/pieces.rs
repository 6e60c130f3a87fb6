//! What fuzz targets make texts of: words that mean something to who reads them, so that random input gets further than to the
//! first byte.

/// Each byte picks a piece, or stands for itself.
pub(crate) fn text(pieces: &[&str], bytes: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    for &byte in bytes {
        match pieces.get(usize::from(byte)) {
            Some(piece) => text.extend_from_slice(piece.as_bytes()),
            None => text.push(byte),
        }
    }
    text
}
