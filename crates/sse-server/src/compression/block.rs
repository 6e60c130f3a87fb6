//! What a lane's streams get at a time.

use bytes::Bytes;

use super::deflate::{Alone, stored};
use super::sum::Sum;
use crate::stream::{Framing, push_text};

/// Whether the length of what is compressed may depend on this text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Secrecy {
    Public,
    /// Not everybody may see it. How well a text compresses tells of what it has in common with another, which somebody
    /// else may have chosen: it is not compressed at all.
    Private,
}

/// One text, for all that stand at a lane's head. It has up to two forms.
#[derive(Debug)]
pub(crate) struct Block {
    /// Counts the blocks of its lane.
    pub(super) number: u64,
    pub(super) text: Bytes,
    pub(super) secrecy: Secrecy,
    pub(super) framing: Framing,
    pub(super) frames: usize,
    /// The lane's position before it and behind it.
    pub(super) from: u64,
    pub(super) cursor: u64,
    /// What those who ride get; without it nobody does.
    pub(super) shared: Option<Bytes>,
    /// It refers to nothing before it, so that anybody may begin to ride here.
    pub(super) begins: bool,
    /// What the others get, made for the first of them.
    pub(super) alone: Option<Bytes>,
    /// Of the lane's text before and after it.
    pub(super) before: Sum,
    pub(super) after: Sum,
    pub(super) takers: Takers,
}

/// How many took a block in which form.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Takers {
    pub(super) riding: usize,
    pub(super) alone: usize,
}

impl Block {
    /// Where a stream stands that has not had it.
    pub(crate) fn start(&self) -> Standing {
        Standing { sum: self.before, next: self.number }
    }

    /// Where a stream stands that has.
    pub(crate) fn end(&self) -> Standing {
        Standing { sum: self.after, next: self.number + 1 }
    }

    pub(super) fn alone(&mut self, alone: &mut Alone) -> Bytes {
        let make = || own(&self.text, self.secrecy, self.framing, alone);
        self.alone.get_or_insert_with(make).clone()
    }
}

/// A place in what a lane sends.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Standing {
    /// Of the lane's text so far.
    pub(super) sum: Sum,
    /// The block that follows.
    pub(super) next: u64,
}

impl Standing {
    /// The bytes of text between the two.
    pub(super) fn text_bytes_to(self, end: Self) -> u64 {
        end.sum.len() - self.sum.len()
    }
}

/// A text in blocks that refer to nothing else.
pub(super) fn own(text: &[u8], secrecy: Secrecy, framing: Framing, alone: &mut Alone) -> Bytes {
    match secrecy {
        Secrecy::Public => framed(&alone.blocks(text), framing),
        Secrecy::Private => framed(&stored(text), framing),
    }
}

/// Blocks as a stream of this framing carries them. Of nothing nothing is made: an empty chunk would be the last.
pub(super) fn framed(blocks: &[u8], framing: Framing) -> Bytes {
    if blocks.is_empty() {
        return Bytes::new();
    }
    let mut out = Vec::with_capacity(blocks.len() + 12);
    push_text(&mut out, blocks, framing);
    out.into()
}
