//! The head of an HTTP/1.1 answer.

use crate::chunked::Framing;

/// Heads beyond this are no server's that a browser could follow either.
const HEAD_BYTES_MAX: usize = 16 << 10;
const HEADERS_MAX: usize = 64;

/// Why an answer is not one that can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HeadError {
    #[error("the answer is not HTTP/1.1: {0}")]
    Malformed(httparse::Error),
    #[error("the head of the answer has more than {HEAD_BYTES_MAX} bytes")]
    TooLong,
    #[error("the server answered {status} instead of a stream")]
    Status { status: u16 },
    #[error("the content type is {0:?}, not text/event-stream")]
    ContentType(String),
    #[error("the content encoding is {0:?}, which was not asked for")]
    ContentEncoding(String),
    #[error("the content length is no number: {0:?}")]
    ContentLength(String),
}

/// What a stream's text is encoded in, or may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    Identity,
    Gzip,
}

/// What a head says, as far as a load generator cares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) status: u16,
    framing: Framing,
    /// The server will close the connection after this answer.
    pub(crate) closes: bool,
    /// How many bytes the head has; the body follows.
    pub(crate) length: usize,
    content_type: String,
    content_encoding: Option<String>,
}

impl Head {
    /// Reads a head from the front of `input`; `None` while it is incomplete.
    pub(crate) fn parse(input: &[u8]) -> Result<Option<Self>, HeadError> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut response = httparse::Response::new(&mut headers);
        let length = match response.parse(input).map_err(HeadError::Malformed)? {
            httparse::Status::Complete(length) => length,
            httparse::Status::Partial if input.len() > HEAD_BYTES_MAX => return Err(HeadError::TooLong),
            httparse::Status::Partial => return Ok(None),
        };
        let mut head = Self {
            status: response.code.unwrap_or_default(),
            framing: Framing::UntilClose,
            closes: response.version == Some(0),
            length,
            content_type: String::new(),
            content_encoding: None,
        };
        for header in response.headers.iter() {
            head.header(header.name, &String::from_utf8_lossy(header.value))?;
        }
        Ok(Some(head))
    }

    /// The head that these fields of HTTP/2 are, of which the first are the protocol's own.
    pub(crate) fn of_fields<'a>(fields: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> Result<Self, HeadError> {
        let mut head = Self {
            status: 0,
            framing: Framing::UntilClose,
            closes: false,
            length: 0,
            content_type: String::new(),
            content_encoding: None,
        };
        for (name, value) in fields {
            let value = String::from_utf8_lossy(value);
            match name {
                b":status" => head.status = value.parse().unwrap_or_default(),
                _ => head.header(&String::from_utf8_lossy(name), &value)?,
            }
        }
        Ok(head)
    }

    /// Whether this is the head of an event stream that can be read, and what its text is encoded in.
    pub(crate) fn check_stream(&self, asked: Encoding) -> Result<Encoding, HeadError> {
        if self.status != 200 {
            return Err(HeadError::Status { status: self.status });
        }
        let media_type = self.content_type.split(';').next().unwrap_or_default().trim();
        if !media_type.eq_ignore_ascii_case("text/event-stream") {
            return Err(HeadError::ContentType(self.content_type.clone()));
        }
        match &self.content_encoding {
            Some(encoding) if asked == Encoding::Gzip && encoding.eq_ignore_ascii_case("gzip") => Ok(Encoding::Gzip),
            Some(encoding) if !encoding.eq_ignore_ascii_case("identity") => {
                Err(HeadError::ContentEncoding(encoding.clone()))
            }
            _ => Ok(Encoding::Identity),
        }
    }

    /// How the body behind this head is delimited; some statuses have none (RFC 9112, section 6.3).
    pub(crate) fn framing(&self) -> Framing {
        match self.status {
            100..200 | 204 | 304 => Framing::Length(0),
            _ => self.framing,
        }
    }

    fn header(&mut self, name: &str, value: &str) -> Result<(), HeadError> {
        let value = value.trim();
        if name.eq_ignore_ascii_case("transfer-encoding") {
            // Chunked overrides a length, wherever that stands.
            if value.rsplit(',').next().is_some_and(|last| last.trim().eq_ignore_ascii_case("chunked")) {
                self.framing = Framing::Chunked;
            }
        } else if name.eq_ignore_ascii_case("content-length") && self.framing != Framing::Chunked {
            let length = value.parse().map_err(|_| HeadError::ContentLength(value.to_owned()))?;
            self.framing = Framing::Length(length);
        } else if name.eq_ignore_ascii_case("connection") {
            self.closes |= value.split(',').any(|option| option.trim().eq_ignore_ascii_case("close"));
        } else if name.eq_ignore_ascii_case("content-type") {
            self.content_type = value.to_owned();
        } else if name.eq_ignore_ascii_case("content-encoding") {
            self.content_encoding = Some(value.to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Head {
        Head::parse(text.as_bytes()).unwrap().unwrap()
    }

    #[test]
    fn a_streams_head_is_taken() {
        let text =
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n";
        let head = parse(&format!("{text}rest"));
        assert_eq!(head.check_stream(Encoding::Gzip), Ok(Encoding::Identity));
        assert_eq!((head.framing(), head.closes, head.length), (Framing::Chunked, false, text.len()));
    }

    #[test]
    fn an_incomplete_head_waits_and_an_endless_one_does_not() {
        assert_eq!(Head::parse(b"HTTP/1.1 200 OK\r\nContent-Ty"), Ok(None));
        let endless = format!("HTTP/1.1 200 OK\r\nA: {}", "x".repeat(HEAD_BYTES_MAX));
        assert_eq!(Head::parse(endless.as_bytes()), Err(HeadError::TooLong));
    }

    #[test]
    fn other_answers_are_named() {
        let cases = [
            ("HTTP/1.1 503 Busy\r\n\r\n", HeadError::Status { status: 503 }),
            ("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n", HeadError::ContentType("text/html".to_owned())),
            (
                "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Encoding: gzip\r\n\r\n",
                HeadError::ContentEncoding("gzip".to_owned()),
            ),
        ];
        for (text, error) in cases.clone() {
            assert_eq!(parse(text).check_stream(Encoding::Identity), Err(error));
        }
        assert_eq!(parse(cases[2].0).check_stream(Encoding::Gzip), Ok(Encoding::Gzip));
        assert!(matches!(Head::parse(b"SSH-2.0\r\n"), Err(HeadError::Malformed(_))));
    }

    #[test]
    fn framing_follows_the_standard() {
        assert_eq!(parse("HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n").framing(), Framing::Length(12));
        let both = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n";
        assert_eq!(parse(both).framing(), Framing::Chunked);
        assert_eq!(parse("HTTP/1.1 204 No\r\n\r\n").framing(), Framing::Length(0));
        assert_eq!(parse("HTTP/1.1 200 OK\r\n\r\n").framing(), Framing::UntilClose);
        assert!(parse("HTTP/1.1 200 OK\r\nConnection: Close\r\n\r\n").closes);
    }
}
