//! gzip (RFC 1952) decoded as it comes, and checked.

use flate2::{Crc, Decompress, FlushDecompress, Status};

/// A head without a name and other extras. No server of streams has a use for those.
const HEAD: [u8; 4] = [0x1f, 0x8b, 8, 0];
const HEAD_LEN: usize = 10;
const TAIL_LEN: usize = 8;

/// What is not gzip, or not what was compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum GzipError {
    #[error("the stream does not begin as gzip")]
    Head,
    #[error("the stream cannot be inflated")]
    Deflate,
    #[error("the CRC or the length of the stream is wrong")]
    Sum,
    #[error("something follows the end of gzip")]
    Rest,
}

/// One stream under way.
#[derive(Debug)]
pub(crate) struct Gunzip {
    inflate: Decompress,
    state: State,
    /// Of the head or the tail, as far as it has come.
    frame: Vec<u8>,
    sum: Crc,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Head,
    Blocks,
    Tail,
    End,
}

impl Gunzip {
    pub(crate) fn new() -> Self {
        Self { inflate: Decompress::new(false), state: State::Head, frame: Vec::new(), sum: Crc::new() }
    }

    /// Gives the text of `input` to `sink`, in pieces, and whether the stream is complete with it.
    pub(crate) fn feed<E: From<GzipError>>(
        &mut self,
        mut input: &[u8],
        mut sink: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<bool, E> {
        if self.state == State::Head && self.take_frame(&mut input, HEAD_LEN) {
            if self.frame[..HEAD.len()] != HEAD {
                return Err(GzipError::Head.into());
            }
            self.frame.clear();
            self.state = State::Blocks;
        }
        let mut text = Vec::with_capacity(if self.state == State::Blocks { 16 << 10 } else { 0 });
        while self.state == State::Blocks {
            text.clear();
            let before = self.inflate.total_in();
            let status = self.inflate.decompress_vec(input, &mut text, FlushDecompress::Sync);
            let status = status.map_err(|_| GzipError::Deflate)?;
            input = &input[(self.inflate.total_in() - before) as usize..];
            self.sum.update(&text);
            sink(&text)?;
            if status == Status::StreamEnd {
                self.state = State::Tail;
            } else if input.is_empty() && text.len() < text.capacity() {
                break;
            }
        }
        if self.state == State::Tail && self.take_frame(&mut input, TAIL_LEN) {
            if self.frame != [self.sum.sum().to_le_bytes(), self.sum.amount().to_le_bytes()].concat() {
                return Err(GzipError::Sum.into());
            }
            self.state = State::End;
        }
        if self.state == State::End && !input.is_empty() {
            return Err(GzipError::Rest.into());
        }
        Ok(self.state == State::End)
    }

    /// Takes what belongs to a head or tail of this length; true once it is whole.
    fn take_frame(&mut self, input: &mut &[u8], len: usize) -> bool {
        let (frame, rest) = input.split_at(input.len().min(len - self.frame.len()));
        self.frame.extend_from_slice(frame);
        *input = rest;
        self.frame.len() == len
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use proptest::prelude::*;

    use super::*;

    /// Two flushed parts, and the end.
    fn zipped(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        let (start, rest) = text.split_at(text.len() / 2);
        encoder.write_all(start).unwrap();
        encoder.flush().unwrap();
        encoder.write_all(rest).unwrap();
        encoder.finish().unwrap()
    }

    fn decode(pieces: &[&[u8]]) -> Result<(Vec<u8>, bool), GzipError> {
        let (mut gunzip, mut text, mut ended) = (Gunzip::new(), Vec::new(), false);
        for piece in pieces {
            ended = gunzip.feed(piece, |part| {
                text.extend_from_slice(part);
                Ok(())
            })?;
        }
        Ok((text, ended))
    }

    proptest! {
        #[test]
        fn any_split_decodes_the_same(text in prop::collection::vec(0..4_u8, 0..40_000), cut: prop::sample::Index) {
            let zipped = zipped(&text);
            let (start, rest) = zipped.split_at(cut.index(zipped.len()));
            let (decoded, ended) = decode(&[start, rest]).unwrap();
            prop_assert!(decoded == text && ended);
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let good = zipped(b"data: x\n\ndata: y\n\n");
        let with = |at: usize, byte: u8| {
            let mut bytes = good.clone();
            bytes[at] = byte;
            decode(&[&bytes])
        };
        assert_eq!(with(0, 0), Err(GzipError::Head));
        assert_eq!(with(HEAD_LEN, 0xff), Err(GzipError::Deflate));
        assert_eq!(with(good.len() - 1, 9), Err(GzipError::Sum));
        assert_eq!(with(good.len() - 8, !good[good.len() - 8]), Err(GzipError::Sum));
        assert_eq!(decode(&[&good, b"x"]), Err(GzipError::Rest));
        assert!(!decode(&[&good[..good.len() - 1]]).unwrap().1);
    }
}
