//! gzip as a strict client decodes it, as it comes.

use flate2::{Decompress, FlushDecompress, Status};

/// Without a name and other extras (RFC 1952, 2.3).
const HEAD_LEN: usize = 10;

/// One gzip stream under way.
pub(crate) struct Gunzip {
    /// What has come of the head.
    head: Vec<u8>,
    inflate: Decompress,
    has_ended: bool,
    /// The CRC and the length.
    tail: Vec<u8>,
    sum: flate2::Crc,
}

impl Gunzip {
    pub(crate) fn new() -> Self {
        let (head, tail) = (Vec::new(), Vec::new());
        Self { head, inflate: Decompress::new(false), has_ended: false, tail, sum: flate2::Crc::new() }
    }

    /// Decodes all that can be of what was received.
    #[track_caller]
    pub(crate) fn decode(&mut self, received: &[u8], text: &mut Vec<u8>) {
        let in_head = received.len().min(HEAD_LEN - self.head.len());
        let (head, mut rest) = received.split_at(in_head);
        self.head.extend_from_slice(head);
        if self.head.len() < HEAD_LEN {
            return;
        }
        assert_eq!(self.head[..4], [0x1f, 0x8b, 8, 0], "the head of gzip");
        let mut piece = Vec::with_capacity(64 * 1024);
        while !self.has_ended {
            piece.clear();
            let before = self.inflate.total_in();
            let status = self.inflate.decompress_vec(rest, &mut piece, FlushDecompress::Sync).expect("deflate");
            rest = &rest[(self.inflate.total_in() - before) as usize..];
            self.sum.update(&piece);
            text.extend_from_slice(&piece);
            self.has_ended = status == Status::StreamEnd;
            if rest.is_empty() && piece.len() < piece.capacity() {
                break;
            }
        }
        self.tail.extend_from_slice(rest);
    }

    /// The end has come, as it has to be.
    #[track_caller]
    pub(crate) fn expect_end(&self) {
        assert!(self.has_ended, "the last block has not come");
        let expected = [self.sum.sum().to_le_bytes(), self.sum.amount().to_le_bytes()].concat();
        assert_eq!(self.tail, expected, "CRC and length");
    }
}
