//! Where one request ends and the next begins, as its bytes come in.
//!
//! hyper reads requests leniently where it cannot be misled itself. What stands before or behind it may read the same bytes
//! differently, so what can be read in two ways is refused before hyper sees it (RFC 9112, 6.3 and 11.2).

use hyper::StatusCode;
use memchr::memchr;

/// Bytes of a head, from the first of its request line to the last of its empty line.
pub(crate) const HEAD_BYTES_MAX: usize = 64 * 1024;

/// Follows the requests of one connection.
#[derive(Debug, Default)]
pub(crate) struct RequestScan {
    at: At,
    head: Head,
    /// A line of which only a part has come.
    line: Vec<u8>,
}

/// What the next byte belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum At {
    #[default]
    Head,
    /// A body, or a chunk with its end, of which so much is to come.
    Body(u64),
    Chunk(u64),
    ChunkLine,
    Trailers,
    /// hyper will refuse what came, so nothing follows.
    Nowhere,
}

/// What is known of the head under way.
#[derive(Debug, Default)]
struct Head {
    bytes: usize,
    has_request_line: bool,
    /// As much of `Content-Length` as can be read.
    length: Option<Option<u64>>,
    is_encoded: bool,
}

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HeadFault {
    BareLineFeed,
    TwoLengths,
    LengthAndEncoding,
    TooLarge,
}

impl HeadFault {
    /// The status and the detail of the refusal.
    pub(crate) fn answer(self) -> (StatusCode, &'static str) {
        match self {
            Self::BareLineFeed => (StatusCode::BAD_REQUEST, "a line of the head ends in LF without CR"),
            Self::TwoLengths => (StatusCode::BAD_REQUEST, "the head has more than one Content-Length"),
            Self::LengthAndEncoding => {
                (StatusCode::BAD_REQUEST, "the head has both a Content-Length and a Transfer-Encoding")
            }
            Self::TooLarge => (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "the head has more than 65536 bytes"),
        }
    }
}

impl RequestScan {
    /// Takes the bytes of the request under way; how many of these are its own. What is left begins the next one.
    ///
    /// # Errors
    /// What is wrong with its head.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Result<usize, HeadFault> {
        let mut taken = 0;
        while taken < bytes.len() {
            let rest = &bytes[taken..];
            let next = match self.at {
                At::Body(left) | At::Chunk(left) => {
                    let len = rest.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                    taken += len;
                    self.behind(left - len as u64)
                }
                At::Nowhere => return Ok(bytes.len()),
                At::Head | At::ChunkLine | At::Trailers => {
                    let len = memchr(b'\n', rest).map_or(rest.len(), |at| at + 1);
                    taken += len;
                    self.take_line(&rest[..len])?
                }
            };
            match next {
                Some(at) => self.at = at,
                None => {
                    *self = Self::default();
                    return Ok(taken);
                }
            }
        }
        Ok(taken)
    }

    /// Whether nothing of a request has come.
    pub(crate) fn is_between(&self) -> bool {
        self.at == At::Head && self.head.bytes == 0 && self.line.is_empty()
    }

    /// Where the scan stands with so much of a body or chunk to come; `None` at the end of the request.
    fn behind(&self, left: u64) -> Option<At> {
        match (self.at, left) {
            (At::Chunk(_), 0) => Some(At::ChunkLine),
            (At::Chunk(_), left) => Some(At::Chunk(left)),
            (_, 0) => None,
            (_, left) => Some(At::Body(left)),
        }
    }

    /// Takes a line, or the part of one that has come.
    fn take_line(&mut self, part: &[u8]) -> Result<Option<At>, HeadFault> {
        if self.at == At::Head {
            self.head.bytes += part.len();
            if self.head.bytes > HEAD_BYTES_MAX {
                return Err(HeadFault::TooLarge);
            }
        } else if self.line.len() > HEAD_BYTES_MAX {
            return Ok(Some(At::Nowhere));
        }
        if !part.ends_with(b"\n") {
            self.line.extend_from_slice(part);
            return Ok(Some(self.at));
        }
        if self.line.is_empty() {
            return self.end_line(part);
        }
        let mut line = std::mem::take(&mut self.line);
        line.extend_from_slice(part);
        self.end_line(&line)
    }

    fn end_line(&mut self, line: &[u8]) -> Result<Option<At>, HeadFault> {
        let is_empty = line == b"\r\n";
        match self.at {
            At::Head => {
                let text = line.strip_suffix(b"\r\n").ok_or(HeadFault::BareLineFeed)?;
                if is_empty && self.head.has_request_line {
                    return Ok(self.head.body());
                }
                self.head.take(text)?;
                Ok(Some(At::Head))
            }
            At::Trailers if is_empty => Ok(None),
            At::ChunkLine => Ok(Some(match chunk_len(line) {
                Some(0) => At::Trailers,
                // The chunk's own end counts.
                Some(len) => len.checked_add(2).map_or(At::Nowhere, At::Chunk),
                None => At::Nowhere,
            })),
            at => Ok(Some(at)),
        }
    }
}

impl Head {
    /// Takes a line; empty ones before the request line are passed over (RFC 9112, 2.2).
    fn take(&mut self, line: &[u8]) -> Result<(), HeadFault> {
        if !self.has_request_line {
            self.has_request_line = !line.is_empty();
            return Ok(());
        }
        let Some(colon) = memchr(b':', line) else { return Ok(()) };
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        if name.eq_ignore_ascii_case(b"content-length") {
            let number = || std::str::from_utf8(value).ok()?.trim().parse().ok();
            if self.length.replace(number()).is_some() {
                return Err(HeadFault::TwoLengths);
            }
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            self.is_encoded = true;
        }
        if self.is_encoded && self.length.is_some() { Err(HeadFault::LengthAndEncoding) } else { Ok(()) }
    }

    /// What comes behind the head; `None` for nothing.
    fn body(&self) -> Option<At> {
        match self.length {
            _ if self.is_encoded => Some(At::ChunkLine),
            None | Some(Some(0)) => None,
            Some(Some(length)) => Some(At::Body(length)),
            Some(None) => Some(At::Nowhere),
        }
    }
}

/// The size that a chunk's line tells (RFC 9112, 7.1).
fn chunk_len(line: &[u8]) -> Option<u64> {
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    u64::from_str_radix(std::str::from_utf8(&line[..digits]).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How the requests in `bytes` are told apart, in pieces of this size.
    fn requests(bytes: &[u8], piece: usize) -> Result<Vec<usize>, HeadFault> {
        let mut scan = RequestScan::default();
        let (mut lens, mut len) = (Vec::new(), 0);
        for piece in bytes.chunks(piece) {
            let mut rest = piece;
            while !rest.is_empty() {
                let taken = scan.take(rest)?;
                len += taken;
                rest = &rest[taken..];
                if scan.is_between() {
                    lens.push(std::mem::take(&mut len));
                }
            }
        }
        Ok(lens)
    }

    #[track_caller]
    fn check(bytes: &[u8], expected: Result<Vec<usize>, HeadFault>) {
        for piece in [1, 2, 3, 7, 64, bytes.len()] {
            assert_eq!(requests(bytes, piece), expected, "in pieces of {piece}: {}", String::from_utf8_lossy(bytes));
        }
    }

    const GET: &[u8] = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n";
    const SIZED: &[u8] = b"POST /a HTTP/1.1\r\nContent-Length: 7\r\n\r\na\n\r\nGET";
    const CHUNKED: &[u8] =
        b"POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\n\n\r\n\r\nA\r\n0123456789\r\n0\r\nX: y\r\n\r\n";

    #[test]
    fn requests_are_told_apart_however_they_are_cut() {
        check(GET, Ok(vec![GET.len()]));
        check(&[GET, SIZED, CHUNKED, GET].concat(), Ok(vec![GET.len(), SIZED.len(), CHUNKED.len(), GET.len()]));
        // Empty lines before a request belong to it.
        check(&[b"\r\n\r\n", GET].concat(), Ok(vec![GET.len() + 4]));
        check(&SIZED[..SIZED.len() - 1], Ok(vec![]));
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        let with = |fields: &str| format!("POST /a HTTP/1.1\r\n{fields}\r\n\r\n").into_bytes();
        check(&with("Content-Length: 5\r\nx: y\r\ncontent-length: 5"), Err(HeadFault::TwoLengths));
        check(&with("Content-Length: 5\r\nTRANSFER-ENCODING: chunked"), Err(HeadFault::LengthAndEncoding));
        check(&with("Transfer-Encoding: gzip\r\nContent-Length: 5"), Err(HeadFault::LengthAndEncoding));
        check(&with("a: b\nc: d"), Err(HeadFault::BareLineFeed));
        check(b"GET /a HTTP/1.1\n\n", Err(HeadFault::BareLineFeed));
        check(b"\nGET /a HTTP/1.1\r\n\r\n", Err(HeadFault::BareLineFeed));
        check(&[SIZED, b"GET /a HTTP/1.1\r\nHost: a\n\r\n"].concat(), Err(HeadFault::BareLineFeed));
    }

    #[test]
    fn a_head_has_so_many_bytes_exactly() {
        let with = |len: usize| {
            let frame = b"GET /a HTTP/1.1\r\nX: \r\n\r\n".len();
            format!("GET /a HTTP/1.1\r\nX: {}\r\n\r\n", "y".repeat(len - frame)).into_bytes()
        };
        for piece in [1000, 8192, HEAD_BYTES_MAX] {
            assert_eq!(requests(&with(HEAD_BYTES_MAX), piece), Ok(vec![HEAD_BYTES_MAX]));
            assert_eq!(requests(&with(HEAD_BYTES_MAX + 1), piece), Err(HeadFault::TooLarge));
        }
        // Without an end, too.
        assert_eq!(requests(&[b'x'; HEAD_BYTES_MAX + 1], 4096), Err(HeadFault::TooLarge));
    }

    #[test]
    fn what_hyper_refuses_ends_the_scan() {
        for bytes in [
            "POST /a HTTP/1.1\r\nContent-Length: x\r\n\r\n",
            "POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
            "POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
            "POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
        ] {
            check(&[bytes.as_bytes(), GET].concat(), Ok(vec![]));
        }
    }
}
