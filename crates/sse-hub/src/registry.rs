//! Which selectors are followed. They are resolved when a topic or a selector first appears, never per publish.

use std::collections::{BTreeMap, HashMap};
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
    index: PrefixIndex,
    /// Some group's last member left. It stays until the next sweep: somebody who reconnects soon finds it, and the topics
    /// that know of it.
    emptied: bool,
}

/// Groups by what their topics begin with: a topic is compared only with the templates that share its beginning, however
/// many there are.
#[derive(Debug, Default)]
pub(crate) struct PrefixIndex {
    groups: HashMap<Box<str>, Vec<Arc<SelectorGroup>>, ahash::RandomState>,
    /// How many prefixes there are of each length.
    lens: BTreeMap<usize, usize>,
}

impl PrefixIndex {
    /// The groups that a topic of this name belongs to.
    pub(crate) fn matching<'a>(&'a self, topic: &'a TopicName) -> impl Iterator<Item = &'a Arc<SelectorGroup>> {
        let name = topic.as_str();
        let prefixes = self.lens.keys().map_while(|&len| (len <= name.len()).then(|| name.get(..len)));
        let candidates = prefixes.flatten().filter_map(|prefix| self.groups.get(prefix)).flatten();
        candidates.filter(|group| group.selector.matches(topic.as_str()))
    }

    pub(crate) fn add(&mut self, group: Arc<SelectorGroup>) {
        let prefix = group.selector.literal_prefix();
        let alike = self.groups.entry(prefix.into()).or_default();
        if alike.is_empty() {
            *self.lens.entry(prefix.len()).or_insert(0) += 1;
        }
        alike.push(group);
    }

    fn remove(&mut self, group: &Arc<SelectorGroup>) {
        let prefix = group.selector.literal_prefix();
        let Some(alike) = self.groups.get_mut(prefix) else { return };
        alike.retain(|other| !Arc::ptr_eq(other, group));
        if !alike.is_empty() {
            return;
        }
        self.groups.remove(prefix);
        if let Some(count) = self.lens.get_mut(&prefix.len()) {
            *count -= 1;
            if *count == 0 {
                self.lens.remove(&prefix.len());
            }
        }
    }
}

impl SelectorRegistry {
    /// The groups that a topic of this name belongs to.
    pub(crate) fn matching<'a>(&'a self, topic: &'a TopicName) -> impl Iterator<Item = &'a Arc<SelectorGroup>> {
        self.index.matching(topic)
    }

    /// Joins the selector's group; the second value is the member's key, the third whether the group is new and has to
    /// be made known to the topics.
    pub(crate) fn join(&mut self, selector: &Selector, merge: Arc<Merge>) -> (Arc<SelectorGroup>, usize, bool) {
        let known = self.groups.get(selector.text()).cloned();
        let is_new = known.is_none();
        let group = known.unwrap_or_else(|| self.add(selector));
        let key = group.members.lock().insert(merge);
        (group, key, is_new)
    }

    fn add(&mut self, selector: &Selector) -> Arc<SelectorGroup> {
        let group = Arc::new(SelectorGroup::new(selector.clone()));
        self.groups.insert(selector.text().clone(), group.clone());
        self.index.add(group.clone());
        group
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
        let mut retired = Vec::new();
        self.groups.retain(|_, group| {
            let is_empty = group.members.lock().is_empty();
            group.retired.store(is_empty, Ordering::Relaxed);
            if is_empty {
                retired.push(group.clone());
            }
            !is_empty
        });
        retired.iter().for_each(|group| self.index.remove(group));
    }
}
