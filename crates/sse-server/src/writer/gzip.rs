//! The compressed streams of a writer.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;

use super::WriterSettings;
use super::lane::{Lane, LaneKey};
use super::thread::WriterThread;
use crate::compression::{Alone, Block, Compressors, Ride, Rider, Secrecy, Shared, Standing, Text};
use crate::signals::Signals;
use crate::stream::{Encoding, EndReason, Framing, Source, StreamPlan};

/// What compressed streams have beside their entries: the others pay nothing for it.
#[derive(Debug)]
pub(super) struct Gzip {
    riders: HashMap<u32, Rider, ahash::RandomState>,
    alone: Alone,
    signals: Signals,
}

impl Gzip {
    pub(super) fn new(settings: &WriterSettings) -> Self {
        Self { riders: HashMap::default(), alone: Alone::default(), signals: settings.signals.clone() }
    }

    /// A new stream; its first bytes.
    pub(super) fn begin(&mut self, key: u32, plan: &mut StreamPlan) -> Vec<u8> {
        let (rider, bytes) = plan.first_bytes_compressed();
        self.riders.insert(key, rider);
        self.signals.compressed_stream_opened();
        bytes
    }

    pub(super) fn forget(&mut self, key: u32) {
        if self.riders.remove(&key).is_some() {
            self.signals.compressed_stream_closed();
        }
    }

    /// Whether the stream is compressed.
    pub(super) fn has(&self, key: u32) -> bool {
        self.riders.contains_key(&key)
    }

    /// The stream's bytes of its lane's next block.
    pub(super) fn take(&mut self, key: u32, block: &mut Block) -> Bytes {
        let Some(rider) = self.riders.get_mut(&key) else { return Bytes::new() };
        rider.take(block, &mut self.alone)
    }

    /// It leaves those at the lane's head.
    pub(super) fn leave(&mut self, key: u32, standing: Standing) {
        if let Some(rider) = self.riders.get_mut(&key) {
            rider.leave(standing);
        }
    }

    /// It joins them.
    pub(super) fn arrive(&mut self, key: u32, head: Standing) {
        if let Some(rider) = self.riders.get_mut(&key) {
            rider.arrive(head);
        }
    }

    /// What it may still have of its lane's blocks.
    pub(super) fn ride(&mut self, key: u32, shared: &Shared) -> Option<Ride> {
        self.riders.get_mut(&key)?.ride(shared)
    }

    /// How bytes for this stream alone have to be put together, before [`own`](Self::own) gets them.
    pub(super) fn text_framing(&self, key: u32, framing: Framing) -> Framing {
        if self.riders.contains_key(&key) { Framing::UntilClose } else { framing }
    }

    /// The bytes as they are sent, to this stream alone.
    pub(super) fn own(&mut self, key: u32, bytes: Bytes, secrecy: Secrecy, framing: Framing) -> Bytes {
        match self.riders.get_mut(&key) {
            Some(rider) => rider.own(&bytes, secrecy, framing, &mut self.alone),
            None => bytes,
        }
    }

    /// What its encoding ends with.
    pub(super) fn end(&self, key: u32, framing: Framing) -> Bytes {
        self.riders.get(&key).map(|rider| rider.end(framing)).unwrap_or_default()
    }
}

impl WriterThread {
    /// Whether a new stream is compressed: if it may be, and has enough company to be compressed with.
    pub(super) fn encoding(&self, plan: &StreamPlan, followers: usize) -> Encoding {
        if plan.encoding == Encoding::Identity || followers < self.settings.compressors.riders_min {
            return Encoding::Identity;
        }
        if self.settings.compressors.has_room() || self.has_compressor(plan) {
            return Encoding::Gzip;
        }
        self.settings.signals.compression_declined();
        Encoding::Identity
    }

    /// Whether the stream's lane has a compressor.
    fn has_compressor(&self, plan: &StreamPlan) -> bool {
        let (topic, grants) = match &plan.source {
            Source::Topic { feed, grants, .. } => (feed.topic().clone(), grants.clone()),
            Source::Own { topic: Some((topic, grants)), .. } => (topic.clone(), grants.clone()),
            Source::Own { topic: None, .. } => return false,
        };
        let (shape, framing, notices, encoding) = (plan.shape, plan.framing, plan.notices, plan.encoding);
        let key = LaneKey { topic, shape, framing, notices, encoding, grants };
        let lane = self.lanes_by_key.get(&key).map(|lane| &self.lanes[*lane as usize]);
        lane.and_then(|lane| lane.shared.as_ref()).is_some_and(|shared| shared.has_compressor())
    }
}

impl Lane {
    /// The lane's next text compressed, if its streams are.
    pub(super) fn compressed(
        &mut self,
        text: Text,
        ends: Option<EndReason>,
        compressors: &Arc<Compressors>,
    ) -> Option<Box<Block>> {
        let shared = self.shared.as_mut()?;
        let block = shared.block(text, self.members, compressors);
        if ends.is_some() {
            // Who is behind reads the end from the ring, and ends there.
            shared.interrupt();
        }
        Some(Box::new(block))
    }
}
