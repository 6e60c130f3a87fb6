//! What the topics of a subscription to several have between them when it starts.

use std::sync::Arc;

use crate::Grants;
use crate::grants::Sight;
use crate::registry::SelectorGroup;
use crate::ring::Floor;
use crate::start::Wanted;
use crate::topic::Topic;
use crate::topics::Topics;

#[derive(Debug, Default)]
pub(crate) struct Extent {
    /// Topics that may have something to read.
    pub(crate) topics: Vec<Arc<Topic>>,
    /// The oldest event kept.
    pub(crate) oldest: Option<u64>,
    /// Up to where the topic is trimmed that is trimmed the furthest.
    pub(crate) floor_max: Floor,
    /// The earliest event that bears the publisher's id asked for.
    pub(crate) given: Option<u64>,
}

impl Extent {
    pub(crate) fn add(&mut self, topic: &Arc<Topic>, wanted: &Wanted, grants: &Grants) {
        let state = topic.lock();
        let ring = &state.ring;
        self.add_floor(ring.floor());
        let Some(oldest) = ring.oldest() else { return };
        self.oldest = self.oldest.into_iter().chain([oldest]).min();
        match wanted {
            Wanted::Sequence(sequence) if ring.newest() <= *sequence => return,
            Wanted::Given(id) => {
                let found = ring.sequence_of(id, &mut Sight::new(grants, &topic.name));
                self.given = self.given.into_iter().chain(found).min();
            }
            _ => (),
        }
        self.topics.push(topic.clone());
    }

    /// Looks into every topic of the groups, those forgotten included.
    pub(crate) fn add_groups(
        &mut self,
        topics: &Topics,
        groups: &[Arc<SelectorGroup>],
        wanted: &Wanted,
        grants: &Grants,
    ) {
        // Held so that no topic is made meanwhile: one that is collected is seen in its table or by the floor it left.
        let _selectors = topics.selectors.write();
        topics.each(|topic| {
            let is_followed = {
                let state = topic.lock();
                groups.iter().any(|group| state.in_group(group))
            };
            if is_followed {
                self.add(topic, wanted, grants);
            }
        });
        topics.each_floor(|name, floor| {
            // Whose floor it is that stands for the rest is not known.
            if name.is_none_or(|name| groups.iter().any(|group| group.selector.matches(name.as_str()))) {
                self.add_floor(floor);
            }
        });
    }

    fn add_floor(&mut self, floor: Floor) {
        if floor.sequence > self.floor_max.sequence {
            self.floor_max = floor;
        }
    }
}
