//! What a body has read and not given yet.

use bytes::{Bytes, BytesMut};
use sse_hub::{Batch, Item};

use crate::compression::Secrecy;
use crate::stream::{Notices, Shape, envelope_frame, secrecy};

/// What is pending leaves together, in pieces of this size: each is one DATA frame of HTTP/2. A larger event is a piece by
/// itself, and shared by all who get it, so that a stream whose window is shut pins little (FAILURES C10).
const PIECE_BYTES: usize = 16 * 1024;

/// A batch of which so many items were given.
pub(super) struct Unsent {
    batch: Batch,
    given: usize,
    /// Of the last item given, what is left for the next piece.
    rest: Bytes,
    form: Form,
}

/// How events become bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Form {
    pub(super) shape: Shape,
    pub(super) notices: Notices,
    pub(super) large: Large,
}

/// What becomes of an event that is larger than a piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Large {
    /// It is given as it lies in the ring.
    Shared,
    /// It is copied for this stream alone, and is not to be copied whole.
    InPieces,
}

impl Unsent {
    pub(super) fn new(batch: Batch, form: Form) -> Self {
        Self { batch, given: 0, rest: Bytes::new(), form }
    }

    pub(super) fn secrecy(&self) -> Secrecy {
        secrecy(&self.batch)
    }

    /// Whether an event was given in part: nothing else may come before the rest of it.
    pub(super) fn is_within_event(&self) -> bool {
        !self.rest.is_empty()
    }

    /// The text that comes next; empty once all has been given, as an end that is not told is.
    pub(super) fn next_text(&mut self) -> Bytes {
        if self.is_within_event() {
            return self.take_piece();
        }
        let mut piece = BytesMut::new();
        while let Some(item) = self.batch.items().get(self.given) {
            let text = self.form.text(item);
            if !piece.is_empty() && piece.len() + text.len() > PIECE_BYTES {
                break;
            }
            self.given += 1;
            let is_last = self.given == self.batch.items().len();
            if piece.is_empty() && (is_last || text.len() >= PIECE_BYTES) {
                if self.form.large == Large::Shared {
                    return text;
                }
                self.rest = text;
                return self.take_piece();
            }
            piece.extend_from_slice(&text);
        }
        piece.freeze()
    }

    fn take_piece(&mut self) -> Bytes {
        let len = self.rest.len().min(PIECE_BYTES);
        self.rest.split_to(len)
    }
}

impl Form {
    fn text(self, item: &Item) -> Bytes {
        match self.shape {
            _ if item.is_end && self.notices == Notices::Off => Bytes::new(),
            Shape::Plain => item.frame.text(),
            Shape::Envelope => envelope_frame(item).text(),
        }
    }
}
