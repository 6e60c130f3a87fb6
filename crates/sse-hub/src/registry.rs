//! Which selectors are followed. They are resolved when a topic or a selector first appears, never per publish.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
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
    members: Mutex<Slab<Arc<Merge>>>,
    /// It is out of the registry; topics drop it when they are swept.
    retired: AtomicBool,
}

impl SelectorGroup {
    fn new(selector: Selector) -> Self {
        Self { selector, members: Mutex::default(), retired: AtomicBool::new(false) }
    }

    /// Marks every member, after an append to `topic` and under its lock.
    pub(crate) fn mark(&self, topic: &Arc<Topic>, wakers: &mut Vec<Waker>) {
        wakers.extend(self.members.lock().iter().filter_map(|(_, merge)| merge.mark(topic)));
    }

    pub(crate) fn is_retired(&self) -> bool {
        // Being late by a sweep does no harm: nobody joins a group that is retired.
        self.retired.load(Ordering::Relaxed)
    }
}

/// The groups by their selectors' texts.
#[derive(Debug, Default)]
pub(crate) struct SelectorRegistry {
    groups: HashMap<TopicName, Arc<SelectorGroup>, ahash::RandomState>,
    /// Some group's last member left. It stays until the next sweep: somebody who reconnects soon finds it, and the topics
    /// that know of it.
    emptied: bool,
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
            Arc::new(SelectorGroup::new(selector.clone()))
        });
        let key = group.members.lock().insert(merge);
        (group.clone(), key, is_new)
    }

    pub(crate) fn leave(&mut self, group: &Arc<SelectorGroup>, key: usize) {
        let mut members = group.members.lock();
        members.remove(key);
        if members.is_empty() {
            *members = Slab::new();
            self.emptied = true;
        }
    }

    pub(crate) fn has_emptied(&self) -> bool {
        self.emptied
    }

    /// Takes the groups out that have no member.
    pub(crate) fn retire_emptied(&mut self) {
        self.emptied = false;
        self.groups.retain(|_, group| {
            let is_empty = group.members.lock().is_empty();
            group.retired.store(is_empty, Ordering::Relaxed);
            !is_empty
        });
    }
}
