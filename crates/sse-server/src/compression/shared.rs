//! A lane's part: the context that all who ride share.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use super::block::{Block, Secrecy, Standing, Takers, framed};
use super::deflate::{COMPRESSED_BYTES_MAX, Deflater};
use super::permits::{CompressorPermit, Compressors};
use super::sum::Sum;
use crate::stream::Framing;

/// Frames after which the context begins anew, so that those who came meanwhile can ride.
const FRAMES_MAX: usize = 64;
/// Blocks kept for those who are a little behind. Whoever misses one goes on alone.
const KEPT_MAX: usize = 256;
/// Their bytes.
const KEPT_BYTES_MAX: usize = 64 * 1024;
/// Pieces of about this size are put together for one that is behind.
const RIDE_BYTES: usize = 16 * 1024;

/// What a lane's streams have in common.
#[derive(Debug)]
pub(crate) struct Shared {
    framing: Framing,
    /// Present while enough streams are there.
    context: Option<Context>,
    /// Of the text sent to those at the lane's head.
    sum: Sum,
    /// The number of the next block. Zero is nobody's.
    next: u64,
    /// The last blocks, of numbers without a hole, up to the next.
    kept: VecDeque<Kept>,
    kept_bytes: usize,
    /// Of the last block.
    takers: Takers,
}

#[derive(Debug)]
struct Context {
    deflater: Deflater,
    /// Frames since it began.
    frames: usize,
    _permit: CompressorPermit,
}

/// A block that may still be read.
#[derive(Debug)]
struct Kept {
    bytes: Bytes,
    begins: bool,
    frames: usize,
    /// The lane's position before it and behind it.
    from: u64,
    cursor: u64,
    start: Standing,
    end: Standing,
}

/// What a stream that is behind takes of its lane's blocks.
#[derive(Debug)]
pub(crate) struct Ride {
    pub(crate) bytes: Bytes,
    pub(crate) frames: usize,
    /// The lane's position behind them.
    pub(crate) cursor: u64,
    /// They refer to nothing before them.
    pub(super) begins: bool,
    pub(super) start: Standing,
    pub(super) end: Standing,
}

/// What a lane is to send.
#[derive(Debug)]
pub(crate) struct Text {
    pub(crate) bytes: Bytes,
    pub(crate) secrecy: Secrecy,
    /// Events in it.
    pub(crate) frames: usize,
    /// The lane's position before it and behind it.
    pub(crate) from: u64,
    pub(crate) cursor: u64,
}

impl Shared {
    pub(crate) fn new(framing: Framing) -> Self {
        Self {
            framing,
            context: None,
            sum: Sum::default(),
            next: 1,
            kept: VecDeque::new(),
            kept_bytes: 0,
            takers: Takers::default(),
        }
    }

    pub(crate) fn has_compressor(&self) -> bool {
        self.context.is_some()
    }

    /// Where those stand that have had everything.
    pub(crate) fn head(&self) -> Standing {
        Standing { sum: self.sum, next: self.next }
    }

    /// Takes in what the lane sends next to those at its head; it has so many streams in all.
    pub(crate) fn block(&mut self, text: Text, streams: usize, compressors: &Arc<Compressors>) -> Block {
        self.provide(streams, compressors);
        let Text { bytes: text, secrecy, frames, from, cursor } = text;
        let (number, before) = (self.next, self.sum);
        self.sum = before.then(Sum::of(&text));
        self.next += 1;
        let is_shareable = secrecy == Secrecy::Public && text.len() <= COMPRESSED_BYTES_MAX;
        let deflated = if is_shareable { self.deflate(&text, frames) } else { None };
        let (shared, begins) = match deflated {
            Some((blocks, begins)) => (Some(framed(&blocks, self.framing)), begins),
            None => (None, false),
        };
        let (framing, after, takers) = (self.framing, self.sum, Takers::default());
        let alone = None;
        let block = Block {
            number,
            text,
            secrecy,
            framing,
            frames,
            from,
            cursor,
            shared,
            begins,
            alone,
            before,
            after,
            takers,
        };
        match &block.shared {
            Some(shared) => self.keep(&block, shared.clone()),
            None => self.forget(),
        }
        block
    }

    /// What became of the last block.
    pub(crate) fn sent(&mut self, block: &Block) {
        self.takers = block.takers;
    }

    /// Something happens between two blocks that not all streams have a part in: nobody rides past it.
    pub(crate) fn interrupt(&mut self) {
        self.forget();
        self.next += 1;
    }

    /// What follows refers to nothing before.
    fn forget(&mut self) {
        self.kept.clear();
        self.kept_bytes = 0;
        if let Some(context) = &mut self.context {
            context.deflater.restart();
            context.frames = 0;
        }
    }

    /// The block of this number and those behind it, as far as they are kept, up to some size.
    pub(super) fn ride_from(&self, number: u64) -> Option<Ride> {
        let back = self.next.checked_sub(number)? as usize;
        let mut blocks = self.kept.range(self.kept.len().checked_sub(back)?..);
        let Kept { bytes, begins, frames, cursor, start, end, .. } = blocks.next()?;
        let (begins, start) = (*begins, *start);
        let mut ride = Ride { bytes: bytes.clone(), frames: *frames, cursor: *cursor, begins, start, end: *end };
        let mut together = Vec::new();
        while ride.bytes.len().max(together.len()) < RIDE_BYTES
            && let Some(next) = blocks.next()
        {
            if together.is_empty() {
                together.extend_from_slice(&ride.bytes);
            }
            together.extend_from_slice(&next.bytes);
            ride.frames += next.frames;
            (ride.cursor, ride.end) = (next.cursor, next.end);
        }
        if !together.is_empty() {
            ride.bytes = together.into();
        }
        Some(ride)
    }

    /// The first block that is kept at this position or behind it from which anybody may ride: its position, and where a
    /// stream stands that has not had it.
    pub(super) fn beginning_after(&self, cursor: u64) -> Option<(u64, Standing)> {
        let kept = self.kept.iter().find(|kept| kept.begins && kept.from >= cursor)?;
        Some((kept.from, kept.start))
    }

    /// Makes the compressor, or gives it up.
    fn provide(&mut self, streams: usize, compressors: &Arc<Compressors>) {
        if streams < compressors.riders_min && self.context.is_some() {
            self.context = None;
            self.forget();
        }
        if streams >= compressors.riders_min && self.context.is_none() {
            let with = |permit| Context { deflater: Deflater::shared(), frames: 0, _permit: permit };
            self.context = compressors.take().map(with);
        }
    }

    /// The text compressed by the context, and whether that began anew for it.
    fn deflate(&mut self, text: &[u8], frames: usize) -> Option<(Vec<u8>, bool)> {
        let takers = self.takers;
        let context = self.context.as_mut()?;
        if context.frames >= FRAMES_MAX || restart_pays(context.frames, takers) {
            context.deflater.restart();
            context.frames = 0;
        }
        let begins = context.frames == 0;
        // Heartbeats count: what follows one may refer to it.
        context.frames += frames.max(1);
        let Ok(blocks) = context.deflater.deflate(text) else {
            self.context = None;
            return None;
        };
        Some((blocks, begins))
    }

    fn keep(&mut self, block: &Block, bytes: Bytes) {
        self.kept_bytes += bytes.len();
        let &Block { begins, frames, from, cursor, .. } = block;
        let (start, end) = (block.start(), block.end());
        self.kept.push_back(Kept { bytes, begins, frames, from, cursor, start, end });
        while self.kept.len() > KEPT_MAX || self.kept_bytes > KEPT_BYTES_MAX {
            let Some(oldest) = self.kept.pop_front() else { return };
            self.kept_bytes -= oldest.bytes.len();
        }
    }
}

/// Whether to begin anew before it is time. That costs whoever rides about as much as each block costs one that does not.
fn restart_pays(frames: usize, takers: Takers) -> bool {
    takers.alone * FRAMES_MAX.saturating_sub(frames) > takers.riding
}
