//! Which selectors are followed. They are resolved when a topic or a selector first appears, never per publish.

use std::collections::HashMap;
use std::sync::Arc;
use std::task::Waker;

use slab::Slab;

use crate::merge::Merge;
use crate::sync::Mutex;
use crate::topic::Topic;
use crate::{Selector, TopicName};

/// Everybody who follows one selector: a topic holds one of these however many follow it.
#[derive(Debug)]
pub(crate) struct SelectorGroup {
    pub(crate) selector: Selector,
    members: Mutex<Members>,
}

#[derive(Debug, Default)]
struct Members {
    merges: Slab<Arc<Merge>>,
    /// The last member left; topics drop the group at the next sweep.
    retired: bool,
}

impl SelectorGroup {
    /// Marks every member, after an append to `topic` and under its lock.
    pub(crate) fn mark(&self, topic: &Arc<Topic>, wakers: &mut Vec<Waker>) {
        let members = self.members.lock();
        wakers.extend(members.merges.iter().filter_map(|(_, merge)| merge.mark(topic)));
    }

    pub(crate) fn is_retired(&self) -> bool {
        self.members.lock().retired
    }
}

/// The groups by their selectors' texts.
#[derive(Debug, Default)]
pub(crate) struct SelectorRegistry {
    groups: HashMap<TopicName, Arc<SelectorGroup>, ahash::RandomState>,
}

impl SelectorRegistry {
    /// The groups that a topic of this name belongs to.
    pub(crate) fn matching<'a>(&'a self, topic: &'a TopicName) -> impl Iterator<Item = &'a Arc<SelectorGroup>> {
        self.groups.values().filter(|group| group.selector.matches(topic.as_str()))
    }

    /// Joins the selector's group; the second value is the member's key, the third whether the group is new and has to
    /// be made known to the topics.
    pub(crate) fn join(&mut self, selector: &Selector, merge: Arc<Merge>) -> (Arc<SelectorGroup>, usize, bool) {
        let mut is_new = false;
        let group = self.groups.entry(selector.text().clone()).or_insert_with(|| {
            is_new = true;
            Arc::new(SelectorGroup { selector: selector.clone(), members: Mutex::new(Members::default()) })
        });
        let key = group.members.lock().merges.insert(merge);
        (group.clone(), key, is_new)
    }

    pub(crate) fn leave(&mut self, group: &SelectorGroup, key: usize) {
        let mut members = group.members.lock();
        members.merges.remove(key);
        if members.merges.is_empty() {
            members.retired = true;
            self.groups.remove(group.selector.text());
        }
    }
}
