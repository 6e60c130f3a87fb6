//! Which bodies are compressed, and together with whom.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use sse_hub::{Grants, Hub, TopicName};

use super::lane::{BodyLane, LaneKind};
use crate::compression::Compressors;
use crate::signals::Signals;
use crate::stream::{Encoding, Source, StreamPlan};

/// The bodies of single topics, and the lanes of those that are compressed.
#[derive(Debug)]
pub(crate) struct BodyLanes {
    topics: Mutex<HashMap<TopicName, Followed, ahash::RandomState>>,
    compressors: Arc<Compressors>,
    signals: Signals,
}

/// One topic, as far as bodies follow it.
#[derive(Debug, Default)]
struct Followed {
    bodies: usize,
    /// Few: their streams differ in what they were granted, and in how they are written.
    lanes: Vec<Arc<BodyLane>>,
}

/// A body's place; dropping it frees the place.
#[derive(Debug)]
pub(super) struct BodySeat {
    lanes: Arc<BodyLanes>,
    topic: TopicName,
    /// What it is compressed with.
    pub(super) lane: Option<Arc<BodyLane>>,
}

impl BodyLanes {
    pub(crate) fn new(compressors: Arc<Compressors>, signals: Signals) -> Arc<Self> {
        Arc::new(Self { topics: Mutex::default(), compressors, signals })
    }

    /// The place of a new body, if it follows one topic.
    pub(super) fn seat(self: &Arc<Self>, hub: &Hub, plan: &StreamPlan) -> Option<BodySeat> {
        let Source::Own { topic: Some((topic, grants)), .. } = &plan.source else { return None };
        let mut topics = self.topics.lock();
        let followed = topics.entry(topic.clone()).or_default();
        followed.bodies += 1;
        let lane = self.lane(hub, plan, (topic, grants), followed);
        lane.iter().for_each(|lane| lane.join());
        Some(BodySeat { lanes: self.clone(), topic: topic.clone(), lane })
    }

    /// The lane of a new body: if it may be compressed, and has enough company to be compressed with.
    fn lane(
        &self,
        hub: &Hub,
        plan: &StreamPlan,
        (topic, grants): (&TopicName, &Grants),
        followed: &mut Followed,
    ) -> Option<Arc<BodyLane>> {
        if plan.encoding == Encoding::Identity || followed.bodies < self.compressors.riders_min {
            return None;
        }
        let kind = LaneKind { shape: plan.shape, notices: plan.notices, grants: grants.clone() };
        let lane = followed.lanes.iter().find(|lane| lane.kind == kind);
        if !self.compressors.has_room() && !lane.is_some_and(|lane| lane.has_compressor()) {
            self.signals.compression_declined();
            return None;
        }
        if let Some(lane) = lane {
            return Some(lane.clone());
        }
        let lane = Arc::new(BodyLane::new(hub.feed(topic).ok()?, kind, self.compressors.clone()));
        followed.lanes.push(lane.clone());
        Some(lane)
    }
}

impl Drop for BodySeat {
    fn drop(&mut self) {
        let mut topics = self.lanes.topics.lock();
        let Some(followed) = topics.get_mut(&self.topic) else { return };
        followed.bodies -= 1;
        if let Some(lane) = &self.lane
            && lane.leave()
        {
            followed.lanes.retain(|other| !Arc::ptr_eq(other, lane));
        }
        if followed.bodies == 0 {
            topics.remove(&self.topic);
        }
    }
}
