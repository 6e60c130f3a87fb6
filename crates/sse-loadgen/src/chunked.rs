//! The body of an HTTP/1.1 answer, decoded as it comes: chunked, of a given length, or up to the end.

/// How the head said the body is delimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    Chunked,
    Length(u64),
    UntilClose,
}

/// The next thing in a body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece<'a> {
    /// Content; what follows it is the next call's.
    Data(&'a [u8]),
    /// The input is used up and the body goes on.
    More,
    /// The body is over; input behind it belongs to the next answer.
    End,
}

/// What is not a chunked body (RFC 9112, section 7.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ChunkError {
    #[error("a chunk size is not a hexadecimal number")]
    Size,
    #[error("a chunk is larger than can be counted")]
    TooLarge,
    #[error("a chunk or its size does not end in CR LF")]
    LineEnd,
}

/// Decodes one body. Sixteen bytes, for there is one in every stream.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Body {
    state: State,
    /// Bytes of content left in the chunk or the body, or the chunk size as far as it is read.
    left: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    UntilClose,
    Length,
    /// Before the first digit of a chunk size.
    SizeStart,
    Size,
    /// In an extension, which is skipped.
    Extension,
    /// Behind the CR that ends the size.
    SizeEnd,
    Data,
    DataCr,
    DataLf,
    /// At the start of a trailer line, or of the blank one that ends the body.
    Trailer,
    TrailerLine,
    LastLf,
    End,
}

impl Body {
    pub(crate) fn new(framing: Framing) -> Self {
        match framing {
            Framing::Chunked => Self { state: State::SizeStart, left: 0 },
            Framing::Length(left) => Self { state: State::Length, left },
            Framing::UntilClose => Self { state: State::UntilClose, left: 0 },
        }
    }

    /// Takes the next piece from the front of `input`.
    pub(crate) fn next<'a>(&mut self, input: &mut &'a [u8]) -> Result<Piece<'a>, ChunkError> {
        loop {
            match self.state {
                State::End => return Ok(Piece::End),
                State::Length if self.left == 0 => self.state = State::End,
                _ if input.is_empty() => return Ok(Piece::More),
                State::UntilClose => return Ok(Piece::Data(std::mem::take(input))),
                State::Length => return Ok(Piece::Data(self.content(input))),
                State::Data => {
                    let data = self.content(input);
                    if self.left == 0 {
                        self.state = State::DataCr;
                    }
                    return Ok(Piece::Data(data));
                }
                _ => {
                    let byte = input[0];
                    *input = &input[1..];
                    self.step(byte)?;
                }
            }
        }
    }

    fn content<'a>(&mut self, input: &mut &'a [u8]) -> &'a [u8] {
        let count = usize::try_from(self.left).map_or(input.len(), |left| left.min(input.len()));
        let (data, rest) = input.split_at(count);
        *input = rest;
        self.left -= count as u64;
        data
    }

    /// One byte between the contents of chunks.
    fn step(&mut self, byte: u8) -> Result<(), ChunkError> {
        self.state = match (self.state, byte) {
            (State::SizeStart | State::Size, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                if self.left >> 60 != 0 {
                    return Err(ChunkError::TooLarge);
                }
                let digit = char::from(byte).to_digit(16).map_or(0, u64::from);
                self.left = self.left << 4 | digit;
                State::Size
            }
            (State::Size, b';' | b' ' | b'\t') => State::Extension,
            (State::Size | State::Extension, b'\r') => State::SizeEnd,
            (State::SizeStart | State::Size, _) => return Err(ChunkError::Size),
            (State::Extension, b'\n') => return Err(ChunkError::LineEnd),
            (State::Extension, _) => State::Extension,
            (State::SizeEnd, b'\n') if self.left == 0 => State::Trailer,
            (State::SizeEnd, b'\n') => State::Data,
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => State::SizeStart,
            (State::Trailer, b'\r') => State::LastLf,
            (State::TrailerLine, b'\n') => State::Trailer,
            (State::Trailer | State::TrailerLine, _) => State::TrailerLine,
            (State::LastLf, b'\n') => State::End,
            _ => return Err(ChunkError::LineEnd),
        };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Feeds `input` in pieces that end at `cuts` and gives the content, whether it ended, and what was left over.
    fn decode(framing: Framing, input: &[u8], cuts: &[usize]) -> Result<(Vec<u8>, bool, Vec<u8>), ChunkError> {
        let mut body = Body::new(framing);
        let (mut content, mut ended, mut left) = (Vec::new(), false, Vec::new());
        let mut from = 0;
        for &to in cuts.iter().chain([&input.len()]) {
            let mut piece = &input[from..to];
            from = to;
            loop {
                match body.next(&mut piece)? {
                    Piece::Data(data) => content.extend_from_slice(data),
                    Piece::More => break,
                    Piece::End => {
                        ended = true;
                        left.extend_from_slice(piece);
                        break;
                    }
                }
            }
        }
        Ok((content, ended, left))
    }

    fn encode(chunks: &[Vec<u8>], extension: &str, trailer: &str) -> Vec<u8> {
        let mut out = Vec::new();
        for chunk in chunks {
            out.extend_from_slice(format!("{:X}{extension}\r\n", chunk.len()).as_bytes());
            out.extend_from_slice(chunk);
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(format!("0{extension}\r\n{trailer}\r\nnext").as_bytes());
        out
    }

    proptest! {
        #[test]
        fn any_split_decodes_the_same(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..8),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
            extension in prop::sample::select(vec!["", ";a=b", " ;x"]),
            trailer in prop::sample::select(vec!["", "A: b\r\n", "A: b\r\nC: d\r\n"]),
        ) {
            let input = encode(&chunks, extension, trailer);
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(input.len())).collect();
            cuts.sort_unstable();
            let (content, ended, left) = decode(Framing::Chunked, &input, &cuts).unwrap();
            prop_assert_eq!(content, chunks.concat());
            prop_assert!(ended);
            prop_assert_eq!(left, b"next");
        }

        #[test]
        fn no_input_panics(input in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = decode(Framing::Chunked, &input, &[]);
        }
    }

    #[test]
    fn malformed_chunks_are_refused() {
        let cases: [(&[u8], ChunkError); 8] = [
            (b"\r\n", ChunkError::Size),
            (b"x", ChunkError::Size),
            (b"-1\r\n", ChunkError::Size),
            (b"1\n", ChunkError::Size),
            (b"1;a\n", ChunkError::LineEnd),
            (b"1\r\nab\r\n", ChunkError::LineEnd),
            (b"1\r\na\n", ChunkError::LineEnd),
            (b"11112222333344445\r\n", ChunkError::TooLarge),
        ];
        for (input, error) in cases {
            assert_eq!(decode(Framing::Chunked, input, &[]), Err(error), "{}", String::from_utf8_lossy(input));
        }
    }

    #[test]
    fn lengths_and_streams_without_one_pass_through() {
        let (content, ended, left) = decode(Framing::Length(3), b"abcdef", &[1]).unwrap();
        assert_eq!((&content[..], ended, &left[..]), (&b"abc"[..], true, &b"def"[..]));
        let (content, ended, _) = decode(Framing::UntilClose, b"abcdef", &[1, 4]).unwrap();
        assert_eq!((&content[..], ended), (&b"abcdef"[..], false));
        let (_, ended, left) = decode(Framing::Length(0), b"x", &[]).unwrap();
        assert_eq!((ended, &left[..]), (true, &b"x"[..]));
    }
}
