//! How a log that is only pretended is read: a bounded page at a time.

use std::collections::{BTreeMap, BTreeSet};

use sse_hub::{GapReason, LogRead, Page, Record, Selector, Step, TopicName};

/// What such a log holds.
pub(crate) struct Kept<'a> {
    pub(crate) records: &'a BTreeMap<u64, Record>,
    pub(crate) trimmed_to: &'a BTreeMap<TopicName, u64>,
    pub(crate) damaged: &'a BTreeSet<u64>,
}

/// Where a page ends at the latest.
pub(crate) struct PageBounds {
    pub(crate) steps_max: usize,
    /// Records looked at.
    pub(crate) scans_max: usize,
}

impl Kept<'_> {
    pub(crate) fn read(&self, read: &LogRead<'_>, bounds: &PageBounds) -> Page {
        let LogRead { followed, after, up_to } = *read;
        let of_followed = self.trimmed_to.iter().filter(|(topic, _)| is_topic_followed(topic, followed));
        let trimmed_to = of_followed.map(|(_, &trimmed_to)| trimmed_to).max().unwrap_or(0).min(up_to);
        let mut loss = (trimmed_to > after).then_some(Step::Lost { up_to: trimmed_to, reason: GapReason::Trimmed });
        let (mut steps, mut covered_to) = (Vec::new(), after);
        for (scanned, (&sequence, record)) in self.records.range(after + 1..=up_to).enumerate() {
            if loss.as_ref().is_some_and(|loss| loss.sequence() < sequence) {
                covered_to = trimmed_to;
                steps.extend(loss.take());
            }
            if steps.len() >= bounds.steps_max || scanned >= bounds.scans_max {
                return Page { steps, covered_to };
            }
            covered_to = sequence;
            if is_followed(record, followed) {
                steps.push(match self.damaged.contains(&sequence) {
                    true => Step::Lost { up_to: sequence, reason: GapReason::Damaged },
                    false => Step::Record(record.clone()),
                });
            }
        }
        steps.extend(loss);
        Page { steps, covered_to: up_to }
    }
}

pub(crate) fn is_followed(record: &Record, followed: &[Selector]) -> bool {
    record.topics.iter().any(|topic| is_topic_followed(topic, followed))
}

fn is_topic_followed(topic: &TopicName, followed: &[Selector]) -> bool {
    followed.iter().any(|selector| selector.matches(topic.as_str()))
}
